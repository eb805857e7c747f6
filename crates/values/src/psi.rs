//! The population stability index of two distributions: the sum over bins of (q - p) ln(q / p), where p and q are the
//! shares of the reference and of what is compared with it.
//!
//! Customary readings: below 0.1 stable, above 0.25 changed (S. Lewis, "An Introduction to Credit Scoring", 1994).

use crate::quantiles::Distribution;

/// What an empty bin counts as, since no logarithm is taken of 0.
pub const LEAST: f64 = 1e-4;

/// The index of shares that belong together.
pub fn psi(shares: impl Iterator<Item = (f64, f64)>) -> f64 {
    shares
        .map(|(p, q)| {
            let (p, q) = (p.max(LEAST), q.max(LEAST));
            (q - p) * (q / p).ln()
        })
        .sum()
}

/// The index of two distributions of numbers, over bins that end with the quantiles of the reference; bins that would
/// end with the same number are one.
pub fn of_numbers(reference: &Distribution, other: &Distribution, bins: usize) -> f64 {
    let places: Vec<f64> = (0..=bins).map(|k| k as f64 / bins as f64).collect();
    let mut bounds = reference.quantiles(&places);
    bounds.dedup();
    // Without the ends: the first and the last bin are open.
    let inner = match bounds.as_slice() {
        [_, inner @ .., _] => inner,
        _ => &[],
    };
    let bins_of = |distribution: &Distribution| {
        let mut ends = distribution.shares_to(inner);
        ends.push(1.0);
        let starts: Vec<f64> = std::iter::once(0.0).chain(ends.iter().copied()).collect();
        ends.into_iter().zip(starts).map(|(end, start)| end - start).collect::<Vec<f64>>()
    };
    psi(bins_of(reference).into_iter().zip(bins_of(other)))
}
