//! Direct index scans of the registry: no SPI, no planner, no privilege of the caller needed. Works on a hot
//! standby and in a parallel worker.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{FromDatum, pg_sys};

use crate::pg::error::{Code, Result, fail};

/// The schema of the registry.
const SCHEMA: &CStr = c"persona_internal";

/// Which rows a scan sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What the running statement sees: the rule for serving.
    Statement,
    /// What is committed now: the rule under a lock that orders writers.
    Latest,
    /// Each row as it stands when the scan meets it: for rows that never change, also in a parallel worker.
    Now,
}

/// A key of an index: column of the table (counted from 1), equality function, value.
pub(super) type Key = (i16, u32, pg_sys::Datum);

/// A running scan in the order of its index.
pub(super) struct Scan {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    scan: pg_sys::SysScanDesc,
    /// The snapshot to give back, if it is one of a moment.
    registered: pg_sys::Snapshot,
    direction: pg_sys::ScanDirection::Type,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

/// The oid of a registry table or index.
pub(crate) fn relation(name: &str) -> Result<pg_sys::Oid> {
    let name = CString::new(name).map_err(|_| missing())?;
    // SAFETY: system cache look-ups of NUL-terminated names.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if found == pg_sys::InvalidOid { Err(missing()) } else { Ok(found) }
}

/// Opens a registry table with a lock against DROP; `table_close` gives the lock back.
fn open(name: &str) -> Result<pg_sys::Relation> {
    open_for(name, pg_sys::AccessShareLock)
}

/// The same with a lock of one's choice.
pub(super) fn open_for(name: &str, lock: u32) -> Result<pg_sys::Relation> {
    let mut before = pg_sys::InvalidOid;
    loop {
        // The catalog as this process knows it may be older than a DROP or CREATE EXTENSION; the lock brings it up
        // to date.
        let found = relation(name)?;
        // SAFETY: answers NULL where the relation is gone.
        let opened = unsafe { pg_sys::try_relation_open(found, lock as _) };
        if !opened.is_null() {
            return Ok(opened);
        }
        if found == before {
            return Err(missing());
        }
        before = found;
    }
}

/// The owner of the registry.
pub(super) fn owner() -> Result<pg_sys::Oid> {
    let table = open("model")?;
    // SAFETY: the relation is open and closed once.
    unsafe {
        let owner = (*(*table).rd_rel).relowner;
        pg_sys::table_close(table, pg_sys::AccessShareLock as _);
        Ok(owner)
    }
}

fn missing() -> ErrorReport {
    fail(Code::ERRCODE_UNDEFINED_TABLE, "the registry of pg_persona is missing")
        .set_hint("Run CREATE EXTENSION pg_persona; where it is there, restore the schema persona_internal.")
}

impl Scan {
    /// Rows of `table` whose first index columns equal `keys`; newest first where `backward`.
    pub(super) fn start(table: &str, index: &str, seen: Seen, keys: &[Key], backward: bool) -> Result<Scan> {
        let table = open(table)?;
        // The lock on the table keeps its indexes.
        let index = relation(index)?;
        // SAFETY: all of ScanKeyData is plain data, for which zero is valid.
        let mut scan_keys: Vec<pg_sys::ScanKeyData> =
            keys.iter().map(|_| unsafe { std::mem::zeroed() }).collect();
        // SAFETY: relations are opened with a lock and closed by Drop; the keys outlive the call, which copies
        // them; a snapshot of a moment is registered until Drop.
        unsafe {
            for (entry, &(column, equal, value)) in scan_keys.iter_mut().zip(keys) {
                pg_sys::ScanKeyInit(entry, column, pg_sys::BTEqualStrategyNumber as _, equal.into(), value);
            }
            let index = pg_sys::index_open(index, pg_sys::AccessShareLock as _);
            let snapshot = match seen {
                Seen::Statement => pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot()),
                Seen::Latest => pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()),
                // No snapshot of a moment: it has no xmin to hold back, so it must not be registered.
                Seen::Now => &raw mut pg_sys::SnapshotSelfData,
            };
            let scan = pg_sys::systable_beginscan_ordered(
                table,
                index,
                snapshot,
                keys.len() as i32,
                scan_keys.as_mut_ptr(),
            );
            let registered = if seen == Seen::Now { std::ptr::null_mut() } else { snapshot };
            let columns = (*(*table).rd_att).natts as usize;
            let direction = if backward {
                pg_sys::ScanDirection::BackwardScanDirection
            } else {
                pg_sys::ScanDirection::ForwardScanDirection
            };
            let values = vec![pg_sys::Datum::null(); columns];
            Ok(Scan { table, index, scan, registered, direction, values, nulls: vec![true; columns] })
        }
    }

    /// The next row; its values live until the next call.
    pub(super) fn next(&mut self) -> Option<Row<'_>> {
        // SAFETY: the scan is open; the arrays are as long as the table has columns.
        unsafe {
            let tuple = pg_sys::systable_getnext_ordered(self.scan, self.direction);
            if tuple.is_null() {
                return None;
            }
            pg_sys::heap_deform_tuple(
                tuple,
                (*self.table).rd_att,
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
        }
        Some(Row { values: &self.values, nulls: &self.nulls, scan: PhantomData })
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: closes what start opened, in reverse order; no snapshot is NULL, which is nothing to unregister.
        unsafe {
            pg_sys::systable_endscan_ordered(self.scan);
            pg_sys::UnregisterSnapshot(self.registered);
            pg_sys::index_close(self.index, pg_sys::AccessShareLock as _);
            pg_sys::table_close(self.table, pg_sys::AccessShareLock as _);
        }
    }
}

/// A row of a scan.
pub(super) struct Row<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    scan: PhantomData<&'a Scan>,
}

impl Row<'_> {
    /// The value of a column (counted from 1), copied; NULL is `None`.
    pub(super) fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the caller names the type that sql/registry.sql gives this column.
        unsafe { T::from_datum(self.values[column - 1], self.nulls[column - 1]) }
    }

    /// The value of a column that is declared NOT NULL.
    pub(super) fn expect<T: FromDatum>(&self, column: usize) -> Result<T> {
        self.get(column).ok_or_else(|| {
            fail(Code::ERRCODE_DATA_CORRUPTED, "a row of the registry of pg_persona is damaged")
        })
    }

    /// The datum of a column that is declared NOT NULL, not copied.
    pub(super) fn datum(&self, column: usize) -> pg_sys::Datum {
        self.values[column - 1]
    }
}
