//! Factorization by stochastic gradients: of values, of likes, or of the order of what somebody likes.
//!
//! Each update moves the rows of one user and of one or two items along the gradient of one sample. Updates follow
//! each other as in the textbook, within blocks of entries that share neither users nor items and so run side by side
//! (`blocks`): without locks, and with the same result to the bit for every number of threads. The usual lock-free way
//! (Niu, Recht, Ré and Wright, Hogwild!, NIPS 2011) differs from run to run.

mod blocks;
mod early;
mod model;
mod optimizer;
mod params;
mod pass;
mod refine;
mod side;
#[cfg(test)]
mod tests;
mod validation;

use base::aligned::{Aligned, Buffer};
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::jobs::share;
use base::need::Need;
use base::simd::lanes::dispatch;
use base::simd::{Level, level};
pub(crate) use blocks::shuffle;
pub use early::{fit_early, need_early};
pub use model::{Biases, Fitted, Model, Squares};
pub use params::{Loss, MAX_BATCH, MAX_FACTORS, MAX_ITERATIONS, MAX_NEGATIVES, Optimizer, Params, Sampling};
pub use refine::{WarmStart, refine};
pub use validation::Validation;

use crate::als::normal;
use crate::factors::{Factors, GLANCE, check_shapes};

use blocks::{Block, Blocks};
use optimizer::{Adagrad, Adam, Batch, Plain, corrections};
use pass::{Pass, Setting, Total};
use side::{Shared, Side};

/// What is told of an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// The mean loss of its samples, each before its own update; without regularization.
    pub loss: f64,
    /// Of the validation, where there is one.
    pub score: Option<f64>,
    /// That it was trained with.
    pub learning_rate: f64,
}

/// Factors to start the training from, normally distributed around 0: with standard deviation 0.1 for
/// [`Loss::Squared`] (as Surprise 1.1), and `0.3 / factors` for the others (about that of implicit 0.7.3 and LightFM 1.17,
/// who draw evenly between -0.5 and 0.5 by the factors). The same bits for every number of threads.
///
/// Errors: `Parameter`, `Cancelled`, `Memory`, `NoMemory`. [`Factors::bytes`] stay taken from `control`.
pub fn start(users: usize, items: usize, params: &Params, control: &Control) -> Result<Factors> {
    params.check()?;
    normal([users, items], params.factors, deviation(params), params.seed, params.threads, control)
}

fn deviation(params: &Params) -> f64 {
    if params.loss == Loss::Squared { 0.1 } else { 0.3 / params.factors as f64 }
}

/// What [`start`] and [`fit`] take for so many users, items and entries; at most a quarter more than they really do.
pub fn need(users: usize, items: usize, entries: usize, params: &Params, validated: bool) -> Need {
    let width = width(params);
    let biases = if !params.biases {
        0
    } else if params.loss.ranks() {
        items
    } else {
        users + items
    };
    // With what the optimizer has summed up of each row.
    let result = ((users + items) * (params.factors + 1) + biases) as u64 * 4;
    let sides = side::bytes(users, width, params) + side::bytes(items, width, params);
    let best = if validated { ((users + items) * width) as u64 * 4 } else { 0 };
    let scores = if validated { (params.threads * items) as u64 * 4 } else { 0 };
    let batches = if params.batch_size > 1 { params.threads as u64 * Batch::bytes(params, width) } else { 0 };
    let peak = result + sides + blocks::bytes(items, entries) + best + scores.max(batches) + (1 << 17);
    Need { peak, result }
}

/// Numbers of a row: factors and biases, padded to whole cache lines.
fn width(params: &Params) -> usize {
    (params.factors + if params.biases { 2 } else { 0 }).next_multiple_of(16)
}

/// Trains from `start`. Rows without entries become zeros, but items without entries still serve as negatives and get
/// a bias.
///
/// * `user_items`: users by items, finite values; `item_users`: its transpose.
/// * `validation`: see [`Validation`]; each score costs about as much as products of the held-out users with all items.
/// * `on_epoch` is called in this thread after each epoch.
///
/// The result is the same to the bit for every number of threads. Progress counts entries: each is passed once per
/// epoch. [`Model::bytes`] and [`Squares::bytes`] of the answer stay taken from `control`, those of `start` among them.
///
/// Errors: `Parameter`, `Cancelled` (noticed within 10 ms by every thread), `Memory`, `NoMemory`, `Diverged` if the
/// factors left the finite numbers, `Corrupted` if shapes disagree; whatever the validation says. After an error
/// nothing stays taken but what the caller took for `start`.
pub fn fit(
    user_items: &Csr,
    item_users: &Csr,
    start: Factors,
    params: &Params,
    validation: Validation<'_>,
    control: &Control,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    let parts = blocks::parts(user_items.entries(), item_users.rows());
    fit_at((level(), parts), [user_items, item_users], start, params, validation, control, on_epoch)
}

/// [`fit`] with an instruction set and a number of parts that tests choose.
fn fit_at(
    (level, parts): (Level, usize),
    [user_items, item_users]: [&Csr; 2],
    start: Factors,
    params: &Params,
    validation: Validation<'_>,
    control: &Control,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    params.check()?;
    let shapes = [start.factors, params.factors];
    check_shapes(user_items, item_users, (&start.users, &start.items), shapes, control)?;
    if let Validation::HeldOut { users, entries } = &validation {
        validation::check(users, entries, [user_items.rows(), item_users.rows()], control)?;
    }
    let mut budget = Budget::new(control, TRAINING);
    let model = Model { biases: biases(user_items, item_users.rows(), params, &mut budget)?, factors: start };
    let at = (level, parts, params.seed ^ ORDER);
    run(at, [user_items, item_users], user_items, (model, None), params, validation, budget, on_epoch)
}

/// What a training goes on from.
struct Resumed<'c> {
    squares: Squares,
    /// What steps of each item count with.
    rates: Buffer<'c, f32>,
}

/// Epochs over the entries of `part`, which has a row for each user, from a model and what was summed up of its rows.
/// `budget` has taken the biases.
#[allow(clippy::too_many_arguments, reason = "the state of a training that begins or goes on")]
fn run(
    (level, parts, seed): (Level, usize, u64),
    [user_items, item_users]: [&Csr; 2],
    part: &Csr,
    (mut model, resumed): (Model, Option<Resumed<'_>>),
    params: &Params,
    mut validation: Validation<'_>,
    mut budget: Budget<'_>,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    let control = budget.control();
    let mut training = Training::new(level, [user_items, item_users], &model, params, control)?;
    let known = resumed.is_some();
    let mut squares = match resumed {
        Some(Resumed { squares, rates }) => {
            // An image does not hold the biases of users.
            let begin = (params.biases && !params.loss.ranks()).then_some(params.factors + 1);
            training.users.resume(&squares.users, begin, control)?;
            training.items.resume(&squares.items, None, control)?;
            training.items.pace(rates);
            squares
        }
        None => {
            Squares { users: budget.zeroed(user_items.rows())?, items: budget.zeroed(item_users.rows())? }
        }
    };
    let mut blocks = Blocks::new(part, item_users.rows(), parts, seed, &mut budget)?;
    let mut best = Best::new(&training, &validation)?;

    let entries = part.entries() as u64;
    control.start(entries * params.iterations as u64);
    let (mut losses, mut scores) = (Vec::new(), Vec::new());
    let (mut rate, mut waited) = (params.learning_rate, 0);
    for epoch in 1..=params.iterations {
        let total = training.epoch(&mut blocks, epoch, rate)?;
        let loss = if total.samples == 0 { 0.0 } else { total.loss / total.samples as f64 };
        if !loss.is_finite() {
            return Err(Error::Diverged { iterations: epoch - 1 });
        }
        losses.push(loss);
        let score = training.score(&mut validation, &mut model)?;
        on_epoch(&Epoch { number: epoch, loss, score, learning_rate: rate });
        let Some(score) = score else { continue };
        scores.push(score);
        if best.offer(&training, epoch, score)? {
            waited = 0;
        } else {
            waited += 1;
            rate *= params.decay;
        }
        if waited == params.patience {
            break;
        }
    }
    let epochs = losses.len();
    control.advance(entries * (params.iterations - epochs) as u64);
    let best_epoch = best.restore(&mut training)?.unwrap_or(epochs);
    if !(training.finite(&training.users)? && training.finite(&training.items)?) {
        return Err(Error::Diverged { iterations: epochs.saturating_sub(1) });
    }
    drop(blocks);
    training.users.finish(&mut squares.users, control)?;
    training.items.finish(&mut squares.items, control)?;
    training.write(&mut model)?;
    let own = model.bytes() - model.factors.bytes();
    budget.keep(if known { own } else { own + squares.bytes() });
    let converged = waited == params.patience;
    Ok(Fitted { model, squares, losses, scores, epochs, best_epoch, converged })
}

/// Tells the order and the negatives of epochs from the start factors of the same seed.
const ORDER: u64 = 0x6f72_6465_725f_7367;

/// Room for the biases, and the mean.
fn biases(
    user_items: &Csr,
    items: usize,
    params: &Params,
    budget: &mut Budget<'_>,
) -> Result<Option<Biases>> {
    if !params.biases {
        return Ok(None);
    }
    let mut mean = 0.0;
    if params.loss == Loss::Squared && user_items.entries() > 0 {
        let mut sum = 0.0;
        for values in user_items.values.chunks(GLANCE) {
            budget.control().check()?;
            sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
        }
        // Of the negatives, too, whose value is 0.
        mean = (sum / (user_items.entries() * (1 + params.negatives)) as f64) as f32;
    }
    let users = if params.loss.ranks() { 0 } else { user_items.rows() };
    Ok(Some(Biases { mean, users: budget.zeroed(users)?, items: budget.zeroed(items)? }))
}

/// The state of a training.
struct Training<'a> {
    level: Level,
    user_items: &'a Csr,
    params: &'a Params,
    setting: Setting,
    corrections: Buffer<'a, f32>,
    users: Side<'a>,
    items: Side<'a>,
    control: &'a Control,
}

impl<'a> Training<'a> {
    fn new(
        level: Level,
        [user_items, item_users]: [&'a Csr; 2],
        model: &Model,
        params: &'a Params,
        control: &'a Control,
    ) -> Result<Self> {
        let (width, factors) = (width(params), params.factors);
        // Column `factors` holds the biases of the items beside a 1 of each user; the next one the other way round.
        let user_one = params.biases.then_some(factors);
        let item_one = (params.biases && !params.loss.ranks()).then_some(factors + 1);
        let (mut user_biases, mut item_biases) = (&[][..], &[][..]);
        if let Some(Biases { users, items, .. }) = &model.biases {
            (user_biases, item_biases) = (users, items);
        }
        let side = |matrix: &Csr, rows: &[f32], one, (biases, column): (&[f32], usize)| -> Result<Side<'a>> {
            let mut side = Side::new(matrix.rows(), width, one, params, control)?;
            let wide = side.rows.chunks_exact_mut(width).zip(rows.chunks_exact(factors));
            for (number, (wide, row)) in wide.enumerate() {
                if number.is_multiple_of(GLANCE / MAX_FACTORS) {
                    control.check()?;
                }
                if matrix.offsets[number] < matrix.offsets[number + 1] {
                    wide[..factors].copy_from_slice(row);
                }
                if let Some(&bias) = biases.get(number) {
                    wide[column] = bias;
                }
                if let Some(one) = one {
                    wide[one] = 1.0;
                }
            }
            Ok(side)
        };
        let setting = Setting {
            loss: params.loss,
            sampling: params.sampling,
            negatives: params.negatives,
            regularization: params.regularization as f32,
            mean: model.biases.as_ref().map_or(0.0, |biases| biases.mean),
            items: item_users.rows(),
            factors,
            width,
            dropout: params.dropout,
        };
        Ok(Self {
            level,
            user_items,
            params,
            setting,
            corrections: corrections(params, control)?,
            users: side(user_items, &model.factors.users, user_one, (user_biases, factors + 1))?,
            items: side(item_users, &model.factors.items, item_one, (item_biases, factors))?,
            control,
        })
    }

    /// One pass over all entries.
    fn epoch(&mut self, blocks: &mut Blocks<'_>, epoch: usize, rate: f64) -> Result<Total> {
        let (threads, control, parts) = (self.params.threads, self.control, blocks.parts());
        blocks.divide(epoch, threads, control)?;
        // Added up in one order, however the blocks were shared.
        let mut totals = vec![Total::default(); parts];
        let sides = (self.users.shared(), self.items.shared());
        let this = &*self;
        for stratum in 0..parts {
            let jobs = blocks.stratum(epoch, stratum).into_iter().zip(&mut totals);
            share(jobs, threads.min(parts), control, |jobs| this.work(jobs, sides, rate as f32))?;
        }
        let mut all = Total::default();
        totals.into_iter().for_each(|each| all.merge(each));
        Ok(all)
    }

    /// Works on blocks of one stratum until none is left.
    fn work<'b, I>(&self, jobs: &base::jobs::Jobs<'_, I>, sides: (Shared, Shared), rate: f32) -> Result<()>
    where
        I: Iterator<Item = (Block<'b>, &'b mut Total)>,
    {
        let (control, setting, width) = (self.control, self.setting, self.setting.width);
        let mut budget = Budget::new(control, TRAINING);
        let mut mask = Aligned::zeros(TRAINING, width, control)?;
        mask.fill(1.0);
        if self.params.batch_size > 1 {
            budget.take(Batch::bytes(self.params, width))?;
        }
        while let Some((block, total)) = jobs.next()? {
            let entries = block.entries.len() as u64;
            let corrections = &self.corrections;
            /// A pass whose gradients go to `sink`: each sink is another type.
            macro_rules! pass {
                ($sink:expr) => {
                    dispatch(
                        self.level,
                        Pass {
                            block,
                            user_items: self.user_items,
                            users: sides.0,
                            items: sides.1,
                            setting,
                            sink: $sink,
                            mask: &mut mask,
                            control,
                        },
                    )
                };
            }
            total.merge(match self.params.optimizer {
                _ if self.params.batch_size > 1 => {
                    pass!(Batch::new(self.params, rate, corrections, width, control)?)
                }
                Optimizer::Sgd => pass!(Plain { rate }),
                Optimizer::Adagrad => pass!(Adagrad { rate }),
                Optimizer::Adam => pass!(Adam { rate, corrections }),
            }?);
            control.advance(entries);
        }
        Ok(())
    }

    fn score(&self, validation: &mut Validation<'_>, model: &mut Model) -> Result<Option<f64>> {
        match validation {
            Validation::None => Ok(None),
            Validation::Score(score) => {
                self.write(model)?;
                score(model).map(Some)
            }
            Validation::HeldOut { users, entries } => {
                let trained = validation::Trained {
                    level: self.level,
                    users: &self.users.rows,
                    items: &self.items.rows,
                    width: self.setting.width,
                    user_items: self.user_items,
                    loss: self.params.loss,
                    mean: self.setting.mean,
                };
                trained.score(users, entries, self.params.threads, self.control).map(Some)
            }
        }
    }

    fn finite(&self, side: &Side<'_>) -> Result<bool> {
        for piece in side.rows.chunks(GLANCE) {
            self.control.check()?;
            if !piece.iter().all(|each| each.is_finite()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes rows and biases into a model.
    fn write(&self, model: &mut Model) -> Result<()> {
        let Model { factors: Factors { factors, users, items }, biases } = model;
        let (factors, width) = (*factors, self.setting.width);
        let (mut none, mut nothing) = (Vec::new(), Vec::new());
        let (user_biases, item_biases) = match biases {
            Some(biases) => (&mut biases.users, &mut biases.items),
            None => (&mut none, &mut nothing),
        };
        let sides =
            [(&self.users, users, user_biases, factors + 1), (&self.items, items, item_biases, factors)];
        for (side, rows, biases, column) in sides {
            let wide = side.rows.chunks_exact(width);
            for (number, (row, wide)) in rows.chunks_exact_mut(factors).zip(wide).enumerate() {
                if number.is_multiple_of(GLANCE / MAX_FACTORS) {
                    self.control.check()?;
                }
                row.copy_from_slice(&wide[..factors]);
                if let Some(bias) = biases.get_mut(number) {
                    *bias = wide[column];
                }
            }
        }
        Ok(())
    }
}

/// The best rows so far, where something validates.
struct Best<'a> {
    rows: Option<[Buffer<'a, f32>; 2]>,
    score: f64,
    epoch: Option<usize>,
}

impl<'a> Best<'a> {
    fn new(training: &Training<'a>, validation: &Validation<'_>) -> Result<Self> {
        let copy = |side: &Side<'_>| Buffer::zeros(TRAINING, side.rows.len(), training.control);
        let rows = match validation {
            Validation::None => None,
            _ => Some([copy(&training.users)?, copy(&training.items)?]),
        };
        Ok(Self { rows, score: f64::NEG_INFINITY, epoch: None })
    }

    /// Whether the epoch is the best one so far; keeps it then.
    fn offer(&mut self, training: &Training<'_>, epoch: usize, score: f64) -> Result<bool> {
        // False, too, where the score is not a number.
        let better = score > self.score;
        if !better {
            return Ok(false);
        }
        if let Some([users, items]) = &mut self.rows {
            copy(&training.users.rows, users, training.control)?;
            copy(&training.items.rows, items, training.control)?;
        }
        (self.score, self.epoch) = (score, Some(epoch));
        Ok(true)
    }

    /// Goes back to the best epoch, and says which that was.
    fn restore(self, training: &mut Training<'_>) -> Result<Option<usize>> {
        if let (Some(_), Some([users, items])) = (self.epoch, &self.rows) {
            copy(users, &mut training.users.rows, training.control)?;
            copy(items, &mut training.items.rows, training.control)?;
        }
        Ok(self.epoch)
    }
}

fn copy(from: &[f32], to: &mut [f32], control: &Control) -> Result<()> {
    for (from, to) in from.chunks(GLANCE).zip(to.chunks_mut(GLANCE)) {
        control.check()?;
        to.copy_from_slice(from);
    }
    Ok(())
}
