//! Exact quantiles of many values.

use base::budget::{Task, task};
use base::control::Control;
use base::error::{Error, Result};
use base::order;

const SORTING: Task = task("sorting a column", "Use fewer rows.");

/// Values sorted at a time: about 5 ms.
const RUN: usize = 1 << 17;

/// A copy of values in sorted runs. A single sort of millions of values could not be canceled in time; a rank in
/// all runs together is found by bisection.
#[derive(Debug)]
pub struct Runs<'a> {
    values: Vec<f64>,
    taken: u64,
    control: &'a Control,
}

impl<'a> Runs<'a> {
    /// Takes `count` values, none of them NaN, and their memory from the budget. Errors: `Cancelled`, `Memory`,
    /// `NoData` without values.
    pub fn new(values: impl Iterator<Item = f64>, count: usize, control: &'a Control) -> Result<Self> {
        if count == 0 {
            return Err(Error::NoData);
        }
        SORTING.take(count as u64 * 8, control)?;
        // From here on drop gives the bytes back.
        let mut runs = Self { values: Vec::new(), taken: count as u64 * 8, control };
        runs.values.try_reserve_exact(count).map_err(|_| SORTING.refused())?;
        let mut values = values.take(count);
        for from in (0..count).step_by(RUN) {
            control.check()?;
            // Minus zero is zero.
            runs.values.extend(values.by_ref().take(RUN).map(|value| value + 0.0));
            runs.values.resize(count.min(from + RUN), 0.0);
            runs.values[from..].sort_unstable_by(f64::total_cmp);
        }
        Ok(runs)
    }

    /// The value at `probability` (0 to 1) of the sorted values, between two of them by linear interpolation: what
    /// NumPy calls 'linear' and SQL `percentile_cont`.
    pub fn quantile(&self, probability: f64) -> f64 {
        let (rank, share) = order::position(self.values.len() as u64, probability.clamp(0.0, 1.0));
        let low = self.rank(rank as usize);
        if share == 0.0 { low } else { order::between(low, self.rank(rank as usize + 1), share) }
    }

    /// The value that `rank` others precede.
    fn rank(&self, rank: usize) -> f64 {
        // The least key with more than `rank` values up to it, bit by bit from above.
        let mut key = 0u64;
        for bit in (0..64).rev() {
            let tried = key | 1 << bit;
            if self.below(tried) <= rank {
                key = tried;
            }
        }
        from_key(key)
    }

    /// How many values have a smaller key.
    fn below(&self, key: u64) -> usize {
        self.values.chunks(RUN).map(|run| run.partition_point(|&value| to_key(value) < key)).sum()
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.values = Vec::new();
        self.control.give(self.taken);
    }
}

const SIGN: u64 = 1 << 63;

/// An integer that is ordered as the number is.
fn to_key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_key(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_quantiles() {
        let control = Control::unlimited();
        let runs = |values: &[f64]| Runs::new(values.iter().copied(), values.len(), &control);
        let four = runs(&[4.0, 1.0, 3.0, 2.0]).unwrap_or_else(|_| unreachable!());
        // numpy.quantile([1, 2, 3, 4], …)
        let expected = [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.75, 3.25), (1.0, 4.0)];
        for (probability, value) in expected {
            assert_eq!(four.quantile(probability), value);
        }
        assert_eq!(runs(&[-7.5]).map(|one| one.quantile(0.3)), Ok(-7.5));
        assert_eq!(runs(&[]).map(|none| none.quantile(0.3)), Err(Error::NoData));
        drop(four);
        assert_eq!(control.used(), 0);
    }

    #[test]
    fn ranks_across_runs() {
        let count = 3 * RUN + 17;
        let value = |at: usize| ((at * 7919) % count) as f64 - 1000.0;
        let control = Control::unlimited();
        let runs = Runs::new((0..count).map(value), count, &control).unwrap_or_else(|_| unreachable!());
        for rank in [0, 1, 999, 1000, 1001, RUN, 2 * RUN + 5, count - 1] {
            assert_eq!(runs.rank(rank), rank as f64 - 1000.0);
        }
    }

    proptest! {
        #[test]
        fn equals_a_sort(mut values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..60)) {
            let control = Control::unlimited();
            let runs = Runs::new(values.iter().copied(), values.len(), &control);
            values.sort_by(f64::total_cmp);
            for (rank, &value) in values.iter().enumerate() {
                prop_assert_eq!(runs.as_ref().map(|runs| runs.rank(rank)), Ok(value));
            }
        }
    }
}
