//! Scaling a column: what scikit-learn's StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler do with default
//! options, also for constant columns.

use base::order;
use bytemuck::{Pod, Zeroable};

use crate::stats::Stats;

/// A column is moved by `center` and divided by `unit`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Scale {
    /// 1, or a half where a distance between finite numbers would overflow: then all is halved first.
    shrink: f64,
    center: f64,
    unit: f64,
}

/// Widths up to this count as none: they are the rounding of a constant.
const CONSTANT: f64 = 10.0 * f64::EPSILON;

impl Scale {
    /// Mean 0 and deviation 1, of the population; None of no numbers.
    pub fn standard(stats: &Stats) -> Option<Scale> {
        let (mean, variance) = (stats.mean()?, stats.variance_pop()?);
        // A constant column: its variance is within the rounding of the sum that it comes from.
        let n = stats.count() as f64;
        let rounding = n * f64::EPSILON * variance + (n * mean * f64::EPSILON).powi(2);
        Some(Scale::by(mean, if variance <= rounding { 0.0 } else { variance.sqrt() }, 0.0))
    }

    /// From 0 to 1; None of no numbers.
    pub fn min_max(stats: &Stats) -> Option<Scale> {
        let (min, max) = (stats.min()?, stats.max()?);
        Some(Scale::over(min, min, max))
    }

    /// From -1 to 1 with 0 in its place; None of no numbers.
    pub fn max_abs(stats: &Stats) -> Option<Scale> {
        Some(Scale::over(0.0, 0.0, stats.min()?.abs().max(stats.max()?.abs())))
    }

    /// Median 0 and distance 1 between the quartiles, of sorted numbers; None of no numbers.
    pub fn robust(sorted: &[f64]) -> Option<Scale> {
        let quantile = |p| order::quantile(sorted, p);
        Some(Scale::quartiles(quantile(0.25)?, quantile(0.5)?, quantile(0.75)?))
    }

    /// Median 0 and distance 1 between the quartiles.
    pub fn quartiles(first: f64, median: f64, third: f64) -> Scale {
        Scale::over(median, first, third)
    }

    /// Deviation 1 of the sample around the mean: a z-score. None below two numbers.
    pub fn sample(stats: &Stats) -> Option<Scale> {
        Some(Scale::by(stats.mean()?, stats.variance()?.sqrt(), 0.0))
    }

    fn over(center: f64, low: f64, high: f64) -> Scale {
        let width = high - low;
        if width.is_finite() || !low.is_finite() || !high.is_finite() {
            Scale::by(center, width, CONSTANT)
        } else {
            Scale { shrink: 0.5, center: center * 0.5, unit: high * 0.5 - low * 0.5 }
        }
    }

    fn by(center: f64, width: f64, constant: f64) -> Scale {
        Scale { shrink: 1.0, center, unit: if width <= constant { 1.0 } else { width } }
    }

    /// Where a number of the column comes to lie.
    #[inline]
    pub fn apply(&self, x: f64) -> f64 {
        (x * self.shrink - self.center) / self.unit
    }
}
