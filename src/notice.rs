//! Messages below ERROR. A pending cancel must not leave through `errfinish` over Rust frames: interrupts are
//! answered first and held while the message is sent. Nothing else in this crate may send one.

use pgrx::pg_sys;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use crate::error::fail;

/// A WARNING with a hint.
pub(crate) fn warning(message: &str, hint: &str) {
    send(PgLogLevel::WARNING, PgSqlErrorCode::ERRCODE_WARNING, message, Some(hint));
}

/// A message for the server log alone, with a hint.
pub(crate) fn log(message: &str, hint: &str) {
    send(PgLogLevel::LOG_SERVER_ONLY, PgSqlErrorCode::ERRCODE_WARNING, message, Some(hint));
}

/// An INFO message, sent only where `persona.verbose` is on.
pub(crate) fn verbose(message: &str) {
    if crate::settings::verbose() {
        send(PgLogLevel::INFO, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, None);
    }
}

fn send(level: PgLogLevel, code: PgSqlErrorCode, message: &str, hint: Option<&str>) {
    pgrx::check_for_interrupts!();
    let mut report = fail(code, message);
    if let Some(hint) = hint {
        report = report.set_hint(hint);
    }
    // SAFETY: the counter is this process's own; it is put back at once, and a message below ERROR returns.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    report.report(level);
    // SAFETY: as above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}
