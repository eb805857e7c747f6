//! Moments beside their definitions in two passes, merges beside the whole, and values that are not finite.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use base::Overflow;
use proptest::prelude::*;
use values::stats::Stats;

fn of(values: &[f64]) -> Stats {
    let mut stats = Stats::EMPTY;
    for &value in values {
        stats.push(value).expect("no overflow");
    }
    stats
}

/// Mean and moments by their definitions, summed from the small ends.
fn exact(values: &[f64]) -> (f64, f64, f64, f64) {
    let n = values.len() as f64;
    let sum = |mut all: Vec<f64>| {
        all.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        all.iter().sum::<f64>()
    };
    let mean = sum(values.to_vec()) / n;
    let moment = |power| sum(values.iter().map(|x| (x - mean).powi(power)).collect());
    (mean, moment(2), moment(3), moment(4))
}

fn near(got: f64, expected: f64, scale: f64, what: &str) {
    assert!(
        (got - expected).abs() <= 1e-11 * scale.max(expected.abs()),
        "{what}: {got} instead of {expected}"
    );
}

fn compare(got: &Stats, values: &[f64]) {
    let (count, [_, _, m2, m3, m4, min, max]) = got.parts();
    let mean = got.mean().expect("numbers");
    let (exact_mean, exact_m2, exact_m3, exact_m4) = exact(values);
    let width = values.iter().fold(0.0, |width: f64, x| width.max(x.abs()));
    let spread = exact_m2.sqrt();
    assert_eq!(count, values.len() as i64);
    near(mean, exact_mean, width, "mean");
    near(m2, exact_m2, spread * width * 1e-2, "m2");
    near(m3, exact_m3, spread.powi(2) * width, "m3");
    near(m4, exact_m4, spread.powi(3) * width, "m4");
    assert_eq!(min, values.iter().copied().fold(f64::INFINITY, f64::min));
    assert_eq!(max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
}

#[test]
fn known_answers() {
    let stats = of(&[1.0, 2.0, 3.0, 4.0, 10.0]);
    assert_eq!(stats.count(), 5);
    assert_eq!(stats.mean(), Some(4.0));
    assert_eq!(stats.variance(), Some(12.5));
    assert_eq!(stats.variance_pop(), Some(10.0));
    assert_eq!((stats.min(), stats.max()), (Some(1.0), Some(10.0)));
    // scipy.stats.skew and scipy.stats.kurtosis with their defaults.
    near(stats.skewness().expect("spread"), 1.138_419_957_660_61, 1.0, "skewness");
    near(stats.kurtosis().expect("spread"), -0.212, 1.0, "kurtosis");
}

#[test]
fn nothing_and_one_number() {
    assert_eq!(Stats::EMPTY.mean(), None);
    assert_eq!(Stats::EMPTY.variance_pop(), None);
    assert_eq!(Stats::EMPTY.skewness(), None);
    let one = of(&[7.5]);
    assert_eq!((one.mean(), one.variance(), one.variance_pop()), (Some(7.5), None, Some(0.0)));
    assert_eq!((one.skewness(), one.kurtosis()), (None, None));
    assert_eq!(of(&[0.1; 10]).skewness(), None);
}

#[test]
fn a_large_offset_costs_no_digits() {
    // Naive sums of squares give a negative variance here.
    let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 10)).collect();
    near(of(&values).variance_pop().expect("numbers"), 8.25, 0.0, "variance");
}

#[test]
fn not_finite_as_in_postgres() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let mean = |values: &[f64]| of(values).mean().expect("numbers");
    assert_eq!(mean(&[1.0, inf]), inf);
    assert_eq!(mean(&[inf, 1.0, 2.0]), inf);
    assert_eq!(mean(&[-inf, -inf]), -inf);
    assert!(mean(&[inf, 1.0, -inf, 5.0]).is_nan());
    assert!(mean(&[1.0, nan, 2.0]).is_nan());
    for values in [&[inf][..], &[nan], &[1.0, inf, 3.0], &[nan, 1.0, 2.0]] {
        assert!(of(values).variance_pop().expect("numbers").is_nan(), "{values:?}");
    }
    // NaN is the greatest.
    assert!(of(&[1.0, nan, 2.0]).max().expect("numbers").is_nan());
    let stats = of(&[nan, 2.0, 1.0, nan, 3.0]);
    assert_eq!(stats.min(), Some(1.0));
    assert!(stats.max().expect("numbers").is_nan());
    assert!(of(&[nan, nan]).min().expect("numbers").is_nan());
}

#[test]
fn squares_that_overflow_are_an_error() {
    let mut stats = of(&[1e308]);
    assert_eq!(stats.push(-1e308), Err(Overflow));
    assert_eq!(of(&[1e200]).merge(&of(&[-1e200])), Err(Overflow));
    // The mean does not overflow where the sum would.
    assert_eq!(of(&[1e308, 1e308, 1e308]).mean(), Some(1e308));
    let tiny = of(&[5e-324, 1e-323]);
    assert_eq!((tiny.min(), tiny.max(), tiny.variance()), (Some(5e-324), Some(1e-323), Some(0.0)));
}

#[test]
fn impossible_parts_are_refused() {
    let (count, parts) = of(&[1.0, 2.0, 5.0]).parts();
    assert!(Stats::from_parts(count, parts).is_some());
    assert!(Stats::from_parts(-1, parts).is_none());
    assert!(Stats::from_parts(0, parts).is_none());
    for (field, value) in [(0, 9.0), (1, f64::NAN), (2, -1.0), (2, f64::NAN), (5, 6.0), (6, f64::INFINITY)] {
        let mut wrong = parts;
        wrong[field] = value;
        assert!(Stats::from_parts(count, wrong).is_none(), "field {field} = {value}");
    }
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let number = prop_oneof![-1e3..1e3f64, 1e6..1.000_001e6f64, Just(0.0), Just(-0.0), Just(42.0)];
    prop::collection::vec(number, 1..300)
}

proptest! {
    #[test]
    fn one_pass_is_two_passes(values in numbers()) {
        compare(&of(&values), &values);
    }

    /// Any split, with empty parts, in any grouping.
    #[test]
    fn merged_parts_are_the_whole(values in numbers(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        let mut whole = Stats::EMPTY;
        for pair in cuts.windows(2) {
            whole.merge(&of(&values[pair[0]..pair[1]])).expect("no overflow");
        }
        compare(&whole, &values);
        let (count, parts) = whole.parts();
        prop_assert_eq!(Stats::from_parts(count, parts), Some(whole));
    }
}
