//! The rows as the kernels read them.
//!
//! Blocks of 64 rows, column by column within a block, so that one register holds one feature of many rows. The
//! mean of each column is about the origin, since distances of numbers that are large beside their differences would lose
//! their digits; and a power of two as common unit keeps all numbers within -1 and 1, so that no square leaves the
//! range of `f32`.

use base::aligned::Buffer;
use base::budget::SEGMENTS;
use base::control::Control;
use base::error::{Error, Result};
use features::columns::Column;

/// Rows of a block.
pub(crate) const BLOCK: usize = 64;

/// Numbers converted between two looks at the control: about 1 ms.
const GLANCE: usize = 1 << 18;

/// How a row of the user becomes a point: `(value - origin) / divisor`, rounded to `f32`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The mean of each column, rounded to 20 binary digits of the column's range: integers and short fractions, not
    /// scaled, then stay exact.
    pub origins: Vec<f64>,
    /// The divisor of each column's scaling, times the unit.
    pub divisors: Vec<f64>,
    /// A power of two: a distance between points, times this, is one between scaled rows.
    pub unit: f64,
    /// The greatest distance of a training row from the mean, scaled; above the unit where no power of two is as large.
    reach: f64,
}

impl Frame {
    /// The frame of columns.
    pub fn new(columns: &[Column]) -> Self {
        let reach = |column: &Column| {
            let (up, down) = (column.max - column.mean, column.mean - column.min);
            up.max(down).min(f64::MAX)
        };
        let most = columns.iter().map(|column| reach(column) / column.divisor).fold(0.0, f64::max);
        // The rounding of an origin may add a little.
        let reach_of_all = most * 1.001;
        let unit = power_of_two_above(reach_of_all);
        let origin = |column: &Column| {
            let step = power_of_two_above(reach(column)) * 2f64.powi(-20);
            let origin = (column.mean / step).round() * step;
            if origin.is_finite() { origin } else { column.mean }
        };
        Self {
            origins: columns.iter().map(origin).collect(),
            divisors: columns.iter().map(|column| column.divisor * unit).collect(),
            unit,
            reach: reach_of_all,
        }
    }

    /// One number of a point. What is too large for `f32` becomes its greatest number: rows that a model has not
    /// seen may lie anywhere.
    pub(crate) fn coordinate(&self, column: usize, value: f64) -> f32 {
        let exact = (value - self.origins[column]) / self.divisors[column];
        exact.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32 + 0.0
    }

    /// A point, of a row as the user has it.
    pub fn point(&self, row: &[f64]) -> Vec<f32> {
        row.iter().enumerate().map(|(column, &value)| self.coordinate(column, value)).collect()
    }

    /// Points in the user's units, row by row.
    pub fn raw(&self, points: &[f64]) -> Vec<f64> {
        let constants = self.origins.iter().zip(&self.divisors).cycle();
        points.iter().zip(constants).map(|(&number, (origin, divisor))| number * divisor + origin).collect()
    }
}

/// A power of two of at least `value` and at most four times as much; 1 for 0, and the greatest power for values above.
fn power_of_two_above(value: f64) -> f64 {
    if value == 0.0 {
        return 1.0;
    }
    2f64.powi(value.log2().floor().clamp(-1000.0, 1022.0) as i32 + 1)
}

/// Rows prepared for k-means: made once, used by every start and every number of clusters.
#[derive(Debug)]
pub struct Points<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) frame: Frame,
    /// Block by block, column by column, 64 rows; rows that are missing in the last block are zeros.
    pub(super) numbers: Buffer<'a, f32>,
    /// Squared length of each row.
    pub(super) norms: Buffer<'a, f32>,
    /// What sums are multiples of, one over it, for each column.
    pub(super) grid: Vec<f64>,
    /// The sum of the squared lengths.
    pub(super) total: f64,
    pub(super) control: &'a Control,
}

impl<'a> Points<'a> {
    /// Scales row-major `rows`, whose `columns` were found by [`features::columns::fit`] on them. Takes 4 bytes per
    /// number and 4 per row from the budget.
    ///
    /// Errors: `NoData`, `Cancelled`, `Memory`, `Corrupted` if `rows` is no whole number of rows, `TooMany` rows,
    /// `TooFar` where scaled values leave the range of numbers.
    pub fn new<T>(rows: &[T], columns: &[Column], control: &'a Control) -> Result<Self>
    where
        T: Copy + Into<f64>,
    {
        let width = columns.len();
        if rows.is_empty() || width == 0 {
            return Err(Error::NoData);
        }
        if !rows.len().is_multiple_of(width) {
            return Err(Error::Corrupted("no whole number of rows"));
        }
        let count = rows.len() / width;
        // Sums of this many numbers fit 64 bits.
        const LIMIT: u64 = 1 << 31;
        if count as u64 > LIMIT {
            return Err(Error::TooMany { what: "rows", limit: LIMIT });
        }
        let frame = Frame::new(columns);
        if frame.reach > frame.unit || frame.divisors.iter().any(|divisor| divisor.is_infinite()) {
            return Err(Error::TooFar);
        }
        let blocks = count.div_ceil(BLOCK);
        let mut numbers = Buffer::zeros(SEGMENTS, blocks * width * BLOCK, control)?;
        let mut norms = Buffer::<f32>::zeros(SEGMENTS, blocks * BLOCK, control)?;
        let mut largest = vec![0f32; width];
        let mut total = Exact::new(count, width);
        let step = (GLANCE / width / BLOCK).max(1);
        let pieces = rows.chunks(step * BLOCK * width).zip(numbers.chunks_mut(step * BLOCK * width));
        for ((from, to), norms) in pieces.zip(norms.chunks_mut(step * BLOCK)) {
            control.check()?;
            let blocks = from.chunks(BLOCK * width).zip(to.chunks_mut(BLOCK * width));
            for ((from, to), norms) in blocks.zip(norms.chunks_mut(BLOCK)) {
                for (at, (row, norm)) in from.chunks_exact(width).zip(norms).enumerate() {
                    let mut square = 0.0;
                    for (column, &value) in row.iter().enumerate() {
                        let number = frame.coordinate(column, value.into());
                        to[column * BLOCK + at] = number;
                        largest[column] = largest[column].max(number.abs());
                        square += f64::from(number) * f64::from(number);
                    }
                    *norm = square as f32;
                    total.add(square);
                }
            }
        }
        let grid = largest.iter().map(|&largest| grid(f64::from(largest), count)).collect();
        Ok(Self { rows: count, columns: width, frame, numbers, norms, grid, total: total.value(), control })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How rows become points.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The mean over the columns of their population variance, in scaled units: what tolerances are relative to.
    pub fn mean_variance(&self) -> f64 {
        self.total / self.rows as f64 / self.columns as f64 * self.frame.unit * self.frame.unit
    }

    pub(super) fn blocks(&self) -> usize {
        self.norms.len() / BLOCK
    }

    /// A block: its columns one after the other.
    #[inline(always)]
    pub(super) fn block(&self, block: usize) -> &[f32] {
        &self.numbers[block * self.columns * BLOCK..][..self.columns * BLOCK]
    }

    /// Rows of a block: 64 except in the last one.
    #[inline(always)]
    pub(super) fn rows_of(&self, block: usize) -> usize {
        (self.rows - block * BLOCK).min(BLOCK)
    }

    /// The numbers of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = f32> + Clone + '_ {
        self.block(row / BLOCK)[row % BLOCK..].iter().step_by(BLOCK).copied()
    }

    /// Distinct rows, or `limit` where there are more.
    pub fn distinct(&self, limit: usize) -> Result<usize> {
        let mut seen = std::collections::HashSet::new();
        for block in 0..self.blocks() {
            self.control.check()?;
            for row in block * BLOCK..block * BLOCK + self.rows_of(block) {
                // Minus zero was made zero, so equal numbers have equal bits.
                seen.insert(self.row(row).map(f32::to_bits).collect::<Vec<u32>>());
                if seen.len() >= limit {
                    return Ok(limit);
                }
            }
        }
        Ok(seen.len())
    }
}

/// Sums are of integer multiples of a power of two, so that they are exact: no order of rows, threads or updates
/// changes a bit. This is one over that power. The multiples have up to 50 bits (the conversion below takes 51), and
/// fewer from 4,096 rows on, where 63 bits must hold the sum.
fn grid(largest: f64, rows: usize) -> f64 {
    let bits = 62 - rows.next_power_of_two().trailing_zeros().max(12);
    // `largest` is at most 1; of columns below 2^-200 nothing is left in distances.
    let unit = power_of_two_above(largest.max(2f64.powi(-200)));
    2f64.powi(bits as i32) / unit
}

/// The multiple of the grid next to `number`.
#[inline(always)]
pub(super) fn to_grid(number: f32, grid: f64) -> i64 {
    // 1.5 * 2^52: in a number of this size the last bit counts ones.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let shifted = f64::from(number) * grid + MAGIC;
    shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64
}

/// A sum of squared distances between points, in fixed point: its order changes no bit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exact {
    sum: i128,
    one: f64,
}

impl Exact {
    /// For so many squares, each at most 4 times the columns: their sum fits 127 bits.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let bits = |count: usize| count.next_power_of_two().trailing_zeros();
        Self { sum: 0, one: (1u128 << (124 - bits(rows) - bits(columns))) as f64 }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, square: f64) {
        self.sum += (square * self.one) as i128;
    }

    pub(super) fn merge(&mut self, other: Exact) {
        self.sum += other.sum;
    }

    pub(super) fn value(self) -> f64 {
        self.sum as f64 / self.one
    }
}

#[cfg(test)]
mod tests {
    use features::columns::{Scaling, fit};

    use super::*;

    #[test]
    fn numbers_that_are_too_far_apart() -> Result<()> {
        let control = Control::unlimited();
        // Beyond 2^1023 no unit is left; four times the distance of the quartiles is no number.
        let rows = [1e308, -1e308, 0.0, 0.0];
        for (scaling, fits) in [
            (Scaling::None, false),
            (Scaling::Robust, false),
            (Scaling::Standard, true),
            (Scaling::MinMax, true),
        ] {
            let columns = fit(&rows, 1, scaling, &control)?;
            match Points::new(&rows, &columns, &control) {
                Ok(points) => assert!(fits && points.distinct(9)? == 3, "{scaling:?}"),
                Err(error) => assert!(!fits && error == Error::TooFar, "{scaling:?}"),
            }
        }
        Ok(())
    }

    #[test]
    fn numbers_on_the_grid() {
        for rows in [1, 4096, 4097, 1 << 20, 1 << 31] {
            for largest in [1.0, 0.75, 1e-3, 1e-30f32] {
                let grid = grid(f64::from(largest), rows);
                let number = to_grid(largest, grid);
                assert!(number >= 1 << 30 && (number as i128 * rows as i128) < i128::from(i64::MAX));
                assert_eq!(to_grid(-largest, grid), -number);
                let back = number as f64 / grid;
                assert!((back / f64::from(largest) - 1.0).abs() < 1e-9, "{back} {largest}");
            }
        }
        assert_eq!(to_grid(0.0, grid(0.0, 10)), 0);
    }

    #[test]
    fn units_hold_the_value() {
        for value in [1e-300, 0.3, 1.0, 4.0, 5.0, 1e300] {
            let unit = power_of_two_above(value);
            assert!(unit >= value && unit <= 4.0 * value, "{value}");
        }
    }
}
