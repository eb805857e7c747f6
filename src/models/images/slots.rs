//! Mappings that the timer of an idle connection may take away. It runs in a signal handler on the main thread, wherever
//! that one is at the moment: all that both touch are the atomics of a slot, and the handler only calls munmap.

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::SeqCst};

use base::image::files::Mapped;

/// Room for one mapping. Slots are made when needed, used again, and never freed: the handler may look at any.
struct Slot {
    /// Null where nothing is mapped, or no longer.
    address: AtomicPtr<u8>,
    /// Written only while the address is null.
    length: AtomicUsize,
    /// Whoever reads the mapping now; the handler leaves it while there is anybody.
    users: AtomicU32,
    /// Whether a value of `Kept` stands for it.
    taken: AtomicBool,
    next: Option<&'static Slot>,
}

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(null_mut());

/// All slots, the newest first.
fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: null or a leaked box, complete before it was stored here.
    std::iter::successors(unsafe { SLOTS.load(SeqCst).as_ref() }, |slot| slot.next)
}

impl Slot {
    /// A free one. Only the main thread makes and takes them.
    fn take() -> &'static Slot {
        let slot = slots().find(|slot| !slot.taken.load(SeqCst)).unwrap_or_else(|| {
            let slot: &'static Slot = Box::leak(Box::new(Slot {
                address: AtomicPtr::default(),
                length: AtomicUsize::default(),
                users: AtomicU32::default(),
                taken: AtomicBool::default(),
                next: slots().next(),
            }));
            SLOTS.store(std::ptr::from_ref(slot).cast_mut(), SeqCst);
            slot
        });
        slot.taken.store(true, SeqCst);
        slot
    }

    /// Unmaps what is there, if it is.
    fn empty(&self) {
        if let Some(address) = NonNull::new(self.address.swap(null_mut(), SeqCst)) {
            // SAFETY: from `into_parts`; the exchange gave it to this call alone, and nobody reads it.
            drop(unsafe { Mapped::from_parts(address, self.length.load(SeqCst)) });
        }
    }
}

/// A mapping that lasts until the value ends, or until the timer takes it.
pub(super) struct Kept(&'static Slot);

impl Kept {
    /// The caller counts as a user of it, until `leave`.
    pub(super) fn new(mapped: Mapped) -> Kept {
        let slot = Slot::take();
        let (address, length) = mapped.into_parts();
        slot.users.store(1, SeqCst);
        slot.length.store(length, SeqCst);
        slot.address.store(address.as_ptr(), SeqCst);
        Kept(slot)
    }

    /// Keeps it from being taken until `leave`; false where it is gone already.
    pub(super) fn enter(&self) -> bool {
        // Counted before it is looked at: the handler may come in between.
        self.0.users.fetch_add(1, SeqCst);
        let there = self.is_there();
        if !there {
            self.leave();
        }
        there
    }

    pub(super) fn leave(&self) {
        self.0.users.fetch_sub(1, SeqCst);
    }

    /// Whether it is mapped still.
    pub(super) fn is_there(&self) -> bool {
        !self.0.address.load(SeqCst).is_null()
    }

    /// The bytes; none where it is gone. Only between `enter` and `leave`, beyond which no reference may go.
    pub(super) fn bytes(&self) -> &[u8] {
        match NonNull::new(self.0.address.load(SeqCst)) {
            // SAFETY: mapped and never written; the caller is counted as a user, so it stays.
            Some(address) => unsafe {
                std::slice::from_raw_parts(address.as_ptr(), self.0.length.load(SeqCst))
            },
            None => &[],
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.empty();
        self.0.taken.store(false, SeqCst);
    }
}

/// Unmaps whatever nobody reads. Safe in a signal handler on the main thread: atomics and munmap, no lock and no memory.
pub(super) fn unmap_unused() {
    slots().filter(|slot| slot.users.load(SeqCst) == 0).for_each(Slot::empty);
}

/// Whether anything is mapped.
pub(super) fn any() -> bool {
    slots().any(|slot| !slot.address.load(SeqCst).is_null())
}
