//! Messages below ERROR. A pending cancel must not leave through `errfinish` over Rust frames: interrupts are
//! answered first and held while the message is sent. Nothing else in this crate may send one.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use super::error::fail;

/// A WARNING with a hint.
pub(crate) fn warning(message: &str, hint: &str) {
    send(PgLogLevel::WARNING, fail(PgSqlErrorCode::ERRCODE_WARNING, message).set_hint(hint));
}

/// A NOTICE with a detail.
pub(crate) fn notice(message: &str, detail: &str) {
    let report = fail(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message).set_detail(detail);
    send(PgLogLevel::NOTICE, report);
}

/// A message for the server log alone, with a hint.
pub(crate) fn log(message: &str, hint: &str) {
    send(PgLogLevel::LOG_SERVER_ONLY, fail(PgSqlErrorCode::ERRCODE_WARNING, message).set_hint(hint));
}

/// An INFO message, sent only where `persona.verbose` is on.
pub(crate) fn verbose(message: &str) {
    if crate::pg::settings::verbose() {
        send(PgLogLevel::INFO, fail(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message));
    }
}

fn send(level: PgLogLevel, report: ErrorReport) {
    pgrx::check_for_interrupts!();
    // SAFETY: the counter is this process's own; it is put back at once, and a message below ERROR returns.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    report.report(level);
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}
