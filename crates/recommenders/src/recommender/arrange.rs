//! A ranking under conditions that only its caller can judge: items that live data admit, few of one category, items unlike
//! each other. The list is made front to back and its front never depends on how much of it is asked for, so pages of it
//! neither overlap nor leave gaps.

use std::collections::VecDeque;

use crate::answers::Recommendation;

use super::{Body, Recommender};

/// Items of the ranking that diversity arranges among each other: the first so many that may come, then the next.
pub const SHORTLIST: usize = 200;

/// Items that live data are asked about at a time, at least.
const LOOK: usize = 100;

/// What a list must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrangement {
    /// Items of the list that are passed over.
    pub offset: usize,
    /// Items that come after them, at most.
    pub k: usize,
    /// 0 to 1: how much being unlike the items before counts against the score; 0 leaves the order as it is.
    pub diversity: f64,
    /// The most items of one category.
    pub most_per_category: usize,
}

/// What live data say about an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eligibility {
    /// Whether it may come.
    pub admitted: bool,
    /// What it counts as; an item of several takes a place of each, and one of none is never too many.
    pub categories: Vec<u32>,
}

/// Tells of items.
pub type Look<'a, E> = dyn FnMut(&[u32]) -> Result<Vec<Eligibility>, E> + 'a;

impl Recommender<'_> {
    /// The part of the list that an arrangement asks for. `ranking(n)` are the best `n` items, fewer only if there are
    /// fewer; `look` tells of items in the order of the ranking, each asked about once; without it all may come and have no
    /// category. The ranking is read deeper until `k` items are found or it ends. `pause` is called every few milliseconds.
    ///
    /// Diversity is maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): of [`SHORTLIST`] items, the next is
    /// the one with the largest `(1 - d) score - d similarity`, equal ones in the order of the ranking. The score is scaled
    /// to 0 to 1 over the shortlist; the similarity is the largest to an item that was taken from it ([`Self::similarity`]).
    pub fn arrange<E>(
        &self,
        arrangement: Arrangement,
        mut ranking: impl FnMut(usize) -> Vec<Recommendation>,
        mut look: Option<&mut Look<'_, E>>,
        pause: &mut dyn FnMut(),
    ) -> Result<Vec<Recommendation>, E> {
        let Arrangement { offset, k, diversity, most_per_category } = arrangement;
        let wanted = offset.saturating_add(k);
        if k == 0 {
            return Ok(Vec::new());
        }
        let diverse = diversity > 0.0;
        let whole = wanted.checked_next_multiple_of(SHORTLIST).unwrap_or(usize::MAX);
        let mut depth = if diverse { whole } else { wanted };
        if look.is_some() {
            depth = depth.saturating_mul(2).max(LOOK);
        }
        let mut list: Vec<Recommendation> = Vec::new();
        let mut taken = Places { most: most_per_category, taken: Vec::new() };
        // Read from the ranking and admitted, not yet arranged.
        let mut waiting: VecDeque<(Recommendation, Vec<u32>)> = VecDeque::new();
        let mut read = 0;
        loop {
            pause();
            let ranked = ranking(depth);
            let ended = ranked.len() < depth;
            let new = ranked.get(read..).unwrap_or_default();
            read = ranked.len();
            let standings = match &mut look {
                Some(look) if !new.is_empty() => look(&new.iter().map(|each| each.item).collect::<Vec<_>>())?,
                _ => vec![Eligibility { admitted: true, categories: Vec::new() }; new.len()],
            };
            let admitted = new.iter().zip(standings).filter(|(_, standing)| standing.admitted);
            waiting.extend(admitted.map(|(each, standing)| (*each, standing.categories)));
            if !diverse {
                for (each, categories) in waiting.drain(..) {
                    if list.len() < wanted && taken.have_room(&categories) {
                        taken.take(&categories);
                        list.push(each);
                    }
                }
            }
            while list.len() < wanted && (waiting.len() >= SHORTLIST || ended && !waiting.is_empty()) {
                pause();
                let shortlist = waiting.drain(..SHORTLIST.min(waiting.len())).collect();
                self.arrange_shortlist(shortlist, diversity, wanted, &mut taken, &mut list);
            }
            if ended || list.len() >= wanted {
                break;
            }
            depth = depth.saturating_mul(2);
        }
        list.truncate(wanted);
        list.drain(..offset.min(list.len()));
        Ok(list)
    }

    /// Moves the items of a shortlist to the list, until that has all that is wanted.
    fn arrange_shortlist(
        &self,
        mut shortlist: Vec<(Recommendation, Vec<u32>)>,
        diversity: f64,
        wanted: usize,
        places: &mut Places,
        list: &mut Vec<Recommendation>,
    ) {
        let scores = || shortlist.iter().map(|(each, _)| each.score);
        let (low, high) =
            (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
        let relevance = |score: f64| if high > low { (score - low) / (high - low) } else { 1.0 };
        // The largest similarity to an item taken from this shortlist.
        let mut nearest: Vec<Option<f64>> = vec![None; shortlist.len()];
        while list.len() < wanted {
            let mut best: Option<(usize, f64)> = None;
            for (at, ((each, categories), nearest)) in shortlist.iter().zip(&nearest).enumerate() {
                let value =
                    (1.0 - diversity) * relevance(each.score) - diversity * nearest.unwrap_or_default();
                if places.have_room(categories) && best.is_none_or(|(_, best)| value > best) {
                    best = Some((at, value));
                }
            }
            let Some((at, _)) = best else { return };
            let (each, categories) = shortlist.remove(at);
            nearest.remove(at);
            places.take(&categories);
            list.push(each);
            for ((other, _), nearest) in shortlist.iter().zip(&mut nearest) {
                let alike = self.similarity(each.item, other.item);
                *nearest = Some(nearest.map_or(alike, |before| before.max(alike)));
            }
        }
    }

    /// How alike two items are, at most 1: the cosine of their factors, 0 where one is zero. Of neighbours, the weight of
    /// one for the other as a part of the largest weight that it has for any, or the other way round where that is more,
    /// at least 0. Of popularity 0.
    pub fn similarity(&self, item: u32, other: u32) -> f64 {
        match &self.body {
            Body::Popular(_) => 0.0,
            Body::Factors(_) => match (self.item_factors(item), self.item_factors(other)) {
                (Some(a), Some(b)) => cosine(a, b),
                _ => 0.0,
            },
            Body::Neighbours(body) => {
                let part = |from: u32, to: u32| {
                    let largest = body.row(from).1.iter().fold(0.0f32, |largest, &each| largest.max(each));
                    let weight = body.weight(from, to).unwrap_or(0.0);
                    if weight > 0.0 { f64::from(weight) / f64::from(largest) } else { 0.0 }
                };
                part(item, other).max(part(other, item))
            }
        }
    }
}

/// How many items of each category the list has.
struct Places {
    most: usize,
    taken: Vec<usize>,
}

impl Places {
    fn have_room(&self, categories: &[u32]) -> bool {
        categories.iter().all(|&each| self.taken.get(each as usize).copied().unwrap_or(0) < self.most)
    }

    fn take(&mut self, categories: &[u32]) {
        for &each in categories {
            let each = each as usize;
            if self.taken.len() <= each {
                self.taken.resize(each + 1, 0);
            }
            self.taken[each] += 1;
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut product, mut left, mut right) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        product += a * b;
        left += a * a;
        right += b * b;
    }
    let norms = (left * right).sqrt();
    if norms > 0.0 { product / norms } else { 0.0 }
}
