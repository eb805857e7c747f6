//! Users in parts, each of which is trained by itself: what a part has of the interactions.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::ids::{IdBuilder, IdRef, Ids, IdsRef};
use base::pace::Pace;

/// The number of no part.
pub const NONE: u32 = u32::MAX;

/// Which part each user belongs to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partition {
    /// Names of the parts, rising.
    pub names: Vec<String>,
    /// The part of each user; [`NONE`] for those who are in none.
    pub of_user: Vec<u32>,
}

/// Builds a partition of known users, and of others who have a part but nothing else.
pub struct PartitionBuilder<'a> {
    users: IdsRef<'a>,
    of_user: Vec<u32>,
    others: IdBuilder<'a>,
    of_other: Vec<u32>,
    budget: Budget<'a>,
}

/// Ids that have a part and are no users, in order, and the part of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Others {
    /// Ids.
    pub ids: Ids,
    /// The part of each.
    pub parts: Vec<u32>,
}

impl<'a> PartitionBuilder<'a> {
    /// Of these users, who are in no part yet. Errors: `Memory`, `NoMemory`.
    pub fn new(users: IdsRef<'a>, control: &'a Control) -> Result<Self> {
        let mut budget = Budget::new(control, TRAINING);
        let mut of_user = budget.with_capacity(users.len())?;
        of_user.resize(users.len(), NONE);
        let others = IdBuilder::new(users.kind(), "members", control);
        Ok(Self { users, of_user, others, of_other: Vec::new(), budget })
    }

    /// Puts somebody into a part; false where they are in another one already.
    pub fn put(&mut self, id: IdRef<'_>, part: u32) -> Result<bool> {
        let place = match self.users.find(id) {
            Some(user) => &mut self.of_user[user as usize],
            None => {
                let other = self.others.insert_one(id)? as usize;
                if other == self.of_other.len() {
                    self.budget.reserve(&mut self.of_other, 1)?;
                    self.of_other.push(NONE);
                }
                &mut self.of_other[other]
            }
        };
        let before = std::mem::replace(place, part);
        Ok(before == NONE || before == part)
    }

    /// The partition; `names` are those of the parts by their number so far, and get others in their order. What it holds
    /// stays taken from the control.
    pub fn finish(self, names: Vec<String>) -> Result<(Partition, Others)> {
        let Self { mut of_user, others, mut of_other, mut budget, .. } = self;
        let mut order: Vec<u32> = (0..names.len() as u32).collect();
        order.sort_by(|&a, &b| names[a as usize].cmp(&names[b as usize]));
        let mut place = vec![0; names.len()];
        for (at, &part) in (0..).zip(&order) {
            place[part as usize] = at;
        }
        let mut pace = Pace::new(budget.control());
        for part in of_user.iter_mut().chain(&mut of_other).filter(|part| **part != NONE) {
            pace.step(1)?;
            *part = place[*part as usize];
        }
        let sorted = others.finish()?;
        budget.adopt(sorted.bytes());
        let mut parts = budget.with_capacity(of_other.len())?;
        parts.resize(of_other.len(), NONE);
        for (&part, &to) in of_other.iter().zip(&sorted.permutation) {
            pace.step(1)?;
            parts[to as usize] = part;
        }
        budget.free(of_other);
        budget.give(sorted.permutation.len() as u64 * 4);
        budget.keep((of_user.len() + parts.len()) as u64 * 4 + sorted.ids.bytes());
        let names = order.iter().map(|&part| names[part as usize].clone()).collect();
        Ok((Partition { names, of_user }, Others { ids: sorted.ids, parts }))
    }
}

/// The users of a part and the items that they have, both rising: rows of the whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slice {
    /// Users.
    pub users: Vec<u32>,
    /// Items.
    pub items: Vec<u32>,
}

impl Slice {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        (self.users.len() + self.items.len()) as u64 * 4
    }

    /// The same slice where users and items went to other rows, `users[row]` and `items[row]`, both rising.
    pub fn spread(&mut self, users: Option<&[u32]>, items: Option<&[u32]>) {
        for (rows, to) in [(&mut self.users, users), (&mut self.items, items)] {
            if let Some(to) = to {
                rows.iter_mut().for_each(|row| *row = to[*row as usize]);
            }
        }
    }

    /// The rows of items of the whole as rows of the part, without those that the part does not have. All rise.
    pub fn local<'a>(&'a self, items: &'a [u32]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let at = |(n, item)| self.items.binary_search(item).ok().map(|row| (n, row as u32));
        items.iter().enumerate().filter_map(at)
    }
}

impl Partition {
    /// The same partition where users went to other rows, `trained[row]` of `total`, rising, and the rest joined them.
    pub fn spread(&mut self, trained: &[u32], total: usize) {
        let mut spread = vec![NONE; total];
        for (&to, &part) in trained.iter().zip(&self.of_user) {
            spread[to as usize] = part;
        }
        self.of_user = spread;
    }

    /// The slice of each part. Linear in the interactions. [`Slice::bytes`] stay taken from the control. Errors: `Memory`,
    /// `NoMemory`, `Cancelled`.
    pub fn slices(&self, item_users: &Csr, control: &Control) -> Result<Vec<Slice>> {
        control.check()?;
        let mut budget = Budget::new(control, TRAINING);
        let mut pace = Pace::new(control);
        let mut sizes = vec![(0, 0); self.names.len()];
        for &part in &self.of_user {
            pace.step(1)?;
            if let Some((users, _)) = sizes.get_mut(part as usize) {
                *users += 1;
            }
        }
        self.items(item_users, &mut pace, |part, _| sizes[part].1 += 1)?;
        let mut slices = Vec::with_capacity(sizes.len());
        for (users, items) in sizes {
            slices.push(Slice { users: budget.with_capacity(users)?, items: budget.with_capacity(items)? });
        }
        for (user, &part) in (0..).zip(&self.of_user) {
            pace.step(1)?;
            if let Some(slice) = slices.get_mut(part as usize) {
                slice.users.push(user);
            }
        }
        self.items(item_users, &mut pace, |part, item| slices[part].items.push(item))?;
        budget.keep(slices.iter().map(Slice::bytes).sum());
        Ok(slices)
    }

    /// Each part and item once, by rising items.
    fn items(&self, item_users: &Csr, pace: &mut Pace<'_>, mut each: impl FnMut(usize, u32)) -> Result<()> {
        let mut last = vec![NONE; self.names.len()];
        for item in 0..item_users.rows() as u32 {
            pace.step(1)?;
            for users in item_users.row(item as usize).0.chunks(1 << 12) {
                pace.step(users.len())?;
                for &user in users {
                    let part = self.of_user[user as usize] as usize;
                    if let Some(last) = last.get_mut(part)
                        && std::mem::replace(last, item) != item
                    {
                        each(part, item);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a part has of the entries of the whole, `items` columns wide, and of the values that stand beside each, in rows
/// and columns of the part. The bytes of the result stay taken from the control. Errors: `Memory`, `NoMemory`,
/// `Cancelled`.
pub fn cut(
    user_items: &Csr,
    times: Option<&[i64]>,
    slice: &Slice,
    items: usize,
    control: &Control,
) -> Result<(Csr, Option<Vec<i64>>)> {
    let mut budget = Budget::new(control, TRAINING);
    let mut pace = Pace::new(control);
    let mut place = budget.zeroed::<u32>(items)?;
    for (row, &item) in (0..).zip(&slice.items) {
        pace.step(1)?;
        place[item as usize] = row;
    }
    let range = |user: u32| {
        user_items.offsets[user as usize] as usize..user_items.offsets[user as usize + 1] as usize
    };
    let mut offsets = budget.with_capacity(slice.users.len() + 1)?;
    offsets.push(0);
    let mut entries = 0;
    for &user in &slice.users {
        pace.step(1)?;
        entries += range(user).len();
        offsets.push(entries as u64);
    }
    let mut indices = budget.with_capacity(entries)?;
    let mut values = budget.with_capacity(entries)?;
    let mut kept = match times {
        Some(_) => Some(budget.with_capacity(entries)?),
        None => None,
    };
    for &user in &slice.users {
        let all = range(user);
        for start in all.clone().step_by(1 << 12) {
            let piece = start..all.end.min(start + (1 << 12));
            pace.step(piece.len())?;
            indices.extend(user_items.indices[piece.clone()].iter().map(|&item| place[item as usize]));
            values.extend_from_slice(&user_items.values[piece.clone()]);
            if let (Some(kept), Some(times)) = (&mut kept, times) {
                kept.extend_from_slice(&times[piece]);
            }
        }
    }
    budget.free(place);
    let matrix = Csr { offsets, indices, values };
    budget.keep(matrix.bytes() + kept.as_ref().map_or(0, |times: &Vec<i64>| times.len() as u64 * 8));
    Ok((matrix, kept))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    /// Five users, the second in no part, and six items, of which nobody has the last.
    fn whole() -> (Csr, Partition) {
        let matrix = Csr {
            offsets: vec![0, 2, 4, 5, 5, 8],
            indices: vec![1, 4, 0, 1, 4, 0, 1, 3],
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        };
        let names = ["a", "b", "empty"].map(String::from).to_vec();
        (matrix, Partition { names, of_user: vec![0, NONE, 0, 1, 1] })
    }

    #[test]
    fn parts_have_their_users_and_what_those_have() {
        let (matrix, partition) = whole();
        let control = Control::new(1 << 20);
        let slices = partition.slices(&matrix.transpose(6), &control).unwrap();
        let expected = [(vec![0, 2], vec![1, 4]), (vec![3, 4], vec![0, 1, 3]), (vec![], vec![])];
        assert_eq!(slices, expected.map(|(users, items)| Slice { users, items }));
        assert_eq!(control.used(), slices.iter().map(Slice::bytes).sum());
        let local: Vec<_> = slices[1].local(&[1, 2, 3]).collect();
        assert_eq!(local, [(0, 1), (2, 2)]);
    }

    #[test]
    fn a_part_keeps_its_entries_values_and_times() {
        let (matrix, partition) = whole();
        let control = Control::new(1 << 20);
        let slices = partition.slices(&matrix.transpose(6), &control).unwrap();
        let before = control.used();
        let times: Vec<i64> = (10..18).collect();
        let (part, kept) = cut(&matrix, Some(&times), &slices[1], 6, &control).unwrap();
        let expected = Csr { offsets: vec![0, 0, 3], indices: vec![0, 1, 2], values: vec![6.0, 7.0, 8.0] };
        assert_eq!((&part, kept), (&expected, Some(vec![15, 16, 17])));
        assert_eq!(control.used() - before, part.bytes() + 3 * 8);
        let (empty, none) = cut(&matrix, None, &slices[2], 6, &control).unwrap();
        assert_eq!((empty.rows(), empty.entries(), none), (0, 0, None));
    }

    #[test]
    fn builds_in_the_order_of_names() {
        let control = Control::new(1 << 20);
        let users = [10, 20, 30];
        let mut builder = PartitionBuilder::new(IdsRef::Integer(&users), &control).unwrap();
        for (id, part) in [(30, 0), (7, 0), (10, 1), (5, 1), (30, 0)] {
            assert!(builder.put(IdRef::Integer(id), part).unwrap());
        }
        assert!(!builder.put(IdRef::Integer(10), 0).unwrap());
        assert!(!builder.put(IdRef::Integer(5), 0).unwrap());
        assert!(builder.put(IdRef::Integer(10), 0).unwrap());
        let (partition, others) = builder.finish(vec!["z".into(), "a".into()]).unwrap();
        assert_eq!(partition, Partition { names: vec!["a".into(), "z".into()], of_user: vec![1, NONE, 1] });
        assert_eq!(others, Others { ids: Ids::Integer(vec![5, 7]), parts: vec![1, 1] });
        assert_eq!(control.used(), 3 * 4 + 2 * 4 + 2 * 8);
    }

    #[test]
    fn a_cancelled_control_ends_both() {
        let (matrix, partition) = whole();
        let control = Control::unlimited();
        control.cancel();
        assert!(partition.slices(&matrix.transpose(6), &control).is_err());
        let slice = Slice { users: vec![0], items: vec![1, 4] };
        assert!(cut(&matrix, None, &slice, 6, &control).is_err());
    }
}
