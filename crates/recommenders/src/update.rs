//! A model's interactions brought up to date: the rows of some users are read again, those of all others are what the
//! image holds. What comes out is what reading everything would give, and what differs from before.

use std::cmp::Ordering;

use base::budget::{Budget, READING, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::ids::{IdRef, Ids, IdsRef};
use base::pace::Pace;

use crate::factors::Factors;
use crate::interactions::{Interactions, transpose};
use crate::recommender::Recommender;
use crate::sgd::{Squares, WarmStart};

/// In place of a row that was not there before.
pub const NOWHERE: u32 = u32::MAX;

/// The interactions of now, and what differs from those of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Without times; `rows` counts entries.
    pub interactions: Interactions,
    /// The row of each user in the image, or [`NOWHERE`].
    pub users_before: Vec<u32>,
    /// The row of each item in the image, or [`NOWHERE`].
    pub items_before: Vec<u32>,
    /// Users whose entries differ, rising.
    pub users: Vec<u32>,
    /// Items that these users have or had, and those of users who are gone, rising.
    pub items: Vec<u32>,
    /// Whether anything differs.
    pub changed: bool,
}

impl Merged {
    /// Whether a user had an entry in the image that is gone.
    fn has_lost(&self, model: &Recommender<'_>, user: usize) -> bool {
        let before = self.users_before[user];
        let was = if before == NOWHERE { &[] } else { model.seen(before) };
        let mut now =
            self.interactions.user_items.row(user).0.iter().map(|&item| self.items_before[item as usize]);
        // Both rise, but for items that are new.
        !was.iter().all(|&item| now.any(|each| each == item))
    }

    /// Memory held, all of which is taken from the control.
    pub fn bytes(&self) -> u64 {
        let lists = [&self.users_before, &self.items_before, &self.users, &self.items];
        self.interactions.bytes() + lists.iter().map(|list| list.len() as u64 * 4).sum::<u64>()
    }
}

/// Puts the entries of `fresh` in place of those that the users of `again` (sorted) have in the image. A user of `again`
/// without entries in `fresh` is gone, and so is an item that nobody has any more; new ones join in the order of their ids.
/// Users and items that follow from features alone are left out: [`crate::content::place`] adds those of now.
///
/// Errors: `Corrupted` for a damaged image or one without values, `Memory`, `NoMemory`, `Cancelled`. [`Merged::bytes`] stay
/// taken from `control`.
pub fn merge(
    model: &Recommender<'_>,
    again: IdsRef<'_>,
    fresh: &Interactions,
    threads: usize,
    control: &Control,
) -> Result<Merged> {
    let mut budget = Budget::new(control, READING);
    let mut pace = Pace::new(control);
    let (old_users, old_items) = (model.users.len(), model.items.len());

    let mut replaced = budget.zeroed::<u8>(old_users)?;
    for at in 0..again.len() as u32 {
        pace.step(64)?;
        if let Some(row) = again.get(at).and_then(|id| model.users.find(id)) {
            replaced[row as usize] = 1;
        }
    }
    let mut held = budget.zeroed::<u8>(old_items)?;
    let (mut entries, mut gone) = (fresh.user_items.entries(), false);
    for user in 0..old_users as u32 {
        let items = model.seen(user);
        pace.step(items.len() + 1)?;
        if replaced[user as usize] == 0 {
            entries += items.len();
            for &item in items {
                *held.get_mut(item as usize).ok_or(Error::Corrupted("an item out of range"))? = 1;
            }
        }
    }
    let stays = |row: u32| replaced[row as usize] == 0 && !model.is_content_user(row);
    let users = union(model.users, &stays, fresh.users.view(), &mut budget)?;
    let items = union(model.items, &|row| held[row as usize] == 1, fresh.items.view(), &mut budget)?;
    budget.free(held);

    let now = Rows { items: items.of_old(old_items, &mut budget)?, fresh: items.of_new(fresh, &mut budget)? };
    let user_items = now.user_items(model, fresh, &users, entries, &mut budget)?;
    let mut touched = budget.zeroed::<u8>(items.ids.len())?;
    let mut changed = budget.with_capacity::<u32>(fresh.users.len())?;
    for (user, (&before, &row)) in users.before.iter().zip(&users.new).enumerate() {
        pace.step(1)?;
        if row == NOWHERE {
            continue;
        }
        if before != NOWHERE {
            replaced[before as usize] = 0;
        }
        let (indices, values) = user_items.row(user);
        let (was, had) = if before == NOWHERE { (&[][..], None) } else { model.entries_of(before) };
        pace.step(indices.len() + was.len())?;
        if now.same((indices, values), (was, had)) {
            continue;
        }
        changed.push(user as u32);
        indices.iter().for_each(|&item| touched[item as usize] = 1);
        now.touch(was, &mut touched);
    }
    // Whoever was read again and has nothing any more.
    for user in 0..old_users as u32 {
        pace.step(1)?;
        if replaced[user as usize] == 1 {
            gone = true;
            now.touch(model.seen(user), &mut touched);
        }
    }
    budget.free(replaced);
    let count = touched.iter().filter(|&&each| each == 1).count();
    let mut differing = budget.with_capacity::<u32>(count)?;
    differing.extend((0..).zip(&touched).filter(|&(_, &each)| each == 1).map(|(item, _)| item));
    budget.free(touched);
    now.free(&mut budget);

    let item_users = transpose(&user_items, items.ids.len(), threads, control)?;
    budget.adopt(item_users.bytes());
    let rows = user_items.entries() as u64;
    let merged = Merged {
        changed: gone || !changed.is_empty(),
        users_before: users.before,
        items_before: items.before,
        users: changed,
        items: differing,
        interactions: Interactions {
            users: users.ids,
            items: items.ids,
            user_items,
            item_users,
            times: None,
            rows,
        },
    };
    budget.keep(merged.bytes());
    Ok(merged)
}

/// The factors of a model in their places of now, of ratings without the biases; zeros for who and what is new. Nothing for
/// a model without factors.
/// Errors: `Memory`, `NoMemory`, `Cancelled`; [`Factors::bytes`] stay taken from `control`.
pub fn moved(model: &Recommender<'_>, merged: &Merged, control: &Control) -> Result<Option<Factors>> {
    let factors = (model.facts.factors as usize).saturating_sub(usize::from(model.rates()));
    if factors == 0 {
        return Ok(None);
    }
    let mut budget = Budget::new(control, TRAINING);
    let users =
        place(&merged.users_before, factors, |row| model.user_parts(row).map(|of| of.0), &mut budget)?;
    let items =
        place(&merged.items_before, factors, |row| model.item_parts(row).map(|of| of.0), &mut budget)?;
    let moved = Factors { factors, users, items };
    budget.keep(moved.bytes());
    Ok(Some(moved))
}

/// The same for a training by stochastic gradients, with what its optimizer has summed up. Who has lost entries gets zeros,
/// too: steps from where those had led would never quite leave it. Nothing for a model that does not hold it. Errors as
/// [`moved`]; [`WarmStart::bytes`] stay taken.
pub fn moved_with_squares(
    model: &Recommender<'_>,
    merged: &Merged,
    control: &Control,
) -> Result<Option<WarmStart>> {
    let Some([users, items]) = model.squares() else { return Ok(None) };
    let Some(mut factors) = moved(model, merged, control)? else { return Ok(None) };
    let mut budget = Budget::new(control, TRAINING);
    budget.adopt(factors.bytes());
    fn of<'a>(squares: &'a [f32]) -> impl Fn(u32) -> Option<&'a [f32]> {
        |row| squares.get(row as usize).map(std::slice::from_ref)
    }
    let mut users = place(&merged.users_before, 1, of(users), &mut budget)?;
    let items = place(&merged.items_before, 1, of(items), &mut budget)?;
    let mut pace = Pace::new(control);
    for user in merged.users.iter().map(|&user| user as usize) {
        pace.step(merged.interactions.user_items.row(user).0.len() + 1)?;
        if merged.has_lost(model, user) {
            users[user] = 0.0;
            factors.users[user * factors.factors..][..factors.factors].fill(0.0);
        }
    }
    let warm = WarmStart { factors, squares: Squares { users, items } };
    budget.keep(warm.bytes());
    Ok(Some(warm))
}

/// Whether interactions and factors are those of a model, to the bit.
/// Errors: `Cancelled`.
pub fn same(
    model: &Recommender<'_>,
    interactions: &Interactions,
    factors: &Factors,
    control: &Control,
) -> Result<bool> {
    if (model.users, model.items) != (interactions.users.view(), interactions.items.view()) {
        return Ok(false);
    }
    let mut pace = Pace::new(control);
    for (rows, users) in [(&factors.users, true), (&factors.items, false)] {
        for (at, own) in (0..).zip(rows.chunks_exact(factors.factors)) {
            pace.step(factors.factors)?;
            let was = if users { model.user_factors(at) } else { model.item_factors(at) };
            if was != Some(own) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The rows of before in their places of now.
fn place<'a>(
    before: &[u32],
    factors: usize,
    row: impl Fn(u32) -> Option<&'a [f32]>,
    budget: &mut Budget<'_>,
) -> Result<Vec<f32>> {
    let mut rows = budget.zeroed::<f32>(before.len() * factors)?;
    let mut pace = Pace::new(budget.control());
    for (to, &before) in rows.chunks_exact_mut(factors).zip(before) {
        pace.step(factors)?;
        if let Some(from) = Some(before).filter(|&before| before != NOWHERE).and_then(&row) {
            to.copy_from_slice(from);
        }
    }
    Ok(rows)
}

/// Two dictionaries as one.
struct Union {
    ids: Ids,
    /// The place of each id in the old one, or [`NOWHERE`].
    before: Vec<u32>,
    /// The same in the new one.
    new: Vec<u32>,
}

fn union(
    old: IdsRef<'_>,
    keep: &dyn Fn(u32) -> bool,
    new: IdsRef<'_>,
    budget: &mut Budget<'_>,
) -> Result<Union> {
    let most = old.len() + new.len();
    let mut ids = match (old, new) {
        (IdsRef::Integer(_), IdsRef::Integer(_)) => Ids::Integer(budget.with_capacity(most)?),
        (IdsRef::Fixed16(_), IdsRef::Fixed16(_)) => Ids::Fixed16(budget.with_capacity(most)?),
        (IdsRef::Bytes { bytes: a, .. }, IdsRef::Bytes { bytes: b, .. }) => {
            let mut offsets = budget.with_capacity(most + 1)?;
            offsets.push(0);
            Ids::Bytes { offsets, bytes: budget.with_capacity(a.len() + b.len())? }
        }
        _ => return Err(Error::Corrupted("ids of another kind")),
    };
    let (mut before, mut again) = (budget.with_capacity(most)?, budget.with_capacity(most)?);
    let mut pace = Pace::new(budget.control());
    let (mut at, mut at_new) = (0, 0);
    loop {
        pace.step(1)?;
        let (id, was, is) = match (old.get(at), new.get(at_new)) {
            (None, None) => break,
            (Some(a), None) => (a, at, NOWHERE),
            (None, Some(b)) => (b, NOWHERE, at_new),
            (Some(a), Some(b)) => match order(a, b) {
                Ordering::Less => (a, at, NOWHERE),
                Ordering::Greater => (b, NOWHERE, at_new),
                Ordering::Equal => (b, at, at_new),
            },
        };
        at += u32::from(was != NOWHERE);
        at_new += u32::from(is != NOWHERE);
        if is == NOWHERE && !keep(was) {
            continue;
        }
        match (&mut ids, id) {
            (Ids::Integer(ids), IdRef::Integer(id)) => ids.push(id),
            (Ids::Fixed16(ids), IdRef::Fixed16(id)) => ids.push(*id),
            (Ids::Bytes { offsets, bytes }, IdRef::Bytes(id)) => {
                bytes.extend_from_slice(id);
                offsets.push(bytes.len() as u64);
            }
            _ => return Err(Error::Corrupted("ids of another kind")),
        }
        before.push(was);
        again.push(is);
    }
    Ok(Union { ids, before, new: again })
}

/// As dictionaries are sorted: integers by value, the rest by bytes.
fn order(a: IdRef<'_>, b: IdRef<'_>) -> Ordering {
    match (a, b) {
        (IdRef::Integer(a), IdRef::Integer(b)) => a.cmp(&b),
        (IdRef::Fixed16(a), IdRef::Fixed16(b)) => a.cmp(b),
        (IdRef::Bytes(a), IdRef::Bytes(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

impl Union {
    /// Where each of so many old rows is now.
    fn of_old(&self, old: usize, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
        inverse(&self.before, old, budget)
    }

    /// Where each item of the new rows is now.
    fn of_new(&self, fresh: &Interactions, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
        inverse(&self.new, fresh.items.len(), budget)
    }
}

fn inverse(places: &[u32], len: usize, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let mut inverse = budget.with_capacity(len)?;
    inverse.resize(len, NOWHERE);
    let mut pace = Pace::new(budget.control());
    for (now, &was) in (0..).zip(places) {
        pace.step(1)?;
        if was != NOWHERE {
            inverse[was as usize] = now;
        }
    }
    Ok(inverse)
}

/// Where items are now: those of the image, and those of the rows that were read again.
struct Rows {
    items: Vec<u32>,
    fresh: Vec<u32>,
}

impl Rows {
    fn user_items(
        &self,
        model: &Recommender<'_>,
        fresh: &Interactions,
        users: &Union,
        entries: usize,
        budget: &mut Budget<'_>,
    ) -> Result<Csr> {
        let mut matrix = Csr {
            offsets: budget.with_capacity(users.ids.len() + 1)?,
            indices: budget.with_capacity(entries)?,
            values: budget.with_capacity(entries)?,
        };
        matrix.offsets.push(0);
        let mut pace = Pace::new(budget.control());
        for (&before, &row) in users.before.iter().zip(&users.new) {
            // Both maps rise, so the items of a row stay in order.
            if row == NOWHERE {
                let (items, values) = model.entries_of(before);
                pace.step(items.len() + 1)?;
                matrix.indices.extend(items.iter().map(|&item| self.items[item as usize]));
                match values {
                    Some(values) => matrix.values.extend_from_slice(values),
                    None => matrix.values.extend(items.iter().map(|_| 1.0)),
                }
            } else {
                let (items, values) = fresh.user_items.row(row as usize);
                pace.step(items.len() + 1)?;
                matrix.indices.extend(items.iter().map(|&item| self.fresh[item as usize]));
                matrix.values.extend_from_slice(values);
            }
            matrix.offsets.push(matrix.indices.len() as u64);
        }
        Ok(matrix)
    }

    /// Whether a row of now is what it was.
    fn same(&self, (items, values): (&[u32], &[f32]), (was, had): (&[u32], Option<&[f32]>)) -> bool {
        items.len() == was.len()
            && items.iter().zip(was).all(|(item, &was)| self.items.get(was as usize) == Some(item))
            && match had {
                Some(had) => values == had,
                None => values.iter().all(|&value| value == 1.0),
            }
    }

    /// Marks items of the image that are still there.
    fn touch(&self, was: &[u32], touched: &mut [u8]) {
        for &item in was {
            if let Some(&now) = self.items.get(item as usize).filter(|&&now| now != NOWHERE) {
                touched[now as usize] = 1;
            }
        }
    }

    fn free(self, budget: &mut Budget<'_>) {
        budget.free(self.items);
        budget.free(self.fresh);
    }
}
