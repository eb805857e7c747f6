//! How often each category occurs, in flat words: exact up to 3072 categories, of bounded size and error above, and
//! mergeable. J. Misra and D. Gries, "Finding repeated elements" (1982); merged as in Agarwal et al., "Mergeable
//! summaries" (2012), theorem 1.
//!
//! A category is a 128-bit hash of its bytes. Where a new one finds no room, the median count is taken off every count and
//! what falls to 0 leaves. What was taken off one category altogether is the error of each count: at most n / 1536.

use base::error::Overflow;
use base::flat::{self, Table};

/// Words of an entry: the key and its count.
const ENTRY: usize = 3;

/// Words before the table: rows, and what was taken off each count.
const HEADER: usize = 2;
const ROWS: usize = 0;
const ERROR: usize = 1;

/// The most rows: what a bigint holds.
const MOST_ROWS: u64 = i64::MAX as u64;

/// Entries at first and at most; three quarters of them are used.
const START: usize = 8;
const MOST: usize = 4096;

/// How many rows there were.
pub fn rows(words: &[u64]) -> u64 {
    words.first().copied().unwrap_or(0)
}

/// Words of a larger summary; None where it is as large as it gets.
pub fn grown(words: &[u64]) -> Option<usize> {
    let capacity = if words.is_empty() { START } else { capacity(words) * 2 };
    (capacity <= MOST).then(|| HEADER + flat::words::<ENTRY>(capacity))
}

fn capacity(words: &[u64]) -> usize {
    (words.len() - HEADER - 1) / ENTRY
}

/// Copies a summary into longer zeroed words.
pub fn grow(old: &[u64], new: &mut [u64]) {
    if old.is_empty() {
        return;
    }
    new[..HEADER].copy_from_slice(&old[..HEADER]);
    let mut table = Table::<ENTRY>::new(&mut new[HEADER..]);
    for (key, count) in flat::entries::<ENTRY>(&old[HEADER..]) {
        if let Some(slot) = table.entry(key) {
            slot[0] = count[0];
        }
    }
}

/// Adds rows of a category; false where there is no room for a new one.
#[inline]
pub fn push(words: &mut [u64], key: u128, rows: u64) -> bool {
    if words.is_empty() {
        return false;
    }
    let mut table = Table::<ENTRY>::new(&mut words[HEADER..]);
    let Some(slot) = table.entry(key) else { return false };
    slot[0] += rows;
    words[ROWS] += rows;
    true
}

/// Makes room in a summary that is as large as it gets.
pub fn shrink(words: &mut [u64]) {
    let kept: Vec<(u128, u64)> =
        flat::entries::<ENTRY>(&words[HEADER..]).map(|(key, count)| (key, count[0])).collect();
    let mut counts: Vec<u64> = kept.iter().map(|(_, count)| *count).collect();
    counts.sort_unstable();
    let less = counts[counts.len() / 2];
    words[ERROR] += less;
    words[HEADER..].fill(0);
    let mut table = Table::<ENTRY>::new(&mut words[HEADER..]);
    for (key, count) in kept.into_iter().filter(|(_, count)| *count > less) {
        if let Some(slot) = table.entry(key) {
            slot[0] = count - less;
        }
    }
}

/// The categories of another summary with their counts, and the rows that have none.
pub fn parts(words: &[u64]) -> (Vec<(u128, u64)>, u64) {
    if words.is_empty() {
        return (Vec::new(), 0);
    }
    let mut parts: Vec<(u128, u64)> =
        flat::entries::<ENTRY>(&words[HEADER..]).map(|(key, count)| (key, count[0])).collect();
    parts.sort_unstable();
    let counted: u64 = parts.iter().map(|(_, count)| count).sum();
    (parts, words[ROWS] - counted)
}

/// The rows of two summaries together, which must be counted before they are merged: more than a bigint holds are none
/// of a summary.
pub fn total(words: &[u64], other: &[u64]) -> Result<u64, Overflow> {
    rows(words).checked_add(rows(other)).filter(|&rows| rows <= MOST_ROWS).ok_or(Overflow)
}

/// Adds what another summary has besides categories.
pub fn add_rest(words: &mut [u64], other: &[u64]) {
    let (_, rest) = parts(other);
    words[ROWS] += rest;
    words[ERROR] += other[ERROR];
}

/// How far below the truth a count may be.
pub fn error(words: &[u64]) -> u64 {
    words.get(ERROR).copied().unwrap_or(0)
}

/// Whether words that came from elsewhere are a summary. Nothing is one of no rows.
pub fn is_valid(words: &[u64]) -> bool {
    if words.is_empty() {
        return true;
    }
    if words.len() <= HEADER || !flat::is_table::<ENTRY>(&words[HEADER..]) || capacity(words) > MOST {
        return false;
    }
    let counted = flat::entries::<ENTRY>(&words[HEADER..])
        .try_fold(0u64, |sum, (_, count)| sum.checked_add(count[0]).filter(|_| count[0] > 0));
    counted.is_some_and(|counted| words[ROWS] > 0 && counted <= words[ROWS])
        && words[ROWS] <= MOST_ROWS
        && words[ERROR] <= words[ROWS]
}

/// The shares of each category in two summaries; rows of none are one more category.
pub fn shares(a: &[u64], b: &[u64]) -> Vec<(f64, f64)> {
    let ((a_parts, a_rest), (b_parts, b_rest)) = (parts(a), parts(b));
    let share = |count: u64, words: &[u64]| count as f64 / rows(words) as f64;
    let mut all = Vec::with_capacity(a_parts.len() + b_parts.len() + 1);
    let (mut i, mut j) = (0, 0);
    while i < a_parts.len() || j < b_parts.len() {
        let a_key = a_parts.get(i).map_or(u128::MAX, |part| part.0);
        let b_key = b_parts.get(j).map_or(u128::MAX, |part| part.0);
        let (mut p, mut q) = (0, 0);
        if a_key <= b_key {
            p = a_parts[i].1;
            i += 1;
        }
        if b_key <= a_key {
            q = b_parts[j].1;
            j += 1;
        }
        all.push((share(p, a), share(q, b)));
    }
    if a_rest > 0 || b_rest > 0 {
        all.push((share(a_rest, a), share(b_rest, b)));
    }
    all
}
