//! Ending a training early, by entries that it does not see.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::ids::IdRef;
use base::need::Need;
use base::pace::Pace;

use crate::factors::{Factors, GLANCE};
use crate::interactions::transpose;

use super::{Epoch, Fitted, Params, Validation, fit, need};

/// Users of whom entries are held out, at most: their ranking takes less than an epoch does.
const USERS: usize = 1000;

/// Of so many entries of a user one is held out.
const EACH: usize = 10;

/// As [`fit`], ended by the score of held-out entries: see [`Params::patience`] and [`Params::decay`]. A tenth of the
/// entries, at least one, of at most 1,000 users who have two or more is kept out of the training; which, depends on the
/// seed, the rows and their places alone. Errors: as [`fit`].
pub fn fit_early(
    user_items: &Csr,
    items: usize,
    start: Factors,
    params: &Params,
    control: &Control,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Fitted> {
    let mut budget = Budget::new(control, TRAINING);
    let (train, users, held_out) = hold_out(user_items, params.seed, &mut budget)?;
    let item_users = transpose(&train, items, params.threads, control)?;
    budget.adopt(item_users.bytes());
    let validation = Validation::HeldOut { users: &users, entries: &held_out };
    fit(&train, &item_users, start, params, validation, control, on_epoch)
}

/// What [`fit_early`] takes for so many users, items and entries: the entries are held once more, by both sides.
pub fn need_early(users: usize, items: usize, entries: usize, params: &Params) -> Need {
    let need = need(users, items, entries, params, true);
    Need { peak: need.peak + Csr::bytes_of(users, entries) + Csr::bytes_of(items, entries), ..need }
}

/// The entries to train on, the users of whom some are held out, and those.
fn hold_out(user_items: &Csr, seed: u64, budget: &mut Budget<'_>) -> Result<(Csr, Vec<u32>, Csr)> {
    let mut pace = Pace::new(budget.control());
    let key = |user: u32| IdRef::Integer(user.into()).stable_hash(seed);
    let entries = |user: u32| user_items.row(user as usize).0.len();
    let mut users: Vec<u32> = budget.with_capacity(user_items.rows())?;
    for user in 0..user_items.rows() as u32 {
        pace.step(1)?;
        users.extend((entries(user) > 1).then_some(user));
    }
    if users.len() > USERS {
        users.select_nth_unstable_by_key(USERS - 1, |&user| (key(user), user));
        users.truncate(USERS);
    }
    users.sort_unstable();
    // The first of its held-out entries, and the step to the next.
    let places = |user: u32| {
        let each = EACH.min(entries(user));
        (key(user) as usize % each, each.max(EACH))
    };
    let count = |user: u32| (entries(user) - places(user).0).div_ceil(places(user).1);
    let held: usize = users.iter().map(|&user| count(user)).sum();
    let mut train = empty(user_items.rows(), user_items.entries() - held, budget)?;
    let mut held_out = empty(users.len(), held, budget)?;
    let mut chosen = users.iter().peekable();
    for user in 0..user_items.rows() as u32 {
        let (indices, values) = user_items.row(user as usize);
        pace.step(1)?;
        let places = chosen.next_if_eq(&&user).map(|&user| places(user));
        for (first, (indices, values)) in
            (0..).step_by(GLANCE).zip(indices.chunks(GLANCE).zip(values.chunks(GLANCE)))
        {
            pace.step(indices.len())?;
            for (at, (&item, &value)) in (first..).zip(indices.iter().zip(values)) {
                let is_held = places.is_some_and(|(first, step)| at % step == first % step);
                let to = if is_held { &mut held_out } else { &mut train };
                to.indices.push(item);
                to.values.push(value);
            }
        }
        train.offsets.push(train.indices.len() as u64);
        if places.is_some() {
            held_out.offsets.push(held_out.indices.len() as u64);
        }
    }
    Ok((train, users, held_out))
}

fn empty(rows: usize, entries: usize, budget: &mut Budget<'_>) -> Result<Csr> {
    let mut offsets = budget.with_capacity(rows + 1)?;
    offsets.push(0);
    Ok(Csr { offsets, indices: budget.with_capacity(entries)?, values: budget.with_capacity(entries)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::super::{Loss, start};
    use super::*;

    /// User `u` has items `u`, `u + 2`, … below 60: from 30 items down to 1.
    fn matrix(users: u32) -> Csr {
        let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
        for user in 0..users {
            matrix.indices.extend((user % 59..60).step_by(2));
            matrix.values.resize(matrix.indices.len(), 1.0 + user as f32);
            matrix.offsets.push(matrix.indices.len() as u64);
        }
        matrix
    }

    #[test]
    fn a_tenth_of_a_sample_is_held_out_and_nothing_is_lost() {
        let control = Control::unlimited();
        let matrix = matrix(3000);
        let hold = |seed| hold_out(&matrix, seed, &mut Budget::new(&control, TRAINING)).unwrap();
        let (train, users, held_out) = hold(1);
        assert_eq!(users.len(), USERS);
        assert!(users.is_sorted_by(|a, b| a < b));
        for user in 0..3000u32 {
            let all = matrix.row(user as usize).0;
            let mut found = train.row(user as usize).0.to_vec();
            if let Ok(at) = users.binary_search(&user) {
                let (held, values) = held_out.row(at);
                assert!(values.iter().all(|&value| value == 1.0 + user as f32));
                assert!(!held.is_empty() && held.len() < all.len());
                assert!(
                    all.len() < EACH || (all.len() / EACH..=all.len().div_ceil(EACH)).contains(&held.len())
                );
                found.extend(held);
                found.sort_unstable();
            }
            assert_eq!(found, all);
        }
        assert_eq!(hold(1), (train, users.clone(), held_out));
        assert_ne!(hold(2).1, users);
        assert_eq!(control.used(), 0);
    }

    #[test]
    fn training_ends_where_it_gets_no_better() {
        let control = Control::unlimited();
        let matrix = matrix(300);
        let params =
            Params { factors: 4, iterations: 500, patience: 3, decay: 0.5, seed: 1, ..Params::of(Loss::Bpr) };
        let begin = start(300, 60, &params, &control).unwrap();
        let mut rates = Vec::new();
        let fitted =
            fit_early(&matrix, 60, begin, &params, &control, &mut |epoch| rates.push(epoch.learning_rate))
                .unwrap();
        assert!(fitted.converged && fitted.epochs < 500);
        assert_eq!(fitted.epochs, fitted.best_epoch + 3);
        // Halved after each epoch that was no better: by the last one for the third time in a row, too late to be used.
        assert!(rates.last().unwrap() / rates[0] <= 0.25);
        assert_eq!(control.used(), fitted.bytes());
    }
}
