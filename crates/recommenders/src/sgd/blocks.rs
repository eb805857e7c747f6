//! The entries of an epoch in blocks that threads can work on side by side without meeting each other.
//!
//! Users and items are divided into as many parts, which makes parts times parts blocks of entries. Blocks of one
//! stratum share neither users nor items, so threads update their rows in place, without locks, and an epoch is one
//! stratum after the other (Gemulla, Nijkamp, Haas and Sismanis, Large-Scale Matrix Factorization with Distributed
//! Stochastic Gradient Descent, KDD 2011). Their number follows from the data alone, so the result is the same to the
//! bit for every number of threads.
//!
//! Negatives come from the items of the block. Each epoch divides the items anew and at random, so over the epochs every
//! item meets every other one: 16 parts rank held-out items as well as one does (`tests.rs`). Dividing and shuffling take
//! 6 % of an epoch of BPR (1 million entries, 64 factors), which staying in the second-level cache wins back: with one
//! thread, 15 parts took 257 to 295 ms where one took 319 to 513 (on a busy machine).

use std::ops::Range;

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;
use bytemuck::{Pod, Zeroable};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The most parts: with so many, 8 threads are rarely without work.
const MOST: usize = 16;

/// An entry of the matrix.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) user: u32,
    pub(super) item: u32,
    pub(super) value: f32,
}

/// How many parts: blocks of at least 4,096 entries, about 0.2 ms, beside which the start of a thread is nothing; and of
/// at least 32 items, for there to be negatives.
pub(super) fn parts(entries: usize, items: usize) -> usize {
    (entries / 4096).isqrt().min(items / 32).clamp(1, MOST)
}

/// Memory of the blocks.
pub(super) fn bytes(items: usize, entries: usize) -> u64 {
    (entries * size_of::<Entry>() + items * 5) as u64
}

/// The blocks of a training.
pub(super) struct Blocks<'a> {
    user_items: &'a Csr,
    /// The users of each part.
    users: Vec<Range<usize>>,
    /// By users of a part, within those by items of a part.
    entries: Vec<Entry>,
    /// Positions in `entries` where the blocks of each users' part begin; one more, where the last ends.
    starts: Vec<Vec<usize>>,
    /// All items in a random order; each part is a stretch of them.
    items: Vec<u32>,
    part_of: Vec<u8>,
    seed: u64,
}

/// A block on its way through a thread.
pub(super) struct Block<'a> {
    /// In no random order yet.
    pub(super) entries: &'a mut [Entry],
    /// What negatives are drawn from.
    pub(super) items: &'a [u32],
    pub(super) generator: ChaCha8Rng,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        user_items: &'a Csr,
        items: usize,
        parts: usize,
        seed: u64,
        budget: &mut Budget<'_>,
    ) -> Result<Self> {
        let entries = user_items.entries();
        // Parts with about as many entries.
        let first = |part: usize| match part {
            0 => 0,
            _ if part == parts => user_items.rows(),
            _ => {
                let offsets = &user_items.offsets[..user_items.rows()];
                offsets.partition_point(|&offset| (offset as usize) < entries / parts * part)
            }
        };
        let mut order = budget.with_capacity(items)?;
        for item in 0..items as u32 {
            if item.is_multiple_of(LOOK) {
                budget.control().check()?;
            }
            order.push(item);
        }
        Ok(Self {
            user_items,
            users: (0..parts).map(|part| first(part)..first(part + 1)).collect(),
            entries: budget.zeroed(entries)?,
            starts: vec![vec![0; parts + 1]; parts],
            items: order,
            part_of: budget.zeroed(items)?,
            seed,
        })
    }

    pub(super) fn parts(&self) -> usize {
        self.users.len()
    }

    fn generator(&self, epoch: usize, stream: usize) -> ChaCha8Rng {
        let streams = 1 + self.parts() * self.parts();
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream((epoch * streams + stream) as u64);
        generator
    }

    /// Divides the items for an epoch and sorts the entries into its blocks.
    pub(super) fn divide(&mut self, epoch: usize, threads: usize, control: &Control) -> Result<()> {
        let parts = self.parts();
        let mut generator = self.generator(epoch, 0);
        shuffle(&mut self.items, &mut generator, control)?;
        for part in 0..parts {
            for items in self.items[stretch(self.items.len(), parts, part)].chunks(LOOK as usize) {
                control.check()?;
                items.iter().for_each(|&item| self.part_of[item as usize] = part as u8);
            }
        }
        let Self { user_items, users, entries, starts, part_of, .. } = self;
        let jobs = regions(user_items, users, entries).into_iter().zip(users.iter()).zip(starts);
        share(jobs, threads.min(parts), control, |jobs| {
            while let Some(((region, users), starts)) = jobs.next()? {
                sort(user_items, users.clone(), part_of, region, starts, control)?;
            }
            Ok(())
        })
    }

    /// The blocks of a stratum of the divided epoch, by the part of their users.
    pub(super) fn stratum(&mut self, epoch: usize, stratum: usize) -> Vec<Block<'_>> {
        let parts = self.parts();
        let generators: Vec<_> =
            (0..parts).map(|part| self.generator(epoch, 1 + stratum * parts + part)).collect();
        let Self { user_items, users, entries, starts, items, .. } = self;
        let regions = regions(user_items, users, entries);
        let blocks = regions.into_iter().zip(generators).zip(starts).enumerate();
        blocks
            .map(|(part, ((region, generator), starts))| {
                let items_part = (part + stratum) % parts;
                let entries = &mut region[starts[items_part]..starts[items_part + 1]];
                let items = &items[stretch(items.len(), parts, items_part)];
                Block { entries, items, generator }
            })
            .collect()
    }
}

/// Numbers moved at random between two looks at the control: about 1 ms.
const LOOK: u32 = 1 << 16;

/// The positions of one part of so many items.
fn stretch(items: usize, parts: usize, part: usize) -> Range<usize> {
    items * part / parts..items * (part + 1) / parts
}

/// The entries of each users' part.
fn regions<'e>(
    user_items: &Csr,
    users: &[Range<usize>],
    mut entries: &'e mut [Entry],
) -> Vec<&'e mut [Entry]> {
    let mut regions = Vec::with_capacity(users.len());
    for users in users {
        // Without rows there is not even a first offset.
        let at = |user: usize| user_items.offsets.get(user).map_or(0, |&offset| offset as usize);
        let region;
        (region, entries) = entries.split_at_mut(at(users.end) - at(users.start));
        regions.push(region);
    }
    regions
}

/// Sorts the entries of some users by the part of the item.
fn sort(
    user_items: &Csr,
    users: Range<usize>,
    part_of: &[u8],
    region: &mut [Entry],
    starts: &mut [usize],
    control: &Control,
) -> Result<()> {
    const PIECE: usize = 1 << 12;
    let mut pace = Pace::new(control);
    let mut next = [0; MOST + 1];
    for user in users.clone() {
        for items in user_items.row(user).0.chunks(PIECE) {
            pace.step(items.len())?;
            items.iter().for_each(|&item| next[part_of[item as usize] as usize + 1] += 1);
        }
    }
    for part in 1..starts.len() {
        next[part] += next[part - 1];
    }
    starts.copy_from_slice(&next[..starts.len()]);
    for user in users {
        let (items, values) = user_items.row(user);
        for (items, values) in items.chunks(PIECE).zip(values.chunks(PIECE)) {
            pace.step(items.len())?;
            for (&item, &value) in items.iter().zip(values) {
                let at = &mut next[part_of[item as usize] as usize];
                region[*at] = Entry { user: user as u32, item, value };
                *at += 1;
            }
        }
    }
    Ok(())
}

/// A random number below `end`, which is at least 1; uneven by at most `end / 2^32`.
#[inline(always)]
pub(super) fn below(generator: &mut ChaCha8Rng, end: usize) -> usize {
    ((u64::from(generator.next_u32()) * end as u64) >> 32) as usize
}

/// A random order of the elements.
pub(crate) fn shuffle<T>(of: &mut [T], generator: &mut ChaCha8Rng, control: &Control) -> Result<()> {
    for at in (1..of.len()).rev() {
        if at.is_multiple_of(LOOK as usize) {
            control.check()?;
        }
        of.swap(at, below(generator, at + 1));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use base::budget::TRAINING;

    use super::*;

    #[test]
    fn every_epoch_takes_each_entry_once_and_strata_do_not_meet() {
        let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
        for user in 0..300u32 {
            for item in (0..200).filter(|item| (user * 7 + item * item) % 5 < user % 4) {
                matrix.indices.push(item);
                matrix.values.push((user * 1000 + item) as f32);
            }
            matrix.offsets.push(matrix.indices.len() as u64);
        }
        let control = Control::unlimited();
        for parts in [1, 2, 5, 16] {
            let mut budget = Budget::new(&control, TRAINING);
            let mut blocks = Blocks::new(&matrix, 200, parts, 1, &mut budget).unwrap();
            let mut divisions = Vec::new();
            for epoch in 1..4 {
                blocks.divide(epoch, 2, &control).unwrap();
                divisions.push(blocks.part_of.clone());
                let mut taken = Vec::new();
                for stratum in 0..parts {
                    let part_of = blocks.part_of.clone();
                    let ranges = blocks.users.clone();
                    let mut met = vec![];
                    for (users_part, block) in blocks.stratum(epoch, stratum).into_iter().enumerate() {
                        let items_part = part_of[block.items[0] as usize] as usize;
                        assert!(!met.contains(&items_part));
                        met.push(items_part);
                        assert!(
                            block.items.iter().all(|&item| part_of[item as usize] as usize == items_part)
                        );
                        for entry in block.entries {
                            assert!(ranges[users_part].contains(&(entry.user as usize)));
                            assert_eq!(part_of[entry.item as usize] as usize, items_part);
                            assert_eq!(entry.value, (entry.user * 1000 + entry.item) as f32);
                            taken.push((entry.user, entry.item));
                        }
                    }
                }
                taken.sort_unstable();
                let all: Vec<(u32, u32)> = (0..300)
                    .flat_map(|user| matrix.row(user).0.iter().map(move |&item| (user as u32, item)))
                    .collect();
                assert_eq!(taken, all);
            }
            assert!(parts == 1 || divisions[0] != divisions[1]);
        }
    }

    #[test]
    fn numbers_below_an_end_are_even() {
        let mut generator = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[below(&mut generator, 7)] += 1);
        // The deviation of each is 93.
        assert!(counts.iter().all(|&count: &i32| (count - 10_000).abs() < 400), "{counts:?}");
        assert_eq!(below(&mut generator, 1), 0);
    }
}
