//! Lloyd's iteration from given centroids.

use base::aligned::Buffer;
use base::budget::SEGMENTS;
use base::error::Result;
use base::simd::Level;

use super::assign::{Centers, NONE, Sums, assign};
use super::points::{BLOCK, Points};

/// When to stop.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    pub(super) iterations: usize,
    /// The sum of squared movements of the centroids at which they rest, in units of points.
    pub(super) movement: f64,
}

/// Where one start ended.
pub(super) struct Run {
    /// Row-major, each of them the nearest one of some row.
    pub(super) centroids: Vec<f64>,
    /// The sum of squared distances, as it follows from the sums: to about 1e-15 of that around the mean.
    pub(super) inertia: f64,
    pub(super) iterations: usize,
    pub(super) converged: bool,
}

/// Iterates until no label changes, the centroids rest, or the iterations are used up. `on_iteration` gets the
/// iteration, from 1, and the inertia around the new centroids.
pub(super) fn iterate(
    level: Level,
    points: &Points,
    mut centroids: Vec<f64>,
    stop: Stop,
    threads: usize,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Run> {
    let (columns, control) = (points.columns, points.control);
    let clusters = centroids.len() / columns;
    let mut labels = Buffer::<u32>::zeros(SEGMENTS, points.norms.len(), control)?;
    for labels in labels.chunks_mut(1 << 20) {
        control.check()?;
        labels.fill(NONE);
    }
    let mut sums = Sums::new(clusters, columns, control)?;
    let (mut iterations, mut converged, mut settled) = (0, false, false);
    while iterations < stop.iterations && !converged {
        let centers = Centers::new(&centroids, columns, control)?;
        let mut changed = assign(level, points, &centers, threads, &mut labels, &mut sums)?;
        changed += fill_empty(points, &centroids, &mut labels, &mut sums)?;
        let means = means(points, &centroids, &sums);
        let movement: f64 = means.iter().zip(&centroids).map(|(new, old)| (new - old).powi(2)).sum();
        centroids = means;
        iterations += 1;
        control.advance(1);
        on_iteration(iterations, inertia(points, &centroids, &sums));
        settled = changed == 0;
        converged = settled || movement <= stop.movement;
    }
    control.advance((stop.iterations - iterations) as u64);
    if !settled {
        // The centroids moved after the labels were given.
        let centers = Centers::new(&centroids, columns, control)?;
        assign(level, points, &centers, threads, &mut labels, &mut sums)?;
    }
    let inertia = inertia(points, &centroids, &sums);
    // A centroid may lose its last row to another one in this last step.
    let kept = centroids.chunks_exact(columns).zip(&sums.counts).filter(|(_, count)| **count > 0);
    let centroids = kept.flat_map(|(centroid, _)| centroid.to_vec()).collect();
    Ok(Run { centroids, inertia, iterations, converged })
}

/// The mean of each cluster; the centroid as it was where more were given than there are distinct rows.
fn means(points: &Points, centroids: &[f64], sums: &Sums) -> Vec<f64> {
    let mut means = centroids.to_vec();
    let clusters = means.chunks_exact_mut(points.columns).zip(sums.totals.chunks_exact(points.columns));
    for ((means, totals), &count) in clusters.zip(&sums.counts).filter(|(_, count)| **count > 0) {
        for ((mean, &total), grid) in means.iter_mut().zip(totals).zip(&points.grid) {
            *mean = total as f64 / count as f64 / grid;
        }
    }
    means
}

/// `sum |x - c|^2 = sum |x|^2 + sum_c n_c |c|^2 - 2 c . (sum of the rows of c)`.
fn inertia(points: &Points, centroids: &[f64], sums: &Sums) -> f64 {
    let columns = points.columns;
    let clusters = centroids.chunks_exact(columns).zip(sums.totals.chunks_exact(columns)).zip(&sums.counts);
    let mut change = 0.0;
    for ((centroid, totals), &count) in clusters {
        for ((&number, &total), grid) in centroid.iter().zip(totals).zip(&points.grid) {
            change += number * (count as f64 * number - 2.0 * (total as f64 / grid));
        }
    }
    (points.total + change).max(0.0)
}

/// Gives each cluster without rows the row that is farthest from its own centroid, the first of equally far ones, and
/// returns how many rows moved. A cluster's only row stays where it is, so that no more rows move than there are clusters.
pub(super) fn fill_empty(
    points: &Points,
    centroids: &[f64],
    labels: &mut [u32],
    sums: &mut Sums,
) -> Result<u64> {
    let mut moved: Vec<usize> = Vec::new();
    while let Some(empty) = sums.counts.iter().position(|&count| count == 0) {
        let (mut farthest, mut most) = (None, -1.0);
        for block in 0..points.blocks() {
            points.control.check()?;
            let rows = block * BLOCK..block * BLOCK + points.rows_of(block);
            for (row, &label) in rows.clone().zip(&labels[rows]) {
                let label = label as usize;
                let square = square(points, row, &centroids[label * points.columns..]);
                if square > most && sums.counts[label] > 1 && !moved.contains(&row) {
                    (farthest, most) = (Some(row), square);
                }
            }
        }
        // There are at least as many distinct rows as clusters, so there is one.
        let Some(row) = farthest else { break };
        sums.relabel(points, row / BLOCK, row % BLOCK, labels[row], empty as u32);
        labels[row] = empty as u32;
        moved.push(row);
    }
    Ok(moved.len() as u64)
}

/// The squared distance of a row from a point, in the order of [`Centers::exact`].
#[inline(always)]
pub(super) fn square(points: &Points, row: usize, point: &[f64]) -> f64 {
    points.row(row).zip(point).map(|(number, center)| (f64::from(number) - center).powi(2)).sum()
}
