//! What rows of the registry say and SQL is made of. A type is parsed and its name written anew: a text that names none
//! never gets into a statement.

use std::ffi::CString;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgTryBuilder, pg_sys};
use serde_json::{Map, Value};

use crate::pg::access::Identity;
use crate::pg::error::{Code, Result, fail};
use crate::pg::ids::{Class, type_name};

/// The type of ids that a spec names by a key, as SQL that means this type; XX001 for what is no type of ids, 42704 for a
/// type that is gone.
pub(crate) fn id_type(spec: &Map<String, Value>, key: &str) -> Result<String> {
    let text = spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let damaged =
        || damaged().set_detail(format!("Its \"{key}\" is not the name of a type that ids can have."));
    let type_oid = parse(text).ok_or_else(damaged)?;
    if Class::of(type_oid).is_some() { Ok(type_name(type_oid)) } else { Err(damaged()) }
}

/// The type that a text names; nothing where the text is not the name of a type.
fn parse(text: &str) -> Option<pg_sys::Oid> {
    let text = CString::new(text).ok()?;
    let _path = Identity::pinned_path();
    PgTryBuilder::new(|| {
        let (mut found, mut modifier) = (pg_sys::InvalidOid, -1);
        // SAFETY: the text lives through the call, which fills both numbers or raises an error.
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::parseTypeString(text.as_ptr(), &mut found, &mut modifier, false);
            #[cfg(not(feature = "pg15"))]
            pg_sys::parseTypeString(text.as_ptr(), &mut found, &mut modifier, std::ptr::null_mut());
        }
        Some(found)
    })
    .catch_when(Code::ERRCODE_SYNTAX_ERROR, |_| None)
    .execute()
}

/// XX001 for a row that the library cannot have written.
pub(crate) fn damaged() -> ErrorReport {
    fail(Code::ERRCODE_DATA_CORRUPTED, "a row of the registry of pg_persona is damaged")
}
