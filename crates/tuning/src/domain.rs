//! What a parameter may be. Numeric ranges are seen as the unit interval, in which steps of the same length mean the
//! same: differences, or ratios where the scale is logarithmic.

use rand::Rng;

/// The values that a parameter may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// Whole numbers from `low` to `high`; `log` needs `low` of at least 1.
    Integer {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// Whether ratios count.
        log: bool,
    },
    /// Numbers from `low` to `high`; `log` needs `low` above 0.
    Real {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Whether ratios count.
        log: bool,
    },
    /// One of so many things without an order, at least 1; a fixed parameter is a choice of one.
    Choice(usize),
}

/// A value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Of an integer domain.
    Integer(i64),
    /// Of a real domain.
    Real(f64),
    /// The number of the choice, from 0.
    Choice(usize),
}

/// A number in [0, 1) with 53 random bits.
pub(super) fn uniform(generator: &mut impl Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Domain {
    /// Whether the bounds make sense.
    pub fn is_valid(&self) -> bool {
        match *self {
            Domain::Integer { low, high, log } => low <= high && (!log || low >= 1),
            Domain::Real { low, high, log } => {
                low.is_finite()
                    && high.is_finite()
                    && (high - low).is_finite()
                    && low <= high
                    && (!log || low > 0.0)
            }
            Domain::Choice(count) => count >= 1,
        }
    }

    /// Whether a value is one of the domain's.
    pub fn contains(&self, value: Value) -> bool {
        match (*self, value) {
            (Domain::Integer { low, high, .. }, Value::Integer(number)) => (low..=high).contains(&number),
            (Domain::Real { low, high, .. }, Value::Real(number)) => (low..=high).contains(&number),
            (Domain::Choice(count), Value::Choice(choice)) => choice < count,
            _ => false,
        }
    }

    /// The numbers that the unit interval stands for; whole numbers own half a step to each side.
    fn ends(&self) -> (f64, f64, bool) {
        match *self {
            Domain::Integer { low, high, log } => (low as f64 - 0.5, high as f64 + 0.5, log),
            Domain::Real { low, high, log } => (low, high, log),
            Domain::Choice(count) => (0.0, count as f64, false),
        }
    }

    /// The value at a place of the unit interval.
    pub(super) fn at(&self, unit: f64) -> Value {
        let (from, to, log) = self.ends();
        let number =
            if log { (from.ln() + unit * (to.ln() - from.ln())).exp() } else { from + unit * (to - from) };
        match *self {
            Domain::Integer { low, high, .. } => Value::Integer((number.round() as i64).clamp(low, high)),
            Domain::Real { low, high, .. } => Value::Real(number.clamp(low, high)),
            Domain::Choice(count) => Value::Choice((number as usize).min(count - 1)),
        }
    }

    /// The place of a value in the unit interval; `None` for one of another kind.
    pub(super) fn unit(&self, value: Value) -> Option<f64> {
        let number = match (self, value) {
            (Domain::Integer { .. }, Value::Integer(number)) => number as f64,
            (Domain::Real { .. }, Value::Real(number)) => number,
            _ => return None,
        };
        let (from, to, log) = self.ends();
        let unit = if log { (number / from).ln() / (to / from).ln() } else { (number - from) / (to - from) };
        Some(if unit.is_finite() { unit.clamp(0.0, 1.0) } else { 0.5 })
    }

    /// A value, each place of the interval as likely as any other.
    pub(super) fn draw(&self, generator: &mut impl Rng) -> Value {
        self.at(uniform(generator))
    }
}
