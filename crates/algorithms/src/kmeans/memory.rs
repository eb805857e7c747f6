//! Buffers that come out of the caller's memory budget.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::control::Control;
use crate::error::{Error, Result};

const ADVICE: &str = "Use fewer rows or fewer features.";
const TASK: &str = "forming the segments";

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
    /// `len` zeros, or an error where `vec!` would abort the process. 16 MB at a time: the first touch of memory
    /// takes a few milliseconds for as much.
    pub(crate) fn zeros(len: usize, control: &'a Control) -> Result<Self> {
        const STEP: usize = (16 << 20) / size_of::<Line>();
        let lines = len.checked_mul(size_of::<T>()).ok_or(Error::NoMemory { task: TASK })?;
        let lines = lines.div_ceil(size_of::<Line>());
        let bytes = (lines * size_of::<Line>()) as u64;
        control.take(bytes, TASK, ADVICE)?;
        // From here on drop gives the bytes back, also when the allocation fails.
        let mut buffer = Self { lines: Vec::new(), len, control, bytes, of: std::marker::PhantomData };
        buffer.lines.try_reserve_exact(lines).map_err(|_| Error::NoMemory { task: TASK })?;
        while buffer.lines.len() < lines {
            control.check()?;
            buffer.lines.resize(lines.min(buffer.lines.len() + STEP), Line::zeroed());
        }
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
