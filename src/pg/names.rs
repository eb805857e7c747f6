//! Names in SQL: qualified, quoted, and as people read them.

use std::ffi::CStr;

use pgrx::pg_sys;

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

pub(crate) fn schema_name(schema: pg_sys::Oid) -> String {
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

/// A name in a message: quoted, unless it brings its own quotes.
pub(crate) fn shown(name: &str) -> String {
    if name.contains('"') { name.to_string() } else { format!("\"{name}\"") }
}

/// A literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}
