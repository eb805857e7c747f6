//! What happens to a gradient: the row follows it at once, by the rule of an optimizer, or it is added up for a batch.

use base::aligned::{Aligned, Buffer};
use base::budget::TRAINING;
use base::control::Control;
use base::error::Result;
use base::simd::lanes::Lanes;

use super::params::{Optimizer, Params};
use super::side::Row;

/// Decay of Adam's means of gradients and of their squares.
const KEEP: f64 = 0.9;
const KEEP_SQUARES: f64 = 0.999;
/// After so many steps `1 - 0.999^t` is 1 to single precision.
const CORRECTED: usize = 1 << 14;

/// Where gradients go. Within an update `row` is called for each of its rows, `put` for each register of their columns,
/// and `done` for each of them; then `ended`. After the last update `finish`.
///
/// # Safety
/// Every method may use the instructions of `L`. Rows are whole ones of sides made for the same parameters, and no other
/// thread uses them; those given to `put` and `done` come from `row`.
pub(super) trait Sink {
    unsafe fn row(&mut self, row: Row) -> Row;
    /// Takes the gradient of the columns from `at` on, whose present numbers are `old`.
    unsafe fn put<L: Lanes>(&self, row: &Row, at: usize, old: L, gradient: L);
    #[inline(always)]
    unsafe fn done(&self, row: &Row) {
        // SAFETY: the caller vouches for the row.
        unsafe { row.restore() }
    }
    #[inline(always)]
    unsafe fn ended<L: Lanes>(&mut self) {}
    #[inline(always)]
    unsafe fn finish<L: Lanes>(&mut self) {}
}

/// Plain steps.
pub(super) struct Plain {
    pub(super) rate: f32,
}

impl Sink for Plain {
    #[inline(always)]
    unsafe fn row(&mut self, mut row: Row) -> Row {
        row.rate *= self.rate;
        row
    }

    #[inline(always)]
    unsafe fn put<L: Lanes>(&self, row: &Row, at: usize, old: L, gradient: L) {
        // SAFETY: the caller vouches for the instructions and the row.
        unsafe { gradient.fma(L::splat(-row.rate), old).store(row.numbers.add(at)) }
    }
}

/// Steps of Adagrad.
pub(super) struct Adagrad {
    pub(super) rate: f32,
}

impl Sink for Adagrad {
    #[inline(always)]
    unsafe fn row(&mut self, mut row: Row) -> Row {
        row.rate *= self.rate;
        row
    }

    #[inline(always)]
    unsafe fn put<L: Lanes>(&self, row: &Row, at: usize, old: L, gradient: L) {
        // SAFETY: the caller vouches for the instructions and the row; with this optimizer it has squares.
        unsafe {
            let squares = gradient.fma(gradient, L::load(row.squares.add(at)));
            squares.store(row.squares.add(at));
            let step = gradient.div(squares.add(L::splat(1.0)).sqrt());
            step.fma(L::splat(-row.rate), old).store(row.numbers.add(at));
        }
    }
}

/// Steps of Adam.
pub(super) struct Adam<'a> {
    pub(super) rate: f32,
    /// From [`corrections`].
    pub(super) corrections: &'a [f32],
}

/// `sqrt(1 - 0.999^t) / (1 - 0.9^t)` for the steps `t` from 1 on, until it is 1; empty for other optimizers.
pub(super) fn corrections<'c>(params: &Params, control: &'c Control) -> Result<Buffer<'c, f32>> {
    let steps = if params.optimizer == Optimizer::Adam { CORRECTED } else { 0 };
    let mut corrections = Buffer::<f32>::zeros(TRAINING, steps, control)?;
    for (step, correction) in (1..).zip(corrections.iter_mut()) {
        *correction = ((1.0 - KEEP_SQUARES.powi(step)).sqrt() / (1.0 - KEEP.powi(step))) as f32;
    }
    Ok(corrections)
}

impl Sink for Adam<'_> {
    #[inline(always)]
    unsafe fn row(&mut self, mut row: Row) -> Row {
        // SAFETY: the caller vouches for the row; with this optimizer it has steps.
        let step = unsafe { *row.steps };
        row.rate *= self.rate * self.corrections.get(step as usize).copied().unwrap_or(1.0);
        // SAFETY: as above.
        unsafe { *row.steps = step.saturating_add(1) };
        row
    }

    #[inline(always)]
    unsafe fn put<L: Lanes>(&self, row: &Row, at: usize, old: L, gradient: L) {
        // SAFETY: the caller vouches for the instructions and the row; with this optimizer it has means and squares.
        unsafe {
            let zero = L::zero();
            let mean = L::load(row.means.add(at)).fma(L::splat(KEEP as f32), zero);
            let mean = gradient.fma(L::splat((1.0 - KEEP) as f32), mean);
            mean.store(row.means.add(at));
            let square = L::load(row.squares.add(at)).fma(L::splat(KEEP_SQUARES as f32), zero);
            let square = gradient.fma(gradient.fma(L::splat((1.0 - KEEP_SQUARES) as f32), zero), square);
            square.store(row.squares.add(at));
            let step = mean.div(square.sqrt().add(L::splat(1e-8)));
            step.fma(L::splat(-row.rate), old).store(row.numbers.add(at));
        }
    }
}

/// Adds up the gradients of a batch, row by row, and then takes a step of each row.
pub(super) struct Batch<'a> {
    optimizer: Optimizer,
    rate: f32,
    corrections: &'a [f32],
    width: usize,
    size: usize,
    updates: usize,
    /// The rows of the batch, in the order of their first update.
    rows: Vec<Row>,
    /// Room for a sum for each of them, and where it is: only through this address, since rows have addresses in it.
    _room: Aligned<f32>,
    sums: *mut f32,
    most: usize,
}

impl<'a> Batch<'a> {
    /// Memory of one.
    pub(super) fn bytes(params: &Params, width: usize) -> u64 {
        (ROWS * params.batch_size * (width * 4 + size_of::<Row>())) as u64
    }

    /// `control` has given the bytes.
    pub(super) fn new(
        params: &Params,
        rate: f32,
        corrections: &'a [f32],
        width: usize,
        control: &Control,
    ) -> Result<Self> {
        let most = ROWS * params.batch_size;
        let mut rows = Vec::new();
        rows.try_reserve_exact(most).map_err(|_| TRAINING.refused())?;
        let mut room = Aligned::zeros(TRAINING, most * width, control)?;
        let sums = room.as_mut_ptr();
        let (optimizer, size) = (params.optimizer, params.batch_size);
        Ok(Self { optimizer, rate, corrections, width, size, updates: 0, rows, _room: room, sums, most })
    }
}

/// Rows of an update at most: a user and two items.
const ROWS: usize = 3;

impl Sink for Batch<'_> {
    #[inline(always)]
    unsafe fn row(&mut self, mut row: Row) -> Row {
        // SAFETY: the caller vouches for the row; with batches it has a slot.
        let slot = unsafe { &mut *row.slot };
        if *slot == 0 {
            self.rows.push(row);
            *slot = self.rows.len() as u32;
        }
        let sum = *slot as usize - 1;
        assert!(sum < self.most);
        // SAFETY: there is room for that many sums.
        row.sums = unsafe { self.sums.add(sum * self.width) };
        row
    }

    #[inline(always)]
    unsafe fn put<L: Lanes>(&self, row: &Row, at: usize, _: L, gradient: L) {
        // SAFETY: the caller vouches for the instructions; `row` above set the address of as many sums as there are
        // columns.
        unsafe { gradient.add(L::load(row.sums.add(at))).store(row.sums.add(at)) }
    }

    #[inline(always)]
    unsafe fn done(&self, _: &Row) {}

    #[inline(always)]
    unsafe fn ended<L: Lanes>(&mut self) {
        self.updates += 1;
        if self.updates == self.size {
            // SAFETY: the caller vouches for the instructions and the rows.
            unsafe { self.finish::<L>() }
        }
    }

    #[inline(always)]
    unsafe fn finish<L: Lanes>(&mut self) {
        self.updates = 0;
        let Self { optimizer, rate, corrections, .. } = *self;
        // SAFETY: the caller vouches for the instructions and the rows.
        unsafe {
            match optimizer {
                Optimizer::Sgd => self.step::<L, _>(Plain { rate }),
                Optimizer::Adagrad => self.step::<L, _>(Adagrad { rate }),
                Optimizer::Adam => self.step::<L, _>(Adam { rate, corrections }),
            }
        }
    }
}

impl Batch<'_> {
    /// # Safety
    /// As [`Sink`].
    #[inline(always)]
    unsafe fn step<L: Lanes, S: Sink>(&mut self, mut optimizer: S) {
        for (number, row) in self.rows.drain(..).enumerate() {
            // SAFETY: the caller vouches for the instructions and the rows, which were pushed in the order of the sums.
            unsafe {
                let row = optimizer.row(row);
                let sums = self.sums.add(number * self.width);
                for at in (0..self.width).step_by(L::N) {
                    let old = L::load(row.numbers.add(at));
                    optimizer.put(&row, at, old, L::load(sums.add(at)));
                    L::zero().store(sums.add(at));
                }
                optimizer.done(&row);
                *row.slot = 0;
            }
        }
    }
}
