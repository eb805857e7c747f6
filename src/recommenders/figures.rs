//! The figures of a measurement.

use recommenders::als::explicit::Errors;
use recommenders::evaluate::{Evaluation, Intervals};
use recommenders::metrics::Estimate;

use crate::models::registry::Metric;
use crate::models::train::guard::{GUARD_CUTOFF, RMSE, figure};

/// Cutoffs whose metrics are stored with a version.
pub(crate) const CUTOFFS: [usize; 5] = [1, 5, 10, 20, 50];

/// What was measured of one fit.
pub(crate) struct Scored {
    /// The figures of a ranking, by cutoff.
    pub(crate) ranking: Vec<Evaluation>,
    /// The errors of predicted ratings, and of the mean rating of each item.
    pub(crate) ratings: Option<(Errors, Errors)>,
    pub(crate) users: usize,
    /// Figures of parts of the users.
    pub(super) slices: Vec<Metric>,
}

impl Scored {
    /// The figure that the guard goes by: its name, the model's value and the baseline's.
    pub(crate) fn guard(&self) -> Option<(String, f64, f64)> {
        if let Some((model, baseline)) = self.ratings {
            return Some((RMSE.into(), figure(model.rmse), figure(baseline.rmse)));
        }
        let at = self.ranking.iter().find(|each| each.k == GUARD_CUTOFF)?;
        let (model, baseline) = (at.model.ndcg.mean, at.popularity.ndcg.mean);
        Some((format!("ndcg@{GUARD_CUTOFF}"), figure(model), figure(baseline)))
    }

    /// The standard error of the guard's figure, where it is a mean over users.
    pub(crate) fn standard_error(&self) -> Option<f64> {
        let at = self.ranking.iter().find(|each| each.k == GUARD_CUTOFF)?;
        // Of an interval of 95 %.
        at.model.ndcg.interval().map(|(low, high)| (high - low) / (2.0 * 1.96))
    }

    /// All figures as rows of the registry.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut rows = Vec::new();
        self.ranking.iter().for_each(|each| rows.extend(figures("all", each, None, false)));
        if let Some((model, baseline)) = self.ratings {
            for (metric, value, baseline) in
                [(RMSE, model.rmse, baseline.rmse), ("mae", model.mae, baseline.mae)]
            {
                rows.push(Metric {
                    slice: "all".into(),
                    metric: metric.into(),
                    k: 0,
                    value: Some(figure(value)),
                    baseline: Some(figure(baseline)),
                    ci_low: None,
                    ci_high: None,
                    users: self.users as i64,
                });
            }
        }
        rows.extend(self.slices.iter().cloned());
        rows
    }
}

/// The figures at a cutoff as rows of the registry, with the intervals of a bootstrap or the normal ones. `part` says that
/// they are of some of the held-out items, and what was shown is no news.
pub(crate) fn figures(
    slice: &str,
    evaluation: &Evaluation,
    bootstrap: Option<&Intervals>,
    part: bool,
) -> Vec<Metric> {
    let Evaluation { k, model, popularity } = evaluation;
    let mut rows = Vec::new();
    let mut row = |metric: String, k: usize, value: f64, baseline: f64, interval: Option<(f64, f64)>| {
        rows.push(Metric {
            slice: slice.into(),
            metric,
            k: k as i32,
            value: Some(figure(value)),
            baseline: Some(figure(baseline)),
            ci_low: interval.map(|(low, _)| figure(low)),
            ci_high: interval.map(|(_, high)| figure(high)),
            users: model.users as i64,
        });
    };
    let drawn = |of: fn(&Intervals) -> (f64, f64)| bootstrap.map(of);
    let share = |estimate: &Estimate| estimate.interval().map(|(low, high)| (low.max(0.0), high.min(1.0)));
    for (metric, value, baseline, interval) in [
        ("precision", model.precision, popularity.precision, drawn(|of| of.precision)),
        ("recall", model.recall, popularity.recall, drawn(|of| of.recall)),
        ("ndcg", model.ndcg, popularity.ndcg, drawn(|of| of.ndcg)),
        ("map", model.map, popularity.map, drawn(|of| of.map)),
        ("hit_rate", model.hit_rate, popularity.hit_rate, drawn(|of| of.hit_rate)),
        ("mrr", model.mrr, popularity.mrr, drawn(|of| of.mrr)),
    ] {
        row(format!("{metric}@{k}"), *k, value.mean, baseline.mean, interval.or_else(|| share(&value)));
    }
    if let (Some(value), Some(baseline)) = (model.auc, popularity.auc) {
        let interval = bootstrap.and_then(|of| of.auc).or_else(|| share(&value));
        row("auc".into(), 0, value.mean, baseline.mean, interval);
    }
    if !part {
        let novelty = model.novelty;
        let normal = novelty.interval().map(|(low, high)| (low.max(0.0), high));
        let interval = drawn(|of| of.novelty).or(normal);
        row(format!("novelty@{k}"), *k, novelty.mean, popularity.novelty.mean, interval);
        row(format!("coverage@{k}"), *k, model.coverage, popularity.coverage, None);
        row(format!("gini@{k}"), *k, model.gini, popularity.gini, None);
    }
    rows
}
