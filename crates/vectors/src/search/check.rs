//! Whether the bounds of an image are what the proof in `quantize.rs` asks of them. Sections that pass need not
//! come from [`quantize`](super::quantize): any bytes and bounds that keep these promises give exact answers.
//!
//! For a row v with bytes q, and figures s (scale), n (norm) and e (error) as stored:
//!
//! * v is finite, s is a number, each byte is in -127..=127 (the sign of -128 cannot be turned),
//! * |v| <= n <= (1 + 4 d) |v|, d = 2^-24, where n may be infinite only if |v| is near the end of f32,
//! * |v - s q| <= e <= 1.01 n, hence |s q| <= 2.02 |v|: the rounding errors that SLACK pays for.

use base::control::Control;
use base::error::{Error, Result};
use base::simd::{Level, level};

use super::quantize::Bounds;
use super::{BLOCK, GROUP, Index, block_bytes};

/// Numbers summed side by side.
const LANES: usize = 16;

/// What a stored norm may exceed the true one by: the rounding of `quantize` to f32, upwards.
const NORM: f64 = 1.0 + 1.0 / (1u64 << 22) as f64;

/// The same of the error and the norm. What is lost is at most the row itself, but for rounding.
const ERROR: f64 = 1.01;

/// Two steps of the smallest f32: what rounding up adds to numbers below the normal ones.
const STEP: f64 = f32::from_bits(2) as f64;

impl Index<'_> {
    /// The full check, which reads everything: the rows are finite and the sections bound them, so that each
    /// search is exact. `Error::Corrupted`, `Error::Cancelled`. Passes whatever [`quantize`](super::quantize) made of finite rows.
    ///
    /// A million rows of 64 with AVX-512: 65 ms.
    pub fn check(&self, control: &Control) -> Result<()> {
        let block = BLOCK * self.factors;
        let mut bytes = vec![[0; LANES]; self.factors.div_ceil(LANES)];
        let level = level();
        let blocks = self.rows.chunks(block).zip(self.quantized.chunks(block_bytes(self.factors)));
        for ((rows, quantized), bounds) in blocks.zip(self.bounds) {
            control.check()?;
            let (groups, _) = quantized.as_chunks::<GROUP>();
            for (lane, row) in rows.chunks_exact(self.factors).enumerate() {
                let (own, _) = bytes.as_flattened_mut().as_chunks_mut::<GROUP>();
                for (to, group) in own.iter_mut().zip(groups[lane..].iter().step_by(BLOCK)) {
                    *to = *group;
                }
                let truth = Truth::new(level, row, &bytes, bounds.scale[lane]);
                if !truth.finite() {
                    return Err(Error::Corrupted("a factor that is not finite"));
                }
                if !truth.bounded(bounds, lane) {
                    return Err(Error::Corrupted("bounds that do not hold"));
                }
            }
        }
        Ok(())
    }
}

/// What is true of a row and its bytes.
struct Truth {
    norm: f64,
    error: f64,
    least: i8,
}

impl Truth {
    fn new(level: Level, row: &[f32], bytes: &[[i8; LANES]], scale: f32) -> Self {
        match level {
            Level::Portable => truth(row, bytes, scale),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above Portable is only given where `simd::level` found its features.
            Level::Avx2 => unsafe { avx2(row, bytes, scale) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512(row, bytes, scale) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => truth(row, bytes, scale),
        }
    }

    /// No square of an f32 leaves f64, so the norm is finite where all factors are.
    fn finite(&self) -> bool {
        self.norm.is_finite()
    }

    /// Comparisons with NaN are false, and a scale that is NaN makes the true error so.
    fn bounded(&self, bounds: &Bounds, lane: usize) -> bool {
        let (norm, error) = (f64::from(bounds.norm[lane]), f64::from(bounds.error[lane]));
        let highest = self.norm * NORM + STEP;
        let infinite = highest > f64::from(f32::MAX);
        self.least > i8::MIN
            && norm >= self.norm
            && (norm <= highest || infinite)
            && error >= self.error
            && (error <= norm * ERROR + STEP || infinite)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(row: &[f32], bytes: &[[i8; LANES]], scale: f32) -> Truth {
    truth(row, bytes, scale)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(row: &[f32], bytes: &[[i8; LANES]], scale: f32) -> Truth {
    truth(row, bytes, scale)
}

#[inline(always)]
fn truth(row: &[f32], bytes: &[[i8; LANES]], scale: f32) -> Truth {
    let scale = f64::from(scale);
    let (mut norm, mut error, mut least) = ([0.0f64; LANES], [0.0f64; LANES], [0i8; LANES]);
    let mut add = |values: &[f32; LANES], bytes: &[i8; LANES]| {
        for lane in 0..LANES {
            let value = f64::from(values[lane]);
            let lost = value - scale * f64::from(bytes[lane]);
            norm[lane] += value * value;
            error[lane] += lost * lost;
            least[lane] = least[lane].min(bytes[lane]);
        }
    };
    let (pieces, rest) = row.as_chunks::<LANES>();
    for (values, bytes) in pieces.iter().zip(bytes) {
        add(values, bytes);
    }
    if let Some(bytes) = bytes.get(pieces.len()) {
        let mut values = [0.0; LANES];
        values[..rest.len()].copy_from_slice(rest);
        add(&values, bytes);
    }
    Truth {
        norm: norm.iter().sum::<f64>().sqrt(),
        error: error.iter().sum::<f64>().sqrt(),
        least: least.into_iter().fold(0, i8::min),
    }
}
