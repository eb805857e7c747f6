//! The holdout: which rows a first fit does not see, and how well it ranks them.

use algorithms::evaluate::{Evaluation, evaluate, evaluate_neighbours};
use algorithms::interactions::{Holdout, Interactions, split, transpose};

use super::recommender::{Algorithm, Learned};
use super::running::Training;
use crate::error::{Code, Result, fail};
use crate::registry::Metric;
use crate::settings;

/// Users that a holdout samples at most.
pub(crate) const HOLDOUT_USERS: usize = 10_000;

/// Cutoffs whose metrics are stored with a version.
pub(crate) const CUTOFFS: [usize; 5] = [1, 5, 10, 20, 50];

/// Which rows score a first fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldoutChoice {
    Auto,
    Time,
    Hash,
    None,
}

/// The words of `holdout`.
pub(crate) const HOLDOUTS: [(&str, HoldoutChoice); 4] = [
    ("auto", HoldoutChoice::Auto),
    ("time", HoldoutChoice::Time),
    ("hash", HoldoutChoice::Hash),
    ("none", HoldoutChoice::None),
];

/// The holdout that a word means for this data.
pub(crate) fn holdout(choice: HoldoutChoice, has_time: bool) -> Result<Option<Holdout>> {
    match choice {
        HoldoutChoice::None => Ok(None),
        HoldoutChoice::Hash => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Auto if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Auto => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Time if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Time => {
            Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "holdout \"time\" needs a time column")
                .set_hint("Name it in \"time_column\", or use holdout \"hash\"."))
        }
    }
}

/// Fits on all but the held-out rows and measures on those.
pub(super) fn score(
    training: &mut Training<'_>,
    interactions: &Interactions,
    holdout: Holdout,
    seed: i64,
    algorithm: &dyn Algorithm,
    cutoffs: &[usize],
) -> Result<Vec<Evaluation>> {
    let control = training.control;
    let items = interactions.items.len();
    let threads = settings::max_threads();
    let (split, item_users) = training.phase("split", 0, || {
        let split = split(interactions, holdout, seed as u64, HOLDOUT_USERS, control)?;
        let item_users = transpose(&split.train, items, threads, control)?;
        Ok((split, item_users))
    })?;
    let held = split.bytes() + item_users.bytes();
    if split.users.is_empty() {
        control.give(held);
        return Ok(Vec::new());
    }
    let fitted = training
        .phase("holdout fit", algorithm.iterations(), || algorithm.fit(&split.train, &item_users, control))?;
    let evaluation = training.phase("evaluate", 0, || match &fitted.learned {
        Learned::Factors(factors) => evaluate(&split, &item_users, factors, cutoffs, threads, control),
        Learned::Neighbours(neighbours) => {
            evaluate_neighbours(&split, &item_users, neighbours.view(), false, cutoffs, threads, control)
        }
    })?;
    control.give(held + fitted.learned.bytes());
    Ok(evaluation)
}

/// A mean as people read it: sums are exact to 3e-14, so twelve decimals are the figure's own.
pub(super) fn figure(mean: f64) -> f64 {
    (mean * 1e12).round() / 1e12
}

/// The figures of an evaluation as rows of the registry.
pub(crate) fn metrics(evaluation: &[Evaluation]) -> Vec<Metric> {
    let mut rows = Vec::new();
    for each in evaluation {
        let (model, popularity, k) = (&each.model, &each.popularity, each.k);
        let pairs = [
            ("precision", model.precision, popularity.precision),
            ("recall", model.recall, popularity.recall),
            ("ndcg", model.ndcg, popularity.ndcg),
            ("map", model.map, popularity.map),
            ("hit_rate", model.hit_rate, popularity.hit_rate),
        ];
        for (metric, value, baseline) in pairs {
            let interval = value.interval();
            rows.push(Metric {
                slice: "all".into(),
                metric: format!("{metric}@{k}"),
                k: k as i32,
                value: Some(figure(value.mean)),
                baseline: Some(figure(baseline.mean)),
                ci_low: interval.map(|(low, _)| figure(low.max(0.0))),
                ci_high: interval.map(|(_, high)| figure(high.min(1.0))),
                users: model.users as i64,
            });
        }
        rows.push(Metric {
            slice: "all".into(),
            metric: format!("coverage@{k}"),
            k: k as i32,
            value: Some(model.coverage),
            baseline: Some(popularity.coverage),
            ci_low: None,
            ci_high: None,
            users: model.users as i64,
        });
    }
    rows
}
