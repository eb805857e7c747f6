//! Answers from neighbours. The score of an item is the sum, over the items that somebody has, of the weight of each for it;
//! `k` rows come back whenever `k` eligible items exist.

use base::budget::Budget;
use base::error::Result;

use crate::answers::{Contribution, Filter, Recommendation, Source};

use super::NeighboursRef;

/// Items looked through between two looks at the control.
const PIECE: usize = 1 << 13;

/// A score for each item, and marks: what a call fills and leaves empty for the next.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    scores: Vec<f64>,
    /// A bit for each item that has a score.
    scored: Vec<u64>,
    /// A bit for each item that must not come.
    barred: Vec<u64>,
    /// The items that have a score.
    touched: Vec<u32>,
}

impl Scratch {
    /// For so many items. It grows by itself; made large enough it is used again by every call.
    pub fn new(items: usize) -> Self {
        let mut scratch = Self::default();
        scratch.reach(items);
        scratch
    }

    /// As `new`, taken from the budget.
    pub(crate) fn budgeted(items: usize, budget: &mut Budget<'_>) -> Result<Self> {
        let words = items.div_ceil(64);
        Ok(Self {
            scores: budget.zeroed(items)?,
            scored: budget.zeroed(words)?,
            barred: budget.zeroed(words)?,
            touched: budget.with_capacity(items)?,
        })
    }

    fn reach(&mut self, items: usize) {
        if self.scores.len() < items {
            self.scores.resize(items, 0.0);
            self.scored.resize(items.div_ceil(64), 0);
            self.barred.resize(items.div_ceil(64), 0);
        }
    }

    /// Adds to the score of each neighbour.
    fn add(&mut self, (items, weights): (&[u32], &[f32]), by: f64) {
        for (&item, &weight) in items.iter().zip(weights) {
            let at = item as usize;
            let (Some(score), Some(word)) = (self.scores.get_mut(at), self.scored.get_mut(at / 64)) else {
                continue;
            };
            *score += by * f64::from(weight);
            if *word >> (at % 64) & 1 == 0 {
                *word |= 1 << (at % 64);
                self.touched.push(item);
            }
        }
    }

    fn score(&self, item: u32) -> f64 {
        self.scores.get(item as usize).copied().unwrap_or(0.0)
    }

    fn clear(&mut self) {
        for &item in &self.touched {
            self.scores[item as usize] = 0.0;
            self.scored[item as usize / 64] = 0;
        }
        self.touched.clear();
    }
}

fn has(marks: &[u64], item: u32) -> bool {
    marks.get(item as usize / 64).is_some_and(|word| word >> (item % 64) & 1 == 1)
}

/// Sets or unsets the marks of items; those that do not exist have none.
fn mark(marks: &mut [u64], items: &[u32], on: bool) {
    for &item in items {
        if let Some(word) = marks.get_mut(item as usize / 64) {
            *word = if on { *word | 1 << (item % 64) } else { *word & !(1 << (item % 64)) };
        }
    }
}

/// By falling score, equal ones by rising item.
fn best_first(a: &(f64, u32), b: &(f64, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Drops all but the first `k` of the order.
fn keep_best(scored: &mut Vec<(f64, u32)>, k: usize) {
    if k < scored.len() {
        if k > 0 {
            scored.select_nth_unstable_by(k - 1, best_first);
        }
        scored.truncate(k);
    }
}

/// The first `k` of the order, in it.
fn first(mut scored: Vec<(f64, u32)>, k: usize) -> Vec<Recommendation> {
    keep_best(&mut scored, k);
    scored.sort_unstable_by(best_first);
    let answer = |(score, item)| Recommendation { item, score, source: Source::Model };
    scored.into_iter().map(answer).collect()
}

impl NeighboursRef<'_> {
    /// How much each item counts: its weight, or 1 without weights. A weight that is missing is 0.
    fn of_user<'b>(items: &'b [u32], weights: Option<&'b [f32]>) -> impl Iterator<Item = (u32, f64)> + 'b {
        items.iter().enumerate().map(move |(at, &item)| {
            let weight = weights.map_or(1.0, |weights| weights.get(at).copied().unwrap_or(0.0));
            (item, f64::from(weight))
        })
    }

    /// The score of an item for somebody who has `items`, each with its weight where given. 0 where nothing speaks for it.
    pub fn score(&self, items: &[u32], weights: Option<&[f32]>, item: u32) -> f64 {
        self.parts(items, weights, item).map(|part| part.contribution).sum::<f64>() + 0.0
    }

    /// What the score of an item is the sum of, in the order of `items`; without those that say nothing about it.
    pub fn explain(&self, items: &[u32], weights: Option<&[f32]>, item: u32) -> Vec<Contribution> {
        self.parts(items, weights, item).collect()
    }

    pub(crate) fn parts<'b>(
        &'b self,
        items: &'b [u32],
        weights: Option<&'b [f32]>,
        item: u32,
    ) -> impl Iterator<Item = Contribution> + 'b {
        Self::of_user(items, weights).filter_map(move |(own, by)| {
            let weight = self.weight(own, item)?;
            Some(Contribution { item: own, contribution: by * f64::from(weight) })
        })
    }

    /// The best `k` items for somebody who has `items` (rising), each with its weight where given.
    ///
    /// Items by falling score, equal ones by rising item. An item that nothing speaks for has score 0: those come after the
    /// ones above 0 in the order of `by_popularity`, and their source is popularity. Items that the user's own speak against
    /// come last. So the scores of a list never rise.
    ///
    /// `filter.keep_seen` lets the user's own items come; `by_popularity` has every item once.
    pub fn recommend(
        &self,
        items: &[u32],
        weights: Option<&[f32]>,
        k: usize,
        filter: Filter<'_>,
        by_popularity: &[u32],
        scratch: &mut Scratch,
    ) -> Vec<Recommendation> {
        let answer = self.rank((items, weights), k, filter, by_popularity, scratch, &mut |_| Ok(()));
        answer.unwrap_or_default()
    }

    /// As `recommend`; `look` hears of every step, in small numbers, and may end the call.
    pub(crate) fn rank(
        &self,
        (items, weights): (&[u32], Option<&[f32]>),
        k: usize,
        filter: Filter<'_>,
        by_popularity: &[u32],
        scratch: &mut Scratch,
        look: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Recommendation>> {
        scratch.reach(self.len());
        for (item, by) in Self::of_user(items, weights) {
            let row = self.row(item);
            look(row.0.len() + 1)?;
            scratch.add(row, by);
        }
        let mut barred = std::mem::take(&mut scratch.barred);
        mark(&mut barred, filter.exclude, true);
        if !filter.keep_seen {
            mark(&mut barred, items, true);
        }
        let answer = self.best(k, filter.candidates, by_popularity, &barred, scratch, look);
        mark(&mut barred, filter.exclude, false);
        mark(&mut barred, items, false);
        scratch.barred = barred;
        scratch.clear();
        answer
    }

    fn best(
        &self,
        k: usize,
        candidates: Option<&[u32]>,
        by_popularity: &[u32],
        barred: &[u64],
        scratch: &Scratch,
        look: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Recommendation>> {
        let mut allowed = Vec::new();
        if let Some(candidates) = candidates {
            allowed = vec![0u64; self.len().div_ceil(64)];
            mark(&mut allowed, candidates, true);
        }
        let eligible = |item: u32| !has(barred, item) && (candidates.is_none() || has(&allowed, item));
        let mut answer = self.scored(1.0, k, &eligible, scratch, look)?;
        for items in by_popularity.chunks(PIECE) {
            if answer.len() >= k {
                return Ok(answer);
            }
            look(items.len())?;
            let silent = items.iter().filter(|&&item| {
                (item as usize) < self.len() && scratch.score(item) == 0.0 && eligible(item)
            });
            let silent = silent.take(k - answer.len());
            answer.extend(silent.map(|&item| Recommendation { item, score: 0.0, source: Source::Popular }));
        }
        if answer.len() < k {
            answer.extend(self.scored(-1.0, k - answer.len(), &eligible, scratch, look)?);
        }
        Ok(answer)
    }

    /// The best `k` eligible items whose score has a sign.
    fn scored(
        &self,
        sign: f64,
        k: usize,
        eligible: &dyn Fn(u32) -> bool,
        scratch: &Scratch,
        look: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Recommendation>> {
        // A short list: what is behind its first `k` is dropped whenever it is full, and then less comes in.
        let limit = k.saturating_add(512).min(scratch.touched.len() + 1);
        let mut found = Vec::with_capacity(limit);
        let mut last = None;
        for items in scratch.touched.chunks(PIECE) {
            look(items.len())?;
            for &item in items {
                let score = scratch.score(item);
                let each = (score, item);
                let hopeless = last.is_some_and(|last| best_first(&each, &last).is_gt());
                if score * sign > 0.0 && !hopeless && eligible(item) {
                    if found.len() == limit {
                        keep_best(&mut found, k);
                        last = found.last().copied();
                    }
                    found.push(each);
                }
            }
        }
        Ok(first(found, k))
    }

    /// The `k` strongest neighbours of an item by falling weight, equal ones by rising item; without those it speaks
    /// against.
    pub fn similar(&self, item: u32, k: usize) -> Vec<Recommendation> {
        let (items, weights) = self.row(item);
        let scored = items.iter().zip(weights).map(|(&item, &weight)| (f64::from(weight), item));
        first(scored.filter(|&(weight, _)| weight > 0.0).collect(), k)
    }
}
