//! Count, mean, moments and range of numbers, in one pass and mergeable.
//!
//! P. Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
//! moments", Sandia report SAND2008-6212 (2008). Values that are not finite count as in Postgres' own aggregates:
//! the mean follows the arithmetic of infinities, deviations are NaN, and NaN is greater than every number.

use base::error::Overflow;
use bytemuck::{Pod, Zeroable};

/// What is known about the numbers so far. All zero is no number at all.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Stats {
    count: i64,
    /// The first number: what is counted is the distance from it, so that a large offset costs no digits.
    origin: f64,
    /// The mean of the distances.
    offset: f64,
    /// Sums of the second, third and fourth powers of deviations from the mean.
    m2: f64,
    m3: f64,
    m4: f64,
    min: f64,
    max: f64,
}

impl Stats {
    /// No numbers.
    pub const EMPTY: Stats =
        Stats { count: 0, origin: 0.0, offset: 0.0, m2: 0.0, m3: 0.0, m4: 0.0, min: 0.0, max: 0.0 };

    /// The two ends of a range, for what asks for nothing else.
    pub fn of_range(min: f64, max: f64) -> Stats {
        Stats { count: 1, min, max, ..Stats::EMPTY }
    }

    /// Adds a number.
    #[inline]
    pub fn push(&mut self, x: f64) -> Result<(), Overflow> {
        self.count = self.count.checked_add(1).ok_or(Overflow)?;
        let n = self.count as f64;
        if self.count == 1 {
            (self.origin, self.min, self.max) = (x, x, x);
            if !x.is_finite() {
                self.without_deviations(x);
            }
            return Ok(());
        }
        // False for NaN on either side: such pairs are settled apart.
        if x < self.min || x > self.max || x.is_nan() || self.max.is_nan() {
            self.widen(x, x);
        }
        let delta = (x - self.origin) - self.offset;
        let part = delta / n;
        let square = part * part;
        let term = delta * part * (n - 1.0);
        let m2 = self.m2 + term;
        if !m2.is_finite() {
            return self.push_extreme(x);
        }
        self.offset += part;
        self.m4 += term * square * (n * n - 3.0 * n + 3.0) + 6.0 * square * self.m2 - 4.0 * part * self.m3;
        self.m3 += term * part * (n - 2.0) - 3.0 * part * self.m2;
        self.m2 = m2;
        Ok(())
    }

    /// Where a deviation is infinite or NaN: the value is, an earlier one was, or a square overflows.
    #[cold]
    fn push_extreme(&mut self, x: f64) -> Result<(), Overflow> {
        let mean = self.origin + self.offset;
        if x.is_finite() && mean.is_finite() {
            return Err(Overflow);
        }
        self.without_deviations(mean + x);
        Ok(())
    }

    /// Adds all numbers of another one.
    pub fn merge(&mut self, other: &Stats) -> Result<(), Overflow> {
        if other.count == 0 {
            return Ok(());
        }
        if self.count == 0 {
            *self = *other;
            return Ok(());
        }
        self.widen(other.min, other.max);
        let count = self.count.checked_add(other.count).ok_or(Overflow)?;
        let (mean, other_mean) = (self.origin + self.offset, other.origin + other.offset);
        if !mean.is_finite() || !other_mean.is_finite() {
            self.count = count;
            self.without_deviations(mean + other_mean);
            return Ok(());
        }
        let (a, b, n) = (self.count as f64, other.count as f64, count as f64);
        let delta = (other.origin - self.origin) + (other.offset - self.offset);
        let (share_a, share_b) = (a / n, b / n);
        let part = delta * share_b;
        // In the order of Pébay's (2.1) for p = 2, 3, 4, with products kept small.
        let m2 = self.m2 + other.m2 + delta * part * a;
        if !m2.is_finite() {
            return Err(Overflow);
        }
        let square = delta * delta;
        let m3 = self.m3
            + other.m3
            + square * delta * a * share_b * (share_a - share_b)
            + 3.0 * delta * (share_a * other.m2 - share_b * self.m2);
        let m4 = self.m4
            + other.m4
            + square * square * a * share_b * (share_a * share_a - share_a * share_b + share_b * share_b)
            + 6.0 * square * (share_a * share_a * other.m2 + share_b * share_b * self.m2)
            + 4.0 * delta * (share_a * other.m3 - share_b * self.m3);
        (self.count, self.offset, self.m2, self.m3, self.m4) = (count, self.offset + part, m2, m3, m4);
        Ok(())
    }

    fn widen(&mut self, low: f64, high: f64) {
        // NaN is the greatest: the minimum is one only where all are.
        if low < self.min || self.min.is_nan() {
            self.min = low;
        }
        if high > self.max || high.is_nan() {
            self.max = high;
        }
    }

    fn without_deviations(&mut self, mean: f64) {
        (self.origin, self.offset) = (0.0, mean);
        (self.m2, self.m3, self.m4) = (f64::NAN, f64::NAN, f64::NAN);
    }

    /// How many numbers there are.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// The mean; None without a number.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.origin + self.offset)
    }

    /// The least number; None without one.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest number; None without one.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// The variance of the sample, over n - 1; None below two numbers.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.m2 / (self.count - 1) as f64)
    }

    /// The variance of the population, over n; None without a number.
    pub fn variance_pop(&self) -> Option<f64> {
        (self.count > 0).then(|| self.m2 / self.count as f64)
    }

    /// The third standardized moment of the population: 0 where symmetric. None where no number differs from
    /// another.
    pub fn skewness(&self) -> Option<f64> {
        let n = self.count as f64;
        (self.m2 != 0.0).then(|| n.sqrt() * (self.m3 / self.m2) / self.m2.sqrt())
    }

    /// The fourth standardized moment of the population less 3: 0 for a normal distribution. None where no
    /// number differs from another.
    pub fn kurtosis(&self) -> Option<f64> {
        (self.m2 != 0.0).then(|| self.count as f64 * (self.m4 / self.m2) / self.m2 - 3.0)
    }

    /// The fields in order: count; origin, mean of the distances from it, sums of powers 2 to 4 of the deviations,
    /// least and greatest number.
    pub fn parts(&self) -> (i64, [f64; 7]) {
        (self.count, [self.origin, self.offset, self.m2, self.m3, self.m4, self.min, self.max])
    }

    /// What `parts` gave; None for what no numbers give.
    pub fn from_parts(count: i64, [origin, offset, m2, m3, m4, min, max]: [f64; 7]) -> Option<Stats> {
        let stats = Stats { count, origin, offset, m2, m3, m4, min, max };
        stats.is_possible().then_some(stats)
    }

    fn is_possible(&self) -> bool {
        if self.count == 0 {
            return *self == Stats::EMPTY;
        }
        let mean = self.origin + self.offset;
        let ordered = self.min <= self.max || self.max.is_nan();
        let finite = self.min.is_finite() && self.max.is_finite();
        self.count > 0
            && ordered
            && finite == mean.is_finite()
            && if finite {
                // Rounding may put the mean a little outside.
                let slack = 1e-9 * self.min.abs().max(self.max.abs());
                mean >= self.min - slack && mean <= self.max + slack && self.m2 >= 0.0 && self.m2.is_finite()
            } else {
                self.m2.is_nan()
            }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Stats::EMPTY
    }
}
