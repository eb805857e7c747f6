//! Rounding a vector to bytes, with the figures of what it loses.

use base::simd::Level;

use super::GROUP;

/// Largest magnitude of a byte: symmetric, so that the sign of a byte can always be turned.
const LARGEST: f64 = 127.0;

/// Numbers handled at once, each with sums of its own: two registers of 512 bits, four of 256.
pub(super) const LANES: usize = 16;

/// 1.5 * 2^52: of f64 numbers from 2^52 to 2^53 the last place is 1, so adding it to a number under 2^51 rounds
/// that to the nearest integer, ties to even, and leaves the integer in the low bits. Three times as fast as
/// `round_ties_even`, which is a call into libm where SSE4.1 is not assumed.
const SHIFT: f64 = (3u64 << 51) as f64;

/// Figures of a vector and its quantized copy. The same bits at every level: all sum in one order.
pub(super) struct Rounded {
    pub(super) scale: f32,
    pub(super) norm: f64,
    pub(super) error: f64,
    /// Norm of the copy, scale included.
    pub(super) length: f64,
}

impl Rounded {
    /// Writes the bytes of `vector`, of the same length, to `bytes`.
    pub(super) fn new(level: Level, vector: &[[f64; LANES]], bytes: &mut [[i8; LANES]]) -> Self {
        match level {
            Level::Portable => round(vector, bytes),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above Portable is only given where `simd::level` found its features.
            Level::Avx2 => unsafe { avx2(vector, bytes) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512(vector, bytes) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => round(vector, bytes),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(vector: &[[f64; LANES]], bytes: &mut [[i8; LANES]]) -> Rounded {
    round(vector, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(vector: &[[f64; LANES]], bytes: &mut [[i8; LANES]]) -> Rounded {
    round(vector, bytes)
}

#[inline(always)]
fn round(vector: &[[f64; LANES]], bytes: &mut [[i8; LANES]]) -> Rounded {
    let (mut largest, mut norm) = ([0.0f64; LANES], [0.0; LANES]);
    for values in vector {
        for lane in 0..LANES {
            let size = values[lane].abs();
            largest[lane] = if size > largest[lane] { size } else { largest[lane] };
            norm[lane] += values[lane] * values[lane];
        }
    }
    let (largest, norm) = (largest.into_iter().fold(0.0, f64::max), total(norm));
    // Infinite or NaN: no bytes describe it, and no bound holds but infinity.
    if norm.is_nan() || norm == f64::INFINITY {
        bytes.fill([0; LANES]);
        return Rounded { scale: 0.0, norm: f64::INFINITY, error: f64::INFINITY, length: f64::INFINITY };
    }
    let scale = (largest / LARGEST) as f32;
    let step = f64::from(scale);
    // Below the smallest f32 the step is 0, and so are all bytes.
    let inverse = if scale == 0.0 { 0.0 } else { step.recip() };
    let (mut error, mut length) = ([0.0; LANES], [0.0; LANES]);
    for (values, bytes) in vector.iter().zip(bytes) {
        for lane in 0..LANES {
            // Cut before rounding: the limits are integers, so the order does not matter.
            let shifted = (values[lane] * inverse).clamp(-LARGEST, LARGEST) + SHIFT;
            bytes[lane] = shifted.to_bits() as i8;
            let copied = (shifted - SHIFT) * step;
            let lost = values[lane] - copied;
            error[lane] += lost * lost;
            length[lane] += copied * copied;
        }
    }
    Rounded { scale, norm: norm.sqrt(), error: total(error).sqrt(), length: total(length).sqrt() }
}

#[inline(always)]
fn total(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// A vector in pieces of `LANES`, filled up with zeros, and room for its bytes.
pub(super) struct Room {
    pub(super) vector: Vec<[f64; LANES]>,
    bytes: Vec<[i8; LANES]>,
}

impl Room {
    pub(super) fn new(factors: usize) -> Self {
        let pieces = factors.div_ceil(LANES);
        Self { vector: vec![[0.0; LANES]; pieces], bytes: vec![[0; LANES]; pieces] }
    }

    /// Rounds the vector that was put in.
    pub(super) fn round(&mut self, level: Level) -> Rounded {
        Rounded::new(level, &self.vector, &mut self.bytes)
    }

    /// Four bytes each, zeros at the end: at least as many groups as the vector needs.
    pub(super) fn groups(&self) -> &[[i8; GROUP]] {
        self.bytes.as_flattened().as_chunks().0
    }
}

#[cfg(test)]
mod tests {
    use base::simd::levels;

    use super::*;

    #[test]
    fn rounds_to_nearest_even_at_every_level() {
        let mut values = vec![127.0, -127.0, 0.0, -0.0];
        values.extend((-126..126).flat_map(|n| [0.25, 0.5, 0.75].map(|part| f64::from(n) + part)));
        values.resize(values.len().next_multiple_of(LANES), 0.0);
        for level in levels() {
            let mut room = Room::new(values.len());
            room.vector.as_flattened_mut().copy_from_slice(&values);
            let rounded = room.round(level);
            let bytes = room.groups().as_flattened();
            assert_eq!(rounded.scale, 1.0);
            assert!(
                bytes.iter().zip(&values).all(|(&byte, &value)| f64::from(byte) == value.round_ties_even())
            );
            let lost: f64 = values.iter().map(|value| (value - value.round_ties_even()).powi(2)).sum();
            assert_eq!(rounded.error, lost.sqrt());
            room.vector[0][3] = f64::NAN;
            assert_eq!(room.round(level).norm, f64::INFINITY);
            assert!(room.groups().as_flattened().iter().all(|&byte| byte == 0));
        }
    }
}
