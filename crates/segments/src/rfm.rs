//! Scores of recency, frequency and monetary value: which part of all customers somebody belongs to.

mod labels;

use base::control::Control;
use base::error::{Error, Result};
use features::columns::Runs;
pub use labels::Labels;
pub(crate) use labels::cell;

/// Scores where the caller names no other number.
pub const BINS: usize = 5;

/// Which end of a measure is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    /// Small values get the highest score: days since the last purchase.
    Low,
    /// Large values do: orders, amounts.
    High,
}

/// `Error::Parameter` unless there are 2 to 10 scores.
pub fn check_bins(bins: usize) -> Result<()> {
    if (2..=10).contains(&bins) {
        return Ok(());
    }
    Err(Error::Parameter { name: "bins", expected: "between 2 and 10".into(), got: bins.to_string() })
}

/// The `bins - 1` values that part the `count` values (none of them NaN) into equally many each: quantiles with linear
/// interpolation. Errors: `Parameter`, `NoData` without values, `Cancelled`, `Memory`.
pub fn cut_points(
    values: impl Iterator<Item = f64>,
    count: usize,
    bins: usize,
    control: &Control,
) -> Result<Vec<f64>> {
    check_bins(bins)?;
    let runs = Runs::new(values, count, control)?;
    Ok((1..bins).map(|cut| runs.quantile(cut as f64 / bins as f64)).collect())
}

/// The score of a value by rising cut points: 1 to one more than there are cuts, the highest for the best. A value on a
/// cut belongs below it, so equal values have equal scores.
pub fn score(value: f64, cuts: &[f64], best: Best) -> u32 {
    let below = cuts.partition_point(|&cut| cut < value);
    (match best {
        Best::High => 1 + below,
        Best::Low => 1 + cuts.len() - below,
    }) as u32
}

/// The cuts of the three measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuts<'a> {
    /// Of the time since the last purchase: low is best.
    pub recency: &'a [f64],
    /// Of the number of purchases.
    pub frequency: &'a [f64],
    /// Of their amount.
    pub monetary: &'a [f64],
}

impl Cuts<'_> {
    /// The scores of recency, frequency and monetary value.
    pub fn scores(&self, [recency, frequency, monetary]: [f64; 3]) -> [u32; 3] {
        [
            score(recency, self.recency, Best::Low),
            score(frequency, self.frequency, Best::High),
            score(monetary, self.monetary, Best::High),
        ]
    }

    /// How many cuts of each measure equal the one before: so many scores nobody can have, since too many customers
    /// share a value.
    pub fn collapsed(&self) -> [usize; 3] {
        [self.recency, self.frequency, self.monetary]
            .map(|cuts| cuts.windows(2).filter(|pair| pair[0] == pair[1]).count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_scores() -> Result<()> {
        let control = Control::unlimited();
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        // numpy.quantile(range(1, 11), [0.2, 0.4, 0.6, 0.8])
        let cuts = cut_points(values.iter().copied(), 10, 5, &control)?;
        for (cut, expected) in cuts.iter().zip([2.8, 4.6, 6.4, 8.2]) {
            assert!((cut - expected).abs() < 1e-12, "{cuts:?}");
        }
        let scores = |best| values.iter().map(|&value| score(value, &cuts, best)).collect::<Vec<_>>();
        assert_eq!(scores(Best::High), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        assert_eq!(scores(Best::Low), [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]);
        // Beyond what was seen.
        assert_eq!((score(-9.0, &cuts, Best::High), score(99.0, &cuts, Best::Low)), (1, 1));
        assert_eq!(control.used(), 0);
        Ok(())
    }

    #[test]
    fn many_equal_values_share_a_score() -> Result<()> {
        let control = Control::unlimited();
        // Cuts as those of the orders in the CDNOW data.
        let values = [[1.0; 5].as_slice(), &[2.0, 2.0, 4.0, 4.0, 9.0]].concat();
        let cuts = cut_points(values.iter().copied(), 10, 5, &control)?;
        assert_eq!((cuts[0], cuts[1]), (1.0, 1.0));
        let all = Cuts { recency: &[1.0, 2.0], frequency: &cuts, monetary: &[3.0, 3.0, 3.0] };
        assert_eq!(all.collapsed(), [0, 1, 2]);
        assert_eq!(
            [1.0, 2.0, 4.0, 9.0].map(|value| score(value, &[1.0, 1.0, 2.0, 4.0], Best::High)),
            [1, 3, 4, 5]
        );
        assert_eq!(all.scores([2.0, 9.0, 3.0]), [2, 5, 1]);
        Ok(())
    }

    #[test]
    fn what_is_refused() {
        let control = Control::unlimited();
        for bins in [0, 1, 11] {
            let refused = cut_points([1.0].into_iter(), 1, bins, &control);
            assert!(matches!(refused, Err(Error::Parameter { name: "bins", .. })));
        }
        assert_eq!(cut_points(std::iter::empty(), 0, 5, &control), Err(Error::NoData));
    }

    proptest! {
        #[test]
        fn scores_follow_values(values in prop::collection::vec(-50i32..50, 1..80), bins in 2usize..=10) {
            let control = Control::unlimited();
            let mut values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let cuts = cut_points(values.iter().copied(), values.len(), bins, &control).unwrap_or_default();
            prop_assert!(cuts.len() == bins - 1 && cuts.is_sorted());
            values.sort_by(f64::total_cmp);
            let high: Vec<u32> = values.iter().map(|&value| score(value, &cuts, Best::High)).collect();
            let low: Vec<u32> = values.iter().map(|&value| score(value, &cuts, Best::Low)).collect();
            prop_assert!(high.is_sorted() && high.iter().all(|score| (1..=bins as u32).contains(score)));
            prop_assert!(high.iter().zip(&low).all(|(high, low)| high + low == bins as u32 + 1));
        }
    }
}
