//! The end of a training: the version is written, and goes live if the guard says so.

use pgrx::JsonB;
use serde_json::{Map, Value};

use super::guard::{DeployChoice, RMSE, SPLIT, UPDATED_FROM, ancestor, better, decide};
use super::running::{Stored, Training};
use super::target::Target;
use crate::models::images::Ready;
use crate::models::prune::{self, Keep};
use crate::models::registry::scan::Seen;
use crate::models::registry::write::{self, NewVersion};
use crate::models::registry::{self, Metric, Version, models};
use crate::models::{deploy, identity, kind, locks};
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::shown;
use crate::pg::notice;

/// What was trained.
pub(crate) struct Finished {
    pub(crate) image: Stored,
    pub(crate) algorithm: &'static str,
    pub(crate) rows_used: i64,
    pub(crate) rows_skipped: i64,
    pub(crate) users: Option<i64>,
    pub(crate) items: Option<i64>,
    pub(crate) iterations: i32,
    pub(crate) converged: bool,
    pub(crate) metric: Option<String>,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    /// Whether its algorithm is the one that the baseline is of.
    pub(crate) is_baseline: bool,
    pub(crate) metrics: Vec<Metric>,
    /// Why it was trained as it was, where something was chosen.
    pub(crate) reason: Option<String>,
    pub(crate) hyperparameters: Map<String, Value>,
}

/// Whether a version goes live, and how many are kept.
pub(crate) struct Deploy {
    pub(crate) choice: DeployChoice,
    /// Whether a worse value keeps it back.
    pub(crate) guarded: bool,
    pub(crate) keep: Keep,
}

/// What `persona.training_result` shows.
pub(crate) struct Published {
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
    deployed: bool,
    deploy_reason: String,
}

impl Finished {
    /// Writes the version. `live` brings what stands beside the model in line with it, where it goes live; it gets the
    /// number of the version.
    pub(crate) fn publish(
        self,
        mut training: Training<'_>,
        target: Target,
        deploy: Deploy,
        on_live: &mut dyn FnMut(&mut Training<'_>, i32) -> Result<()>,
    ) -> Result<Published> {
        let model_id = target.model_id;
        // From here on the view stays and the deployment log is ours until the transaction ends.
        if !identity::hold(target.relation)
            || registry::view_of(model_id, Seen::Latest)? != Some(target.relation)
        {
            return Err(fail(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("model {} was dropped while it was trained", shown(&target.name)),
            ));
        }
        locks::deploying(target.relation)?;
        let newest = registry::version(model_id, None, Seen::Latest)?;
        let version = newest.map_or(1, |newest| newest.version + 1);
        let live = match registry::live(model_id, Seen::Latest)? {
            Some(live) => registry::version(model_id, Some(live.version), Seen::Latest)?,
            None => None,
        };
        // An update is not measured: nothing is compared with it.
        let measured = match live.clone().filter(|_| self.value.is_some()) {
            Some(live) => ancestor(model_id, live, usize::MAX)?.map(|found| found.version),
            None => None,
        };
        let split = |facts: &Map<String, Value>| facts.get(SPLIT).cloned();
        let of_live = measured.as_ref().and_then(|live| split(&live.hyperparameters));
        let same_split = of_live == split(&self.hyperparameters);
        let live_value = measured
            .as_ref()
            .and_then(|live| live.value.filter(|_| live.metric == self.metric && same_split));
        let outrun = live.as_ref().is_some_and(|live| !follows(&self.hyperparameters, live));
        let (deployed, deploy_reason) = match (&live, deploy.choice) {
            // Somebody deployed another one by hand, who will have had a reason.
            (Some(live), choice) if outrun && choice != DeployChoice::Never => {
                (false, format!("version {} was deployed meanwhile", live.version))
            }
            (Some(live), DeployChoice::Auto) if !deploy.guarded => {
                (true, format!("follows version {}", live.version))
            }
            (live, choice) => {
                let errors = self.metric.as_deref() == Some(RMSE);
                let against = if live_value.is_some() { &measured } else { live };
                // Of one that is its own baseline only a worse one is no better than nothing.
                let own = self.is_baseline && self.value >= self.baseline;
                let baseline = self.baseline.filter(|_| !own);
                let decided = decide(choice, against.as_ref(), errors, (self.value, baseline, live_value));
                match (choice, live) {
                    (DeployChoice::Auto, Some(_))
                        if self.value.is_some() && of_live.is_some() && !same_split =>
                    {
                        (decided.0, format!("{}, which was measured on another split", decided.1))
                    }
                    _ => decided,
                }
            }
        };
        let deploy_reason = match self.reason {
            Some(reason) => format!("{deploy_reason}; {reason}"),
            None => deploy_reason,
        };
        let mut result = Published {
            model: target.name,
            version,
            algorithm: self.algorithm,
            rows_used: self.rows_used,
            rows_skipped: self.rows_skipped,
            iterations: self.iterations,
            converged: self.converged,
            metric: self.metric,
            value: self.value,
            baseline: self.baseline,
            live_value,
            seconds: 0.0,
            deployed,
            deploy_reason,
        };
        if let Some((name, spec)) = target.renewed {
            let reads = kind::trainer(&spec)?.reads();
            models::update_model(model_id, &name, JsonB(Value::Object(spec)), &reads)?;
        }
        if deployed {
            on_live(&mut training, version)?;
        }
        result.seconds = training.started.elapsed().as_secs_f64();
        write::insert_version(NewVersion {
            model_id,
            version,
            image_id: self.image.id,
            algorithm: result.algorithm,
            rows_used: result.rows_used,
            rows_skipped: result.rows_skipped,
            users: self.users,
            items: self.items,
            iterations: result.iterations,
            converged: result.converged,
            metric: result.metric.clone(),
            value: result.value,
            baseline: result.baseline,
            live_value,
            seconds: result.seconds,
            bytes: self.image.bytes,
            deploy_reason: result.deploy_reason.clone(),
            hyperparameters: JsonB(Value::Object(self.hyperparameters)),
        })?;
        point("version");
        write::insert_metrics(model_id, version, &self.metrics)?;
        point("metrics");
        write::insert_log(model_id, version, &training.log)?;
        if deployed {
            deploy::publish(model_id, version, self.image.id, "train")?;
            target.pending.forget()?;
        } else if !outrun {
            target.pending.keep(version)?;
        }
        point("deployed");
        prune::after_training(model_id, deploy.keep)?;
        point("pruned");
        if deployed {
            training.file.take().into_iter().for_each(Ready::publish);
        }
        point("published");
        Ok(result)
    }
}

/// Whether a version is one of its own, or an update of the one that is live.
fn follows(facts: &Map<String, Value>, live: &Version) -> bool {
    facts.get(UPDATED_FROM).is_none_or(|from| from.as_i64() == Some(live.version.into()))
}

impl Published {
    /// What an update answers that found nothing to do: the live version.
    pub(crate) fn unchanged(
        target: Target,
        version: &registry::Version,
        algorithm: &'static str,
        seconds: f64,
    ) -> Result<Published> {
        target.pending.forget()?;
        Ok(Published {
            model: target.name,
            version: version.version,
            algorithm,
            rows_used: version.rows_used,
            rows_skipped: 0,
            iterations: 0,
            converged: true,
            metric: version.metric.clone(),
            value: version.value,
            baseline: version.baseline,
            live_value: version.value,
            seconds,
            deployed: true,
            deploy_reason: "nothing changed".into(),
        })
    }

    /// Warns of a live version that is worse than recommending what is popular.
    pub(crate) fn warn(&self) {
        let (Some(value), Some(baseline), true) = (self.value, self.baseline, self.deployed) else { return };
        let errors = self.metric.as_deref() == Some(RMSE);
        if better(baseline, value, errors) {
            let model = &self.model;
            let what = if errors { "errs more than the items' means" } else { "ranks below popularity" };
            notice::warning(
                &format!("model \"{model}\" is live although it {what} ({value:.4} against {baseline:.4})"),
                "Train on more interactions, or try other settings.",
            );
        }
    }

    /// The row that the training answers.
    pub(crate) fn record(self, call: &Call) -> Answer {
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
