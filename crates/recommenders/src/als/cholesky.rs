//! A row's system solved exactly: its matrix summed up tile by tile, then factored as `U'U` (Cholesky) in place.

#![allow(clippy::needless_range_loop, reason = "triangles read best by index")]

use base::aligned::{Aligned, Buffer};
use base::budget::TRAINING;
use base::control::Control;
use base::error::Result;
use base::simd::lanes::Lanes;

use super::gram::{BLOCK, add_tiles};
use super::kernel::{BATCH, dots};

/// Rows of a panel: what is factored on its own before it is applied to the columns behind it.
const PANEL: usize = 16;

/// A pivot below this share of its diagonal element is what rounding left of zero: the system is singular.
const SINGULAR: f32 = 1e-5;

/// The working memory of one worker: a matrix of `width * width` and a block of rows. Both are in the first two levels
/// of the cache up to 256 factors.
pub(super) struct System<'c> {
    /// Row-major; only what is on and above the diagonal is used.
    matrix: Buffer<'c, f32>,
    gathered: Buffer<'c, f32>,
    /// The diagonal before it is factored.
    diagonal: Aligned<f32>,
    /// The triangles on the diagonal once more, transposed: row `j` holds column `j` of its panel's.
    turned: Aligned<f32>,
    width: usize,
    control: &'c Control,
}

/// Bytes of the working memory of one worker.
pub(super) fn bytes(width: usize) -> u64 {
    (width * width + BLOCK * width) as u64 * 4
}

impl<'c> System<'c> {
    pub(super) fn new(width: usize, control: &'c Control) -> Result<Self> {
        assert!(width > 0 && width.is_multiple_of(16));
        Ok(Self {
            matrix: Buffer::zeros(TRAINING, width * width, control)?,
            gathered: Buffer::zeros(TRAINING, BLOCK * width, control)?,
            diagonal: Aligned::zeros(TRAINING, width, control)?,
            turned: Aligned::zeros(TRAINING, PANEL * width, control)?,
            width,
            control,
        })
    }

    /// Begins with a symmetric matrix, row-major `width * width`.
    pub(super) fn copy(&mut self, from: &[f32]) {
        let rows = self.matrix.chunks_exact_mut(self.width).zip(from.chunks_exact(self.width)).enumerate();
        for (row, (to, from)) in rows {
            let begin = row / PANEL * PANEL;
            to[begin..].copy_from_slice(&from[begin..]);
        }
    }

    /// Begins with zeros.
    pub(super) fn clear(&mut self) {
        self.matrix.fill(0.0);
    }

    /// Adds `share` to the diagonal, and 1 to that of the padding behind `factors`, so that it stays zero in a solution.
    pub(super) fn add_diagonal(&mut self, share: f32, factors: usize) {
        for at in 0..self.width {
            self.matrix[at * (self.width + 1)] += if at < factors { share } else { 1.0 };
        }
    }

    /// Room for the next `count` rows to add.
    pub(super) fn block(&mut self, count: usize) -> &mut [f32] {
        &mut self.gathered[..count * self.width]
    }

    /// Adds `rows' * rows` for the first `count` rows of the block.
    ///
    /// # Safety
    /// The processor has the instructions of `L`; `width` is that of this system.
    #[inline(always)]
    pub(super) unsafe fn add_block<L: Lanes, const R: usize>(&mut self, count: usize, width: usize) {
        // SAFETY: instructions as promised; the block and the matrix have rows of `width`.
        unsafe { add_tiles::<L, R>(&self.gathered[..count * width], width, 0, 1.0, &mut self.matrix) }
    }

    /// Replaces the right side by the solution. False, and an unspecified right side, if the matrix is not positive
    /// definite as far as `f32` can tell.
    ///
    /// # Safety
    /// The processor has the instructions of `L`; `width` is that of this system, and `right` is as long.
    #[inline(always)]
    pub(super) unsafe fn solve<L: Lanes, const R: usize>(
        &mut self,
        right: &mut [f32],
        width: usize,
    ) -> Result<bool> {
        assert!(self.width == width && right.len() == width && self.matrix.len() == width * width);
        for at in 0..width {
            self.diagonal[at] = self.matrix[at * (width + 1)];
        }
        for first in (0..width).step_by(PANEL) {
            let (above, rest) = self.matrix.split_at_mut(first * width);
            let panel = &mut rest[..PANEL * width];
            // SAFETY: instructions as promised; the panel is 16 rows of `width`, and all rows before it are `above`.
            unsafe {
                if first > 0 {
                    add_tiles::<L, R>(above, width, first, -1.0, panel);
                    forward::<L>(above, right, first, width);
                }
                let Some(triangle) = factor::<L>(panel, &self.diagonal[first..], first, width) else {
                    return Ok(false);
                };
                apply::<L>(&triangle, panel, first, width);
                let mut sides = [0.0f32; PANEL];
                sides.copy_from_slice(&right[first..first + PANEL]);
                for row in 0..PANEL {
                    let solved = sides[row] * triangle.inverse[row];
                    subtract::<L>(&mut sides, -solved, &triangle.rows[row]);
                    right[first + row] = solved;
                }
                for row in 0..PANEL {
                    for above in 0..row {
                        self.turned[(first + row) * PANEL + above] = triangle.rows[above][row];
                    }
                    self.turned[(first + row) * PANEL + row] = triangle.inverse[row];
                }
            }
            self.control.check()?;
        }
        for first in (0..width).step_by(PANEL).rev() {
            let panel = &self.matrix[first * width..][..PANEL * width];
            let turned = &self.turned[first * PANEL..][..PANEL * PANEL];
            // SAFETY: as above.
            unsafe { backward::<L>(panel, turned, right, first, width) };
        }
        Ok(true)
    }
}

/// The triangle of a panel on the diagonal.
struct Triangle {
    /// Above the diagonal the numbers of `-U`, elsewhere zeros.
    rows: [[f32; PANEL]; PANEL],
    /// The inverse of the diagonal of `U`.
    inverse: [f32; PANEL],
}

/// Factors the triangle of a panel that begins at column `first`; nothing if a pivot is too small.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn factor<L: Lanes>(panel: &[f32], diagonal: &[f32], first: usize, width: usize) -> Option<Triangle> {
    let mut rows = [[0.0f32; PANEL]; PANEL];
    let mut inverse = [0.0f32; PANEL];
    for row in 0..PANEL {
        let begin = row * width + first;
        rows[row].copy_from_slice(&panel[begin..begin + PANEL]);
    }
    for row in 0..PANEL {
        let pivot = rows[row][row];
        if pivot.is_nan() || pivot <= SINGULAR * diagonal[row] {
            return None;
        }
        inverse[row] = 1.0 / pivot.sqrt();
        let (done, rest) = rows.split_at_mut(row + 1);
        let from = &mut done[row];
        for column in 0..PANEL {
            from[column] = if column > row { from[column] * -inverse[row] } else { 0.0 };
        }
        for (to, &scale) in rest.iter_mut().zip(&from[row + 1..]) {
            // SAFETY: two rows of 16 numbers; instructions as promised.
            unsafe { subtract::<L>(to, scale, from) }
        }
    }
    Some(Triangle { rows, inverse })
}

/// `to -= scale * row`.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn subtract<L: Lanes>(to: &mut [f32; PANEL], scale: f32, row: &[f32; PANEL]) {
    // SAFETY: 16 numbers each; instructions as promised.
    unsafe {
        let (to, row, scale) = (to.as_mut_ptr(), row.as_ptr(), L::splat(-scale));
        for lane in (0..PANEL).step_by(L::N) {
            L::load(row.add(lane)).fma(scale, L::load(to.add(lane))).store(to.add(lane));
        }
    }
}

/// Applies the triangle of a panel to the columns behind it, a register of them at a time.
///
/// # Safety
/// The processor has the instructions of `L`; the panel is 16 rows of `width`, a multiple of 16, from row `first` on.
#[inline(always)]
unsafe fn apply<L: Lanes>(triangle: &Triangle, panel: &mut [f32], first: usize, width: usize) {
    for column in (first + PANEL..width).step_by(L::N) {
        // SAFETY: 16 rows of the panel, `L::N` columns that end within them.
        unsafe {
            let begin = panel.as_mut_ptr().add(column);
            let mut rows = [L::zero(); PANEL];
            for row in 0..PANEL {
                rows[row] = L::load(begin.add(row * width));
            }
            for row in 0..PANEL {
                rows[row] = rows[row].fma(L::splat(triangle.inverse[row]), L::zero());
                for below in row + 1..PANEL {
                    rows[below] = rows[row].fma(L::splat(triangle.rows[row][below]), rows[below]);
                }
                rows[row].store(begin.add(row * width));
            }
        }
    }
}

/// Takes the unknowns before `first` out of the right side of the panel there.
///
/// # Safety
/// The processor has the instructions of `L`; `above` are `first` rows of `width`; `right` is as long.
#[inline(always)]
unsafe fn forward<L: Lanes>(above: &[f32], right: &mut [f32], first: usize, width: usize) {
    for column in (first..first + PANEL).step_by(L::N) {
        // SAFETY: `L::N` numbers of rows of `width` and of the right side, within the panel.
        unsafe {
            let mut sums = [L::zero(); 4];
            for row in (0..first).step_by(4) {
                for chain in 0..4 {
                    let part = L::load(above.as_ptr().add((row + chain) * width + column));
                    sums[chain] = part.fma(L::splat(right[row + chain]), sums[chain]);
                }
            }
            let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
            let to = right.as_mut_ptr().add(column);
            sum.fma(L::splat(-1.0), L::load(to)).store(to);
        }
    }
}

/// Solves the rows of a panel, once those behind it are solved. `turned` are the columns of its triangle.
///
/// # Safety
/// The processor has the instructions of `L`; the panel is 16 rows of `width`, a multiple of 16, from row `first` on;
/// `right` is as long as a row.
#[inline(always)]
unsafe fn backward<L: Lanes>(panel: &[f32], turned: &[f32], right: &mut [f32], first: usize, width: usize) {
    let behind = first + PANEL;
    let mut sides = [0.0f32; PANEL];
    sides.copy_from_slice(&right[first..behind]);
    if behind < width {
        // SAFETY: `width - behind` numbers of each row of the panel and of the right side.
        let products = unsafe {
            let mut rows = [panel.as_ptr(); BATCH];
            for row in 0..PANEL {
                rows[row] = panel.as_ptr().add(row * width + behind);
            }
            dots::<L>(&rows, PANEL, right.as_ptr().add(behind), width - behind)
        };
        for row in 0..PANEL {
            sides[row] -= products[row];
        }
    }
    for row in (0..PANEL).rev() {
        // The diagonal of what is turned holds the inverse.
        let solved = sides[row] * turned[row * PANEL + row];
        let mut column = [0.0f32; PANEL];
        column[..row].copy_from_slice(&turned[row * PANEL..][..row]);
        // SAFETY: instructions as promised.
        unsafe { subtract::<L>(&mut sides, -solved, &column) };
        right[first + row] = solved;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use base::simd::lanes::{Kernel, dispatch};
    use base::simd::levels;

    use super::*;

    /// Sums `count` rows up, adds a ridge, and solves for the right side.
    struct Solve<'a, 'c> {
        system: &'a mut System<'c>,
        rows: &'a [f32],
        factors: usize,
        ridge: f32,
        right: &'a mut [f32],
    }

    impl Kernel for Solve<'_, '_> {
        type Output = bool;

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) -> bool {
            let Self { system, rows, factors, ridge, right } = self;
            let width = system.width;
            system.clear();
            system.add_diagonal(ridge, factors);
            for rows in rows.chunks(BLOCK * factors) {
                let count = rows.len() / factors;
                let block = system.block(count).chunks_exact_mut(width);
                for (to, from) in block.zip(rows.chunks_exact(factors)) {
                    to[..factors].copy_from_slice(from);
                    to[factors..].fill(0.0);
                }
                // SAFETY: the caller vouches for the instructions.
                unsafe { system.add_block::<L, 4>(count, width) };
            }
            // SAFETY: the same.
            unsafe { system.solve::<L, 4>(right, width) }.unwrap()
        }
    }

    /// Numbers from -1 to 1 without a pattern.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mixed = |n: u64| (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let number =
            |at: u64| (mixed(mixed(at + seed * 1_000_003 + 1)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u64).map(number).collect()
    }

    #[test]
    fn the_solution_fulfils_the_system() {
        for (factors, count) in [(1, 3), (15, 40), (16, 10), (40, 200), (64, 64), (100, 300), (144, 20)] {
            let (rows, sides) = (numbers(count * factors, 1), numbers(factors, 2));
            for level in levels() {
                let control = Control::unlimited();
                let mut system = System::new(factors.next_multiple_of(16), &control).unwrap();
                let mut right = vec![0.0; system.width];
                right[..factors].copy_from_slice(&sides);
                let solve =
                    Solve { system: &mut system, rows: &rows, factors, ridge: 0.5, right: &mut right };
                assert!(dispatch(level, solve));
                let mut left: Vec<f64> = right[..factors].iter().map(|&x| 0.5 * f64::from(x)).collect();
                for row in rows.chunks(factors) {
                    let product: f64 =
                        row.iter().zip(&right).map(|(&a, &x)| f64::from(a) * f64::from(x)).sum();
                    left.iter_mut().zip(row).for_each(|(to, &a)| *to += product * f64::from(a));
                }
                let apart =
                    left.iter().zip(&sides).map(|(a, &b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
                assert!(apart < 2e-4, "{level:?} {factors} {count}: {apart}");
                assert!(right[factors..].iter().all(|&x| x == 0.0));
            }
        }
    }

    #[test]
    fn a_matrix_of_too_few_rows_is_singular() {
        for level in levels() {
            for seed in 0..40 {
                let control = Control::unlimited();
                let mut system = System::new(16, &control).unwrap();
                // The last pivot is nothing but rounding, and half of the time above zero.
                let mut rows = numbers(15 * 16, seed);
                rows.iter_mut().step_by(17).for_each(|each| *each += 4.0);
                let mut right = vec![1.0; 16];
                let solve =
                    Solve { system: &mut system, rows: &rows, factors: 16, ridge: 0.0, right: &mut right };
                assert!(!dispatch(level, solve), "{level:?} {seed}");
            }
        }
    }
}
