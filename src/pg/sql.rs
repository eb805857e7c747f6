//! SQL that the library itself runs.

use pgrx::Spi;
use pgrx::datum::DatumWithOid;
use pgrx::{IntoDatum, pg_sys};

use super::access::{Identity, set_local};
use super::error::{Code, Result, fail};
use super::settings;

/// A typed argument of a statement; `None` in an `Option` is NULL.
pub(crate) fn argument<'a, T: IntoDatum>(value: T) -> DatumWithOid<'a> {
    let type_oid = T::type_oid();
    // SAFETY: the oid is that of the value's own type.
    unsafe { DatumWithOid::new(value, type_oid) }
}

/// Sorts, hashes and stores of rows that such a statement may have at one time, those of hashes counted twice.
const NODES: u64 = 12;

/// Settings for statements that compare whole tables, until the surrounding identity ends.
pub(crate) fn bulk() {
    // The tables have no statistics yet when they are filled first: other joins would be a guess.
    set_local("enable_nestloop", "off");
    set_local("enable_mergejoin", "off");
    // Work on whole tables, like that of CREATE INDEX, and as seldom. A statement has several nodes that each take as
    // much, and all of them stay within the memory of a training.
    // SAFETY: settings of this process.
    let (ordinary, maintenance) = unsafe { (pg_sys::work_mem, pg_sys::maintenance_work_mem) };
    let part = i32::try_from((settings::max_memory() / NODES) >> 10).unwrap_or(i32::MAX);
    set_local("work_mem", &ordinary.max(maintenance).min(part).max(64).to_string());
}

/// Runs one DDL statement as the current user, with a search path in which nobody can plant types.
pub(crate) fn execute(statement: &str) -> Result<()> {
    let _path = Identity::pinned_path();
    Spi::run(statement)
        .map_err(|error| fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not run DDL: {error}")))
}
