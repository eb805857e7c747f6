//! How a long computation and its caller talk: cancellation, progress and the memory budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};

/// Shared between the thread that computes and the one that waits. All methods take `&self`.
#[derive(Debug)]
pub struct Control {
    cancelled: Arc<AtomicBool>,
    done: AtomicU64,
    total: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    limit: u64,
    watched: Option<&'static AtomicI32>,
    /// For tests.
    #[cfg(feature = "looks")]
    pub gaps: crate::gaps::Gaps,
}

/// Cancels the computations of a control from anywhere, for as long as anybody likes.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Asks the computation to stop; it does so within 50 ms.
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Control {
    /// A control whose computations may hold `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            cancelled: Arc::default(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            limit,
            watched: None,
            #[cfg(feature = "looks")]
            gaps: crate::gaps::Gaps::default(),
        }
    }

    /// A control without a limit.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// Cancelled also as soon as `flag` is not 0: for a computation on the very thread whose signal handlers set it.
    pub fn watching(self, flag: &'static AtomicI32) -> Self {
        Self { watched: Some(flag), ..self }
    }

    /// Asks the computation to stop; it does so within 50 ms.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// What cancels without a reference to this value.
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.cancelled))
    }

    /// `Err(Cancelled)` once `cancel` was called, or the watched flag is set. Cheap: loops call it every few milliseconds.
    #[inline]
    #[cfg_attr(feature = "looks", track_caller)]
    pub fn check(&self) -> Result<()> {
        #[cfg(feature = "looks")]
        self.gaps.look();
        let flagged = self.watched.is_some_and(|flag| flag.load(Relaxed) != 0);
        if flagged || self.cancelled.load(Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Starts a phase of `total` steps.
    pub fn start(&self, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
    }

    /// Reports `steps` more steps of the phase.
    #[inline]
    pub fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Relaxed);
    }

    /// Steps done and steps in all, of the present phase.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.total.load(Relaxed))
    }

    /// Takes `bytes` from the budget before they are allocated.
    pub fn take(&self, bytes: u64, task: &'static str, advice: &'static str) -> Result<()> {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > self.limit {
            self.used.fetch_sub(bytes, Relaxed);
            return Err(self.beyond(used, task, advice));
        }
        self.peak.fetch_max(used, Relaxed);
        Ok(())
    }

    /// Fails as `take` would, without taking: for an estimate of what is to come.
    pub fn expect(&self, bytes: u64, task: &'static str, advice: &'static str) -> Result<()> {
        let needed = self.used().saturating_add(bytes);
        if needed > self.limit { Err(self.beyond(needed, task, advice)) } else { Ok(()) }
    }

    fn beyond(&self, needed: u64, task: &'static str, advice: &'static str) -> Error {
        const MB: u64 = 1 << 20;
        Error::Memory { task, needed: needed.div_ceil(MB), limit: self.limit / MB, advice }
    }

    /// Returns `bytes` to the budget after they were freed.
    #[inline]
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Bytes taken now.
    #[inline]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most bytes that were taken at one time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_flag_cancels_for_as_long_as_it_is_set() {
        static FLAG: AtomicI32 = AtomicI32::new(0);
        let control = Control::unlimited().watching(&FLAG);
        assert!(control.check().is_ok());
        FLAG.store(1, Relaxed);
        assert!(matches!(control.check(), Err(Error::Cancelled)));
        FLAG.store(0, Relaxed);
        assert!(control.check().is_ok());
    }
}
