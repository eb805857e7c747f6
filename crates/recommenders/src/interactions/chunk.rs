//! Rows as they wait to be sorted.

use base::budget::Budget;
use base::error::Result;

/// Rows of a chunk. Chunks instead of one growing vector: nothing is ever copied or held twice, and each is
/// freed as soon as it was sorted away.
pub(super) const CHUNK: usize = 1 << 16;

/// Rows as they arrived: provisional positions, values, and times where the input has them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) users: Vec<u32>,
    pub(super) items: Vec<u32>,
    pub(super) values: Vec<f32>,
    pub(super) times: Vec<i64>,
}

impl Chunk {
    pub(super) fn new(with_time: bool, budget: &mut Budget<'_>) -> Result<Self> {
        Ok(Self {
            users: budget.with_capacity(CHUNK)?,
            items: budget.with_capacity(CHUNK)?,
            values: budget.with_capacity(CHUNK)?,
            times: budget.with_capacity(if with_time { CHUNK } else { 0 })?,
        })
    }

    /// Memory of the columns.
    pub(super) fn bytes(&self) -> u64 {
        let words = self.users.capacity() + self.items.capacity() + self.values.capacity();
        words as u64 * 4 + self.times.capacity() as u64 * 8
    }
}

/// What becomes of rows with the same user and the same item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeats {
    /// The sum of their values: how often or how much.
    #[default]
    Sum,
    /// The value of the newest row, and the mean of several that are: a rating that was changed. Without times all are.
    Newest,
}
