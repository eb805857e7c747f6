//! From the growing dictionary to the sorted one.

use super::Ids;
use super::integers::Integers;
use super::sort::{Key, sort_keys};
use super::table::Table;
use crate::budget::Budget;
use crate::error::Result;

/// A sorted dictionary and where the provisional positions went.
#[derive(Debug)]
pub struct SortedIds {
    /// The ids in order: integers by value, the rest by bytes.
    pub ids: Ids,
    /// `permutation[provisional]` is the position in `ids`.
    pub permutation: Vec<u32>,
}

impl SortedIds {
    /// Memory of both, which stays taken from the control until the caller gives it back.
    pub fn bytes(&self) -> u64 {
        self.ids.bytes() + self.permutation.len() as u64 * 4
    }
}

/// Turns the sign bit over: as unsigned numbers, the results have the order of the integers.
const SIGN: u64 = 1 << 63;

pub(super) fn integers(table: Integers, len: usize, budget: &mut Budget<'_>) -> Result<SortedIds> {
    let mut keys = budget.with_capacity(len)?;
    for shard in table.shards() {
        budget.control().check()?;
        keys.extend(shard.map(|(value, id)| Key::new(value as u64 ^ SIGN, id)));
    }
    table.free(budget);
    let keys = sort_keys(keys, budget, |_, _| std::cmp::Ordering::Equal)?;
    let mut values = budget.with_capacity(len)?;
    for piece in keys.chunks(PIECE) {
        budget.control().check()?;
        values.extend(piece.iter().map(|key| (key.prefix ^ SIGN) as i64));
    }
    let permutation = ranks(keys, budget)?;
    Ok(SortedIds { ids: Ids::Integer(values), permutation })
}

pub(super) fn fixed(table: Table<u32>, ids: Vec<[u8; 16]>, budget: &mut Budget<'_>) -> Result<SortedIds> {
    table.free(budget);
    let keys = keys_of(ids.len(), budget, |n| &ids[n])?;
    let keys = sort_keys(keys, budget, |a, b| ids[a.id as usize].cmp(&ids[b.id as usize]))?;
    let mut sorted = budget.with_capacity(ids.len())?;
    for piece in keys.chunks(PIECE) {
        budget.control().check()?;
        sorted.extend(piece.iter().map(|key| ids[key.id as usize]));
    }
    budget.free(ids);
    let permutation = ranks(keys, budget)?;
    Ok(SortedIds { ids: Ids::Fixed16(sorted), permutation })
}

pub(super) fn bytes(
    table: Table<u32>,
    arena: Arena,
    len: usize,
    budget: &mut Budget<'_>,
) -> Result<SortedIds> {
    table.free(budget);
    let keys = keys_of(len, budget, |n| arena.get(n as u32))?;
    let keys = sort_keys(keys, budget, |a, b| arena.get(a.id).cmp(arena.get(b.id)))?;
    let mut offsets = budget.with_capacity(len + 1)?;
    let mut bytes = budget.with_capacity(arena.bytes.len())?;
    offsets.push(0);
    for piece in keys.chunks(PIECE) {
        budget.control().check()?;
        for key in piece {
            bytes.extend_from_slice(arena.get(key.id));
            offsets.push(bytes.len() as u64);
        }
    }
    budget.free(arena.ends);
    budget.free(arena.bytes);
    let permutation = ranks(keys, budget)?;
    Ok(SortedIds { ids: Ids::Bytes { offsets, bytes }, permutation })
}

/// Ids handled between two looks at the control: a few milliseconds.
const PIECE: usize = 1 << 16;

fn keys_of<'a, B: AsRef<[u8]> + ?Sized + 'a>(
    len: usize,
    budget: &mut Budget<'_>,
    get: impl Fn(usize) -> &'a B,
) -> Result<Vec<Key>> {
    let mut keys = budget.with_capacity(len)?;
    for n in 0..len {
        if n % PIECE == 0 {
            budget.control().check()?;
        }
        let id = get(n).as_ref();
        let mut prefix = [0; 8];
        let known = id.len().min(8);
        prefix[..known].copy_from_slice(&id[..known]);
        keys.push(Key::new(u64::from_be_bytes(prefix), n as u32));
    }
    Ok(keys)
}

/// Position in the sorted order of each provisional position.
fn ranks(keys: Vec<Key>, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let mut permutation = budget.zeroed::<u32>(keys.len())?;
    for (rank, key) in keys.iter().enumerate() {
        if rank % PIECE == 0 {
            budget.control().check()?;
        }
        permutation[key.id as usize] = rank as u32;
    }
    budget.free(keys);
    Ok(permutation)
}

/// Ids of any length, one after the other.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) ends: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

impl Arena {
    pub(super) fn get(&self, n: u32) -> &[u8] {
        let start = if n == 0 { 0 } else { self.ends[n as usize - 1] };
        &self.bytes[start as usize..self.ends[n as usize] as usize]
    }
}
