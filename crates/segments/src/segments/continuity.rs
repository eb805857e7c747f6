//! Which segment of a new clustering continues which of the one before.

use base::control::Control;
use base::error::Result;
use features::columns::Column;

use crate::matching::continued_ids;

use super::Segments;

/// Ids of new segments: those of the old segments that they continue, and fresh ones from `next` on for the others.
///
/// Centroids are compared by the features that both have by name, as multiples of the new divisors, and paired so that
/// the distances sum up to the least. A segment that lies farther from its old place than the old segments lay from each
/// other on average is another one. The square of the numbers of segments counts, a thousand of them take a second or
/// two. Errors: `Cancelled`. `centroids` are in the user's units, row-major.
pub fn continue_ids(
    old: &Segments<'_>,
    features: &[&str],
    columns: &[Column],
    centroids: &[f64],
    next: u32,
    control: &Control,
) -> Result<Vec<u32>> {
    let width = features.len().max(1);
    let count = centroids.len() / width;
    let old_width = old.features.len().max(1);
    let old_centroids = old.centroids().unwrap_or_default();
    let place_of = |name: &str| (0..old.features.len()).find(|&at| old.features.get(at) == name);
    let shared: Vec<(usize, usize)> =
        features.iter().enumerate().filter_map(|(at, name)| Some((at, place_of(name)?))).collect();
    if shared.is_empty() {
        return Ok((next..).take(count).collect());
    }
    // Where a feature does not vary in the new rows, it does not part them either.
    let varying = |at: usize| if columns[at].deviation > 0.0 { 1.0 / columns[at].divisor } else { 0.0 };
    let before: Vec<f64> = old_centroids
        .chunks_exact(old_width)
        .flat_map(|row| shared.iter().map(|&(new, old)| row[old] * varying(new)).collect::<Vec<_>>())
        .collect();
    let now: Vec<f64> = centroids
        .chunks_exact(width)
        .flat_map(|row| shared.iter().map(|&(new, _)| row[new] * varying(new)).collect::<Vec<_>>())
        .collect();
    let farthest = mean_distance(&before, shared.len(), control)?;
    continued_ids(&before, old.ids, &now, shared.len(), farthest, next, control)
}

/// The mean distance of two rows; infinite where there are not two.
fn mean_distance(rows: &[f64], width: usize, control: &Control) -> Result<f64> {
    let (mut sum, mut pairs) = (0.0, 0u64);
    let mut rest = rows;
    while let Some((row, others)) = rest.split_at_checked(width).filter(|(_, others)| !others.is_empty()) {
        control.check()?;
        for other in others.chunks_exact(width) {
            sum += row.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            pairs += 1;
        }
        rest = others;
    }
    Ok(if pairs == 0 { f64::INFINITY } else { sum / pairs as f64 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use base::image::Image;
    use features::columns::{Scaling, fit};

    use super::*;
    use crate::kmeans::Clusters;
    use crate::{KMeansParts, encode_kmeans};

    #[test]
    fn segments_are_found_again() {
        let control = Control::unlimited();
        // Columns whose constants are those of no scaling: centroids are as they are.
        let columns = fit(&[0.0, 0.0, 10.0, 10.0], 2, Scaling::None, &control).unwrap();
        let clusters = Clusters {
            centroids: vec![0.0, 0.0, 10.0, 0.0, 0.0, 10.0],
            sizes: vec![1; 3],
            labels: vec![0, 1, 2],
            distances: vec![0.0; 3],
            inertia: 0.0,
            iterations: 1,
            converged: true,
        };
        let parts = KMeansParts {
            features: &["a", "b"],
            columns: &columns,
            scaling: Scaling::None,
            clusters: &clusters,
            ids: &[4, 7, 9],
            labels: &["x", "y", "z"].map(str::to_string),
            silhouette: None,
            id_class: 1,
        };
        let bytes = encode_kmeans(&parts, [1; 16], &control).unwrap();
        let image = Image::open(&bytes).unwrap();
        let old = Segments::new(&image).unwrap();
        let all = old.centroids().unwrap();
        let continue_ids = |old: &Segments<'_>, features: &[&str], columns: &[Column], new: &[f64], next| {
            continue_ids(old, features, columns, new, next, &control).unwrap()
        };
        // In another order, moved a tenth of the way to the first, and one far away.
        let moved = |of: usize, at: usize| all[2 * of + at] * 0.9 + all[at] * 0.1;
        let far = all[2] * 90.0 + 900.0;
        let new = [moved(2, 0), moved(2, 1), far, far, moved(1, 0), moved(1, 1), all[0], all[1]];
        assert_eq!(continue_ids(&old, &["a", "b"], &columns, &new, 10), [9, 10, 7, 4]);
        // Features in another order, and one more.
        let three = [columns[0], columns[0], columns[1]];
        let new = [all[3], all[2], 77.0, all[5], all[4], 77.0];
        assert_eq!(continue_ids(&old, &["b", "a", "c"], &three, &new, 10), [7, 9]);
        // No feature in common.
        assert_eq!(continue_ids(&old, &["c"], &columns[..1], &[1.0, 2.0], 10), [10, 11]);
    }
}
