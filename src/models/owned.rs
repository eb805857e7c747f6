//! A model that the caller owns, and what it is trained from.

use pgrx::pg_sys;
use serde_json::{Map, Value};

use super::identity::{self, Named};
use super::registry::scan::Seen;
use super::registry::{self, Model};
use super::{kind, locks};
use crate::pg::access;
use crate::pg::call::Call;
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, shown};

/// The model of the first argument, which the current user must own.
pub(crate) fn owned(call: &Call) -> Result<(Named, Model)> {
    let name = call.required_text(0, "model")?;
    let (named, model) = identity::model(&name, Seen::Latest)?;
    access::require_owner(named.relation, &named.name)?;
    Ok((named, model))
}

/// The same under its training lock: a training writes the spec that it began with, and the next one must begin
/// with that.
pub(crate) fn owned_to_train(call: &Call) -> Result<(Named, Model)> {
    let (named, model) = owned(call)?;
    locks::training(named.relation, &named.name)?;
    registry::not_outrun(model.model_id)?;
    match registry::model(model.model_id, Seen::Latest)? {
        Some(model) => Ok((named, model)),
        None => Err(identity::no_model(&named.name)),
    }
}

/// The relation that a model was trained from; 42P01 if it is gone.
pub(crate) fn trained_from(named: &Named, model: &Model) -> Result<pg_sys::Oid> {
    source_of(named, &model.kind, &model.spec)
}

/// The relation that a spec of a model of a kind names; 42P01 if it is gone, or another one that it names.
pub(crate) fn source_of(named: &Named, kind: &str, spec: &Map<String, Value>) -> Result<pg_sys::Oid> {
    kind::of(kind)?.still_there(&named.name, spec)?;
    let relation = spec.get("relation").and_then(Value::as_str).unwrap_or_default();
    // What a temporary relation was called may be another one in this session.
    let found = if relation.starts_with("pg_temp.") { None } else { identity::lookup(relation)? };
    match found {
        Some(found) => Ok(found.relation),
        None => Err(fail(Code::ERRCODE_UNDEFINED_TABLE, format!("relation {relation} does not exist"))
            .set_detail(format!("Model {} was trained from it.", shown(&named.name)))
            .set_hint(format!(
                "Name another one: SELECT persona.alter_model({}, relation => ...);",
                literal(&named.name)
            ))),
    }
}
