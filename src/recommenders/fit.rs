//! What the trainers share of a fit.

use std::time::Instant;

use super::algorithm::{Fitted, Learned};
use crate::pg::error::Result;
use crate::pg::options::Options;
use crate::pg::settings;

/// Whether the loss of the last iteration moved by less than a thousandth.
pub(crate) fn settled(losses: &[(f64, f64)]) -> bool {
    match losses {
        [.., (before, _), (last, _)] => (before - last).abs() <= 1e-3 * before.abs(),
        _ => false,
    }
}

/// A fit in one step: it has no loss and is always at its end.
pub(crate) fn fitted(
    learned: recommenders::neighbours::Neighbours,
    regularization: f64,
    from: Instant,
) -> Fitted {
    let losses = vec![(f64::NAN, from.elapsed().as_secs_f64())];
    let learned = Learned::Neighbours(learned);
    Fitted { learned, iterations: 1, converged: true, losses, regularization, alpha: 0.0 }
}

pub(crate) fn threads(options: &Options) -> Result<usize> {
    let most = settings::max_threads() as i64;
    Ok(options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize)
}
