//! Item-based recommendation by one symmetric inversion: EASE (Steck, Embarrassingly Shallow Autoencoders for Sparse
//! Data, WWW 2019).
//!
//! Minimises `|X - X B|^2 + lambda |B|^2` over matrices `B` whose diagonal is zero, for the 0/1 matrix `X` of users and
//! items. With `P` the inverse of `X'X + lambda I` the answer is `B = I - P diag(1 / diag P)`. A user's score of an item
//! is the sum of the weights from each of the user's items to it.
//!
//! What is inverted is dense: see [`need`]. Its entries are whole numbers up to the number of users and its smallest
//! eigenvalue is at least lambda, so their ratio is easily a million: f64 keeps ten digits of it, f32 would keep one.
//!
//! No library inverts here. The kernels of `faer` and its like allocate their megabytes of packing buffers themselves, and
//! end the process where the system refuses; and the whole of it has to be interrupted every few milliseconds. What
//! remains of a library then is the product of two tiles (`ease/kernel.rs`).

mod gram;
mod invert;
mod keep;
mod kernel;
#[cfg(test)]
mod tests;

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::need::Need;
use base::simd::{Level, level};

use crate::neighbours::{Neighbours, check_shapes};
use crate::tasks::EASE;

use kernel::{AREA, TILE};

/// The most neighbours that an item can keep on average.
pub const MAX_KEPT: usize = 10_000;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Lambda, the weight of the squared weights, above 0; 100. [`crate::defaults::ease_regularization`] finds one.
    pub regularization: f64,
    /// Neighbours that an item keeps on average, 1 to 10000; 100. The weights that are strongest in all the catalogue
    /// stay, so popular items keep more of them than rare ones.
    ///
    /// nDCG@10 on the test users of MovieLens (5804 items, lambda 100) and msweb (282, lambda 10) with so many kept, and
    /// beside it with the same number for every item; all weights give 0.2623 and 0.5489:
    ///
    /// | kept | MovieLens | msweb | MovieLens, each item as many | msweb, the same |
    /// |---|---|---|---|---|
    /// | 20 | 0.2592 | 0.5456 | 0.2491 | 0.5477 |
    /// | 50 | 0.2641 | 0.5485 | 0.2517 | 0.5488 |
    /// | 100 | 0.2629 | 0.5488 | 0.2570 | 0.5490 |
    /// | 200 | 0.2597 | 0.5489 | 0.2567 | 0.5490 |
    pub kept: usize,
    /// Whether an entry counts by its value instead of by 1; false. Entries that are not above 0 count as absent.
    pub weighted: bool,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { regularization: 100.0, kept: 100, weighted: false, threads: 1 }
    }
}

impl Params {
    /// `Error::Parameter` for the first parameter outside its range.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(self.regularization > 0.0 && self.regularization.is_finite()) {
            return error("regularization", "a finite number above 0", self.regularization.to_string());
        }
        if !(1..=MAX_KEPT).contains(&self.kept) {
            return error("neighbours", "between 1 and 10000", self.kept.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        Ok(())
    }
}

/// What [`fit`] takes for so many items: half of a square matrix in f64, and two stripes of it. 20,000 items take 1.7 GB.
pub fn need(items: usize, params: &Params) -> Need {
    let (blocks, items) = (items.div_ceil(TILE) as u64, items as u64);
    let area = AREA as u64 * 8;
    let threads = params.threads as u64;
    let inverting = area * (2 * blocks + 2 + threads);
    let entries = items.saturating_mul(items.saturating_sub(1).min(params.kept as u64));
    let result = Neighbours::bytes_of(items as usize, entries);
    let keeping = items * 16 + (threads + 1) * keep::HISTOGRAM + result;
    Need { peak: area * (blocks * (blocks + 1) / 2) + inverting.max(keeping), result }
}

/// Trains. The result is the same to the bit for every number of threads.
///
/// * `user_items`: users by items; `item_users`: its transpose.
///
/// Progress has two phases: counting what items have in common, then inverting, which takes time by the cube of the
/// number of items. [`Neighbours::bytes`] of the result stay taken from the control.
///
/// Errors: `Parameter`, also where lambda is so small beside the counts that nothing of it is left in f64; `Cancelled`
/// (noticed within 10 ms by every thread); `Memory`, before anything is computed; `NoMemory`; `Corrupted` if the shapes of
/// the matrices disagree.
pub fn fit(user_items: &Csr, item_users: &Csr, params: &Params, control: &Control) -> Result<Neighbours> {
    fit_at(level(), user_items, item_users, params, control)
}

fn fit_at(
    level: Level,
    user_items: &Csr,
    item_users: &Csr,
    params: &Params,
    control: &Control,
) -> Result<Neighbours> {
    params.check()?;
    check_shapes(user_items, item_users, control)?;
    let items = item_users.rows();
    EASE.expect(need(items, params).peak, control)?;
    let mut budget = Budget::new(control, EASE);
    let mut tiles = Triangle::zeros(items, &mut budget)?;
    control.start(item_users.entries() as u64);
    gram::fill(&mut tiles, user_items, item_users, params, control)?;
    control.start((tiles.blocks * tiles.blocks * (tiles.blocks + 1) / 2) as u64);
    invert::invert(level, &mut tiles, params, control)?;
    let kept = keep::strongest(&tiles, params, &mut budget)?;
    budget.free(tiles.numbers);
    budget.keep(kept.bytes());
    Ok(kept)
}

/// A symmetric matrix: its lower half in square tiles, row by row of tiles, each tile row by row. Tiles of the diagonal
/// hold both halves; only the lower one counts.
struct Triangle {
    items: usize,
    /// Tiles from top to bottom; the last may reach past the items.
    blocks: usize,
    numbers: Vec<f64>,
}

impl Triangle {
    fn zeros(items: usize, budget: &mut Budget<'_>) -> Result<Self> {
        let blocks = items.div_ceil(TILE);
        Ok(Self { items, blocks, numbers: budget.zeroed(blocks * (blocks + 1) / 2 * AREA)? })
    }

    /// The tile of a row of tiles and a column at or before it.
    fn tile(&self, row: usize, column: usize) -> &[f64] {
        &self.numbers[(row * (row + 1) / 2 + column) * AREA..][..AREA]
    }

    /// Row and column of each tile, in their order.
    fn places(blocks: usize) -> impl Iterator<Item = (usize, usize)> + Send {
        (0..blocks).flat_map(|row| (0..=row).map(move |column| (row, column)))
    }
}
