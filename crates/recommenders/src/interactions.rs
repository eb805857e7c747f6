//! Who did what: rows of (user, item, value, time) streamed into compact sorted form.

mod builder;
mod chunk;
mod counting;
mod duplicates;
mod parts;
mod split;

use base::csr::Csr;
use base::ids::Ids;
pub use builder::InteractionsBuilder;
pub use chunk::Repeats;
pub use split::{Holdout, LONGEST_NEW, Split, split, train_times, transpose};

/// All interactions, once by user and once by item. Equal rows give equal bits in whatever order they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Interactions {
    /// The users in order.
    pub users: Ids,
    /// The items in order.
    pub items: Ids,
    /// One row per user, one column per item; values of repeated pairs are as [`Repeats`] says.
    pub user_items: Csr,
    /// The transpose of `user_items`.
    pub item_users: Csr,
    /// The newest time of each entry of `user_items`, where the rows had times.
    pub times: Option<Vec<i64>>,
    /// Rows taken, repeated pairs included.
    pub rows: u64,
}

impl Interactions {
    /// Memory held, all of which is taken from the control that built it.
    pub fn bytes(&self) -> u64 {
        let times = self.times.as_ref().map_or(0, |times| times.len() as u64 * 8);
        self.users.bytes() + self.items.bytes() + self.user_items.bytes() + self.item_users.bytes() + times
    }
}
