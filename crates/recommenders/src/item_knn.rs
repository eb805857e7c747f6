//! Item-based recommendation by the similarity of audiences (Sarwar, Karypis, Konstan and Riedl, Item-Based Collaborative
//! Filtering Recommendation Algorithms, WWW 2001): each item keeps the `k` items that are most similar to it.
//!
//! Exact: each row of the product of the matrix with its transpose is added up over the users of an item, into one dense row
//! per thread. It takes as many additions as the squared numbers of items of all users ([`products`]): a user with a hundred
//! thousand items alone costs ten thousand million.

mod similarity;
#[cfg(test)]
mod tests;

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::jobs::share;
use base::need::Need;
use base::pace::Pace;
pub use similarity::Similarity;

use crate::neighbours::{Neighbours, check_shapes};
use crate::tasks::ITEM_KNN;

use similarity::{Binary, Bm25, Measure, TfIdf, Values};

/// The most neighbours of an item.
pub const MAX_NEIGHBOURS: usize = 10_000;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// What makes two items similar; the cosine.
    pub similarity: Similarity,
    /// Neighbours of an item at most, itself not counted, 1 to 10000; 20.
    pub neighbours: usize,
    /// Common users by which a similarity is halved, at least 0; 0. With `c` common users it is multiplied by
    /// `c / (c + shrinkage)`: what rests on few users is worth less.
    pub shrinkage: f64,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { similarity: Similarity::Cosine, neighbours: 20, shrinkage: 0.0, threads: 1 }
    }
}

impl Params {
    /// `Error::Parameter` for the first parameter outside its range.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(1..=MAX_NEIGHBOURS).contains(&self.neighbours) {
            return error("neighbours", "between 1 and 10000", self.neighbours.to_string());
        }
        if !(self.shrinkage >= 0.0 && self.shrinkage.is_finite()) {
            return error("shrinkage", "a finite number, at least 0", self.shrinkage.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        if let Similarity::Bm25 { k1, b } = self.similarity {
            if !(k1 >= 0.0 && k1.is_finite()) {
                return error("k1", "a finite number, at least 0", k1.to_string());
            }
            if !(0.0..=1.0).contains(&b) {
                return error("b", "between 0 and 1", b.to_string());
            }
        }
        Ok(())
    }
}

/// What [`fit`] takes for so many users and items.
pub fn need(users: usize, items: usize, params: &Params) -> Need {
    let (users, items) = (users as u64, items as u64);
    let entries = items.saturating_mul(items.saturating_sub(1).min(params.neighbours as u64));
    let result = Neighbours::bytes_of(items as usize, entries);
    let row = items * (size_of::<Cell>() + size_of::<u32>() + size_of::<(f32, u32)>()) as u64;
    let facts = items * 16 + users * 8;
    let peak = entries * size_of::<(f32, u32)>() as u64 + items * 4 + facts;
    Need { peak: peak + (row * params.threads as u64).max(result), result }
}

/// Additions that [`fit`] makes: about a thousand million take a second of one thread.
pub fn products(user_items: &Csr) -> u64 {
    let lengths = user_items.offsets.windows(2).map(|pair| pair[1] - pair[0]);
    lengths.fold(0, |all: u64, length| all.saturating_add(length.saturating_mul(length)))
}

/// Trains. The result is the same to the bit for every number of threads.
///
/// * `user_items`: users by items; `item_users`: its transpose. What [`Similarity::Jaccard`] and the shrinkage count are
///   entries.
///
/// Neighbours have similarities above 0; of equal ones (in f32, as they are kept) the first items stay. Progress counts
/// entries. [`Neighbours::bytes`] of the result stay taken from the control.
///
/// Errors: `Parameter`; `Cancelled` (noticed within 10 ms by every thread); `Memory`; `NoMemory`; `Corrupted` if the shapes of
/// the matrices disagree.
pub fn fit(user_items: &Csr, item_users: &Csr, params: &Params, control: &Control) -> Result<Neighbours> {
    params.check()?;
    check_shapes(user_items, item_users, control)?;
    let mut budget = Budget::new(control, ITEM_KNN);
    let data = Data { user_items, item_users, params, control };
    match params.similarity {
        Similarity::Cosine => data.fit(&Values::new(item_users, &mut budget)?, &mut budget),
        Similarity::Jaccard => data.fit(&Binary::new(item_users), &mut budget),
        Similarity::TfIdf => data.fit(&TfIdf::new(user_items, item_users, &mut budget)?, &mut budget),
        Similarity::Bm25 { k1, b } => {
            data.fit(&Bm25::new(user_items, item_users, k1, b, &mut budget)?, &mut budget)
        }
    }
    .inspect(|kept| budget.keep(kept.bytes()))
}

/// What a row has for each item.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Cell {
    /// The product so far.
    sum: f64,
    /// Common users so far.
    common: u32,
    /// The row that this is of, from 1: a row before it left what it left.
    row: u32,
}

struct Data<'a> {
    user_items: &'a Csr,
    item_users: &'a Csr,
    params: &'a Params,
    control: &'a Control,
}

impl Data<'_> {
    fn fit<M: Measure>(&self, measure: &M, budget: &mut Budget<'_>) -> Result<Neighbours> {
        /// Items that a thread takes at a time.
        const CHUNK: usize = 8;
        let items = self.item_users.rows();
        let most = self.params.neighbours.min(items.saturating_sub(1)).max(1);
        let mut best = budget.zeroed::<[u32; 2]>(items * most)?;
        let mut counts = budget.zeroed::<u32>(items)?;
        self.control.start(self.item_users.entries() as u64);
        let jobs = best.chunks_mut(CHUNK * most).zip(counts.chunks_mut(CHUNK)).enumerate();
        share(jobs, self.params.threads.min(items.div_ceil(CHUNK)), self.control, |jobs| {
            let mut own = Budget::new(self.control, ITEM_KNN);
            let mut row = Row {
                cells: own.zeroed(items)?,
                touched: own.with_capacity(items)?,
                found: own.with_capacity(items)?,
                pace: Pace::new(self.control),
            };
            while let Some((chunk, (best, counts))) = jobs.next()? {
                for (each, (best, count)) in best.chunks_mut(most).zip(counts).enumerate() {
                    let item = chunk * CHUNK + each;
                    self.add_up(measure, item, &mut row)?;
                    self.choose(measure, item, most, &mut row)?;
                    // By rising item.
                    row.found.sort_unstable_by_key(|&(_, other)| other);
                    for (to, &(weight, other)) in best.iter_mut().zip(&row.found) {
                        *to = [other, weight.to_bits()];
                    }
                    *count = row.found.len() as u32;
                    self.control.advance(self.item_users.row(item).0.len() as u64);
                }
            }
            Ok(())
        })?;
        self.pack(&best, most, &counts, budget).inspect(|_| {
            budget.free(best);
            budget.free(counts);
        })
    }

    /// The products of an item with all items.
    fn add_up<M: Measure>(&self, measure: &M, item: usize, row: &mut Row<'_>) -> Result<()> {
        let mark = item as u32 + 1;
        row.touched.clear();
        let (users, values) = self.item_users.row(item);
        for (&user, &value) in users.iter().zip(values) {
            let by = measure.entry(value, item) * measure.user(user as usize);
            let (others, values) = self.user_items.row(user as usize);
            row.pace.step(others.len() + 1)?;
            for (&other, &value) in others.iter().zip(values) {
                let cell = &mut row.cells[other as usize];
                if cell.row != mark {
                    *cell = Cell { sum: 0.0, common: 0, row: mark };
                    row.touched.push(other);
                }
                cell.sum += by * measure.entry(value, other as usize);
                cell.common += 1;
            }
        }
        Ok(())
    }

    /// Leaves the most similar items in `found`.
    fn choose<M: Measure>(&self, measure: &M, item: usize, most: usize, row: &mut Row<'_>) -> Result<()> {
        row.found.clear();
        for &other in &row.touched {
            row.pace.step(1)?;
            if other as usize == item {
                continue;
            }
            let Cell { sum, common, .. } = row.cells[other as usize];
            let common = f64::from(common);
            let trust =
                if self.params.shrinkage > 0.0 { common / (common + self.params.shrinkage) } else { 1.0 };
            let similarity = (measure.similarity(sum, item, other as usize) * trust) as f32;
            if similarity > 0.0 && similarity.is_finite() {
                row.found.push((similarity, other));
            }
        }
        if row.found.len() > most {
            row.pace.step(row.found.len())?;
            row.found.select_nth_unstable_by(most - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            row.found.truncate(most);
        }
        Ok(())
    }

    /// Without the places that no neighbour took.
    fn pack(
        &self,
        best: &[[u32; 2]],
        most: usize,
        counts: &[u32],
        budget: &mut Budget<'_>,
    ) -> Result<Neighbours> {
        let mut pace = Pace::new(self.control);
        let mut offsets = budget.with_capacity(counts.len() + 1)?;
        offsets.push(0);
        let mut total = 0;
        for &count in counts {
            pace.step(1)?;
            total += u64::from(count);
            offsets.push(total);
        }
        let mut items = budget.with_capacity(total as usize)?;
        let mut weights = budget.with_capacity(total as usize)?;
        for (best, &count) in best.chunks(most).zip(counts) {
            pace.step(count as usize + 1)?;
            for &[item, weight] in &best[..count as usize] {
                items.push(item);
                weights.push(f32::from_bits(weight));
            }
        }
        Ok(Neighbours { offsets, items, weights })
    }
}

/// What a thread needs for one item after the other.
struct Row<'c> {
    cells: Vec<Cell>,
    /// Items that have a product, in the order they came.
    touched: Vec<u32>,
    found: Vec<(f32, u32)>,
    pace: Pace<'c>,
}
