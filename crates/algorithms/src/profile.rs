//! What the groups of a clustering are like: members, means, and how far these are from everybody's.

mod describe;

pub use describe::{THRESHOLD, describe};

use crate::control::Control;
use crate::error::{Error, Result};
use crate::scale::columns::Column;

/// Numbers read between two looks at the control.
const GLANCE: usize = 1 << 18;

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its rows.
    pub members: u64,
    /// Its part of all rows, 0 to 1.
    pub share: f64,
    /// The mean distance of its rows from its centroid; nothing without rows.
    pub mean_distance: Option<f64>,
    /// For each feature.
    pub features: Vec<Feature>,
}

/// One feature of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feature {
    /// The mean of its rows, in the user's units; nothing without rows.
    pub mean: Option<f64>,
    /// The mean of all rows.
    pub population_mean: f64,
    /// `(mean - population mean) / population deviation`; 0 for a feature that does not vary.
    pub z: Option<f64>,
}

/// The profile of each of `clusters` groups, from row-major `rows` in the user's units, the label (below `clusters`)
/// and the distance of each row. `columns` were found on the same rows.
///
/// Errors: `Cancelled`, `Corrupted` where the lengths do not fit.
pub fn profile<T>(
    rows: &[T],
    columns: &[Column],
    labels: &[u32],
    distances: &[f32],
    clusters: usize,
    control: &Control,
) -> Result<Vec<Profile>>
where
    T: Copy + Into<f64>,
{
    let width = columns.len();
    let fits = labels.len() == distances.len()
        && rows.len() == labels.len() * width
        && labels.iter().all(|&label| (label as usize) < clusters);
    if !fits || width == 0 {
        return Err(Error::Corrupted("labels do not fit the rows"));
    }
    let mut counts = vec![0u64; clusters];
    let mut lengths = vec![0.0; clusters];
    let mut sums = vec![0.0; clusters * width];
    let step = (GLANCE / width).max(1);
    let pieces = rows.chunks(step * width).zip(labels.chunks(step)).zip(distances.chunks(step));
    for ((rows, labels), distances) in pieces {
        control.check()?;
        for ((row, &label), &distance) in rows.chunks_exact(width).zip(labels).zip(distances) {
            let label = label as usize;
            counts[label] += 1;
            lengths[label] += f64::from(distance);
            // Distances from the mean of all: sums of large values that vary little would lose their digits.
            let sums = &mut sums[label * width..][..width];
            for ((sum, &value), column) in sums.iter_mut().zip(row).zip(columns) {
                *sum += value.into() - column.mean;
            }
        }
    }
    let groups = counts.iter().zip(&lengths).zip(sums.chunks_exact(width));
    let profiles = groups.map(|((&members, length), sums)| {
        let mean_of = |sum: f64| (members > 0).then(|| sum / members as f64);
        let features = sums.iter().zip(columns).map(|(&sum, column)| {
            let apart = mean_of(sum);
            let z = |apart: f64| if column.deviation > 0.0 { apart / column.deviation } else { 0.0 };
            Feature {
                mean: apart.map(|apart| column.mean + apart),
                population_mean: column.mean,
                z: apart.map(z),
            }
        });
        Profile {
            members,
            share: members as f64 / labels.len() as f64,
            mean_distance: mean_of(*length),
            features: features.collect(),
        }
    });
    Ok(profiles.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::columns::{self, Scaling};

    #[test]
    fn known_profiles() -> Result<()> {
        let control = Control::unlimited();
        // Two groups; the second feature does not vary.
        let rows = [1.0, 7.0, 3.0, 7.0, 8.0, 7.0, 12.0, 7.0];
        let columns = columns::fit(&rows, 2, Scaling::Standard, &control)?;
        let found = profile(&rows, &columns, &[0, 0, 2, 2], &[1.0, 1.0, 2.0, 4.0], 3, &control)?;
        assert_eq!(found.iter().map(|group| group.members).collect::<Vec<_>>(), [2, 0, 2]);
        assert_eq!((found[0].share, found[0].mean_distance), (0.5, Some(1.0)));
        assert_eq!(found[2].mean_distance, Some(3.0));
        assert_eq!((found[1].share, found[1].mean_distance, found[1].features[0].mean), (0.0, None, None));
        // Mean 6, squared distances 25 + 9 + 4 + 36 = 74.
        let deviation = 18.5f64.sqrt();
        let expected = Feature { mean: Some(2.0), population_mean: 6.0, z: Some(-4.0 / deviation) };
        assert_eq!(found[0].features[0], expected);
        assert_eq!(found[2].features[0].mean, Some(10.0));
        assert_eq!(found[2].features[1], Feature { mean: Some(7.0), population_mean: 7.0, z: Some(0.0) });
        let wrong = profile(&rows, &columns, &[0, 0, 3, 2], &[0.0; 4], 3, &control);
        assert!(matches!(wrong, Err(Error::Corrupted(_))));
        Ok(())
    }

    #[test]
    fn large_values_keep_their_digits() -> Result<()> {
        let control = Control::unlimited();
        let rows: Vec<f64> = (0..100_000).map(|row| 1.7e9 + f64::from(row % 4)).collect();
        let labels: Vec<u32> = (0..100_000).map(|row| row % 4).collect();
        let columns = columns::fit(&rows, 1, Scaling::Standard, &control)?;
        let found = profile(&rows, &columns, &labels, &vec![0.0; 100_000], 4, &control)?;
        for (label, group) in found.iter().enumerate() {
            assert_eq!(group.features[0].mean, Some(1.7e9 + label as f64));
        }
        Ok(())
    }
}
