//! Dividing a counting sort between threads.
//!
//! The input is divided into parts, one after the other. Each part counts on its own and then has cursors of its own,
//! which start where those of the part before it end: the result is that of one thread, to the bit.
//! Measured with other work on the machine, 10 million rows of 500,000 users and 50,000 items: 0.27 to 0.45 s of
//! processor time of the caller with two threads, 0.50 to 0.71 s with one.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use base::budget::Budget;
use base::error::Result;

/// Entries that are worth a thread: about 1 ms.
const FEW: usize = 1 << 16;

/// How many parts to make of `entries` with `ids` cursors each, such that further cursors take at most 2 bytes
/// an entry.
pub(super) fn count(threads: usize, entries: usize, ids: usize) -> usize {
    threads.min(1 + entries / FEW).min(1 + entries / (4 * ids.max(1))).max(1)
}

/// Ranges of rows with about equally many entries each, some of them empty.
pub(super) fn ranges(offsets: &[u64], parts: usize) -> Vec<Range<usize>> {
    let rows = offsets.len() - 1;
    let entries = offsets[rows] as u128;
    let start = |part: usize| match part {
        _ if part == parts => rows,
        _ => offsets[..rows].partition_point(|&at| u128::from(at) * (parts as u128) < entries * part as u128),
    };
    (0..parts).map(|part| start(part)..start(part + 1)).collect()
}

/// Pieces of the given lengths, one after the other; they must not exceed the slice.
pub(super) fn divide<T>(mut slice: &mut [T], lengths: impl Iterator<Item = usize>) -> Vec<&mut [T]> {
    let mut divide = |length| {
        let (piece, rest) = std::mem::take(&mut slice).split_at_mut(length);
        slice = rest;
        piece
    };
    lengths.map(&mut divide).collect()
}

/// Cursors of all parts, one for each id: first counts, then where the next entry of that id goes.
pub(super) struct Cursors {
    next: Vec<u64>,
    ids: usize,
}

impl Cursors {
    pub(super) fn new(parts: usize, ids: usize, budget: &mut Budget<'_>) -> Result<Self> {
        Ok(Self { next: budget.zeroed(parts * ids)?, ids })
    }

    /// Those of each part.
    pub(super) fn parts(&mut self, parts: usize) -> impl Iterator<Item = &mut [u64]> + Send {
        divide(&mut self.next, std::iter::repeat_n(self.ids, parts)).into_iter()
    }

    /// Turns counts into places. `group(id)` is the group of an id, each its own; the result is where each group
    /// starts.
    pub(super) fn place(
        &mut self,
        group: impl Fn(usize) -> usize,
        budget: &mut Budget<'_>,
    ) -> Result<Vec<u64>> {
        // Up to 5 ms, where each is the first to touch a page of memory.
        const PIECE: usize = 1 << 13;
        let ids = self.ids;
        let mut offsets = budget.zeroed::<u64>(ids + 1)?;
        let look = |id: usize| if id.is_multiple_of(PIECE) { budget.control().check() } else { Ok(()) };
        for id in 0..ids {
            look(id)?;
            offsets[group(id) + 1] = self.next.iter().skip(id).step_by(ids).sum();
        }
        accumulate(&mut offsets);
        for id in 0..ids {
            look(id)?;
            let mut at = offsets[group(id)];
            for next in self.next.iter_mut().skip(id).step_by(ids) {
                at += std::mem::replace(next, at);
            }
        }
        Ok(offsets)
    }

    pub(super) fn free(self, budget: &mut Budget<'_>) {
        budget.free(self.next);
    }
}

pub(super) fn accumulate(counts: &mut [u64]) {
    let mut total = 0;
    for count in counts {
        total += *count;
        *count = total;
    }
}

/// Words that several threads write, each in places of its own. As atomics, which cost no more than plain words
/// here, no mistake of the cursors could be worse than a wrong result.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a>(&'a [AtomicU32]);

impl<'a> Shared<'a> {
    pub(super) fn new<T: bytemuck::NoUninit + bytemuck::AnyBitPattern>(slice: &'a mut [T]) -> Self {
        let words: &mut [u32] = bytemuck::cast_slice_mut(slice);
        // SAFETY: an AtomicU32 has the size, alignment and bits of a u32, and the words are borrowed exclusively for 'a.
        Self(unsafe { &*(std::ptr::from_mut(words) as *const [AtomicU32]) })
    }

    #[inline]
    pub(super) fn put<const N: usize>(self, at: u64, words: [u32; N]) {
        let start = at as usize * N;
        for (to, word) in self.0[start..start + N].iter().zip(words) {
            to.store(word, Relaxed);
        }
    }
}
