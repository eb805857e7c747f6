//! What is seen by a statement that has waited for a lock: what was committed when it got it. The snapshot that the
//! statement began with may be older than what the holder of the lock has written: rows would be read as they were, and
//! what came in between be forgotten.

use pgrx::pg_sys;

/// A snapshot that is the active one for as long as the value lives.
#[must_use]
pub(crate) struct Snapshot(());

impl Snapshot {
    /// Of now; in REPEATABLE READ and SERIALIZABLE that of the transaction.
    pub(crate) fn now() -> Snapshot {
        // SAFETY: within a transaction; Drop gives it back, and an abort does where an error passes.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Snapshot(())
    }

    /// Of now at any isolation level, as Postgres reads its catalogs.
    pub(crate) fn latest() -> Snapshot {
        // SAFETY: as above.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        Snapshot(())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: as many are taken back as were pushed; others push and pop theirs in between.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// Whether the transaction goes on seeing what it first saw.
pub(crate) fn stays() -> bool {
    // SAFETY: reads a setting of the transaction.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}
