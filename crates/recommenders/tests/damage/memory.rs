//! The largest allocation so far.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Largest(AtomicUsize);

#[global_allocator]
static ALLOCATOR: Largest = Largest(AtomicUsize::new(0));

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System`; the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The most bytes that anything asked for at once, a failed request included.
pub(crate) fn largest() -> usize {
    ALLOCATOR.0.load(Relaxed)
}
