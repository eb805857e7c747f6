//! Answers of a recommender. `k` rows come back whenever `k` eligible items exist; ties break by the order of ids.

use std::cell::RefCell;

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::error::Result;
use vectors::search::{Hit, Similarity};

use crate::als::fold_in_with;
use crate::answers::{Filter, Recommendation, Source};
use crate::factors::sum;
use crate::neighbours::{NeighboursRef, Scratch};

use super::ratings::Ratings;
use super::{Body, Factors, Recommender};

fn model(hits: Vec<Hit>) -> Vec<Recommendation> {
    hits.into_iter()
        .map(|hit| Recommendation { item: hit.row, score: hit.score, source: Source::Model })
        .collect()
}

thread_local! {
    /// Scores of neighbours: made once, used by every call of the thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Recommender<'_> {
    /// The best `k` items of a user, by the model of their segment where it has one; the most popular ones, of the segment
    /// where there is one, for a user who is not known.
    ///
    /// `Error::Cancelled`, `Error::Memory`, `Error::NoMemory`: as [`Self::recommend_for_items`], for a user of another segment.
    pub fn recommend_with(
        &self,
        user: Option<u32>,
        k: usize,
        filter: Filter<'_>,
    ) -> Result<Vec<Recommendation>> {
        let own = user.map_or(&[][..], |user| self.seen(user));
        if let Some(part) = self.part(user, filter.segment) {
            let known = user.is_some_and(|user| (user as usize) < self.users.len());
            if !known {
                return Ok(self.popular_in(&part, k, own, filter));
            }
            if !own.is_empty() && self.is_like(&part.model) {
                let values = user.and_then(|user| self.entries_of(user).1);
                return self.by_part(&part, user, (own, values), k, filter);
            }
        }
        let seen = if filter.keep_seen { &[] } else { own };
        let excluded =
            |item: u32| seen.binary_search(&item).is_ok() || filter.exclude.binary_search(&item).is_ok();
        let known = user.filter(|&user| (user as usize) < self.users.len());
        Ok(match (&self.body, known) {
            (Body::Neighbours(body), Some(_)) => self.by_neighbours(body, own, k, filter),
            (Body::Factors(body), Some(user)) => match self.user_factors(user) {
                Some(query) if body.sums => body.best_by_sum((query, own), k, filter),
                Some(query) => {
                    let found = body.best(query, k, Similarity::InnerProduct, filter.candidates, &excluded);
                    self.rated(self.by_source(Some(user), found), |ratings| ratings.user_bias(user))
                }
                None => self.popular(k, filter.candidates, &excluded),
            },
            (Body::Popular(_), _) | (_, None) => self.popular(k, filter.candidates, &excluded),
        })
    }

    /// [`Self::recommend_with`]; nothing in place of an error.
    pub fn recommend(&self, user: Option<u32>, k: usize, filter: Filter<'_>) -> Vec<Recommendation> {
        self.recommend_with(user, k, filter).unwrap_or_default()
    }

    /// Products as ratings, where the model is one of ratings: they have the same order.
    pub(super) fn rated(
        &self,
        mut found: Vec<Recommendation>,
        bias: impl FnOnce(Ratings<'_>) -> f32,
    ) -> Vec<Recommendation> {
        if let Some(ratings) = self.ratings() {
            let bias = bias(ratings);
            found.iter_mut().for_each(|each| each.score = ratings.rating(each.score, bias));
        }
        found
    }

    /// The best `k` items for somebody who has exactly these items (rising): their factors are folded in, or their
    /// neighbours added up. Of ratings, all of them are taken to be the highest.
    ///
    /// `Error::Cancelled`, `Error::Memory`, `Error::NoMemory`: only folding in takes long or much, of very many items.
    pub fn recommend_for_items(
        &self,
        items: &[u32],
        k: usize,
        filter: Filter<'_>,
    ) -> Result<Vec<Recommendation>> {
        self.for_entries(items, None, k, Filter { keep_seen: false, ..filter })
    }

    /// The best `k` items for a user who has these items (rising) with these values at this moment, whatever the training
    /// saw of the user: folded in with the values as the training weighs them, or the neighbours added up. Neighbours, and
    /// factors whose users are sums, were learned of what users have, not of how much, and so are the items counted here.
    ///
    /// Errors as [`Self::recommend_for_items`].
    pub fn recommend_fresh(
        &self,
        items: &[u32],
        values: &[f32],
        k: usize,
        filter: Filter<'_>,
    ) -> Result<Vec<Recommendation>> {
        let mut answer = self.for_entries(items, Some(values), k, filter)?;
        for each in answer.iter_mut().filter(|each| each.source == Source::Model) {
            each.source = Source::Fresh;
        }
        Ok(answer)
    }

    pub(super) fn for_entries(
        &self,
        items: &[u32],
        values: Option<&[f32]>,
        k: usize,
        filter: Filter<'_>,
    ) -> Result<Vec<Recommendation>> {
        let seen = if filter.keep_seen { &[] } else { items };
        let excluded =
            |item: u32| seen.binary_search(&item).is_ok() || filter.exclude.binary_search(&item).is_ok();
        if items.is_empty() {
            return Ok(match self.part(None, filter.segment) {
                Some(part) => self.popular_in(&part, k, items, filter),
                None => self.popular(k, filter.candidates, &excluded),
            });
        }
        if let Some(part) = self.own_part(None, filter.segment) {
            return self.by_part(&part, None, (items, values), k, filter);
        }
        let body = match &self.body {
            Body::Neighbours(body) => return Ok(self.by_neighbours(body, items, k, filter)),
            Body::Popular(_) => return Ok(self.popular(k, filter.candidates, &excluded)),
            Body::Factors(body) => body,
        };
        let facts = &self.facts;
        let own;
        let control = match filter.control {
            Some(control) => control,
            None => {
                own = Control::unlimited();
                &own
            }
        };
        let same = |value: f32| -> Result<Vec<f32>> {
            let mut values = Budget::new(control, TRAINING).with_capacity(items.len())?;
            values.resize(items.len(), value);
            Ok(values)
        };
        if body.sums {
            let query = sum(body.items, facts.factors as usize, items);
            return Ok(body.best_by_sum((&query, items), k, filter));
        }
        if let Some(ratings) = &body.ratings {
            let highest;
            let values = match values {
                Some(values) => values,
                None => {
                    highest = same(ratings.high())?;
                    &highest
                }
            };
            let width = facts.factors as usize;
            let (query, bias) =
                ratings.fold_in(body.items, width, (items, values), facts.regularization, control)?;
            let found = body.best(&query, k, Similarity::InnerProduct, filter.candidates, &excluded);
            return Ok(self.rated(found, |_| bias));
        }
        let ones;
        let values = match values {
            Some(values) => values,
            None => {
                ones = same(1.0)?;
                &ones
            }
        };
        let query = fold_in_with(
            body.gram,
            body.items,
            facts.factors as usize,
            items,
            values,
            facts.regularization,
            facts.alpha,
            control,
        )?;
        let found = body.best(&query, k, Similarity::InnerProduct, filter.candidates, &excluded);
        Ok(self.by_source(None, found))
    }

    /// Says of each answer by factors whether they follow from features alone.
    pub(super) fn by_source(
        &self,
        user: Option<u32>,
        mut answer: Vec<Recommendation>,
    ) -> Vec<Recommendation> {
        let whole = user.is_some_and(|user| self.is_content_user(user));
        for each in answer.iter_mut().filter(|each| whole || self.is_content_item(each.item)) {
            each.source = Source::Content;
        }
        answer
    }

    fn by_neighbours(
        &self,
        body: &NeighboursRef<'_>,
        items: &[u32],
        k: usize,
        filter: Filter<'_>,
    ) -> Vec<Recommendation> {
        SCRATCH.with_borrow_mut(|scratch| body.recommend(items, None, k, filter, self.by_popularity, scratch))
    }

    /// The `k` items nearest to an item, without itself: by the cosine of their factors, or its strongest neighbours;
    /// none where only popularity is known.
    pub fn similar_items(&self, item: u32, k: usize) -> Vec<Recommendation> {
        match &self.body {
            Body::Popular(_) => Vec::new(),
            Body::Neighbours(body) => body.similar(item, k),
            Body::Factors(body) => match self.item_factors(item) {
                Some(query) => {
                    let answer = body.best(query, k, Similarity::Cosine, None, &|other| other == item);
                    // All of them, where what the item is like follows from its features.
                    let content = self.is_content_item(item);
                    let mark = |each| Recommendation {
                        source: if content { Source::Content } else { Source::Model },
                        ..each
                    };
                    self.by_source(None, answer.into_iter().map(mark).collect())
                }
                None => Vec::new(),
            },
        }
    }

    /// The `k` users nearest to a user, without the user: by the cosine of their factors, or of the items they have.
    pub fn similar_users(&self, user: u32, k: usize) -> Vec<Hit> {
        match &self.body {
            Body::Factors(body) => match self.user_factors(user) {
                Some(query) => body.user_index.search(query, k, Similarity::Cosine, &|other| other == user),
                None => Vec::new(),
            },
            Body::Neighbours(_) | Body::Popular(_) => self.alike(user, k),
        }
    }

    /// Users with items in common, by the cosine of what they have.
    fn alike(&self, user: u32, k: usize) -> Vec<Hit> {
        let own = self.seen(user);
        let mut has = vec![false; self.items.len()];
        for &item in own {
            if let Some(has) = has.get_mut(item as usize) {
                *has = true;
            }
        }
        let mut found: Vec<Hit> = (0..self.users.len() as u32)
            .filter(|&other| other != user)
            .filter_map(|other| {
                let items = self.seen(other);
                let common = items.iter().filter(|&&item| has.get(item as usize) == Some(&true)).count();
                let score = common as f64 / ((own.len() * items.len()) as f64).sqrt();
                (common > 0).then_some(Hit { row: other, score })
            })
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        found.truncate(k);
        found
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
                items.sort_by_key(|&item| std::cmp::Reverse(self.rank_key(item)));
                items.truncate(k);
                items
            }
        };
        items
            .into_iter()
            .map(|item| Recommendation { item, score: self.share(item), source: Source::Popular })
            .collect()
    }

    /// The score of an item for a user, by the model of their segment where it has one; nothing where either is not known.
    pub fn score(&self, user: u32, item: u32) -> Option<f64> {
        if user as usize >= self.users.len() || item as usize >= self.items.len() {
            return None;
        }
        if let Some(part) = self.own_part(Some(user), None)
            && let Some(user) = part.user(user)
        {
            return Some(match part.item(item) {
                Some(item) => part.model.score(user, item)?,
                None => self.share(item),
            });
        }
        match &self.body {
            Body::Factors(body) => {
                let query = self.user_factors(user)?;
                if body.sums && self.seen(user).binary_search(&item).is_ok() {
                    return Some(body.score_of_own(query, item));
                }
                let product = body.item_index.score(query, item, Similarity::InnerProduct);
                let rating = |ratings: Ratings<'_>| ratings.rating(product, ratings.user_bias(user));
                Some(body.ratings.map_or(product, rating))
            }
            Body::Neighbours(body) => Some(body.score(self.seen(user), None, item)),
            Body::Popular(_) => Some(self.share(item)),
        }
    }
}

impl Factors<'_> {
    pub(super) fn best(
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
