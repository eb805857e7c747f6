//! The allocator of the library: the system's, which is asked again when the reserve has gone back to it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::RESERVE;

/// The largest allocation that the last pages serve.
const SMALL: usize = 8 << 10;

/// Bytes of the last pages.
const LAST: usize = 256 << 10;

pub(super) struct Allocator;

// SAFETY: each pointer comes from the system allocator or from the last pages and goes back to where it came from, which
// its address tells. Nothing here unwinds or allocates by itself.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        let found = unsafe { System.alloc(layout) };
        // SAFETY: the same request again.
        if found.is_null() { again(layout, || unsafe { System.alloc(layout) }) } else { found }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        let found = unsafe { System.alloc_zeroed(layout) };
        if !found.is_null() {
            return found;
        }
        // SAFETY: the same request again.
        let found = again(layout, || unsafe { System.alloc_zeroed(layout) });
        if PAGES.has(found) {
            // SAFETY: it has the size of the layout; these pages may have been used before.
            unsafe { found.write_bytes(0, layout.size()) };
        }
        found
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if PAGES.has(pointer) {
            PAGES.free();
        } else {
            // SAFETY: it came from the system allocator.
            unsafe { System.dealloc(pointer, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !PAGES.has(pointer) {
            // SAFETY: it came from the system allocator; where that refuses, the old piece stays as it is.
            let found = unsafe { System.realloc(pointer, layout, new_size) };
            if !found.is_null() {
                return found;
            }
        }
        // SAFETY: the caller promises that the new size is one of a layout with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: a piece of its own; what both have room for is copied before the old one is freed.
        unsafe {
            let found = self.alloc(new);
            if !found.is_null() {
                found.copy_from_nonoverlapping(pointer, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
            found
        }
    }
}

/// Asks once more after the reserve went back to the system, then takes from the last pages.
#[cold]
fn again(layout: Layout, ask: impl Fn() -> *mut u8) -> *mut u8 {
    if RESERVE.give(layout.size()) {
        let found = ask();
        if !found.is_null() {
            return found;
        }
    }
    if layout.size() > SMALL {
        return std::ptr::null_mut();
    }
    PAGES.alloc(layout)
}

static PAGES: Pages = Pages { room: UnsafeCell::new([0; LAST]), state: AtomicUsize::new(0) };

/// Pages of the library itself, for what has to be said when nothing else is left. Pieces are handed out one behind the
/// other; when the last one is freed, it begins anew.
#[repr(align(64))]
struct Pages {
    room: UnsafeCell<[u8; LAST]>,
    /// Pieces in use, and in the upper half the bytes handed out.
    state: AtomicUsize,
}

// SAFETY: the room is handed out in pieces that do not overlap; the state is atomic.
unsafe impl Sync for Pages {}

const HALF: u32 = usize::BITS / 2;

impl Pages {
    fn start(&self) -> usize {
        self.room.get() as usize
    }

    #[inline]
    fn has(&self, pointer: *mut u8) -> bool {
        (pointer as usize).wrapping_sub(self.start()) < LAST
    }

    fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut state = self.state.load(SeqCst);
        loop {
            let (pieces, bytes) = (state & ((1 << HALF) - 1), state >> HALF);
            let first = (self.start() + bytes).next_multiple_of(layout.align()) - self.start();
            // Never empty, so that the end of one piece is not the beginning of the next.
            let end = first + layout.size().max(1);
            if end > LAST {
                return std::ptr::null_mut();
            }
            match self.state.compare_exchange(state, end << HALF | (pieces + 1), SeqCst, SeqCst) {
                Ok(_) => return self.room.get().cast::<u8>().wrapping_add(first),
                Err(now) => state = now,
            }
        }
    }

    fn free(&self) {
        let mut state = self.state.load(SeqCst);
        loop {
            let pieces = (state & ((1 << HALF) - 1)).saturating_sub(1);
            let next = if pieces == 0 { 0 } else { state >> HALF << HALF | pieces };
            match self.state.compare_exchange(state, next, SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }
}
