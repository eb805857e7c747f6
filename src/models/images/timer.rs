//! A timer that goes on while the connection waits for its client: one of Postgres' own timeouts, whose functions are not
//! among the bindings of pgrx. Declared as in utils/timeout.h.

use std::cell::Cell;
use std::ffi::{c_int, c_uint};
use std::time::Duration;

use pgrx::pg_sys;

/// The first number that extensions may have. One above it is taken for it; one below would be another's timeout.
#[cfg(any(feature = "pg15", feature = "pg16"))]
const USER_TIMEOUT: c_uint = 12;
#[cfg(any(feature = "pg17", feature = "pg18"))]
const USER_TIMEOUT: c_uint = 13;

unsafe extern "C" {
    /// Answers the number that the timeout got. FATAL if all ten of extensions are taken.
    fn RegisterTimeout(id: c_uint, handler: unsafe extern "C" fn()) -> c_uint;
    /// Starts a timeout, or starts it anew.
    fn enable_timeout_after(id: c_uint, delay_ms: c_int);
    /// Whether it has started and not fired. An ERROR takes all timeouts away.
    fn get_timeout_active(id: c_uint) -> bool;
}

thread_local! {
    static NUMBER: Cell<Option<c_uint>> = const { Cell::new(None) };
}

/// Whether this process waits for a client between its statements; others end when they have nothing to do.
pub(super) fn is_of_use() -> bool {
    // SAFETY: set in every process of the server before it does anything.
    unsafe { pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND }
}

/// Whether the timer is running.
pub(super) fn runs() -> bool {
    // SAFETY: the number is one that was registered.
    NUMBER.get().is_some_and(|number| unsafe { get_timeout_active(number) })
}

/// Calls `handler` once, in a signal handler on the main thread, after a time; forgets an earlier call that is yet to come.
/// It may do what is safe in one, and nothing else. There is one timer: the first handler is that of all calls.
pub(super) fn start(after: Duration, handler: unsafe extern "C" fn()) {
    let number = NUMBER.get().unwrap_or_else(|| {
        // SAFETY: on the main thread of a backend, which has initialized its timeouts; the handler lives as long as the
        // library, which is never unloaded.
        let number = unsafe { RegisterTimeout(USER_TIMEOUT, handler) };
        NUMBER.set(Some(number));
        number
    });
    let milliseconds = c_int::try_from(after.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: on the main thread, with a number that was registered.
    unsafe { enable_timeout_after(number, milliseconds) };
}
