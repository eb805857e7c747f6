//! Refused memory is an ERROR. Rust ends the process when an allocation that cannot fail is refused, and Postgres
//! ends all its connections when one process ends like that; so such an allocation must not be refused.
//!
//! Three things see to that:
//!
//! 1. Whatever an argument, a relation or a queue sizes is counted against `persona.max_memory` and asked of the
//!    system first: by `try_reserve`, or by [`reserve`], which holds as much address space in reserve until the call ends.
//! 2. A reserve of [`BASE`] bytes stands behind the small allocations that are everywhere. When the system refuses
//!    one, the reserve goes back to the system, and the allocation is tried again. An allocator may not raise an error,
//!    so it leaves a note: the next [`interrupts`] raises 53200. Postgres needs memory, too, to report that it has
//!    none; an error context callback gives it the reserve.
//! 3. A few pages inside the library serve what even that cannot.
//!
//! A limit may also fall below what the process has, and then no address space helps: a block of the heap is kept for
//! the report, and goes back with the reserve.
//!
//! The reserve is never touched: it takes address space, and memory only where `vm.overcommit_memory = 2` promises it.

mod allocator;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use base::reserve::Region;
use pgrx::pg_sys;

use super::error::{Code, Result, fail};
use super::settings;

/// The reserve of this process.
static RESERVE: Region = Region::new();

/// A block of the heap, or null: what Postgres needs to report an error and pgrx to pass it on.
static FOR_THE_REPORT: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Its size: below that from which on the C library maps each allocation by itself, and gives it back at once.
const OF_THE_REPORT: Layout = Layout::new::<[u128; 6 << 10]>();

/// Bytes in reserve for allocations that nobody announced. A training makes thousands between two looks at interrupts,
/// of some hundred bytes each.
const BASE: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Calls of this library that run inside each other. The main thread alone has any, as it alone announces: no order of
/// memory matters, and a plain number costs an aggregate less a row than one of each thread.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
/// Bytes that the running calls have announced.
static ANNOUNCED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    /// The SQLSTATE of the error that is being reported. For callbacks of error contexts alone.
    safe fn geterrcode() -> c_int;
}

/// Takes the first reserve; called once, when the library is loaded.
pub(crate) fn prepare() {
    // One arena: a further one reserves 64 MB of address space for each thread, and its first allocation is refused
    // where the others' space would do.
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, for allocations to come.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    // Nothing is lost if this fails: each call tries again, and fails without it.
    take_base();
    no_backtraces();
}

/// Takes what stands behind allocations that nobody announced; false if the system refuses it.
#[cold]
fn take_base() -> bool {
    if !RESERVE.grow_to(BASE) {
        return false;
    }
    if FOR_THE_REPORT.load(Relaxed).is_null() {
        // SAFETY: the layout is not empty. Without the block a report may fail that would fail in any case.
        FOR_THE_REPORT.store(unsafe { System.alloc(OF_THE_REPORT) }, Relaxed);
    }
    true
}

/// Turns off what pgrx shows clients of a backtrace, as the DETAIL of every error, if RUST_BACKTRACE is set in the
/// environment of the server. The standard library looks at the environment once, at the first backtrace.
fn no_backtraces() {
    const NAME: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(NAME);
    // SAFETY: the backend has one thread while it loads a library.
    unsafe { std::env::set_var(NAME, "0") };
    let _ = std::backtrace::Backtrace::capture();
    match before {
        // SAFETY: as above.
        Some(value) => unsafe { std::env::set_var(NAME, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(NAME) },
    }
}

/// A running call of the library: while it lives, an out-of-memory error of Postgres finds the reserve free.
struct Running {
    context: pg_sys::ErrorContextCallback,
}

/// Runs the body of a SQL function; 53200 if the reserve cannot be had.
#[inline]
pub(crate) fn call<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    if RESERVE.bytes() < BASE && !take_base() {
        return Err(refused());
    }
    DEPTH.store(DEPTH.load(Relaxed) + 1, Relaxed);
    let mut running = Running {
        // SAFETY: the stack of contexts is a variable of the main thread, which this is.
        context: unsafe {
            pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(give_way),
                arg: std::ptr::null_mut(),
            }
        },
    };
    // SAFETY: the entry stays where it is until `running` is dropped, which takes it off.
    unsafe { pg_sys::error_context_stack = &raw mut running.context };
    body()
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: entries above this one have been taken off by whoever put them there.
        unsafe { pg_sys::error_context_stack = self.context.previous };
        let depth = DEPTH.load(Relaxed) - 1;
        DEPTH.store(depth, Relaxed);
        if depth == 0 && ANNOUNCED.load(Relaxed) > 0 {
            ANNOUNCED.store(0, Relaxed);
            RESERVE.shrink_to(BASE);
        }
    }
}

/// Postgres reports an error inside a call of the library. If it is that memory is missing, copying the error needs some.
unsafe extern "C-unwind" fn give_way(_argument: *mut c_void) {
    if geterrcode() == Code::ERRCODE_OUT_OF_MEMORY as c_int {
        RESERVE.release();
        let block = FOR_THE_REPORT.swap(null_mut(), Relaxed);
        if !block.is_null() {
            // SAFETY: allocated with this layout by the same allocator, and the exchange gave it to this call alone.
            unsafe { System.dealloc(block, OF_THE_REPORT) };
        }
    }
}

/// Announces that the running call is about to allocate so many bytes in ways that cannot fail. 53200 if that is more than
/// `persona.max_memory`, or more than the system gives; `what` says what takes them.
pub(crate) fn reserve(bytes: usize, what: &str) -> Result<()> {
    // What the base has room for is not worth a system call.
    if bytes <= BASE / 4 {
        return Ok(());
    }
    announce(ANNOUNCED.load(Relaxed).saturating_add(bytes), bytes, what)
}

/// Announces the largest of several allocations that follow each other: each is freed before the next.
pub(crate) fn reserve_once(bytes: usize, what: &str) -> Result<()> {
    if bytes <= ANNOUNCED.load(Relaxed).max(BASE / 4) {
        return Ok(());
    }
    announce(bytes, bytes, what)
}

fn announce(announced: usize, bytes: usize, what: &str) -> Result<()> {
    within_limit(bytes as u64, what)?;
    if !RESERVE.grow_to(BASE.saturating_add(announced)) {
        return Err(refused_for(what));
    }
    ANNOUNCED.store(announced, Relaxed);
    Ok(())
}

/// 53200 for what is more than `persona.max_memory`.
pub(crate) fn within_limit(bytes: u64, what: &str) -> Result<()> {
    let limit = settings::max_memory();
    if bytes <= limit {
        return Ok(());
    }
    Err(fail(
        Code::ERRCODE_OUT_OF_MEMORY,
        format!("{what} needs {} MB, more than the {} MB allowed", bytes.div_ceil(1 << 20), limit >> 20),
    )
    .set_detail("The limit is the setting \"persona.max_memory\".")
    .set_hint("Pass less at a time. Or have a superuser raise \"persona.max_memory\"."))
}

/// Answers interrupts, and raises 53200 if the system refused memory since the last time.
#[inline]
pub(crate) fn interrupts() {
    pgrx::check_for_interrupts!();
    if RESERVE.was_needed() {
        crate::pg::call::raise(refused());
    }
}

/// 53200 for memory that the system refused.
#[cold]
pub(crate) fn refused() -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_OUT_OF_MEMORY, "out of memory")
        .set_detail("The system refused memory to this process.")
        .set_hint(
            "Lower \"persona.max_memory\" or the number of connections, or give the server more memory.",
        )
}

/// The same, naming what the memory was for.
#[cold]
pub(crate) fn refused_for(what: &str) -> pgrx::pg_sys::panic::ErrorReport {
    refused().set_detail(format!("The system refused the memory that {what} needs."))
}

/// Memory of a call that grows with what the caller passes: each piece is counted before it is taken.
pub(crate) struct Held {
    bytes: u64,
    what: &'static str,
}

impl Held {
    pub(crate) fn new(what: &'static str) -> Held {
        Held { bytes: 0, what }
    }

    /// Counts `bytes` more; 53200 above `persona.max_memory`.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        within_limit(self.bytes, self.what)
    }

    /// Makes room for one more value, which takes `bytes` beside its own place in the vector.
    #[inline]
    pub(crate) fn room<T>(&mut self, vec: &mut Vec<T>, bytes: usize) -> Result<()> {
        self.take(bytes + size_of::<T>())?;
        if vec.len() == vec.capacity() {
            vec.try_reserve(1).map_err(|_| refused_for(self.what))?;
        }
        Ok(())
    }
}
