//! `persona.publish`: the typed functions of a recommender once more, in a schema that PostgREST serves.

use pgrx::pg_sys;

use crate::access;
use crate::call::{Call, null_argument};
use crate::error::{Code, Result, fail};
use crate::identity::{self, Place, qualified, quote};
use crate::outputs::{Published, execute, functions_beside, published};
use crate::registry::scan::Seen;
use crate::snapshot::Snapshot;
use crate::train::as_owner;
use crate::{locks, outputs};

/// `persona.publish(model, schema, security_definer)`. The functions belong to the owner of the model, so that what drops the
/// model can drop them.
pub(crate) fn publish(call: &Call) -> Result<Option<pg_sys::Datum>> {
    locks::writable(c"persona.publish()");
    let name = call.required_text(0, "model")?;
    let schema = call.name(1).ok_or_else(|| null_argument("schema"))?;
    let security_definer = call.get(2) == Some(true);
    let (named, model) = identity::model(&name, Seen::Latest)?;
    access::require_owner(named.relation, &named.name)?;
    // The model stays until the transaction ends.
    if !identity::hold(named.relation) {
        return Err(identity::no_model(&named.name));
    }
    // Two at once would write the same rows of the catalog.
    locks::deploying(named.relation)?;
    let _snapshot = Snapshot::latest();
    if model.kind != "recommender" {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model {} recommends nothing", identity::shown(&name)),
        ));
    }
    let id_type = |key: &str| {
        let name = model.spec.get(key).and_then(serde_json::Value::as_str);
        name.map(str::to_string).ok_or_else(|| {
            fail(Code::ERRCODE_DATA_CORRUPTED, "a row of the registry of pg_persona is damaged")
        })
    };
    let (user, item) = (id_type("user_type")?, id_type("item_type")?);
    let Some(place) = Place::of(named.relation) else { return Err(identity::no_model(&named.name)) };
    let _owner = as_owner(&named)?;
    let security = if security_definer {
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    } else {
        "SECURITY INVOKER"
    };
    for function in functions_beside(&place, &user, &item) {
        let short = format!("{}{}", place.name, function.suffix);
        let full = qualified(&schema, &short);
        let replaced = match published(named.relation, &schema, &short)? {
            Published::Nothing => false,
            Published::Ours => true,
            Published::Other => {
                return Err(fail(
                    Code::ERRCODE_DUPLICATE_FUNCTION,
                    format!("function {full} already exists"),
                )
                .set_detail("A name in a published schema stands for one function, and this one was not published from this model.")
                .set_hint(format!("Drop it, or publish into another schema than {}.", quote(&schema))));
            }
        };
        let create = if replaced { "CREATE OR REPLACE" } else { "CREATE" };
        execute(&format!(
            "{create} FUNCTION {full}({}) {} {security}
             BEGIN ATOMIC SELECT r.item_id, r.score, r.rank, r.source FROM {} AS r; END",
            function.arguments,
            outputs::result_of(&item),
            function.source
        ))?;
        let types = &function.types;
        execute(&format!(
            "COMMENT ON FUNCTION {full}({types}) IS {}",
            outputs::literal(&format!("{}{}", function.comment, outputs::PUBLISHED))
        ))?;
        if security_definer {
            execute(&format!("REVOKE ALL ON FUNCTION {full}({types}) FROM PUBLIC"))?;
        }
    }
    Ok(None)
}
