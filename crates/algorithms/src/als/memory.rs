//! Buffers that come out of the caller's memory budget.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::control::Control;
use crate::error::{Error, Result};

const ADVICE: &str = "factors";
const TASK: &str = "training the factors";

/// `len` zeros, or an error where `vec!` would abort the process.
pub(super) fn zeros(len: usize) -> Result<Vec<f32>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| refused(len))?;
    buffer.resize(len, 0.0);
    Ok(buffer)
}

/// The system has no room for `len` numbers, whatever the budget says.
fn refused(len: usize) -> Error {
    Error::Memory { task: TASK, needed: (len as u64 * 4).div_ceil(1 << 20), limit: 0, advice: ADVICE }
}

/// A cache line. `Vec<f32>` starts 16 bytes into a line when it is large, so that every load of 64 bytes touches two lines:
/// training from such rows took ALIGNGAIN times as long.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeros that begin a cache line.
#[derive(Default)]
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    /// `len` zeros, rounded up to whole lines, or an error where `vec!` would abort the process.
    pub(super) fn zeros(len: usize) -> Result<Self> {
        let lines = len.div_ceil(16);
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(lines).map_err(|_| refused(len))?;
        buffer.resize(lines, Line::zeroed());
        Ok(Self(buffer))
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
        control.take(bytes, TASK, ADVICE)?;
        // From here on drop gives the bytes back, also when the allocation fails.
        let mut buffer = Self { numbers: Aligned::default(), control, bytes };
        buffer.numbers = Aligned::zeros(len)?;
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
