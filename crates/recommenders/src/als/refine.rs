//! A model that follows a few changes: what they touch is solved again, everything else stays.

use base::aligned::Buffer;
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::pace::Pace;
use base::simd::level;
use base::wide::Wide;

use crate::factors::{Factors, check_shapes, finite};

use super::biases::biases;
use super::explicit::{self, Sides};
use super::{Params, Part, Training};

/// Steps for users, of whom there are few: somebody new begins at zero.
const USER_STEPS: usize = 10;

/// Solves `users` from the items, `items` from all their users, and `users` again: one iteration on the part of the
/// matrices that changed. `warm` are the factors of before, zeros for users and items that are new. The result is the same
/// to the bit for every number of threads.
///
/// Memory beside the factors: their padding, and a copy of the rows that are solved. Errors as [`super::fit`].
pub fn refine(
    user_items: &Csr,
    item_users: &Csr,
    warm: Factors,
    (users, items): (&[u32], &[u32]),
    params: &Params,
    control: &Control,
) -> Result<Factors> {
    params.check()?;
    let Factors { factors, users: user_rows, items: item_rows } = warm;
    check_shapes(user_items, item_users, (&user_rows, &item_rows), [factors, params.factors], control)?;
    let thorough = Params { cg_steps: params.cg_steps.max(USER_STEPS), ..params.clone() };
    let level = level();
    let half = |params: &Params, part: &Part<'_>, rows: &mut [f32], fixed: &[f32]| {
        let training = Training { level, user_items, item_users, params, control };
        training.half(part, rows, fixed, &DIVERGED).map(drop)
    };
    let of_users = |part: &Part<'_>, rows: &mut [f32], fixed: &[f32]| half(&thorough, part, rows, fixed);
    let of_items = |part: &Part<'_>, rows: &mut [f32], fixed: &[f32]| half(params, part, rows, fixed);
    let users = Chosen { matrix: user_items, chosen: users, factors, half: &of_users, control };
    let items = Chosen { matrix: item_users, chosen: items, factors, half: &of_items, control };
    by_turns(&users, &items, user_rows, item_rows)
}

const DIVERGED: Error = Error::Diverged { iterations: 0 };

/// The same for ratings. Mean and biases are those of all ratings of now, as a training would find them.
///
/// [`explicit::Model::bytes`] stay taken, those of `warm` among them. Errors as [`explicit::fit`].
pub fn refine_ratings(
    user_items: &Csr,
    item_users: &Csr,
    warm: Factors,
    (users, items): (&[u32], &[u32]),
    params: &explicit::Params,
    control: &Control,
) -> Result<explicit::Model> {
    params.check()?;
    let explicit::Params { als, damping } = params;
    let Factors { factors, users: user_rows, items: item_rows } = warm;
    check_shapes(user_items, item_users, (&user_rows, &item_rows), [factors, als.factors], control)?;
    let range = explicit::range(user_items, control)?;
    let biases = biases(user_items, item_users, *damping, als.threads, control)?;
    let thorough = Params { cg_steps: als.cg_steps.max(USER_STEPS), ..als.clone() };
    let level = level();
    let half = |params: &Params, part: &Part<'_>, rows: &mut [f32], fixed: &[f32], of: (&[f32], &[f32])| {
        let sides = Sides { level, user_items, item_users, params, biases: &biases, control };
        if sides.half(part, rows, fixed, of)?.all.is_finite() { Ok(()) } else { Err(DIVERGED) }
    };
    let (user_biases, item_biases) = (&biases.users[..], &biases.items[..]);
    let of_users = |part: &Part<'_>, rows: &mut [f32], fixed: &[f32]| {
        half(&thorough, part, rows, fixed, (user_biases, item_biases))
    };
    let of_items = |part: &Part<'_>, rows: &mut [f32], fixed: &[f32]| {
        half(als, part, rows, fixed, (item_biases, user_biases))
    };
    let users = Chosen { matrix: user_items, chosen: users, factors, half: &of_users, control };
    let items = Chosen { matrix: item_users, chosen: items, factors, half: &of_items, control };
    match by_turns(&users, &items, user_rows, item_rows) {
        Ok(factors) => Ok(explicit::Model { factors, biases, range }),
        Err(error) => {
            control.give(biases.bytes());
            Err(error)
        }
    }
}

/// Solves users, items and users again.
fn by_turns(
    users: &Chosen<'_>,
    items: &Chosen<'_>,
    user_rows: Vec<f32>,
    item_rows: Vec<f32>,
) -> Result<Factors> {
    let mut user_rows = Wide::new(user_rows, users.factors, users.control)?;
    let mut item_rows = Wide::new(item_rows, items.factors, items.control)?;
    users.solve(&mut user_rows, &item_rows)?;
    items.solve(&mut item_rows, &user_rows)?;
    users.solve(&mut user_rows, &item_rows)?;
    Ok(Factors { factors: users.factors, users: user_rows.narrow()?, items: item_rows.narrow()? })
}

/// Solves rows of a part from fixed ones.
type Half<'a> = &'a dyn Fn(&Part<'_>, &mut [f32], &[f32]) -> Result<()>;

/// The chosen rows of one side.
struct Chosen<'a> {
    matrix: &'a Csr,
    chosen: &'a [u32],
    factors: usize,
    half: Half<'a>,
    control: &'a Control,
}

impl Chosen<'_> {
    /// Solves them among all padded rows, from the `fixed` ones.
    fn solve(&self, rows: &mut [f32], fixed: &[f32]) -> Result<()> {
        let Self { matrix, chosen, factors, half, control } = *self;
        let width = factors.next_multiple_of(16);
        let mut budget = Budget::new(control, TRAINING);
        let mut pace = Pace::new(control);
        let mut offsets = budget.with_capacity(chosen.len() + 1)?;
        let mut entries = 0;
        offsets.push(entries);
        let mut own = Buffer::zeros(TRAINING, chosen.len() * width, control)?;
        for (to, &row) in own.chunks_exact_mut(width).zip(chosen) {
            pace.step(width)?;
            entries += matrix.row(row as usize).0.len() as u64;
            offsets.push(entries);
            to.copy_from_slice(&rows[row as usize * width..][..width]);
        }
        control.start(entries);
        half(&Part { matrix, chosen: Some(chosen), offsets: &offsets }, &mut own, fixed)?;
        if !finite(&own, control)? {
            return Err(DIVERGED);
        }
        for (from, &row) in own.chunks_exact(width).zip(chosen) {
            pace.step(width)?;
            rows[row as usize * width..][..width].copy_from_slice(from);
        }
        Ok(())
    }
}
