//! Whose model a training is for: an existing one, trained as its owner, or a new one, made before the first row
//! is read.

use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use crate::access::{self, Identity};
use crate::error::{Code, Result, fail};
use crate::fault::point;
use crate::identity::Found;
use crate::ids::type_name;
use crate::registry::scan::Seen;
use crate::registry::{Model, write};
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

/// Whose model it is.
pub(super) enum Whose {
    /// A model that exists.
    Known(identity::Named, Model),
    /// The view of a model whose registry row a restore left out.
    Leftover(identity::Named, Uuid),
    /// Nobody's yet.
    New,
}

impl Whose {
    /// The identity to train under: that of the view's owner, where somebody else started it.
    pub(super) fn identity(&self) -> Result<Option<Identity>> {
        match self {
            Whose::Known(named, _) | Whose::Leftover(named, _) => as_owner(named),
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
            locks::training(named.relation, &named.name)?;
            // Whoever had the lock before may have changed or dropped it.
            let (named, model) = identity::model(name, Seen::Latest)?;
            Ok(Whose::Known(named, model))
        }
        Found::Leftover(named, model_id) => {
            access::require_owner(named.relation, &named.name)?;
            locks::training(named.relation, &named.name)?;
            Ok(Whose::Leftover(named, model_id))
        }
        Found::Other(_) | Found::Nothing => Ok(Whose::New),
    }
}

/// Acts as the owner of a model where that is somebody else.
pub(super) fn as_owner(named: &identity::Named) -> Result<Option<Identity>> {
    let owner = access::owner_of(named.relation).ok_or_else(|| identity::no_model(&named.name))?;
    // SAFETY: the current user is set in every backend.
    let other = owner != unsafe { pg_sys::GetUserId() };
    Ok(other.then(|| Identity::become_user(owner, true)))
}

/// The types of the ids, as a spec names them.
pub(super) fn id_types(columns: &InteractionColumns) -> [(String, Value); 2] {
    [
        ("user_type".into(), Value::String(type_name(columns.user.type_oid))),
        ("item_type".into(), Value::String(type_name(columns.item.type_oid))),
    ]
}

/// 42804 unless the columns have the id types that the model was made for.
pub(crate) fn same_types(name: &str, spec: &Map<String, Value>, columns: &InteractionColumns) -> Result<()> {
    for (key, now) in id_types(columns) {
        let was = spec.get(&key);
        if was.is_some_and(|was| *was != now) {
            let text = |value: Option<&Value>| {
                value
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .trim_start_matches("pg_catalog.")
                    .to_string()
            };
            let role = if key == "user_type" { "users" } else { "items" };
            return Err(fail(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("model \"{name}\" has {role} of another id type"),
            )
            .set_detail(format!("It was made for {}, the column has {}.", text(was), text(Some(&now))))
            .set_hint("Its typed functions cannot change; drop the model with persona.drop_model() and train again."));
        }
    }
    Ok(())
}

/// A further version of an existing model.
pub(super) fn reuse(
    named: identity::Named,
    model: Model,
    columns: &InteractionColumns,
    spec: Map<String, Value>,
) -> Result<Target> {
    if model.kind != "recommender" {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model \"{}\" is a {}, not a recommender", named.name, model.kind),
        )
        .set_hint("Choose another name, or remove the model with persona.drop_model()."));
    }
    same_types(&named.name, &model.spec, columns)?;
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
    point("view");
    outputs::create_recommender_functions(&place, columns.user.type_oid, columns.item.type_oid)?;
    point("functions");
    insert(name, &place, model_id, relation, spec)
}

/// Takes up a view that a restore left without its registry row, as its owner. Nothing is inherited but the name,
/// the grants and the functions, which must have the types of the columns.
pub(super) fn take_up(
    named: identity::Named,
    model_id: Uuid,
    columns: &InteractionColumns,
    spec: Map<String, Value>,
) -> Result<Target> {
    let Some(place) = identity::Place::of(named.relation) else {
        return Err(identity::no_model(&named.name));
    };
    let functions = outputs::functions(named.relation)?;
    if functions.is_empty() {
        outputs::create_recommender_functions(&place, columns.user.type_oid, columns.item.type_oid)?;
    } else if !outputs::fit(&functions, columns.user.type_oid, columns.item.type_oid) {
        return Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!("the functions beside {} have other id types", identity::shown(&named.name)),
        )
        .set_detail(format!("There is {}.", functions.join(", ")))
        .set_hint("Drop them, or train from columns of these types."));
    }
    // Rows of a model whose view is gone may have the same id.
    write::delete_model(model_id)?;
    insert(&named.name, &place, model_id, named.relation, spec)
}

fn insert(
    name: &str,
    place: &identity::Place,
    model_id: Uuid,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
) -> Result<Target> {
    write::insert_model(model_id, relation, &place.beside(""), "recommender", JsonB(Value::Object(spec)))?;
    Ok(Target { relation, model_id, name: name.to_string(), renewed: None })
}
