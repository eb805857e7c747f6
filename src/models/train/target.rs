//! Whose model a training is for: an existing one, trained as its owner, or a new one, made before the first row
//! is read.

use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use crate::models::identity::{self, Found, ModelRef, Named, Place, as_owner};
use crate::models::registry::queue::{self, Pending};
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Model, Output, models, write};
use crate::models::{locks, outputs};
use crate::pg::access::{self, Identity};
use crate::pg::error::{Code, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::qualified_name;
use crate::pg::snapshot::Snapshot;

/// The type of the ids of one role.
pub(crate) struct IdType {
    /// Its key in a spec: `user_type`.
    pub(crate) key: &'static str,
    /// Resolved ids they are, in words: `users`.
    pub(crate) role: &'static str,
    /// The type as SQL names it.
    pub(crate) name: String,
}

/// What a kind of model has beside its view.
pub(crate) trait Outputs {
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
    pub(crate) renewed: Option<(String, Map<String, Value>)>,
    /// What waits in its queue, which whoever reads the rows under the snapshot has.
    pub(crate) pending: Pending,
    /// Under what the rows are read: taken when all locks were there.
    _snapshot: Snapshot,
}

impl Target {
    fn new(
        (relation, model_id): (pg_sys::Oid, Uuid),
        name: String,
        renewed: Option<(String, Map<String, Value>)>,
    ) -> Result<Target> {
        let snapshot = Snapshot::now();
        let pending = queue::pending(model_id)?;
        Ok(Target { relation, model_id, name, renewed, pending, _snapshot: snapshot })
    }
}

/// Whose model it is.
pub(crate) enum Resolved {
    /// A model that exists.
    Known(Named, Model),
    /// The view of a model whose registry row a restore left out.
    Leftover(Named, Uuid),
    /// Nobody's yet.
    New,
}

impl Resolved {
    /// The identity to train under: that of the view's owner, where somebody else started it.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        match self {
            Resolved::Known(named, ..) | Resolved::Leftover(named, ..) => as_owner(named),
            Resolved::New => Ok(None),
        }
    }
}

/// What is to be trained, under its training lock or, where there is nothing yet, that of the name.
pub(crate) fn find(whom: &ModelRef) -> Result<Resolved> {
    if let Some((relation, model_id)) = whom.found {
        let named = Named { relation, name: whom.name.clone() };
        return known(named, model_id)?.ok_or_else(|| identity::no_model(&whom.name));
    }
    let name = &whom.name;
    loop {
        if !matches!(identity::existing(name, Seen::Latest, true)?, Found::Model(..)) {
            locks::creating(&identity::place(name)?)?;
        }
        // Somebody may have made it between the look and the lock.
        let found = match identity::existing(name, Seen::Latest, true)? {
            Found::Model(named, model) => known(named, model.model_id)?,
            Found::Leftover(named, model_id) => leftover(named, model_id)?,
            Found::Other(_) | Found::Nothing => return Ok(Resolved::New),
        };
        // Whoever had the lock before may have dropped it; what the name means now is looked up anew.
        if let Some(found) = found {
            return Ok(found);
        }
        crate::pg::memory::interrupts();
    }
}

/// A model under its training lock; nothing where it is gone by now. It is the one that was found, whatever its name is
/// by now, and what others are called.
fn known(named: Named, model_id: Uuid) -> Result<Option<Resolved>> {
    access::require_owner(named.relation, &named.name)?;
    locks::training(named.relation, &named.name)?;
    registry::not_outrun(model_id)?;
    let model = registry::model(model_id, Seen::Latest)?.filter(|model| model.relation == named.relation);
    let there = model.filter(|model| qualified_name(model.relation).is_some());
    Ok(there.map(|model| Resolved::Known(named, model)))
}

fn leftover(named: Named, model_id: Uuid) -> Result<Option<Resolved>> {
    access::require_owner(named.relation, &named.name)?;
    locks::training(named.relation, &named.name)?;
    let view = registry::view_of(model_id, Seen::Latest)?;
    let taken = view.is_some_and(|view| view == named.relation || qualified_name(view).is_some());
    let there = qualified_name(named.relation).is_some() && !taken;
    Ok(there.then_some(Resolved::Leftover(named, model_id)))
}

/// 42804 unless a model was made for ids of these types.
pub(crate) fn same_types(name: &str, spec: &Map<String, Value>, beside: &dyn Outputs) -> Result<()> {
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
pub(crate) fn target(
    whose: Resolved,
    name: &str,
    beside: &dyn Outputs,
    mut spec: Map<String, Value>,
) -> Result<Target> {
    spec.extend(beside.id_types().into_iter().map(|each| (each.key.to_string(), each.name.into())));
    match whose {
        Resolved::Known(named, model) => reuse(named, model, beside, spec),
        Resolved::Leftover(named, model_id) => take_up(named, model_id, beside, spec),
        Resolved::New => create(name, beside, spec),
    }
}

/// A further version of an existing model.
fn reuse(named: Named, model: Model, beside: &dyn Outputs, spec: Map<String, Value>) -> Result<Target> {
    if model.kind != beside.kind() {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model \"{}\" is of kind {}, not {}", named.name, model.kind, beside.kind()),
        )
        .set_hint("Choose another name, or remove the model with persona.drop_model()."));
    }
    same_types(&named.name, &model.spec, beside)?;
    let name = qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    let renewed = Some((name, spec));
    Target::new((named.relation, model.model_id), named.name, renewed)
}

/// A new model.
fn create(name: &str, beside: &dyn Outputs, spec: Map<String, Value>) -> Result<Target> {
    models::sweep()?;
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
fn take_up(named: Named, model_id: Uuid, beside: &dyn Outputs, spec: Map<String, Value>) -> Result<Target> {
    let Some(place) = Place::of(named.relation) else {
        return Err(identity::no_model(&named.name));
    };
    let found = beside.take_up(&named, &place)?;
    // Rows of a model whose view is gone may have the same id.
    models::delete_model(model_id)?;
    insert(&named.name, &place, (model_id, named.relation), beside.kind(), &found, spec)
}

fn insert(
    name: &str,
    place: &Place,
    (model_id, relation): (Uuid, pg_sys::Oid),
    kind: &str,
    made: &[(Output, pg_sys::Oid)],
    spec: Map<String, Value>,
) -> Result<Target> {
    models::insert_model(model_id, relation, &place.beside(""), kind, JsonB(Value::Object(spec)))?;
    models::insert_outputs(model_id, made)?;
    Target::new((relation, model_id), name.to_string(), None)
}
