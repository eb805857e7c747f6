//! Which rows may still be among the best k: the second half of the first pass, and the re-ranking.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use base::simd::Level;

use super::exact::{Scorer, best_first};
use super::scan::Sink;
use super::{BLOCK, Hit};

/// Candidates beyond four per answer before the list is looked through.
const SPARE: usize = 1024;

/// A row whose upper bound reached the threshold.
struct Candidate {
    row: u32,
    upper: f32,
}

/// The candidates for the best `k` rows.
pub(super) struct Selection<'a> {
    level: Level,
    scorer: &'a Scorer<'a>,
    /// Bounds are bounds of the score times this.
    unit: f64,
    k: usize,
    excluded: &'a dyn Fn(u32) -> bool,
    candidates: Vec<Candidate>,
    /// The list is looked through at this length.
    limit: usize,
    /// The k largest lower bounds, as ordered integers, smallest first.
    lowers: BinaryHeap<Reverse<i32>>,
    /// No row below it is among the best k: the k-th largest lower bound of the candidates.
    threshold: f32,
}

impl<'a> Selection<'a> {
    /// `k` is at least 1.
    pub(super) fn new(
        level: Level,
        scorer: &'a Scorer<'a>,
        unit: f64,
        k: usize,
        excluded: &'a dyn Fn(u32) -> bool,
    ) -> Self {
        Self {
            level,
            scorer,
            unit,
            k,
            excluded,
            candidates: Vec::new(),
            limit: k.saturating_mul(4).saturating_add(SPARE),
            lowers: BinaryHeap::new(),
            threshold: f32::NEG_INFINITY,
        }
    }

    /// The best `k`, best first.
    pub(super) fn finish(mut self) -> Vec<Hit> {
        self.drop_hopeless();
        self.best()
    }

    fn drop_hopeless(&mut self) {
        let threshold = self.threshold;
        self.candidates.retain(|each| each.upper >= threshold);
    }

    /// The best `k` candidates, by their exact scores.
    fn best(&self) -> Vec<Hit> {
        let mut hits: Vec<Hit> =
            self.candidates.iter().map(|each| Hit { row: each.row, score: 0.0 }).collect();
        self.scorer.score_all(self.level, &mut hits);
        if hits.len() > self.k {
            hits.select_nth_unstable_by(self.k, best_first);
            hits.truncate(self.k);
        }
        hits.sort_unstable_by(best_first);
        hits
    }

    /// Shortens the list to half its limit or less. Where scores are too close for the bounds, the exact
    /// scores decide: rows come in rising order, so of equal ones the kept are also the first of all.
    fn compact(&mut self) {
        self.drop_hopeless();
        if self.candidates.len() <= self.limit / 2 {
            return;
        }
        let best = self.best();
        self.candidates.clear();
        self.lowers.clear();
        for hit in best {
            let value = hit.score * self.unit;
            self.candidates.push(Candidate { row: hit.row, upper: at_least(value) });
            self.add_lower(-at_least(-value));
        }
    }

    fn add_lower(&mut self, lower: f32) {
        self.lowers.push(Reverse(ordered(lower)));
        if self.lowers.len() > self.k {
            self.lowers.pop();
        }
        if self.lowers.len() == self.k
            && let Some(&Reverse(least)) = self.lowers.peek()
        {
            self.threshold = self.threshold.max(unordered(least));
        }
    }
}

impl Sink for Selection<'_> {
    fn threshold(&self) -> f32 {
        self.threshold
    }

    #[inline(never)]
    fn offer(&mut self, block: usize, mask: u16, uppers: &[f32; BLOCK], lowers: &[f32; BLOCK]) {
        let mut mask = mask;
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let row = (block * BLOCK + lane) as u32;
            // A bound that is not a number bounds nothing.
            let upper = if uppers[lane].is_nan() { f32::INFINITY } else { uppers[lane] };
            let lower = if lowers[lane].is_nan() { f32::NEG_INFINITY } else { lowers[lane] };
            if upper < self.threshold || (self.excluded)(row) {
                continue;
            }
            self.candidates.push(Candidate { row, upper });
            self.add_lower(lower);
            if self.candidates.len() >= self.limit {
                self.compact();
            }
        }
    }
}

/// The least f32 that is not below `value`.
fn at_least(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

/// An integer that orders as the number does.
fn ordered(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The number of [`ordered`], which undoes itself.
fn unordered(value: i32) -> f32 {
    f32::from_bits((value ^ (((value >> 31) as u32) >> 1) as i32) as u32)
}
