//! Which model a name means. The one rule: a name is looked up like any relation's, and the registry row that
//! holds that relation's oid is the model. Renames, swaps, SET SCHEMA and OWNER TO keep the oid; a relation that
//! takes a model's name has another; dumps carry the oid as the name of that moment (type
//! `persona_internal.relation`), so a restore binds it again.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{Uuid, pg_sys};

use crate::call::Call;
use crate::error::{Code, Result, fail};
use crate::registry::scan::Seen;
use crate::registry::{self, Model};

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

/// The relation that a name means along the search path, if there is one.
pub(crate) fn lookup(name: &str) -> Result<Option<Named>> {
    let range = range_var(name)?;
    // SAFETY: the range variable was just made; no lock is taken, no callback given.
    let relation = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::NoLock as _,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    Ok((relation != pg_sys::InvalidOid).then(|| Named { relation, name: name.to_string() }))
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
        Ok(Place { schema, schema_name: schema_name(schema), name })
    }
}

/// The model that a name means, or 42704.
pub(crate) fn model(name: &str) -> Result<(Named, Model)> {
    let Some(named) = lookup(name)? else { return Err(no_model(name)) };
    match registry::model_by_relation(named.relation, Seen::Latest)? {
        Some(model) => Ok((named, model)),
        None => Err(not_a_model(&named)?),
    }
}

/// The id of the model that a relation is: the cheap way, for serving.
pub(crate) fn model_id_of(named: Named) -> Result<(Named, Uuid)> {
    match registry::model_id_by_relation(named.relation)? {
        Some(id) => Ok((named, id)),
        None => Err(not_a_model(&named)?),
    }
}

/// The schema-qualified name of a relation, or `None` where it is gone.
pub(crate) fn qualified_name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: system cache look-ups that answer NULL for what is missing; results are copied at once.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        let schema = pg_sys::get_namespace_name_or_temp(pg_sys::get_rel_namespace(relation));
        if name.is_null() || schema.is_null() {
            return None;
        }
        let name = CStr::from_ptr(name).to_string_lossy();
        Some(qualified(&CStr::from_ptr(schema).to_string_lossy(), &name))
    }
}

fn schema_name(schema: pg_sys::Oid) -> String {
    // SAFETY: a system cache look-up; NULL where the schema was dropped meanwhile.
    unsafe {
        let name = pg_sys::get_namespace_name_or_temp(schema);
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// `schema.name`, each quoted where SQL needs it.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

/// An identifier, quoted where SQL needs it.
pub(crate) fn quote(identifier: &str) -> String {
    pgrx::spi::quote_identifier(identifier)
}

pub(crate) fn no_model(name: &str) -> ErrorReport {
    fail(Code::ERRCODE_UNDEFINED_OBJECT, format!("model \"{name}\" does not exist"))
        .set_hint("The view persona.models lists the models that you may use; a model outside the search path needs its schema: 'schema.model'.")
}

fn not_a_model(named: &Named) -> Result<ErrorReport> {
    if registry::scan::shows_model_facts(named.relation)? {
        let error = format!("the data of model \"{}\" are not stored here", named.name);
        return Ok(fail(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, error)
            .set_detail("Its view is here, its row in the registry is not: a dump without the tables of schema persona_internal leaves that out.")
            .set_hint("Call the trainer again under this name, for example persona.train_als(): the view and the functions beside it are kept."));
    }
    Ok(fail(Code::ERRCODE_UNDEFINED_OBJECT, format!("model \"{}\" does not exist", named.name))
        .set_detail(format!("There is a relation \"{}\", but it is not a model.", named.name))
        .set_hint("The view persona.models lists the models that you may use."))
}

/// `persona_internal.relation_in(cstring)`: the oid of a relation by name, 0 where there is none.
pub(crate) fn relation_in(call: &Call) -> Result<Option<pg_sys::Datum>> {
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
pub(crate) fn relation_out(call: &Call) -> Result<Option<pg_sys::Datum>> {
    let relation: pg_sys::Oid = call.required(0, "relation")?;
    let name = qualified_name(relation).unwrap_or_else(|| "-".to_string());
    let text = CString::new(name).unwrap_or_default();
    // SAFETY: pstrdup copies into the current memory context.
    Ok(Some(pg_sys::Datum::from(unsafe { pg_sys::pstrdup(text.as_ptr()) })))
}
