//! Rows as kernels want them, in the memory of the rows themselves: a second copy would double what a training holds.

use std::ops::{Deref, DerefMut};

use crate::budget::{Budget, TRAINING};
use crate::control::Control;
use crate::error::Result;

/// Numbers of a cache line.
const LINE: usize = 16;

/// Numbers moved between two looks at the control: a tenth of a millisecond.
const PIECE: usize = 1 << 18;

/// Rows of `factors` numbers, each padded with zeros to whole cache lines and at the beginning of one. A large `Vec<f32>`
/// starts 16 bytes into a line, so that every load of 64 bytes touches two: training from such rows took 1.35 times as long
/// (64 factors, AVX-512).
#[derive(Debug)]
pub struct Wide<'c> {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
    factors: usize,
    /// What it takes beyond the rows.
    budget: Budget<'c>,
}

/// What [`Wide::new`] takes at most for so many rows.
pub fn padding(rows: usize, factors: usize) -> u64 {
    ((rows * (factors.next_multiple_of(LINE) - factors) + LINE - 1) * size_of::<f32>()) as u64
}

impl<'c> Wide<'c> {
    /// Spreads rows, whose own memory stays counted as it is. What it takes more is counted alone: the C libraries of Linux
    /// grow what is large by moving its pages. `Memory`, `NoMemory`, `Cancelled`; then the rows are gone.
    pub fn new(mut rows: Vec<f32>, factors: usize, control: &'c Control) -> Result<Wide<'c>> {
        let (count, width) = (rows.len() / factors, factors.next_multiple_of(LINE));
        let (len, narrow) = (count * width, rows.len());
        let mut budget = Budget::new(control, TRAINING);
        budget.take(((len + LINE - 1).saturating_sub(rows.capacity()) * size_of::<f32>()) as u64)?;
        rows.try_reserve_exact(len + LINE - 1 - narrow).map_err(|_| budget.refused())?;
        let start = rows.as_ptr().align_offset(LINE * size_of::<f32>());
        let mut wide = Wide { numbers: rows, start, len, factors, budget };
        // From the last row to the first, each to where no row before it lies. What is new is touched a piece at a time.
        while wide.numbers.len() < start + len {
            control.check()?;
            wide.numbers.resize((start + len).min(wide.numbers.len() + PIECE), 0.0);
        }
        let step = (PIECE / width).max(1);
        for upto in (1..=count).rev().step_by(step) {
            control.check()?;
            for row in (upto.saturating_sub(step)..upto).rev() {
                let to = start + row * width;
                wide.numbers.copy_within(row * factors..(row + 1) * factors, to);
                wide.numbers[to + factors..to + width].fill(0.0);
            }
        }
        Ok(wide)
    }

    /// The rows without their padding, in as much memory as they need.
    pub fn narrow(mut self) -> Result<Vec<f32>> {
        let Wide { start, len, factors, .. } = self;
        let width = factors.next_multiple_of(LINE);
        let control = self.budget.control();
        for row in 0..len / width {
            if row.is_multiple_of((PIECE / width).max(1)) {
                control.check()?;
            }
            let from = start + row * width;
            self.numbers.copy_within(from..from + factors, row * factors);
        }
        self.numbers.truncate(len / width * factors);
        self.numbers.shrink_to_fit();
        Ok(self.numbers)
    }
}

impl Deref for Wide<'_> {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..][..self.len]
    }
}

impl DerefMut for Wide<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn rows_begin_lines_and_come_back() {
        let control = Control::unlimited();
        for factors in [1, 3, 16, 17, 50, 64, 300] {
            for count in [0, 1, 2, 1000, 9000] {
                let rows: Vec<f32> = (1..=count * factors).map(|n| n as f32).collect();
                let mut wide = Wide::new(rows.clone(), factors, &control).unwrap();
                let width = factors.next_multiple_of(16);
                assert!(wide.as_ptr().addr().is_multiple_of(64) && wide.len() == count * width);
                for (wide, row) in wide.chunks_exact(width).zip(rows.chunks_exact(factors)) {
                    assert_eq!(wide[..factors], *row);
                    assert!(wide[factors..].iter().all(|&padding| padding == 0.0));
                }
                wide.iter_mut().for_each(|each| *each *= 2.0);
                assert!(control.used() >= (count * (width - factors) * 4) as u64);
                let back = wide.narrow().unwrap();
                assert!(back.iter().zip(&rows).all(|(back, row)| *back == 2.0 * row));
                assert_eq!((back.len(), control.used()), (rows.len(), 0));
                assert!(back.capacity() <= rows.len() + 16);
            }
        }
    }

    #[test]
    fn a_limit_is_kept() {
        let control = Control::new(1000);
        assert!(Wide::new(vec![1.0; 1000], 10, &control).is_err());
        assert_eq!(control.used(), 0);
        assert!(Wide::new(vec![1.0; 1600], 16, &control).is_ok());
    }
}
