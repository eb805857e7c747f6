//! The tables of the registry are closed to everybody but their owner, as whom the library writes, and superusers, who
//! restore. A right to write all tables of a database is no right to say what the library runs.

use pgrx::pg_sys;

use crate::pg::access;
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, fail};
use crate::pg::names::qualified_name;

/// `persona_internal.only_library()`: the trigger before each statement that writes to a table of the registry.
pub(crate) fn only_library(call: &Call) -> Answer {
    let Some(relation) = fired_on(call) else {
        return Err(fail(
            Code::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "persona_internal.only_library() can only be called as a trigger",
        ));
    };
    if access::owns(relation) {
        // A trigger answers a null pointer, and no NULL.
        return Ok(Some(pg_sys::Datum::null()));
    }
    let name = qualified_name(relation).unwrap_or_default();
    Err(fail(Code::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("permission denied for table {name}"))
        .set_detail("Only pg_persona itself and superusers write to its registry, whoever else may write to all tables.")
        .set_hint("Change models with the functions of schema persona; restore a dump as a superuser."))
}

/// The table whose trigger fired.
fn fired_on(call: &Call) -> Option<pg_sys::Oid> {
    // SAFETY: fmgr passes a valid fcinfo; a node is read as what its tag says, and the relation is open during the call.
    unsafe {
        let context = (*call.fcinfo()).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            return None;
        }
        Some((*(*context.cast::<pg_sys::TriggerData>()).tg_relation).rd_id)
    }
}
