//! Search for settings: what to try next, given what was tried. There is no state besides the trials: a search that
//! stopped goes on from its table of trials exactly as if it had not.
//!
//! The crates `tpe`, `optimizer` and `parzen` keep the history of a study in memory, beside a generator whose place in
//! its stream depends on every question before: resuming means replaying all of them, and a trial that failed or was
//! left out moves the rest. Here each trial has a stream of its own, and the estimator is a hundred lines.

mod abandon;
mod domain;
mod grid;
mod parzen;
#[cfg(test)]
mod tests;
mod tpe;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use abandon::below_median;
pub use domain::{Domain, Value};

/// How the next trial is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Every combination once, with so many values of each numeric parameter.
    Grid {
        /// Values of a numeric parameter, both ends among them; a range of fewer whole numbers has each.
        levels: usize,
    },
    /// Each trial drawn for itself.
    Random,
    /// Tree-structured Parzen estimator.
    Tpe,
}

/// How a trial ended. Higher values are better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// With a value.
    Finished(f64),
    /// Given up early, with the value until then: worse than every finished one.
    Abandoned(f64),
    /// By an error: worse than all others.
    Failed,
}

/// A trial that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// A value for each domain of the space, in its order.
    pub values: Vec<Value>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Draws until a point is new; spaces of few points are counted instead.
const ATTEMPTS: usize = 100;

/// The values of the next trial, or `None` where every point of the space was tried. The same space, trials and seed
/// give the same values.
pub fn next(space: &[Domain], trials: &[Trial], method: Method, seed: u64) -> Option<Vec<Value>> {
    if let Method::Grid { levels } = method {
        return grid::point(space, levels, trials.len());
    }
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(trials.len() as u64);
    let tried = |values: &[Value]| trials.iter().any(|trial| trial.values == values);
    let mut draw = |guided: bool| -> Vec<Value> {
        match guided {
            true => tpe::point(space, trials, &mut generator),
            false => space.iter().map(|domain| domain.draw(&mut generator)).collect(),
        }
    };
    let guided = method == Method::Tpe && trials.len() >= tpe::STARTUP;
    for attempt in 0..ATTEMPTS {
        // Where the estimator only finds what was tried, anything new says more.
        let values = draw(guided && attempt < ATTEMPTS / 2);
        if !tried(&values) {
            return Some(values);
        }
    }
    // Nearly everything was tried: the first point that was not.
    let points = grid::count(space, usize::MAX)?;
    (0..points).filter_map(|at| grid::point(space, usize::MAX, at)).find(|values| !tried(values))
}
