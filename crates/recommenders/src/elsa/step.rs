//! The step of all rows after a batch.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base::aligned::Buffer;
use base::budget::TRAINING;
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use base::simd::Level;

use super::Params;
use super::batch::{Batch, PIECE};
use super::kernel::{Adam, FIRST, SECOND, products, sum_rows, turn};

/// Items of a job: at 256 factors about 0.1 ms of work, and never more than a few.
fn items_of_job(width: usize) -> usize {
    ((1 << 22) / (width * width)).clamp(8, 64)
}

/// Memory of what the threads work with.
pub(super) fn bytes(params: &Params) -> u64 {
    let width = params.width();
    (params.threads * items_of_job(width) * width) as u64 * 4
}

/// What Adam knows of the rows.
pub(super) struct State<'c> {
    /// The mean of the gradients, and of their squares.
    first: Buffer<'c, f32>,
    second: Buffer<'c, f32>,
    /// The length of the vector that each row is the direction of; 0 for rows of zeros.
    lengths: Buffer<'c, f32>,
    steps: i32,
}

impl<'c> State<'c> {
    /// Gives the memory back, a part at a time: of two million items the system takes 20 ms for each.
    pub(super) fn end(self, control: &Control) -> Result<()> {
        drop(self.first);
        control.check()?;
        drop(self.second);
        control.check()
    }

    pub(super) fn new(rows: &[f32], params: &Params, control: &'c Control) -> Result<Self> {
        let width = params.width();
        let zeros = |len| Buffer::zeros(TRAINING, len, control);
        let mut lengths = zeros(rows.len() / width)?;
        for (rows, lengths) in rows.chunks(PIECE * width).zip(lengths.chunks_mut(PIECE)) {
            control.check()?;
            for (row, length) in rows.chunks_exact(width).zip(lengths) {
                *length = if row.iter().any(|&number| number != 0.0) { START } else { 0.0 };
            }
        }
        Ok(Self { first: zeros(rows.len())?, second: zeros(rows.len())?, lengths, steps: 0 })
    }

    /// Moves the rows by what a batch of `count` users says; `panels` are what it says of every item. False where a row left
    /// the finite numbers.
    pub(super) fn step(
        &mut self,
        level: Level,
        rows: &mut [f32],
        (batch, panels): (&Batch<'_>, &[f32]),
        count: usize,
        params: &Params,
        control: &Control,
    ) -> Result<bool> {
        self.steps += 1;
        let width = params.width();
        let mean = 1.0 / count as f32;
        let rate = params.learning_rate / (1.0 - f64::from(FIRST).powi(self.steps));
        let second = 1.0 / (1.0 - f64::from(SECOND).powi(self.steps));
        let adam = Adam { rate: rate as f32, second: second as f32 };
        let finite = AtomicBool::new(true);
        let items = items_of_job(width);
        let numbers = items * width;
        let moments = self.first.chunks_mut(numbers).zip(self.second.chunks_mut(numbers));
        let jobs = rows.chunks_mut(numbers).zip(moments).zip(self.lengths.chunks_mut(items)).enumerate();
        let threads = params.threads.min(jobs.len());
        share(jobs, threads, control, |jobs| {
            let mut gradients = Buffer::zeros(TRAINING, numbers, control)?;
            while let Some((job, ((rows, (first, second)), lengths))) = jobs.next()? {
                let gradients = &mut gradients[..rows.len()];
                products(level, (rows, width), panels, gradients, control)?;
                let moments = first.chunks_exact_mut(width).zip(second.chunks_exact_mut(width));
                let rows = rows.chunks_exact_mut(width).zip(gradients.chunks_exact_mut(width));
                for (at, (((row, gradient), (first, second)), length)) in
                    rows.zip(moments).zip(lengths).enumerate()
                {
                    if *length == 0.0 {
                        continue;
                    }
                    for users in batch.users_of(job * items + at).chunks(PIECE) {
                        control.check()?;
                        sum_rows(level, &batch.gradients, width, users, gradient);
                    }
                    gradient.iter_mut().for_each(|number| *number *= mean);
                    *length = turn(level, (row, first, second), gradient, *length, adam);
                    if !(length.is_finite() && *length > 0.0) {
                        finite.store(false, Relaxed);
                    }
                }
            }
            Ok(())
        })?;
        Ok(finite.into_inner())
    }
}

/// The length that the vectors begin with.
const START: f32 = 0.1;
