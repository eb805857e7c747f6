//! Sums with twice the digits of their numbers: rounded to one number they are the same in any order, and a variance
//! keeps its digits where the values are large beside their differences.

/// A sum as a number and what its rounding lost (Neumaier 1974).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    #[inline(always)]
    pub(super) fn add(&mut self, number: f64) {
        let sum = self.high + number;
        // What was lost, exactly, whichever is larger (Knuth's TwoSum).
        let part = sum - self.high;
        self.low += (self.high - (sum - part)) + (number - part);
        self.high = sum;
    }

    /// Adds the square of a number, all of its digits.
    #[inline(always)]
    pub(super) fn add_square(&mut self, number: f64) {
        // The first 26 digits and the others: their products are exact, or lose what no sum would notice.
        let first = f64::from_bits(number.to_bits() & !0x7ff_ffff);
        let rest = number - first;
        self.add(first * first);
        self.add(2.0 * first * rest + rest * rest);
    }

    /// Adds the product of two numbers, all of its digits.
    fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        self.add(a.mul_add(b, -product));
    }

    pub(super) fn merge(&mut self, other: Sum) {
        self.add(other.high);
        self.add(other.low);
    }

    /// The nearest number. Beyond the range of numbers nothing is known of what was lost.
    pub(super) fn value(self) -> f64 {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }

    /// Divided by a count.
    pub(super) fn mean(self, count: f64) -> f64 {
        let mean = self.value() / count;
        let rest = (-mean).mul_add(count, self.high) + self.low;
        if rest.is_finite() { mean + rest / count } else { mean }
    }

    /// The variance of `count` numbers around their mean, by the sum of their squares and this, theirs; 0 where it is
    /// nothing but rounding.
    pub(super) fn variance(self, squares: Sum, count: f64, mean: f64) -> f64 {
        // The sum of squares of (x - mean).
        let mut sum = squares;
        sum.add_product(-2.0 * mean, self.high);
        sum.add(-2.0 * mean * self.low);
        let all = count * mean;
        sum.add_product(all, mean);
        sum.add(count.mul_add(mean, -all) * mean);
        let noise = squares.value() * 2f64.powi(-90);
        if sum.value() > noise { sum.value() / count } else { 0.0 }
    }
}
