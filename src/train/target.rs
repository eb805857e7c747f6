//! Whose model a training is for: an existing one, trained as its owner, or a new one, made before the first row
//! is read.

use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use crate::access::{self, Identity};
use crate::error::{Code, Result, fail};
use crate::registry::scan::Seen;
use crate::registry::{self, Model, write};
use crate::source::InteractionColumns;
use crate::{identity, locks, outputs};

/// Where the version goes: the model found or made.
pub(super) struct Target {
    pub(super) relation: pg_sys::Oid,
    pub(super) model_id: Uuid,
    /// As the caller wrote it.
    pub(super) name: String,
    /// Of a model that existed: its present name and new spec, written with the version.
    pub(super) renewed: Option<(String, Map<String, Value>)>,
}

/// The model of a name, if there is one; takes its training lock, or that of the name.
pub(super) fn find(name: &str) -> Result<Option<(identity::Named, Model)>> {
    let look = || -> Result<Option<(identity::Named, Model)>> {
        let Some(named) = identity::lookup(name)? else { return Ok(None) };
        let model = registry::model_by_relation(named.relation, Seen::Latest)?;
        Ok(model.map(|model| (named, model)))
    };
    if look()?.is_none() {
        locks::creating(&identity::place(name)?)?;
    }
    // Somebody may have made it between the look and the lock.
    let found = look()?;
    if let Some((named, _)) = &found {
        access::require_owner(named.relation, &named.name)?;
        locks::training(named.relation, &named.name)?;
    }
    Ok(found)
}

/// Acts as the owner of a model where that is somebody else.
pub(super) fn as_owner(relation: pg_sys::Oid) -> Option<Identity> {
    let owner = access::owner_of(relation);
    // SAFETY: the current user is set in every backend.
    let other = owner != unsafe { pg_sys::GetUserId() };
    other.then(|| Identity::become_user(owner, true))
}

/// A further version of an existing model.
pub(super) fn reuse(named: identity::Named, model: Model, spec: Map<String, Value>) -> Result<Target> {
    if model.kind != "recommender" {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model \"{}\" is a {}, not a recommender", named.name, model.kind),
        )
        .set_hint("Choose another name, or remove the model with persona.drop_model()."));
    }
    for (key, role) in [("user_type", "users"), ("item_type", "items")] {
        if model.spec.get(key) != spec.get(key) {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("unknown").to_string();
            return Err(fail(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("model \"{}\" has {role} of another id type", named.name),
            )
            .set_detail(format!("It was made for {}, now the column has {}.", text(model.spec.get(key)), text(spec.get(key))))
            .set_hint("Its typed functions cannot change; remove the model with persona.drop_model() and train again."));
        }
    }
    let name = identity::qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    let renewed = Some((name, spec));
    Ok(Target { relation: named.relation, model_id: model.model_id, name: named.name, renewed })
}

/// A new model: its view and typed functions are made before the first row is read, so that a name or a
/// privilege that is missing shows at once.
pub(super) fn create(name: &str, columns: &InteractionColumns, spec: Map<String, Value>) -> Result<Target> {
    write::sweep()?;
    let place = identity::place(name)?;
    let model_id = write::new_id()?;
    let relation = outputs::create_view(&place, model_id, "recommender")?;
    outputs::create_recommender_functions(&place, columns.user.type_oid, columns.item.type_oid)?;
    write::insert_model(model_id, relation, &place.beside(""), "recommender", JsonB(Value::Object(spec)))?;
    Ok(Target { relation, model_id, name: name.to_string(), renewed: None })
}
