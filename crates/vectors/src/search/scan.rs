//! The first pass: a byte dot product and two bounds for each row, 16 rows at a time.
//!
//! The rows of a block are interleaved so that every lane sums its own row: no sum across lanes is needed.
//! All levels compute the same integers; their bounds may differ in the last place, which `quantize.rs`
//! accounts for, so the answers are equal.

use base::simd::Level;

use super::quantize::{Bounds, FLOOR, QuantizedQuery};
use super::{BLOCK, GROUP, Similarity};

/// Bytes of a group of 4 factors of a block.
const STEP: usize = GROUP * BLOCK;

/// Receives the rows whose upper bound reaches its threshold.
pub(super) trait Sink {
    /// Rows below it are not wanted.
    fn threshold(&self) -> f32;
    /// The bounds of a block whose rows in `mask` (bit by lane) are not below the threshold, or NaN.
    fn offer(&mut self, block: usize, mask: u16, uppers: &[f32; BLOCK], lowers: &[f32; BLOCK]);
}

/// Offers the `rows` rows, by rising block. A block has 64 bytes of `quantized` for each group of the query and
/// one entry of `bounds`; every block holds at least one row.
pub(super) fn scan(
    level: Level,
    rows: usize,
    quantized: &[i8],
    bounds: &[Bounds],
    query: &QuantizedQuery,
    similarity: Similarity,
    sink: &mut impl Sink,
) {
    let blocks = Blocks { rows, quantized, bounds, query };
    match similarity {
        Similarity::InnerProduct => blocks.scan::<false>(level, sink),
        Similarity::Cosine => blocks.scan::<true>(level, sink),
    }
}

struct Blocks<'a> {
    rows: usize,
    quantized: &'a [i8],
    bounds: &'a [Bounds],
    query: &'a QuantizedQuery,
}

impl<'a> Blocks<'a> {
    fn scan<const COSINE: bool>(&self, level: Level, sink: &mut impl Sink) {
        match level {
            Level::Portable => self.scan_portable::<COSINE>(sink),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above Portable is only given where `simd::level` found its features.
            Level::Avx2 => unsafe { self.scan_avx2::<COSINE>(sink) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { self.scan_avx512::<COSINE>(sink) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.scan_portable::<COSINE>(sink),
        }
    }

    /// The blocks with their numbers.
    fn iter(&self) -> impl Iterator<Item = (usize, (&'a [[i8; STEP]], &'a Bounds))> {
        let (steps, _) = self.quantized.as_chunks::<STEP>();
        steps.chunks_exact(self.query.groups.len()).zip(self.bounds).enumerate()
    }

    /// Bits of the lanes of a block whose rows exist: the last block is filled up with zeros.
    fn existing(&self, block: usize) -> u16 {
        let rows = self.rows - block * BLOCK;
        if rows >= BLOCK { u16::MAX } else { (1 << rows) - 1 }
    }

    fn scan_portable<const COSINE: bool>(&self, sink: &mut impl Sink) {
        let query = self.query;
        for (block, (steps, bounds)) in self.iter() {
            // Sums of pairs, and products in i16, were tried for SSE2: no faster than this plain loop.
            let mut sums = [0i32; BLOCK];
            for (step, group) in steps.iter().zip(&query.groups) {
                let group = group.to_ne_bytes().map(|byte| i32::from(byte as i8));
                for lane in 0..BLOCK {
                    for at in 0..GROUP {
                        // No sum leaves i32 up to MAX_FACTORS; wrapping spares the checks.
                        let product = group[at].wrapping_mul(i32::from(step[lane * GROUP + at]));
                        sums[lane] = sums[lane].wrapping_add(product);
                    }
                }
            }
            let (mut uppers, mut lowers) = ([0.0; BLOCK], [0.0; BLOCK]);
            let mut mask = 0;
            for lane in 0..BLOCK {
                let norm = bounds.norm[lane];
                let estimate = sums[lane] as f32 * query.scale * bounds.scale[lane];
                let error = query.norm_weight * norm + query.error_weight * bounds.error[lane] + FLOOR;
                let (mut upper, mut lower) = (estimate + error, estimate - error);
                if COSINE {
                    (upper, lower) = if norm == 0.0 { (0.0, 0.0) } else { (upper / norm, lower / norm) };
                }
                uppers[lane] = upper;
                lowers[lane] = lower;
                mask |= u16::from(upper >= sink.threshold() || upper.is_nan()) << lane;
            }
            mask &= self.existing(block);
            if mask != 0 {
                sink.offer(block, mask, &uppers, &lowers);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Blocks, FLOOR, STEP, Sink};

    impl Blocks<'_> {
        /// Products of bytes need one unsigned side: the row's bytes are flipped to 128 + byte, and 128 times
        /// the sum of the query's bytes is taken off at the start.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        pub(super) fn scan_avx512<const COSINE: bool>(&self, sink: &mut impl Sink) {
            let query = self.query;
            let flip = _mm512_set1_epi8(i8::MIN);
            let start = _mm512_set1_epi32(query.sum.wrapping_mul(-128));
            let scale = _mm512_set1_ps(query.scale);
            let norm_weight = _mm512_set1_ps(query.norm_weight);
            let error_weight = _mm512_set1_ps(query.error_weight);
            let floor = _mm512_set1_ps(FLOOR);
            let dot = |sum, step: &[i8; STEP], group: i32| {
                // SAFETY: the array has 64 bytes; the load needs no alignment.
                let bytes = unsafe { _mm512_loadu_si512(step.as_ptr().cast()) };
                _mm512_dpbusd_epi32(sum, _mm512_xor_si512(bytes, flip), _mm512_set1_epi32(group))
            };
            let load = |numbers: &[f32; BLOCK]| {
                // SAFETY: the array has 16 numbers; the load needs no alignment.
                unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
            };
            let (groups, last_groups) = query.groups.as_chunks::<4>();
            for (block, (steps, bounds)) in self.iter() {
                // Four chains: one product takes 4 to 5 cycles, and two can start in each.
                let mut sums =
                    [start, _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()];
                let (steps, last_steps) = steps.as_chunks::<4>();
                for (step, group) in steps.iter().zip(groups) {
                    for at in 0..4 {
                        sums[at] = dot(sums[at], &step[at], group[at]);
                    }
                }
                for (step, &group) in last_steps.iter().zip(last_groups) {
                    sums[0] = dot(sums[0], step, group);
                }
                let sums =
                    _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
                let norm = load(&bounds.norm);
                let estimate =
                    _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale), load(&bounds.scale));
                let error = _mm512_fmadd_ps(error_weight, load(&bounds.error), floor);
                let error = _mm512_fmadd_ps(norm_weight, norm, error);
                let divide = |value| {
                    if COSINE {
                        let some = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(norm, _mm512_setzero_ps());
                        _mm512_maskz_div_ps(some, value, norm)
                    } else {
                        value
                    }
                };
                let upper = divide(_mm512_add_ps(estimate, error));
                // "Not less" also holds for NaN.
                let mask = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(upper, _mm512_set1_ps(sink.threshold()));
                if mask != 0 {
                    let lower = divide(_mm512_sub_ps(estimate, error));
                    let (mut uppers, mut lowers) = ([0.0; BLOCK], [0.0; BLOCK]);
                    // SAFETY: both arrays have room for 16 numbers; the stores need no alignment.
                    unsafe {
                        _mm512_storeu_ps(uppers.as_mut_ptr(), upper);
                        _mm512_storeu_ps(lowers.as_mut_ptr(), lower);
                    }
                    let mask = mask & self.existing(block);
                    sink.offer(block, mask, &uppers, &lowers);
                }
            }
        }

        /// The products take the query's magnitudes as the unsigned side and the row's bytes with the query's
        /// signs as the other: two of them add up to at most 2 * 127 * 127 < 2^15, so nothing saturates.
        #[target_feature(enable = "avx2,fma")]
        pub(super) fn scan_avx2<const COSINE: bool>(&self, sink: &mut impl Sink) {
            const HALF: usize = BLOCK / 2;
            let query = self.query;
            let ones = _mm256_set1_epi16(1);
            let scale = _mm256_set1_ps(query.scale);
            let norm_weight = _mm256_set1_ps(query.norm_weight);
            let error_weight = _mm256_set1_ps(query.error_weight);
            let floor = _mm256_set1_ps(FLOOR);
            let load = |numbers: &[f32; BLOCK], half: usize| {
                // SAFETY: the array has 16 numbers and half is 0 or 1; the load needs no alignment.
                unsafe { _mm256_loadu_ps(numbers.as_ptr().add(half * HALF)) }
            };
            for (block, (steps, bounds)) in self.iter() {
                let mut sums = [_mm256_setzero_si256(); 2];
                for (step, &group) in steps.iter().zip(&query.groups) {
                    let signs = _mm256_set1_epi32(group);
                    let magnitudes = _mm256_abs_epi8(signs);
                    for (half, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: the array has 64 bytes and half is 0 or 1; the load needs no alignment.
                        let bytes = unsafe { _mm256_loadu_si256(step.as_ptr().cast::<__m256i>().add(half)) };
                        let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(bytes, signs));
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                    }
                }
                let threshold = _mm256_set1_ps(sink.threshold());
                let (mut uppers, mut lowers) = ([0.0; BLOCK], [0.0; BLOCK]);
                let mut mask = 0;
                for (half, sum) in sums.into_iter().enumerate() {
                    let norm = load(&bounds.norm, half);
                    let estimate = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
                    let estimate = _mm256_mul_ps(estimate, load(&bounds.scale, half));
                    let error = _mm256_fmadd_ps(error_weight, load(&bounds.error, half), floor);
                    let error = _mm256_fmadd_ps(norm_weight, norm, error);
                    let divide = |value| {
                        if COSINE {
                            let some = _mm256_cmp_ps::<_CMP_NEQ_UQ>(norm, _mm256_setzero_ps());
                            _mm256_and_ps(_mm256_div_ps(value, norm), some)
                        } else {
                            value
                        }
                    };
                    let upper = divide(_mm256_add_ps(estimate, error));
                    let lower = divide(_mm256_sub_ps(estimate, error));
                    // "Not less" also holds for NaN.
                    let bits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(upper, threshold));
                    mask |= (bits as u16) << (half * HALF);
                    // SAFETY: both arrays have room for 16 numbers, half is 0 or 1; no alignment is needed.
                    unsafe {
                        _mm256_storeu_ps(uppers.as_mut_ptr().add(half * HALF), upper);
                        _mm256_storeu_ps(lowers.as_mut_ptr().add(half * HALF), lower);
                    }
                }
                let mask = mask & self.existing(block);
                if mask != 0 {
                    sink.offer(block, mask, &uppers, &lowers);
                }
            }
        }
    }
}
