//! Behaviour: the same bits every time, errors, cancellation, time.

use std::time::{Duration, Instant};

use base::{Control, Error};
use recommenders::als::{self, Params, Solver};
use recommenders::factors::Factors;

use crate::{fit, matrices, random};

#[test]
fn threads_change_no_bit() {
    let (user_items, item_users) = matrices(9000, 500, &random(9000, 500, 60_000));
    let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
    for (factors, solver) in [10, 64].into_iter().flat_map(|factors| solvers.map(|each| (factors, each))) {
        let one = Params { factors, solver, iterations: 3, seed: 7, ..Params::default() };
        let start = als::start(9000, 500, &one, &Control::unlimited()).unwrap();
        let (model, losses) = fit(&user_items, &item_users, start.clone(), &one);
        for threads in [1, 2, 3] {
            let params = Params { threads, ..one.clone() };
            let again = als::start(9000, 500, &params, &Control::unlimited()).unwrap();
            assert_eq!(again, start);
            assert_eq!(fit(&user_items, &item_users, again, &params), (model.clone(), losses.clone()));
            let gram = |threads| als::gram(&model.users, factors, threads, &Control::unlimited()).unwrap();
            assert_eq!(gram(1), gram(threads));
        }
    }
}

#[test]
fn start_factors_are_stable_and_normal() {
    let params = Params { factors: 64, seed: 42, ..Params::default() };
    let start = als::start(3000, 2000, &params, &Control::unlimited()).unwrap();
    for rows in [&start.users, &start.items] {
        let mean = rows.iter().map(|&each| f64::from(each)).sum::<f64>() / rows.len() as f64;
        let variance = rows.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>() / rows.len() as f64;
        assert!(mean.abs() < 1e-4 && (variance.sqrt() - 0.01).abs() < 1e-4, "{mean} {variance}");
    }
    assert_ne!(start.users[..100], start.items[..100]);
    assert_ne!(start.users[..64], start.users[1024 * 64..][..64]);
    assert_ne!(start, als::start(3000, 2000, &Params { seed: 43, ..params }, &Control::unlimited()).unwrap());
}

#[test]
fn degenerate_inputs_give_finite_factors() {
    type Entries = Vec<(usize, usize, f32)>;
    let all = |users: usize, items: usize| -> Entries {
        (0..users * items).map(|at| (at / items, at % items, 1.0)).collect()
    };
    let cases: Vec<(usize, usize, Entries)> = vec![
        (0, 0, vec![]),
        (5, 4, vec![]),
        (0, 4, vec![]),
        (1, 1, vec![(0, 0, 1.0)]),
        (1, 50, all(1, 50)),
        (50, 1, all(50, 1)),
        (30, 20, all(30, 20)),
        (30, 20, vec![(3, 4, 0.0), (3, 5, 1e-30), (4, 4, 1e6)]),
        (40, 30, random(40, 30, 300)),
    ];
    for (users, items, entries) in cases {
        let (user_items, item_users) = matrices(users, items, &entries);
        let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
        for (factors, solver) in
            [1, 16, 70].into_iter().flat_map(|factors| solvers.map(|each| (factors, each)))
        {
            for (alpha, regularization) in
                [(1.0, 0.1), (1.0, 0.0), (1e6, 0.0), (1e-6, 0.0), (1e6, 0.1), (40.0, 1e6)]
            {
                let params = Params {
                    factors,
                    alpha,
                    regularization,
                    solver,
                    iterations: 6,
                    threads: 2,
                    ..Params::default()
                };
                let start = als::start(users, items, &params, &Control::unlimited()).unwrap();
                let (model, losses) = fit(&user_items, &item_users, start.clone(), &params);
                let context =
                    format!("{users} {items} {factors} {solver:?} {alpha} {regularization} {losses:?}");
                assert!(model.users.iter().chain(&model.items).all(|each| each.is_finite()), "{context}");
                let before = als::loss(&user_items, &start, &params);
                assert!(als::loss(&user_items, &model, &params) <= before * 1.0001, "{before} {context}");
                for user in 0..users {
                    if user_items.row(user).0.is_empty() {
                        assert!(model.users[user * factors..][..factors].iter().all(|&each| each == 0.0));
                    }
                }
            }
        }
    }
}

#[test]
fn numbers_beyond_f32_are_an_error() {
    let (user_items, item_users) = matrices(20, 10, &random(20, 10, 100));
    for solver in [Solver::ConjugateGradient, Solver::Cholesky] {
        let params = Params { factors: 8, solver, ..Params::default() };
        let start = als::start(20, 10, &params, &Control::unlimited()).unwrap();
        let run = |start: Factors, params: &Params| {
            als::fit(&user_items, &item_users, start, params, &Control::unlimited(), &mut |_, _| ())
        };
        let huge = Params { alpha: 1e300, ..params.clone() };
        assert_eq!(run(start.clone(), &huge), Err(Error::Diverged { iterations: 0 }));
        let mut broken = start.clone();
        broken.items[3] = f32::NAN;
        assert_eq!(run(broken, &params), Err(Error::Diverged { iterations: 0 }));
        let mut large = start;
        large.items.fill(1e30);
        assert_eq!(run(large, &params), Err(Error::Diverged { iterations: 0 }));
    }
}

#[test]
fn parameters_and_shapes_are_checked() {
    let good = Params::default();
    let wrong = [
        ("factors", Params { factors: 0, ..good.clone() }),
        ("factors", Params { factors: als::MAX_FACTORS + 1, ..good.clone() }),
        ("regularization", Params { regularization: -0.1, ..good.clone() }),
        ("regularization", Params { regularization: f64::NAN, ..good.clone() }),
        ("alpha", Params { alpha: 0.0, ..good.clone() }),
        ("alpha", Params { alpha: f64::INFINITY, ..good.clone() }),
        ("iterations", Params { iterations: 0, ..good.clone() }),
        ("iterations", Params { iterations: 10_001, ..good.clone() }),
        ("cg_steps", Params { cg_steps: 0, ..good.clone() }),
        ("threads", Params { threads: 0, ..good.clone() }),
    ];
    for (expected, params) in wrong {
        assert!(matches!(params.check(), Err(Error::Parameter { name, .. }) if name == expected));
        assert!(als::start(1, 1, &params, &Control::unlimited()).is_err());
    }
    let (user_items, item_users) = matrices(20, 10, &random(20, 10, 100));
    let control = Control::unlimited();
    for (users, items) in [(20, 9), (19, 10), (10, 20)] {
        let start = als::start(users, items, &good, &Control::unlimited()).unwrap();
        let result = als::fit(&user_items, &item_users, start, &good, &control, &mut |_, _| ());
        assert!(matches!(result, Err(Error::Corrupted(_))));
    }
    let start = als::start(20, 10, &good, &Control::unlimited()).unwrap();
    let result = als::fit(&user_items, &user_items, start, &good, &control, &mut |_, _| ());
    assert!(matches!(result, Err(Error::Corrupted(_))));
}

#[test]
fn cancelling_stops_within_50_ms() {
    // Item 0 belongs to every user: a row of its own that takes long.
    let mut entries: Vec<_> = (0..200_000).map(|user| (user, 0, 1.0)).collect();
    entries.extend((0..200_000).map(|user| (user, 1 + user % 99, 1.0)));
    let (user_items, item_users) = matrices(200_000, 100, &entries);
    let mut slowest = Duration::ZERO;
    for (wait, solver) in [
        (20, Solver::Cholesky),
        (55, Solver::ConjugateGradient),
        (90, Solver::Cholesky),
        (120, Solver::ConjugateGradient),
    ] {
        let params = Params { factors: 64, iterations: 10_000, threads: 2, solver, ..Params::default() };
        let start = als::start(200_000, 100, &params, &Control::unlimited()).unwrap();
        let control = Control::unlimited();
        let (result, ended, asked) = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let result = als::fit(&user_items, &item_users, start, &params, &control, &mut |_, _| ());
                (result, Instant::now())
            });
            while control.progress().0 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(wait));
            let asked = Instant::now();
            control.cancel();
            let (result, ended) = work.join().unwrap();
            (result, ended, asked)
        });
        assert_eq!(result, Err(Error::Cancelled));
        assert_eq!(control.used(), 0);
        slowest = slowest.max(ended.saturating_duration_since(asked));
    }
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[test]
fn folding_in_takes_less_than_a_millisecond() {
    let params = Params { factors: 64, regularization: 0.1, alpha: 10.0, iterations: 3, ..Params::default() };
    let (user_items, item_users) = matrices(2000, 5000, &random(2000, 5000, 60_000));
    let start = als::start(2000, 5000, &params, &Control::unlimited()).unwrap();
    let (model, _) = fit(&user_items, &item_users, start, &params);
    let gram = als::gram(&model.items, 64, 1, &Control::unlimited()).unwrap();
    let items: Vec<u32> = (0..100).map(|each| each * 49).collect();
    let values = vec![2.0; 100];
    let fastest = (0..20)
        .map(|_| {
            let begun = Instant::now();
            let folded = als::fold_in(&gram, &model.items, 64, &items, &values, 0.1, 10.0);
            assert!(folded.iter().any(|&each| each != 0.0));
            begun.elapsed()
        })
        .min();
    assert!(fastest < Some(Duration::from_millis(1)), "{fastest:?}");
}
