//! Buffers counted against the memory budget, given back however their owner ends.

use bytemuck::Zeroable;

use crate::control::Control;
use crate::error::{Error, Result};

/// What memory is for, and what the user can do where it is not enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    name: &'static str,
    advice: &'static str,
}

const fn task(name: &'static str, advice: &'static str) -> Task {
    Task { name, advice }
}

pub(crate) const READING: Task = task("reading the interactions", "Read fewer rows.");
pub(crate) const HOLDOUT: Task = task("holding rows out", "Train with holdout \"none\".");
pub(crate) const TRAINING: Task = task("training the factors", "Use fewer \"factors\".");
pub(crate) const SEARCH: Task = task("preparing the search", "Use fewer \"factors\".");
pub(crate) const MEASURING: Task = task("measuring the model", "Train with holdout \"none\".");
pub(crate) const RECORDING: Task = task("keeping what was measured", "Use a smaller cutoff \"k\".");
pub(crate) const EASE: Task = task("training EASE", "Use fewer items or another trainer.");
pub(crate) const ITEM_KNN: Task = task("comparing the items", "Use fewer \"neighbours\" or fewer items.");
pub(crate) const POPULARITY: Task = task("counting the interactions", "Read fewer rows.");
pub(crate) const SEGMENTS: Task = task("forming the segments", "Use fewer rows or fewer features.");
pub(crate) const SORTING: Task = task("sorting a column", "Use fewer rows.");
pub(crate) const CONTENT: Task = task("reading the features", "Name fewer columns or read fewer rows.");
pub(crate) const EXPLAINING: Task = task("explaining a score", "Raise \"persona.max_memory\".");
pub(crate) const WRITING: Task = task("writing the model", "Use fewer \"factors\".");

impl Task {
    /// The error for memory that the budget allowed and the system did not give.
    pub(crate) fn refused(self) -> Error {
        Error::NoMemory { task: self.name }
    }

    /// Takes bytes from the budget for this.
    pub(crate) fn take(self, bytes: u64, control: &Control) -> Result<()> {
        control.take(bytes, self.name, self.advice)
    }

    /// Fails as `take` would: for an estimate of what is to come.
    pub(crate) fn expect(self, bytes: u64, control: &Control) -> Result<()> {
        control.expect(bytes, self.name, self.advice)
    }
}

/// Bytes taken from a [`Control`] by one owner. Dropping it returns what is still taken.
#[derive(Debug)]
pub(crate) struct Budget<'c> {
    control: &'c Control,
    task: Task,
    taken: u64,
}

impl<'c> Budget<'c> {
    pub(crate) fn new(control: &'c Control, task: Task) -> Self {
        Self { control, task, taken: 0 }
    }

    pub(crate) fn control(&self) -> &'c Control {
        self.control
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn take(&mut self, bytes: u64) -> Result<()> {
        self.task.take(bytes, self.control)?;
        self.taken += bytes;
        Ok(())
    }

    pub(crate) fn give(&mut self, bytes: u64) {
        let bytes = bytes.min(self.taken);
        self.control.give(bytes);
        self.taken -= bytes;
    }

    /// Becomes the owner of bytes that somebody else took.
    pub(crate) fn adopt(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// Leaves `bytes` taken for whoever owns the result; returns the rest.
    pub(crate) fn keep(mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// As [`Task::refused`].
    pub(crate) fn refused(&self) -> Error {
        self.task.refused()
    }

    /// An empty vector with room for `len` values.
    pub(crate) fn with_capacity<T>(&mut self, len: usize) -> Result<Vec<T>> {
        self.take(bytes_of::<T>(len))?;
        let mut vec = Vec::new();
        vec.try_reserve_exact(len).map_err(|_| self.refused())?;
        Ok(vec)
    }

    /// A vector of `len` zeros. The system gives zeros at the first touch, so the threads that fill the vector
    /// share that cost.
    pub(crate) fn zeroed<T: Zeroable>(&mut self, len: usize) -> Result<Vec<T>> {
        self.control.check()?;
        self.take(bytes_of::<T>(len))?;
        let zeros = bytemuck::allocation::try_zeroed_slice_box(len).map_err(|_| self.refused())?;
        Ok(zeros.into_vec())
    }

    /// Makes room for `more` values, growing by half so that repeated calls stay linear. While the values move,
    /// both homes count.
    pub(crate) fn reserve<T>(&mut self, vec: &mut Vec<T>, more: usize) -> Result<()> {
        let (len, old) = (vec.len(), vec.capacity());
        if old - len >= more {
            return Ok(());
        }
        let new = len.saturating_add(more).max(old + old / 2).max(64);
        self.take(bytes_of::<T>(new))?;
        vec.try_reserve_exact(new - len).map_err(|_| self.refused())?;
        self.give(bytes_of::<T>(old));
        Ok(())
    }

    /// Frees a vector made by one of the above.
    pub(crate) fn free<T>(&mut self, vec: Vec<T>) {
        self.give(bytes_of::<T>(vec.capacity()));
    }
}

impl Drop for Budget<'_> {
    fn drop(&mut self) {
        self.control.give(self.taken);
    }
}

fn bytes_of<T>(len: usize) -> u64 {
    (len as u64).saturating_mul(size_of::<T>() as u64)
}
