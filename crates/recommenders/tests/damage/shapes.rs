//! The shapes of the samples that get damaged.

use base::ids::IdKind::{Bytes, Fixed16, Integer};

use crate::sample::Shape;

/// Shapes that differ in what may go wrong: no rows, one row, blocks that are full and not, factors that fill
/// groups and lanes and do not.
pub(crate) fn shapes() -> Vec<Shape> {
    let shape = |users, items, factors, user_kind, item_kind| {
        let sums = false;
        Shape { users, items, factors, user_kind, item_kind, sums }
    };
    let sums = |shape| Shape { sums: true, ..shape };
    vec![
        shape(20, 18, 5, Integer, Bytes),
        shape(20, 18, 5, Fixed16, Integer),
        shape(20, 18, 5, Bytes, Fixed16),
        shape(0, 0, 1, Bytes, Integer),
        shape(1, 1, 1, Integer, Bytes),
        shape(3, 0, 2, Bytes, Bytes),
        shape(32, 16, 16, Integer, Fixed16),
        shape(5, 70, 20, Integer, Integer),
        shape(33, 40, 64, Fixed16, Bytes),
        sums(shape(20, 18, 5, Integer, Bytes)),
        sums(shape(3, 0, 2, Bytes, Bytes)),
        sums(shape(21, 40, 17, Fixed16, Integer)),
    ]
}
