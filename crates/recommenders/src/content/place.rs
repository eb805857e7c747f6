//! A training whose users and items are joined by those that only features are known of.

use base::control::Control;
use base::error::Result;
use features::Features;

use super::extend::{Side, extend, spread};
use super::ridge::Mapping;
use crate::als::gram;
use crate::factors::Factors;
use crate::interactions::Interactions;

/// Rows whose factors follow from their features alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Content<'a> {
    /// Users, rising; they have no interactions.
    pub users: &'a [u32],
    /// Items, rising; they have no interactions.
    pub items: &'a [u32],
    /// The Gram matrix of the other items: nobody could choose these, so not to have them says nothing of a user.
    pub gram: Option<&'a [f32]>,
}

/// Who joined.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placed {
    /// Rows of the users who joined, rising.
    pub users: Vec<u32>,
    /// Rows of the items that joined, rising.
    pub items: Vec<u32>,
    /// How features of users tell factors.
    pub user_mapping: Option<Mapping>,
    /// How features of items tell factors.
    pub item_mapping: Option<Mapping>,
    /// Where each trained user went, where others joined them or could have.
    pub trained_users: Option<Vec<u32>>,
    /// The same of items.
    pub trained_items: Option<Vec<u32>>,
    /// The Gram matrix of the items that were trained, where others joined them.
    pub gram: Option<Vec<f32>>,
}

impl Placed {
    /// For the image.
    pub fn content(&self) -> Content<'_> {
        Content { users: &self.users, items: &self.items, gram: self.gram.as_deref() }
    }
}

/// Adds a user and an item, with mapped factors and without interactions, for each that has features and was not trained.
/// What is new stays taken from the control. `Cancelled`, `Memory`, `NoMemory`, `Parameter` for ids of another kind.
pub fn place(
    interactions: &mut Interactions,
    factors: &mut Factors,
    [user_features, item_features]: [Option<Features>; 2],
    threads: usize,
    control: &Control,
) -> Result<Placed> {
    let mut placed = Placed::default();
    let width = factors.factors;
    if let Some(features) = item_features {
        let Interactions { items, item_users, user_items, .. } = &mut *interactions;
        let side = Side { ids: items, rows: &factors.items, width, interactions: item_users };
        let all = extend(&side, &features, control)?;
        if !all.content.is_empty() {
            placed.gram = Some(gram(&factors.items, width, threads, control)?);
        }
        spread(item_users, Some((&all.trained, all.ids.len())), None, control)?;
        spread(user_items, None, Some(&all.trained), control)?;
        (*items, factors.items) = (all.ids, all.rows);
        (placed.items, placed.item_mapping) = (all.content, all.mapping);
        placed.trained_items = Some(all.trained);
        control.give(features.bytes());
    }
    if let Some(features) = user_features {
        let Interactions { users, user_items, item_users, .. } = &mut *interactions;
        let side = Side { ids: users, rows: &factors.users, width, interactions: user_items };
        let all = extend(&side, &features, control)?;
        spread(user_items, Some((&all.trained, all.ids.len())), None, control)?;
        spread(item_users, None, Some(&all.trained), control)?;
        (*users, factors.users) = (all.ids, all.rows);
        (placed.users, placed.user_mapping) = (all.content, all.mapping);
        placed.trained_users = Some(all.trained);
        control.give(features.bytes());
    }
    Ok(placed)
}
