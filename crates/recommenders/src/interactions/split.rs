//! Holding out entries to measure a model by. What is chosen depends on ids and seed alone, so it stays the same
//! in whatever order rows arrive and however many other users join.

use std::collections::BinaryHeap;

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::ids::IdsRef;
use base::pace::Pace;

use super::Interactions;
use super::counting;
use crate::tasks::HOLDOUT;

/// Entries handled between two looks at the control: about 1 ms, and 3 ms where they are selected.
const PIECE: usize = 1 << 16;

/// Which entries of a sampled user are held out: a tenth, at least one and never all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holdout {
    /// The newest; of equal times those with the larger item.
    Time,
    /// Those with the smallest hash of user, item and seed.
    Hash,
    /// A fifth of the entries of users whom the training part does not have at all, chosen as by `Hash`: strong
    /// generalization (Marlin 2004; Liang, Krishnan, Hoffman and Jebara, WWW 2018). At most a tenth of the users, of those
    /// with at most [`LONGEST_NEW`] entries.
    User,
}

/// The most entries of a user who is kept out of the fit: folding one in is not interrupted.
pub const LONGEST_NEW: usize = 10_000;

/// Interactions with a part held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// `user_items` without the held-out entries, of the same shape.
    pub train: Csr,
    /// The sampled users, rising. Each has at least one entry in `train` or `known` and one in `held_out`.
    pub users: Vec<u32>,
    /// One row per sampled user, one column per item.
    pub held_out: Csr,
    /// What else is known of the sampled users, where `train` has nothing of them: rows as those of `held_out`.
    pub known: Option<Csr>,
}

impl Split {
    /// Memory held, all of which is taken from the control that was given to [`split`].
    pub fn bytes(&self) -> u64 {
        let known = self.known.as_ref().map_or(0, Csr::bytes);
        self.train.bytes() + self.held_out.bytes() + known + self.users.len() as u64 * 4
    }

    /// What is known of a sampled user, by its position among those.
    pub fn known_of(&self, position: usize) -> (&[u32], &[f32]) {
        match &self.known {
            Some(known) => known.row(position),
            None => self.train.row(self.users[position] as usize),
        }
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
    let mut budget = Budget::new(control, HOLDOUT);
    let users = sample(from, holdout, seed, max_users, &mut budget)?;
    let held = |entries: usize| match holdout {
        Holdout::User => (entries / 5).max(1),
        Holdout::Time | Holdout::Hash => held(entries),
    };
    let entries = |user: &u32| from.user_items.row(*user as usize).0.len();
    let held_entries = users.iter().map(|user| held(entries(user))).sum();
    let mut held_out = matrix(users.len(), held_entries, &mut budget)?;
    let mut known = None;
    let mut trained = from.user_items.entries() - held_entries;
    if holdout == Holdout::User {
        let others = users.iter().map(entries).sum::<usize>() - held_entries;
        known = Some(matrix(users.len(), others, &mut budget)?);
        trained -= others;
    }
    let mut train = matrix(from.user_items.rows(), trained, &mut budget)?;
    let mut order = Vec::new();
    let mut chosen = Vec::new();
    let mut sampled = users.iter().peekable();
    let mut pace = Pace::new(control);
    for user in 0..from.user_items.rows() {
        let (indices, values) = from.user_items.row(user);
        pace.step(1)?;
        if sampled.next_if(|&&next| next as usize == user).is_none() {
            for (indices, values) in indices.chunks(PIECE).zip(values.chunks(PIECE)) {
                pace.step(indices.len())?;
                train.indices.extend_from_slice(indices);
                train.values.extend_from_slice(values);
            }
        } else {
            order.clear();
            budget.reserve(&mut order, indices.len())?;
            budget.reserve(&mut chosen, indices.len())?;
            rank(from, holdout, seed, user, (&mut order, held(indices.len())), &mut pace)?;
            chosen.resize(indices.len(), false);
            for piece in order[..held(indices.len())].chunks(PIECE) {
                pace.step(piece.len())?;
                for &(_, entry) in piece {
                    chosen[entry as usize] = true;
                }
            }
            let entries = indices.chunks(PIECE).zip(values.chunks(PIECE)).zip(chosen.chunks(PIECE));
            for ((indices, values), chosen) in entries {
                pace.step(indices.len())?;
                for ((&index, &value), &out) in indices.iter().zip(values).zip(chosen) {
                    let to = if out { &mut held_out } else { known.as_mut().unwrap_or(&mut train) };
                    to.indices.push(index);
                    to.values.push(value);
                }
            }
            held_out.offsets.push(held_out.indices.len() as u64);
            if let Some(known) = &mut known {
                known.offsets.push(known.indices.len() as u64);
            }
            chosen.clear();
        }
        train.offsets.push(train.indices.len() as u64);
    }
    budget.free(order);
    budget.free(chosen);
    let split = Split { train, users, held_out, known };
    budget.keep(split.bytes());
    Ok(split)
}

/// The time of each entry of the training part; nothing where the rows have no times. Their bytes stay taken from
/// `control`. `Error::Memory`, `Error::NoMemory`, `Error::Cancelled`.
pub fn train_times(from: &Interactions, split: &Split, control: &Control) -> Result<Option<Vec<i64>>> {
    let Some(times) = &from.times else { return Ok(None) };
    let mut budget = Budget::new(control, HOLDOUT);
    let mut kept = budget.with_capacity(split.train.entries())?;
    let mut pace = Pace::new(control);
    for user in 0..from.user_items.rows() {
        let (all, start) = (from.user_items.row(user).0, from.user_items.offsets[user] as usize);
        let mut train = split.train.row(user).0.iter().peekable();
        pace.step(1)?;
        for (items, times) in all.chunks(PIECE).zip(times[start..start + all.len()].chunks(PIECE)) {
            pace.step(items.len())?;
            // Both rise, and the training part has nothing else.
            kept.extend(
                items
                    .iter()
                    .zip(times)
                    .filter(|&(item, _)| train.next_if_eq(&item).is_some())
                    .map(|(_, &time)| time),
            );
        }
    }
    budget.keep(kept.len() as u64 * 8);
    Ok(Some(kept))
}

/// The transpose of a matrix of `columns` columns, on up to `threads` threads; the same as [`Csr::transpose`]. Its
/// bytes stay taken from `control`. `Error::Memory`, `Error::Cancelled`.
pub fn transpose(matrix: &Csr, columns: usize, threads: usize, control: &Control) -> Result<Csr> {
    let mut budget = Budget::new(control, HOLDOUT);
    let transposed = counting::transpose(matrix, columns, threads, &mut budget)?;
    budget.keep(transposed.bytes());
    Ok(transposed)
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
fn sample(
    from: &Interactions,
    holdout: Holdout,
    seed: u64,
    max_users: usize,
    budget: &mut Budget<'_>,
) -> Result<Vec<u32>> {
    let ids = from.users.view();
    let most = match holdout {
        Holdout::User => max_users.min(ids.len().div_ceil(10)),
        Holdout::Time | Holdout::Hash => max_users.min(ids.len()),
    };
    let longest = if holdout == Holdout::User { LONGEST_NEW } else { usize::MAX };
    // The greatest of the smallest is on top; one more slot, because it is pushed before one is popped.
    let mut smallest = BinaryHeap::from(budget.with_capacity::<(u64, u32)>(most + 1)?);
    let mut pace = Pace::new(budget.control());
    for user in 0..from.user_items.rows() {
        pace.step(1)?;
        if !(2..=longest).contains(&from.user_items.row(user).0.len()) {
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
fn rank(
    from: &Interactions,
    holdout: Holdout,
    seed: u64,
    user: usize,
    (order, count): (&mut Vec<Entry>, usize),
    pace: &mut Pace<'_>,
) -> Result<()> {
    let start = from.user_items.offsets[user] as usize;
    let indices = from.user_items.row(user).0;
    match (holdout, &from.times) {
        (Holdout::Time, Some(times)) => {
            for (n, &time) in times[start..start + indices.len()].iter().enumerate() {
                pace.step(1)?;
                order.push((time, n as u32));
            }
            select(order, count, |a, b| a > b, pace)
        }
        _ => {
            let user = hash(from.users.view(), user, seed);
            for (n, &item) in indices.iter().enumerate() {
                pace.step(1)?;
                // Signed with the sign bit turned over: in the order of the unsigned hashes.
                let key = (hash(from.items.view(), item as usize, user) ^ 1 << 63) as i64;
                order.push((key, n as u32));
            }
            select(order, count, |a, b| a < b, pace)
        }
    }
}

/// A key and the position of an entry in its row.
type Entry = (i64, u32);

/// Moves the first `count` of the order to the front, in linear time. Entries are distinct. The library selects what
/// fits between two looks at the control; what is longer is divided before, at the middle of a sample.
fn select(
    mut entries: &mut [Entry],
    mut count: usize,
    before: impl Fn(&Entry, &Entry) -> bool + Copy,
    pace: &mut Pace<'_>,
) -> Result<()> {
    const SAMPLE: usize = 101;
    let order = |a: &Entry, b: &Entry| before(b, a).cmp(&before(a, b));
    while entries.len() > PIECE {
        let mut sample = [(0, 0); SAMPLE];
        for (n, each) in sample.iter_mut().enumerate() {
            *each = entries[n * (entries.len() / SAMPLE)];
        }
        sample.sort_unstable_by(order);
        // Neither the first nor the last of the order: both sides get something.
        let middle = sample[SAMPLE / 2];
        let mut left = 0;
        for at in 0..entries.len() {
            pace.step(1)?;
            let goes_left = before(&entries[at], &middle);
            entries.swap(left, at);
            left += usize::from(goes_left);
        }
        if count <= left {
            entries = &mut entries[..left];
        } else {
            entries = &mut entries[left..];
            count -= left;
        }
    }
    if count < entries.len() {
        pace.step(entries.len())?;
        entries.select_nth_unstable_by(count, order);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_is_selected_as_a_sort_would() {
        let control = Control::unlimited();
        let mut pace = Pace::new(&control);
        for len in [1, 2, 1000, PIECE, PIECE + 1, 5 * PIECE + 3] {
            for same in [1, 7, 1 << 40] {
                // Many equal keys, so that positions decide.
                let key = |n: usize| ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 / same;
                let entries: Vec<Entry> = (0..len).map(|n| (key(n), n as u32)).collect();
                let mut sorted = entries.clone();
                sorted.sort_unstable();
                for count in [len / 10, len / 2, len - 1, len] {
                    let mut rising = entries.clone();
                    assert_eq!(select(&mut rising, count, |a, b| a < b, &mut pace), Ok(()));
                    rising[..count].sort_unstable();
                    assert!(rising[..count] == sorted[..count], "{len} {same} {count}");
                    let mut falling = entries.clone();
                    assert_eq!(select(&mut falling, count, |a, b| a > b, &mut pace), Ok(()));
                    falling[..count].sort_unstable();
                    assert!(falling[..count] == sorted[len - count..], "{len} {same} {count}");
                }
            }
        }
    }
}
