//! The hash table of integer ids: open addressing with the ids in the slots, made for batches.

use std::hash::{BuildHasher, Hasher};

use bytemuck::Zeroable;
use foldhash::fast::RandomState;

use super::Budget;
use crate::error::Result;

/// An integer and its position plus one in 12 bytes; a pair would be padded to 16. All zeros: empty.
#[derive(Debug, Clone, Copy, PartialEq, Zeroable)]
pub(super) struct Slot([u32; 3]);

impl Slot {
    pub(super) fn new(value: i64, id: u32) -> Self {
        Self([value as u32, (value >> 32) as u32, id + 1])
    }

    pub(super) fn value(self) -> i64 {
        i64::from(self.0[0]) | (i64::from(self.0[1]) << 32)
    }

    pub(super) fn id(self) -> Option<u32> {
        self.0[2].checked_sub(1)
    }
}

/// One table would double as a whole: half a second and thrice its size at 16 million ids. Sixteen double one by
/// one, so that a growing dictionary stays cancellable and its peak near its size.
const SHARDS: usize = 16;
/// Slots of a new shard; a power of two as all sizes are.
const FIRST: usize = 16;

/// Ids looked up together. Their home slots are read without a branch that depends on them, so that the processor
/// overlaps the cache misses; a general table, which decides in between, took twice the time.
pub(super) const BLOCK: usize = 64;

#[derive(Debug)]
pub(super) struct Integers {
    hasher: RandomState,
    shards: [Vec<Slot>; SHARDS],
    lens: [usize; SHARDS],
}

impl Default for Integers {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: std::array::from_fn(|_| Vec::new()),
            lens: [0; SHARDS],
        }
    }
}

fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

impl Integers {
    fn hash(&self, value: i64) -> u64 {
        let mut state = self.hasher.build_hasher();
        state.write_u64(value as u64);
        state.finish()
    }

    /// Writes to `out` the positions plus one of those of at most `BLOCK` values that are in their home slot, and
    /// 0 for the others; to `hashes` the hashes of all.
    pub(super) fn look(&self, values: &[i64], hashes: &mut [u64; BLOCK], out: &mut [u32]) {
        for (hash, &value) in hashes.iter_mut().zip(values) {
            *hash = self.hash(value);
        }
        for ((&value, &hash), to) in values.iter().zip(&*hashes).zip(out) {
            let slots = &self.shards[shard_of(hash)];
            let home = slots.get(hash as usize & slots.len().wrapping_sub(1)).copied();
            let home = home.unwrap_or(Slot::zeroed());
            *to = if home.value() == value { home.0[2] } else { 0 };
        }
    }

    /// The position of a value, or where to insert it: an argument for `insert`.
    pub(super) fn find(&self, hash: u64, value: i64) -> std::result::Result<u32, usize> {
        let slots = &self.shards[shard_of(hash)];
        if slots.is_empty() {
            return Err(0);
        }
        // At most five eighths are taken: there is an empty slot.
        let mut at = hash as usize & (slots.len() - 1);
        loop {
            match slots[at].id() {
                None => return Err(at),
                Some(id) if slots[at].value() == value => return Ok(id),
                Some(_) => at = (at + 1) & (slots.len() - 1),
            }
        }
    }

    /// Inserts a value where `find` said. On an error nothing has changed.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        mut at: usize,
        slot: Slot,
        budget: &mut Budget<'_>,
    ) -> Result<()> {
        let shard = shard_of(hash);
        if (self.lens[shard] + 1) * 8 > self.shards[shard].len() * 5 {
            self.grow(shard, budget)?;
            at = match self.find(hash, slot.value()) {
                Ok(_) => return Ok(()),
                Err(at) => at,
            };
        }
        self.shards[shard][at] = slot;
        self.lens[shard] += 1;
        Ok(())
    }

    #[cold]
    fn grow(&mut self, shard: usize, budget: &mut Budget<'_>) -> Result<()> {
        budget.control().check()?;
        let size = (self.shards[shard].len() * 2).max(FIRST);
        let new = budget.zeroed::<Slot>(size)?;
        let old = std::mem::replace(&mut self.shards[shard], new);
        for &slot in old.iter().filter(|slot| slot.id().is_some()) {
            let hash = self.hash(slot.value());
            let slots = &mut self.shards[shard];
            let mut at = hash as usize & (size - 1);
            while slots[at].id().is_some() {
                at = (at + 1) & (size - 1);
            }
            slots[at] = slot;
        }
        budget.free(old);
        Ok(())
    }

    /// All values with their positions, in no particular order, shard by shard.
    pub(super) fn shards(&self) -> impl Iterator<Item = impl Iterator<Item = (i64, u32)>> {
        self.shards.iter().map(|shard| shard.iter().filter_map(|slot| Some((slot.value(), slot.id()?))))
    }

    pub(super) fn free(self, budget: &mut Budget<'_>) {
        self.shards.into_iter().for_each(|shard| budget.free(shard));
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;

    #[test]
    fn a_slot_keeps_every_integer() {
        for value in [0, 1, -1, i64::MIN, i64::MAX, 1 << 32, -(1 << 32), 0xffff_ffff] {
            let slot = Slot::new(value, u32::MAX - 2);
            assert_eq!((slot.value(), slot.id()), (value, Some(u32::MAX - 2)));
        }
    }
}
