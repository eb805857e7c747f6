//! Which model a name means. The one rule: a name is looked up like any relation's; that relation is a view whose
//! body carries a model's id, and the registry row of that id holds the view's oid. Both must agree. Renames,
//! swaps, SET SCHEMA and OWNER TO keep the oid; a relation that takes a model's name carries no id, and a copy of
//! the view has another oid. Dumps carry the oid as the name of that moment (type `persona_internal.relation`), so
//! a restore binds it again.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{Uuid, pg_sys};

use super::body::id_of_view;
use super::identity;
use super::registry::scan::Seen;
use super::registry::{self, Model};
use crate::pg::access::{self, Identity};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, qualified, qualified_name, schema_name, shown};

/// A relation that a name resolved to.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) relation: pg_sys::Oid,
    pub(crate) name: String,
}

/// Where a new relation of this name would be made.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) schema: pg_sys::Oid,
    pub(crate) schema_name: String,
    pub(crate) name: String,
}

impl Place {
    /// Where an existing relation stands.
    pub(crate) fn of(relation: pg_sys::Oid) -> Option<Place> {
        // SAFETY: system cache look-ups that answer NULL for what is missing; results are copied at once.
        unsafe {
            let (name, schema) = (pg_sys::get_rel_name(relation), pg_sys::get_rel_namespace(relation));
            if name.is_null() {
                return None;
            }
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            Some(Place { schema, schema_name: schema_name(schema), name })
        }
    }

    /// The schema-qualified, quoted name of the relation, or of one beside it.
    pub(crate) fn beside(&self, suffix: &str) -> String {
        qualified(&self.schema_name, &format!("{}{suffix}", self.name))
    }
}

/// Parses `name` or `schema.name` as SQL does.
fn range_var(name: &str) -> Result<*mut pg_sys::RangeVar> {
    let text = CString::new(name).map_err(|_| no_model(name))?;
    // SAFETY: the string lives through the call; both functions raise errors on malformed names and palloc
    // their result in the current context.
    unsafe {
        #[cfg(feature = "pg15")]
        let list = pg_sys::stringToQualifiedNameList(text.as_ptr());
        #[cfg(not(feature = "pg15"))]
        let list = pg_sys::stringToQualifiedNameList(text.as_ptr(), std::ptr::null_mut());
        Ok(pg_sys::makeRangeVarFromNameList(list))
    }
}

/// The relation that a name means along the search path, if there is one. With a lock that the transaction
/// keeps where serving needs the relation to stay; otherwise with none. `nowait` is 55P03 instead of waiting.
fn find(name: &str, lock: u32, nowait: bool) -> Result<Option<Named>> {
    let range = range_var(name)?;
    // SAFETY: the range variable was just made; no callback is given. Without a lock, names that another
    // transaction changed meanwhile must be asked for.
    let relation = unsafe {
        pg_sys::AcceptInvalidationMessages();
        pg_sys::RangeVarGetRelidExtended(
            range,
            lock as _,
            pg_sys::RVROption::RVR_MISSING_OK | if nowait { pg_sys::RVROption::RVR_NOWAIT } else { 0 },
            None,
            std::ptr::null_mut(),
        )
    };
    Ok((relation != pg_sys::InvalidOid).then(|| Named { relation, name: name.to_string() }))
}

/// The relation that a name means along the search path, if there is one; no lock is taken.
pub(crate) fn lookup(name: &str) -> Result<Option<Named>> {
    find(name, pg_sys::NoLock, false)
}

/// Where a relation of this name would be made: the named schema, or the first of the search path. Checks
/// USAGE on the schema; CREATE is checked by what makes the relation.
pub(crate) fn place(name: &str) -> Result<Place> {
    const LONGEST: usize = 40;
    let range = range_var(name)?;
    // SAFETY: the range variable was just made; its strings live in the current memory context.
    unsafe {
        let schema = pg_sys::RangeVarGetCreationNamespace(range);
        let name = CStr::from_ptr((*range).relname).to_string_lossy().into_owned();
        if name.is_empty() || name.len() > LONGEST {
            return Err(fail(
                Code::ERRCODE_INVALID_NAME,
                format!("model names have 1 to {LONGEST} bytes, got {}", name.len()),
            )
            .set_detail(
                "Objects beside a model carry its name and a suffix within the 63 bytes of an identifier.",
            ));
        }
        if pg_sys::isAnyTempNamespace(schema) {
            return Err(fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "models cannot be temporary")
                .set_hint("Name the model with a schema: 'schema.model'."));
        }
        Ok(Place { schema, schema_name: schema_name(schema), name })
    }
}

/// The model that a name means, or 42704. Holds no lock: a training may take hours.
pub(crate) fn model(name: &str, seen: Seen) -> Result<(Named, Model)> {
    match existing(name, seen, false)? {
        Found::Model(named, model) => Ok((named, model)),
        Found::Leftover(named, _) => Err(not_stored(&named)),
        Found::Other(named) => Err(not_a_model(&named)),
        Found::Nothing => Err(no_model(name)),
    }
}

/// The model of a view, or 42704.
pub(crate) fn model_of_view(relation: pg_sys::Oid, seen: Seen) -> Result<(Named, Model)> {
    let gone = || no_model(&format!("with OID {}", relation.to_u32()));
    if !hold(relation) {
        return Err(gone());
    }
    let id = id_of_view(relation);
    // SAFETY: gives back the lock that `hold` took.
    unsafe { pg_sys::UnlockRelationOid(relation, pg_sys::AccessShareLock as _) };
    let name = qualified_name(relation).ok_or_else(gone)?;
    let model = id.map(|id| registry::model(id, seen)).transpose()?.flatten();
    let model = model.filter(|model| model.relation == relation).ok_or_else(gone)?;
    Ok((Named { relation, name }, model))
}

/// Keeps a view from being dropped until the transaction ends; false where it is gone already.
pub(crate) fn hold(relation: pg_sys::Oid) -> bool {
    lock(relation, pg_sys::AccessShareLock)
}

/// The same without waiting; false also where somebody changes or drops it right now.
pub(crate) fn try_hold(relation: pg_sys::Oid) -> bool {
    // SAFETY: a lock that the transaction keeps, if it gets it.
    let held = unsafe { pg_sys::ConditionalLockRelationOid(relation, pg_sys::AccessShareLock as _) };
    held && qualified_name(relation).is_some()
}

/// Waits until nobody uses a view and keeps it so until the transaction ends; false where it is gone already.
pub(crate) fn seize(relation: pg_sys::Oid) -> bool {
    lock(relation, pg_sys::AccessExclusiveLock)
}

fn lock(relation: pg_sys::Oid, mode: u32) -> bool {
    // SAFETY: a lock that the transaction keeps; it also takes in what others changed meanwhile.
    unsafe { pg_sys::LockRelationOid(relation, mode as _) };
    qualified_name(relation).is_some()
}

/// What stands under a name.
pub(crate) enum Found {
    Model(Named, Model),
    /// The view of a model whose registry row is missing.
    Leftover(Named, Uuid),
    /// A relation that is no model.
    Other(Named),
    Nothing,
}

/// What stands under a name. `nowait` is 55P03 where somebody changes it right now.
pub(crate) fn existing(name: &str, seen: Seen, nowait: bool) -> Result<Found> {
    let Some(named) = find(name, pg_sys::AccessShareLock, nowait)? else { return Ok(Found::Nothing) };
    let id = id_of_view(named.relation);
    // SAFETY: gives back the lock that the look-up took.
    unsafe { pg_sys::UnlockRelationOid(named.relation, pg_sys::AccessShareLock as _) };
    let Some(id) = id else { return Ok(Found::Other(named)) };
    Ok(match registry::model(id, seen)? {
        Some(model) if model.relation == named.relation => Found::Model(named, model),
        // The row's own view is gone: nobody else has the model.
        Some(model) if qualified_name(model.relation).is_none() => Found::Leftover(named, id),
        Some(_) => Found::Other(named),
        None => Found::Leftover(named, id),
    })
}

/// A model that is about to serve, and which rows of the registry it serves from.
pub(crate) struct Served {
    pub(crate) named: Named,
    pub(crate) model_id: Uuid,
    pub(crate) seen: Seen,
}

/// The model to serve by name; its view stays locked against DROP until the transaction ends.
pub(crate) fn served_by_name(name: &str) -> Result<Served> {
    match find(name, pg_sys::AccessShareLock, false)? {
        Some(named) => served(named),
        None => Err(no_model(name)),
    }
}

/// The model to serve by the oid of its view.
pub(crate) fn served_by_relation(relation: pg_sys::Oid) -> Result<Served> {
    hold(relation);
    match qualified_name(relation) {
        Some(name) => served(Named { relation, name }),
        None => Err(no_model(&format!("with OID {}", relation.to_u32()))),
    }
}

fn served(named: Named) -> Result<Served> {
    let Some(model_id) = id_of_view(named.relation) else { return Err(not_a_model(&named)) };
    let mut seen = Seen::Statement;
    let mut view = registry::view_of(model_id, seen)?;
    if view.is_none() {
        // Made by a transaction that this statement waited for: it serves as it is now, like the name.
        seen = Seen::Now;
        view = registry::view_of(model_id, seen)?;
    }
    match view {
        Some(view) if view == named.relation => Ok(Served { named, model_id, seen }),
        Some(view) if qualified_name(view).is_some() => Err(not_a_model(&named)),
        _ => Err(not_stored(&named)),
    }
}

pub(crate) fn no_model(name: &str) -> ErrorReport {
    fail(Code::ERRCODE_UNDEFINED_OBJECT, format!("model {} does not exist", shown(name)))
        .set_hint("The view persona.models lists the models that you may use; a model outside the search path needs its schema: 'schema.model'.")
}

fn not_a_model(named: &Named) -> ErrorReport {
    let name = shown(&named.name);
    fail(Code::ERRCODE_UNDEFINED_OBJECT, format!("model {name} does not exist"))
        .set_detail(format!("There is a relation {name}, but it is not a model."))
        .set_hint("The view persona.models lists the models that you may use.")
}

/// 55000 for the view of a model that has no row in the registry.
fn not_stored(named: &Named) -> ErrorReport {
    let error = format!("the data of model {} are not stored here", shown(&named.name));
    fail(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, error)
        .set_detail("Its view is here, its row in the registry is not: a dump without the tables of schema persona_internal leaves that out.")
        .set_hint("Call its trainer again under this name, for example persona.train_als(): the view, its grants and what stands beside it are kept.")
}

/// `persona_internal.relation_in(cstring)`: the oid of a relation by name, 0 where there is none.
pub(crate) fn relation_in(call: &Call) -> Answer {
    let text: &CStr = call.required(0, "relation")?;
    let text = text.to_string_lossy();
    if text == "-" {
        return Ok(Some(pg_sys::Datum::from(pg_sys::InvalidOid)));
    }
    let range = range_var(&text)?;
    // SAFETY: the range variable was just made; look-ups answer 0 for what is missing.
    let relation = unsafe {
        if (*range).schemaname.is_null() {
            pg_sys::RelnameGetRelid((*range).relname)
        } else {
            let schema = pg_sys::get_namespace_oid((*range).schemaname, true);
            pg_sys::get_relname_relid((*range).relname, schema)
        }
    };
    Ok(Some(pg_sys::Datum::from(relation)))
}

/// `persona_internal.relation_out(relation)`: the qualified name, `-` where the relation is gone.
pub(crate) fn relation_out(call: &Call) -> Answer {
    let relation: pg_sys::Oid = call.required(0, "relation")?;
    let name = qualified_name(relation).unwrap_or_else(|| "-".to_string());
    let text = CString::new(name).unwrap_or_default();
    // SAFETY: pstrdup copies into the current memory context.
    Ok(Some(pg_sys::Datum::from(unsafe { pg_sys::pstrdup(text.as_ptr()) })))
}

/// 55000 for a model without a live version, with what makes one live.
pub(crate) fn not_deployed(named: &Named) -> pgrx::pg_sys::panic::ErrorReport {
    let name = literal(&named.name);
    let stored = || -> Result<Option<i32>> {
        let (_, model) = identity::model_of_view(named.relation, Seen::Statement)?;
        let Some(newest) = registry::version(model.model_id, None, Seen::Statement)? else { return Ok(None) };
        Ok(registry::has_image(newest.image_id, Seen::Statement)?.then_some(newest.version))
    };
    let retrain = format!("SELECT persona.retrain({name});");
    let hint = match stored() {
        Ok(Some(version)) => format!("Run SELECT persona.deploy({name}, {version}); or {retrain}"),
        _ => format!("Run {retrain}"),
    };
    fail(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("model {} has no deployed version", identity::shown(&named.name)),
    )
    .set_hint(hint)
}

/// Whom a training is for: whatever a name stands for, or one model, whose name may mean another one a moment later.
#[derive(Debug, Clone)]
pub(crate) struct ModelRef {
    pub(super) name: String,
    /// Its view and its id.
    pub(super) found: Option<(pg_sys::Oid, Uuid)>,
}

impl ModelRef {
    /// A model that the caller has found, and whose training lock it holds.
    pub(crate) fn model(named: &Named, model_id: Uuid) -> ModelRef {
        ModelRef { name: named.name.clone(), found: Some((named.relation, model_id)) }
    }

    /// Acts as the owner of a model that was found.
    pub(crate) fn as_owner(&self) -> Result<Option<Identity>> {
        let (relation, _) = self.found.ok_or_else(|| identity::no_model(&self.name))?;
        as_owner(&Named { relation, name: self.name.clone() })
    }
}

impl From<String> for ModelRef {
    fn from(name: String) -> ModelRef {
        ModelRef { name, found: None }
    }
}

impl std::ops::Deref for ModelRef {
    type Target = str;

    /// The name as the caller wrote it.
    fn deref(&self) -> &str {
        &self.name
    }
}

/// Acts as the owner of a model where that is somebody else; 42501 unless the current user may.
pub(crate) fn as_owner(named: &Named) -> Result<Option<Identity>> {
    let owner = access::owner_of(named.relation).ok_or_else(|| identity::no_model(&named.name))?;
    // SAFETY: the current user is set in every backend.
    let user = unsafe { pg_sys::GetUserId() };
    // Asked of the owner who is acted as: the view may have gone to another one since somebody looked.
    // SAFETY: reads the system caches.
    if !unsafe { pg_sys::has_privs_of_role(user, owner) } {
        return Err(access::not_owner(&named.name));
    }
    Ok((owner != user).then(|| Identity::become_user(owner, true)))
}
