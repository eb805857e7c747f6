//! Buffers that come out of the caller's memory budget.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::budget::TRAINING;
use crate::control::Control;
use crate::error::Result;

/// `len` zeros, or an error where `vec!` would abort the process.
pub(super) fn zeros(len: usize, control: &Control) -> Result<Vec<f32>> {
    fill(len, 0.0, control)
}

/// `len` copies of a value, 2 MB at a time: the first touch of so much memory takes 1 to 5 ms.
fn fill<T: Copy>(len: usize, value: T, control: &Control) -> Result<Vec<T>> {
    let step = (2 << 20) / size_of::<T>();
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| TRAINING.refused())?;
    while buffer.len() < len {
        control.check()?;
        buffer.resize(len.min(buffer.len() + step), value);
    }
    Ok(buffer)
}

/// A cache line. `Vec<f32>` starts 16 bytes into a line when it is large, so that every load of 64 bytes
/// touches two lines: training from such rows took 1.35 times as long (64 factors, AVX-512).
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeros that begin a cache line.
#[derive(Default)]
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    /// `len` zeros, rounded up to whole lines, or an error where `vec!` would abort the process.
    pub(super) fn zeros(len: usize, control: &Control) -> Result<Self> {
        fill(len.div_ceil(16), Line::zeroed(), control).map(Self)
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Aligned zeros taken from the budget and given back on drop.
pub(super) struct Buffer<'a> {
    numbers: Aligned,
    control: &'a Control,
    bytes: u64,
}

impl<'a> Buffer<'a> {
    pub(super) fn zeros(len: usize, control: &'a Control) -> Result<Self> {
        let bytes = len as u64 * 4;
        TRAINING.take(bytes, control)?;
        // From here on drop gives the bytes back, also when the allocation fails.
        let mut buffer = Self { numbers: Aligned::default(), control, bytes };
        buffer.numbers = Aligned::zeros(len, control)?;
        Ok(buffer)
    }
}

impl Deref for Buffer<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.numbers = Aligned::default();
        self.control.give(self.bytes);
    }
}
