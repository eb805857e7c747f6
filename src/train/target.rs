//! Whose model a training is for: an existing one, trained as its owner, or a new one, made before the first row
//! is read.

use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use crate::access::{self, Identity};
use crate::error::{Code, Result, fail};
use crate::fault::point;
use crate::identity::{Found, Named, Place};
use crate::locks::{self, Snapshot};
use crate::registry::scan::Seen;
use crate::registry::{Model, Output, write};
use crate::{identity, outputs};

/// The type of the ids of one role.
pub(crate) struct IdType {
    /// Its key in a spec: `user_type`.
    pub(crate) key: &'static str,
    /// Whose ids they are, in words: `users`.
    pub(crate) role: &'static str,
    /// The type as SQL names it.
    pub(crate) name: String,
}

/// What a kind of model has beside its view.
pub(crate) trait Beside {
    /// The kind as the registry names it.
    fn kind(&self) -> &'static str;
    /// The types of its ids.
    fn id_types(&self) -> Vec<IdType>;
    /// Makes what stands beside the view of a new model; the tables among it.
    fn create(&self, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>>;
    /// Takes over what stands beside a view that a restore left without its registry row, and makes what is missing.
    fn take_up(&self, named: &Named, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>>;
}

/// Where the version goes: the model found or made.
pub(crate) struct Target {
    pub(crate) relation: pg_sys::Oid,
    pub(crate) model_id: Uuid,
    /// As the caller wrote it.
    pub(crate) name: String,
    /// Of a model that existed: its present name and new spec, written with the version.
    pub(super) renewed: Option<(String, Map<String, Value>)>,
    /// Of a model that existed: under what its rows are read.
    _snapshot: Option<Snapshot>,
}

/// Whose model it is.
pub(super) enum Whose {
    /// A model that exists.
    Known(Named, Model, Snapshot),
    /// The view of a model whose registry row a restore left out.
    Leftover(Named, Uuid, Snapshot),
    /// Nobody's yet.
    New,
}

impl Whose {
    /// The identity to train under: that of the view's owner, where somebody else started it.
    pub(super) fn identity(&self) -> Result<Option<Identity>> {
        match self {
            Whose::Known(named, ..) | Whose::Leftover(named, ..) => as_owner(named),
            Whose::New => Ok(None),
        }
    }
}

/// What stands under a name, under its training lock or that of the name.
pub(super) fn find(name: &str) -> Result<Whose> {
    if !matches!(identity::existing(name, Seen::Latest, true)?, Found::Model(..)) {
        locks::creating(&identity::place(name)?)?;
    }
    // Somebody may have made it between the look and the lock.
    match identity::existing(name, Seen::Latest, true)? {
        Found::Model(named, _) => {
            access::require_owner(named.relation, &named.name)?;
            let snapshot = locks::training(named.relation, &named.name)?;
            // Whoever had the lock before may have changed or dropped it.
            let (named, model) = identity::model(name, Seen::Latest)?;
            Ok(Whose::Known(named, model, snapshot))
        }
        Found::Leftover(named, model_id) => {
            access::require_owner(named.relation, &named.name)?;
            let snapshot = locks::training(named.relation, &named.name)?;
            Ok(Whose::Leftover(named, model_id, snapshot))
        }
        Found::Other(_) | Found::Nothing => Ok(Whose::New),
    }
}

/// Acts as the owner of a model where that is somebody else.
pub(crate) fn as_owner(named: &Named) -> Result<Option<Identity>> {
    let owner = access::owner_of(named.relation).ok_or_else(|| identity::no_model(&named.name))?;
    // SAFETY: the current user is set in every backend.
    let other = owner != unsafe { pg_sys::GetUserId() };
    Ok(other.then(|| Identity::become_user(owner, true)))
}

/// 42804 unless a model was made for ids of these types.
pub(crate) fn same_types(name: &str, spec: &Map<String, Value>, beside: &dyn Beside) -> Result<()> {
    for IdType { key, role, name: now } in beside.id_types() {
        let Some(was) = spec.get(key).and_then(Value::as_str).filter(|was| *was != now) else { continue };
        let text = |name: &str| name.trim_start_matches("pg_catalog.").to_string();
        return Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!("model \"{name}\" has {role} of another id type"),
        )
        .set_detail(format!("It was made for {}, the column has {}.", text(was), text(&now)))
        .set_hint(
            "What was made beside it cannot change; drop the model with persona.drop_model() and train again.",
        ));
    }
    Ok(())
}

/// The model that a training is for. What is made for a new one is made before the first row is read, so that a name or
/// a privilege that is missing shows at once.
pub(super) fn target(
    whose: Whose,
    name: &str,
    beside: &dyn Beside,
    mut spec: Map<String, Value>,
) -> Result<Target> {
    spec.extend(beside.id_types().into_iter().map(|each| (each.key.to_string(), each.name.into())));
    match whose {
        Whose::Known(named, model, snapshot) => reuse((named, model, snapshot), beside, spec),
        Whose::Leftover(named, model_id, snapshot) => take_up((named, model_id, snapshot), beside, spec),
        Whose::New => create(name, beside, spec),
    }
}

/// A further version of an existing model.
fn reuse(
    (named, model, snapshot): (Named, Model, Snapshot),
    beside: &dyn Beside,
    spec: Map<String, Value>,
) -> Result<Target> {
    if model.kind != beside.kind() {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model \"{}\" is of kind {}, not {}", named.name, model.kind, beside.kind()),
        )
        .set_hint("Choose another name, or remove the model with persona.drop_model()."));
    }
    same_types(&named.name, &model.spec, beside)?;
    let name = identity::qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    let renewed = Some((name, spec));
    Ok(Target {
        relation: named.relation,
        model_id: model.model_id,
        name: named.name,
        renewed,
        _snapshot: Some(snapshot),
    })
}

/// A new model.
fn create(name: &str, beside: &dyn Beside, spec: Map<String, Value>) -> Result<Target> {
    write::sweep()?;
    let place = identity::place(name)?;
    let model_id = write::new_id()?;
    let relation = outputs::create_view(&place, model_id, beside.kind())?;
    point("view");
    let made = beside.create(&place)?;
    point("functions");
    insert(name, &place, (model_id, relation), beside.kind(), &made, spec)
}

/// Takes up a view that a restore left without its registry row, as its owner. Nothing is inherited but the name,
/// the grants and what stands beside it, which must have the types of the columns.
fn take_up(
    (named, model_id, snapshot): (Named, Uuid, Snapshot),
    beside: &dyn Beside,
    spec: Map<String, Value>,
) -> Result<Target> {
    let Some(place) = Place::of(named.relation) else {
        return Err(identity::no_model(&named.name));
    };
    let found = beside.take_up(&named, &place)?;
    // Rows of a model whose view is gone may have the same id.
    write::delete_model(model_id)?;
    let target = insert(&named.name, &place, (model_id, named.relation), beside.kind(), &found, spec)?;
    Ok(Target { _snapshot: Some(snapshot), ..target })
}

fn insert(
    name: &str,
    place: &Place,
    (model_id, relation): (Uuid, pg_sys::Oid),
    kind: &str,
    made: &[(Output, pg_sys::Oid)],
    spec: Map<String, Value>,
) -> Result<Target> {
    write::insert_model(model_id, relation, &place.beside(""), kind, JsonB(Value::Object(spec)))?;
    write::insert_outputs(model_id, made)?;
    Ok(Target { relation, model_id, name: name.to_string(), renewed: None, _snapshot: None })
}
