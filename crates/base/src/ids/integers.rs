//! A hash table of integers in shards, counted against the memory budget.
//!
//! Its own instead of `hashbrown`, because a batch can fetch the cache lines of its hashes before it probes them:
//! with half a million ids nearly every probe misses the cache. Measured over ten million rows of 500,000 Zipf
//! ids, with other work on the machine: 8 to 14 ns an id, where `hashbrown` took 17 to 33, and linear probing of
//! slots read ahead 21 to 32. Memory: 16 to 32 bytes an id.

use bytemuck::{Pod, Zeroable};

use super::table::SHARDS;
use crate::budget::Budget;
use crate::error::Result;

/// Integers of a line: with their positions they fill 64 bytes.
const LINE: usize = 5;

/// Lines moved between two looks at the control, while a shard grows: about 1 ms.
const PIECE: usize = 1 << 14;

/// Places taken of a line, on average, before a shard grows.
const FULL: usize = 4;

/// A cache line of integers, so that a search visits one, and its five comparisons leave no branch to guess.
/// What does not fit goes to the next line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line {
    values: [i64; LINE],
    ids: [u32; LINE],
    /// The first so many are taken.
    taken: u32,
}

impl Line {
    /// Where `value` is: a number below `taken` if it is there.
    #[inline]
    fn find(&self, value: i64) -> usize {
        // Free places hold 0, so the first of equal ones is meant.
        (0..LINE).rev().fold(LINE, |found, at| if self.values[at] == value { at } else { found })
    }
}

/// Lines by the low bits of the hash. So few places are taken that at most one search in eight goes on to the
/// next line.
#[derive(Debug, Default)]
struct Shard {
    /// None, or a power of two.
    lines: Vec<Line>,
    taken: usize,
}

impl Shard {
    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.lines.len().wrapping_sub(1)
    }

    /// There is room.
    fn put(&mut self, hash: u64, value: i64, id: u32) {
        let mut at = self.home(hash);
        while self.lines[at].taken as usize == LINE {
            at = (at + 1) & (self.lines.len() - 1);
        }
        let line = &mut self.lines[at];
        line.values[line.taken as usize] = value;
        line.ids[line.taken as usize] = id;
        line.taken += 1;
    }

    fn iter(&self) -> impl Iterator<Item = (i64, u32)> {
        values(&self.lines)
    }
}

fn values(lines: &[Line]) -> impl Iterator<Item = (i64, u32)> {
    lines.iter().flat_map(|line| line.values.into_iter().zip(line.ids).take(line.taken as usize))
}

/// Sixteen shards for the reasons of [`SHARDS`].
#[derive(Debug, Default)]
pub(super) struct Integers {
    shards: [Shard; SHARDS],
}

impl Integers {
    fn shard(hash: u64) -> usize {
        (hash >> 48) as usize % SHARDS
    }

    /// Has the processor fetch the line where a search begins, without waiting for it.
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        let shard = &self.shards[Self::shard(hash)];
        let Some(line) = shard.lines.get(shard.home(hash)) else { return };
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 has the instruction, and it reads nothing: any address would do.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::hint::black_box(line.taken);
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, value: i64) -> Option<u32> {
        let shard = &self.shards[Self::shard(hash)];
        let mut at = shard.home(hash);
        // Ends at the latest at a line with a free place, of which there always are some.
        while let Some(line) = shard.lines.get(at) {
            let place = line.find(value);
            if place < line.taken as usize {
                return line.ids.get(place).copied();
            }
            if (line.taken as usize) < LINE {
                return None;
            }
            at = (at + 1) & (shard.lines.len() - 1);
        }
        None
    }

    /// Makes sure that one more value of this hash fits. All that can fail about an insertion.
    #[inline]
    pub(super) fn reserve(
        &mut self,
        hash: u64,
        hasher: impl Fn(i64) -> u64,
        budget: &mut Budget<'_>,
    ) -> Result<()> {
        let shard = &mut self.shards[Self::shard(hash)];
        if shard.taken < shard.lines.len() * FULL { Ok(()) } else { Self::grow(shard, hasher, budget) }
    }

    #[cold]
    fn grow(shard: &mut Shard, hasher: impl Fn(i64) -> u64, budget: &mut Budget<'_>) -> Result<()> {
        let len = (2 * shard.lines.len()).max(4);
        let mut grown = Shard { lines: budget.zeroed(len)?, taken: shard.taken };
        for lines in shard.lines.chunks(PIECE) {
            budget.control().check()?;
            for (value, id) in values(lines) {
                grown.put(hasher(value), value, id);
            }
        }
        budget.free(std::mem::replace(shard, grown).lines);
        Ok(())
    }

    /// Inserts a value that is not there. Call `reserve` first.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, value: i64, id: u32) {
        let shard = &mut self.shards[Self::shard(hash)];
        shard.put(hash, value, id);
        shard.taken += 1;
    }

    /// The values with their positions, shard by shard.
    pub(super) fn shards(&self) -> impl Iterator<Item = impl Iterator<Item = (i64, u32)>> {
        self.shards.iter().map(Shard::iter)
    }

    pub(super) fn free(self, budget: &mut Budget<'_>) {
        for shard in self.shards {
            budget.free(shard.lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::READING;
    use crate::control::Control;

    #[test]
    fn crowded_lines_and_zeros() {
        let control = Control::unlimited();
        let mut budget = Budget::new(&control, READING);
        let mut table = Integers::default();
        // All values but every fourth share one home; 0 is also what free places hold.
        let hash = |value: i64| if value % 4 == 0 { value as u64 } else { 7 };
        let values: Vec<i64> = (0..200).chain([i64::MIN, -1, i64::MAX]).rev().collect();
        for (id, &value) in values.iter().enumerate() {
            assert_eq!(table.find(hash(value), value), None);
            table.reserve(hash(value), hash, &mut budget).unwrap_or_else(|_| unreachable!());
            table.insert(hash(value), value, id as u32);
        }
        for (id, &value) in values.iter().enumerate() {
            assert_eq!(table.find(hash(value), value), Some(id as u32));
        }
        assert_eq!(table.shards().flatten().count(), values.len());
        table.free(&mut budget);
        assert_eq!(control.used(), 0);
    }
}
