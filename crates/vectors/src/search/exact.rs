//! Scores in f64, equal to the last bit on every instruction set.
//!
//! The product of two f32 is exact in f64 (48 of 53 bits; the exponents stay inside), so only the order of
//! the additions could differ: it is fixed as 16 lanes and one tree. A fused multiply-add rounds the same.

use std::cmp::Ordering;

use base::simd::Level;

use super::{Hit, Similarity};

/// Partial sums of a dot product: two registers of the widest set hide the latency of its additions.
const LANES: usize = 16;

/// Larger scores first, equal ones by rising row.
pub(super) fn best_first(left: &Hit, right: &Hit) -> Ordering {
    right.score.total_cmp(&left.score).then(left.row.cmp(&right.row))
}

/// A query against the rows of an index.
pub(super) struct Scorer<'a> {
    rows: &'a [f32],
    factors: usize,
    query: &'a [f32],
    norm: f64,
    similarity: Similarity,
}

impl<'a> Scorer<'a> {
    /// `rows` is n x `factors`, `query` has `factors` numbers.
    pub(super) fn new(rows: &'a [f32], factors: usize, query: &'a [f32], similarity: Similarity) -> Self {
        Self { rows, factors, query, norm: dot(query, query).sqrt(), similarity }
    }

    pub(super) fn query(&self) -> &[f32] {
        self.query
    }

    /// The norm of the query.
    pub(super) fn norm(&self) -> f64 {
        self.norm
    }

    pub(super) fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// The score of one row; negative infinity if it does not exist or is not a number.
    #[inline(always)]
    pub(super) fn score(&self, row: u32) -> f64 {
        let start = (row as usize).saturating_mul(self.factors);
        let Some(row) = self.rows.get(start..start.saturating_add(self.factors)) else {
            return f64::NEG_INFINITY;
        };
        let product = dot(self.query, row);
        let score = match self.similarity {
            Similarity::InnerProduct => product,
            Similarity::Cosine => {
                // No product of norms of f32 leaves f64: between 2^-298 and 2^286.
                let norms = self.norm * dot(row, row).sqrt();
                if norms == 0.0 { 0.0 } else { product / norms }
            }
        };
        if score.is_nan() { f64::NEG_INFINITY } else { score }
    }

    /// Fills in the scores of `hits`.
    pub(super) fn score_all(&self, level: Level, hits: &mut [Hit]) {
        match level {
            Level::Portable => self.score_loop(hits),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above Portable is only given where `simd::level` found its features.
            Level::Avx2 => unsafe { self.score_avx2(hits) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { self.score_avx512(hits) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.score_loop(hits),
        }
    }

    #[inline(always)]
    fn score_loop(&self, hits: &mut [Hit]) {
        for hit in hits {
            hit.score = self.score(hit.row);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn score_avx2(&self, hits: &mut [Hit]) {
        self.score_loop(hits);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn score_avx512(&self, hits: &mut [Hit]) {
        self.score_loop(hits);
    }
}

/// Number `i` goes to lane `i % 16`; then halves are added until one number is left. Starts from +0, so the
/// sum is never -0.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let mut left = left.chunks_exact(LANES);
    let mut right = right.chunks_exact(LANES);
    for (left, right) in left.by_ref().zip(right.by_ref()) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(left[lane]) * f64::from(right[lane]);
        }
    }
    for (lane, (left, right)) in left.remainder().iter().zip(right.remainder()).enumerate() {
        lanes[lane] += f64::from(*left) * f64::from(*right);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
