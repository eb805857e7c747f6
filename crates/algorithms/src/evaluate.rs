//! Scoring models on held-out entries, beside popularity.

use std::sync::{Mutex, PoisonError};

use crate::als::Factors;
use crate::budget::{Budget, MEASURING};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::Result;
use crate::interactions::{Pace, Split};
use crate::jobs::share;
use crate::metrics::{Estimates, Summary, rank_metrics};
use crate::neighbours::{NeighboursRef, Scratch};
use crate::popularity;
use crate::recommender::Filter;
use crate::search::{Index, Similarity, quantize};

/// Users that a thread takes at a time.
const CHUNK: usize = 16;

/// The figures at one cutoff.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The cutoff: metrics are over the first `k` items.
    pub k: usize,
    /// Of the model.
    pub model: Estimates,
    /// Of the most popular items of the training part.
    pub popularity: Estimates,
}

/// Ranks all items that a user does not have in the training part, for every sampled user of the split, and
/// measures the held-out ones at each cutoff of `ks`. Empty where the split holds no users.
///
/// `item_users`: the transpose of the training part. Errors: `Cancelled`, `Memory`, `NoMemory`.
pub fn evaluate(
    split: &Split,
    item_users: &Csr,
    factors: &Factors,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    let mut budget = Budget::new(control, MEASURING);
    let sections = quantize(&factors.items, factors.factors, threads, control)?;
    budget.adopt(sections.bytes());
    let index = Index::new(&factors.items, factors.factors, &sections.quantized, &sections.bounds)?;
    measure(split, item_users, ks, threads, control, |_| {
        Ok(|user: u32, longest: usize, seen: &Marks<'_>, _: &[u32]| {
            let query = &factors.users[user as usize * factors.factors..][..factors.factors];
            let is_seen = |item: u32| seen.has(item);
            let hits = index.search_with(query, longest, Similarity::InnerProduct, &is_seen, control)?;
            Ok(hits.iter().map(|hit| hit.row).collect())
        })
    })
}

/// As [`evaluate`], for neighbours; `weighted` says whether an item counts by the user's value instead of by 1.
pub fn evaluate_neighbours(
    split: &Split,
    item_users: &Csr,
    neighbours: NeighboursRef<'_>,
    weighted: bool,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    measure(split, item_users, ks, threads, control, |budget| {
        let mut scratch = Scratch::budgeted(neighbours.len(), budget)?;
        let mut pace = Pace::new(control);
        Ok(move |user: u32, longest: usize, _: &Marks<'_>, by_popularity: &[u32]| {
            let (items, values) = split.train.row(user as usize);
            let user = (items, weighted.then_some(values));
            let look = &mut |steps| pace.step(steps);
            let found =
                neighbours.rank(user, longest, Filter::default(), by_popularity, &mut scratch, look)?;
            Ok(found.iter().map(|each| each.item).collect())
        })
    })
}

/// As [`evaluate`], for one order of all items that is the same for everybody.
pub fn evaluate_order(
    split: &Split,
    item_users: &Csr,
    order: &[u32],
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    measure(split, item_users, ks, threads, control, |_| {
        let mut pace = Pace::new(control);
        Ok(move |_: u32, longest: usize, seen: &Marks<'_>, _: &[u32]| seen.others(order, longest, &mut pace))
    })
}

/// Measures what ranks: of each thread, called with a user, the number of items, the marks of the user's items and all
/// items by popularity.
fn measure<R>(
    split: &Split,
    item_users: &Csr,
    ks: &[usize],
    threads: usize,
    control: &Control,
    ranker: impl Fn(&mut Budget<'_>) -> Result<R> + Sync,
) -> Result<Vec<Evaluation>>
where
    R: FnMut(u32, usize, &Marks<'_>, &[u32]) -> Result<Vec<u32>>,
{
    let items = item_users.rows();
    let mut budget = Budget::new(control, MEASURING);
    let item_counts = popularity::counts(item_users, &mut budget)?;
    let by_popularity = popularity::order(&item_counts, &mut budget)?;
    budget.free(item_counts);
    let longest = ks.iter().copied().max().unwrap_or(0);
    let empty = |budget: &mut Budget<'_>| -> Result<Vec<[Summary; 2]>> {
        let mut one = || Ok(Summary::with(items, budget.zeroed(Summary::words(items))?));
        ks.iter().map(|_| Ok([one()?, one()?])).collect()
    };
    let totals = Mutex::new(empty(&mut budget)?);
    let users = split.users.len();
    control.start(users as u64);

    let jobs = split.users.chunks(CHUNK).zip((0..).step_by(CHUNK));
    let threads = threads.min(users.div_ceil(CHUNK)).max(1);
    share(jobs, threads, control, |jobs| {
        // Dropped after what it counts.
        let mut budget = Budget::new(control, MEASURING);
        let mut mine = empty(&mut budget)?;
        let mut seen = Marks { words: budget.zeroed(items.div_ceil(64))?, pace: Pace::new(control) };
        let mut pace = Pace::new(control);
        let mut ranker = ranker(&mut budget)?;
        while let Some((users, first)) = jobs.next()? {
            for (position, &user) in (first..).zip(users) {
                let (trained, _) = split.train.row(user as usize);
                let (relevant, _) = split.held_out.row(position);
                seen.flip(trained)?;
                let ranked = ranker(user, longest, &seen, &by_popularity)?;
                let popular = seen.others(&by_popularity, longest, &mut pace)?;
                seen.flip(trained)?;
                for (summaries, &k) in mine.iter_mut().zip(ks) {
                    for (summary, list) in summaries.iter_mut().zip([&ranked, &popular]) {
                        let shown = &list[..k.min(list.len())];
                        summary.add(&rank_metrics(shown, relevant, k), shown);
                    }
                }
            }
            control.advance(users.len() as u64);
        }
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (total, mine) in totals.iter_mut().zip(&mine) {
            total[0].merge(&mine[0]);
            total[1].merge(&mine[1]);
        }
        Ok(())
    })?;
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let figures = totals.iter().zip(ks).filter_map(|([model, popularity], &k)| {
        Some(Evaluation { k, model: model.estimates()?, popularity: popularity.estimates()? })
    });
    Ok(figures.collect())
}

/// A bit for each item that a user has. A search in the user's list instead would take a second for somebody who has
/// millions of the items that are looked at first.
struct Marks<'c> {
    words: Vec<u64>,
    pace: Pace<'c>,
}

impl Marks<'_> {
    /// Marks items that are not marked, unmarks those that are.
    fn flip(&mut self, items: &[u32]) -> Result<()> {
        for &item in items {
            self.pace.step(1)?;
            self.words[item as usize / 64] ^= 1 << (item % 64);
        }
        Ok(())
    }

    fn has(&self, item: u32) -> bool {
        self.words[item as usize / 64] >> (item % 64) & 1 == 1
    }

    /// The first `count` of `items` that are not marked.
    fn others(&self, items: &[u32], count: usize, pace: &mut Pace<'_>) -> Result<Vec<u32>> {
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
