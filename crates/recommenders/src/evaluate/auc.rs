//! The area under the ROC curve of a user: how often a held-out item ranks above one that the user has not, over all such
//! pairs; an equal score is half a pair (Mann and Whitney 1947). Exact over the whole ranking.

use base::budget::Budget;
use base::error::Result;

use super::ranker::{Marks, Popularity, Ranker, User};

/// Items looked at between two looks at the control.
const PIECE: usize = 1 << 13;

/// The share of pairs that each held-out item of a user wins.
pub(super) struct Pairs {
    /// Held-out items, rising, and their shares.
    won: Vec<(u32, f64)>,
}

impl Pairs {
    /// Over some of the held-out items, which rise.
    pub(super) fn mean(&self, of: &[u32]) -> Option<f64> {
        let share = |item| self.won.binary_search_by_key(item, |pair| pair.0).ok().map(|at| self.won[at].1);
        let shares: Vec<f64> = of.iter().filter_map(share).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }
}

/// Compares; one for each thread.
pub(super) struct Auc {
    /// What items are ranked by.
    scores: Vec<f64>,
}

impl Auc {
    pub(super) fn new(items: usize, budget: &mut Budget<'_>) -> Result<Self> {
        Ok(Self { scores: budget.zeroed(items)? })
    }

    /// Of the model and of popularity; nothing for a user who has everything. `seen` marks the user's known items.
    pub(super) fn pairs(
        &mut self,
        ranker: &mut dyn Ranker,
        user: &User<'_>,
        relevant: &[u32],
        popularity: &Popularity,
        seen: &mut Marks<'_>,
    ) -> Result<[Option<Pairs>; 2]> {
        seen.flip(relevant)?;
        ranker.scores(user, &mut self.scores)?;
        let model = compare(&self.scores, |&score| score, relevant, seen)?;
        let popular = compare(&popularity.counts, |&count| f64::from(count), relevant, seen)?;
        seen.flip(relevant)?;
        Ok([model, popular])
    }
}

/// Compares the scores of the relevant items with those of all items that are not marked, in
/// `O(items log(relevant))`.
fn compare<T>(
    scores: &[T],
    score: impl Fn(&T) -> f64,
    relevant: &[u32],
    marked: &mut Marks<'_>,
) -> Result<Option<Pairs>> {
    let mut sorted: Vec<(f64, u32)> =
        relevant.iter().map(|&item| (score(&scores[item as usize]), item)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Of the unmarked items: how many lie above the first n held-out ones and not below the next, and how many are equal
    // to the n-th, written as where a run of equal ones begins and ends.
    let mut above = vec![0i64; sorted.len() + 1];
    let mut equal = vec![0i64; sorted.len() + 1];
    let mut others = 0u64;
    for (scores, first) in scores.chunks(PIECE).zip((0..).step_by(PIECE)) {
        marked.look(scores.len())?;
        for (each, item) in scores.iter().zip(first..) {
            if marked.has(item) {
                continue;
            }
            let each = score(each);
            let lower = sorted.partition_point(|held| held.0 < each);
            let upper = lower + sorted[lower..].partition_point(|held| held.0 <= each);
            above[upper] += 1;
            equal[lower] += 1;
            equal[upper] -= 1;
            others += 1;
        }
    }
    if others == 0 {
        return Ok(None);
    }
    let (mut below, mut same) = (0, 0);
    let mut won: Vec<(u32, f64)> = Vec::with_capacity(sorted.len());
    for (at, &(_, item)) in sorted.iter().enumerate() {
        below += above[at];
        same += equal[at];
        won.push((item, (below as f64 + same as f64 / 2.0) / others as f64));
    }
    won.sort_unstable_by_key(|pair| pair.0);
    Ok(Some(Pairs { won }))
}
