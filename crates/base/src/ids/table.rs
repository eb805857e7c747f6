//! A hash table in shards, counted against the memory budget.

use hashbrown::HashTable;

use crate::budget::Budget;
use crate::error::Result;

/// One table would double as a whole, in one long step and with both sizes held. Sixteen double one by one, so that
/// a growing dictionary keeps its peak near its size: at 16 million integers it was 1.03 times the size.
pub(super) const SHARDS: usize = 16;

/// Values moved between two looks at the control, while a shard grows: up to 3 ms, since each may be hashed from
/// elsewhere in memory.
const PIECE: usize = 1 << 14;

#[derive(Debug)]
pub(super) struct Table<T> {
    shards: [HashTable<T>; SHARDS],
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| HashTable::new()) }
    }
}

impl<T: Copy> Table<T> {
    /// The table takes its buckets from the low bits of the hash and its tags from the highest seven.
    fn shard(hash: u64) -> usize {
        (hash >> 48) as usize % SHARDS
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, equal: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards[Self::shard(hash)].find(hash, equal)
    }

    /// Makes sure that one more value of this hash fits. All that can fail about an insertion.
    #[inline]
    pub(super) fn reserve(
        &mut self,
        hash: u64,
        hasher: impl Fn(&T) -> u64,
        budget: &mut Budget<'_>,
    ) -> Result<()> {
        let shard = &mut self.shards[Self::shard(hash)];
        if shard.len() < shard.capacity() { Ok(()) } else { Self::grow(shard, hasher, budget) }
    }

    #[cold]
    fn grow(shard: &mut HashTable<T>, hasher: impl Fn(&T) -> u64, budget: &mut Budget<'_>) -> Result<()> {
        let old = shard.allocation_size() as u64;
        let expected = (2 * old).max(256);
        budget.take(expected)?;
        let mut grown = HashTable::new();
        grown.try_reserve(shard.capacity() + 1, &hasher).map_err(|_| budget.refused())?;
        let new = grown.allocation_size() as u64;
        // Nothing more as long as tables double; counted all the same, should one grow differently.
        budget.take(new.saturating_sub(expected))?;
        for (n, value) in shard.iter().enumerate() {
            if n.is_multiple_of(PIECE) {
                budget.control().check()?;
            }
            grown.insert_unique(hasher(value), *value, &hasher);
        }
        *shard = grown;
        budget.give(old + expected.saturating_sub(new));
        Ok(())
    }

    /// Inserts a value that is not there. Call `reserve` first.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, value: T, hasher: impl Fn(&T) -> u64) {
        self.shards[Self::shard(hash)].insert_unique(hash, value, hasher);
    }

    pub(super) fn free(self, budget: &mut Budget<'_>) {
        let bytes = self.shards.iter().map(|shard| shard.allocation_size() as u64).sum();
        drop(self);
        budget.give(bytes);
    }
}
