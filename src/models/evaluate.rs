//! `persona.evaluate`: how well a version ranks rows it was not fitted on.

use pgrx::pg_sys;

use super::identity::{self, Named, Whom};
use super::registry::scan::Seen;
use super::registry::{self, Metric};
use super::{kind, owned};
use crate::pg::access;
use crate::pg::call::{Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::shown;
use crate::pg::options::Options;
use crate::recommenders::ask::{ASK, Ask};
use crate::segments::has_segments;

/// `persona.evaluate(model, version, k, options)`: the stored figures at `k`; where there are none or options were given,
/// those of a refit on a split of the rows of now, which its owner alone may ask for.
pub(crate) fn evaluate(call: &Call) -> Result<Option<pg_sys::Datum>> {
    let name = call.required_text(0, "model")?;
    let k = call.required::<i32>(2, "k")?;
    if k < 1 {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"k\" must be at least 1, got {k}"),
        ));
    }
    let ask = Ask::of(k as usize, &Options::new(call.object(3, "options")?, &ASK)?)?;
    let (named, model) = identity::model(&name, Seen::Statement)?;
    access::require_select(named.relation, &named.name)?;
    let version = match call.get::<i32>(1) {
        Some(version) => version,
        None => match registry::live(model.model_id, Seen::Statement)? {
            Some(live) => live.version,
            None => return Err(crate::models::identity::not_deployed(&named)),
        },
    };
    let Some(facts) = registry::version(model.model_id, Some(version), Seen::Statement)? else {
        return Err(fail(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("version {version} of model {} does not exist", shown(&name)),
        )
        .set_hint("The view persona.versions lists the versions of a model."));
    };
    if has_segments(&model.kind) {
        if ask.is_special() {
            return Err(fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "segments are evaluated without options"));
        }
        // The number of segments takes the place of the cutoff.
        let k = facts.hyperparameters.get("k").and_then(serde_json::Value::as_i64).unwrap_or(0);
        return push(call, &named, version, &registry::metrics(model.model_id, version, k as i32)?);
    }
    let mut stored = Vec::new();
    if !ask.is_special() {
        stored = registry::metrics(model.model_id, version, k)?;
        // What has no cutoff.
        stored.extend(registry::metrics(model.model_id, version, 0)?);
    }
    if stored.is_empty() {
        access::require_owner(named.relation, &named.name)?;
        let relation = owned::trained_from(&named, &model.spec)?;
        let trainer = kind::of(&model.spec);
        let spec = trainer.spec_of_version(model.spec, &facts.hyperparameters);
        if let Some(measure) = trainer.measure {
            stored = measure(Whom::model(&named, model.model_id), relation, spec, &ask)?;
        }
    }
    push(call, &named, version, &stored)
}

fn push(call: &Call, named: &Named, version: i32, metrics: &[Metric]) -> Result<Option<pg_sys::Datum>> {
    let mut rows = call.rows()?;
    for each in metrics {
        rows.push(&[
            datum(named.name.clone()),
            datum(version),
            datum(each.slice.clone()),
            datum(each.metric.clone()),
            datum(each.k),
            each.value.and_then(datum),
            each.baseline.and_then(datum),
            each.ci_low.and_then(datum),
            each.ci_high.and_then(datum),
            datum(each.users),
        ])?;
    }
    Ok(None)
}
