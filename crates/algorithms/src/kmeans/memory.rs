//! Buffers that come out of the caller's memory budget.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::budget::SEGMENTS;
use crate::control::Control;
use crate::error::Result;

/// `len` copies of a value, or an error where `vec!` would abort the process. 2 MB at a time: the first touch of so
/// much memory takes 1 to 5 ms. Not taken from the budget.
pub(super) fn fill<T: Copy>(len: usize, value: T, control: &Control) -> Result<Vec<T>> {
    let step = (2 << 20) / size_of::<T>();
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| SEGMENTS.refused())?;
    while values.len() < len {
        control.check()?;
        values.resize(len.min(values.len() + step), value);
    }
    Ok(values)
}

/// A cache line: no load of 64 bytes may touch two.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Numbers that begin a cache line; taken from the budget, and given back on drop.
#[derive(Debug)]
pub(crate) struct Buffer<'a, T> {
    lines: Vec<Line>,
    len: usize,
    control: &'a Control,
    bytes: u64,
    of: std::marker::PhantomData<T>,
}

impl<'a, T: Pod> Buffer<'a, T> {
    /// `len` zeros, or an error where `vec!` would abort the process.
    pub(crate) fn zeros(len: usize, control: &'a Control) -> Result<Self> {
        let lines = len.checked_mul(size_of::<T>()).ok_or(SEGMENTS.refused())?.div_ceil(size_of::<Line>());
        let bytes = (lines * size_of::<Line>()) as u64;
        SEGMENTS.take(bytes, control)?;
        // From here on drop gives the bytes back, also when the allocation fails.
        let mut buffer = Self { lines: Vec::new(), len, control, bytes, of: std::marker::PhantomData };
        buffer.lines = fill(lines, Line::zeroed(), control)?;
        Ok(buffer)
    }
}

impl<T: Pod> Deref for Buffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> DerefMut for Buffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl<T> Drop for Buffer<'_, T> {
    fn drop(&mut self) {
        self.lines = Vec::new();
        self.control.give(self.bytes);
    }
}
