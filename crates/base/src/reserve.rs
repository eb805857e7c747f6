//! Address space that is held and not used: part of it goes back to the system when an allocation was refused. What runs
//! here allocates nothing, so that an allocator may call it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// Space goes back in such steps: what the C library maps to serve a small allocation.
const STEP: usize = 1 << 20;

/// A mapping that nobody reads or writes.
#[derive(Debug)]
pub struct Region {
    start: AtomicPtr<libc::c_void>,
    bytes: AtomicUsize,
    /// Bytes below which the region may not fall unnoticed.
    kept: AtomicUsize,
    /// Whether it did.
    needed: AtomicBool,
    /// Held by whoever changes the mapping.
    busy: AtomicBool,
}

impl Default for Region {
    fn default() -> Region {
        Region::new()
    }
}

impl Region {
    /// One that holds nothing yet.
    pub const fn new() -> Region {
        Region {
            start: AtomicPtr::new(null_mut()),
            bytes: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            needed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
        }
    }

    /// Bytes that are held.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether the base was touched since the last time that somebody asked.
    #[inline]
    pub fn was_needed(&self) -> bool {
        self.needed.load(SeqCst) && self.needed.swap(false, SeqCst)
    }

    /// Holds `bytes`, and forgets that any were needed; false if the system refuses them, and then it holds what it held.
    /// The first size is the one below which it may not fall unnoticed.
    pub fn grow_to(&self, bytes: usize) -> bool {
        let bytes = bytes.div_ceil(STEP).saturating_mul(STEP);
        self.changing(|| {
            let held = self.bytes();
            if bytes > held {
                // SAFETY: a mapping of its own, at an address that the system chooses.
                let start = unsafe {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
                };
                if start == libc::MAP_FAILED {
                    return false;
                }
                self.unmap(held);
                self.start.store(start, SeqCst);
                self.bytes.store(bytes, SeqCst);
            }
            if self.kept.load(SeqCst) == 0 {
                self.kept.store(bytes, SeqCst);
            }
            self.needed.store(false, SeqCst);
            true
        })
    }

    /// Holds no more than `bytes`.
    pub fn shrink_to(&self, bytes: usize) {
        self.changing(|| self.unmap(self.bytes().saturating_sub(bytes)));
    }

    /// Gives everything back.
    pub fn release(&self) {
        self.changing(|| self.take(self.bytes()));
    }

    /// Gives as much back as an allocation of `bytes` needs; false if there is less.
    pub fn give(&self, bytes: usize) -> bool {
        // The C library rounds up and maps a little more than it is asked for.
        let bytes = bytes.saturating_add(STEP).div_ceil(STEP).saturating_mul(STEP);
        self.changing(|| {
            let enough = bytes <= self.bytes();
            if enough {
                self.take(bytes);
            }
            enough
        })
    }

    fn take(&self, bytes: usize) {
        self.unmap(bytes);
        if self.bytes() < self.kept.load(SeqCst) {
            self.needed.store(true, SeqCst);
        }
    }

    /// Unmaps the last `bytes`.
    fn unmap(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let left = self.bytes().saturating_sub(bytes);
        // SAFETY: the end of the mapping that this region made; nobody has a pointer into it.
        unsafe { libc::munmap(self.start.load(SeqCst).byte_add(left), bytes) };
        self.bytes.store(left, SeqCst);
    }

    /// Only one thread changes the mapping at a time. What runs here allocates nothing.
    fn changing<T>(&self, body: impl FnOnce() -> T) -> T {
        while self.busy.swap(true, SeqCst) {
            std::hint::spin_loop();
        }
        let answer = body();
        self.busy.store(false, SeqCst);
        answer
    }
}

/// What the C library may allocate for a thread and its thread-local variables, for which a refusal is the end of the
/// process.
const OF_A_THREAD: Layout = Layout::new::<[u128; 4 << 10]>();

/// Whether the first allocations of a thread find memory. What is freed here stays with the process, and its threads
/// share it. The C library itself is asked: a program's own allocator may have a reserve that does not help it.
pub fn room_for_a_thread() -> bool {
    // SAFETY: the layout is not empty, and what is freed was just allocated with it, by the same allocator.
    unsafe {
        let room = black_box(System.alloc(OF_A_THREAD));
        if !room.is_null() {
            System.dealloc(room, OF_A_THREAD);
        }
        !room.is_null()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_from_the_end_and_tells_when_the_base_was_touched() {
        let region = Region::new();
        assert!(region.grow_to(4 * STEP));
        assert_eq!((region.bytes(), region.was_needed()), (4 * STEP, false));
        assert!(region.grow_to(8 * STEP));
        assert!(region.give(3 * STEP));
        // What was announced is used, and that is no news.
        assert_eq!((region.bytes(), region.was_needed()), (4 * STEP, false));
        assert!(region.give(10));
        assert_eq!((region.bytes(), region.was_needed(), region.was_needed()), (2 * STEP, true, false));
        assert!(!region.give(2 * STEP));
        region.release();
        assert_eq!((region.bytes(), region.was_needed()), (0, true));
        assert!(region.grow_to(4 * STEP));
        region.shrink_to(STEP);
        assert_eq!((region.bytes(), region.was_needed()), (STEP, false));
    }
}
