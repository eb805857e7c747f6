//! Tree-structured Parzen estimator (Bergstra, Bardenet, Bengio, Kegl: Algorithms for Hyper-Parameter Optimization,
//! NIPS 2011). The trials are divided into the best and the rest; of some candidates drawn where the best lie, that
//! one is next for which the best are densest against the rest: it has the highest expected improvement. Each
//! parameter has its own densities.

use rand::Rng;

use super::domain::{Domain, Value};
use super::parzen::{Parzen, Shares};
use super::{Outcome, Trial};

/// Trials that are drawn at random first, as in optuna.
pub(super) const STARTUP: usize = 10;

/// Candidates for each parameter, as in hyperopt and optuna.
const CANDIDATES: usize = 24;

/// How many of so many trials are the best ones: a tenth and 25 at most, as in optuna.
fn best(trials: usize) -> usize {
    trials.div_ceil(10).min(25)
}

/// What sorts the best trials to the front: finished before abandoned before failed, then by value. Earlier trials
/// stay before later ones that are as good.
fn rank(outcome: Outcome) -> (u8, f64) {
    match outcome {
        Outcome::Finished(value) if !value.is_nan() => (0, -value),
        Outcome::Abandoned(value) if !value.is_nan() => (1, -value),
        _ => (2, 0.0),
    }
}

pub(super) fn point(space: &[Domain], trials: &[Trial], generator: &mut impl Rng) -> Vec<Value> {
    let mut sorted: Vec<&Trial> = trials.iter().filter(|trial| trial.values.len() == space.len()).collect();
    sorted.sort_by(|a, b| {
        let (a, b) = (rank(a.outcome), rank(b.outcome));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let (good, rest) = sorted.split_at(best(sorted.len()));
    let next = space.iter().enumerate().map(|(at, domain)| match *domain {
        Domain::Choice(count) => {
            let chosen = |trials: &[&Trial]| {
                let chosen = trials.iter().filter_map(|trial| match trial.values[at] {
                    Value::Choice(choice) => Some(choice),
                    _ => None,
                });
                Shares::new(count, chosen)
            };
            let (good, rest) = (chosen(good), chosen(rest));
            let drawn = (0..CANDIDATES).map(|_| good.draw(generator));
            let gains = drawn.map(|choice| (Value::Choice(choice), good.of(choice) / rest.of(choice)));
            highest(gains).unwrap_or(Value::Choice(0))
        }
        Domain::Integer { .. } | Domain::Real { .. } => {
            let places = |trials: &[&Trial]| {
                Parzen::new(trials.iter().filter_map(|trial| domain.unit(trial.values[at])).collect())
            };
            let (good, rest) = (places(good), places(rest));
            let drawn = (0..CANDIDATES).map(|_| domain.at(good.draw(generator)));
            let gains = drawn.map(|value| {
                // Where a whole number stands, not where it was rounded from.
                let place = domain.unit(value).unwrap_or(0.5);
                (value, good.density(place) / rest.density(place))
            });
            highest(gains).unwrap_or_else(|| domain.at(0.5))
        }
    });
    next.collect()
}

/// The first of the values with the highest gain.
fn highest(gains: impl Iterator<Item = (Value, f64)>) -> Option<Value> {
    gains.reduce(|best, each| if each.1 > best.1 { each } else { best }).map(|(value, _)| value)
}
