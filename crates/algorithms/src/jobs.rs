//! Sharing jobs between threads.

use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// The jobs that no worker has begun.
pub(crate) struct Jobs<I>(Mutex<I>);

impl<I: Iterator> Jobs<I> {
    /// The next job. A lock, not an atomic index: jobs carry exclusive slices, and at about 30 ns for
    /// jobs of about 30 microseconds the lock is never contended.
    pub(crate) fn next(&self) -> Option<I::Item> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// Runs `worker` on `threads` threads, the caller's being one of them, until each returns. Scoped threads
/// inherit the signal mask of the caller and all have ended on return. If the system refuses a thread, the
/// others do its work.
pub(crate) fn share<I, W>(jobs: I, threads: usize, worker: W) -> Result<()>
where
    I: Iterator + Send,
    W: Fn(&Jobs<I>) -> Result<()> + Sync,
{
    let jobs = Jobs(Mutex::new(jobs));
    std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, || worker(&jobs)).ok();
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
