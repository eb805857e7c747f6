//! What a model of ratings has beside the factors. A user's row of the image is `[factors, 1]` and an item's `[factors, bias]`,
//! so their product ranks a user's items; the mean of all ratings and the bias of the user make it a rating.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::error::{Error, Result};
use base::image::{Image, kinds};
use bytemuck::{Pod, Zeroable};

use crate::als::explicit::{self, Damping, Folded, Items, Model, confine, fold_in_with};
use crate::tasks::EXPLAINING;

/// The numbers of a model of ratings that are not arrays.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RatingFacts {
    /// Of all ratings.
    pub mean: f64,
    /// [`Damping::users`]; -1 for a model without biases.
    pub user_damping: f64,
    /// [`Damping::items`]; -1 for a model without biases.
    pub item_damping: f64,
    /// The lowest rating that was trained on.
    pub low: f32,
    /// The highest rating that was trained on.
    pub high: f32,
}

/// A view of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratings<'a> {
    facts: RatingFacts,
    user_biases: &'a [f32],
}

impl<'a> Ratings<'a> {
    /// Of an image of ratings.
    pub(super) fn read(image: &Image<'a>) -> Result<Option<Ratings<'a>>> {
        match image.optional_section::<RatingFacts>(kinds::RATING_FACTS)? {
            None => Ok(None),
            Some([facts]) => {
                Ok(Some(Ratings { facts: *facts, user_biases: image.section(kinds::USER_BIASES)? }))
            }
            Some(_) => Err(Error::Corrupted("facts of the ratings are missing")),
        }
    }

    pub(super) fn fits(&self, users: usize, factors: usize) -> bool {
        self.user_biases.len() == users && factors > 0
    }

    pub(super) fn check(&self) -> Result<()> {
        let RatingFacts { mean, user_damping, item_damping, low, high } = self.facts;
        let damping = |damping: f64| damping.is_finite() && (damping >= 0.0 || damping == -1.0);
        let finite = mean.is_finite() && damping(user_damping) && damping(item_damping);
        let ranged = low.is_finite() && high.is_finite() && low <= high;
        if finite && ranged && self.user_biases.iter().all(|bias| bias.is_finite()) {
            Ok(())
        } else {
            Err(Error::Corrupted("facts of the ratings out of range"))
        }
    }

    pub(super) fn user_bias(&self, user: u32) -> f32 {
        self.user_biases.get(user as usize).copied().unwrap_or(0.0)
    }

    /// The highest rating.
    pub(super) fn high(&self) -> f32 {
        self.facts.high
    }

    /// The rating that the product of a user's row with an item's row means.
    pub(super) fn rating(&self, product: f64, user_bias: f32) -> f64 {
        let RatingFacts { mean, low, high, .. } = self.facts;
        confine(product + mean + f64::from(user_bias), (low, high))
    }

    /// The row and the bias of a user with these ratings, who was not trained on; `rows` are those of all items.
    pub(super) fn fold_in(
        &self,
        rows: &[f32],
        width: usize,
        (items, values): (&[u32], &[f32]),
        regularization: f64,
        control: &Control,
    ) -> Result<(Vec<f32>, f32)> {
        let mut budget = Budget::new(control, TRAINING);
        // A row without its bias, the bias, the value and the number of each.
        budget.take(items.len() as u64 * (width as u64 + 2) * 4)?;
        let Rated { own, biases, values } = Rated::of(rows, width, items, values, &budget)?;
        let RatingFacts { mean, user_damping, item_damping, .. } = self.facts;
        let damping = (user_damping >= 0.0).then_some(Damping { users: user_damping, items: item_damping });
        let all: Vec<u32> = (0..values.len() as u32).collect();
        let model = Items { factors: width - 1, rows: &own, biases: &biases, mean };
        let Folded { bias, factors: mut row } =
            fold_in_with(model, (&all, &values), regularization, damping, control)?;
        row.push(1.0);
        Ok((row, bias))
    }

    /// What a rating would be without the factors: the mean, the bias of the user and that of the item.
    pub(super) fn base(&self, user: u32, item_row: &[f32]) -> f64 {
        let bias = item_row.last().copied().unwrap_or(0.0);
        self.facts.mean + f64::from(self.user_bias(user)) + f64::from(bias)
    }

    /// What each of a user's ratings adds to it for the item of a row. All items are those of the image.
    pub(super) fn explain(
        &self,
        rows: &[f32],
        user: u32,
        (items, values): (&[u32], &[f32]),
        regularization: f64,
        item_row: &[f32],
        control: &Control,
    ) -> Result<Vec<f64>> {
        let width = item_row.len();
        let mut budget = Budget::new(control, EXPLAINING);
        // A row without its bias, the bias, the value and the number of each.
        budget.take(items.len() as u64 * (width as u64 + 2) * 4)?;
        let Rated { own, biases, values } = Rated::of(rows, width, items, values, &budget)?;
        let all: Vec<u32> = (0..values.len() as u32).collect();
        let model = Items { factors: width - 1, rows: &own, biases: &biases, mean: self.facts.mean };
        let target = &item_row[..width - 1];
        explicit::explain(model, &all, &values, self.user_bias(user), regularization, target, control)
    }
}

/// The items alone that a user rated, their factors and their biases apart.
struct Rated {
    own: Vec<f32>,
    biases: Vec<f32>,
    values: Vec<f32>,
}

impl Rated {
    /// From rows of the image; what it does not hold is left out. `budget` has taken the memory.
    fn of(rows: &[f32], width: usize, items: &[u32], values: &[f32], budget: &Budget<'_>) -> Result<Rated> {
        let mut rated = Rated { own: Vec::new(), biases: Vec::new(), values: Vec::new() };
        let room = |vec: &mut Vec<f32>, len| vec.try_reserve_exact(len).map_err(|_| budget.refused());
        room(&mut rated.own, items.len() * (width - 1))?;
        room(&mut rated.biases, items.len())?;
        room(&mut rated.values, items.len())?;
        for (&item, &value) in items.iter().zip(values) {
            let row = rows.get(item as usize * width..(item as usize + 1) * width);
            if let Some((&bias, factors)) = row.and_then(<[f32]>::split_last) {
                rated.own.extend_from_slice(factors);
                rated.biases.push(bias);
                rated.values.push(value);
            }
        }
        Ok(rated)
    }
}

/// The rows of the image and the facts of a model.
pub(super) fn rows(model: &Model, damping: Option<Damping>, budget: &mut Budget<'_>) -> Result<Rows> {
    let width = model.factors.factors + 1;
    let mut widen = |rows: &[f32], last: &dyn Fn(usize) -> f32| -> Result<Vec<f32>> {
        let mut wide = budget.with_capacity(rows.len() / (width - 1) * width)?;
        for (at, row) in rows.chunks_exact(width - 1).enumerate() {
            if at % 4096 == 0 {
                budget.control().check()?;
            }
            wide.extend_from_slice(row);
            wide.push(last(at));
        }
        Ok(wide)
    };
    let users = widen(&model.factors.users, &|_| 1.0)?;
    let items = widen(&model.factors.items, &|item| model.biases.items[item])?;
    let (low, high) = model.range;
    let facts = RatingFacts {
        mean: model.biases.mean,
        user_damping: damping.map_or(-1.0, |damping| damping.users),
        item_damping: damping.map_or(-1.0, |damping| damping.items),
        low,
        high,
    };
    Ok(Rows { factors: crate::factors::Factors { factors: width, users, items }, facts })
}

/// What [`rows`] answers.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) factors: crate::factors::Factors,
    pub(super) facts: RatingFacts,
}
