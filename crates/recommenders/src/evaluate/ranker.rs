//! What ranks the items of a user: a model, or their popularity.

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::pace::Pace;
use vectors::search::{Hit, Index, Sections, Similarity, quantize};

use crate::als::{fold_in, gram};
use crate::answers::Filter;
use crate::factors::{Factors, sum};
use crate::interactions::Split;
use crate::neighbours::{NeighboursRef, Scratch};
use crate::popularity;
use crate::tasks::MEASURING;

/// Rows scored between two looks at the control.
const PIECE: usize = 1 << 13;

/// A user and what is known of it.
pub(super) struct User<'a> {
    /// Row of the user.
    pub(super) row: u32,
    /// The items that the model may know of, rising.
    pub(super) items: &'a [u32],
    pub(super) values: &'a [f32],
    /// Whether the fit knew nothing of this user.
    pub(super) new: bool,
}

impl<'a> User<'a> {
    pub(super) fn of(split: &'a Split, position: usize, row: u32) -> Self {
        let (items, values) = split.known_of(position);
        Self { row, items, values, new: split.known.is_some() }
    }
}

/// Ranks and scores for one thread.
pub(super) trait Ranker {
    /// The first items, without those that are seen.
    fn rank(&mut self, user: &User<'_>, longest: usize, seen: &Seen<'_>) -> Result<Vec<u32>>;

    /// What each item is ranked by.
    fn scores(&mut self, user: &User<'_>, scores: &mut [f64]) -> Result<()>;
}

/// What all threads search.
pub(super) struct Search<'a> {
    factors: &'a Factors,
    sections: Sections,
    /// What new users are folded in with; nothing where they are sums.
    fold: Option<(f64, f64)>,
    /// Where users are new and not sums.
    gram: Vec<f32>,
    _budget: Budget<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        factors: &'a Factors,
        fold: Option<(f64, f64)>,
        split: &Split,
        threads: usize,
        control: &'a Control,
    ) -> Result<Self> {
        let mut budget = Budget::new(control, MEASURING);
        let sections = quantize(&factors.items, factors.factors, threads, control)?;
        budget.adopt(sections.bytes());
        let mut of_items = Vec::new();
        if split.known.is_some() && fold.is_some() {
            of_items = gram(&factors.items, factors.factors, threads, control)?;
        }
        Ok(Self { factors, sections, fold, gram: of_items, _budget: budget })
    }
}

/// Ranks by the products of factors.
pub(super) struct ByFactors<'a> {
    search: &'a Search<'a>,
    index: Index<'a>,
    control: &'a Control,
}

impl<'a> ByFactors<'a> {
    pub(super) fn new(search: &'a Search<'a>, control: &'a Control) -> Result<Self> {
        let Search { factors, sections, .. } = search;
        let index = Index::new(&factors.items, factors.factors, &sections.quantized, &sections.bounds)?;
        Ok(Self { search, index, control })
    }

    /// The factors of a user: those that were learned, or as a request for a list of items makes them.
    fn query(&self, user: &User<'_>) -> std::borrow::Cow<'a, [f32]> {
        let Search { factors, fold, gram, .. } = self.search;
        let Factors { factors, users, items } = factors;
        if !user.new {
            return users[user.row as usize * factors..][..*factors].into();
        }
        let Some((regularization, alpha)) = *fold else { return sum(items, *factors, user.items).into() };
        let ones = vec![1.0; user.items.len()];
        fold_in(gram, items, *factors, user.items, &ones, regularization, alpha).into()
    }
}

impl Ranker for ByFactors<'_> {
    fn rank(&mut self, user: &User<'_>, longest: usize, seen: &Seen<'_>) -> Result<Vec<u32>> {
        let is_seen = |item: u32| seen.has(item);
        let query = self.query(user);
        let hits =
            self.index.search_with(&query, longest, Similarity::InnerProduct, &is_seen, self.control)?;
        Ok(hits.iter().map(|hit| hit.row).collect())
    }

    fn scores(&mut self, user: &User<'_>, scores: &mut [f64]) -> Result<()> {
        let query = self.query(user);
        let mut hits = vec![Hit { row: 0, score: 0.0 }; PIECE.min(scores.len())];
        for (scores, first) in scores.chunks_mut(PIECE).zip((0..).step_by(PIECE)) {
            self.control.check()?;
            let hits = &mut hits[..scores.len()];
            self.index.products(&query, first, hits);
            scores.iter_mut().zip(hits).for_each(|(score, hit)| *score = hit.score);
        }
        Ok(())
    }
}

/// Ranks by sums over neighbours.
pub(super) struct ByNeighbours<'a> {
    neighbours: NeighboursRef<'a>,
    weighted: bool,
    popularity: &'a Popularity,
    scratch: Scratch,
    pace: Pace<'a>,
}

impl<'a> ByNeighbours<'a> {
    pub(super) fn new(
        neighbours: NeighboursRef<'a>,
        weighted: bool,
        popularity: &'a Popularity,
        control: &'a Control,
        budget: &mut Budget<'_>,
    ) -> Result<Self> {
        let scratch = Scratch::budgeted(neighbours.len(), budget)?;
        Ok(Self { neighbours, weighted, popularity, scratch, pace: Pace::new(control) })
    }
}

impl Ranker for ByNeighbours<'_> {
    fn rank(&mut self, user: &User<'_>, longest: usize, _: &Seen<'_>) -> Result<Vec<u32>> {
        let user = (user.items, self.weighted.then_some(user.values));
        let Self { neighbours, popularity, scratch, pace, .. } = self;
        let look = &mut |steps| pace.step(steps);
        let found = neighbours.rank(user, longest, Filter::default(), &popularity.order, scratch, look)?;
        Ok(found.iter().map(|each| each.item).collect())
    }

    /// Items that nothing speaks for are ranked by popularity, all between those above and those below 0.
    fn scores(&mut self, user: &User<'_>, scores: &mut [f64]) -> Result<()> {
        let Self { neighbours, weighted, popularity, pace, .. } = self;
        scores.fill(0.0);
        for (at, &item) in user.items.iter().enumerate() {
            let by = if *weighted { f64::from(user.values[at]) } else { 1.0 };
            let (others, weights) = neighbours.row(item);
            pace.step(others.len() + 1)?;
            for (&other, &weight) in others.iter().zip(weights) {
                scores[other as usize] += by * f64::from(weight);
            }
        }
        for (scores, counts) in scores.chunks_mut(PIECE).zip(popularity.counts.chunks(PIECE)) {
            pace.step(scores.len())?;
            for (score, &count) in scores.iter_mut().zip(counts).filter(|(score, _)| **score == 0.0) {
                // Smaller than any product of two f32, so no sum of weights comes between.
                *score = f64::from(count) * 1e-300;
            }
        }
        Ok(())
    }
}

/// What an order is by; equal items stand in it by their number.
pub(super) enum Worth<'a> {
    Weights(&'a [f64]),
    Counts(&'a [u32]),
}

/// Shows everybody the same order.
pub(super) struct ByOrder<'a> {
    pub(super) order: &'a [u32],
    pub(super) worth: Worth<'a>,
    pub(super) pace: Pace<'a>,
}

impl Ranker for ByOrder<'_> {
    fn rank(&mut self, _: &User<'_>, longest: usize, seen: &Seen<'_>) -> Result<Vec<u32>> {
        seen.others(self.order, longest, &mut self.pace)
    }

    fn scores(&mut self, _: &User<'_>, scores: &mut [f64]) -> Result<()> {
        for (item, score) in scores.iter_mut().enumerate() {
            self.pace.step(1)?;
            *score = match self.worth {
                Worth::Weights(weights) => weights[item],
                Worth::Counts(counts) => counts[item].into(),
            };
        }
        Ok(())
    }
}

/// How popular items are in the training part.
pub(super) struct Popularity {
    /// Entries of each item.
    pub(super) counts: Vec<u32>,
    /// Items by falling count, equal ones by rising number.
    pub(super) order: Vec<u32>,
    /// Entries of all items.
    pub(super) entries: u64,
}

impl Popularity {
    pub(super) fn new(item_users: &Csr, budget: &mut Budget<'_>) -> Result<Self> {
        Self::of(popularity::counts(item_users, budget)?, item_users.entries() as u64, budget)
    }

    /// Of known counts.
    pub(super) fn of(counts: Vec<u32>, entries: u64, budget: &mut Budget<'_>) -> Result<Self> {
        let order = popularity::order(&counts, budget)?;
        Ok(Self { counts, order, entries })
    }

    /// The mean over items of `-log2` of their share of all entries (Vargas and Castells, RecSys 2011); one that has no
    /// entry counts as if it had one. 0 for no items.
    pub(super) fn novelty(&self, shown: &[u32]) -> f64 {
        let entries = self.entries.max(1) as f64;
        let bits = shown.iter().map(|&item| (entries / f64::from(self.counts[item as usize].max(1))).log2());
        bits.sum::<f64>() / shown.len().max(1) as f64
    }
}

/// A bit for each item that a user has. A search in the user's list instead would take a second for somebody who has
/// millions of the items that are looked at first.
pub(super) struct Marks<'c> {
    words: Vec<u64>,
    pace: Pace<'c>,
}

impl<'c> Marks<'c> {
    pub(super) fn new(items: usize, budget: &mut Budget<'c>) -> Result<Self> {
        Ok(Self { words: budget.zeroed(items.div_ceil(64))?, pace: Pace::new(budget.control()) })
    }

    /// Marks items that are not marked, unmarks those that are.
    pub(super) fn flip(&mut self, items: &[u32]) -> Result<()> {
        for &item in items {
            self.pace.step(1)?;
            self.words[item as usize / 64] ^= 1 << (item % 64);
        }
        Ok(())
    }

    pub(super) fn has(&self, item: u32) -> bool {
        self.words[item as usize / 64] >> (item % 64) & 1 == 1
    }

    /// A look at the control, of so many steps.
    pub(super) fn look(&mut self, steps: usize) -> Result<()> {
        self.pace.step(steps)
    }
}

/// The marks of a user's items, for the rows that a ranker knows.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    marks: &'a Marks<'a>,
    /// What the rows are in the whole, where they are those of a part.
    of_part: Option<&'a [u32]>,
}

impl<'a> Seen<'a> {
    pub(super) fn whole(marks: &'a Marks<'a>) -> Self {
        Self { marks, of_part: None }
    }

    pub(super) fn of_part(self, items: &'a [u32]) -> Self {
        Self { of_part: Some(items), ..self }
    }

    pub(super) fn has(&self, item: u32) -> bool {
        self.marks.has(self.of_part.map_or(item, |items| items[item as usize]))
    }

    /// The first `count` of `items` that are not seen.
    pub(super) fn others(&self, items: &[u32], count: usize, pace: &mut Pace<'_>) -> Result<Vec<u32>> {
        let mut others = Vec::new();
        for &item in items {
            if others.len() == count {
                break;
            }
            pace.step(1)?;
            if !self.has(item) {
                others.push(item);
            }
        }
        Ok(others)
    }
}
