//! How good the factors are on entries that they were not trained on.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::jobs::share;
use base::pace::Pace;
use base::simd::Level;
use base::simd::lanes::{Kernel, Lanes, dispatch};

use crate::als::kernel::{BATCH, Rows, dots};
use crate::factors::GLANCE;
use crate::metrics::rank_metrics;

use super::Model;
use super::params::Loss;

/// What tells after each epoch how good the factors are: higher is better. Training then ends after `patience` epochs
/// without a better score, and answers with the best model.
pub enum Validation<'a> {
    /// Nothing does: all epochs are run.
    None,
    /// A function of the caller. It gets the model of the epoch.
    Score(&'a mut dyn FnMut(&Model) -> Result<f64>),
    /// Held-out entries: their nDCG at 10 among the items that the user does not have in training, as the mean over the
    /// users; for [`Loss::Squared`] minus the root of their mean squared error.
    HeldOut {
        /// One for each row of `entries`.
        users: &'a [u32],
        /// Rows of items, as of `Split::held_out`.
        entries: &'a Csr,
    },
}

/// Items of the ranking.
const CUTOFF: usize = 10;
/// Users of a job.
const JOB: usize = 8;

/// Rows of both sides, as trained.
pub(super) struct Trained<'a> {
    pub(super) level: Level,
    pub(super) users: &'a [f32],
    pub(super) items: &'a [f32],
    pub(super) width: usize,
    pub(super) user_items: &'a Csr,
    pub(super) loss: Loss,
    /// Added to every score.
    pub(super) mean: f32,
}

/// `Corrupted` if the held-out entries are of other users or items.
pub(super) fn check(
    users: &[u32],
    entries: &Csr,
    [rows, items]: [usize; 2],
    control: &Control,
) -> Result<()> {
    let below = |numbers: &[u32], end: usize| -> Result<bool> {
        for numbers in numbers.chunks(GLANCE) {
            control.check()?;
            if numbers.iter().any(|&number| number as usize >= end) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let fits = entries.rows() == users.len()
        && entries.values.len() == entries.entries()
        && entries.offsets.is_sorted()
        && entries.offsets.last().is_none_or(|&end| end == entries.entries() as u64)
        && below(users, rows)?
        && below(&entries.indices, items)?;
    if fits { Ok(()) } else { Err(Error::Corrupted("the shapes of matrices and held-out entries disagree")) }
}

impl Trained<'_> {
    /// The score of [`Validation::HeldOut`]; not a number without entries.
    pub(super) fn score(
        &self,
        users: &[u32],
        entries: &Csr,
        threads: usize,
        control: &Control,
    ) -> Result<f64> {
        let mut budget = Budget::new(control, TRAINING);
        let mut sums = budget.zeroed::<[f64; 2]>(users.len().div_ceil(JOB))?;
        let threads = threads.min(sums.len()).max(1);
        let jobs = users.chunks(JOB).zip((0..).step_by(JOB)).zip(&mut sums);
        share(jobs, threads, control, |jobs| {
            let mut budget = Budget::new(control, TRAINING);
            let items = self.items.len() / self.width;
            let mut scores = budget.zeroed::<f32>(if self.loss == Loss::Squared { 0 } else { items })?;
            while let Some(((users, first), sum)) = jobs.next()? {
                for (row, &user) in (first..).zip(users) {
                    let [total, count] = match self.loss {
                        Loss::Squared => self.squares(user, entries.row(row), control)?,
                        _ => self.ranking(user, entries.row(row).0, &mut scores, control)?,
                    };
                    *sum = [sum[0] + total, sum[1] + count];
                }
            }
            Ok(())
        })?;
        let [total, count] = sums.iter().fold([0.0; 2], |all, each| [all[0] + each[0], all[1] + each[1]]);
        let mean = total / count;
        Ok(if self.loss == Loss::Squared { -mean.sqrt() } else { mean })
    }

    fn user(&self, user: u32) -> &[f32] {
        &self.users[user as usize * self.width..][..self.width]
    }

    /// The sum of the squared errors, and of how many.
    fn squares(&self, user: u32, (items, values): (&[u32], &[f32]), control: &Control) -> Result<[f64; 2]> {
        let x = self.user(user);
        let mut pace = Pace::new(control);
        let mut sum = 0.0;
        for (&item, &value) in items.iter().zip(values) {
            pace.step(self.width)?;
            let y = &self.items[item as usize * self.width..][..self.width];
            let score: f64 = x.iter().zip(y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            sum += (f64::from(value) - f64::from(self.mean) - score).powi(2);
        }
        Ok([sum, items.len() as f64])
    }

    /// The nDCG of a user, and 1 if there is something to find.
    fn ranking(
        &self,
        user: u32,
        relevant: &[u32],
        scores: &mut [f32],
        control: &Control,
    ) -> Result<[f64; 2]> {
        if relevant.is_empty() {
            return Ok([0.0; 2]);
        }
        // At most 2048 numbers a row: about 1 ms.
        for (scores, items) in scores.chunks_mut(1 << 10).zip(self.items.chunks(self.width << 10)) {
            control.check()?;
            dispatch(self.level, Scores { user: self.user(user), items, scores });
        }
        let mut pace = Pace::new(control);
        for &item in self.user_items.row(user as usize).0 {
            pace.step(1)?;
            scores[item as usize] = f32::NEG_INFINITY;
        }
        // Best first; of equal scores the smaller item.
        let mut best: Vec<u32> = Vec::with_capacity(CUTOFF + 1);
        for (item, &score) in (0..).zip(&*scores) {
            pace.step(1)?;
            let last = best.last().map_or(f32::NEG_INFINITY, |&last| scores[last as usize]);
            if score > last || best.len() < CUTOFF && score > f32::NEG_INFINITY {
                let at = best.partition_point(|&other| scores[other as usize] >= score);
                best.insert(at, item);
                best.truncate(CUTOFF);
            }
        }
        Ok([rank_metrics(&best, relevant, CUTOFF).ndcg, 1.0])
    }
}

/// The products of many rows with one.
struct Scores<'a> {
    user: &'a [f32],
    items: &'a [f32],
    scores: &'a mut [f32],
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let width = self.user.len();
        assert!(width.is_multiple_of(L::N) && self.items.len() == self.scores.len() * width);
        for (items, scores) in self.items.chunks(BATCH * width).zip(self.scores.chunks_mut(BATCH)) {
            let mut rows: Rows = [items.as_ptr(); BATCH];
            for (row, item) in rows.iter_mut().zip(items.chunks_exact(width)) {
                *row = item.as_ptr();
            }
            // SAFETY: the caller vouches for the instructions; the rows are `width` long, and so is the user's.
            let products = unsafe { dots::<L>(&rows, scores.len(), self.user.as_ptr(), width) };
            scores.copy_from_slice(&products[..scores.len()]);
        }
    }
}
