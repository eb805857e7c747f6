//! Small valid images of all kinds of ids. The golden images of `tests/golden` are some of them: what a name
//! stands for never changes.

use base::ids::{IdKind, Ids};
use base::image::AlignedBytes;
use base::{Control, Csr};
use recommenders::factors::Factors;
use recommenders::recommender::{Learned, Parts, encode};

/// The shape of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) users: usize,
    pub(crate) items: usize,
    pub(crate) factors: usize,
    pub(crate) user_kind: IdKind,
    pub(crate) item_kind: IdKind,
    /// Whether users are the sums of the rows of their items.
    pub(crate) sums: bool,
}

/// A model before it is an image.
pub(crate) struct Sample {
    pub(crate) users: Ids,
    pub(crate) items: Ids,
    pub(crate) user_items: Csr,
    pub(crate) factors: Factors,
    pub(crate) sums: bool,
}

impl Sample {
    /// All numbers are small multiples of 1/8: no order of additions changes a bit of what is made of them.
    pub(crate) fn new(shape: Shape) -> Self {
        let Shape { users, items, factors, user_kind, item_kind, sums } = shape;
        let numbers = |rows: usize, step: usize| -> Vec<f32> {
            (0..rows * factors).map(|at| ((at * at + step * at) % 23) as f32 / 8.0 - 1.25).collect()
        };
        let mut user_items = Csr { offsets: vec![0], ..Csr::default() };
        for user in 0..users {
            let seen = (0..items).filter(|item| (user * 5 + item * 3) % 7 < 2);
            user_items.indices.extend(seen.map(|item| item as u32));
            user_items.offsets.push(user_items.indices.len() as u64);
        }
        user_items.values = vec![1.0; user_items.indices.len()];
        let mut model = Factors { factors, users: numbers(users, 3), items: numbers(items, 5) };
        if sums {
            for (user, to) in model.users.chunks_exact_mut(factors).enumerate() {
                to.fill(0.0);
                for &item in user_items.row(user).0 {
                    let row = &model.items[item as usize * factors..][..factors];
                    to.iter_mut().zip(row).for_each(|(to, each)| *to += each);
                }
            }
        }
        let (users, items) = (ids(user_kind, users), ids(item_kind, items));
        Self { users, items, user_items, factors: model, sums }
    }

    pub(crate) fn parts<'a>(&'a self, item_users: &'a Csr) -> Parts<'a> {
        Parts {
            users: &self.users,
            items: &self.items,
            user_items: &self.user_items,
            item_users,
            learned: if self.sums { Learned::Sums(&self.factors) } else { Learned::Factors(&self.factors) },
            regularization: 0.5,
            alpha: 2.0,
            user_class: 3,
            item_class: 2,
        }
    }

    /// The image.
    pub(crate) fn image(&self) -> AlignedBytes {
        let item_users = self.user_items.transpose(self.items.len());
        encode(&self.parts(&item_users), *b"golden or sample", 1, &Control::unlimited()).unwrap()
    }
}

/// Rising ids. Integers are -3, 0, 3 and so on; of other bytes each 16, or 0 to 4 of them.
fn ids(kind: IdKind, count: usize) -> Ids {
    match kind {
        IdKind::Integer => Ids::Integer((0..count as i64).map(|n| 3 * n - 3).collect()),
        IdKind::Fixed16 => {
            Ids::Fixed16((0..count as u128).map(|n| (((n * n) << 64) | n).to_be_bytes()).collect())
        }
        IdKind::Bytes => {
            let (mut offsets, mut bytes) = (vec![0], Vec::new());
            for n in 0..count {
                // "", a, aa, aaa, aaaa, b, ba, baa and so on.
                if n > 0 {
                    bytes.push(b'a' + ((n - 1) / 4) as u8);
                    bytes.resize(bytes.len() + (n - 1) % 4, b'a');
                }
                offsets.push(bytes.len() as u64);
            }
            Ids::Bytes { offsets, bytes }
        }
    }
}
