//! What must happen before this backend ends. FATAL (pg_terminate_backend, a fast shutdown, a client that is gone)
//! leaves the process from wherever an interrupt is answered: nothing unwinds and no destructor runs.

use std::cell::{Cell, RefCell};

use pgrx::{pg_guard, pg_sys};

/// With the number by which it is taken away again.
type Action = (u64, Box<dyn Fn()>);

thread_local! {
    /// Only the main thread has any.
    static ACTIONS: RefCell<Vec<Action>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// An action that the process runs if it ends while this value lives; the newest runs first.
pub(crate) struct AtExit(u64);

impl AtExit {
    /// The action must not call Postgres and must not panic.
    pub(crate) fn run(action: impl Fn() + 'static) -> AtExit {
        let number = NEXT.replace(NEXT.get() + 1);
        if number == 0 {
            // Once a backend: a callback can be taken back only while it is the latest.
            // SAFETY: on the main thread, with a function that lives as long as the library, which is never unloaded.
            unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::null()) };
        }
        ACTIONS.with_borrow_mut(|actions| actions.push((number, Box::new(action))));
        AtExit(number)
    }
}

impl Drop for AtExit {
    fn drop(&mut self) {
        ACTIONS.with_borrow_mut(|actions| actions.retain(|(number, _)| *number != self.0));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: i32, _argument: pg_sys::Datum) {
    for (_, action) in ACTIONS.take().iter().rev() {
        action();
    }
}
