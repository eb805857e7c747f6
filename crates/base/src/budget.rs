//! Buffers counted against the memory budget, given back however their owner ends.

use bytemuck::Zeroable;

use crate::control::Control;
use crate::error::{Error, Result};

/// What memory is for, and what the user can do where it is not enough.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    name: &'static str,
    advice: &'static str,
}

/// For a constant of the crate that uses the memory.
pub const fn task(name: &'static str, advice: &'static str) -> Task {
    Task { name, advice }
}

/// The interactions.
pub const READING: Task = task("reading the interactions", "Read fewer rows.");
/// Factors, and what trains them.
pub const TRAINING: Task = task("training the factors", "Use fewer \"factors\".");
/// Rows that are divided into segments.
pub const SEGMENTS: Task = task("forming the segments", "Use fewer rows or fewer features.");

impl Task {
    /// The error for memory that the budget allowed and the system did not give.
    pub fn refused(self) -> Error {
        Error::NoMemory { task: self.name }
    }

    /// Takes bytes from the budget for this.
    pub fn take(self, bytes: u64, control: &Control) -> Result<()> {
        control.take(bytes, self.name, self.advice)
    }

    /// Fails as `take` would: for an estimate of what is to come.
    pub fn expect(self, bytes: u64, control: &Control) -> Result<()> {
        control.expect(bytes, self.name, self.advice)
    }
}

/// Bytes taken from a [`Control`] by one owner. Dropping it returns what is still taken.
#[derive(Debug)]
pub struct Budget<'c> {
    control: &'c Control,
    task: Task,
    taken: u64,
}

impl<'c> Budget<'c> {
    /// Nothing taken yet.
    pub fn new(control: &'c Control, task: Task) -> Self {
        Self { control, task, taken: 0 }
    }

    /// From which it takes.
    #[inline]
    pub fn control(&self) -> &'c Control {
        self.control
    }

    /// Bytes that are taken now.
    #[inline]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes bytes more. `Memory`.
    pub fn take(&mut self, bytes: u64) -> Result<()> {
        self.task.take(bytes, self.control)?;
        self.taken += bytes;
        Ok(())
    }

    /// Returns bytes, at most those that are taken.
    pub fn give(&mut self, bytes: u64) {
        let bytes = bytes.min(self.taken);
        self.control.give(bytes);
        self.taken -= bytes;
    }

    /// Becomes the owner of bytes that somebody else took.
    pub fn adopt(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// Leaves `bytes` taken for whoever owns the result; returns the rest.
    pub fn keep(mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// As [`Task::refused`].
    pub fn refused(&self) -> Error {
        self.task.refused()
    }

    /// An empty vector with room for `len` values.
    pub fn with_capacity<T>(&mut self, len: usize) -> Result<Vec<T>> {
        self.take(bytes_of::<T>(len))?;
        let mut vec = Vec::new();
        vec.try_reserve_exact(len).map_err(|_| self.refused())?;
        Ok(vec)
    }

    /// A vector of `len` zeros. The system gives zeros at the first touch, so the threads that fill the vector
    /// share that cost.
    pub fn zeroed<T: Zeroable>(&mut self, len: usize) -> Result<Vec<T>> {
        self.control.check()?;
        self.take(bytes_of::<T>(len))?;
        let zeros = bytemuck::allocation::try_zeroed_slice_box(len).map_err(|_| self.refused())?;
        Ok(zeros.into_vec())
    }

    /// Makes room for `more` values, growing by half so that repeated calls stay linear. While the values move,
    /// both homes count.
    pub fn reserve<T>(&mut self, vec: &mut Vec<T>, more: usize) -> Result<()> {
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
    pub fn free<T>(&mut self, vec: Vec<T>) {
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
