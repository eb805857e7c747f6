//! Buffers for kernels: they begin a cache line, and where `vec!` would abort the process they are an error.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::budget::Task;
use crate::control::Control;
use crate::error::Result;

/// `len` copies of a value, 2 MB at a time: the first touch of so much memory takes 1 to 5 ms. Not taken from the
/// budget.
pub fn fill<T: Copy>(task: Task, len: usize, value: T, control: &Control) -> Result<Vec<T>> {
    let step = (2 << 20) / size_of::<T>();
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| task.refused())?;
    while values.len() < len {
        control.check()?;
        values.resize(len.min(values.len() + step), value);
    }
    Ok(values)
}

/// A cache line. A large `Vec<f32>` starts 16 bytes into one, so that every load of 64 bytes touches two lines:
/// training from such rows took 1.35 times as long (64 factors, AVX-512).
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Numbers that begin a cache line. Not taken from the budget.
#[derive(Debug)]
pub struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// So many zeros. `NoMemory`, `Cancelled`.
    pub fn zeros(task: Task, len: usize, control: &Control) -> Result<Self> {
        Ok(Self { lines: fill(task, lines::<T>(len), Line::zeroed(), control)?, len, of: PhantomData })
    }
}

/// Cache lines that so many values take.
fn lines<T>(len: usize) -> usize {
    len.saturating_mul(size_of::<T>()).div_ceil(size_of::<Line>())
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// The same, taken from the budget and given back on drop.
#[derive(Debug)]
pub struct Buffer<'a, T> {
    values: Aligned<T>,
    control: &'a Control,
    bytes: u64,
}

impl<'a, T: Pod> Buffer<'a, T> {
    /// So many zeros. `Memory`, `NoMemory`, `Cancelled`.
    pub fn zeros(task: Task, len: usize, control: &'a Control) -> Result<Self> {
        let bytes = lines::<T>(len) as u64 * size_of::<Line>() as u64;
        task.take(bytes, control)?;
        // From here on drop gives the bytes back, also when the allocation fails.
        let mut buffer =
            Self { values: Aligned { lines: Vec::new(), len: 0, of: PhantomData }, control, bytes };
        buffer.values = Aligned::zeros(task, len, control)?;
        Ok(buffer)
    }
}

impl<T: Pod> Deref for Buffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: Pod> DerefMut for Buffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

impl<T> Drop for Buffer<'_, T> {
    fn drop(&mut self) {
        self.values.lines = Vec::new();
        self.control.give(self.bytes);
    }
}
