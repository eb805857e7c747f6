//! A model that follows a few changes: what they touch is solved again, everything else stays.

use crate::aligned::Buffer;
use crate::budget::{Budget, TRAINING};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::interactions::Pace;
use crate::simd::level;

use super::{Factors, Params, Part, Training, check_shapes, widen};

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
    of_users.some(user_items, users, (&mut wide_users, &mut user_rows), &wide_items)?;
    of_items.some(item_users, items, (&mut wide_items, &mut item_rows), &wide_users)?;
    of_users.some(user_items, users, (&mut wide_users, &mut user_rows), &wide_items)?;
    Ok(Factors { factors, users: user_rows, items: item_rows })
}

impl Training<'_> {
    /// Solves the chosen ones of `rows`, padded and as they are, from the `fixed` ones.
    fn some(
        &self,
        matrix: &Csr,
        chosen: &[u32],
        (wide, rows): (&mut [f32], &mut [f32]),
        fixed: &[f32],
    ) -> Result<()> {
        let (control, factors) = (self.control, self.params.factors);
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
            to.copy_from_slice(&wide[row as usize * width..][..width]);
        }
        control.start(entries);
        let diverged = Error::Diverged { iterations: 0 };
        self.half(&Part { matrix, chosen: Some(chosen), offsets: &offsets }, &mut own, fixed, &diverged)?;
        if !self.finite(&own)? {
            return Err(diverged);
        }
        for (from, &row) in own.chunks_exact(width).zip(chosen) {
            pace.step(width)?;
            wide[row as usize * width..][..width].copy_from_slice(from);
            rows[row as usize * factors..][..factors].copy_from_slice(&from[..factors]);
        }
        Ok(())
    }
}
