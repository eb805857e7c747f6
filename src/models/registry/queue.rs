//! The queue of changes: which tables are attached to a model, and whose rows of them changed. The triggers write it in
//! the statements of anybody. They run no SQL for that and take nobody's identity: rows are put into the table as
//! Postgres puts those of a catalog.

use pgrx::{IntoDatum, Uuid, pg_sys};

use super::scan::{Scan, Seen, open_for};
use super::write::{self, as_registry_owner, run, run_under};
use super::{attached, not_outrun, queue, uuid_key};
use crate::pg::error::Result;
use crate::pg::memory;
use crate::pg::snapshot::Snapshot;
use crate::pg::sql::argument;

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
    let moved = before.is_empty() || queue::has_moved(model_id, snapshot)?;
    queue::set_attachment(model_id, snapshot)?;
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
    pending.moved = kept && queue::has_moved(model_id, snapshot)?;
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
            queue::forget_changes(self.model_id, self.snapshot, self.asked_at)?;
        }
        self.follow()
    }

    /// Keeps what was seen for the next version, and notes which one has read it and did not go live.
    pub(crate) fn keep(&self, version: i32) -> Result<()> {
        if self.any {
            queue::mark_changes(self.model_id, self.snapshot, self.asked_at, version)?;
        }
        if self.moved {
            append_read_by(self.model_id, None, Some(version))?;
        }
        self.follow()
    }

    /// Notes the tables whose rows were read, if they are not those that were noted, or were noted in another database.
    fn follow(&self) -> Result<()> {
        if self.moved || self.kept && queue::is_noted_elsewhere(self.model_id, self.snapshot)? {
            queue::set_attachment(self.model_id, self.snapshot)?;
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
    queue::release_changes(model_id, version)?;
    if older { append(model_id, None) } else { Ok(()) }
}

/// Notes the source of a model and what lies below it, as a snapshot shows them, in place of what was noted before.
pub(crate) fn set_attachment(model_id: Uuid, snapshot: pg_sys::Snapshot) -> Result<()> {
    let model = (model_id.into_datum(), pg_sys::UUIDOID);
    as_registry_owner(|| {
        run_under(
            snapshot,
            "DELETE FROM persona_internal.attachment WHERE model_id OPERATOR(pg_catalog.=) $1",
            [model],
        )?;
        run_under(
            snapshot,
            "INSERT INTO persona_internal.attachment
             SELECT model_id, pg_catalog.row_number() OVER (ORDER BY relation), relation, filenode, database
             FROM persona_internal.source_table WHERE model_id OPERATOR(pg_catalog.=) $1",
            [model],
        )?;
        Ok(())
    })
}

/// Whether the tables of a model were noted in the database that this one is a copy of.
pub(crate) fn is_noted_elsewhere(model_id: Uuid, snapshot: pg_sys::Snapshot) -> Result<bool> {
    // SAFETY: set when the process connected.
    let database = unsafe { pg_sys::MyDatabaseId };
    as_registry_owner(|| {
        run_under(
            snapshot,
            "SELECT FROM persona_internal.attachment WHERE model_id OPERATOR(pg_catalog.=) $1
               AND database IS DISTINCT FROM $2",
            [(model_id.into_datum(), pg_sys::UUIDOID), (database.into_datum(), pg_sys::OIDOID)],
        )
        .map(|rows| rows > 0)
    })
}

/// Whether a snapshot shows the source of a model, or what lies below it, otherwise than it was noted.
pub(crate) fn has_moved(model_id: Uuid, snapshot: pg_sys::Snapshot) -> Result<bool> {
    as_registry_owner(|| {
        run_under(
            snapshot,
            "SELECT FROM persona_internal.moved WHERE model_id OPERATOR(pg_catalog.=) $1",
            [(model_id.into_datum(), pg_sys::UUIDOID)],
        )
        .map(|rows| rows > 0)
    })
}

/// Forgets that a model was attached, and what is queued for it.
pub(crate) fn delete_attachment(model_id: Uuid) -> Result<()> {
    as_registry_owner(|| {
        for table in ["attachment", "queue"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes the rows of a model's queue that a snapshot shows and that were there at a moment.
pub(crate) fn forget_changes(
    model_id: Uuid,
    snapshot: pg_sys::Snapshot,
    until: pgrx::datum::TimestampWithTimeZone,
) -> Result<()> {
    as_registry_owner(|| {
        run_under(
            snapshot,
            "DELETE FROM persona_internal.queue WHERE model_id OPERATOR(pg_catalog.=) $1
               AND queued_at OPERATOR(pg_catalog.<=) $2",
            [(model_id.into_datum(), pg_sys::UUIDOID), (until.into_datum(), pg_sys::TIMESTAMPTZOID)],
        )
        .map(|_| ())
    })
}

/// Notes that a version has read these rows.
pub(crate) fn mark_changes(
    model_id: Uuid,
    snapshot: pg_sys::Snapshot,
    until: pgrx::datum::TimestampWithTimeZone,
    version: i32,
) -> Result<()> {
    as_registry_owner(|| {
        run_under(
            snapshot,
            "UPDATE persona_internal.queue SET read_by = $3 WHERE model_id OPERATOR(pg_catalog.=) $1
               AND queued_at OPERATOR(pg_catalog.<=) $2",
            [
                (model_id.into_datum(), pg_sys::UUIDOID),
                (until.into_datum(), pg_sys::TIMESTAMPTZOID),
                (version.into_datum(), pg_sys::INT4OID),
            ],
        )
        .map(|_| ())
    })
}

/// Removes what a version has read of a model's queue; what other versions did counts as read by none.
pub(crate) fn release_changes(model_id: Uuid, version: i32) -> Result<()> {
    as_registry_owner(|| {
        run(
            "DELETE FROM persona_internal.queue WHERE model_id OPERATOR(pg_catalog.=) $1
               AND read_by OPERATOR(pg_catalog.=) $2",
            &[argument(model_id), argument(version)],
        )?;
        run(
            "UPDATE persona_internal.queue SET read_by = NULL WHERE model_id OPERATOR(pg_catalog.=) $1
               AND read_by IS NOT NULL",
            &[argument(model_id)],
        )?;
        Ok(())
    })
}
