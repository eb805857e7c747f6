//! Order, scales, sets, rfm and Page-Hinkley beside slow exact versions and known answers.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use base::error::Error;
use base::flat::{self, Table};
use base::{Overflow, order};
use proptest::prelude::*;
use values::page_hinkley::{PageHinkley, Parameters};
use values::rfm::Rfm;
use values::scale::Scale;
use values::stats::Stats;

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().map(|x| order::canonical(*x)).collect();
    let mut scratch = vec![0.0; values.len()];
    order::sort(&mut values, &mut scratch, || ());
    values
}

#[test]
fn sorting_is_that_of_the_library_and_ticks() {
    // A linear congruence: more than three blocks, in no order, with repeats.
    let mut x = 1u64;
    let values: Vec<f64> = (0..250_000)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((x >> 40) % 100_000) as f64 - 50_000.0
        })
        .collect();
    let mut expected = values.clone();
    expected.sort_by(f64::total_cmp);
    assert_eq!(sorted(&values), expected);
    let (mut ticks, mut scratch) = (0, values.clone());
    order::sort(&mut values.clone(), &mut scratch, || ticks += 1);
    assert!(ticks >= 12, "{ticks} ticks");
}

#[test]
fn order_is_that_of_postgres() {
    let values = sorted(&[f64::NAN, 1.0, -0.0, f64::INFINITY, 0.0, -f64::NAN, f64::NEG_INFINITY, -1.0]);
    assert_eq!(values[..6], [f64::NEG_INFINITY, -1.0, 0.0, 0.0, 1.0, f64::INFINITY]);
    assert!(values[6].is_nan() && values[7].is_nan() && values[2].is_sign_positive());
}

#[test]
fn quantiles_are_those_of_numpy() {
    // numpy.quantile([1, 2, 4, 8, 16], p)
    let values = [1.0, 2.0, 4.0, 8.0, 16.0];
    for (p, expected) in [(0.0, 1.0), (0.1, 1.4), (0.25, 2.0), (0.5, 4.0), (0.9, 12.8), (1.0, 16.0)] {
        let got = order::quantile(&values, p).expect("values");
        assert!((got - expected).abs() < 1e-14, "{p}: {got}");
    }
    assert_eq!(order::quantile(&[], 0.5), None);
    assert_eq!(order::quantile(&[7.0], 0.3), Some(7.0));
    // Neither the difference nor an infinite end gives NaN.
    assert_eq!(order::quantile(&[-1.7e308, 1.7e308], 0.5), Some(0.0));
    assert_eq!(order::quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75), Some(f64::INFINITY));
    assert_eq!(order::quantile(&[1.0, f64::INFINITY], 0.5), Some(f64::INFINITY));
}

#[test]
fn buckets_of_the_published_example() {
    // BigQuery ML's documentation of ML.QUANTILE_BUCKETIZE: five numbers into three buckets.
    let values = [1.0, 2.0, 3.0, 4.0, 5.0];
    assert_eq!(values.map(|x| order::bucket(&values, x, 3)), [1, 2, 2, 3, 3]);
    assert_eq!(values.map(|x| order::bucket(&values, x, 1)), [1; 5]);
    assert_eq!(order::bucket(&values, 5.0, u32::MAX >> 1), u32::MAX >> 1);
    assert_eq!([-9.0, 9.0].map(|x| order::bucket(&values, x, 3)), [1, 3]);
    assert_eq!(order::bucket(&[2.0; 9], 2.0, 4), 4);
}

#[test]
fn scales_are_those_of_scikit_learn() {
    let values = [1.0, 2.0, 4.0, 8.0];
    let mut stats = Stats::EMPTY;
    values.iter().for_each(|x| stats.push(*x).expect("finite"));
    let apply = |scale: Option<Scale>| values.map(|x| scale.expect("values").apply(x));
    let near = |got: [f64; 4], expected: [f64; 4]| {
        got.iter()
            .zip(expected)
            .for_each(|(got, expected)| assert!((got - expected).abs() < 1e-12, "{got} {expected}"));
    };
    // StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler of scikit-learn 1.9.
    let deviation = 7.1875f64.sqrt();
    near(apply(Scale::standard(&stats)), [-2.75, -1.75, 0.25, 4.25].map(|x| x / deviation));
    near(apply(Scale::min_max(&stats)), [0.0, 1.0 / 7.0, 3.0 / 7.0, 1.0]);
    near(apply(Scale::max_abs(&stats)), [0.125, 0.25, 0.5, 1.0]);
    near(apply(Scale::robust(&values)), [-2.0 / 3.25, -1.0 / 3.25, 1.0 / 3.25, 5.0 / 3.25]);
}

#[test]
fn constant_columns_are_not_divided() {
    let mut stats = Stats::EMPTY;
    (0..1000).for_each(|_| stats.push(0.1).expect("finite"));
    for scale in [Scale::standard(&stats), Scale::min_max(&stats), Scale::robust(&[0.1; 9])] {
        assert_eq!(scale.expect("values").apply(0.1), 0.0);
    }
    assert_eq!(Scale::max_abs(&Stats::of_range(0.0, 0.0)).expect("values").apply(0.0), 0.0);
    // Below ten times the rounding of 1 a range is taken for none.
    assert_eq!(Scale::min_max(&Stats::of_range(0.0, 1e-15)).expect("values").apply(1e-15), 1e-15);
    assert_eq!(Scale::min_max(&Stats::of_range(0.0, 1e-14)).expect("values").apply(1e-14), 1.0);
    assert_eq!(Scale::standard(&Stats::EMPTY), None);
}

#[test]
fn the_widest_range_does_not_overflow() {
    let scale = Scale::min_max(&Stats::of_range(-1.7e308, 1.7e308)).expect("values");
    assert_eq!([-1.7e308, 0.0, 1.7e308].map(|x| scale.apply(x)), [0.0, 0.5, 1.0]);
    let robust = Scale::robust(&[-1.7e308, -1.7e308, 0.0, 1.7e308, 1.7e308]).expect("values");
    assert_eq!(robust.apply(1.7e308), 0.5);
}

#[test]
fn page_hinkley_refuses_bad_parameters() {
    let new =
        |n, delta, threshold, alpha, mode| Parameters::new(n, delta, threshold, alpha, mode).map(|_| ());
    assert_eq!(new(30, 0.005, 50.0, 0.9999, "both"), Ok(()));
    assert_eq!(Parameters::new(30, 0.005, 50.0, 1.0 - 0.0001, "both"), Ok(Parameters::default()));
    for (n, delta, threshold, alpha) in [
        (0, 0.005, 50.0, 0.9),
        (30, -0.1, 50.0, 0.9),
        (30, f64::NAN, 50.0, 0.9),
        (30, 0.1, f64::INFINITY, 0.9),
        (30, 0.1, 5.0, 0.0),
        (30, 0.1, 5.0, 1.5),
    ] {
        assert!(matches!(new(n, delta, threshold, alpha, "up"), Err(Error::Parameter { .. })), "{n} {delta}");
    }
    assert!(matches!(new(30, 0.1, 5.0, 0.9, "Both"), Err(Error::Word { .. })));
}

/// Positions as river 0.26.1 says, whose count begins at 0.
#[test]
fn page_hinkley_finds_a_step_and_starts_again() {
    let run = |mode: &str, step: f64| {
        let mut test = PageHinkley::new(Parameters::new(30, 0.005, 50.0, 0.9999, mode).expect("good"));
        let mut alarms = Vec::new();
        for position in 1..=2000i64 {
            test.push(f64::from(u8::from(position % 2 == 0)) + if position > 1000 { step } else { 0.0 });
            if test.drift() {
                assert_eq!(test.last_position(), Some(position));
                alarms.push(position);
            }
        }
        assert_eq!(test.drifts(), alarms.len() as i64);
        alarms
    };
    assert_eq!(run("up", 5.0), [1010]);
    assert_eq!(run("both", 5.0), [1010]);
    assert_eq!(run("down", 5.0), []);
    assert_eq!(run("down", -5.0), [1011]);
    assert_eq!(run("both", -5.0), [1011]);
    assert_eq!(run("up", -5.0), []);
}

proptest! {
    /// By definition, in quadratic time: the k-th bound is the first value that k/n of all do not exceed.
    #[test]
    fn buckets_are_those_of_the_definition(values in prop::collection::vec(-20i32..20, 1..60), n in 1u32..12) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let sorted = sorted(&values);
        for &x in &values {
            let begun = (1..n).filter(|k| {
                let rank = (*k as usize * sorted.len()).div_ceil(n as usize);
                sorted[rank - 1] <= x
            });
            let expected = 1 + begun.count() as u32;
            prop_assert_eq!(order::bucket(&sorted, x, n), expected);
            let mut kept = sorted.clone();
            match order::bounds(&mut kept, n) {
                Some(inner) => prop_assert_eq!(order::bucket_by(&kept[..inner], x), expected),
                None => prop_assert!(n as usize > sorted.len() + 1),
            }
        }
    }

    #[test]
    fn sets_hold_what_was_put_in(keys in prop::collection::vec(0u128..200, 0..120)) {
        let mut words = vec![0; flat::words::<2>(256)];
        let mut table = Table::<2>::new(&mut words);
        let mut expected = BTreeSet::new();
        for key in keys.iter().map(|key| key / 3 + ((key % 3) << 64)) {
            prop_assert!(table.entry(key).is_some());
            // 0 and 2^64 are one key: a word that is all zero is no entry.
            expected.insert(if key == 0 { 1 << 64 } else { key });
            prop_assert_eq!(table.len(), expected.len());
        }
        prop_assert_eq!(flat::entries::<2>(&words).map(|(key, _)| key).collect::<BTreeSet<_>>(), expected);
        prop_assert!(flat::is_table::<2>(&words));
        // A key in the wrong place, a wrong count, a wrong length.
        if !keys.is_empty() {
            let mut wrong = words.clone();
            wrong[0] += 1;
            prop_assert!(!flat::is_table::<2>(&wrong));
            prop_assert!(!flat::is_table::<2>(&words[..words.len() - 2]));
        }
    }

    #[test]
    fn merged_purchases_are_all(rows in prop::collection::vec((any::<i32>(), -1e6..1e9f64), 1..80), cut in any::<prop::sample::Index>()) {
        let of = |rows: &[(i32, f64)]| {
            let mut rfm = Rfm::default();
            rows.iter().for_each(|(at, amount)| rfm.push(i64::from(*at), *amount).expect("finite"));
            rfm
        };
        let (left, right) = rows.split_at(cut.index(rows.len() + 1));
        let mut merged = of(left);
        merged.merge(&of(right)).expect("finite");
        let sum: f64 = rows.iter().map(|row| row.1).sum();
        prop_assert_eq!(merged.frequency(), rows.len() as i64);
        prop_assert_eq!(merged.first(), rows.iter().map(|row| i64::from(row.0)).min());
        prop_assert_eq!(merged.last(), rows.iter().map(|row| i64::from(row.0)).max());
        prop_assert!((merged.monetary().expect("rows") - sum).abs() <= 1e-9 * sum.abs().max(1.0));
        let (whole, floats) = merged.parts();
        prop_assert_eq!(Rfm::from_parts(whole, floats), Some(merged));
    }
}

#[test]
fn sums_of_amounts_lose_nothing() {
    let mut rfm = Rfm::default();
    for amount in [1e16, 1.0, -1e16] {
        rfm.push(0, amount).expect("finite");
    }
    assert_eq!(rfm.monetary(), Some(1.0));
    let mut large = Rfm::default();
    large.push(0, 1.7e308).expect("finite");
    assert_eq!(large.push(0, 1.7e308), Err(Overflow));
    assert_eq!(Rfm::from_parts([1, 5, 4], [0.0, 0.0]), None);
    assert_eq!(Rfm::from_parts([0, 0, 0], [1.0, 0.0]), None);
    assert_eq!(Rfm::from_parts([-1, 0, 0], [0.0, 0.0]), None);
}
