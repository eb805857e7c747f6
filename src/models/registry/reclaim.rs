//! Making the pages of deleted images free for the next one. VACUUM does that too, about once a minute; meanwhile trainings
//! back to back would make the table longer with each.
//!
//! A transaction that deletes an image notes it. A later training visits the pages of the images that nobody can see any
//! more, lets PostgreSQL prune them, as it does with any page that it reads, and enters them into the free space map. Of a
//! piece a line pointer of 4 bytes stays until VACUUM comes; [`CHUNK`](crate::models::registry::pieces::CHUNK) leaves room for these.

use pgrx::{Uuid, pg_sys};

use super::scan::{Scan, Seen, open_for, relation};
use super::uuid_key;
use super::write::{as_registry_owner, run};
use crate::models::locks;
use crate::pg::error::Result;
use crate::pg::snapshot;
use crate::pg::sql::argument;

/// Free bytes of a page that a piece has room in.
const ROOM: usize = 7840;

/// Images that one training looks at.
const IMAGES: usize = 64;

/// Pages that one training visits beside twice as many as it writes.
const SPARE: usize = 1024;

/// A deleted image: the transaction that deleted it, and the first piece that was not looked at yet.
struct Deleted {
    by: i64,
    image_id: Uuid,
    from: i32,
}

/// Frees pages for twice as many pieces, so that what an old snapshot kept back gets less, if there are any to be freed. One
/// transaction at a time does; a snapshot that may still read an image ends it there.
pub(crate) fn reclaim(pieces: usize) -> Result<()> {
    // What such a transaction sees may be older than what others have noted since.
    if snapshot::stays() || deleted(1)?.is_empty() || !locks::reclaiming()? {
        return Ok(());
    }
    let (mut freed, mut visits) = (0, 2 * pieces + SPARE);
    for image in deleted(IMAGES)? {
        if freed >= 2 * pieces || visits == 0 {
            break;
        }
        let visited = Visited::of(&image, visits)?;
        freed += visited.freed;
        visits -= visited.pages;
        as_registry_owner(|| {
            let which = "deleted_by OPERATOR(pg_catalog.=) $1 AND image_id OPERATOR(pg_catalog.=) $2";
            let key = [argument(image.by), argument(image.image_id)];
            if visited.whole {
                return run(&format!("DELETE FROM persona_internal.reclaim WHERE {which}"), &key);
            }
            let [by, image_id] = key;
            let next = image.from.saturating_add(visited.pages as i32);
            run(
                &format!("UPDATE persona_internal.reclaim SET first_piece = $3 WHERE {which}"),
                &[by, image_id, argument(next)],
            )
        })?;
    }
    Ok(())
}

/// The images that were deleted first, as far as nobody can see them any more.
fn deleted(most: usize) -> Result<Vec<Deleted>> {
    let chunk = Table::open()?;
    let mut scan = Scan::start("reclaim", "reclaim_pkey", Seen::Latest, &[], false)?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = scan.next()
    {
        let image = Deleted { by: row.expect(1)?, image_id: row.expect(2)?, from: row.expect(3)? };
        let by = pg_sys::FullTransactionId { value: image.by as u64 };
        // SAFETY: the table is open; the id is one that this server has given.
        if !unsafe { pg_sys::GlobalVisCheckRemovableFullXid(chunk.0, by) } {
            break;
        }
        found.push(image);
    }
    Ok(found)
}

/// The table of pieces, locked as for writing.
struct Table(pg_sys::Relation);

impl Table {
    fn open() -> Result<Table> {
        open_for("chunk", pg_sys::RowExclusiveLock).map(Table)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: closes what `open` opened; the lock stays until the transaction ends, as that of a writer does.
        unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as _) };
    }
}

/// What came of visiting the pages of an image.
struct Visited {
    pages: usize,
    freed: usize,
    /// Whether all of its pages were visited.
    whole: bool,
}

impl Visited {
    /// Visits at most `most` pages of an image. The index still has an entry of each piece; while the scan stands on it, a
    /// VACUUM can not make the piece's place another's.
    fn of(image: &Deleted, most: usize) -> Result<Visited> {
        let mut visited = Visited { pages: 0, freed: 0, whole: true };
        let entries = Entries::start(image)?;
        let (mut lowest, mut highest) = (u32::MAX, 0);
        while let Some(block) = entries.next() {
            if visited.pages == most {
                visited.whole = false;
                break;
            }
            visited.pages += 1;
            if entries.free(block) {
                visited.freed += 1;
                (lowest, highest) = (lowest.min(block), highest.max(block));
            }
            crate::pg::memory::interrupts();
        }
        if visited.freed > 0 {
            // SAFETY: the table is open; makes the upper pages of its map tell of what the lower ones do.
            unsafe { pg_sys::FreeSpaceMapVacuumRange(entries.table.0, lowest, highest + 1) };
        }
        Ok(visited)
    }
}

/// The entries that the index has of an image, dead or not.
struct Entries {
    table: Table,
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
}

impl Entries {
    fn start(image: &Deleted) -> Result<Entries> {
        let table = Table::open()?;
        let index = relation("chunk_pkey")?;
        let (column, equal, value) = uuid_key(1, image.image_id);
        // SAFETY: zero is valid for keys, which the scan copies; the relations are open, and closed by Drop, until it ends.
        unsafe {
            let mut keys: [pg_sys::ScanKeyData; 2] = std::mem::zeroed();
            pg_sys::ScanKeyInit(
                &mut keys[0],
                column,
                pg_sys::BTEqualStrategyNumber as _,
                equal.into(),
                value,
            );
            pg_sys::ScanKeyInit(
                &mut keys[1],
                2,
                pg_sys::BTGreaterEqualStrategyNumber as _,
                pg_sys::F_INT4GE.into(),
                pg_sys::Datum::from(image.from),
            );
            let index = pg_sys::index_open(index, pg_sys::AccessShareLock as _);
            let any = &raw mut pg_sys::SnapshotAnyData;
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.0, index, any, 2, 0);
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(table.0, index, any, std::ptr::null_mut(), 2, 0);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
            Ok(Entries { table, index, scan })
        }
    }

    /// The page of the next piece.
    fn next(&self) -> Option<pg_sys::BlockNumber> {
        // SAFETY: the scan is open; the place it answers is valid until the next call.
        unsafe {
            let place = pg_sys::index_getnext_tid(self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            if place.is_null() {
                return None;
            }
            Some((u32::from((*place).ip_blkid.bi_hi) << 16) | u32::from((*place).ip_blkid.bi_lo))
        }
    }

    /// Lets a page be pruned, and enters it into the free space map; whether it has room for a piece.
    fn free(&self, block: pg_sys::BlockNumber) -> bool {
        // SAFETY: the index names a page of the table; it is pinned while it is looked at, and locked while it is read.
        // Pruning takes the lock that it needs itself, or does without where others use the page.
        unsafe {
            let buffer = pg_sys::ReadBuffer(self.table.0, block);
            pg_sys::heap_page_prune_opt(self.table.0, buffer);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as _);
            let room = pg_sys::PageGetHeapFreeSpace(pg_sys::BufferGetPage(buffer).cast());
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as _);
            pg_sys::ReleaseBuffer(buffer);
            if room < ROOM {
                return false;
            }
            pg_sys::RecordPageWithFreeSpace(self.table.0, block, room);
            true
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: closes what start opened, in reverse order; the table closes itself.
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::AccessShareLock as _);
        }
    }
}
