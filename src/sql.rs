//! SQL that the library itself runs.

use pgrx::datum::DatumWithOid;
use pgrx::{IntoDatum, pg_sys};

use crate::access::set_local;

/// A typed argument of a statement; `None` in an `Option` is NULL.
pub(crate) fn argument<'a, T: IntoDatum>(value: T) -> DatumWithOid<'a> {
    let type_oid = T::type_oid();
    // SAFETY: the oid is that of the value's own type.
    unsafe { DatumWithOid::new(value, type_oid) }
}

/// Settings for statements that compare whole tables, until the surrounding identity ends.
pub(crate) fn bulk() {
    // The tables have no statistics yet when they are filled first: other joins would be a guess.
    set_local("enable_nestloop", "off");
    set_local("enable_mergejoin", "off");
    // Work on whole tables, like that of CREATE INDEX, and as seldom.
    // SAFETY: settings of this process.
    let (ordinary, maintenance) = unsafe { (pg_sys::work_mem, pg_sys::maintenance_work_mem) };
    set_local("work_mem", &ordinary.max(maintenance).to_string());
}
