//! The product of two packed panels, added to a tile: where an inversion spends its time.

use base::simd::Level;
#[cfg(target_arch = "x86_64")]
use base::simd::doubles::{Avx2, Avx512};
use base::simd::doubles::{Doubles, Portable};

/// Rows and columns of a tile. A tile and its two panels, 128 kB each, stay in a second-level cache of 1 MB; its product
/// takes about 0.1 ms.
pub(super) const TILE: usize = 128;
/// Numbers of a tile, and of a panel.
pub(super) const AREA: usize = TILE * TILE;

/// Rows of a strip of a left panel.
const LEFT: usize = 8;
/// Columns of a strip of a right panel.
const RIGHT: usize = 16;

/// Where a left panel holds the number of a row at a depth: strips of eight rows, depth by depth.
#[inline]
pub(super) fn left(row: usize, depth: usize) -> usize {
    (row / LEFT * TILE + depth) * LEFT + row % LEFT
}

/// Where a right panel holds the number of a column at a depth: strips of sixteen columns, depth by depth.
#[inline]
pub(super) fn right(depth: usize, column: usize) -> usize {
    (column / RIGHT * TILE + depth) * RIGHT + column % RIGHT
}

/// Adds `scale` times the product of `a` (as [`left`] arranges it) and `b` (as [`right`] does) to `tile`, row by row.
pub(super) fn add_product(level: Level, a: &[f64], b: &[f64], scale: f64, tile: &mut [f64]) {
    assert!(a.len() == AREA && b.len() == AREA && tile.len() == AREA);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions; lengths are checked.
        Level::Avx512 => unsafe { avx512(a, b, scale, tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions; lengths are checked.
        Level::Avx2 => unsafe { avx2(a, b, scale, tile) },
        // SAFETY: these instructions are everywhere; lengths are checked.
        _ => unsafe { strips::<Portable, 4, 2>(a, b, scale, tile) },
    }
}

/// # Safety
/// As `strips`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(a: &[f64], b: &[f64], scale: f64, tile: &mut [f64]) {
    // SAFETY: this function is compiled for the instructions; lengths as the caller promises.
    unsafe { strips::<Avx512, 8, 2>(a, b, scale, tile) }
}

/// # Safety
/// As `strips`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(a: &[f64], b: &[f64], scale: f64, tile: &mut [f64]) {
    // SAFETY: this function is compiled for the instructions; lengths as the caller promises.
    unsafe { strips::<Avx2, 4, 2>(a, b, scale, tile) }
}

/// `R` rows by `C` registers of columns at a time, held in registers over the whole depth. A strip of the right panel,
/// 16 kB, stays in the first-level cache.
///
/// # Safety
/// The processor has the instructions of `D`; all three slices have `AREA` numbers; `R` divides `LEFT` and `C * D::N`
/// divides `RIGHT`.
#[inline(always)]
unsafe fn strips<D: Doubles, const R: usize, const C: usize>(
    a: &[f64],
    b: &[f64],
    scale: f64,
    tile: &mut [f64],
) {
    let (a, b, tile) = (a.as_ptr(), b.as_ptr(), tile.as_mut_ptr());
    for column in (0..TILE).step_by(C * D::N) {
        for row in (0..TILE).step_by(R) {
            // SAFETY: the strips of `row` and `column` reach over all depths, and the `R` rows and `C * D::N` columns of
            // the tile from there on lie within it.
            unsafe {
                let (mut a, mut b) = (a.add(left(row, 0)), b.add(right(0, column)));
                let mut sums = [[D::splat(0.0); C]; R];
                for _ in 0..TILE {
                    let mut parts = [D::splat(0.0); C];
                    for (each, part) in parts.iter_mut().enumerate() {
                        *part = D::load(b.add(each * D::N));
                    }
                    for (line, sums) in sums.iter_mut().enumerate() {
                        let by = D::splat(*a.add(line));
                        for (sum, part) in sums.iter_mut().zip(parts) {
                            *sum = part.fma(by, *sum);
                        }
                    }
                    // At the last depth one past the strip, which is not read.
                    (a, b) = (a.wrapping_add(LEFT), b.wrapping_add(RIGHT));
                }
                for (line, sums) in sums.iter().enumerate() {
                    for (each, sum) in sums.iter().enumerate() {
                        let at = tile.add((row + line) * TILE + column + each * D::N);
                        sum.fma(D::splat(scale), D::load(at)).store(at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base::simd::levels;

    use super::*;

    #[test]
    fn agrees_with_plain_sums_at_every_level() {
        let number = |at: usize| (at * 7919 % 2003) as f64 / 2003.0 - 0.4;
        let (mut a, mut b) = (vec![0.0; AREA], vec![0.0; AREA]);
        for row in 0..TILE {
            for depth in 0..TILE {
                a[left(row, depth)] = number(row * 131 + depth * 7);
                b[right(depth, row)] = number(row * 17 + depth * 371 + 5);
            }
        }
        for level in levels() {
            let mut tile: Vec<f64> = (0..AREA).map(number).collect();
            add_product(level, &a, &b, -0.5, &mut tile);
            for row in 0..TILE {
                for column in 0..TILE {
                    let product: f64 = (0..TILE)
                        .map(|depth| number(row * 131 + depth * 7) * number(column * 17 + depth * 371 + 5))
                        .sum();
                    let expected = number(row * TILE + column) - 0.5 * product;
                    assert!((tile[row * TILE + column] - expected).abs() < 1e-12, "{level:?} {row} {column}");
                }
            }
        }
    }
}
