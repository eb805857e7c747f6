//! The growing dictionary for reading rows: each new id gets the next provisional position.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::finish::{self, Arena, SortedIds};
use super::integers::Integers;
use super::table::Table;
use super::{IdKind, IdRef, IdsRef, MAX_IDS};
use crate::budget::{Budget, READING};
use crate::control::Control;
use crate::error::{Error, Result};

/// A dictionary that grows while rows are read. Its hash is keyed at random, because ids come from users.
/// Memory is taken from the control as it grows and given back when the builder goes.
#[derive(Debug)]
pub struct IdBuilder<'c> {
    what: &'static str,
    limit: u64,
    len: u32,
    hasher: RandomState,
    store: Store,
    budget: Budget<'c>,
}

#[derive(Debug)]
enum Store {
    /// The table holds the ids themselves: one visit to memory per row, and nothing beside it.
    Integer(Integers),
    Fixed16(Table<u32>, Vec<[u8; 16]>),
    Bytes(Table<u32>, Arena),
}

/// Ids hashed ahead of their probes, and their cache lines fetched, so that the processor overlaps the cache misses.
const BLOCK: usize = 64;

impl<'c> IdBuilder<'c> {
    /// An empty dictionary; `what` names its ids in errors (`users`).
    pub fn new(kind: IdKind, what: &'static str, control: &'c Control) -> Self {
        Self::with_limit(kind, what, control, MAX_IDS)
    }

    fn with_limit(kind: IdKind, what: &'static str, control: &'c Control, limit: u64) -> Self {
        let store = match kind {
            IdKind::Integer => Store::Integer(Integers::default()),
            IdKind::Fixed16 => Store::Fixed16(Table::default(), Vec::new()),
            IdKind::Bytes => Store::Bytes(Table::default(), Arena::default()),
        };
        Self {
            what,
            limit,
            len: 0,
            hasher: RandomState::default(),
            store,
            budget: Budget::new(control, READING),
        }
    }

    /// How the ids are kept.
    pub fn kind(&self) -> IdKind {
        match self.store {
            Store::Integer(_) => IdKind::Integer,
            Store::Fixed16(..) => IdKind::Fixed16,
            Store::Bytes(..) => IdKind::Bytes,
        }
    }

    /// Number of distinct ids so far.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory held now.
    pub fn bytes(&self) -> u64 {
        self.budget.taken()
    }

    /// The provisional position of one id, in order of first arrival.
    ///
    /// `Error::TooMany` beyond [`MAX_IDS`], `Error::Memory` beyond the budget, `Error::Parameter` for an id of
    /// another kind.
    pub fn insert_one(&mut self, id: IdRef<'_>) -> Result<u32> {
        let mut out = [0];
        match id {
            IdRef::Integer(id) => self.insert(IdsRef::Integer(&[id]), &mut out)?,
            IdRef::Fixed16(id) => self.insert(IdsRef::Fixed16(&[*id]), &mut out)?,
            IdRef::Bytes(bytes) => {
                self.insert(IdsRef::Bytes { offsets: &[0, bytes.len() as u64], bytes }, &mut out)?;
            }
        }
        Ok(out[0])
    }

    /// Writes the provisional position of each of `ids` to `out`. Errors as for [`Self::insert_one`], and
    /// `Error::Parameter` where the lengths differ; after an error the ids before the failing one are in.
    pub fn insert(&mut self, ids: IdsRef<'_>, out: &mut [u32]) -> Result<()> {
        if ids.len() != out.len() {
            return Err(parameter(self.what, format!("{} ids", out.len()), ids.len()));
        }
        match ids {
            IdsRef::Integer(values) if self.kind() == IdKind::Integer => self.insert_integers(values, out),
            IdsRef::Fixed16(values) if self.kind() == IdKind::Fixed16 => {
                for (value, to) in values.iter().zip(out) {
                    *to = self.insert_fixed(value)?;
                }
                Ok(())
            }
            IdsRef::Bytes { .. } if self.kind() == IdKind::Bytes => {
                for (n, to) in out.iter_mut().enumerate() {
                    let Some(IdRef::Bytes(id)) = ids.at(n) else {
                        return Err(parameter(self.what, "bytes within the batch".into(), "other offsets"));
                    };
                    *to = self.insert_bytes(id)?;
                }
                Ok(())
            }
            _ => Err(parameter(self.what, self.kind().name().into(), ids.kind().name())),
        }
    }

    fn insert_integers(&mut self, values: &[i64], out: &mut [u32]) -> Result<()> {
        let Store::Integer(table) = &mut self.store else { return Ok(()) };
        let mut hashes = [0; BLOCK];
        for (values, out) in values.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
            for (hash, value) in hashes.iter_mut().zip(values) {
                *hash = hash_integer(&self.hasher, *value);
                table.fetch(*hash);
            }
            for ((&value, to), &hash) in values.iter().zip(out).zip(&hashes) {
                if let Some(found) = table.find(hash, value) {
                    *to = found;
                    continue;
                }
                *to = next(self.len, self.limit, self.what)?;
                table.reserve(hash, |value| hash_integer(&self.hasher, value), &mut self.budget)?;
                table.insert(hash, value, *to);
                self.len += 1;
            }
        }
        Ok(())
    }

    fn insert_fixed(&mut self, id: &[u8; 16]) -> Result<u32> {
        let Store::Fixed16(table, keys) = &mut self.store else { return Ok(0) };
        let hash = hash_bytes(&self.hasher, id);
        if let Some(&found) = table.find(hash, |&n| keys[n as usize] == *id) {
            return Ok(found);
        }
        let new = next(self.len, self.limit, self.what)?;
        table.reserve(hash, |&n| hash_bytes(&self.hasher, &keys[n as usize]), &mut self.budget)?;
        self.budget.reserve(keys, 1)?;
        keys.push(*id);
        table.insert(hash, new, |&n| hash_bytes(&self.hasher, &keys[n as usize]));
        self.len += 1;
        Ok(new)
    }

    fn insert_bytes(&mut self, id: &[u8]) -> Result<u32> {
        let Store::Bytes(table, arena) = &mut self.store else { return Ok(0) };
        let hash = hash_bytes(&self.hasher, id);
        if let Some(&found) = table.find(hash, |&n| arena.get(n) == id) {
            return Ok(found);
        }
        let new = next(self.len, self.limit, self.what)?;
        table.reserve(hash, |&n| hash_bytes(&self.hasher, arena.get(n)), &mut self.budget)?;
        self.budget.reserve(&mut arena.ends, 1)?;
        self.budget.reserve(&mut arena.bytes, id.len())?;
        arena.bytes.extend_from_slice(id);
        arena.ends.push(arena.bytes.len() as u64);
        table.insert(hash, new, |&n| hash_bytes(&self.hasher, arena.get(n)));
        self.len += 1;
        Ok(new)
    }

    /// Sorts the ids. [`SortedIds::bytes`] of the result stay taken from the control; on an error nothing does.
    pub fn finish(self) -> Result<SortedIds> {
        let Self { len, store, mut budget, .. } = self;
        let len = len as usize;
        let sorted = match store {
            Store::Integer(table) => finish::integers(table, len, &mut budget)?,
            Store::Fixed16(table, keys) => finish::fixed(table, keys, &mut budget)?,
            Store::Bytes(table, arena) => finish::bytes(table, arena, len, &mut budget)?,
        };
        budget.keep(sorted.bytes());
        Ok(sorted)
    }
}

fn next(len: u32, limit: u64, what: &'static str) -> Result<u32> {
    if u64::from(len) < limit { Ok(len) } else { Err(Error::TooMany { what, limit }) }
}

fn parameter(name: &'static str, expected: String, got: impl ToString) -> Error {
    Error::Parameter { name, expected, got: got.to_string() }
}

fn hash_integer(hasher: &RandomState, value: i64) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u64(value as u64);
    state.finish()
}

fn hash_bytes(hasher: &RandomState, bytes: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(bytes);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;

    #[test]
    fn one_id_too_many_is_an_error() {
        let control = Control::unlimited();
        for kind in [IdKind::Integer, IdKind::Fixed16, IdKind::Bytes] {
            let mut ids = IdBuilder::with_limit(kind, "users", &control, 2);
            let make = |n: u8| match kind {
                IdKind::Integer => Ids::Integer(vec![i64::from(n)]),
                IdKind::Fixed16 => Ids::Fixed16(vec![[n; 16]]),
                IdKind::Bytes => Ids::Bytes { offsets: vec![0, 1], bytes: vec![n] },
            };
            let mut out = [9];
            for (n, expected) in [(1, 0), (2, 1), (1, 0)] {
                assert_eq!(ids.insert(make(n).view(), &mut out), Ok(()));
                assert_eq!(out, [expected]);
            }
            let error = Err(Error::TooMany { what: "users", limit: 2 });
            assert_eq!(ids.insert(make(3).view(), &mut out), error);
            assert_eq!(ids.len(), 2);
        }
        assert_eq!(control.used(), 0);
    }
}
