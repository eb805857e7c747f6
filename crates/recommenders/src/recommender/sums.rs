//! Models whose users are the sums of the rows of their items, as [`crate::elsa`] learns them. The score of an item is what
//! the user's other items say about it: the product with the sum for an item that the user does not have, and less by the
//! item's product with itself for one that the user has. So it is as with [`crate::ease`], where no item speaks for itself.

use base::error::{Error, Result};
use base::image::{Image, kinds};
use vectors::search::Similarity;

use crate::answers::{Contribution, Filter, Recommendation, Source};

use super::{Factors, row};

/// The section of such a model.
pub(super) const FOLDING: [u32; 1] = [1];

/// Items whose rows are multiplied between two looks at the control: at most 1 ms.
pub(super) const PIECE_OF_SUMS: usize = 256;

/// Whether an image is of such a model.
pub(super) fn read(image: &Image<'_>) -> Result<bool> {
    match image.optional_section::<u32>(kinds::FOLDING)? {
        None => Ok(false),
        Some(folding) if folding == FOLDING => Ok(true),
        Some(_) => Err(Error::Corrupted("an unknown way of folding users in")),
    }
}

impl Factors<'_> {
    /// The score of an item that somebody has, whose rows add up to `query`.
    pub(super) fn score_of_own(&self, query: &[f32], item: u32) -> f64 {
        let product = self.item_index.score(query, item, Similarity::InnerProduct);
        let score = product - row(self.items, query.len() as u32, item).map_or(0.0, |own| dot(own, own));
        // Of damaged factors.
        if score.is_nan() { f64::NEG_INFINITY } else { score }
    }

    /// The best `k` items for somebody who has `own` (rising), whose rows add up to `query`.
    pub(super) fn best_by_sum(
        &self,
        (query, own): (&[f32], &[u32]),
        k: usize,
        filter: Filter<'_>,
    ) -> Vec<Recommendation> {
        let barred = |item: u32| filter.exclude.binary_search(&item).is_ok();
        let others = |item: u32| own.binary_search(&item).is_ok() || barred(item);
        let mut found = self.best(query, k, Similarity::InnerProduct, filter.candidates, &others);
        if !filter.keep_seen {
            return found;
        }
        let candidates = filter.candidates.map(|candidates| {
            let mut candidates = candidates.to_vec();
            candidates.sort_unstable();
            candidates
        });
        let may = |item: u32| {
            (item as usize) < self.item_index.rows()
                && !barred(item)
                && candidates.as_ref().is_none_or(|candidates| candidates.binary_search(&item).is_ok())
        };
        // Each once, also where a damaged image has them in no order.
        let mut mine: Vec<u32> = own.iter().copied().filter(|&item| may(item)).collect();
        mine.retain(|item| own.binary_search(item).is_ok());
        mine.sort_unstable();
        mine.dedup();
        found.extend(mine.into_iter().map(|item| {
            let score = self.score_of_own(query, item);
            Recommendation { item, score, source: Source::Model }
        }));
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        found.truncate(k);
        found
    }

    /// Adds what each of somebody's items adds to the score of an item: its product with it, and nothing for the item itself.
    pub(super) fn add_parts_of_sum(
        &self,
        factors: u32,
        own: &[u32],
        item: u32,
        parts: &mut Vec<Contribution>,
    ) {
        let Some(target) = row(self.items, factors, item) else { return };
        let others = own.iter().filter(|&&each| each != item);
        let each = others.filter_map(|&item| {
            Some(Contribution { item, contribution: dot(row(self.items, factors, item)?, target) })
        });
        parts.extend(each.filter(|part| part.contribution != 0.0));
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
