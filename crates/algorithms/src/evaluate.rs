//! Scoring factors on held-out entries, beside popularity.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::als::Factors;
use crate::control::Control;
use crate::error::Result;
use crate::interactions::Split;
use crate::metrics::{Estimates, Summary, rank_metrics};
use crate::search::{Index, Similarity, quantize};

/// Users that a thread takes at a time.
const CHUNK: usize = 16;

/// The figures at one cutoff.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The cutoff: metrics are over the first `k` items.
    pub k: usize,
    /// Of the factors.
    pub model: Estimates,
    /// Of the most popular items of the training part.
    pub popularity: Estimates,
}

/// Ranks all items that a user does not have in the training part, for every sampled user of the split, and
/// measures the held-out ones at each cutoff of `ks`. Empty where the split holds no users.
///
/// `item_counts`: entries of each item in the training part. Errors: `Cancelled`, `Memory`.
pub fn evaluate(
    split: &Split,
    item_counts: &[u32],
    factors: &Factors,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    let items = item_counts.len();
    let sections = quantize(&factors.items, factors.factors, threads, control)?;
    let index = Index::new(&factors.items, factors.factors, &sections.quantized, &sections.bounds)?;
    let mut by_popularity: Vec<u32> = (0..items as u32).collect();
    by_popularity.sort_by_key(|&item| std::cmp::Reverse(item_counts[item as usize]));
    let longest = ks.iter().copied().max().unwrap_or(0);
    let empty = || ks.iter().map(|_| [Summary::new(items), Summary::new(items)]).collect::<Vec<_>>();
    let totals = Mutex::new(empty());
    let next = AtomicUsize::new(0);
    control.start(split.users.len() as u64);

    let work = || -> Result<()> {
        let mut mine = empty();
        loop {
            control.check()?;
            let start = next.fetch_add(CHUNK, Relaxed);
            if start >= split.users.len() {
                break;
            }
            let end = (start + CHUNK).min(split.users.len());
            for (position, &user) in split.users.iter().enumerate().take(end).skip(start) {
                let (seen, _) = split.train.row(user as usize);
                let (relevant, _) = split.held_out.row(position);
                let query = &factors.users[user as usize * factors.factors..][..factors.factors];
                let is_seen = |item: u32| seen.binary_search(&item).is_ok();
                let ranked: Vec<u32> = index
                    .search(query, longest, Similarity::InnerProduct, &is_seen)
                    .iter()
                    .map(|hit| hit.row)
                    .collect();
                let popular: Vec<u32> =
                    by_popularity.iter().copied().filter(|&item| !is_seen(item)).take(longest).collect();
                for (summaries, &k) in mine.iter_mut().zip(ks) {
                    for (summary, list) in summaries.iter_mut().zip([&ranked, &popular]) {
                        let shown = &list[..k.min(list.len())];
                        summary.add(&rank_metrics(shown, relevant, k), shown);
                    }
                }
            }
            control.advance((end - start) as u64);
        }
        let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (total, mine) in totals.iter_mut().zip(&mine) {
            total[0].merge(&mine[0]);
            total[1].merge(&mine[1]);
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        // A thread that the system refuses is not missed: the others take its share.
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut outcome = work();
        for other in others {
            match other.join() {
                Ok(answer) => outcome = outcome.and(answer),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    })?;
    let totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    control.give(sections.bytes());
    let figures = totals.iter().zip(ks).filter_map(|([model, popularity], &k)| {
        Some(Evaluation { k, model: model.estimates()?, popularity: popularity.estimates()? })
    });
    Ok(figures.collect())
}
