//! What a score rests on.

use crate::als;
use crate::budget::{Budget, EXPLAINING};
use crate::control::Control;
use crate::error::Result;
use crate::ids::{Key, sort_keys};
use crate::neighbours::Contribution;

use super::{Body, Recommender};

/// Items between two looks at the control: a millisecond where each is searched for.
const PIECE: usize = 1 << 13;

impl Recommender<'_> {
    /// Whether scores are sums over the user's items. Those of ratings are not: values are not stored.
    pub fn explains(&self) -> bool {
        !matches!(self.body, Body::Popular(_)) && self.ratings().is_none()
    }

    /// The user's items by what each adds to the score of an item: the largest contributions of either sign first, equal
    /// ones by rising item; without those that add nothing. Empty where the user or the item is not known,
    /// or nothing is explained.
    ///
    /// Neighbours: the sum is [`Recommender::score`]. Factors: it is the score of [`Recommender::recommend_for_items`] for
    /// the user's items, since the factors that a training stores are near to those of its last items only, and values are not
    /// stored at all; that is an explanation of factors by alternating least squares alone.
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
            Body::Factors(body) => {
                let facts = &self.facts;
                let mut ones = budget.with_capacity(own.len())?;
                ones.resize(own.len(), 1.0);
                let all = als::explain(
                    body.gram,
                    body.items,
                    facts.factors as usize,
                    own,
                    &ones,
                    facts.regularization,
                    facts.alpha,
                    item,
                    control,
                )?;
                budget.adopt(all.len() as u64 * 8);
                for (own, all) in own.chunks(PIECE).zip(all.chunks(PIECE)) {
                    control.check()?;
                    let each = own.iter().zip(all).filter(|&(_, &contribution)| contribution != 0.0);
                    parts.extend(each.map(|(&item, &contribution)| Contribution { item, contribution }));
                }
            }
        }
        in_order(&parts, &mut budget)
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
