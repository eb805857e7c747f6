//! Looking at the control every so many steps.

use crate::control::Control;
use crate::error::Result;

/// Steps between two looks at the control: about 0.1 ms at 10 to 15 ns each, and up to 5 ms where each of them is the first
/// to touch a page of memory.
const PIECE: usize = 1 << 13;

/// Looks at the control once every `PIECE` steps.
pub struct Pace<'c> {
    control: &'c Control,
    left: usize,
}

impl<'c> Pace<'c> {
    /// Looks after the first `PIECE` steps.
    pub fn new(control: &'c Control) -> Self {
        Self { control, left: PIECE }
    }

    /// So many steps more. `Cancelled`.
    #[inline]
    pub fn step(&mut self, steps: usize) -> Result<()> {
        if steps < self.left {
            self.left -= steps;
            return Ok(());
        }
        self.left = PIECE;
        self.control.check()
    }
}
