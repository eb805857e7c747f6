//! The loops of a step: products of rows with a matrix, sums of rows, and the move of a row.

#![allow(clippy::needless_range_loop, reason = "loops over registers count alike in several arrays")]

use base::control::Control;
use base::error::Result;
use base::simd::Level;
use base::simd::lanes::{Kernel, Lanes, dispatch};

/// Columns of a panel: a register of the widest set.
pub(super) const PANEL: usize = 16;

/// Puts a row-major matrix of rows of `width` numbers into panels of 16 columns, each row by row: what is read in the inner
/// loop then lies together. In a row-major matrix of 256 columns every other row of a panel would fall on the same few lines
/// of the cache.
pub(super) fn pack(from: &[f32], width: usize, to: &mut [f32], control: &Control) -> Result<()> {
    let depth = from.len() / width;
    for (panel, to) in to.chunks_exact_mut(depth * PANEL).enumerate() {
        control.check()?;
        for (to, from) in to.chunks_exact_mut(PANEL).zip(from.chunks_exact(width)) {
            to.copy_from_slice(&from[panel * PANEL..][..PANEL]);
        }
    }
    Ok(())
}

/// Panels between two looks at the control.
const PANELS: usize = 8;

/// Writes the products of rows of `depth` numbers with a matrix of as many rows, in panels ([`pack`]).
pub(super) fn products(
    level: Level,
    (rows, depth): (&[f32], usize),
    panels: &[f32],
    out: &mut [f32],
    control: &Control,
) -> Result<()> {
    let width = panels.len() / depth;
    assert!(width.is_multiple_of(PANEL) && panels.len() == width * depth && rows.len().is_multiple_of(depth));
    assert!(rows.len() / depth * width == out.len());
    let panels = panels.chunks(PANELS * PANEL * depth);
    for (panels, first) in panels.zip((0..).step_by(PANELS * PANEL)) {
        control.check()?;
        dispatch(level, Products { rows, depth, panels, out, width, first });
    }
    Ok(())
}

struct Products<'a> {
    rows: &'a [f32],
    depth: usize,
    panels: &'a [f32],
    out: &'a mut [f32],
    width: usize,
    /// The column that the panels begin with.
    first: usize,
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        // SAFETY: `products` checked the shapes; the caller vouches for the instructions.
        unsafe {
            match L::N {
                16 => self.columns::<L, 8, 2>(),
                8 => self.columns::<L, 4, 2>(),
                _ => self.columns::<L, 2, 4>(),
            }
        }
    }
}

impl Products<'_> {
    /// All columns of the panels, `C` registers of them at a time.
    ///
    /// # Safety
    /// The processor has the instructions of `L`; the shapes are as [`products`] checks.
    #[inline(always)]
    unsafe fn columns<L: Lanes, const R: usize, const C: usize>(&mut self) {
        let columns = self.panels.len() / self.depth;
        let mut column = 0;
        // SAFETY: as the caller promises; columns end before those of the panels.
        unsafe {
            while column + C * L::N <= columns {
                self.rows::<L, R, C>(column);
                column += C * L::N;
            }
            while column < columns {
                self.rows::<L, R, 1>(column);
                column += L::N;
            }
        }
    }

    /// All rows of `C` registers of columns, `R` rows at a time.
    ///
    /// # Safety
    /// As `columns`; the columns lie within the panels.
    #[inline(always)]
    unsafe fn rows<L: Lanes, const R: usize, const C: usize>(&mut self, column: usize) {
        let (depth, count) = (self.depth, self.rows.len() / self.depth);
        let panels: [*const f32; C] = std::array::from_fn(|register| {
            let column = column + register * L::N;
            // SAFETY: the columns lie within the panels.
            unsafe { self.panels.as_ptr().add(column / PANEL * depth * PANEL + column % PANEL) }
        });
        for begin in (0..count).step_by(R) {
            // Rows past the last stand for the last.
            let rows: [*const f32; R] = std::array::from_fn(|row| {
                // SAFETY: the row is one of `count`.
                unsafe { self.rows.as_ptr().add((begin + row).min(count - 1) * depth) }
            });
            // SAFETY: every row has `depth` numbers and so has every column of a panel, `PANEL` apart.
            unsafe {
                let mut sums = [[L::zero(); C]; R];
                for k in 0..depth {
                    let mut parts = [L::zero(); C];
                    for register in 0..C {
                        parts[register] = L::load(panels[register].add(k * PANEL));
                    }
                    for row in 0..R {
                        let scale = L::splat(*rows[row].add(k));
                        for register in 0..C {
                            sums[row][register] = parts[register].fma(scale, sums[row][register]);
                        }
                    }
                }
                for row in 0..R.min(count - begin) {
                    let out = self.out.as_mut_ptr().add((begin + row) * self.width + self.first + column);
                    for register in 0..C {
                        sums[row][register].store(out.add(register * L::N));
                    }
                }
            }
        }
    }
}

/// Adds the chosen rows of a matrix of rows of `width` numbers to `to`.
pub(super) fn sum_rows(level: Level, rows: &[f32], width: usize, chosen: &[u32], to: &mut [f32]) {
    assert!(to.len() == width && width.is_multiple_of(PANEL));
    assert!(chosen.iter().all(|&row| (row as usize + 1) * width <= rows.len()));
    dispatch(level, SumRows { rows, width, chosen, to });
}

struct SumRows<'a> {
    rows: &'a [f32],
    width: usize,
    chosen: &'a [u32],
    to: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { rows, width, chosen, to } = self;
        let (rows, to) = (rows.as_ptr(), to.as_mut_ptr());
        let mut at = 0;
        // SAFETY: `sum_rows` checked that all rows are held; the caller vouches for the instructions.
        unsafe {
            while at + 4 * L::N <= width {
                sum_block::<L, 4>(rows.add(at), width, chosen, to.add(at));
                at += 4 * L::N;
            }
            while at < width {
                sum_block::<L, 1>(rows.add(at), width, chosen, to.add(at));
                at += L::N;
            }
        }
    }
}

/// The sums of `B` registers of columns.
///
/// # Safety
/// The processor has the instructions of `L`; `rows` points to so many columns of the first row, and all chosen ones are
/// held; `to` is writable for them.
#[inline(always)]
unsafe fn sum_block<L: Lanes, const B: usize>(rows: *const f32, width: usize, chosen: &[u32], to: *mut f32) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [L::zero(); B];
        for block in 0..B {
            sums[block] = L::load(to.add(block * L::N));
        }
        for &row in chosen {
            let row = rows.add(row as usize * width);
            for block in 0..B {
                sums[block] = sums[block].add(L::load(row.add(block * L::N)));
            }
        }
        for block in 0..B {
            sums[block].store(to.add(block * L::N));
        }
    }
}

/// What a step of Adam (Kingma and Ba, ICLR 2015) is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    /// The learning rate, divided by the correction of the first moment.
    pub(super) rate: f32,
    /// What corrects the second moment, under the root.
    pub(super) second: f32,
}

pub(super) const FIRST: f32 = 0.9;
pub(super) const SECOND: f32 = 0.999;
/// Below every gradient that says something.
const EPSILON: f32 = 1e-12;

/// Moves one row of unit length along its gradient; what is returned is the new length of the vector that it is the direction
/// of. All four have the same number of numbers, a multiple of [`PANEL`].
///
/// The gradient is that by the vector `length * row`, which only its direction counts of: the part along the row is taken
/// out, and the rest shrinks as the vector grows. So steps turn the row less and less.
pub(super) fn turn(
    level: Level,
    (row, first, second): (&mut [f32], &mut [f32], &mut [f32]),
    gradient: &[f32],
    length: f32,
    adam: Adam,
) -> f32 {
    let width = row.len();
    assert!(width.is_multiple_of(PANEL));
    assert!(first.len() == width && second.len() == width && gradient.len() == width);
    dispatch(level, Turn { row, first, second, gradient, length, adam })
}

struct Turn<'a> {
    row: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    gradient: &'a [f32],
    length: f32,
    adam: Adam,
}

impl Kernel for Turn<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> f32 {
        let Self { row, first, second, gradient, length, adam } = self;
        let width = row.len();
        let (row, first, second) = (row.as_mut_ptr(), first.as_mut_ptr(), second.as_mut_ptr());
        let gradient = gradient.as_ptr();
        // SAFETY: `turn` checked the lengths; the caller vouches for the instructions.
        unsafe {
            let zero = L::zero();
            let total = |sum: L| L::sums([sum, zero, zero, zero, zero, zero, zero, zero])[0];
            let mut along = zero;
            for at in (0..width).step_by(L::N) {
                along = L::load(row.add(at)).fma(L::load(gradient.add(at)), along);
            }
            let (along, shorter, length) =
                (L::splat(-total(along)), L::splat(1.0 / length), L::splat(length));
            let (keep_first, new_first) = (L::splat(FIRST), L::splat(1.0 - FIRST));
            let (keep_second, new_second) = (L::splat(SECOND), L::splat(1.0 - SECOND));
            let (rate, correction, epsilon) =
                (L::splat(-adam.rate), L::splat(adam.second), L::splat(EPSILON));
            let mut square = zero;
            for at in (0..width).step_by(L::N) {
                let own = L::load(row.add(at));
                let down = own.fma(along, L::load(gradient.add(at))).fma(shorter, zero);
                let mean = L::load(first.add(at)).fma(keep_first, down.fma(new_first, zero));
                let spread =
                    L::load(second.add(at)).fma(keep_second, down.fma(down, zero).fma(new_second, zero));
                mean.store(first.add(at));
                spread.store(second.add(at));
                let step = mean.div(spread.fma(correction, zero).sqrt().add(epsilon));
                let moved = own.fma(length, step.fma(rate, zero));
                square = moved.fma(moved, square);
                moved.store(row.add(at));
            }
            let new = total(square).sqrt();
            let unit = L::splat(1.0 / new);
            for at in (0..width).step_by(L::N) {
                L::load(row.add(at)).fma(unit, zero).store(row.add(at));
            }
            new
        }
    }
}
