//! Work that may fail without ending the transaction: its error undoes it alone.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgTryBuilder, pg_sys};

use super::call::raise;
use super::error::{Code, Result};

/// What ends the statement or the session, and not a piece of work alone.
const PASSES: [Code; 5] = [
    Code::ERRCODE_QUERY_CANCELED,
    Code::ERRCODE_ADMIN_SHUTDOWN,
    Code::ERRCODE_CRASH_SHUTDOWN,
    Code::ERRCODE_CANNOT_CONNECT_NOW,
    Code::ERRCODE_DATABASE_DROPPED,
];

/// Runs a piece of work in a subtransaction, which its error undoes: what it failed with. A cancel passes.
pub(crate) fn attempt(body: impl FnOnce() -> Result<()>) -> std::result::Result<(), CaughtError> {
    // SAFETY: the subtransaction is released or rolled back on every way out, and the memory context and resource
    // owner of before are set again, as PL/pgSQL does around a block with EXCEPTION.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
            if let Err(error) = body() {
                raise(error);
            }
            Ok(())
        }))
        .catch_others(Err)
        .execute();
        match outcome {
            Ok(()) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        if let Err(caught) = outcome {
            if PASSES.contains(&report(&caught).sql_error_code()) {
                caught.rethrow();
            }
            return Err(caught);
        }
        Ok(())
    }
}

/// The error that was caught.
pub(crate) fn report(caught: &CaughtError) -> &ErrorReportWithLevel {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = caught;
    report
}
