//! The two locks of a model, both held until the transaction ends. Training excludes training only; deploying
//! orders the deployment log and waits for nothing longer than another deployment.

use pgrx::pg_sys;

use super::identity::Place;
use super::registry::scan;
use crate::pg::error::{Code, Result, fail};

/// What a lock protects; the number tells lock tags apart.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Purpose {
    Training = 1,
    Deploying = 2,
    Creating = 3,
    Tuning = 4,
    Reclaiming = 5,
}

/// How often, and how far apart, a lock is tried before somebody else really has it.
const PATIENCE: u32 = 10;
const STEP: std::time::Duration = std::time::Duration::from_millis(2);

/// Takes the training lock of a model, or 55P03 where somebody trains it.
pub(crate) fn training(relation: pg_sys::Oid, name: &str) -> Result<()> {
    try_acquire(relation.to_u32(), Purpose::Training, name)
}

/// Takes the tuning lock of a model, or 55P03 where somebody tunes it.
pub(crate) fn tuning(relation: pg_sys::Oid, name: &str) -> Result<()> {
    try_acquire(relation.to_u32(), Purpose::Tuning, name)
}

/// Takes the training lock of a model that does not exist yet.
pub(crate) fn creating(place: &Place) -> Result<()> {
    // FNV-1a; a collision only makes two first trainings exclude each other.
    let hash = place.name.bytes().fold(0x811c_9dc5u32 ^ place.schema.to_u32(), |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    try_acquire(hash, Purpose::Creating, &place.name)
}

/// Takes the deploy lock of a model; waits, and can be cancelled while it does.
pub(crate) fn deploying(relation: pg_sys::Oid) -> Result<()> {
    acquire(relation.to_u32(), Purpose::Deploying, false).map(|_| ())
}

/// The same without waiting; whether it was free.
pub(crate) fn try_deploying(relation: pg_sys::Oid) -> Result<bool> {
    acquire(relation.to_u32(), Purpose::Deploying, true)
}

/// Takes the right to free the pages of deleted images, which one transaction at a time has; whether it was free.
pub(crate) fn reclaiming() -> Result<bool> {
    acquire(0, Purpose::Reclaiming, true)
}

fn try_acquire(object: u32, purpose: Purpose, name: &str) -> Result<()> {
    // A transaction that ends frees its locks one after another: whoever waited for its view may be here before it
    // has freed this one.
    for _ in 0..PATIENCE {
        if acquire(object, purpose, true)? {
            return Ok(());
        }
        crate::pg::memory::interrupts();
        std::thread::sleep(STEP);
    }
    let (done, by) = match purpose {
        Purpose::Tuning => ("tuned", "tunes"),
        _ => ("trained", "trains, alters"),
    };
    Err(fail(
        Code::ERRCODE_LOCK_NOT_AVAILABLE,
        format!("model {} is being {done}", crate::pg::names::shown(name)),
    )
    .set_detail(format!("Another session {by} or drops it and has not ended its transaction yet."))
    .set_hint("The view persona.training_progress shows running trainings."))
}

/// 25006 in a read-only transaction, and on a standby: before anything is locked or read.
pub(crate) fn writable(what: &std::ffi::CStr) {
    // SAFETY: raises an error or returns; the name is a NUL-terminated literal.
    unsafe { pg_sys::PreventCommandIfReadOnly(what.as_ptr()) };
}

/// An object lock in the space of the registry's own table, so that it meets nobody else's.
fn acquire(object: u32, purpose: Purpose, nowait: bool) -> Result<bool> {
    let class = scan::relation("model")?;
    // SAFETY: a lock tag is plain data; MyDatabaseId is set in every backend; the lock is released with the
    // transaction.
    let got = unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: class.to_u32(),
            locktag_field3: object,
            locktag_field4: purpose as u16,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as _, false, nowait)
    };
    Ok(got != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL)
}
