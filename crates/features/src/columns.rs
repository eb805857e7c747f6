//! Statistics of the columns of a matrix, and the scalings that follow from them.
//!
//! Constants are kept, so that a model can scale new rows and give centroids back in the user's units.

mod runs;

use base::control::Control;
use base::error::{Error, Result};
pub use runs::Runs;

use bytemuck::{Pod, Zeroable};

/// Numbers read between two looks at the control: well below 1 ms.
const GLANCE: usize = 1 << 18;

/// How columns are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// Mean 0 and population deviation 1.
    Standard,
    /// From 0 to 1.
    MinMax,
    /// Median 0 and distance of the quartiles 1: outliers do not count.
    Robust,
    /// As they are.
    None,
}

impl Scaling {
    /// The words of all kinds.
    pub const WORDS: &'static [&'static str] = &["standard", "min_max", "robust", "none"];

    /// The word of this kind.
    pub fn word(self) -> &'static str {
        match self {
            Scaling::Standard => "standard",
            Scaling::MinMax => "min_max",
            Scaling::Robust => "robust",
            Scaling::None => "none",
        }
    }

    /// The kind of a word; `Error::Word` for any other.
    pub fn parse(word: &str) -> Result<Self> {
        let kinds = [Scaling::Standard, Scaling::MinMax, Scaling::Robust, Scaling::None];
        kinds.into_iter().find(|kind| kind.word() == word).ok_or_else(|| Error::Word {
            what: "scaling",
            got: word.to_owned(),
            allowed: Self::WORDS,
        })
    }
}

/// One column: its values, and the constants of its scaling. The layout is that of an image's section.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Column {
    /// The mean.
    pub mean: f64,
    /// The population deviation (divided by the number of rows).
    pub deviation: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// A scaled value is `(value - center) / divisor`.
    pub center: f64,
    /// Above 0; 1 where the column does not vary, so that it becomes all zeros.
    pub divisor: f64,
}

impl Column {
    /// The scaled value.
    #[inline]
    pub fn scale(&self, value: f64) -> f64 {
        (value - self.center) / self.divisor
    }

    /// The value of a scaled one.
    #[inline]
    pub fn raw(&self, scaled: f64) -> f64 {
        scaled * self.divisor + self.center
    }

    /// Whether `spread` is nothing but rounding of values of this size.
    fn vanishes(&self, spread: f64) -> bool {
        spread.is_nan() || spread <= 10.0 * f64::EPSILON * self.min.abs().max(self.max.abs())
    }
}

/// The columns of row-major `rows`, `columns` numbers each, and their constants for a scaling.
///
/// Two passes, and one sort of each column for `Robust`, which takes its copy from the budget. The result
/// depends on the order of the rows (in the last bits), so the caller hands them over in a fixed one.
///
/// Errors: `NoData` without rows, `Corrupted` if `rows` is no whole number of rows or not all numbers are finite,
/// `Cancelled`, `Memory`.
pub fn fit<T>(rows: &[T], columns: usize, kind: Scaling, control: &Control) -> Result<Vec<Column>>
where
    T: Copy + Into<f64>,
{
    if rows.is_empty() || columns == 0 {
        return Err(Error::NoData);
    }
    if !rows.len().is_multiple_of(columns) {
        return Err(Error::Corrupted("no whole number of rows"));
    }
    let mut found = moments(rows, columns, control)?;
    for (at, column) in found.iter_mut().enumerate() {
        let (center, spread) = match kind {
            Scaling::Standard => (column.mean, column.deviation),
            Scaling::MinMax => (column.min, (column.max - column.min).min(f64::MAX)),
            Scaling::Robust => {
                let values = rows.iter().skip(at).step_by(columns).map(|&value| value.into());
                let runs = Runs::new(values, rows.len() / columns, control)?;
                (runs.quantile(0.5), (runs.quantile(0.75) - runs.quantile(0.25)).min(f64::MAX))
            }
            Scaling::None => (0.0, 1.0),
        };
        column.center = center;
        column.divisor = if kind != Scaling::None && column.vanishes(spread) { 1.0 } else { spread };
    }
    Ok(found)
}

/// Means, deviations and ranges; the constants of the scaling are still 0 and 1.
fn moments<T: Copy + Into<f64>>(rows: &[T], columns: usize, control: &Control) -> Result<Vec<Column>> {
    let count = (rows.len() / columns) as f64;
    // Sums of distances from the first row: columns such as points in time are large and vary little.
    let first: Vec<f64> = rows[..columns].iter().map(|&value| value.into()).collect();
    let unknown = Column { mean: 0.0, deviation: 0.0, min: 0.0, max: 0.0, center: 0.0, divisor: 1.0 };
    let mut found: Vec<Column> =
        first.iter().map(|&value| Column { min: value, max: value, ..unknown }).collect();
    let mut finite = true;
    let mut sums = Sums::new(columns);
    for piece in pieces(rows, columns) {
        control.check()?;
        for row in piece.chunks_exact(columns) {
            for (at, &value) in row.iter().enumerate() {
                let (value, column) = (value.into(), &mut found[at]);
                finite &= value.is_finite();
                column.min = column.min.min(value);
                column.max = column.max.max(value);
                sums.piece[at] += value - first[at];
            }
        }
        sums.close();
    }
    if !finite {
        return Err(Error::Corrupted("a feature that is not finite"));
    }
    for ((column, &first), &sum) in found.iter_mut().zip(&first).zip(&sums.total) {
        // Rounding must not put the mean of equal values beside them.
        column.mean = (first + sum / count).clamp(column.min, column.max);
    }
    // Where the sums left the range of numbers, each value gives its part.
    for (at, column) in found.iter_mut().enumerate().filter(|(at, _)| !sums.total[*at].is_finite()) {
        column.mean = 0.0;
        for piece in pieces(rows, columns) {
            control.check()?;
            column.mean +=
                piece.iter().skip(at).step_by(columns).map(|&value| value.into() / count).sum::<f64>();
        }
    }
    // Squares of distances as parts of the range, which cannot leave the range of numbers.
    let ranges: Vec<f64> = found
        .iter()
        .map(|column| column.max / 2.0 - column.min / 2.0)
        .map(|half| if half > 0.0 { half } else { 1.0 })
        .collect();
    let mut sums = Sums::new(columns);
    for piece in pieces(rows, columns) {
        control.check()?;
        for row in piece.chunks_exact(columns) {
            for (at, &value) in row.iter().enumerate() {
                // Halves: the distance itself may be too large for a number.
                let part = (value.into() / 2.0 - found[at].mean / 2.0) / ranges[at];
                sums.piece[at] += part * part;
            }
        }
        sums.close();
    }
    for ((column, &sum), &range) in found.iter_mut().zip(&sums.total).zip(&ranges) {
        column.deviation = ((sum / count).sqrt() * range) * 2.0;
        if column.vanishes(column.deviation) {
            column.deviation = 0.0;
        }
    }
    Ok(found)
}

/// Sums per column in two levels: of a piece, and of all pieces.
struct Sums {
    piece: Vec<f64>,
    total: Vec<f64>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        Self { piece: vec![0.0; columns], total: vec![0.0; columns] }
    }

    fn close(&mut self) {
        for (total, piece) in self.total.iter_mut().zip(&mut self.piece) {
            *total += std::mem::take(piece);
        }
    }
}

/// Whole rows, about `GLANCE` numbers at a time.
fn pieces<T>(rows: &[T], columns: usize) -> std::slice::Chunks<'_, T> {
    rows.chunks((GLANCE / columns).max(1) * columns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[f64], columns: usize, kind: Scaling) -> Vec<Column> {
        fit(rows, columns, kind, &Control::unlimited()).unwrap_or_default()
    }

    /// Values and constants of scikit-learn 1.9's scalers.
    #[test]
    fn known_constants() {
        let rows = [1.0, 10.0, 2.0, 10.0, 3.0, 10.0, 10.0, 10.0];
        let standard = of(&rows, 2, Scaling::Standard);
        assert_eq!((standard[0].mean, standard[0].min, standard[0].max), (4.0, 1.0, 10.0));
        assert!((standard[0].deviation - 12.5f64.sqrt()).abs() < 1e-15);
        assert_eq!((standard[0].center, standard[0].divisor), (4.0, standard[0].deviation));
        let min_max = of(&rows, 2, Scaling::MinMax);
        assert_eq!((min_max[0].center, min_max[0].divisor), (1.0, 9.0));
        let robust = of(&rows, 2, Scaling::Robust);
        assert_eq!((robust[0].center, robust[0].divisor), (2.5, 4.75 - 1.75));
        let none = of(&rows, 2, Scaling::None);
        assert_eq!((none[0].center, none[0].divisor), (0.0, 1.0));
        for kind in [standard, min_max, robust] {
            assert_eq!((kind[1].scale(10.0), kind[1].divisor, kind[1].deviation), (0.0, 1.0, 0.0));
        }
    }

    #[test]
    fn rounding_is_no_variation() {
        let rows = [0.3, 0.1 + 0.2, 0.3];
        assert_eq!(of(&rows, 1, Scaling::Standard)[0].divisor, 1.0);
        assert_eq!(of(&rows, 1, Scaling::MinMax)[0].divisor, 1.0);
        // Equal values whose sum is not a multiple of them.
        let rows = vec![0.1; 12345];
        let column = of(&rows, 1, Scaling::Standard)[0];
        assert_eq!((column.mean, column.deviation, column.scale(0.1)), (0.1, 0.0, 0.0));
        // Large and close is not constant: seconds since 1970.
        let rows = [1.7e9, 1.7e9 + 1.0, 1.7e9 + 2.0];
        assert!((of(&rows, 1, Scaling::Standard)[0].deviation - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn extreme_numbers_stay_finite() {
        for rows in
            [vec![1e308; 50], vec![-1.7e308, 1.7e308, 1.7e308], vec![5e-324, 0.0, 0.0], vec![1e200, -1e200]]
        {
            for kind in [Scaling::Standard, Scaling::MinMax, Scaling::Robust, Scaling::None] {
                let column = of(&rows, 1, kind)[0];
                assert!(
                    column.mean.is_finite()
                        && column.deviation.is_finite()
                        && column.divisor > 0.0
                        && column.divisor.is_finite(),
                    "{column:?}"
                );
            }
        }
        let column = of(&[1e200, -1e200], 1, Scaling::Standard)[0];
        assert_eq!((column.mean, column.deviation), (0.0, 1e200));
    }

    #[test]
    fn what_is_refused() {
        let control = Control::unlimited();
        assert_eq!(fit::<f64>(&[], 3, Scaling::None, &control), Err(Error::NoData));
        assert!(matches!(fit(&[1.0, 2.0, 3.0], 2, Scaling::None, &control), Err(Error::Corrupted(_))));
        assert!(matches!(fit(&[1.0, f64::NAN], 2, Scaling::None, &control), Err(Error::Corrupted(_))));
        assert!(matches!(fit(&[1f32, f32::INFINITY], 1, Scaling::None, &control), Err(Error::Corrupted(_))));
        control.cancel();
        assert_eq!(fit(&[1.0], 1, Scaling::None, &control), Err(Error::Cancelled));
        let small = Control::new(7);
        assert!(matches!(fit(&[1.0], 1, Scaling::Robust, &small), Err(Error::Memory { .. })));
        assert!(matches!(Scaling::parse("z"), Err(Error::Word { .. })));
        for word in Scaling::WORDS {
            assert_eq!(Scaling::parse(word).map(Scaling::word), Ok(*word));
        }
    }

    proptest! {
        #[test]
        fn scaling_is_what_it_says_and_goes_back(
            rows in prop::collection::vec(prop::collection::vec(-1e6f64..1e6, 3), 1..40),
        ) {
            let flat: Vec<f64> = rows.concat();
            for kind in [Scaling::Standard, Scaling::MinMax, Scaling::Robust, Scaling::None] {
                for (at, column) in of(&flat, 3, kind).iter().enumerate() {
                    let values: Vec<f64> = rows.iter().map(|row| row[at]).collect();
                    let scaled: Vec<f64> = values.iter().map(|&value| column.scale(value)).collect();
                    for (&value, &scaled) in values.iter().zip(&scaled) {
                        prop_assert!((column.raw(scaled) - value).abs() <= 1e-9 * column.divisor.max(value.abs()));
                    }
                    let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
                    let square = scaled.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / scaled.len() as f64;
                    if rows.len() > 1 && column.deviation > 1.0 && kind == Scaling::Standard {
                        prop_assert!(mean.abs() < 1e-9 && (square - 1.0).abs() < 1e-9, "{mean} {square}");
                    }
                    if kind == Scaling::MinMax {
                        prop_assert!(scaled.iter().all(|x| (0.0..=1.0).contains(x)));
                    }
                }
            }
        }
    }
}
