//! A model that follows a few changes: what they touch is solved again, everything else stays.

use crate::aligned::Buffer;
use crate::budget::{Budget, TRAINING};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::interactions::Pace;
use crate::simd::level;

use super::{Factors, Params, Training, check_shapes, narrow, widen};

/// Entries copied between two looks at the control: 1 ms where the memory is new.
const PIECE: usize = 1 << 16;

/// Steps for users, of whom there are few: somebody new begins at zero.
const USER_STEPS: usize = 10;

/// Solves `users` from the items, `items` from all their users, and `users` again: one iteration on the part of the
/// matrices that changed. `warm` are the factors of before, zeros for users and items that are new. The result is the same
/// to the bit for every number of threads.
///
/// Memory beside the factors: an aligned copy of them and of the rows that are solved. Errors as [`super::fit`].
pub fn refine(
    user_items: &Csr,
    item_users: &Csr,
    warm: Factors,
    (users, items): (&[u32], &[u32]),
    params: &Params,
    control: &Control,
) -> Result<Factors> {
    params.check()?;
    let Factors { factors, users: mut user_rows, items: mut item_rows } = warm;
    check_shapes(user_items, item_users, (&user_rows, &item_rows), [factors, params.factors], control)?;
    let thorough = Params { cg_steps: params.cg_steps.max(USER_STEPS), ..params.clone() };
    let level = level();
    let of_users = Training { level, user_items, item_users, params: &thorough, control };
    let of_items = Training { level, user_items, item_users, params, control };
    let mut wide_users = widen(&user_rows, factors, control)?;
    let mut wide_items = widen(&item_rows, factors, control)?;
    of_users.some(user_items, users, &mut wide_users, &wide_items)?;
    of_items.some(item_users, items, &mut wide_items, &wide_users)?;
    of_users.some(user_items, users, &mut wide_users, &wide_items)?;
    narrow(&wide_users, &mut user_rows, factors, control)?;
    narrow(&wide_items, &mut item_rows, factors, control)?;
    Ok(Factors { factors, users: user_rows, items: item_rows })
}

impl Training<'_> {
    /// Solves the chosen ones of `rows` from the `fixed` ones.
    fn some(&self, matrix: &Csr, chosen: &[u32], rows: &mut [f32], fixed: &[f32]) -> Result<()> {
        let (control, width) = (self.control, self.params.factors.next_multiple_of(16));
        let mut budget = Budget::new(control, TRAINING);
        let mut pace = Pace::new(control);
        let lengths = chosen.iter().map(|&row| matrix.row(row as usize).0.len());
        let entries = lengths.sum();
        let mut part = Csr {
            offsets: budget.with_capacity(chosen.len() + 1)?,
            indices: budget.with_capacity(entries)?,
            values: budget.with_capacity(entries)?,
        };
        part.offsets.push(0);
        let mut own = Buffer::zeros(TRAINING, chosen.len() * width, control)?;
        for (to, &row) in own.chunks_exact_mut(width).zip(chosen) {
            let (indices, values) = matrix.row(row as usize);
            pace.step(width)?;
            for (indices, values) in indices.chunks(PIECE).zip(values.chunks(PIECE)) {
                pace.step(indices.len())?;
                part.indices.extend_from_slice(indices);
                part.values.extend_from_slice(values);
            }
            part.offsets.push(part.indices.len() as u64);
            to.copy_from_slice(&rows[row as usize * width..][..width]);
        }
        control.start(entries as u64);
        let diverged = Error::Diverged { iterations: 0 };
        self.half(&part, &mut own, fixed, &diverged)?;
        if !self.finite(&own)? {
            return Err(diverged);
        }
        for (from, &row) in own.chunks_exact(width).zip(chosen) {
            pace.step(width)?;
            rows[row as usize * width..][..width].copy_from_slice(from);
        }
        Ok(())
    }
}
