//! Answers of a recommender. `k` rows come back whenever `k` eligible items exist; ties break by the order of ids.

use crate::als::fold_in;
use crate::search::{Hit, Similarity};

use super::Recommender;

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The user's or the items' factors.
    Model,
    /// Popularity alone: the user is not known.
    Popular,
}

impl Source {
    /// The word that SQL shows.
    pub fn name(self) -> &'static str {
        match self {
            Source::Model => "model",
            Source::Popular => "popular",
        }
    }
}

/// An item and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recommendation {
    /// Row of the item.
    pub item: u32,
    /// Product of the factors, a cosine, or an item's share of all interactions.
    pub score: f64,
    /// What the score rests on.
    pub source: Source,
}

/// What may be recommended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Items that must not come, rising.
    pub exclude: &'a [u32],
    /// Where given, the only items that may come; any order.
    pub candidates: Option<&'a [u32]>,
    /// Whether the user's own items may come.
    pub keep_seen: bool,
}

fn model(hits: Vec<Hit>) -> Vec<Recommendation> {
    hits.into_iter()
        .map(|hit| Recommendation { item: hit.row, score: hit.score, source: Source::Model })
        .collect()
}

impl Recommender<'_> {
    /// The best `k` items of a user; the most popular ones where the user is not known.
    pub fn recommend(&self, user: Option<u32>, k: usize, filter: Filter<'_>) -> Vec<Recommendation> {
        let seen = match user {
            Some(user) if !filter.keep_seen => self.seen(user),
            _ => &[],
        };
        let excluded =
            |item: u32| seen.binary_search(&item).is_ok() || filter.exclude.binary_search(&item).is_ok();
        let Some(query) = user.and_then(|user| self.user_factors(user)) else {
            return self.popular(k, filter.candidates, &excluded);
        };
        self.best(query, k, Similarity::InnerProduct, filter.candidates, &excluded)
    }

    /// The best `k` items for somebody who has exactly these items (rising): their factors are folded in.
    pub fn recommend_for_items(&self, items: &[u32], k: usize, filter: Filter<'_>) -> Vec<Recommendation> {
        let excluded =
            |item: u32| items.binary_search(&item).is_ok() || filter.exclude.binary_search(&item).is_ok();
        if items.is_empty() {
            return self.popular(k, filter.candidates, &excluded);
        }
        let (facts, values) = (&self.facts, vec![1.0; items.len()]);
        let query = fold_in(
            self.gram,
            self.item_factors,
            facts.factors as usize,
            items,
            &values,
            facts.regularization,
            facts.alpha,
        );
        self.best(&query, k, Similarity::InnerProduct, filter.candidates, &excluded)
    }

    /// The `k` items nearest to an item by cosine, without itself.
    pub fn similar_items(&self, item: u32, k: usize) -> Vec<Recommendation> {
        match self.item_factors(item) {
            Some(query) => self.best(query, k, Similarity::Cosine, None, &|other| other == item),
            None => Vec::new(),
        }
    }

    /// The `k` users nearest to a user by cosine, without the user.
    pub fn similar_users(&self, user: u32, k: usize) -> Vec<Hit> {
        match self.user_factors(user) {
            Some(query) => self.user_index.search(query, k, Similarity::Cosine, &|other| other == user),
            None => Vec::new(),
        }
    }

    /// The `k` items with the most interactions, of the candidates where given.
    pub fn popular(
        &self,
        k: usize,
        candidates: Option<&[u32]>,
        excluded: &dyn Fn(u32) -> bool,
    ) -> Vec<Recommendation> {
        let eligible = |item: &u32| !excluded(*item);
        let items: Vec<u32> = match candidates {
            None => self.by_popularity.iter().copied().filter(eligible).take(k).collect(),
            Some(candidates) => {
                let mut items: Vec<u32> = candidates.iter().copied().filter(eligible).collect();
                items.retain(|&item| (item as usize) < self.popularity.len());
                items.sort_unstable();
                items.dedup();
                items.sort_by_key(|&item| std::cmp::Reverse(self.popularity.get(item as usize).copied()));
                items.truncate(k);
                items
            }
        };
        let all = self.facts.entries.max(1) as f64;
        let share =
            |item: u32| self.popularity.get(item as usize).map_or(0.0, |&count| f64::from(count) / all);
        items
            .into_iter()
            .map(|item| Recommendation { item, score: share(item), source: Source::Popular })
            .collect()
    }

    /// The score of an item for a user; nothing where either is not known.
    pub fn score(&self, user: u32, item: u32) -> Option<f64> {
        let query = self.user_factors(user)?;
        self.item_factors(item)?;
        Some(self.item_index.score(query, item, Similarity::InnerProduct))
    }

    fn best(
        &self,
        query: &[f32],
        k: usize,
        similarity: Similarity,
        candidates: Option<&[u32]>,
        excluded: &dyn Fn(u32) -> bool,
    ) -> Vec<Recommendation> {
        model(match candidates {
            Some(candidates) => self.item_index.rank(query, candidates, k, similarity, excluded),
            None => self.item_index.search(query, k, similarity, excluded),
        })
    }
}
