//! The queue of changes: which tables are attached to a model, and whose rows of them changed. The triggers write it in
//! the statements of anybody. They run no SQL for that and take nobody's identity: rows are put into the table as
//! Postgres puts those of a catalog.

use std::collections::BTreeSet;

use pgrx::{IntoDatum, Uuid, pg_sys};

use super::scan::{Scan, Seen, open_for};
use super::{not_outrun, uuid_key, write};
use crate::error::Result;

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
    let values = [
        model_id.into_datum(),
        write::new_id()?.into_datum(),
        users.and_then(|users| users.iter().map(String::as_str).collect::<Vec<_>>().into_datum()),
        // SAFETY: reads the clock.
        Some(unsafe { pg_sys::GetCurrentTimestamp() }.into()),
        None,
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

/// What waits in the queue of a model, as the running statement sees it.
pub(crate) struct Pending {
    model_id: Uuid,
    /// Whose rows changed; `None` where anything may have changed, or nobody keeps a queue.
    pub(crate) users: Option<Vec<String>>,
    /// The rows that were seen: rows of a transaction that ends later are not among them, whatever their age.
    seen: Vec<Uuid>,
}

/// What waits in the queue of a model. Whoever reads the source under the same snapshot, or a later one, has all of
/// these changes.
pub(crate) fn pending(model_id: Uuid) -> Result<Pending> {
    let mut scan = Scan::start("queue", "queue_pkey", Seen::Statement, &[uuid_key(1, model_id)], false)?;
    let (mut users, mut seen, mut lost) = (BTreeSet::new(), Vec::new(), false);
    while let Some(row) = scan.next() {
        seen.push(row.expect(2)?);
        match row.get::<Vec<String>>(3) {
            Some(_) if lost => {}
            Some(more) => users.extend(more),
            None => {
                lost = true;
                users.clear();
            }
        }
        pgrx::check_for_interrupts!();
    }
    drop(scan);
    let known = !lost && !attached(model_id, Seen::Latest)?.is_empty();
    Ok(Pending { model_id, users: known.then(|| users.into_iter().collect()), seen })
}

impl Pending {
    /// Removes what was seen, with the transaction that has worked it off.
    pub(crate) fn forget(self) -> Result<()> {
        if self.seen.is_empty() { Ok(()) } else { write::forget_changes(self.model_id, self.seen) }
    }

    /// Keeps what was seen for the next version, and notes which one has read it and did not go live.
    pub(crate) fn keep(self, version: i32) -> Result<()> {
        if self.seen.is_empty() { Ok(()) } else { write::mark_changes(self.model_id, self.seen, version) }
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
