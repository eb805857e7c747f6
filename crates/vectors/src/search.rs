//! Exact top-k search by inner product or cosine over rows of factors.
//!
//! A first pass over 8-bit copies of the rows bounds every score from both sides; the rows whose upper bound
//! reaches the k-th largest lower bound are scored again in f64 from the f32 factors. The bounds are proven
//! (see `quantize.rs`), so the answer is that of a full f64 scan, rank by rank.
//!
//! Measured by `benches/search.rs` on one core of a server with AVX-512, k = 10, normal factors: 100,000 x 64
//! in 0.09 ms (0.13 ms with AVX2, 1.5 ms without either), 1,000,000 x 64 in 1.9 ms (3.6 ms, 32 ms), where
//! 76 MB are read. Rows that no bound tells apart cost their f64 scores: 100,000 equal rows 3 to 5 ms.
//!
//! Everything is borrowed: an [`Index`] is a view of sections that may stand in a mapped file. Sections that
//! start at a multiple of 64 bytes are read without crossing cache lines.

mod check;
mod exact;
mod quantize;
mod rounded;
mod scan;
mod select;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base::control::Control;
use base::error::{Error, Result};
use base::simd::{Level, level};
use exact::{Scorer, best_first};
use quantize::QuantizedQuery;
pub use quantize::section_bytes;
pub use quantize::{Bounds, Sections, quantize};
use select::Selection;

/// Rows searched between two looks at a control, a multiple of a block: 8 ms with 64 factors where there are no
/// vector instructions, 1 ms where there are.
const PART: usize = 1 << 18;

/// Rows of a block: the lanes of a 512-bit register of f32.
pub const BLOCK: usize = 16;

/// The most factors of a row: sums of products of bytes stay far inside an i32.
pub const MAX_FACTORS: usize = 1 << 15;

/// Factors that stand beside each other in a block: what one lane of a byte dot product takes.
const GROUP: usize = 4;

/// What a search ranks by; larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Similarity {
    /// The sum of the products of the factors.
    InnerProduct,
    /// The inner product divided by both norms; 0 where a norm is 0. May leave [-1, 1] by a rounding error.
    Cosine,
}

/// One answer of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row, counted from 0.
    pub row: u32,
    /// Its score, summed in f64 in an order that no instruction set changes. Never NaN.
    pub score: f64,
}

/// Rows of factors with the sections of [`quantize`], ready for searching.
#[derive(Debug, Clone, Copy)]
pub struct Index<'a> {
    rows: &'a [f32],
    factors: usize,
    quantized: &'a [i8],
    bounds: &'a [Bounds],
}

impl<'a> Index<'a> {
    /// A view of `rows` (n x `factors`, by rows) and of the sections that [`quantize`] made of them.
    ///
    /// `Error::Corrupted` if a length does not fit. Contents are not looked at ([`Index::check`] does): damaged
    /// ones give wrong answers, never a panic or a read outside the slices.
    pub fn new(rows: &'a [f32], factors: usize, quantized: &'a [i8], bounds: &'a [Bounds]) -> Result<Self> {
        if factors == 0 || factors > MAX_FACTORS {
            return Err(Error::Corrupted("number of factors out of range"));
        }
        if !rows.len().is_multiple_of(factors) {
            return Err(Error::Corrupted("factors do not fill whole rows"));
        }
        let count = rows.len() / factors;
        if count > u32::MAX as usize {
            return Err(Error::Corrupted("more rows than row numbers"));
        }
        let blocks = count.div_ceil(BLOCK);
        if quantized.len() != blocks * block_bytes(factors) {
            return Err(Error::Corrupted("quantized factors do not fit the rows"));
        }
        if bounds.len() != blocks {
            return Err(Error::Corrupted("bounds do not fit the rows"));
        }
        Ok(Self { rows, factors, quantized, bounds })
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows.len() / self.factors
    }

    /// Factors of a row.
    #[inline]
    pub fn factors(&self) -> usize {
        self.factors
    }

    /// The best `k` rows that are not `excluded`, best first, equal scores by rising row; fewer only if
    /// there are fewer. `excluded` is asked only about rows that may still enter the answer.
    ///
    /// `query` has as many factors as a row; a shorter one is filled with zeros, a longer one cut.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        similarity: Similarity,
        excluded: &dyn Fn(u32) -> bool,
    ) -> Vec<Hit> {
        self.search_at(level(), query, k, similarity, excluded)
    }

    /// [`Index::search`] with looks at `control`: a large index is searched in parts, whose answers are merged. The
    /// same answer to the bit. `Error::Cancelled`.
    pub fn search_with(
        &self,
        query: &[f32],
        k: usize,
        similarity: Similarity,
        excluded: &dyn Fn(u32) -> bool,
        control: &Control,
    ) -> Result<Vec<Hit>> {
        let mut best = Vec::new();
        for first in (0..self.rows()).step_by(PART) {
            control.check()?;
            let rows = first..self.rows().min(first + PART);
            let blocks = first / BLOCK..rows.end.div_ceil(BLOCK);
            let bytes = block_bytes(self.factors);
            let part = Index {
                rows: &self.rows[rows.start * self.factors..rows.end * self.factors],
                factors: self.factors,
                quantized: &self.quantized[blocks.start * bytes..blocks.end * bytes],
                bounds: &self.bounds[blocks],
            };
            let first = first as u32;
            let hits = part.search(query, k, similarity, &|row| excluded(first + row));
            best.extend(hits.into_iter().map(|hit| Hit { row: first + hit.row, ..hit }));
            best.sort_unstable_by(best_first);
            best.truncate(k);
        }
        Ok(best)
    }

    /// The score of one row; negative infinity for a row that does not exist. `query` as in [`Index::search`].
    #[inline]
    pub fn score(&self, query: &[f32], row: u32, similarity: Similarity) -> f64 {
        let query = self.fit(query);
        Scorer::new(self.rows, self.factors, &query, similarity).score(row)
    }

    /// The best `k` of `candidates` that are not `excluded`, ranked as by [`Index::search`].
    ///
    /// Candidates come in any order; repeated ones count once, rows that do not exist are passed over.
    pub fn rank(
        &self,
        query: &[f32],
        candidates: &[u32],
        k: usize,
        similarity: Similarity,
        excluded: &dyn Fn(u32) -> bool,
    ) -> Vec<Hit> {
        let mut rows = candidates.to_vec();
        rows.retain(|&row| (row as usize) < self.rows());
        rows.sort_unstable();
        rows.dedup();
        let query = self.fit(query);
        let scorer = Scorer::new(self.rows, self.factors, &query, similarity);
        rank_rows(level(), &scorer, rows.into_iter(), k, excluded)
    }

    /// The inner products of `query`, of as many factors as a row, with the rows from `first` on: one for each hit.
    pub fn products(&self, query: &[f32], first: u32, hits: &mut [Hit]) {
        for (hit, row) in hits.iter_mut().zip(first..) {
            hit.row = row;
        }
        Scorer::new(self.rows, self.factors, query, Similarity::InnerProduct).score_all(level(), hits);
    }

    /// [`Index::search`] with the instructions of `level`, which the processor must have.
    fn search_at(
        &self,
        level: Level,
        query: &[f32],
        k: usize,
        similarity: Similarity,
        excluded: &dyn Fn(u32) -> bool,
    ) -> Vec<Hit> {
        if k == 0 {
            return Vec::new();
        }
        let rows = 0..self.rows() as u32;
        let query = self.fit(query);
        let scorer = Scorer::new(self.rows, self.factors, &query, similarity);
        if scorer.norm() == 0.0 {
            return rows.filter(|&row| !excluded(row)).take(k).map(|row| Hit { row, score: 0.0 }).collect();
        }
        if !scorer.norm().is_finite() {
            return rank_rows(level, &scorer, rows, k, excluded);
        }
        let quantized = QuantizedQuery::new(&scorer);
        let mut selection = Selection::new(level, &scorer, quantized.unit(), k, excluded);
        scan::scan(level, self.rows(), self.quantized, self.bounds, &quantized, similarity, &mut selection);
        selection.finish()
    }

    /// The query with exactly one number per factor.
    fn fit<'q>(&self, query: &'q [f32]) -> Cow<'q, [f32]> {
        if query.len() == self.factors {
            return Cow::Borrowed(query);
        }
        let mut query = query.to_vec();
        query.resize(self.factors, 0.0);
        Cow::Owned(query)
    }
}

/// Scores all of `rows`, then asks `excluded` from the best on until `k` are found.
fn rank_rows(
    level: Level,
    scorer: &Scorer,
    rows: impl Iterator<Item = u32>,
    k: usize,
    excluded: &dyn Fn(u32) -> bool,
) -> Vec<Hit> {
    let mut hits: Vec<Hit> = rows.map(|row| Hit { row, score: 0.0 }).collect();
    scorer.score_all(level, &mut hits);
    hits.sort_unstable_by(best_first);
    hits.into_iter().filter(|hit| !excluded(hit.row)).take(k).collect()
}

/// Bytes of a block of 16 quantized rows.
fn block_bytes(factors: usize) -> usize {
    factors.div_ceil(GROUP) * GROUP * BLOCK
}
