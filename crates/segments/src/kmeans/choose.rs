//! The number of groups that separates the rows best.

use std::ops::RangeInclusive;

use base::error::{Error, Result};
use base::simd::level;

use super::{Clusters, Params, Points, check, fit_at, silhouette};

/// The numbers that are tried where the caller names no others.
pub const RANGE: RangeInclusive<usize> = 2..=10;

/// A number of groups that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Groups.
    pub clusters: usize,
    /// The sum of squared distances from their centroids.
    pub inertia: f64,
    /// The mean silhouette; nothing where it is not defined.
    pub silhouette: Option<f64>,
}

/// The choice, and what it was chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The groups of the number with the greatest silhouette; the smallest such number.
    pub clusters: Clusters,
    /// Every number that was tried.
    pub tried: Vec<Tried>,
}

/// Forms each of `range` groups with the other parameters, up to as many as there are distinct rows, and chooses by
/// the silhouette of `sample` rows. The same rows are compared for every number. With one distinct row, or a range
/// that ends below 2, there is one group.
///
/// `on_iteration` gets the number of groups, the start, the iteration and the inertia. Errors: those of [`super::fit`].
pub fn choose(
    points: &Points,
    range: RangeInclusive<usize>,
    sample: usize,
    params: &Params,
    on_iteration: &mut dyn FnMut(usize, usize, usize, f64),
) -> Result<Choice> {
    let of = |clusters| Params { clusters, ..params.clone() };
    check(points, &of(*range.start()))?;
    check(points, &of(*range.end()))?;
    if range.is_empty() {
        return Err(Error::Parameter {
            name: "k_max",
            expected: format!("at least {}", range.start()),
            got: range.end().to_string(),
        });
    }
    let last = points.distinct(*range.end())?;
    let first = (*range.start()).min(last);
    points.control.start(((last + 1 - first) * params.starts * params.max_iterations) as u64);
    let mut tried = Vec::new();
    let mut best: Option<(Clusters, Option<f64>)> = None;
    for clusters in first..=last {
        let mut report = |start, iteration, inertia| on_iteration(clusters, start, iteration, inertia);
        let found = fit_at(level(), points, &of(clusters), &mut report)?;
        let groups = found.sizes.len();
        let value = silhouette(points, &found.labels, groups, sample, params.seed, params.threads)?;
        tried.push(Tried { clusters, inertia: found.inertia, silhouette: value });
        // Nothing is less than any value.
        if best.as_ref().is_none_or(|(_, best)| value > *best) {
            best = Some((found, value));
        }
    }
    let (clusters, _) = best.ok_or(Error::NoData)?;
    Ok(Choice { clusters, tried })
}
