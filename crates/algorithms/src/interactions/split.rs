//! Holding out entries to measure a model by. What is chosen depends on ids and seed alone, so it stays the same
//! in whatever order rows arrive and however many other users join.

use std::collections::BinaryHeap;

use super::counting::Pace;
use super::{Interactions, bytes};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::ids::{Budget, IdsRef};

/// Which entries of a sampled user are held out: a tenth, at least one and never all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holdout {
    /// The newest; of equal times those with the larger item.
    Time,
    /// Those with the smallest hash of user, item and seed.
    Hash,
}

/// Interactions with a part held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// `user_items` without the held-out entries, of the same shape.
    pub train: Csr,
    /// The sampled users, rising. Each has at least one entry in `train` and one in `held_out`.
    pub users: Vec<u32>,
    /// One row per sampled user, one column per item.
    pub held_out: Csr,
}

impl Split {
    /// Memory held, all of which is taken from the control that was given to [`split`].
    pub fn bytes(&self) -> u64 {
        bytes(&self.train) + bytes(&self.held_out) + self.users.len() as u64 * 4
    }
}

/// Holds out entries of at most `max_users` users: of those with at least two entries, the ones with the smallest
/// hash of id and `seed`.
///
/// `Error::Parameter` for [`Holdout::Time`] without times, `Error::Memory`, `Error::Cancelled`.
/// [`Split::bytes`] stay taken from `control`.
pub fn split(
    from: &Interactions,
    holdout: Holdout,
    seed: u64,
    max_users: usize,
    control: &Control,
) -> Result<Split> {
    if holdout == Holdout::Time && from.times.is_none() {
        return Err(Error::Parameter {
            name: "holdout",
            expected: "hash where the rows have no time".into(),
            got: "time".into(),
        });
    }
    let mut budget = Budget::new(control);
    let users = sample(from, seed, max_users, &mut budget)?;
    let held_entries = users.iter().map(|&user| held(from.user_items.row(user as usize).0.len())).sum();
    let mut held_out = matrix(users.len(), held_entries, &mut budget)?;
    let mut train = matrix(from.user_items.rows(), from.user_items.entries() - held_entries, &mut budget)?;
    let mut order = Vec::new();
    let mut chosen = Vec::new();
    let mut sampled = users.iter().peekable();
    let mut pace = Pace::new(control);
    for user in 0..from.user_items.rows() {
        let (indices, values) = from.user_items.row(user);
        pace.step(indices.len() + 1)?;
        if sampled.next_if(|&&next| next as usize == user).is_none() {
            train.indices.extend_from_slice(indices);
            train.values.extend_from_slice(values);
        } else {
            order.clear();
            budget.reserve(&mut order, indices.len())?;
            budget.reserve(&mut chosen, indices.len())?;
            rank(from, holdout, seed, user, &mut order);
            chosen.resize(indices.len(), false);
            for &(_, entry) in &order[..held(indices.len())] {
                chosen[entry as usize] = true;
            }
            for ((&index, &value), &out) in indices.iter().zip(values).zip(&chosen) {
                let to = if out { &mut held_out } else { &mut train };
                to.indices.push(index);
                to.values.push(value);
            }
            held_out.offsets.push(held_out.indices.len() as u64);
            chosen.clear();
        }
        train.offsets.push(train.indices.len() as u64);
    }
    budget.free(order);
    budget.free(chosen);
    let split = Split { train, users, held_out };
    budget.keep(split.bytes());
    Ok(split)
}

/// Entries held out of so many: a tenth, at least one; fewer than all from two entries on.
fn held(entries: usize) -> usize {
    (entries / 10).max(1)
}

fn matrix(rows: usize, entries: usize, budget: &mut Budget<'_>) -> Result<Csr> {
    let mut offsets = budget.with_capacity(rows + 1)?;
    offsets.push(0);
    Ok(Csr { offsets, indices: budget.with_capacity(entries)?, values: budget.with_capacity(entries)? })
}

fn hash(ids: IdsRef<'_>, position: usize, seed: u64) -> u64 {
    ids.get(position as u32).map_or(0, |id| id.stable_hash(seed))
}

/// The users with the smallest hashes, rising.
fn sample(from: &Interactions, seed: u64, max_users: usize, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let ids = from.users.view();
    let most = max_users.min(ids.len());
    // The greatest of the smallest is on top; one more slot, because it is pushed before one is popped.
    let mut smallest = BinaryHeap::from(budget.with_capacity::<(u64, u32)>(most + 1)?);
    let mut pace = Pace::new(budget.control());
    for user in 0..from.user_items.rows() {
        pace.step(1)?;
        if from.user_items.row(user).0.len() < 2 {
            continue;
        }
        let key = (hash(ids, user, seed), user as u32);
        if smallest.len() < most {
            smallest.push(key);
        } else if smallest.peek().is_some_and(|top| key < *top) {
            smallest.pop();
            smallest.push(key);
        }
    }
    let mut users = budget.with_capacity(smallest.len())?;
    users.extend(smallest.iter().map(|&(_, user)| user));
    users.sort_unstable();
    budget.free(smallest.into_vec());
    Ok(users)
}

/// Fills the empty `order` with the entries of a user, those to hold out first. Keys are distinct, so the choice is.
fn rank(from: &Interactions, holdout: Holdout, seed: u64, user: usize, order: &mut Vec<(i64, u32)>) {
    let start = from.user_items.offsets[user] as usize;
    let indices = from.user_items.row(user).0;
    match (holdout, &from.times) {
        (Holdout::Time, Some(times)) => {
            let times = &times[start..start + indices.len()];
            order.extend(times.iter().enumerate().map(|(n, &time)| (time, n as u32)));
            select(order, held(indices.len()), |a, b| b.cmp(a));
        }
        _ => {
            let user = hash(from.users.view(), user, seed);
            // Signed with the sign bit turned over: in the order of the unsigned hashes.
            let key = |item: u32| (hash(from.items.view(), item as usize, user) ^ 1 << 63) as i64;
            order.extend(indices.iter().enumerate().map(|(n, &item)| (key(item), n as u32)));
            select(order, held(indices.len()), |a, b| a.cmp(b));
        }
    }
}

/// Moves the first `count` of the order to the front, in linear time.
fn select(
    entries: &mut [(i64, u32)],
    count: usize,
    order: impl FnMut(&(i64, u32), &(i64, u32)) -> std::cmp::Ordering,
) {
    if count < entries.len() {
        entries.select_nth_unstable_by(count, order);
    }
}
