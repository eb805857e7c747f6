//! The queue of changes: which tables are attached to a model, and whose rows of them changed. The triggers write it in
//! the statements of anybody. They run no SQL for that and take nobody's identity: rows are put into the table as
//! Postgres puts those of a catalog.

use pgrx::{IntoDatum, Uuid, pg_sys};

use super::scan::{Scan, Seen, open_for};
use super::{not_outrun, uuid_key, write};
use crate::pg::error::Result;
use crate::pg::memory;
use crate::pg::snapshot::Snapshot;

/// The tables whose changes are queued for a model.
pub(crate) fn attached(model_id: Uuid, seen: Seen) -> Result<Vec<pg_sys::Oid>> {
    let mut scan = Scan::start("attachment", "attachment_pkey", seen, &[uuid_key(1, model_id)], false)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next() {
        found.push(row.expect(3)?);
    }
    Ok(found)
}

/// Queues users of a model; `None` says that anything may have changed.
pub(crate) fn append(model_id: Uuid, users: Option<&[String]>) -> Result<()> {
    append_read_by(model_id, users, None)
}

fn append_read_by(model_id: Uuid, users: Option<&[String]>, version: Option<i32>) -> Result<()> {
    let values = [
        model_id.into_datum(),
        write::new_id()?.into_datum(),
        users.and_then(|users| users.iter().map(String::as_str).collect::<Vec<_>>().into_datum()),
        // SAFETY: reads the clock.
        Some(unsafe { pg_sys::GetCurrentTimestamp() }.into()),
        version.into_datum(),
    ];
    let mut nulls = values.map(|value| value.is_none());
    let mut datums = values.map(|value| value.unwrap_or(pg_sys::Datum::null()));
    let table = open_for("queue", pg_sys::RowExclusiveLock)?;
    // SAFETY: the values are those of the five columns that sql/attach.sql gives the table, whose one index has no
    // expression; the lock stays until the transaction ends, as that of INSERT does.
    unsafe {
        let tuple = pg_sys::heap_form_tuple((*table).rd_att, datums.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::CatalogTupleInsert(table, tuple);
        pg_sys::heap_freetuple(tuple);
        pg_sys::table_close(table, pg_sys::NoLock as _);
    }
    Ok(())
}

/// What waits in the queue of a model, under the snapshot that was the active one when somebody asked. However long the queue
/// is, this holds none of it.
pub(crate) struct Pending {
    model_id: Uuid,
    /// Whether anything waits.
    any: bool,
    /// Whether anybody keeps a queue.
    kept: bool,
    /// Whether the tables are others than those that were followed, or were written anew.
    moved: bool,
    snapshot: pg_sys::Snapshot,
    /// When somebody asked. What the transaction itself queues from then on was not seen.
    asked_at: pgrx::datum::TimestampWithTimeZone,
}

/// Whose rows changed.
pub(crate) enum Changed {
    /// Those that were passed on.
    Users,
    /// Anything may have changed, or nobody keeps a queue.
    Unknown,
    /// More than somebody wanted to hear of.
    TooMany,
}

/// Notes the tables that are at or below the source now; whether they are others than were noted, or were written anew.
pub(crate) fn follow(model_id: Uuid) -> Result<bool> {
    let before = attached(model_id, Seen::Latest)?;
    let _latest = Snapshot::latest();
    // SAFETY: the active snapshot is that of the line above, until the end of this function.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
    let moved = before.is_empty() || write::has_moved(model_id, snapshot)?;
    write::set_attachment(model_id, snapshot)?;
    Ok(moved)
}

/// What waits in the queue of a model. Whoever reads the source under the same snapshot, or a later one, has all of
/// these changes.
pub(crate) fn pending(model_id: Uuid) -> Result<Pending> {
    let mut scan = Scan::start("queue", "queue_pkey", Seen::Statement, &[uuid_key(1, model_id)], false)?;
    let any = scan.next().is_some();
    drop(scan);
    let kept = !attached(model_id, Seen::Latest)?.is_empty();
    // SAFETY: inside a transaction that has an active snapshot; `Drop` gives this one back, and an abort does if an error
    // passes.
    let (snapshot, asked_at) =
        unsafe { (pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot()), pg_sys::GetCurrentTimestamp()) };
    let asked_at = asked_at.try_into().map_err(|_| write::damaged_clock())?;
    let mut pending = Pending { model_id, any, kept, moved: false, snapshot, asked_at };
    pending.moved = kept && write::has_moved(model_id, snapshot)?;
    Ok(pending)
}

impl Pending {
    /// Passes the users on whose rows changed, one by one and some of them repeatedly, until `each` wants no more.
    pub(crate) fn users(&self, each: &mut dyn FnMut(&str) -> Result<bool>) -> Result<Changed> {
        if !self.kept || self.moved {
            return Ok(Changed::Unknown);
        }
        let keys = [uuid_key(1, self.model_id)];
        let mut scan = Scan::start("queue", "queue_pkey", Seen::Statement, &keys, false)?;
        while let Some(row) = scan.next() {
            let Some(users) = row.get::<Vec<String>>(3) else { return Ok(Changed::Unknown) };
            for user in &users {
                if !each(user)? {
                    return Ok(Changed::TooMany);
                }
            }
            memory::interrupts();
        }
        Ok(Changed::Users)
    }

    /// Removes what was seen, with the transaction that has worked it off.
    pub(crate) fn forget(&self) -> Result<()> {
        if self.any {
            write::forget_changes(self.model_id, self.snapshot, self.asked_at)?;
        }
        self.follow()
    }

    /// Keeps what was seen for the next version, and notes which one has read it and did not go live.
    pub(crate) fn keep(&self, version: i32) -> Result<()> {
        if self.any {
            write::mark_changes(self.model_id, self.snapshot, self.asked_at, version)?;
        }
        if self.moved {
            append_read_by(self.model_id, None, Some(version))?;
        }
        self.follow()
    }

    /// Notes the tables whose rows were read, if they are not those that were noted, or were noted in another database.
    fn follow(&self) -> Result<()> {
        if self.moved || self.kept && write::is_noted_elsewhere(self.model_id, self.snapshot)? {
            write::set_attachment(self.model_id, self.snapshot)?;
        }
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered once, by `pending`.
            unsafe { pg_sys::UnregisterSnapshot(self.snapshot) };
        }
    }
}

/// A version goes live by hand: it has what it read, and all else is for the next work-off. What a version before the
/// live one did not read nobody knows any more.
pub(crate) fn deployed(model_id: Uuid, version: i32, older: bool) -> Result<()> {
    if attached(model_id, Seen::Latest)?.is_empty() {
        return Ok(());
    }
    not_outrun(model_id)?;
    write::release_changes(model_id, version)?;
    if older { append(model_id, None) } else { Ok(()) }
}
