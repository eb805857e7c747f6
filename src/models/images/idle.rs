//! What a connection keeps mapped when it is idle: nothing that is stale from the end of a transaction on, and nothing at all
//! after `persona.image_idle_timeout`. A mapped file cannot be removed, so what a hundred idle connections of a pool kept
//! would be space that nobody needs and nobody else can have.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pgrx::{pg_guard, pg_sys};

use super::{cache, slots, timer};
use crate::pg::settings;

/// Whether the running transaction has been served from a mapping. Until it ends the timer takes none: an old snapshot
/// would have to write again what it has seen deleted.
static SERVED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// When the timer was started last, and for how long.
    static STARTED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// The running transaction is served from a mapping.
pub(super) fn served() {
    SERVED.store(true, SeqCst);
    if !WATCHED.replace(true) {
        // SAFETY: on the main thread, with a function that lives as long as the library, which is never unloaded.
        unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
    }
}

/// A transaction has ended; one that fails later in its end, as the callbacks of others may, has an abort too.
#[pg_guard]
unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    if !matches!(
        event,
        XACT_EVENT_COMMIT
            | XACT_EVENT_PARALLEL_COMMIT
            | XACT_EVENT_ABORT
            | XACT_EVENT_PARALLEL_ABORT
            | XACT_EVENT_PREPARE
    ) {
        return;
    }
    SERVED.store(false, SeqCst);
    cache::forget_stale();
    let after = settings::image_idle_timeout();
    if after.is_zero() || !timer::is_of_use() || !slots::any() {
        return;
    }
    let started = STARTED.get();
    // Started anew with each transaction it would cost one a microsecond and a system call.
    let due = started.is_none_or(|(at, time)| time != after || at.elapsed() >= after / 2);
    if due && started.is_some() {
        cache::forget_unused();
    }
    if (due || !timer::runs()) && slots::any() {
        timer::start(after, rest);
    }
    // An ERROR takes the timer away. That it is started anew for one is no reason to look at what is used any later.
    if due {
        STARTED.set(Some((Instant::now(), after)));
    }
}

/// Runs in a signal handler. The transaction that it leaves alone starts the timer again at its end.
unsafe extern "C" fn rest() {
    if !SERVED.load(SeqCst) {
        slots::unmap_unused();
    }
}
