//! A mergeable summary of a distribution of numbers, in flat words: exact up to 8191 numbers, of bounded size and error
//! above, and without randomness.
//!
//! Agarwal, Cormode, Huang, Phillips, Wei and Yi, "Mergeable summaries", PODS 2012, section 3.1 (the logarithmic method
//! of Munro and Paterson 1980), with alternating halves in place of random ones. Numbers fill a buffer; a full buffer is a
//! block of weight 1; two blocks of a weight become one of twice the weight, which keeps every other number of both in
//! order. So there is at most one block of each weight, and which ones there are is the count in binary.
//!
//! Taking every other of two blocks of weight w moves no rank by more than w: the summary adds these up, and what it says
//! of ranks is wrong by at most that sum. It is below log2(n / 4096) / 8192 of n: 0.13 % of five million.

use base::error::Overflow;
use base::order;

/// Numbers of a block.
pub const BLOCK: usize = 4096;

/// Room of the buffer at first.
const START: usize = 16;

/// Words before the numbers.
const HEADER: usize = 6;

// The header, by word.
const COUNT: usize = 0;
const ERROR: usize = 1;
const HALVES: usize = 2;
const ROOM: usize = 3;
const MIN: usize = 4;
const MAX: usize = 5;

/// The most numbers: far above what can be counted in years.
const MOST: u64 = 1 << 50;

/// Words of a summary of that many numbers: the buffer, and a block for each binary digit of the count of full blocks.
pub fn words(count: u64) -> usize {
    let full = count / BLOCK as u64;
    let room = if full > 0 { BLOCK } else { (count as usize).next_power_of_two().max(START) };
    HEADER + room + blocks(full) * BLOCK
}

fn blocks(full: u64) -> usize {
    (u64::BITS - full.leading_zeros()) as usize
}

/// How many numbers there are.
pub fn count(words: &[u64]) -> u64 {
    words.first().copied().unwrap_or(0)
}

/// How far off a rank may be, in numbers; 0 where all are kept.
pub fn rank_error(words: &[u64]) -> u64 {
    words.get(ERROR).copied().unwrap_or(0)
}

/// Whether there is room for one number more; without it, `grow` first.
#[inline]
pub fn has_room(words: &[u64]) -> bool {
    // A number that fills the buffer makes a block, which needs its place.
    words.len() > HEADER && {
        let next = words[COUNT] + 1;
        let full = next / BLOCK as u64;
        let fill = (words[COUNT] % BLOCK as u64) as usize;
        fill < words[ROOM] as usize
            && (!next.is_multiple_of(BLOCK as u64)
                || words.len() >= HEADER + words[ROOM] as usize + blocks(full) * BLOCK)
    }
}

/// Words of a larger summary that has room for one number more.
pub fn grown(words: &[u64]) -> usize {
    self::words((count(words) + 1).max(2 * (count(words) % BLOCK as u64)).max(1))
}

/// Copies a summary into longer zeroed words.
pub fn grow(old: &[u64], new: &mut [u64]) {
    let room = (new.len() - HEADER).min(BLOCK);
    if old.is_empty() {
        new[ROOM] = room as u64;
        return;
    }
    let old_room = old[ROOM] as usize;
    new[..HEADER].copy_from_slice(&old[..HEADER]);
    new[ROOM] = room as u64;
    new[HEADER..HEADER + old_room].copy_from_slice(&old[HEADER..HEADER + old_room]);
    let (from, to) = (HEADER + old_room, HEADER + room);
    let length = old.len() - from;
    new[to..to + length].copy_from_slice(&old[from..]);
}

/// Adds a number; there is room for it.
#[inline]
pub fn push(words: &mut [u64], x: f64) {
    let x = order::canonical(x);
    widen(words, x, x);
    place(words, x);
}

fn widen(words: &mut [u64], low: f64, high: f64) {
    if words[COUNT] == 0 || low.total_cmp(&f64::from_bits(words[MIN])).is_lt() {
        words[MIN] = low.to_bits();
    }
    if words[COUNT] == 0 || high.total_cmp(&f64::from_bits(words[MAX])).is_gt() {
        words[MAX] = high.to_bits();
    }
}

#[inline]
fn place(words: &mut [u64], x: f64) {
    let fill = (words[COUNT] % BLOCK as u64) as usize;
    words[HEADER + fill] = x.to_bits();
    words[COUNT] += 1;
    if fill + 1 == BLOCK {
        let mut carry = [0.0; BLOCK];
        carry.iter_mut().zip(&words[HEADER..]).for_each(|(x, bits)| *x = f64::from_bits(*bits));
        carry.sort_unstable_by(f64::total_cmp);
        let full_before = words[COUNT] / BLOCK as u64 - 1;
        settle(words, &mut carry, 0, full_before);
    }
}

/// Puts a sorted block of weight 2^level where it belongs, when there were `full` blocks of weight 1 before.
fn settle(words: &mut [u64], carry: &mut [f64; BLOCK], mut level: usize, full: u64) {
    while full >> level & 1 == 1 {
        let at = block_at(words, level);
        halve(&words[at..at + BLOCK], carry, words[HALVES] >> level & 1);
        words[HALVES] ^= 1 << level;
        words[ERROR] += 1 << level;
        level += 1;
    }
    let at = block_at(words, level);
    words[at..at + BLOCK].iter_mut().zip(carry.iter()).for_each(|(bits, x)| *bits = x.to_bits());
}

fn block_at(words: &[u64], level: usize) -> usize {
    HEADER + words[ROOM] as usize + level * BLOCK
}

/// Every other number of two sorted blocks in order, from the first (0) or the second (1); into `carry`.
fn halve(block: &[u64], carry: &mut [f64; BLOCK], from: u64) {
    let mut kept = [0.0; BLOCK];
    let (mut left, mut right) = (0, 0);
    for place in 0..2 * BLOCK {
        let from_left =
            right == BLOCK || left < BLOCK && f64::from_bits(block[left]).total_cmp(&carry[right]).is_le();
        let next = if from_left { f64::from_bits(block[left]) } else { carry[right] };
        if place as u64 % 2 == from {
            kept[place / 2] = next;
        }
        if from_left {
            left += 1;
        } else {
            right += 1;
        }
    }
    *carry = kept;
}

/// How many numbers two summaries have together, which must be asked before they are merged.
pub fn total(words: &[u64], other: &[u64]) -> Result<u64, Overflow> {
    count(words).checked_add(count(other)).filter(|&count| count <= MOST).ok_or(Overflow)
}

/// Adds all numbers of `other`, for whose sum with `words` there is room.
pub fn merge(words: &mut [u64], other: &[u64]) {
    if count(other) == 0 {
        return;
    }
    widen(words, f64::from_bits(other[MIN]), f64::from_bits(other[MAX]));
    words[ERROR] += other[ERROR];
    let other_full = other[COUNT] / BLOCK as u64;
    // Blocks from the greatest on, so that each finds the lower ones of its own kind still apart.
    for level in (0..blocks(other_full)).rev() {
        if other_full >> level & 1 == 1 {
            let at = block_at(other, level);
            let mut carry = [0.0; BLOCK];
            carry.iter_mut().zip(&other[at..]).for_each(|(x, bits)| *x = f64::from_bits(*bits));
            let full = words[COUNT] / BLOCK as u64;
            settle(words, &mut carry, level, full);
            words[COUNT] += (BLOCK as u64) << level;
        }
    }
    for &bits in &other[HEADER..HEADER + (other[COUNT] % BLOCK as u64) as usize] {
        place(words, f64::from_bits(bits));
    }
}

/// Whether words that came from elsewhere are a summary. Nothing is one of no numbers.
pub fn is_valid(words: &[u64]) -> bool {
    if words.is_empty() {
        return true;
    }
    if words.len() < HEADER || words[COUNT] == 0 || words[COUNT] > MOST {
        return false;
    }
    let full = words[COUNT] / BLOCK as u64;
    let room = words[ROOM] as usize;
    let shaped = if full > 0 { room == BLOCK } else { room >= words[COUNT] as usize && room <= BLOCK };
    let spare = words.len() - HEADER;
    if !shaped
        || spare < room + blocks(full) * BLOCK
        || spare > BLOCK * 52
        || !(spare - room).is_multiple_of(BLOCK)
    {
        return false;
    }
    let (min, max) = (f64::from_bits(words[MIN]), f64::from_bits(words[MAX]));
    let inside = |bits: &u64| {
        let x = f64::from_bits(*bits);
        order::canonical(x).to_bits() == *bits && x.total_cmp(&min).is_ge() && x.total_cmp(&max).is_le()
    };
    let sorted = |block: &[u64]| {
        block.windows(2).all(|pair| f64::from_bits(pair[0]).total_cmp(&f64::from_bits(pair[1])).is_le())
    };
    words[ERROR] <= words[COUNT]
        && [words[MIN], words[MAX]].iter().all(inside)
        && words[HEADER..HEADER + (words[COUNT] % BLOCK as u64) as usize].iter().all(inside)
        && (0..blocks(full)).filter(|level| full >> level & 1 == 1).all(|level| {
            let block = &words[block_at(words, level)..][..BLOCK];
            sorted(block) && block.iter().all(inside)
        })
}

/// A summary, sorted for questions.
pub struct Distribution {
    /// Numbers with their weights, in order.
    values: Vec<(f64, u64)>,
    count: u64,
    min: f64,
    max: f64,
    exact: bool,
}

impl Distribution {
    /// Of a summary; None of no numbers.
    pub fn of(words: &[u64]) -> Option<Distribution> {
        let count = count(words);
        if count == 0 {
            return None;
        }
        let full = count / BLOCK as u64;
        let mut values: Vec<(f64, u64)> = words[HEADER..HEADER + (count % BLOCK as u64) as usize]
            .iter()
            .map(|bits| (f64::from_bits(*bits), 1))
            .collect();
        for level in (0..blocks(full)).filter(|level| full >> level & 1 == 1) {
            let block = &words[block_at(words, level)..][..BLOCK];
            values.extend(block.iter().map(|bits| (f64::from_bits(*bits), 1 << level)));
        }
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (min, max) = (f64::from_bits(words[MIN]), f64::from_bits(words[MAX]));
        Some(Distribution { values, count, min, max, exact: rank_error(words) == 0 })
    }

    /// How many numbers are behind it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether it is of all numbers.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The quantile `p`, between 0 and 1, interpolated between two neighbours as numpy does; the least and the greatest
    /// number are always exact.
    pub fn quantile(&self, p: f64) -> f64 {
        self.quantiles(&[p])[0]
    }

    /// Quantiles at several places, in increasing order.
    pub fn quantiles(&self, places: &[f64]) -> Vec<f64> {
        let mut values = self.values.iter();
        let mut current = (self.min, 0);
        let mut before = 0;
        // The number of that rank, from 0; ranks only increase, but for the neighbour of the last one.
        let mut at = |rank: u64, keep: bool| {
            if rank == 0 {
                return self.min;
            }
            if rank + 1 >= self.count {
                return self.max;
            }
            let (mut value, mut end, mut rest) = (current, before, values.clone());
            while end <= rank {
                let Some(next) = rest.next() else { return self.max };
                (value, end) = (*next, end + next.1);
            }
            if keep {
                (current, before, values) = (value, end, rest);
            }
            value.0
        };
        places
            .iter()
            .map(|p| {
                let (rank, share) = order::position(self.count, *p);
                let low = at(rank, true);
                if share == 0.0 { low } else { order::between(low, at(rank + 1, false), share) }
            })
            .collect()
    }

    /// The share of numbers at or below each of `bounds`, which are in order.
    pub fn shares_to(&self, bounds: &[f64]) -> Vec<f64> {
        let (mut next, mut sum) = (0, 0);
        bounds
            .iter()
            .map(|bound| {
                while next < self.values.len() && self.values[next].0.total_cmp(bound).is_le() {
                    sum += self.values[next].1;
                    next += 1;
                }
                sum as f64 / self.count as f64
            })
            .collect()
    }

    /// The numbers with their weights, in order.
    pub fn values(&self) -> &[(f64, u64)] {
        &self.values
    }
}
