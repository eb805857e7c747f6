//! A model that follows a few changes: epochs over the entries of the users whose entries changed, from where the training
//! ended.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::als::{Factors, GLANCE, check_shapes};
use crate::budget::{Budget, TRAINING};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::interactions::Pace;
use crate::simd::level;

use super::{
    Epoch, Fitted, Model, ORDER, Optimizer, Params, Squares, Validation, biases, blocks, deviation, run,
};

/// What a training left of rows, in their places of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Warm {
    /// As of [`Model::folded`]; zeros for users and items that are new, which begin at random.
    pub factors: Factors,
    /// As of [`Fitted::squares`]; zeros where they are not known.
    pub squares: Squares,
}

impl Warm {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.factors.bytes() + self.squares.bytes()
    }
}

/// Trains the rows of `users`, rising, and of the items that they have or that serve as their negatives; all others stay as
/// they are. As many epochs as a training has, but over the entries of these users alone. The optimizer goes on with what it
/// has summed up of each row, so what was trained on much moves little and what is new moves as in a training (as
/// `fit_partial` of LightFM 1.17, which keeps its sums in memory). With Adagrad an item takes steps by the share that these
/// users have of its entries: the others, whose rows stay, would hold it where it is.
///
/// Where of MovieLens' users every tenth is new and every tenth has twice as many entries, WARP ranks for the new ones at
/// nDCG@10 0.223 (a training of all: 0.229), for the grown ones 0.204 (0.186), for all others 0.215 (0.237; before 0.232, with
/// whole steps 0.207).
///
/// * `user_items`: users by items, those of now; `item_users`: its transpose.
///
/// The result is the same to the bit for every number of threads. [`Model::bytes`] and [`Squares::bytes`] of the answer stay
/// taken from `control`, those of `warm` among them. Errors: as [`super::fit`].
pub fn refine(
    user_items: &Csr,
    item_users: &Csr,
    warm: Warm,
    users: &[u32],
    params: &Params,
    control: &Control,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    params.check()?;
    let Warm { factors, squares } = warm;
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
    begin(&mut model, [user_items, item_users], params, control)?;
    let part = part(user_items, users, &mut budget)?;
    let mut held = budget.zeroed(item_users.rows())?;
    let mut squares = squares;
    if params.optimizer == Optimizer::Adagrad {
        hold(&part, item_users, &mut squares.items, &mut held, control)?;
    }
    let parts = blocks::parts(part.entries(), item_users.rows());
    let at = (level(), parts, params.seed ^ ORDER);
    let matrices = [user_items, item_users];
    let mut fitted =
        run(at, matrices, &part, (model, Some(squares)), params, Validation::None, budget, on_epoch)?;
    fitted.squares.items.iter_mut().zip(&held).for_each(|(square, held)| *square = (*square - held).max(0.0));
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
            if row.iter().any(|&each| each != 0.0) || matrix.row(number).0.is_empty() {
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

/// Adds to what was summed up of each item so much that a step is the shorter the smaller the share of a part in its entries.
/// `more` gets what was added.
fn hold(
    part: &Csr,
    item_users: &Csr,
    squares: &mut [f32],
    more: &mut [f32],
    control: &Control,
) -> Result<()> {
    let mut pace = Pace::new(control);
    for items in part.indices.chunks(GLANCE) {
        pace.step(items.len())?;
        items.iter().for_each(|&item| more[item as usize] += 1.0);
    }
    // Negatives of the part are as many of all negatives.
    let of_all = part.entries() as f64 / item_users.entries().max(1) as f64;
    for (item, (square, more)) in squares.iter_mut().zip(more).enumerate() {
        pace.step(1)?;
        let entries = item_users.row(item).0.len().max(1) as f64;
        let share = (f64::from(*more) / entries).max(of_all);
        let one = 1.0 + f64::from(*square);
        // Of an item that is new, nothing: it goes where its users want it.
        *more = if *square > 0.0 && share > 0.0 { (one / (share * share) - one) as f32 } else { 0.0 };
        *square += *more;
    }
    Ok(())
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
