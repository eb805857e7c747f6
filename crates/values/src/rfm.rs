//! Recency, frequency and monetary value of one customer, mergeable. Times are microseconds.

use base::error::Overflow;
use bytemuck::{Pod, Zeroable};

/// What the purchases so far add up to; all zero before the first.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Rfm {
    frequency: i64,
    first: i64,
    last: i64,
    monetary: f64,
    /// What the additions to `monetary` lost (Neumaier 1974): the order of rows changes the sum by its last digit
    /// at most.
    lost: f64,
}

impl Rfm {
    /// Adds a purchase; a refund has a negative amount.
    #[inline]
    pub fn push(&mut self, at: i64, amount: f64) -> Result<(), Overflow> {
        if self.frequency == 0 {
            (self.first, self.last) = (at, at);
        } else {
            self.first = self.first.min(at);
            self.last = self.last.max(at);
        }
        self.frequency = self.frequency.checked_add(1).ok_or(Overflow)?;
        self.add(amount)
    }

    /// Adds all purchases of another one.
    pub fn merge(&mut self, other: &Rfm) -> Result<(), Overflow> {
        if other.frequency == 0 {
            return Ok(());
        }
        if self.frequency == 0 {
            *self = *other;
            return Ok(());
        }
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.frequency = self.frequency.checked_add(other.frequency).ok_or(Overflow)?;
        self.add(other.monetary)?;
        self.lost += other.lost;
        Ok(())
    }

    #[inline]
    fn add(&mut self, amount: f64) -> Result<(), Overflow> {
        let sum = self.monetary + amount;
        if !sum.is_finite() {
            return Err(Overflow);
        }
        self.lost += if self.monetary.abs() >= amount.abs() {
            (self.monetary - sum) + amount
        } else {
            (amount - sum) + self.monetary
        };
        self.monetary = sum;
        Ok(())
    }

    /// The same with another number of orders than rows.
    pub fn with_frequency(self, frequency: i64) -> Rfm {
        Rfm { frequency, ..self }
    }

    /// How many purchases there were.
    pub fn frequency(&self) -> i64 {
        self.frequency
    }

    /// The sum of the amounts; None without a purchase.
    pub fn monetary(&self) -> Option<f64> {
        (self.frequency > 0).then_some(self.monetary + self.lost)
    }

    /// The time of the first purchase.
    pub fn first(&self) -> Option<i64> {
        (self.frequency > 0).then_some(self.first)
    }

    /// The time of the last purchase.
    pub fn last(&self) -> Option<i64> {
        (self.frequency > 0).then_some(self.last)
    }

    /// The fields in order: frequency, first, last; sum, what it lost.
    pub fn parts(&self) -> ([i64; 3], [f64; 2]) {
        ([self.frequency, self.first, self.last], [self.monetary, self.lost])
    }

    /// What `parts` gave; None for what no purchases give.
    pub fn from_parts([frequency, first, last]: [i64; 3], [monetary, lost]: [f64; 2]) -> Option<Rfm> {
        let rfm = Rfm { frequency, first, last, monetary, lost };
        let possible = match frequency {
            0 => rfm == Rfm::default(),
            _ => frequency > 0 && first <= last && monetary.is_finite() && lost.is_finite(),
        };
        possible.then_some(rfm)
    }
}
