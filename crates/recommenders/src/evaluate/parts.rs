//! Users of parts, each of which has a model of its own beside that of all.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::pace::Pace;

use crate::interactions::Split;
use crate::partition::{NONE, Slice};
use crate::popularity::Decayed;

use super::Learned;
use super::ranker::{ByFactors, ByNeighbours, ByOrder, Popularity, Ranker, Search, Seen, User, Worth};

/// The model of a part.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Whom and what it was learned of.
    pub slice: &'a Slice,
    /// What was learned, in rows of the slice; no parts again.
    pub learned: Learned<'a>,
    /// How many entries each of its items has in the part.
    pub counts: &'a [u32],
}

impl<'a> Part<'a> {
    pub(super) fn prepare(
        &self,
        split: &Split,
        threads: usize,
        budget: &mut Budget<'a>,
    ) -> Result<PreparedPart<'a>> {
        let mut counts = budget.with_capacity(self.counts.len())?;
        counts.extend_from_slice(self.counts);
        let entries = counts.iter().map(|&count| u64::from(count)).sum();
        let popularity = Popularity::of(counts, entries, budget)?;
        let prepared = Prepared::new(self.learned, split, threads, budget.control())?;
        Ok(PreparedPart { slice: self.slice, prepared, popularity })
    }
}

/// What was learned, with what its search needs.
pub(super) struct Prepared<'a> {
    learned: Learned<'a>,
    search: Option<Search<'a>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(
        learned: Learned<'a>,
        split: &Split,
        threads: usize,
        control: &'a Control,
    ) -> Result<Self> {
        let search = match learned {
            Learned::Factors { factors, fold } => {
                Some(Search::new(factors, Some(fold), split, threads, control)?)
            }
            Learned::Sums(factors) => Some(Search::new(factors, None, split, threads, control)?),
            _ => None,
        };
        Ok(Self { learned, search })
    }

    /// For one thread. `popularity` ranks what nothing else does.
    pub(super) fn ranker<'r>(
        &'r self,
        popularity: &'r Popularity,
        control: &'r Control,
        budget: &mut Budget<'_>,
    ) -> Result<Box<dyn Ranker + 'r>> {
        Ok(match (self.learned, &self.search) {
            (Learned::Factors { .. } | Learned::Sums(_), Some(search)) => {
                Box::new(ByFactors::new(search, control)?)
            }
            (Learned::Neighbours { neighbours, weighted }, _) => {
                Box::new(ByNeighbours::new(neighbours, weighted, popularity, control, budget)?)
            }
            (Learned::Popular(Decayed { weights, order }), _) => {
                Box::new(ByOrder { order, worth: Worth::Weights(weights), pace: Pace::new(control) })
            }
            _ => {
                let worth = Worth::Counts(&popularity.counts);
                Box::new(ByOrder { order: &popularity.order, worth, pace: Pace::new(control) })
            }
        })
    }
}

/// A part that can be searched.
pub(super) struct PreparedPart<'a> {
    slice: &'a Slice,
    prepared: Prepared<'a>,
    popularity: Popularity,
}

/// Ranks by the model of a user's part; what that does not know comes after, by the popularity of all.
pub(super) struct ByParts<'a> {
    whole: Box<dyn Ranker + 'a>,
    of_user: &'a [u32],
    parts: Vec<Option<(&'a Slice, Box<dyn Ranker + 'a>)>>,
    popularity: &'a Popularity,
    pace: Pace<'a>,
    scores: Vec<f64>,
}

impl<'a> ByParts<'a> {
    pub(super) fn ranker(
        whole: Box<dyn Ranker + 'a>,
        of_user: &'a [u32],
        parts: &'a [Option<PreparedPart<'a>>],
        popularity: &'a Popularity,
        control: &'a Control,
        budget: &mut Budget<'_>,
    ) -> Result<Box<dyn Ranker + 'a>> {
        let mut rankers = Vec::with_capacity(parts.len());
        for part in parts {
            rankers.push(match part {
                Some(part) => Some((part.slice, part.prepared.ranker(&part.popularity, control, budget)?)),
                None => None,
            });
        }
        let pace = Pace::new(control);
        Ok(Box::new(Self { whole, of_user, parts: rankers, popularity, pace, scores: Vec::new() }))
    }
}

/// A user and its items as rows of a part.
fn local<'a>(
    user: &User<'_>,
    slice: &Slice,
    (items, values): (&'a mut Vec<u32>, &'a mut Vec<f32>),
) -> User<'a> {
    for (at, item) in slice.local(user.items) {
        items.push(item);
        values.push(user.values[at]);
    }
    let row = slice.users.binary_search(&user.row).map_or(NONE, |row| row as u32);
    User { row, items, values, new: user.new }
}

impl Ranker for ByParts<'_> {
    fn rank(&mut self, user: &User<'_>, longest: usize, seen: &Seen<'_>) -> Result<Vec<u32>> {
        let part = self.of_user[user.row as usize];
        let Some(Some((slice, ranker))) = self.parts.get_mut(part as usize) else {
            return self.whole.rank(user, longest, seen);
        };
        let (mut items, mut values) = (Vec::new(), Vec::new());
        self.pace.step(user.items.len())?;
        let user = local(user, slice, (&mut items, &mut values));
        let mut ranked = ranker.rank(&user, longest, &seen.of_part(&slice.items))?;
        ranked.iter_mut().for_each(|item| *item = slice.items[*item as usize]);
        if ranked.len() < longest {
            let other = |item: &&u32| slice.items.binary_search(item).is_err();
            for &item in self.popularity.order.iter().filter(other) {
                self.pace.step(1)?;
                if ranked.len() == longest {
                    break;
                }
                if !seen.has(item) {
                    ranked.push(item);
                }
            }
        }
        Ok(ranked)
    }

    fn scores(&mut self, user: &User<'_>, scores: &mut [f64]) -> Result<()> {
        let part = self.of_user[user.row as usize];
        let Some(Some((slice, ranker))) = self.parts.get_mut(part as usize) else {
            return self.whole.scores(user, scores);
        };
        let (mut items, mut values) = (Vec::new(), Vec::new());
        let user = local(user, slice, (&mut items, &mut values));
        self.scores.clear();
        self.scores.resize(slice.items.len(), 0.0);
        ranker.scores(&user, &mut self.scores)?;
        let lowest = self.scores.iter().copied().fold(0.0, f64::min);
        for (score, &count) in scores.iter_mut().zip(&self.popularity.counts) {
            self.pace.step(1)?;
            // Below all of the part, the popular ones first.
            *score = lowest - 1.0 - 1.0 / (1.0 + f64::from(count));
        }
        for (&item, &score) in slice.items.iter().zip(&self.scores) {
            scores[item as usize] = score;
        }
        Ok(())
    }
}
