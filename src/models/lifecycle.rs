//! The life of a model after its first training: retrain, alter, drop, grant, revoke, and the facts of its view.

use std::ffi::CStr;

use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use super::identity::{self, ModelRef, Named};
use super::kind::{self, Column};
use super::owned::{owned, owned_to_train, source_of};
use super::registry::scan::Seen;
use super::registry::{self, Model, models};
use super::spec::Spec;
use super::{attach, deploy, locks};
use crate::pg::access;
use crate::pg::call::{Answer, Call, Rows, datum, null_argument};
use crate::pg::error::{Code, Result, fail, nearest, words};
use crate::pg::fault::point;
use crate::pg::names::{qualified_name, quote};
use crate::pg::snapshot::Snapshot;
use crate::pg::sql::execute;
use crate::pg::subtransaction::{attempt, report};
use crate::source::Source;

/// How often a GRANT is tried beside others.
const GRANTS: u32 = 20;

/// `persona.retrain(model, options)`: the same training again on the rows of now.
pub(crate) fn retrain(call: &Call) -> Answer {
    locks::writable(c"persona.retrain()");
    let (named, model) = owned_to_train(call)?;
    let mut spec = model.spec.clone();
    let trainer = kind::trainer(&spec)?;
    trainer.overlay(&mut spec, trainer.changes(call.object(1, "options")?)?);
    let kept = model.spec.clone();
    train_again(call, named, &model, spec, kept)
}

/// Trains a model again from a spec; `kept` is what the next retraining begins with. The caller holds the training lock.
pub(crate) fn train_again(
    call: &Call,
    named: Named,
    model: &Model,
    spec: Map<String, Value>,
    kept: Map<String, Value>,
) -> Answer {
    let relation = source_of(&named, &model.kind, &spec)?;
    (kind::trainer(&spec)?.run)(call, ModelRef::model(&named, model.model_id), relation, spec, kept)
}

/// `persona.alter_model(model, relation, column_map)`: where the next training reads from; `column_map` may also hold what
/// tells of items and users.
pub(crate) fn alter_model(call: &Call) -> Answer {
    locks::writable(c"persona.alter_model()");
    let (named, model) = owned_to_train(call)?;
    // Whose statements are not over has queued users by the columns of before: everything is read after that.
    attach::wait_for_writers(model.model_id)?;
    let mut spec = model.spec;
    if let Some(relation) = call.get::<pg_sys::Oid>(1) {
        let source = Source::open(relation)?;
        spec.insert("relation".into(), source.name.into());
    }
    let (kind, trainer) = (kind::of(&model.kind)?, kind::trainer(&spec)?);
    let relations = kind.relations().iter().copied();
    let relations: Vec<&str> = relations.filter(|key| trainer.options.contains(key)).collect();
    let roles: Vec<&str> =
        trainer.columns.iter().map(|(role, _)| *role).chain(relations.iter().copied()).collect();
    for (key, value) in call.object(2, "column_map")? {
        if relations.contains(&key.as_str()) {
            put(&mut spec, key, value);
            continue;
        }
        let Some((_, column)) = trainer.columns.iter().find(|(role, _)| *role == key) else {
            let error =
                fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("unrecognized column role \"{key}\""));
            return Err(match nearest(&key, roles.iter().copied()) {
                Some(near) => error.set_hint(format!("Perhaps you meant \"{near}\".")),
                None => error.set_hint(format!("Valid roles are {}.", words(&roles))),
            });
        };
        let (fits, expected) = match column {
            Column::Required => (value.is_string(), "the name of a column"),
            Column::Optional => (value.is_string() || value.is_null(), "the name of a column"),
            Column::Many => {
                let names = value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
                (names || value.is_null(), "an array of names of columns")
            }
        };
        if !fits {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{key}\" must be {expected}, got {value}"),
            ));
        }
        spec.insert(key, value);
    }
    let options = Spec::new(&spec).object("options");
    kind.name_relations(&options, &mut spec)?;
    let relation = spec.get("relation").and_then(Value::as_str).unwrap_or_default();
    if let Some(found) = identity::lookup(relation)? {
        (trainer.fits)(&named.name, &spec, &Source::open(found.relation)?)?;
    }
    models::update_model(model.model_id, &full_name(&named), JsonB(Value::Object(spec)), &trainer.reads())?;
    Ok(None)
}

/// Puts one of the options into a spec, or with null takes it out.
fn put(spec: &mut Map<String, Value>, key: String, value: Value) {
    let options = spec.entry("options").or_insert_with(|| Value::Object(Map::new()));
    match (options.as_object_mut(), value) {
        (Some(options), Value::Null) => {
            options.remove(&key);
        }
        (Some(options), value) => {
            options.insert(key, value);
        }
        (None, _) => {}
    }
}

/// The tables beside a model that are still there.
fn tables(model_id: Uuid) -> Result<Vec<String>> {
    let outputs = registry::outputs(model_id, Seen::Latest)?;
    Ok(outputs.into_iter().filter_map(|(_, relation)| qualified_name(relation)).collect())
}

fn full_name(named: &Named) -> String {
    qualified_name(named.relation).unwrap_or_else(|| named.name.clone())
}

/// `persona.drop_model(model)`: the model with its versions, its view and what was made beside it. Fails like
/// DROP VIEW where other objects depend on these.
pub(crate) fn drop_model(call: &Call) -> Answer {
    locks::writable(c"persona.drop_model()");
    let (named, model) = owned(call)?;
    locks::training(named.relation, &named.name)?;
    locks::tuning(named.relation, &named.name)?;
    registry::not_outrun(model.model_id)?;
    attach::drop_triggers(model.model_id)?;
    // The view first, then the deploy lock: everybody takes them in this order. Its name may change until then.
    if !identity::seize(named.relation) {
        return Err(identity::no_model(&named.name));
    }
    locks::deploying(named.relation)?;
    let view = full_name(&named);
    let _snapshot = Snapshot::latest();
    point("drop locked");
    kind::of(&model.kind)?.drop_beside(&named)?;
    point("drop functions");
    for (_, table) in registry::outputs(model.model_id, Seen::Latest)? {
        // Its name as it is once nobody can change it any more.
        if let Some(table) = Some(table).filter(|&table| identity::seize(table)).and_then(qualified_name) {
            execute(&format!("DROP TABLE {table}"))?;
        }
    }
    execute(&format!("DROP VIEW {view}"))?;
    point("drop view");
    models::delete_model(model.model_id)?;
    point("drop rows");
    Ok(None)
}

/// `persona.grant_model(model, role)`: GRANT SELECT on what the model made.
pub(crate) fn grant_model(call: &Call) -> Answer {
    privileges(call, c"persona.grant_model()", "GRANT", "TO")
}

/// `persona.revoke_model(model, role)`: takes back what `grant_model` gave.
pub(crate) fn revoke_model(call: &Call) -> Answer {
    privileges(call, c"persona.revoke_model()", "REVOKE", "FROM")
}

fn privileges(call: &Call, what: &CStr, verb: &str, preposition: &str) -> Answer {
    locks::writable(what);
    // Two at once would write the same rows of the catalog.
    let (named, model) = deploy::locked(&call.required_text(0, "model")?)?;
    let role = call.name(1).ok_or_else(|| null_argument("role"))?;
    // In any case that is not the name of a role, the word means everybody.
    let everybody = role.eq_ignore_ascii_case("public") && !access::role_exists(&role);
    let role = if everybody { "PUBLIC".to_string() } else { quote(&role) };
    let mut relations = tables(model.model_id)?;
    relations.push(full_name(&named));
    give(&format!("{verb} SELECT ON {} {preposition} {role}", relations.join(", ")))?;
    Ok(None)
}

/// Runs a GRANT or REVOKE. It takes no lock that another GRANT would wait for: of two at once on a relation the later one
/// fails when the earlier one ends, and is right then when it is run again.
fn give(statement: &str) -> Result<()> {
    for _ in 0..GRANTS {
        let Err(caught) = attempt(|| execute(statement)) else { return Ok(()) };
        let error = report(&caught);
        if error.sql_error_code() != Code::ERRCODE_INTERNAL_ERROR || !error.message().contains("concurrently")
        {
            caught.rethrow();
        }
        crate::pg::memory::interrupts();
    }
    let message = "could not serialize access due to concurrent update";
    Err(fail(Code::ERRCODE_T_R_SERIALIZATION_FAILURE, message)
        .set_detail("Other transactions keep changing the privileges of the model.")
        .set_hint("The transaction might succeed if retried."))
}

/// The row of `persona.model_facts`: algorithm, version, trained_at, rows, metric, value, baseline, bytes.
pub(crate) fn push_facts(model_id: Uuid, rows: &mut Rows) -> Result<()> {
    let Some(relation) = registry::view_of(model_id, Seen::Statement)? else { return Ok(()) };
    let Some(name) = qualified_name(relation) else { return Ok(()) };
    access::require_select(relation, &name)?;
    let Some(live) = registry::live(model_id, Seen::Statement)? else {
        return Err(identity::not_deployed(&Named { relation, name }));
    };
    let Some(version) = registry::version(model_id, Some(live.version), Seen::Statement)? else {
        return Ok(());
    };
    rows.push(&[
        datum(version.algorithm),
        datum(version.version),
        datum(version.trained_at),
        datum(version.rows_used),
        version.metric.and_then(datum),
        version.value.and_then(datum),
        version.baseline.and_then(datum),
        datum(version.bytes),
    ])
}
