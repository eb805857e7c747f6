//! A model that follows a few changes: epochs over the entries of the users whose entries changed, from where the training
//! ended.

use base::aligned::Buffer;
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::pace::Pace;
use base::simd::level;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::factors::{Factors, GLANCE, check_shapes};

use super::{
    Epoch, Fitted, Model, ORDER, Params, Resumed, Squares, Validation, biases, blocks, deviation, run,
};

/// What a training left of rows, in their places of now.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmStart {
    /// As of [`Model::folded`]; zeros for users and items that are new, and for users who lost entries: they begin at
    /// random.
    pub factors: Factors,
    /// As of [`Fitted::squares`]; zeros where they are not known.
    pub squares: Squares,
}

impl WarmStart {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.factors.bytes() + self.squares.bytes()
    }
}

/// Trains the rows of `users`, rising, and of the items that they have or that serve as their negatives; all others stay as
/// they are. As many epochs as a training has, but over the entries of these users alone. The optimizer goes on with what it
/// has summed up of each row, so what was trained on much moves little and what is new moves as in a training (as
/// `fit_partial` of LightFM 1.17, which keeps its sums in memory). An item takes steps by the share that these users have of
/// its entries: the others, whose rows stay, would hold it where it is.
///
/// Where of MovieLens' users every tenth is new and every tenth has twice as many entries, WARP ranks for the new ones at
/// nDCG@10 0.225 (a training of all: 0.229), for the grown ones 0.213 (0.186), for all others 0.217 (0.237; before 0.232, with
/// whole steps 0.207).
///
/// * `user_items`: users by items, those of now; `item_users`: its transpose.
///
/// The result is the same to the bit for every number of threads. [`Model::bytes`] and [`Squares::bytes`] of the answer stay
/// taken from `control`, those of `warm` among them. Errors: as [`super::fit`].
pub fn refine(
    user_items: &Csr,
    item_users: &Csr,
    warm: WarmStart,
    users: &[u32],
    params: &Params,
    control: &Control,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    params.check()?;
    let WarmStart { factors, squares } = warm;
    let width = params.factors + usize::from(params.biases);
    check_shapes(
        user_items,
        item_users,
        (&factors.users, &factors.items),
        [factors.factors, width],
        control,
    )?;
    if (squares.users.len(), squares.items.len()) != (user_items.rows(), item_users.rows()) {
        return Err(Error::Corrupted("the shapes of matrices and factors disagree"));
    }
    let mut budget = Budget::new(control, TRAINING);
    let mut model = Model { biases: biases(user_items, item_users.rows(), params, &mut budget)?, factors };
    unfold(&mut model, params.factors, &mut budget)?;
    let part = part(user_items, users, &mut budget)?;
    let rates = rates(&part, item_users, &model.factors, control)?;
    begin(&mut model, [user_items, item_users], params, control)?;
    let parts = blocks::parts(part.entries(), item_users.rows());
    let at = (level(), parts, params.seed ^ ORDER);
    let matrices = [user_items, item_users];
    let from = (model, Some(Resumed { squares, rates }));
    let fitted = run(at, matrices, &part, from, params, Validation::None, budget, on_epoch)?;
    if params.biases {
        // What the biases were as a factor more.
        control.give((user_items.rows() + item_users.rows()) as u64 * 4);
    }
    Ok(fitted)
}

/// Takes the biases of the items out of the factors, where [`Model::folded`] has put them. Those of users are not there:
/// they begin anew.
fn unfold(model: &mut Model, factors: usize, budget: &mut Budget<'_>) -> Result<()> {
    let Model { factors: all, biases: Some(biases) } = model else { return Ok(()) };
    let width = all.factors;
    let mut pace = Pace::new(budget.control());
    for (bias, row) in biases.items.iter_mut().zip(all.items.chunks_exact(width)) {
        pace.step(width)?;
        *bias = row[factors];
    }
    for rows in [&mut all.users, &mut all.items] {
        let count = rows.len() / width;
        for row in 0..count {
            pace.step(width)?;
            rows.copy_within(row * width..row * width + factors, row * factors);
        }
        rows.truncate(count * factors);
        rows.shrink_to_fit();
    }
    all.factors = factors;
    Ok(())
}

/// Nothing that was trained is all zeros.
fn is_new(row: &[f32]) -> bool {
    row.iter().all(|&each| each == 0.0)
}

/// Gives rows that are new somewhere to begin, as [`super::start`] does.
fn begin(
    model: &mut Model,
    [user_items, item_users]: [&Csr; 2],
    params: &Params,
    control: &Control,
) -> Result<()> {
    let Factors { factors, users, items } = &mut model.factors;
    let mut pace = Pace::new(control);
    for (side, rows, matrix) in [(0, users, user_items), (1, items, item_users)] {
        for (number, row) in rows.chunks_exact_mut(*factors).enumerate() {
            pace.step(*factors)?;
            if !is_new(row) || matrix.row(number).0.is_empty() {
                continue;
            }
            let mut generator = ChaCha8Rng::seed_from_u64(params.seed ^ BEGIN);
            generator.set_stream(2 * number as u64 + side);
            for each in row {
                let normal: f64 = StandardNormal.sample(&mut generator);
                *each = (normal * deviation(params)) as f32;
            }
        }
    }
    Ok(())
}

/// Tells where new rows begin from the start factors of the same seed.
const BEGIN: u64 = 0x6265_6769_6e5f_7367;

/// The share of a part in the entries of each item; of all entries, where that is more: so many of the negatives are the part's.
/// An item that is new goes where its users want it.
fn rates<'c>(
    part: &Csr,
    item_users: &Csr,
    factors: &Factors,
    control: &'c Control,
) -> Result<Buffer<'c, f32>> {
    let mut rates = Buffer::<f32>::zeros(TRAINING, item_users.rows(), control)?;
    let mut pace = Pace::new(control);
    for items in part.indices.chunks(GLANCE) {
        pace.step(items.len())?;
        items.iter().for_each(|&item| rates[item as usize] += 1.0);
    }
    let of_all = part.entries() as f32 / item_users.entries().max(1) as f32;
    let rows = factors.items.chunks_exact(factors.factors);
    for (item, (rate, row)) in rates.iter_mut().zip(rows).enumerate() {
        pace.step(1)?;
        let entries = item_users.row(item).0.len().max(1) as f32;
        *rate = if is_new(row) { 1.0 } else { (*rate / entries).max(of_all) };
    }
    Ok(rates)
}

/// The entries of some users alone, among rows for all.
fn part(user_items: &Csr, users: &[u32], budget: &mut Budget<'_>) -> Result<Csr> {
    let mut pace = Pace::new(budget.control());
    let entries = users.iter().map(|&user| user_items.row(user as usize).0.len()).sum();
    let mut part = Csr {
        offsets: budget.with_capacity(user_items.rows() + 1)?,
        indices: budget.with_capacity(entries)?,
        values: budget.with_capacity(entries)?,
    };
    part.offsets.push(0);
    let mut chosen = users.iter().peekable();
    for user in 0..user_items.rows() as u32 {
        pace.step(1)?;
        if chosen.next_if_eq(&&user).is_some() {
            let (indices, values) = user_items.row(user as usize);
            for (indices, values) in indices.chunks(GLANCE).zip(values.chunks(GLANCE)) {
                pace.step(indices.len())?;
                part.indices.extend_from_slice(indices);
                part.values.extend_from_slice(values);
            }
        }
        part.offsets.push(part.indices.len() as u64);
    }
    Ok(part)
}
