//! K-means clustering: parts rows into `clusters` groups with the least sum of squared distances from the group's mean.
//!
//! Lloyd's iteration (Least squares quantization in PCM, 1982) from greedy k-means++ starts. A result is the same to
//! the bit for every number of threads and on every processor; from given centroids it is so for every order of the
//! rows, too.

mod assign;
mod choose;
mod lloyd;
pub(crate) mod points;
mod seeding;
mod silhouette;
#[cfg(test)]
mod tests;

pub use choose::{Choice, RANGE, Tried, choose};
pub use points::{Frame, Points};
pub use silhouette::{SAMPLE, silhouette};

use std::sync::{Mutex, PoisonError};

use assign::{Centers, JOB, NONE, Sums, assign};
use base::aligned::{Buffer, fill};
use base::budget::SEGMENTS;
use base::error::{Error, Result};
use base::jobs::share;
use base::simd::{Level, level};
use lloyd::{Run, Stop};
use points::{BLOCK, Exact};

/// The most clusters.
pub const MAX_CLUSTERS: usize = 10_000;
/// The most columns.
pub const MAX_COLUMNS: usize = 2048;
/// The most starts.
pub const MAX_STARTS: usize = 1000;
/// The most iterations of a start.
pub const MAX_ITERATIONS: usize = 10_000;

/// How to cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Groups to form, 1 to 10000; 8.
    pub clusters: usize,
    /// Starts, of which the best counts, 1 to 1000; 10.
    pub starts: usize,
    /// Passes over the rows per start, 1 to 10000; 300.
    pub max_iterations: usize,
    /// The sum of squared movements of the centroids, relative to the mean variance of the columns, at which they
    /// rest; at least 0; 1e-4.
    pub tolerance: f64,
    /// Of the starts.
    pub seed: u64,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { clusters: 8, starts: 10, max_iterations: 300, tolerance: 1e-4, seed: 42, threads: 1 }
    }
}

impl Params {
    /// `Error::Parameter` for the first parameter outside its range, by the name that SQL has for it.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(1..=MAX_CLUSTERS).contains(&self.clusters) {
            return error("k", "between 1 and 10000", self.clusters.to_string());
        }
        if !(1..=MAX_STARTS).contains(&self.starts) {
            return error("n_init", "between 1 and 1000", self.starts.to_string());
        }
        if !(1..=MAX_ITERATIONS).contains(&self.max_iterations) {
            return error("max_iterations", "between 1 and 10000", self.max_iterations.to_string());
        }
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            return error("tolerance", "a finite number, at least 0", self.tolerance.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        Ok(())
    }
}

/// Rows in groups. Groups are numbered by falling size, equal ones by the first number of their centroids.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// Row-major, as points of the [`Frame`]; as many as there are groups, which are fewer than asked for where there
    /// are fewer distinct rows.
    pub centroids: Vec<f64>,
    /// Rows of each group; at least one.
    pub sizes: Vec<u64>,
    /// The group of each row: that of the nearest centroid.
    pub labels: Vec<u32>,
    /// The distance of each row from its centroid, in scaled units.
    pub distances: Vec<f32>,
    /// The sum of the squared distances, in scaled units.
    pub inertia: f64,
    /// Iterations of the best start.
    pub iterations: usize,
    /// Whether the best start ended before the most iterations.
    pub converged: bool,
}

/// Forms groups. `on_iteration` is called in this thread with the start, from 1, the iteration, from 1, and the
/// inertia after it, which never rises within a start.
///
/// The starts depend on the order of the rows, so the caller hands them over in that of their ids. Progress counts
/// iterations. Beyond the points it takes 4 bytes per row from the budget; the labels and distances that it returns
/// are not taken, since the caller keeps them.
///
/// Errors: `Parameter`, `Cancelled` (noticed within 10 ms by every thread), `Memory`.
pub fn fit(
    points: &Points,
    params: &Params,
    on_iteration: &mut dyn FnMut(usize, usize, f64),
) -> Result<Clusters> {
    check(points, params)?;
    points.control.start((params.starts * params.max_iterations) as u64);
    fit_at(level(), points, params, on_iteration)
}

/// Forms groups from given centroids, row-major points of the [`Frame`], in one start.
pub fn fit_from(
    points: &Points,
    centroids: &[f64],
    params: &Params,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Clusters> {
    check(points, params)?;
    if centroids.is_empty() || !centroids.len().is_multiple_of(points.columns) {
        return Err(Error::Corrupted("no whole number of centroids"));
    }
    points.control.start(params.max_iterations as u64);
    from_at(level(), points, centroids.to_vec(), params, on_iteration)
}

fn from_at(
    level: Level,
    points: &Points,
    centroids: Vec<f64>,
    params: &Params,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Clusters> {
    let run = lloyd::iterate(level, points, centroids, stop(points, params), params.threads, on_iteration)?;
    finish(level, points, run, params.threads)
}

fn check(points: &Points, params: &Params) -> Result<()> {
    params.check()?;
    if points.columns > MAX_COLUMNS {
        return Err(Error::TooMany { what: "features", limit: MAX_COLUMNS as u64 });
    }
    Ok(())
}

fn stop(points: &Points, params: &Params) -> Stop {
    let variance = points.total / points.rows as f64 / points.columns as f64;
    Stop { iterations: params.max_iterations, movement: params.tolerance * variance }
}

/// Without a start of the progress: several numbers of clusters may share one.
fn fit_at(
    level: Level,
    points: &Points,
    params: &Params,
    on_iteration: &mut dyn FnMut(usize, usize, f64),
) -> Result<Clusters> {
    let clusters = points.distinct(params.clusters)?;
    let mut best: Option<Run> = None;
    for start in 0..params.starts {
        let stream = (params.seed, start as u64);
        let centroids = seeding::seed(level, points, clusters, stream, params.threads)?;
        let mut report = |iteration, inertia: f64| {
            on_iteration(start + 1, iteration, inertia * points.frame.unit * points.frame.unit);
        };
        let stop = stop(points, params);
        let run = lloyd::iterate(level, points, centroids, stop, params.threads, &mut report)?;
        // Less by more than rounding: equal ends of different starts are one result.
        let better = |best: &Run| run.inertia < best.inertia - 1e-12 * points.total;
        if best.as_ref().is_none_or(better) {
            best = Some(run);
        }
    }
    match best {
        Some(run) => finish(level, points, run, params.threads),
        None => Err(Error::NoData),
    }
}

/// Numbers the groups, and finds labels and distances.
fn finish(level: Level, points: &Points, run: Run, threads: usize) -> Result<Clusters> {
    let (columns, control, rows) = (points.columns, points.control, points.rows);
    let clusters = run.centroids.len() / columns;
    let mut labels = Buffer::<u32>::zeros(SEGMENTS, points.norms.len(), control)?;
    for labels in labels.chunks_mut(1 << 20) {
        control.check()?;
        labels.fill(NONE);
    }
    let mut sums = Sums::new(clusters, columns, control)?;
    let centers = Centers::new(&run.centroids, columns, control)?;
    assign(level, points, &centers, threads, &mut labels, &mut sums)?;

    let centroid = |cluster: usize| &run.centroids[cluster * columns..][..columns];
    let mut order: Vec<usize> = (0..clusters).filter(|&cluster| sums.counts[cluster] > 0).collect();
    order.sort_by(|&a, &b| {
        let coordinates = || {
            let pairs = centroid(a).iter().zip(centroid(b));
            pairs.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne())
        };
        sums.counts[b].cmp(&sums.counts[a]).then_with(|| coordinates().unwrap_or(std::cmp::Ordering::Equal))
    });
    let mut number = vec![0u32; clusters];
    for (to, &from) in order.iter().enumerate() {
        number[from] = to as u32;
    }

    let mut result = Clusters {
        centroids: order.iter().flat_map(|&cluster| centroid(cluster).to_vec()).collect(),
        sizes: order.iter().map(|&cluster| sums.counts[cluster] as u64).collect(),
        labels: fill(SEGMENTS, rows, 0, control)?,
        distances: fill(SEGMENTS, rows, 0.0, control)?,
        inertia: 0.0,
        iterations: run.iterations,
        converged: run.converged,
    };
    let unit = points.frame.unit;
    let total = Mutex::new(Exact::new(rows, columns));
    let jobs =
        result.labels.chunks_mut(JOB * BLOCK).zip(result.distances.chunks_mut(JOB * BLOCK)).enumerate();
    share(jobs, threads.min(rows.div_ceil(JOB * BLOCK)), control, |jobs| {
        let mut sum = Exact::new(rows, columns);
        while let Some((job, (numbered, distances))) = jobs.next()? {
            let rows = job * JOB * BLOCK..;
            for ((row, to), distance) in rows.zip(numbered).zip(distances) {
                let label = labels[row] as usize;
                let square = lloyd::square(points, row, centroid(label));
                sum.add(square);
                *to = number[label];
                *distance = (square.sqrt() * unit) as f32;
            }
        }
        total.lock().unwrap_or_else(PoisonError::into_inner).merge(sum);
        Ok(())
    })?;
    result.inertia = total.into_inner().unwrap_or_else(PoisonError::into_inner).value() * unit * unit;
    Ok(result)
}
