//! Sharing jobs between threads.

use std::sync::{Mutex, PoisonError};

use crate::control::Control;
use crate::error::Result;
use crate::reserve::room_for_a_thread;

/// The jobs that no worker has begun.
pub struct Jobs<'c, I> {
    jobs: Mutex<I>,
    control: &'c Control,
}

impl<I: Iterator> Jobs<'_, I> {
    /// The next job, after a look at the control. A lock, not an atomic index: jobs carry exclusive slices, and at
    /// about 30 ns for jobs of about 30 microseconds the lock is never contended.
    pub fn next(&self) -> Result<Option<I::Item>> {
        self.control.check()?;
        Ok(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).next())
    }
}

/// Runs `worker` on `threads` threads, the caller's being one of them, until each returns. Scoped threads
/// inherit the signal mask of the caller and all have ended on return. If the system refuses a thread, the
/// others do its work.
pub fn share<I, W>(jobs: I, threads: usize, control: &Control, worker: W) -> Result<()>
where
    I: Iterator + Send,
    W: Fn(&Jobs<'_, I>) -> Result<()> + Sync,
{
    let jobs = Jobs { jobs: Mutex::new(jobs), control };
    std::thread::scope(|scope| {
        let spawn = |_| {
            let room = room_for_a_thread();
            room.then(|| std::thread::Builder::new().spawn_scoped(scope, || worker(&jobs)).ok()).flatten()
        };
        let others: Vec<_> = (1..threads).map_while(spawn).collect();
        let mut result = worker(&jobs);
        for other in others {
            match other.join() {
                Ok(each) => result = result.and(each),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}
