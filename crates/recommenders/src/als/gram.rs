//! The Gram matrix of factor rows.

use base::aligned::{Aligned, Buffer, fill};
use base::budget::TRAINING;
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use base::simd::Level;
#[cfg(target_arch = "x86_64")]
use base::simd::lanes::{Avx2, Avx512};
use base::simd::lanes::{Lanes, Portable};

/// Rows read at a time: 16 kB at 64 factors, so that every tile finds them in the first-level cache.
pub(super) const BLOCK: usize = 64;
/// Rows of the result per job, a multiple of every tile height.
const BAND: usize = 64;
/// Partial sums take at most this many numbers (64 MB).
const PARTIALS: usize = 1 << 24;

/// `rows' * rows` for rows of `factors` numbers, row-major `factors * factors`, symmetric to the bit.
/// The strips that are summed depend on the shape alone: any number of threads gives the same bits.
pub(crate) fn gram_at(
    level: Level,
    rows: &[f32],
    factors: usize,
    threads: usize,
    control: &Control,
) -> Result<Vec<f32>> {
    let count = rows.len() / factors;
    let width = factors.next_multiple_of(16);
    let strips = strips(count, width);
    let strip = count.div_ceil(strips).next_multiple_of(BLOCK).max(BLOCK) * factors;
    let mut partials = Buffer::zeros(TRAINING, strips * width * width, control)?;
    let jobs = partials.chunks_mut(width * width).zip(rows.chunks(strip));
    let jobs = jobs
        .flat_map(|(partial, rows)| partial.chunks_mut(BAND * width).enumerate().map(move |job| (job, rows)));
    let bands = strips * width.div_ceil(BAND);
    share(jobs, threads.min(bands), control, |jobs| {
        let mut padded = Aligned::zeros(TRAINING, if width == factors { 0 } else { BLOCK * width }, control)?;
        while let Some(((band, target), rows)) = jobs.next()? {
            for block in rows.chunks(BLOCK * factors) {
                control.check()?;
                let block = if width == factors {
                    block
                } else {
                    for (to, from) in padded.chunks_exact_mut(width).zip(block.chunks_exact(factors)) {
                        to[..factors].copy_from_slice(from);
                    }
                    &padded[..block.len() / factors * width]
                };
                add_block(level, block, width, band * BAND, target);
            }
        }
        Ok(())
    })?;
    let mut gram = fill(TRAINING, factors * factors, 0.0, control)?;
    for row in 0..factors {
        control.check()?;
        for column in row..factors {
            let sum: f64 =
                partials.chunks(width * width).map(|partial| f64::from(partial[row * width + column])).sum();
            gram[row * factors + column] = sum as f32;
            gram[column * factors + row] = sum as f32;
        }
    }
    Ok(gram)
}

/// Strips that are summed on their own, for so many rows.
pub(super) fn strips(count: usize, width: usize) -> usize {
    count.div_ceil(4096).clamp(1, 64).min((PARTIALS / (width * width)).max(1))
}

/// Memory of [`gram_at`], its answer included.
pub(crate) fn gram_bytes(count: usize, width: usize) -> u64 {
    ((strips(count, width) + 1) * width * width * 4) as u64
}

/// Adds the products of a block of rows to the rows `first..` of the Gram matrix in `target`, from the
/// diagonal on.
fn add_block(level: Level, block: &[f32], width: usize, first: usize, target: &mut [f32]) {
    assert!(
        width.is_multiple_of(16) && block.len().is_multiple_of(width) && target.len().is_multiple_of(width)
    );
    assert!(first + target.len() / width <= width && first.is_multiple_of(16));
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions; shapes are
        // checked.
        Level::Avx512 => unsafe { add_avx512(block, width, first, target) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions; shapes are
        // checked.
        Level::Avx2 => unsafe { add_avx2(block, width, first, target) },
        // SAFETY: these instructions are everywhere; shapes are checked.
        _ => unsafe { add_tiles::<Portable, 4>(block, width, first, 1.0, target) },
    }
}

/// # Safety
/// As `add_tiles`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn add_avx512(block: &[f32], width: usize, first: usize, target: &mut [f32]) {
    // SAFETY: this function is compiled for the instructions; shapes as the caller promises.
    unsafe { add_tiles::<Avx512, 8>(block, width, first, 1.0, target) }
}

/// # Safety
/// As `add_tiles`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_avx2(block: &[f32], width: usize, first: usize, target: &mut [f32]) {
    // SAFETY: this function is compiled for the instructions; shapes as the caller promises.
    unsafe { add_tiles::<Avx2, 4>(block, width, first, 1.0, target) }
}

/// Adds `sign` times the products of the rows of a block to the rows `first..` of a matrix, which are `target`, from the
/// diagonal on.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is a multiple of 16 and divides both lengths; `first`
/// is a multiple of 16 and the target ends at or before row `width`.
#[inline(always)]
pub(super) unsafe fn add_tiles<L: Lanes, const R: usize>(
    block: &[f32],
    width: usize,
    first: usize,
    sign: f32,
    target: &mut [f32],
) {
    for row in (0..target.len() / width).step_by(R) {
        let mut column = (first + row) / L::N * L::N;
        // SAFETY: tiles lie within the target, whose rows are `width` long and as many as a multiple of 16.
        unsafe {
            while column + 2 * L::N <= width {
                let at = target.as_mut_ptr().add(row * width + column);
                tile::<L, R, 2>(block, width, first + row, column, sign, at);
                column += 2 * L::N;
            }
            if column < width {
                let at = target.as_mut_ptr().add(row * width + column);
                tile::<L, R, 1>(block, width, first + row, column, sign, at);
            }
        }
    }
}

/// `R` rows by `C` registers of columns, held in registers over the whole block, added with a sign.
///
/// # Safety
/// As `add_tiles`; `row + R` and `column + C * L::N` are at most `width`; `target` points to the tile.
#[inline(always)]
unsafe fn tile<L: Lanes, const R: usize, const C: usize>(
    block: &[f32],
    width: usize,
    row: usize,
    column: usize,
    sign: f32,
    target: *mut f32,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [[L::zero(); C]; R];
        for y in block.chunks_exact(width) {
            let y = y.as_ptr();
            let mut parts = [L::zero(); C];
            for (each, part) in parts.iter_mut().enumerate() {
                *part = L::load(y.add(column + each * L::N));
            }
            for (line, sums) in sums.iter_mut().enumerate() {
                let scale = L::splat(*y.add(row + line));
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = part.fma(scale, *sum);
                }
            }
        }
        for (line, sums) in sums.iter().enumerate() {
            for (each, sum) in sums.iter().enumerate() {
                let at = target.add(line * width + each * L::N);
                sum.fma(L::splat(sign), L::load(at)).store(at);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use base::simd::levels;

    use super::*;

    #[test]
    fn agrees_with_plain_sums_at_every_level_and_thread_count() {
        for (count, factors) in [(1, 1), (7, 5), (200, 16), (9000, 20), (130, 64), (70, 100), (65, 144)] {
            let rows: Vec<f32> =
                (0..count * factors).map(|at| ((at * 7919 % 1000) as f32 - 500.0) / 500.0).collect();
            let mut plain = vec![0.0f64; factors * factors];
            for row in rows.chunks(factors) {
                for a in 0..factors {
                    for b in 0..factors {
                        plain[a * factors + b] += f64::from(row[a]) * f64::from(row[b]);
                    }
                }
            }
            let scale = plain.iter().fold(0.0f64, |most, each| most.max(each.abs()));
            for level in levels() {
                let control = Control::unlimited();
                let gram = gram_at(level, &rows, factors, 1, &control).unwrap();
                for (a, b) in gram.iter().zip(&plain) {
                    assert!(
                        (f64::from(*a) - b).abs() <= 1e-6 * scale,
                        "{level:?} {count} {factors}: {a} {b}"
                    );
                }
                for threads in [2, 3] {
                    assert_eq!(gram, gram_at(level, &rows, factors, threads, &control).unwrap());
                }
                assert_eq!(control.used(), 0);
            }
        }
    }
}
