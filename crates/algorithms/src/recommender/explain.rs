//! What a score rests on.

use crate::als;
use crate::control::Control;
use crate::error::Result;
use crate::neighbours::Contribution;

use super::{Body, Factors, Facts, Recommender};

impl Recommender<'_> {
    /// Whether scores are sums over the user's items. Of ratings the values must be known: images of earlier versions do not
    /// have them.
    pub fn explains(&self) -> bool {
        !matches!(self.body, Body::Popular(_)) && (!self.rates() || self.has_values())
    }

    /// What an expected rating is without any item of the user: the mean and the biases of user and item. Nothing where
    /// either is not known, and for other models.
    pub fn base(&self, user: u32, item: u32) -> Option<f64> {
        let ratings = self.ratings().filter(|_| (user as usize) < self.users.len())?;
        Some(ratings.base(user, self.item_factors(item)?))
    }

    /// The user's items by what each adds to the score of an item: the largest contributions of either sign first, equal
    /// ones by rising item; without those that add nothing. Empty where the user or the item is not known,
    /// or nothing is explained.
    ///
    /// Neighbours: the sum is [`Recommender::score`]. Factors: it is the score of [`Recommender::recommend_for_items`] for
    /// the user's items, each of value 1, since the factors that a training stores are near to those of its last items only;
    /// that is an explanation of factors by alternating least squares alone. Ratings: with [`Recommender::base`] it is near the
    /// expected rating for the same reason, which is then confined to the range. Errors: `Cancelled`.
    pub fn explain(&self, user: u32, item: u32, control: &Control) -> Result<Vec<Contribution>> {
        if item as usize >= self.items.len() || !self.explains() {
            return Ok(Vec::new());
        }
        let own = self.seen(user);
        let mut parts = match &self.body {
            Body::Popular(_) => Vec::new(),
            Body::Neighbours(body) => body.explain(own, None, item),
            Body::Factors(body) => {
                let parts = self.parts(body, user, item, control)?;
                let each = |(&item, contribution)| Contribution { item, contribution };
                own.iter().zip(parts).map(each).collect()
            }
        };
        parts.retain(|part| part.contribution != 0.0);
        let size = |part: &Contribution| part.contribution.abs();
        parts.sort_by(|a, b| size(b).total_cmp(&size(a)).then(a.item.cmp(&b.item)));
        Ok(parts)
    }

    /// What each of the user's items adds to a product of factors.
    fn parts(&self, body: &Factors<'_>, user: u32, item: u32, control: &Control) -> Result<Vec<f64>> {
        let Facts { regularization, alpha, factors, .. } = self.facts;
        let (own, values) = self.entries_of(user);
        let ones = vec![1.0; own.len()];
        match (body.ratings, self.item_factors(item)) {
            (Some(ratings), Some(row)) => {
                let own = (own, values.unwrap_or(&ones));
                ratings.explain(body.items, user, own, regularization, row, control)
            }
            _ => als::explain(
                body.gram,
                body.items,
                factors as usize,
                own,
                &ones,
                regularization,
                alpha,
                item,
                control,
            ),
        }
    }
}
