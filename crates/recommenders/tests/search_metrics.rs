//! Metrics against hand-computed values and against those of a reference in Python, whose `rank_metrics` has
//! the same definitions (arguments: ranked, set of relevant, k).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use recommenders::metrics::{Estimate, Ranking, Summary, rank_metrics};

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-15, "{left} {right}");
}

fn check(ranking: &Ranking, expected: [f64; 6]) {
    let Ranking { precision, recall, ndcg, map, hit_rate, mrr, .. } = *ranking;
    for (found, expected) in [precision, recall, ndcg, map, hit_rate, mrr].into_iter().zip(expected) {
        close(found, expected);
    }
}

/// Seven users and what the reference answers: precision, recall, nDCG, MAP, hit rate, MRR.
type Case = (&'static [u32], &'static [u32], usize, [f64; 6]);

const CASES: [Case; 7] = [
    // rank_metrics([5,1,9,3,7], {1,3,8}, 5)
    (
        &[5, 1, 9, 3, 7],
        &[1, 3, 8],
        5,
        [0.4, 0.6666666666666666, 0.49818925746641285, 0.3333333333333333, 1.0, 0.5],
    ),
    // rank_metrics([5,1,9,3,7], {1,3,8}, 2)
    (&[5, 1, 9, 3, 7], &[1, 3, 8], 2, [0.5, 0.3333333333333333, 0.38685280723454163, 0.25, 1.0, 0.5]),
    // rank_metrics([5,1,9], {1,3,8,9}, 10)
    (&[5, 1, 9], &[1, 3, 8, 9], 10, [0.2, 0.5, 0.44149241373678083, 0.29166666666666663, 1.0, 0.5]),
    // rank_metrics([2,4,6,8], {1,3}, 4)
    (&[2, 4, 6, 8], &[1, 3], 4, [0.0; 6]),
    // rank_metrics([7,2,0,4,1,3,9,8,6,5], {7,0,9,5}, 10)
    (
        &[7, 2, 0, 4, 1, 3, 9, 8, 6, 5],
        &[0, 5, 7, 9],
        10,
        [0.4, 1.0, 0.8285418996677884, 0.6238095238095237, 1.0, 1.0],
    ),
    // rank_metrics([1,2,3], {1,2,3}, 3)
    (&[1, 2, 3], &[1, 2, 3], 3, [1.0; 6]),
    // rank_metrics([4], {4,5,6,7,8}, 1)
    (&[4], &[4, 5, 6, 7, 8], 1, [1.0, 0.2, 1.0, 1.0, 1.0, 1.0]),
];

#[test]
fn rankings_are_measured_as_by_the_reference() {
    for (ranked, relevant, k, expected) in CASES {
        check(&rank_metrics(ranked, relevant, k), expected);
    }
}

#[test]
fn rankings_are_measured_as_by_hand() {
    // Hits at positions 1 and 3 of 4, three relevant items.
    let ranking = rank_metrics(&[10, 11, 12, 13], &[10, 12, 99], 4);
    let ndcg = (1.0 + 0.5) / (1.0 + 1.0 / 3f64.log2() + 0.5);
    check(&ranking, [2.0 / 4.0, 2.0 / 3.0, ndcg, (1.0 + 2.0 / 3.0) / 3.0, 1.0, 1.0]);
    // A short list: precision still divides by k.
    check(&rank_metrics(&[8], &[8], 10), [0.1, 1.0, 1.0, 1.0, 1.0, 1.0]);
    check(&rank_metrics(&[], &[8], 10), [0.0; 6]);
}

#[test]
fn nothing_relevant_and_no_places_measure_nothing() {
    check(&rank_metrics(&[1, 2], &[], 10), [0.0; 6]);
    check(&rank_metrics(&[1, 2], &[1], 0), [0.0; 6]);
    assert_eq!(Summary::new(5).estimates(), None);
}

fn summary(cases: &[Case]) -> Summary {
    let mut summary = Summary::new(12);
    for &(ranked, relevant, k, _) in cases {
        summary.add(&rank_metrics(ranked, relevant, k), &ranked[..k.min(ranked.len())]);
    }
    summary
}

#[test]
fn means_and_standard_errors_are_those_of_the_reference() {
    let estimates = summary(&CASES).estimates().unwrap();
    // Mean and statistics.stdev(values) / sqrt(7) over the seven answers of the reference.
    for (found, mean, error) in [
        (estimates.precision, 0.5, 0.14309504001254017),
        (estimates.recall, 0.5285714285714286, 0.1455565075872),
        (estimates.ndcg, 0.5935823397293605, 0.13911838940289598),
        (estimates.map, 0.4998299319727891, 0.14630440797313818),
        (estimates.hit_rate, 0.8571428571428571, 0.14285714285714285),
        (estimates.mrr, 0.6428571428571429, 0.14285714285714285),
    ] {
        let Estimate { mean: found_mean, standard_error: Some(found_error) } = found else { panic!() };
        assert!((found_mean - mean).abs() < 1e-13 && (found_error - error).abs() < 1e-13, "{found:?}");
        let (low, high) = found.interval().unwrap();
        assert!((high - low - 2.0 * 1.959963984540054 * error).abs() < 1e-12);
    }
    assert_eq!(estimates.users, 7);
    // The items 0 to 9 were shown, 10 and 11 were not.
    close(estimates.coverage, 10.0 / 12.0);
}

#[test]
fn the_order_of_users_and_of_merges_changes_no_bit() {
    let whole = summary(&CASES);
    let mut turned = CASES;
    turned.reverse();
    assert_eq!(summary(&turned), whole);
    for cut in 0..=CASES.len() {
        let (mut left, right) = (summary(&CASES[..cut]), summary(&CASES[cut..]));
        left.merge(&right);
        assert_eq!(left, whole);
        assert_eq!(left.estimates(), whole.estimates());
    }
}

#[test]
fn one_user_has_no_error_and_equal_users_have_none_to_speak_of() {
    let one = summary(&CASES[..1]).estimates().unwrap();
    assert_eq!((one.recall.standard_error, one.recall.interval()), (None, None));
    let equal = summary(&[CASES[0]; 1000]).estimates().unwrap();
    assert_eq!(equal.recall.standard_error, Some(0.0));
    assert!((equal.recall.mean - 2.0 / 3.0).abs() < 1e-13);
}

#[test]
fn items_outside_the_catalogue_are_not_covered() {
    let mut summary = Summary::new(65);
    summary.add(&Ranking::default(), &[0, 64, 64, 65, u32::MAX]);
    close(summary.estimates().unwrap().coverage, 2.0 / 65.0);
}
