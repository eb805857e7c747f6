//! Item-based recommendation for catalogues of any size: ELSA (Vančura, Alves, Kasalický and Kordík, Scalable Linear Shallow
//! Autoencoder for Collaborative Filtering, RecSys 2022), the low-rank form of [`crate::ease`].
//!
//! Every item has a row of unit length; together they are `A`. The prediction of a user's 0/1 row `x` is `x A A' - x`: its
//! diagonal is zero without any constraint. What is minimised is the mean over users of
//! `|x A A' - x, scaled to length 1 - x, scaled to length 1|^2`, by Adam over batches of users.
//!
//! The reference implementation makes the predictions of a batch, users by items. Here they are never made. With the sum
//! `u = A'x` of a user's rows and the Gram matrix `G = A'A` of all, the prediction `p` of a user of `n` items has
//! `p.x = u.u - n` and `|p|^2 = u'Gu - 2 u.u + n`, so the loss is `2 - 2 p.x / (|p| sqrt n)`. Its derivative by the row of
//! item `i` is, with `a = -2 / (|p| sqrt n)` and `b = p.x / (|p|^3 sqrt n)`,
//!
//! `[i is in x] ((2a - 4b) u + 2b G u) + 2b u u' A_i`:
//!
//! a few vectors for the items of the batch, and one square matrix, `sum 2b u u'`, for all others. A step takes about
//! `3 d^2` multiplications an item whatever the size of the batch, and nothing but the rows, their two moments and what a batch
//! has stays in memory: 3 numbers a factor and item instead of one a pair of items.

mod batch;
mod kernel;
mod loss;
mod step;
#[cfg(test)]
mod tests;

use base::aligned::Buffer;
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::jobs::share;
use base::need::Need;
use base::simd::{Level, level};
use base::wide::{Wide, padding};
pub use loss::loss;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::als::{gram_at, gram_bytes, normal};
use crate::factors::{Factors, GLANCE};
use crate::sgd::shuffle;

use batch::Batch;
use kernel::{pack, sum_rows};

/// The most factors a model can have.
pub const MAX_FACTORS: usize = crate::als::MAX_FACTORS;

/// The most passes of a training.
pub const MAX_ITERATIONS: usize = 10_000;

/// The most users of a batch.
pub const MAX_BATCH: usize = 8192;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Numbers per item and per user, 1 to 2048; 256. Multiples of 16 are fastest.
    pub factors: usize,
    /// Passes over the users, 1 to 10000; 12. More make the loss smaller and, from some number on, the ranking worse.
    pub iterations: usize,
    /// Users of a step, 1 to 8192; by default a 64th of all, between 64 and 4096.
    pub batch_size: Option<usize>,
    /// Of Adam, above 0; 0.03.
    pub learning_rate: f64,
    /// Of the start and of the order of the users.
    pub seed: u64,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { factors: 256, iterations: 12, batch_size: None, learning_rate: 0.03, seed: 0, threads: 1 }
    }
}

impl Params {
    /// `Error::Parameter` for the first parameter outside its range.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(1..=MAX_FACTORS).contains(&self.factors) {
            return error("factors", "between 1 and 2048", self.factors.to_string());
        }
        if !(1..=MAX_ITERATIONS).contains(&self.iterations) {
            return error("iterations", "between 1 and 10000", self.iterations.to_string());
        }
        if let Some(size) = self.batch_size.filter(|size| !(1..=MAX_BATCH).contains(size)) {
            return error("batch_size", "between 1 and 8192", size.to_string());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return error("learning_rate", "a finite number above 0", self.learning_rate.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        Ok(())
    }

    /// Users of a step, of so many.
    pub fn batch_of(&self, users: usize) -> usize {
        self.batch_size.unwrap_or((users / 64).clamp(64, 4096)).min(users.max(1))
    }

    /// Numbers of a row, padded to whole cache lines.
    fn width(&self) -> usize {
        self.factors.next_multiple_of(16)
    }
}

/// What [`fit`] takes for so many users, items and entries. 200,000 items of 256 factors take 0.7 GB, where
/// [`crate::ease`] would take 160.
pub fn need(users: usize, items: usize, entries: usize, params: &Params) -> Need {
    let width = params.width();
    let rows = (items * width) as u64 * 4;
    let result = ((users + items) * params.factors) as u64 * 4;
    let wide = (items * params.factors) as u64 * 4 + padding(items, params.factors);
    let state = 2 * rows + items as u64 * 4;
    let grams = gram_bytes(items, width) + (2 * width * width) as u64 * 4;
    let training = state + users as u64 * 4 + grams + Batch::bytes(users, items, entries, params);
    let sums = params.threads as u64 * width as u64 * 4;
    let of_users = (users * params.factors) as u64 * 4;
    Need { peak: wide + (training + step::bytes(params)).max(of_users + sums), result }
}

/// Trains: the rows of the items, and for each user the sum of the rows of the user's items, which is what ranks the items
/// that the user does not have. The score of an item `i` that a user has is less by `|A_i|^2`, which is 1. An item without
/// entries has a row of zeros. The result is the same to the bit for every number of threads.
///
/// * `user_items`: users by items. Entries that are not above 0 do not count in the training.
/// * `item_users`: its transpose, of which the shape alone is read.
/// * `on_iteration` is called in this thread with the number of the pass, from 1, and the mean loss of its users, each before
///   the step of its batch.
///
/// Users of fewer than two items teach nothing: whatever the rows are, their loss is 2. Progress counts entries, each of which
/// is passed once an iteration. [`Factors::bytes`] of the result stay taken from the control.
///
/// Errors: `Parameter`, `Cancelled` (noticed within 10 ms by every thread), `Memory`, before anything is computed, `NoMemory`,
/// `Diverged` if a row left the finite numbers, `Corrupted` if the shapes of the matrices disagree.
pub fn fit(
    user_items: &Csr,
    item_users: &Csr,
    params: &Params,
    control: &Control,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Factors> {
    fit_at(level(), [user_items, item_users], params, control, on_iteration)
}

fn fit_at(
    level: Level,
    [user_items, item_users]: [&Csr; 2],
    params: &Params,
    control: &Control,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Factors> {
    params.check()?;
    crate::neighbours::check_shapes(user_items, item_users, control)?;
    let (users, items) = (user_items.rows(), item_users.rows());
    TRAINING.expect(need(users, items, user_items.entries(), params).peak, control)?;
    let mut budget = Budget::new(control, TRAINING);
    let mut rows = start(item_users, params, &mut budget)?;
    train(level, user_items, &mut rows, params, control, on_iteration)?;
    let mut users = budget.zeroed(users * params.factors)?;
    sums(level, user_items, &rows, &mut users, params, control)?;
    let factors = Factors { factors: params.factors, users, items: rows.narrow()? };
    budget.keep(factors.bytes());
    Ok(factors)
}

/// Rows of unit length in random directions, zeros for items without entries.
fn start<'c>(item_users: &Csr, params: &Params, budget: &mut Budget<'c>) -> Result<Wide<'c>> {
    let (items, control) = (item_users.rows(), budget.control());
    let random = normal([0, items], params.factors, 1.0, params.seed, params.threads, control)?;
    budget.adopt(random.bytes());
    let mut rows = Wide::new(random.items, params.factors, control)?;
    for (item, row) in rows.chunks_exact_mut(params.width()).enumerate() {
        if item.is_multiple_of(GLANCE / MAX_FACTORS) {
            control.check()?;
        }
        if item_users.row(item).0.is_empty() {
            row.fill(0.0);
        } else {
            let length = row.iter().map(|&each| f64::from(each) * f64::from(each)).sum::<f64>().sqrt();
            row.iter_mut().for_each(|each| *each = (f64::from(*each) / length) as f32);
        }
    }
    Ok(rows)
}

/// Tells the order of the users from the start of the same seed.
const ORDER: u64 = 0x656c_7361_6f72_6472;

/// All steps.
fn train(
    level: Level,
    user_items: &Csr,
    rows: &mut [f32],
    params: &Params,
    control: &Control,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<()> {
    let width = params.width();
    let items = rows.len() / width;
    let mut budget = Budget::new(control, TRAINING);
    let mut order: Vec<u32> = budget.with_capacity(user_items.rows())?;
    for user in 0..user_items.rows() as u32 {
        let (own, values) = user_items.row(user as usize);
        control.check()?;
        if batch::counted(own, values).nth(1).is_some() {
            order.push(user);
        }
    }
    let size = params.batch_of(user_items.rows());
    let mut state = step::State::new(rows, params, control)?;
    let mut batch = Batch::new(user_items, items, params, &mut budget)?;
    let mut panels = Buffer::zeros(TRAINING, width * width, control)?;
    control.start((user_items.entries() * params.iterations) as u64);
    for iteration in 1..=params.iterations {
        let mut generator = ChaCha8Rng::seed_from_u64(params.seed ^ ORDER);
        generator.set_stream(iteration as u64);
        shuffle(&mut order, &mut generator, control)?;
        let mut loss = 0.0;
        for users in order.chunks(size) {
            let gram = gram_at(level, rows, width, params.threads, control)?;
            pack(&gram, width, &mut panels, control)?;
            drop(gram);
            loss += batch.look(level, (rows, &panels), users, params, control)?;
            batch.outer(level, users.len(), &mut panels, params, control)?;
            if !state.step(level, rows, (&batch, &panels), users.len(), params, control)? {
                return Err(Error::Diverged { iterations: iteration - 1 });
            }
            let entries = |&user: &u32| user_items.row(user as usize).0.len() as u64;
            control.advance(users.iter().map(entries).sum());
        }
        on_iteration(iteration, if order.is_empty() { 0.0 } else { loss / order.len() as f64 });
    }
    drop(batch);
    control.check()?;
    state.end(control)
}

/// Users between two looks at the list of jobs.
const USERS: usize = 16;

/// The sums of the rows of every user's items.
fn sums(
    level: Level,
    user_items: &Csr,
    rows: &[f32],
    users: &mut [f32],
    params: &Params,
    control: &Control,
) -> Result<()> {
    let (factors, width) = (params.factors, params.width());
    let jobs = users.chunks_mut(USERS * factors).enumerate();
    share(jobs, params.threads, control, |jobs| {
        let mut sum = Buffer::zeros(TRAINING, width, control)?;
        while let Some((job, users)) = jobs.next()? {
            for (at, to) in users.chunks_exact_mut(factors).enumerate() {
                sum.fill(0.0);
                let own = user_items.row(job * USERS + at).0;
                for own in own.chunks(batch::PIECE) {
                    control.check()?;
                    sum_rows(level, rows, width, own, &mut sum);
                }
                to.copy_from_slice(&sum[..factors]);
            }
        }
        Ok(())
    })
}
