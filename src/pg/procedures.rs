//! What the procedures that commit need: to know at their beginning that they cannot.

use pgrx::{is_a, pg_sys};

use super::call::{Answer, Call};
use super::error::{Code, fail};

/// `CALL persona._outside_block(procedure)`: 25001 where the transaction cannot end within the call, which Postgres tells a
/// procedure alone. PL/pgSQL passes on what it was told itself, so what calls this learns of its own place: within BEGIN and
/// COMMIT, a function, DO in a block, a block with EXCEPTION, a procedure with SET or SECURITY DEFINER.
pub(crate) fn outside_block(call: &Call) -> Answer {
    // SAFETY: fmgr passes a valid fcinfo; its context is NULL or a node, and one of that tag is a CallContext.
    let atomic = unsafe {
        let context = (*call.fcinfo()).context;
        context.is_null()
            || !is_a(context, pg_sys::NodeTag::T_CallContext)
            || (*context.cast::<pg_sys::CallContext>()).atomic
    };
    if !atomic {
        return Ok(None);
    }
    let procedure = call.text(0)?.unwrap_or_default();
    Err(fail(
        Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
        format!("{procedure} cannot run inside a transaction block"),
    )
    .set_detail("It commits between its steps.")
    .set_hint("CALL it as a statement of its own: not between BEGIN and COMMIT, and not from a function or a block with EXCEPTION."))
}
