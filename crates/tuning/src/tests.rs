//! Known functions, bounds, seeds, and searches that stop and go on.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use super::*;

/// Branin's function, turned over: three maxima of -0.397887.
fn branin(values: &[Value]) -> f64 {
    let [Value::Real(x), Value::Real(y)] = values else { panic!("two reals") };
    let pi = std::f64::consts::PI;
    let a = y - 5.1 / (4.0 * pi * pi) * x * x + 5.0 / pi * x - 6.0;
    -(a * a + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x.cos() + 10.0)
}

const BRANIN: [Domain; 2] =
    [Domain::Real { low: -5.0, high: 10.0, log: false }, Domain::Real { low: 0.0, high: 15.0, log: false }];

/// A recommender's settings: a choice that matters most, a logarithmic real, a whole number. At best 0.
fn mixed(values: &[Value]) -> f64 {
    let [Value::Choice(kind), Value::Real(penalty), Value::Integer(factors)] = values else {
        panic!("the mixed space")
    };
    let kind = [1.0, 0.0, 1.5, 2.0][*kind];
    -(kind + (penalty.log10() + 1.0).powi(2) + ((*factors as f64 / 96.0).log2() / 2.0).powi(2))
}

const MIXED: [Domain; 3] = [
    Domain::Choice(4),
    Domain::Real { low: 1e-5, high: 1e3, log: true },
    Domain::Integer { low: 8, high: 512, log: true },
];

/// Runs a search from the trials that there are to `until`.
fn go_on(
    space: &[Domain],
    trials: &mut Vec<Trial>,
    until: usize,
    method: Method,
    seed: u64,
    value: impl Fn(&[Value]) -> f64,
) {
    while trials.len() < until {
        let Some(values) = next(space, trials, method, seed) else { return };
        let outcome = Outcome::Finished(value(&values));
        trials.push(Trial { values, outcome });
    }
}

fn best_after(trials: &[Trial], count: usize) -> f64 {
    let values = trials[..count].iter().map(|trial| match trial.outcome {
        Outcome::Finished(value) => value,
        _ => f64::NEG_INFINITY,
    });
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// The mean over 100 seeds of the best of so many trials.
fn mean_best(space: &[Domain], count: usize, method: Method, value: impl Fn(&[Value]) -> f64) -> f64 {
    let bests = (0..100).map(|seed| {
        let mut trials = Vec::new();
        go_on(space, &mut trials, count, method, seed, &value);
        best_after(&trials, count)
    });
    bests.sum::<f64>() / 100.0
}

#[test]
fn tpe_needs_half_the_trials_of_random_search() {
    for (name, space, value) in
        [("Branin", &BRANIN[..], branin as fn(&[Value]) -> f64), ("mixed", &MIXED[..], mixed)]
    {
        let tpe = mean_best(space, 80, Method::Tpe, value);
        let random = mean_best(space, 160, Method::Random, value);
        assert!(tpe > random, "{name}: {tpe} after 80 against {random} after 160");
    }
}

#[test]
fn values_stay_within_bounds_and_are_never_tried_twice() {
    for method in [Method::Tpe, Method::Random, Method::Grid { levels: 4 }] {
        let mut trials = Vec::new();
        // The best lies at an end, where candidates crowd against the bound.
        go_on(&MIXED, &mut trials, 60, method, 7, |values| match values[1] {
            Value::Real(penalty) => penalty,
            _ => 0.0,
        });
        assert_eq!(trials.len(), 60, "{method:?}");
        for (at, trial) in trials.iter().enumerate() {
            assert!(
                MIXED.iter().zip(&trial.values).all(|(domain, &value)| domain.contains(value)),
                "{trial:?}"
            );
            assert!(!trials[..at].iter().any(|before| before.values == trial.values), "{trial:?}");
        }
    }
}

#[test]
fn a_resumed_search_equals_one_that_ran_through() {
    for method in [Method::Tpe, Method::Random, Method::Grid { levels: 3 }] {
        let mut whole = Vec::new();
        go_on(&MIXED, &mut whole, 30, method, 42, mixed);
        for stop in [1, 9, 10, 17] {
            let mut parts = whole[..stop].to_vec();
            go_on(&MIXED, &mut parts, 30, method, 42, mixed);
            assert_eq!(parts, whole, "{method:?} resumed after {stop}");
        }
    }
}

#[test]
fn seeds_give_searches_of_their_own() {
    let run = |seed| {
        let mut trials = Vec::new();
        go_on(&MIXED, &mut trials, 25, Method::Tpe, seed, mixed);
        trials
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_space_of_few_points_ends() {
    let space = [Domain::Choice(2), Domain::Integer { low: 1, high: 6, log: false }, Domain::Choice(1)];
    for method in [Method::Tpe, Method::Random, Method::Grid { levels: 100 }] {
        let mut trials = Vec::new();
        go_on(&space, &mut trials, 100, method, 3, |_| 1.0);
        assert_eq!(trials.len(), 12, "{method:?}");
    }
}

#[test]
fn a_grid_has_both_ends() {
    let space = [
        Domain::Real { low: 0.01, high: 100.0, log: true },
        Domain::Integer { low: 16, high: 64, log: true },
    ];
    let points: Vec<_> = (0..).map_while(|at| grid::point(&space, 3, at)).collect();
    let near = |value: Value, expected: f64| match value {
        Value::Real(real) => (real / expected - 1.0).abs() < 1e-12,
        _ => false,
    };
    assert_eq!(points.len(), 9);
    for (at, real) in [0.01, 1.0, 100.0].into_iter().enumerate() {
        for (place, whole) in [16, 32, 64].into_iter().enumerate() {
            let point = &points[3 * at + place];
            assert!(near(point[0], real) && point[1] == Value::Integer(whole), "{point:?}");
        }
    }
}

#[test]
fn failures_drive_the_search_away() {
    // Everything above a half fails; the rest is equal.
    let space = [Domain::Real { low: 0.0, high: 1.0, log: false }];
    let mut trials: Vec<Trial> = Vec::new();
    while trials.len() < 60 {
        let Some(values) = next(&space, &trials, Method::Tpe, 5) else { panic!("reals never end") };
        let failed = matches!(values[0], Value::Real(x) if x > 0.5);
        let outcome = if failed { Outcome::Failed } else { Outcome::Finished(1.0) };
        trials.push(Trial { values, outcome });
    }
    let failed = trials[10..].iter().filter(|trial| trial.outcome == Outcome::Failed).count();
    assert!(failed <= 10, "{failed} of 50 trials failed");
}

#[test]
fn abandoned_trials_rank_below_finished_ones() {
    // An abandoned trial has the higher value so far, yet the finished ones are the best.
    let space = [Domain::Choice(2)];
    let of = |choice, outcome| Trial { values: vec![Value::Choice(choice)], outcome };
    let mut trials = vec![of(0, Outcome::Finished(0.1)); 8];
    trials.extend(vec![of(1, Outcome::Abandoned(0.9)); 24]);
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let points: Vec<_> = (0..20).map(|_| tpe::point(&space, &trials, &mut generator)).collect();
    assert!(points.iter().all(|point| point[0] == Value::Choice(0)), "{points:?}");
}

#[test]
fn the_median_rule() {
    let others: Vec<Vec<f64>> = [0.1, 0.2, 0.3, 0.4, 0.5].map(|first| vec![first, 1.0]).to_vec();
    let views = || others.iter().map(Vec::as_slice);
    assert!(below_median(&[0.29], views()));
    // As good as the median goes on.
    assert!(!below_median(&[0.3], views()));
    // Means count, not the last step.
    assert!(!below_median(&[0.9, 0.5], views()));
    assert!(below_median(&[0.0, 1.2], views()));
    // Nobody came as far, too few did, and nothing was reached.
    assert!(!below_median(&[0.0, 0.0, 0.0], views()));
    assert!(!below_median(&[0.0], views().take(4)));
    assert!(!below_median(&[], views()));
    // An even number of others.
    let six: Vec<Vec<f64>> = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6].map(|first| vec![first]).to_vec();
    assert!(below_median(&[0.349], six.iter().map(Vec::as_slice)));
    assert!(!below_median(&[0.351], six.iter().map(Vec::as_slice)));
}
