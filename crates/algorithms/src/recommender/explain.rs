//! What a score rests on.

use crate::als;
use crate::control::Control;
use crate::error::Result;
use crate::neighbours::Contribution;

use super::{Body, Recommender};

impl Recommender<'_> {
    /// Whether scores are sums over the user's items. Those of ratings are not: values are not stored.
    pub fn explains(&self) -> bool {
        !matches!(self.body, Body::Popular(_)) && self.ratings().is_none()
    }

    /// The user's items by what each adds to the score of an item: the largest contributions of either sign first, equal
    /// ones by rising item; without those that add nothing. Empty where the user or the item is not known,
    /// or nothing is explained.
    ///
    /// Neighbours, and factors of users that are sums: the sum is [`Recommender::score`]. Other factors: it is the score of [`Recommender::recommend_for_items`] for
    /// the user's items, since the factors that a training stores are near to those of its last items only, and values are not
    /// stored at all; that is an explanation of factors by alternating least squares alone. Errors: `Cancelled`.
    pub fn explain(&self, user: u32, item: u32, control: &Control) -> Result<Vec<Contribution>> {
        if item as usize >= self.items.len() || !self.explains() {
            return Ok(Vec::new());
        }
        if let Some(part) = self.own_part(Some(user), None)
            && let Some(user) = part.user(user)
        {
            let Some(item) = part.item(item) else { return Ok(Vec::new()) };
            let parts = part.model.explain(user, item, control)?;
            let of_whole =
                |each: Contribution| Some(Contribution { item: part.whole_item(each.item)?, ..each });
            return Ok(parts.into_iter().filter_map(of_whole).collect());
        }
        let own = self.seen(user);
        let mut parts = match &self.body {
            Body::Popular(_) => Vec::new(),
            Body::Neighbours(body) => body.explain(own, None, item),
            Body::Factors(body) if body.sums => body.parts_of_sum(self.facts.factors, own, item, control)?,
            Body::Factors(body) => {
                let facts = &self.facts;
                let parts = als::explain(
                    body.gram,
                    body.items,
                    facts.factors as usize,
                    own,
                    &vec![1.0; own.len()],
                    facts.regularization,
                    facts.alpha,
                    item,
                    control,
                )?;
                let each = |(&item, contribution)| Contribution { item, contribution };
                own.iter().zip(parts).map(each).collect()
            }
        };
        parts.retain(|part| part.contribution != 0.0);
        let size = |part: &Contribution| part.contribution.abs();
        parts.sort_by(|a, b| size(b).total_cmp(&size(a)).then(a.item.cmp(&b.item)));
        Ok(parts)
    }
}
