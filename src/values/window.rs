//! The window function API of Postgres, which pgrx does not bind (src/include/windowapi.h).

use std::ffi::{c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use crate::pg::call::Call;
use crate::pg::error::{Code, Result, fail};

// Each of these may raise an ERROR, which is a longjmp: only within pg_guard_ffi_boundary, and with nothing to drop on
// the way there.
unsafe extern "C-unwind" {
    fn WinGetPartitionLocalMemory(window: *mut pg_sys::WindowObjectData, size: usize) -> *mut c_void;
    fn WinGetPartitionRowCount(window: *mut pg_sys::WindowObjectData) -> i64;
    fn WinGetFuncArgInPartition(
        window: *mut pg_sys::WindowObjectData,
        argument: c_int,
        row: c_int,
        seek: c_int,
        set_mark: bool,
        is_null: *mut bool,
        is_out: *mut bool,
    ) -> pg_sys::Datum;
    fn WinGetFuncArgCurrent(
        window: *mut pg_sys::WindowObjectData,
        argument: c_int,
        is_null: *mut bool,
    ) -> pg_sys::Datum;
}

/// WINDOW_SEEK_HEAD: rows count from the first of the partition.
const FROM_FIRST: c_int = 1;

/// Rows between two looks for a cancel.
const ROWS: i64 = 4096;

/// The window that a function was called for.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    object: *mut pg_sys::WindowObjectData,
}

impl Window {
    /// The window of a call.
    pub(crate) fn of(call: &Call) -> Result<Window> {
        // SAFETY: fmgr passes a valid fcinfo; a context, where there is one, is a node.
        unsafe {
            let context = (*call.fcinfo()).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_WindowObjectData {
                return Err(fail(Code::ERRCODE_WRONG_OBJECT_TYPE, "window function called without a window"));
            }
            Ok(Window { object: context.cast() })
        }
    }

    /// Rows of the partition.
    pub(crate) fn rows(self) -> Result<i64> {
        // SAFETY: the object belongs to the running call.
        let rows = unsafe { pg_guard_ffi_boundary(|| WinGetPartitionRowCount(self.object)) };
        if rows > i64::from(i32::MAX) {
            return Err(fail(
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("a partition of a window function can have at most {} rows", i32::MAX),
            ));
        }
        Ok(rows)
    }

    /// Memory that lives as long as the partition, zeroed when it is asked for first: a T and that many words after
    /// it. The first call decides on the size.
    pub(crate) fn memory<T: bytemuck::Pod>(self, words: usize) -> Result<(&'static mut T, *mut f64)> {
        let bytes = size_of::<T>() + words * 8;
        if bytes > 0x3fff_ffff {
            return Err(fail(
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the partition of a window function is too large to keep its values in memory",
            )
            .set_detail(format!("It would take {} MB; 1023 MB are allowed.", bytes >> 20))
            .set_hint("Split it with PARTITION BY, or use quantile_agg()."));
        }
        // SAFETY: the object belongs to the running call; Postgres gives zeroed memory of the size of the first call,
        // aligned for any type.
        unsafe {
            let start = pg_guard_ffi_boundary(|| WinGetPartitionLocalMemory(self.object, bytes));
            Ok((&mut *start.cast::<T>(), start.cast::<u8>().add(size_of::<T>()).cast::<f64>()))
        }
    }

    /// The first argument of the current row.
    #[inline]
    pub(crate) fn current(self, argument: i32) -> Option<pg_sys::Datum> {
        let mut is_null = false;
        // SAFETY: the object belongs to the running call.
        let datum =
            unsafe { pg_guard_ffi_boundary(|| WinGetFuncArgCurrent(self.object, argument, &mut is_null)) };
        (!is_null).then_some(datum)
    }

    /// Gives the first argument of each row of the partition where it is not NULL, as float8, until `each` says false.
    pub(crate) fn read(self, rows: i64, mut each: impl FnMut(f64) -> bool) {
        let mut row = 0;
        let mut going = true;
        while going && row < rows {
            crate::pg::memory::interrupts();
            let end = rows.min(row + ROWS);
            // One guard for many rows. `each` belongs to the caller's frame and neither panics nor drops.
            // SAFETY: the object belongs to the running call, and the rows exist.
            unsafe {
                pg_guard_ffi_boundary(|| {
                    while going && row < end {
                        let (mut is_null, mut is_out) = (false, false);
                        let datum = WinGetFuncArgInPartition(
                            self.object,
                            0,
                            row as c_int,
                            FROM_FIRST,
                            false,
                            &mut is_null,
                            &mut is_out,
                        );
                        row += 1;
                        if !is_null && !is_out {
                            going = each(f64::from_bits(datum.value() as u64));
                        }
                    }
                });
            }
        }
    }
}
