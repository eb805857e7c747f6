//! The end of a training: the version is written, and goes live if the guard says so.

use algorithms::evaluate::Evaluation;
use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::Value;

use super::guard::{GUARD_CUTOFF, decide};
use super::holdout::{figure, metrics};
use super::running::Training;
use super::target::Target;
use super::{Factorizer, Fitted, Request};
use crate::call::{Call, datum};
use crate::deploy::{self, KEEP_VERSIONS};
use crate::error::{Code, Result, fail};
use crate::fault::point;
use crate::registry;
use crate::registry::scan::Seen;
use crate::registry::write::{self, NewVersion};
use crate::source::Counts;
use crate::{identity, locks, notice};

/// What was trained.
pub(super) struct Trained {
    pub(super) target: Target,
    pub(super) counts: Counts,
    pub(super) users: usize,
    pub(super) items: usize,
    pub(super) evaluation: Vec<Evaluation>,
    pub(super) fitted: Fitted,
    pub(super) image_id: Uuid,
    pub(super) bytes: usize,
}

/// What `persona.training_result` shows.
pub(super) struct Published {
    model: String,
    version: i32,
    algorithm: &'static str,
    rows_used: i64,
    rows_skipped: i64,
    iterations: i32,
    converged: bool,
    metric: Option<String>,
    value: Option<f64>,
    baseline: Option<f64>,
    live_value: Option<f64>,
    seconds: f64,
    pub(super) deployed: bool,
    deploy_reason: String,
}

/// Writes the version; the image is stored already.
pub(super) fn publish(
    request: &Request,
    factorizer: &dyn Factorizer,
    training: Training<'_>,
    trained: Trained,
) -> Result<Published> {
    let Trained { target, counts, users, items, evaluation, fitted, image_id, bytes } = trained;
    let model_id = target.model_id;
    // From here on the view stays and the deployment log is ours until the transaction ends.
    if !identity::hold(target.relation) || registry::view_of(model_id, Seen::Latest)? != Some(target.relation)
    {
        return Err(fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("model {} was dropped while it was trained", identity::shown(&target.name)),
        ));
    }
    locks::deploying(target.relation)?;
    let guard = evaluation.iter().find(|each| each.k == GUARD_CUTOFF);
    let value = guard.map(|guard| figure(guard.model.ndcg.mean));
    let baseline = guard.map(|guard| figure(guard.popularity.ndcg.mean));
    let metric = guard.map(|_| format!("ndcg@{GUARD_CUTOFF}"));
    let newest = registry::version(model_id, None, Seen::Latest)?;
    let version = newest.map_or(1, |newest| newest.version + 1);
    let live = match registry::live(model_id, Seen::Latest)? {
        Some(live) => registry::version(model_id, Some(live.version), Seen::Latest)?,
        None => None,
    };
    let live_value = live.as_ref().and_then(|live| live.value.filter(|_| live.metric == metric));
    let (deployed, deploy_reason) = decide(request.deploy, live.as_ref(), value, baseline, live_value);
    let mut hyperparameters = factorizer.hyperparameters(&fitted);
    hyperparameters.insert("rows_with_null".into(), counts.skipped.null.into());
    hyperparameters.insert("rows_not_finite".into(), counts.skipped.not_finite.into());
    hyperparameters.insert("rows_not_positive".into(), counts.skipped.not_positive.into());
    let rows_skipped = counts.skipped.total() as i64;
    let result = Published {
        model: target.name,
        version,
        algorithm: factorizer.algorithm(),
        rows_used: counts.rows_read as i64 - rows_skipped,
        rows_skipped,
        iterations: fitted.iterations as i32,
        converged: fitted.converged,
        metric,
        value,
        baseline,
        live_value,
        seconds: training.started.elapsed().as_secs_f64(),
        deployed,
        deploy_reason,
    };
    if let Some((name, spec)) = target.renewed {
        write::update_model(model_id, &name, JsonB(Value::Object(spec)))?;
    }
    write::insert_version(NewVersion {
        model_id,
        version,
        image_id,
        algorithm: result.algorithm,
        rows_used: result.rows_used,
        rows_skipped,
        users: users as i64,
        items: items as i64,
        iterations: result.iterations,
        converged: result.converged,
        metric: result.metric.clone(),
        value,
        baseline,
        live_value,
        seconds: result.seconds,
        bytes: bytes as i64,
        deploy_reason: result.deploy_reason.clone(),
        hyperparameters: JsonB(Value::Object(hyperparameters)),
    })?;
    point("version");
    write::insert_metrics(model_id, version, &metrics(&evaluation))?;
    point("metrics");
    write::insert_log(model_id, version, &training.log)?;
    if deployed {
        deploy::publish(model_id, version, image_id, "train")?;
    }
    point("deployed");
    deploy::prune(model_id, request.keep_versions.unwrap_or(KEEP_VERSIONS))?;
    point("pruned");
    Ok(result)
}

impl Published {
    /// Warns of a live version that is worse than recommending what is popular.
    pub(super) fn warn(&self) {
        let (Some(value), Some(baseline), true) = (self.value, self.baseline, self.deployed) else { return };
        if value < baseline {
            let model = &self.model;
            notice::warning(
                &format!(
                    "model \"{model}\" is live although it ranks below popularity ({value:.4} against {baseline:.4})"
                ),
                "Train on more interactions, or try other settings.",
            );
        }
    }

    /// The row that the training answers.
    pub(super) fn record(self, call: &Call) -> Result<Option<pg_sys::Datum>> {
        call.record(&[
            datum(self.model),
            datum(self.version),
            datum(self.algorithm),
            datum(self.rows_used),
            datum(self.rows_skipped),
            datum(self.iterations),
            datum(self.converged),
            self.metric.and_then(datum),
            self.value.and_then(datum),
            self.baseline.and_then(datum),
            self.live_value.and_then(datum),
            datum(self.seconds),
            datum(self.deployed),
            datum(self.deploy_reason),
        ])
    }
}
