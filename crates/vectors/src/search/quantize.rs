//! 8-bit copies of vectors and the bounds of what they lose.
//!
//! A vector v becomes s q with bytes q in -127..=127 and loses e = v - s q. For a query w and a row v
//!
//! ```text
//! w.v = s_w s_v (q_w.q_v) + e_w.v + (s_w q_w).e_v
//! |w.v - s_w s_v (q_w.q_v)| <= |e_w| |v| + |s_w q_w| |e_v|         (Cauchy and Schwarz)
//! ```
//!
//! The right side is computed as `E = norm_weight * norm + error_weight * error + FLOOR` in f32, where
//! `norm_weight` holds [`SLACK`] beside |e_w|. That pays for all rounding. Let d = 2^-24 be half a unit in
//! the last place. The query is scaled by a power of two to |w| <= 1. Rounding to nearest gives |e| <= |v|
//! in every component (a byte that is cut to 127 only moves towards v), so |s_w q_w| <= 2 and
//! |s_v q_v| <= 2 |v|, hence the estimate a = s_w s_v (q_w.q_v) is at most 4 |v|, and E is at most
//! 3.1 |v|. The rounding errors are then
//!
//! * of a: the sum of bytes to f32 and two products, 3 d 4 |v| = 12 d |v|,
//! * of E: at most 4 operations, 4 d 3.1 |v| < 13 d |v|,
//! * of a + E: d 7.1 |v| < 8 d |v|,
//! * for the cosine, which divides by the norm: another 8 d |v| of the division, and 4 d |v| because the
//!   stored norm exceeds |v| by up to 4 d |v|,
//! * of the f64 score itself: under 2^-36 |v| for 2^15 factors,
//!
//! together less than 46 d |v|; SLACK is 64 d. Below the normal numbers of f32 each operation errs by up to
//! 2^-150 more and the stored norm by 2^-149: FLOOR = 2^-126 exceeds their sum, and is itself a normal number,
//! because adding one below costs some processors more than a hundred cycles. Above the range of f32 a
//! norm or error is infinite: its row then has the bounds infinity or NaN, and is always scored in f64.

use base::budget::{Task, task};
use base::control::Control;
use base::error::{Error, Result};
use base::jobs::share;
use base::simd::level;

use super::exact::Scorer;
use super::rounded::Room;
use super::{BLOCK, GROUP, MAX_FACTORS, Similarity, block_bytes};

const SEARCH: Task = task("preparing the search", "Use fewer \"factors\".");

/// What rounding may cost per unit of norm: 64 halves of a unit in the last place of f32.
const SLACK: f64 = 1.0 / (1u64 << 18) as f64;

/// What underflow may cost, and more: 2^-126. With 2^-140 a block of 16 rows of 64 factors took 45 ns instead of 11.
pub(super) const FLOOR: f32 = f32::MIN_POSITIVE;

/// The parts of a search image that [`quantize`] makes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sections {
    /// Blocks of 16 rows. A block holds, for each 4 factors in turn, 4 bytes of row 0, 4 bytes of row 1 and
    /// so on; rows and factors that do not exist are 0.
    pub quantized: Vec<i8>,
    /// One per block.
    pub bounds: Vec<Bounds>,
}

/// What the quantized rows of a block stand for and what they lost.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Bounds {
    /// A factor is about its byte times this.
    pub scale: [f32; BLOCK],
    /// Norm of the row, rounded up.
    pub norm: [f32; BLOCK],
    /// Norm of the row minus its quantized copy, rounded up.
    pub error: [f32; BLOCK],
}

/// Bytes that [`quantize`] makes of `rows` rows.
pub fn section_bytes(rows: usize, factors: usize) -> usize {
    rows.div_ceil(BLOCK) * (block_bytes(factors) + size_of::<Bounds>())
}

/// Quantizes `rows`, n x `factors` finite numbers by rows, on up to `threads` threads, of which the caller's is
/// one; every number of threads gives the same bits. The sections stay taken from the budget of `control`, to be
/// given back by [`Sections::bytes`] when they are dropped.
///
/// A million rows of 64 with AVX-512: 125 ms on one thread, 75 ms on two (735 ms when each number was rounded by a
/// call into libm).
///
/// Errors: `Parameter` unless 1 <= `factors` <= 32768, `Corrupted` if `rows` ends inside a row, `TooMany`
/// above 2^32 - 1 rows, `Memory`, `Cancelled`.
pub fn quantize(rows: &[f32], factors: usize, threads: usize, control: &Control) -> Result<Sections> {
    if factors == 0 || factors > MAX_FACTORS {
        let expected = format!("between 1 and {MAX_FACTORS}");
        return Err(Error::Parameter { name: "factors", expected, got: factors.to_string() });
    }
    if !rows.len().is_multiple_of(factors) {
        return Err(Error::Corrupted("factors do not fill whole rows"));
    }
    let count = rows.len() / factors;
    if count > u32::MAX as usize {
        return Err(Error::TooMany { what: "rows", limit: u64::from(u32::MAX) });
    }
    let bytes = section_bytes(count, factors) as u64;
    SEARCH.take(bytes, control)?;
    let sections = fill(rows, factors, threads, control);
    if sections.is_err() {
        control.give(bytes);
    }
    sections
}

fn fill(rows: &[f32], factors: usize, threads: usize, control: &Control) -> Result<Sections> {
    // Factors of a job, and between two looks at the control: about 50 microseconds.
    const JOB: usize = 1 << 16;
    let blocks = (rows.len() / factors).div_ceil(BLOCK);
    let mut quantized = zeros::<i8>(blocks * block_bytes(factors))?;
    let mut bounds = zeros::<Bounds>(blocks)?;
    let (block, bytes) = (BLOCK * factors, block_bytes(factors));
    let job = (JOB / block).max(1);
    let parts = rows.chunks(job * block).zip(quantized.chunks_mut(job * bytes)).zip(bounds.chunks_mut(job));
    let level = level();
    let threads = threads.min(blocks.div_ceil(job));
    share(parts, threads, control, |jobs| {
        let mut room = Room::new(factors);
        while let Some(((rows, quantized), bounds)) = jobs.next()? {
            control.check()?;
            let blocks = rows.chunks(block).zip(quantized.chunks_exact_mut(bytes)).zip(bounds);
            for ((rows, quantized), bounds) in blocks {
                let bounds: &mut Bounds = bounds;
                let (groups, _) = quantized.as_chunks_mut::<GROUP>();
                for (lane, row) in rows.chunks_exact(factors).enumerate() {
                    for (to, &value) in room.vector.as_flattened_mut().iter_mut().zip(row) {
                        *to = f64::from(value);
                    }
                    let copy = room.round(level);
                    for (to, group) in groups[lane..].iter_mut().step_by(BLOCK).zip(room.groups()) {
                        *to = *group;
                    }
                    bounds.scale[lane] = copy.scale;
                    bounds.norm[lane] = round_up(copy.norm);
                    bounds.error[lane] = round_up(copy.error);
                }
            }
        }
        Ok(())
    })?;
    Ok(Sections { quantized, bounds })
}

/// Zeros, which the system gives at the first touch.
fn zeros<T: bytemuck::Zeroable>(len: usize) -> Result<Vec<T>> {
    let zeros = bytemuck::allocation::try_zeroed_slice_box(len).map_err(|_| SEARCH.refused())?;
    Ok(zeros.into_vec())
}

impl Sections {
    /// Bytes that the sections take.
    pub fn bytes(&self) -> u64 {
        (self.quantized.len() + size_of_val(&self.bounds[..])) as u64
    }
}

/// A query ready for the first pass: scaled by a power of two to a norm of 1/2 to 1, then quantized.
pub(super) struct QuantizedQuery {
    /// Four bytes each, filled with zeros.
    pub(super) groups: Vec<i32>,
    /// The sum of all bytes.
    pub(super) sum: i32,
    pub(super) scale: f32,
    /// Weight of a row's norm in the bound of its error.
    pub(super) norm_weight: f32,
    /// Weight of a row's error in the bound of its error.
    pub(super) error_weight: f32,
    unit: f64,
}

impl QuantizedQuery {
    /// The norm of the query is finite and not 0.
    pub(super) fn new(scorer: &Scorer) -> Self {
        // A power of two, so scaling by it is exact: f64 has exponents to spare for f32 numbers.
        let power = power_above(scorer.norm()).recip();
        let query = scorer.query();
        let mut room = Room::new(query.len());
        for (to, &value) in room.vector.as_flattened_mut().iter_mut().zip(query) {
            *to = f64::from(value) * power;
        }
        let copy = room.round(level());
        let groups = &room.groups()[..query.len().div_ceil(GROUP)];
        Self {
            groups: groups.iter().map(|each| i32::from_ne_bytes(each.map(|byte| byte as u8))).collect(),
            sum: groups.as_flattened().iter().map(|&byte| i32::from(byte)).sum(),
            scale: copy.scale,
            norm_weight: round_up(copy.error + SLACK),
            error_weight: round_up(copy.length),
            unit: match scorer.similarity() {
                Similarity::InnerProduct => power,
                Similarity::Cosine => scorer.norm() * power,
            },
        }
    }

    /// The bounds of the first pass are bounds of the score times this.
    pub(super) fn unit(&self) -> f64 {
        self.unit
    }
}

/// The power of two above a positive, finite norm of f32 numbers.
fn power_above(norm: f64) -> f64 {
    // Such norms are normal f64, so clearing the mantissa rounds down to a power of two.
    f64::from_bits(norm.to_bits() & !((1 << 52) - 1)) * 2.0
}

/// An f32 that is no less than the true value of `value`, an f64 sum of at most 2^15 squares under a root.
fn round_up(value: f64) -> f32 {
    // 2^15 additions err by 2^-38 of the sum.
    let value = value * (1.0 + 1.0 / (1u64 << 36) as f64);
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}
