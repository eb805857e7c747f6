//! Rows with a known answer.

use crate::path::{Row, mixed};

/// Users and items in groups, each user with most of the items of its group, and the items that it does not have.
pub(crate) struct Groups {
    /// Users of each group.
    pub(crate) users: Vec<u64>,
    /// Items of each group.
    pub(crate) items: Vec<u64>,
    pub(crate) rows: Vec<Row>,
}

/// The group of a number.
fn group(sizes: &[u64], number: u64) -> usize {
    let mut end = 0;
    let ends = sizes.iter().map(|size| {
        end += size;
        end
    });
    ends.take_while(|&end| end <= number).count()
}

impl Groups {
    pub(crate) fn user_group(&self, user: u64) -> usize {
        group(&self.users, user)
    }

    pub(crate) fn item_group(&self, item: u64) -> usize {
        group(&self.items, item)
    }

    pub(crate) fn user_count(&self) -> u64 {
        self.users.iter().sum()
    }

    pub(crate) fn item_count(&self) -> u64 {
        self.items.iter().sum()
    }

    /// Items of the user's group that it does not have.
    pub(crate) fn missing(&self, user: u64) -> usize {
        let has = |row: &&Row| row.user == user && self.item_group(row.item) == self.user_group(user);
        self.items[self.user_group(user)] as usize - self.rows.iter().filter(has).count()
    }
}

/// Groups of unequal size. Of ratings, a user also has items of other groups, and says that it does not like them: what is
/// absent says nothing there.
pub(crate) fn groups(rates: bool) -> Groups {
    let (users, items) = (vec![60, 35, 20], vec![24, 18, 14]);
    let mut rows = Vec::new();
    for user in 0..users.iter().sum() {
        for item in 0..items.iter().sum() {
            let own = group(&users, user) == group(&items, item);
            let chance = mixed(user * 1000 + item) % 100;
            let value = (1 + mixed(user * 77 + item) % 2) as f32;
            let time = (mixed(user + item * 31) % 300) as i64;
            if own && chance < 60 {
                let value = if rates { 3.0 + value } else { value };
                rows.push(Row { user, item, value, time });
            } else if rates && !own && chance < 30 {
                rows.push(Row { user, item, value, time });
            }
        }
    }
    Groups { users, items, rows }
}

/// The checkerboard of the package implicit: user `u` has the items of its parity, but not item `u`. Of ratings, some of the
/// others too, with the worst rating.
pub(crate) fn checkerboard(size: u64, rates: bool) -> Vec<Row> {
    let cells = (0..size * size).map(|at| (at / size, at % size));
    let row = |(user, item): (u64, u64)| {
        let own = user % 2 == item % 2;
        let disliked = rates && !own && mixed(user * 100 + item).is_multiple_of(2);
        let value = if rates && own { 5.0 } else { 1.0 };
        (own && user != item || disliked).then_some(Row { user, item, value, time: (user + item) as i64 })
    };
    cells.filter_map(row).collect()
}
