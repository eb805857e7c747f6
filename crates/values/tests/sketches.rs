//! Summaries of distributions beside sorted vectors and hash maps; PSI and the test of Kolmogorov and Smirnov beside
//! their definitions and scipy.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use base::{Overflow, flat, order};
use proptest::prelude::*;
use values::quantiles::{self, BLOCK, Distribution};
use values::{categories, ks, psi};

fn push(words: &mut Vec<u64>, x: f64) {
    if !quantiles::has_room(words) {
        let mut larger = vec![0; quantiles::grown(words)];
        quantiles::grow(words, &mut larger);
        *words = larger;
        assert!(quantiles::has_room(words));
    }
    quantiles::push(words, x);
}

fn summary(values: &[f64]) -> Vec<u64> {
    let mut words = Vec::new();
    values.iter().for_each(|x| push(&mut words, *x));
    words
}

fn merged(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut words = vec![0; quantiles::words(quantiles::count(a) + quantiles::count(b))];
    quantiles::grow(&[], &mut words);
    quantiles::merge(&mut words, a);
    quantiles::merge(&mut words, b);
    words
}

/// Numbers of a linear congruence, in no order.
fn noise(count: usize, seed: u64) -> Vec<f64> {
    let mut x = seed;
    (0..count)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect()
}

/// The greatest difference between the share at or below a number and what the summary says, in numbers.
fn worst_rank(values: &[f64], words: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let distribution = Distribution::of(words).expect("numbers");
    let shares = distribution.shares_to(&sorted);
    let n = values.len() as f64;
    shares
        .iter()
        .zip(&sorted)
        .map(|(share, x)| (share * n - sorted.partition_point(|y| y <= x) as f64).abs())
        .fold(0.0, f64::max)
}

#[test]
fn exact_up_to_two_blocks() {
    for count in [1, 2, 15, 16, 17, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1] {
        let values = noise(count, 7);
        let words = summary(&values);
        assert!(quantiles::is_valid(&words), "{count}");
        assert_eq!(quantiles::rank_error(&words), 0);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let distribution = Distribution::of(&words).expect("numbers");
        let places: Vec<f64> = (0..=40).map(|k| f64::from(k) / 40.0).collect();
        let expected: Vec<f64> =
            places.iter().map(|p| order::quantile(&sorted, *p).expect("numbers")).collect();
        assert_eq!(distribution.quantiles(&places), expected, "{count}");
    }
}

#[test]
fn above_that_ranks_are_within_what_the_summary_says() {
    for (count, ascending) in [(2 * BLOCK, false), (100_000, false), (1_000_000, false), (1_000_000, true)] {
        let mut values = noise(count, 3);
        if ascending {
            values.sort_by(f64::total_cmp);
        }
        let words = summary(&values);
        assert!(quantiles::is_valid(&words));
        let said = quantiles::rank_error(&words) as f64;
        let bound = count as f64 * (count as f64 / BLOCK as f64).log2() / (2 * BLOCK) as f64;
        let got = worst_rank(&values, &words);
        assert!(
            got <= said && said <= bound && said > 0.0,
            "{count}: off by {got}, says {said}, bound {bound}"
        );
        assert!(words.len() <= 6 + BLOCK * 10, "{} words", words.len());
        let distribution = Distribution::of(&words).expect("numbers");
        let ends = values.iter().fold((1.0f64, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
        assert_eq!((distribution.quantile(0.0), distribution.quantile(1.0)), ends);
    }
}

#[test]
fn parts_in_any_order_stay_within_what_the_summary_says() {
    let values = noise(300_000, 11);
    for cuts in [&[0, 300_000][..], &[0, 1, 5_000, 5_000, 300_000], &[0, 4_096, 100_000, 299_999, 300_000]] {
        let mut whole = Vec::new();
        for pair in cuts.windows(2) {
            whole = merged(&whole, &summary(&values[pair[0]..pair[1]]));
            assert!(quantiles::is_valid(&whole));
        }
        assert_eq!(quantiles::count(&whole), 300_000);
        let got = worst_rank(&values, &whole);
        assert!(got <= quantiles::rank_error(&whole) as f64, "{cuts:?}: {got}");
        assert!(quantiles::rank_error(&whole) < 300, "{}", quantiles::rank_error(&whole));
    }
}

#[test]
fn damaged_summaries_are_refused() {
    let words = summary(&noise(10_000, 5));
    assert!(quantiles::is_valid(&words));
    for (at, value) in [
        (0, 0),
        (0, 9_999_999),
        (0, u64::MAX),
        (1, u64::MAX),
        (3, 17),
        (3, u64::MAX),
        (4, 2f64.to_bits()),
        (5, f64::NAN.to_bits() | 1),
        (6, 2f64.to_bits()),
        (6 + BLOCK * 2 + 9, 0f64.to_bits() | 1 << 63),
        (6 + BLOCK * 2 + 9, 0.999f64.to_bits()),
    ] {
        let mut wrong = words.clone();
        wrong[at] = value;
        assert!(!quantiles::is_valid(&wrong), "word {at} = {value}");
    }
    for length in [1, 5, 6, 100, words.len() - 1] {
        assert!(!quantiles::is_valid(&words[..length]), "{length} words");
    }
}

#[test]
fn the_test_is_that_of_scipy() {
    let test = |a: &[f64], b: &[f64]| {
        ks::ks_test(
            &Distribution::of(&summary(a)).expect("numbers"),
            &Distribution::of(&summary(b)).expect("numbers"),
        )
    };
    // scipy.stats.ks_2samp, exact.
    let (d, p) = test(&[1.0, 2.0, 3.0, 4.0, 5.0], &[3.5, 4.5, 5.5, 6.5]);
    assert!((d - 0.6).abs() < 1e-15 && (p - 0.285_714_285_714_285_7).abs() < 1e-12, "{d} {p}");
    let a: Vec<f64> = (0..100).map(|i| f64::from(i * i % 101)).collect();
    let b: Vec<f64> = (0..70).map(|i| f64::from(i * 7 % 83) + 15.0).collect();
    let (d, p) = test(&a, &b);
    assert!(
        (d - 0.177_142_857_142_857_13).abs() < 1e-12 && (p - 0.132_304_706_952_731_3).abs() < 1e-10,
        "{d} {p}"
    );
    assert_eq!(test(&a, &a), (0.0, 1.0));
    assert_eq!(test(&[1.0; 5], &[2.0; 5]).0, 1.0);
    // scipy.stats.ks_2samp, asymptotic, for 20000 and 30000 numbers.
    let a: Vec<f64> = (0..20_000).map(|i| f64::from(i * 7919 % 20_000)).collect();
    let b: Vec<f64> = (0..30_000).map(|i| f64::from(i * 7919 % 30_000) / 1.5 + 200.0).collect();
    let (d, p) = test(&a, &b);
    assert!(
        (d - 0.010_033_333_333_333_394).abs() < 2e-3 && (p / 0.177_235_655_284_676).ln().abs() < 0.6,
        "{d} {p}"
    );
}

#[test]
fn psi_over_deciles_of_the_reference() {
    let of = |values: &[f64]| Distribution::of(&summary(values)).expect("numbers");
    let reference: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(psi::of_numbers(&of(&reference), &of(&reference), 10), 0.0);
    // Half of everything above all: the last bin has 0.05 + 0.5, the others 0.05 each.
    let moved: Vec<f64> = (1..=100).map(|i| f64::from(if i % 2 == 0 { i } else { 1000 })).collect();
    let expected = 9.0 * (0.05 - 0.1) * (0.05f64 / 0.1).ln() + (0.55 - 0.1) * (0.55f64 / 0.1).ln();
    assert!((psi::of_numbers(&of(&reference), &of(&moved), 10) - expected).abs() < 1e-12);
    // Nine tenths are one number: deciles that coincide are one bound, and empty bins count as 1e-4.
    let heavy: Vec<f64> = (0..100).map(|i| f64::from((i - 89).max(0))).collect();
    let outside = psi::of_numbers(&of(&heavy), &of(&[50.0; 10]), 10);
    let bound_share = 0.9f64;
    let expected = (1e-4 - bound_share) * (1e-4f64 / bound_share).ln() + (1.0 - 0.1) * (1.0f64 / 0.1).ln();
    assert!((outside - expected).abs() < 1e-9, "{outside} {expected}");
    // Just above the number that nine deciles share is still its bin.
    let inside = psi::of_numbers(&of(&heavy), &of(&[0.05; 10]), 10);
    let expected = (1.0 - bound_share) * (1.0 / bound_share).ln() + (1e-4 - 0.1) * (1e-4f64 / 0.1).ln();
    assert!((inside - expected).abs() < 1e-9, "{inside} {expected}");
}

fn count(words: &mut Vec<u64>, key: u128, rows: u64) {
    while !categories::push(words, key, rows) {
        match categories::grown(words) {
            Some(length) => {
                let mut larger = vec![0; length];
                categories::grow(words, &mut larger);
                *words = larger;
            }
            None => categories::shrink(words),
        }
    }
}

fn merge(words: &mut Vec<u64>, other: &[u64]) {
    categories::parts(other).0.into_iter().for_each(|(key, rows)| count(words, key, rows));
    categories::add_rest(words, other);
}

#[test]
fn many_categories_stay_within_what_the_summary_says() {
    // A Zipf-like distribution over 20000 categories, in two parts.
    let mut exact = HashMap::new();
    let mut parts = [Vec::new(), Vec::new()];
    for (row, x) in noise(400_000, 13).into_iter().enumerate() {
        let key = flat::key_of(&((20_000f64.powf(x)) as u32).to_le_bytes());
        *exact.entry(key).or_insert(0u64) += 1;
        count(&mut parts[row % 2], key, 1);
    }
    let [mut whole, other] = parts;
    assert!(exact.len() > 3072);
    merge(&mut whole, &other);
    assert!(categories::is_valid(&whole));
    assert_eq!(categories::rows(&whole), 400_000);
    let error = categories::error(&whole);
    assert!(error > 0 && error <= 400_000 / 1536, "{error}");
    let got: HashMap<u128, u64> = categories::parts(&whole).0.into_iter().collect();
    for (key, rows) in exact {
        let said = got.get(&key).copied().unwrap_or(0);
        assert!(said <= rows && rows - said <= error, "{said} of {rows}, error {error}");
    }
    let mut wrong = whole.clone();
    wrong[0] = 5;
    assert!(!categories::is_valid(&wrong));
    assert!(!categories::is_valid(&whole[..40]));
}

#[test]
fn keys_of_texts_are_fnv() {
    // The published test vectors of FNV-1a in 128 bits.
    assert_eq!(flat::key_of(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    assert_eq!(flat::key_of(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
}

proptest! {
    #[test]
    fn few_categories_are_exact(rows in prop::collection::vec(0u32..40, 0..300), cut in any::<prop::sample::Index>()) {
        let of = |rows: &[u32]| {
            let mut words = Vec::new();
            rows.iter().for_each(|row| count(&mut words, flat::key_of(&row.to_le_bytes()), 1));
            words
        };
        let (left, right) = rows.split_at(cut.index(rows.len() + 1));
        let (mut whole, right) = (of(left), of(right));
        if !right.is_empty() {
            merge(&mut whole, &right);
        }
        prop_assert!(categories::is_valid(&whole));
        let expected = of(&rows);
        prop_assert_eq!(categories::parts(&whole), categories::parts(&expected));
        prop_assert_eq!(categories::error(&whole), 0);
        if !rows.is_empty() {
            prop_assert!(psi::psi(categories::shares(&whole, &expected).into_iter()) == 0.0);
        }
    }
}

/// Merging a summary with itself again and again counts beyond what it can hold: that is said, not wrapped.
#[test]
fn counts_end_where_they_must() {
    let mut numbers = summary(&noise(100, 3));
    while quantiles::total(&numbers, &numbers).is_ok() {
        numbers = merged(&numbers, &numbers);
        assert!(quantiles::is_valid(&numbers));
    }
    assert_eq!(quantiles::total(&numbers, &numbers), Err(Overflow));
    assert!(quantiles::count(&numbers) > 1 << 49);

    let mut kinds = Vec::new();
    (0u8..5).for_each(|kind| count(&mut kinds, flat::key_of(&[kind]), 20));
    while categories::total(&kinds, &kinds).is_ok() {
        let other = kinds.clone();
        merge(&mut kinds, &other);
        assert!(categories::is_valid(&kinds));
    }
    assert_eq!(categories::total(&kinds, &kinds), Err(Overflow));
    assert!(i64::try_from(categories::rows(&kinds)).is_ok_and(|rows| rows > i64::MAX / 2));
}
