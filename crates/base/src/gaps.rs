//! How long threads compute between two looks at the control: a cancelled training ends when the last of its threads
//! has looked. Measured in processor time, so that other work on the machine counts for nothing. For tests, which enable
//! the feature `looks`.

use std::cell::Cell;
use std::panic::Location;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

type Place = &'static Location<'static>;

thread_local! {
    /// When and where this thread looked last. Its clock begins with 0, so a new thread "looked" at its start.
    static LAST: Cell<(u64, Option<Place>)> = const { Cell::new((0, None)) };
}

/// The longest stretch without a look, between which two places. Notes nothing until a test asks for it: the clock is a
/// system call.
#[derive(Debug, Default)]
pub struct Gaps {
    on: AtomicBool,
    longest: AtomicU64,
    places: Mutex<Option<(Option<Place>, Place)>>,
}

impl Gaps {
    /// Notes the stretch since this thread looked last.
    #[track_caller]
    pub fn look(&self) {
        if !self.on.load(Relaxed) {
            return;
        }
        let now = processor_time();
        let (before, place) = LAST.replace((now, Some(Location::caller())));
        if self.longest.fetch_max(now - before, Relaxed) < now - before {
            *self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some((place, Location::caller()));
        }
    }

    /// Begins anew, as if this thread had just looked.
    pub fn restart(&self) {
        self.longest.store(0, Relaxed);
        self.forget();
    }

    /// What this thread did since its last look does not count.
    pub fn forget(&self) {
        self.on.store(true, Relaxed);
        LAST.set((processor_time(), None));
    }

    /// The longest stretch until now and a text of where it was.
    #[track_caller]
    pub fn longest(&self) -> (Duration, String) {
        self.look();
        let shown = |place: Option<Place>| place.map_or("the start".to_string(), |place| place.to_string());
        let places = *self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = places.map(|(from, to)| format!("from {} to {to}", shown(from))).unwrap_or_default();
        (Duration::from_nanos(self.longest.load(Relaxed)), text)
    }
}

/// Nanoseconds that this thread has computed.
pub fn processor_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the value it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
