//! `persona.evaluate`: how good a version is, in the figures of its kind.

use super::identity::{self, Named};
use super::kind::{self, Evaluation};
use super::registry::scan::Seen;
use super::registry::{self, Metric};
use crate::pg::access;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, fail};
use crate::pg::names::shown;

/// `persona.evaluate(model, version, k, options)`: the stored figures at `k`; where there are none or options were given,
/// those of a refit on a split of the rows of now, which its owner alone may ask for.
pub(crate) fn evaluate(call: &Call) -> Answer {
    let name = call.required_text(0, "model")?;
    let k = call.required::<i32>(2, "k")?;
    if k < 1 {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"k\" must be at least 1, got {k}"),
        ));
    }
    let options = call.object(3, "options")?;
    let (named, model) = identity::model(&name, Seen::Statement)?;
    access::require_select(named.relation, &named.name)?;
    let version = match call.get::<i32>(1) {
        Some(version) => version,
        None => match registry::live(model.model_id, Seen::Statement)? {
            Some(live) => live.version,
            None => return Err(identity::not_deployed(&named)),
        },
    };
    let Some(facts) = registry::version(model.model_id, Some(version), Seen::Statement)? else {
        return Err(fail(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("version {version} of model {} does not exist", shown(&name)),
        )
        .set_hint("The view persona.versions lists the versions of a model."));
    };
    let kind = kind::of(&model.kind)?;
    let metrics = kind.evaluate(Evaluation { named: &named, model, version: facts, k, options })?;
    push(call, &named, version, &metrics)
}

fn push(call: &Call, named: &Named, version: i32, metrics: &[Metric]) -> Answer {
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
