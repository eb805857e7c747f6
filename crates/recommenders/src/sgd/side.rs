//! The rows of users or of items with what the optimizer keeps for them.

use base::aligned::Buffer;
use base::budget::TRAINING;
use base::control::Control;
use base::error::Result;

use crate::factors::GLANCE;

use super::params::{MAX_FACTORS, Optimizer, Params};

/// The numbers of one side, padded to whole cache lines.
pub(super) struct Side<'c> {
    pub(super) rows: Buffer<'c, f32>,
    /// Sums (Adagrad) or means (Adam) of squared gradients.
    squares: Option<Buffer<'c, f32>>,
    /// Means of gradients (Adam).
    means: Option<Buffer<'c, f32>>,
    /// Steps of each row (Adam).
    steps: Option<Buffer<'c, u32>>,
    /// What the learning rate counts with of each row; of all 1 where there are none.
    rates: Option<Buffer<'c, f32>>,
    /// Where the gradients of a row are added up, plus 1; 0: nowhere. For batches.
    slots: Option<Buffer<'c, u32>>,
    factors: usize,
    width: usize,
    /// The column that always holds 1: the bias of the other side is its factor.
    one: Option<usize>,
}

/// Memory of a side.
pub(super) fn bytes(rows: usize, width: usize, params: &Params) -> u64 {
    let tables = match params.optimizer {
        Optimizer::Sgd => 1,
        Optimizer::Adagrad => 2,
        Optimizer::Adam => 3,
    };
    let words = u64::from(params.optimizer == Optimizer::Adam) + u64::from(params.batch_size > 1);
    rows as u64 * (tables * width as u64 * 4 + words * 4) + 2 * 64
}

impl<'c> Side<'c> {
    pub(super) fn new(
        rows: usize,
        width: usize,
        one: Option<usize>,
        params: &Params,
        control: &'c Control,
    ) -> Result<Self> {
        let table =
            |wanted: bool| wanted.then(|| Buffer::<f32>::zeros(TRAINING, rows * width, control)).transpose();
        let words = |wanted: bool| wanted.then(|| Buffer::<u32>::zeros(TRAINING, rows, control)).transpose();
        let adam = params.optimizer == Optimizer::Adam;
        Ok(Self {
            rows: Buffer::zeros(TRAINING, rows * width, control)?,
            squares: table(params.optimizer != Optimizer::Sgd)?,
            means: table(adam)?,
            steps: words(adam)?,
            rates: None,
            slots: words(params.batch_size > 1)?,
            factors: params.factors,
            width,
            one,
        })
    }

    /// Goes on from what was summed up of each row: of every column the mean of all, but for that of biases which `begin` anew.
    /// Of rows that were moved, the steps of Adam need no corrections any more.
    pub(super) fn resume(&mut self, squares: &[f32], begin: Option<usize>, control: &Control) -> Result<()> {
        let Self { squares: Some(table), steps, width, .. } = self else { return Ok(()) };
        for (number, (row, &square)) in table.chunks_exact_mut(*width).zip(squares).enumerate() {
            if number.is_multiple_of(GLANCE / MAX_FACTORS) {
                control.check()?;
            }
            row.fill(square);
            if let Some(begin) = begin {
                row[begin] = 0.0;
            }
            if let Some(step) = steps.as_mut().and_then(|steps| steps.get_mut(number)) {
                *step = if square > 0.0 { u32::MAX } else { 0 };
            }
        }
        Ok(())
    }

    /// Lets each row take steps of its own size.
    pub(super) fn pace(&mut self, rates: Buffer<'c, f32>) {
        self.rates = Some(rates);
    }

    /// Gives back what only training needs, table by table: the system takes about 4 ms for 100 MB. `squares` gets the mean of
    /// each row's columns.
    pub(super) fn finish(&mut self, squares: &mut [f32], control: &Control) -> Result<()> {
        if let Some(table) = &self.squares {
            for (number, (square, row)) in squares.iter_mut().zip(table.chunks_exact(self.width)).enumerate()
            {
                if number.is_multiple_of(GLANCE / MAX_FACTORS) {
                    control.check()?;
                }
                let sum: f64 = row[..self.factors].iter().map(|&each| f64::from(each)).sum();
                *square = ((sum / self.factors as f64) as f32).min(f32::MAX);
            }
        }
        self.squares = None;
        control.check()?;
        self.means = None;
        control.check()
    }

    /// For threads that each use rows of their own.
    pub(super) fn shared(&mut self) -> Shared {
        fn address<T: bytemuck::Pod>(of: &mut Option<Buffer<'_, T>>) -> *mut T {
            of.as_mut().map_or(std::ptr::null_mut(), |buffer| buffer.as_mut_ptr())
        }
        Shared {
            rows: self.rows.as_mut_ptr(),
            squares: address(&mut self.squares),
            means: address(&mut self.means),
            steps: address(&mut self.steps),
            rates: address(&mut self.rates),
            slots: address(&mut self.slots),
            width: self.width,
            one: self.one,
        }
    }
}

/// Addresses of a [`Side`]. Null where the optimizer keeps nothing.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    rows: *mut f32,
    squares: *mut f32,
    means: *mut f32,
    steps: *mut u32,
    rates: *mut f32,
    slots: *mut u32,
    width: usize,
    one: Option<usize>,
}

// SAFETY: addresses of plain numbers; who follows them vouches that no other thread uses the same row.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Addresses of one row, and what a sink keeps for it during an update.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) numbers: *mut f32,
    pub(super) squares: *mut f32,
    pub(super) means: *mut f32,
    pub(super) steps: *mut u32,
    pub(super) slot: *mut u32,
    /// The column that holds 1.
    one: Option<usize>,
    /// What the learning rate counts with, and once an optimizer has it, the learning rate.
    pub(super) rate: f32,
    /// Where its gradients are added up (batches).
    pub(super) sums: *mut f32,
}

impl Shared {
    /// Addresses only: those of what is not kept lead nowhere.
    ///
    /// # Safety
    /// The side has this row.
    #[inline(always)]
    pub(super) unsafe fn row(&self, row: u32) -> Row {
        let (at, row) = (row as usize * self.width, row as usize);
        Row {
            // SAFETY: the caller vouches for the row.
            numbers: unsafe { self.rows.add(at) },
            squares: self.squares.wrapping_add(at),
            means: self.means.wrapping_add(at),
            steps: self.steps.wrapping_add(row),
            slot: self.slots.wrapping_add(row),
            one: self.one,
            // SAFETY: as above; with rates there is one for each row.
            rate: if self.rates.is_null() { 1.0 } else { unsafe { *self.rates.add(row) } },
            sums: std::ptr::null_mut(),
        }
    }
}

impl Row {
    /// Makes 1 again what holds 1.
    ///
    /// # Safety
    /// The row is there, and no other thread uses it.
    #[inline(always)]
    pub(super) unsafe fn restore(&self) {
        if let Some(one) = self.one {
            // SAFETY: the caller vouches for the row, which has this column.
            unsafe { *self.numbers.add(one) = 1.0 }
        }
    }
}
