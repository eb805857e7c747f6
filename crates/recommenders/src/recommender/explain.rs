//! What a score rests on.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::ids::{Key, sort_keys};

use crate::als;
use crate::answers::Contribution;
use crate::tasks::EXPLAINING;

use super::sums::PIECE_OF_SUMS;
use super::{Body, Factors, Facts, Recommender};

/// Items between two looks at the control: a millisecond where each is searched for.
const PIECE: usize = 1 << 13;

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
    /// Neighbours, and factors of users that are sums: the sum is [`Recommender::score`]. Other factors: it is the score of [`Recommender::recommend_for_items`] for
    /// the user's items, each of value 1, since the factors that a training stores are near to those of its last items only;
    /// that is an explanation of factors by alternating least squares alone. Ratings: with [`Recommender::base`] it is near the
    /// expected rating for the same reason, which is then confined to the range.
    ///
    /// Nothing stays taken from the control: the answer is the caller's. Errors: `Cancelled`, `Memory`, `NoMemory`.
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
        let mut budget = Budget::new(control, EXPLAINING);
        let mut parts = budget.with_capacity::<Contribution>(own.len())?;
        match &self.body {
            Body::Popular(_) => {}
            Body::Neighbours(body) => {
                for own in own.chunks(PIECE) {
                    control.check()?;
                    parts.extend(body.parts(own, None, item).filter(|part| part.contribution != 0.0));
                }
            }
            Body::Factors(body) if body.sums => {
                for own in own.chunks(PIECE_OF_SUMS) {
                    control.check()?;
                    body.add_parts_of_sum(self.facts.factors, own, item, &mut parts);
                }
            }
            Body::Factors(body) => {
                let all = self.parts(body, user, item, &mut budget)?;
                for (own, all) in own.chunks(PIECE).zip(all.chunks(PIECE)) {
                    control.check()?;
                    let each = own.iter().zip(all).filter(|&(_, &contribution)| contribution != 0.0);
                    parts.extend(each.map(|(&item, &contribution)| Contribution { item, contribution }));
                }
            }
        }
        in_order(&parts, &mut budget)
    }

    /// What each of the user's items adds to a product of factors.
    fn parts(&self, body: &Factors<'_>, user: u32, item: u32, budget: &mut Budget<'_>) -> Result<Vec<f64>> {
        let control = budget.control();
        let Facts { regularization, alpha, factors, .. } = self.facts;
        let (own, values) = self.entries_of(user);
        let mut ones = budget.with_capacity(own.len())?;
        ones.resize(own.len(), 1.0);
        let parts = match (body.ratings, self.item_factors(item)) {
            (Some(ratings), Some(row)) => {
                let own = (own, values.unwrap_or(&ones));
                ratings.explain(body.items, user, own, regularization, row, control)?
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
            )?,
        };
        budget.adopt(parts.len() as u64 * 8);
        Ok(parts)
    }
}

/// The largest contributions first.
fn in_order(parts: &[Contribution], budget: &mut Budget<'_>) -> Result<Vec<Contribution>> {
    let control = budget.control();
    let mut keys = budget.with_capacity(parts.len())?;
    for (first, parts) in (0..).step_by(PIECE).zip(parts.chunks(PIECE)) {
        control.check()?;
        // Bits of numbers that are not negative are in their order; items rise with their places.
        let key = |(id, part): (u32, &Contribution)| Key::new(!part.contribution.abs().to_bits(), id);
        keys.extend((first..).zip(parts).map(key));
    }
    let keys = sort_keys(keys, budget, |a, b| a.id.cmp(&b.id))?;
    let mut sorted = budget.with_capacity(parts.len())?;
    for keys in keys.chunks(PIECE) {
        control.check()?;
        sorted.extend(keys.iter().map(|key| parts[key.id as usize]));
    }
    Ok(sorted)
}
