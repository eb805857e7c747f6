//! Behaviour: the same bits every time, errors, cancellation, whatever comes in.

use std::time::{Duration, Instant};

use base::{Control, Csr, Error};
use proptest::prelude::*;
use recommenders::factors::Factors;
use recommenders::sgd::{self, Loss, Optimizer, Params, Sampling, Validation};

use crate::{LOSSES, fit, matrices, uniform};

/// Enough entries for many parts.
fn many() -> (Csr, Csr) {
    let mut draw = uniform(5);
    let mut pairs: Vec<(usize, usize)> =
        (0..120_000).map(|_| ((draw() * 3000.0) as usize, (draw() * draw() * 400.0) as usize)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let value = |user: usize, item: usize| (1 + (user * 7 + item) % 4) as f32;
    matrices(
        3000,
        400,
        &pairs.into_iter().map(|(user, item)| (user, item, value(user, item))).collect::<Vec<_>>(),
    )
}

#[test]
fn threads_change_no_bit_and_seeds_do() {
    let data = many();
    for loss in LOSSES {
        let one = Params { factors: 8, iterations: 2, seed: 7, ..Params::of(loss) };
        let fitted = fit(&data, &one);
        for threads in [1, 2, 5] {
            assert_eq!(fit(&data, &Params { threads, ..one.clone() }), fitted);
        }
        assert_ne!(fit(&data, &Params { seed: 8, ..one.clone() }).losses, fitted.losses);
    }
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
        // No negative exists.
        (1, 1, vec![(0, 0, 1.0)]),
        (1, 50, all(1, 50)),
        (50, 1, all(50, 1)),
        (30, 20, all(30, 20)),
        // Somebody has everything, somebody nothing.
        (3, 20, (0..20).map(|item| (0, item, 1.0)).chain([(2, 3, 1.0)]).collect()),
        (30, 20, vec![(3, 4, 0.0), (3, 5, 1e-30), (4, 4, -1.0)]),
    ];
    for (users, items, entries) in cases {
        let data = matrices(users, items, &entries);
        for loss in LOSSES {
            for (optimizer, batch_size, sampling, biases, dropout) in [
                (Optimizer::Sgd, 1, Sampling::Uniform, true, 0.0),
                (Optimizer::Adagrad, 1, Sampling::Popularity, false, 0.5),
                (Optimizer::Adam, 3, Sampling::Uniform, true, 0.9),
            ] {
                let params = Params {
                    factors: 3,
                    iterations: 3,
                    negatives: 2,
                    threads: 2,
                    optimizer,
                    batch_size,
                    sampling,
                    biases,
                    dropout,
                    ..Params::of(loss)
                };
                let fitted = fit(&data, &params);
                let Factors { users: rows, items: columns, .. } = &fitted.model.factors;
                assert!(rows.iter().chain(columns).all(|each| each.is_finite()), "{params:?}");
                for user in (0..users).filter(|&user| data.0.row(user).0.is_empty()) {
                    assert!(rows[user * 3..][..3].iter().all(|&each| each == 0.0), "{params:?}");
                }
                // Who has everything teaches a ranking nothing.
                if loss.ranks() && entries.len() == users * items && !entries.is_empty() {
                    let start = sgd::start(users, items, &params, &Control::unlimited()).unwrap();
                    assert_eq!(fitted.model.factors, start);
                }
            }
        }
    }
}

#[test]
fn numbers_beyond_f32_are_an_error() {
    let data = many();
    for loss in LOSSES {
        let params = Params {
            optimizer: Optimizer::Sgd,
            learning_rate: 100.0,
            regularization: 1e4,
            factors: 4,
            ..Params::of(loss)
        };
        let run = |start: Factors, params: &Params| {
            let control = Control::unlimited();
            let fitted = sgd::fit(&data.0, &data.1, start, params, Validation::None, &control, &mut |_| ());
            assert_eq!(
                control.used(),
                fitted.as_ref().map_or(0, |fitted| fitted.bytes() - fitted.model.factors.bytes())
            );
            fitted
        };
        let start = sgd::start(3000, 400, &params, &Control::unlimited()).unwrap();
        assert!(matches!(run(start.clone(), &params), Err(Error::Diverged { .. })), "{loss:?}");
        let mut broken = start;
        broken.items[2] = f32::NAN;
        let calm = Params { learning_rate: 0.01, regularization: 0.0, iterations: 2, ..params };
        assert_eq!(run(broken, &calm), Err(Error::Diverged { iterations: 0 }), "{loss:?}");
    }
}

#[test]
fn parameters_and_shapes_are_checked() {
    for loss in LOSSES {
        let good = Params::of(loss);
        assert_eq!(good.check(), Ok(()));
        let mut wrong = vec![
            ("factors", Params { factors: 0, ..good.clone() }),
            ("factors", Params { factors: sgd::MAX_FACTORS + 1, ..good.clone() }),
            ("learning_rate", Params { learning_rate: 0.0, ..good.clone() }),
            ("learning_rate", Params { learning_rate: f64::NAN, ..good.clone() }),
            ("learning_rate", Params { learning_rate: 101.0, ..good.clone() }),
            ("regularization", Params { regularization: -0.1, ..good.clone() }),
            ("regularization", Params { regularization: f64::INFINITY, ..good.clone() }),
            ("iterations", Params { iterations: 0, ..good.clone() }),
            ("iterations", Params { iterations: 10_001, ..good.clone() }),
            ("batch_size", Params { batch_size: 0, ..good.clone() }),
            ("batch_size", Params { batch_size: sgd::MAX_BATCH + 1, ..good.clone() }),
            ("negatives", Params { negatives: sgd::MAX_NEGATIVES + 1, ..good.clone() }),
            ("dropout", Params { dropout: 1.0, ..good.clone() }),
            ("dropout", Params { dropout: -0.1, ..good.clone() }),
            ("patience", Params { patience: 0, ..good.clone() }),
            ("decay", Params { decay: 0.0, ..good.clone() }),
            ("decay", Params { decay: 1.1, ..good.clone() }),
            ("threads", Params { threads: 0, ..good.clone() }),
        ];
        let none = Params { negatives: 0, ..good.clone() };
        if loss.ranks() {
            wrong.push(("negatives", none))
        } else {
            assert_eq!(none.check(), Ok(()))
        }
        for (expected, params) in wrong {
            assert!(
                matches!(params.check(), Err(Error::Parameter { name, .. }) if name == expected),
                "{expected}"
            );
            assert!(sgd::start(1, 1, &params, &Control::unlimited()).is_err());
        }
        assert_eq!(Loss::parse(loss.word()), Ok(loss));
    }
    for optimizer in [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam] {
        assert_eq!(Optimizer::parse(optimizer.word()), Ok(optimizer));
    }
    for sampling in [Sampling::Uniform, Sampling::Popularity] {
        assert_eq!(Sampling::parse(sampling.word()), Ok(sampling));
    }
    assert!(matches!(Loss::parse("hinge"), Err(Error::Word { what: "loss", .. })));

    let data = matrices(4, 3, &[(0, 1, 1.0), (3, 2, 1.0)]);
    let good = Params { iterations: 1, ..Params::of(Loss::Bpr) };
    let control = Control::unlimited();
    let run = |users, items, validation: Validation<'_>| {
        let start = sgd::start(users, items, &good, &Control::unlimited()).unwrap();
        sgd::fit(&data.0, &data.1, start, &good, validation, &control, &mut |_| ())
    };
    assert!(run(4, 3, Validation::None).is_ok());
    for (users, items) in [(4, 2), (3, 3), (3, 4)] {
        assert!(matches!(run(users, items, Validation::None), Err(Error::Corrupted(_))));
    }
    let held = |item| Csr { offsets: vec![0, 1], indices: vec![item], values: vec![1.0] };
    assert!(run(4, 3, Validation::HeldOut { users: &[3], entries: &held(0) }).is_ok());
    for (users, item) in [(&[4][..], 0), (&[3], 3), (&[1, 2], 0), (&[], 0)] {
        let entries = &held(item);
        assert!(matches!(run(4, 3, Validation::HeldOut { users, entries }), Err(Error::Corrupted(_))));
    }
}

#[test]
fn cancelling_stops_within_50_ms() {
    let data = many();
    for (loss, batch_size) in [(Loss::Warp, 1), (Loss::Logistic, 4096)] {
        let params = Params {
            factors: 500,
            iterations: 10_000,
            batch_size,
            negatives: 1000,
            threads: 2,
            ..Params::of(loss)
        };
        let start = sgd::start(3000, 400, &params, &Control::unlimited()).unwrap();
        let control = Control::unlimited();
        let (result, ended, asked) = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let result =
                    sgd::fit(&data.0, &data.1, start, &params, Validation::None, &control, &mut |_| ());
                (result, Instant::now())
            });
            while control.progress().0 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(20));
            let asked = Instant::now();
            control.cancel();
            let (result, ended) = work.join().unwrap();
            (result, ended, asked)
        });
        assert_eq!(result, Err(Error::Cancelled));
        assert_eq!(control.used(), 0);
        let took = ended.saturating_duration_since(asked);
        assert!(took < Duration::from_millis(50), "{took:?}");
    }
}

/// Entries, each once.
fn entries() -> impl Strategy<Value = Vec<(usize, usize, f32)>> {
    prop::collection::btree_map((0usize..12, 0usize..9), -2i8..4, 0..60).prop_map(|entries| {
        entries.into_iter().map(|((user, item), value)| (user, item, f32::from(value))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_comes_in_the_answer_is_finite_and_the_same_again(
        entries in entries(),
        (loss, optimizer, sampling) in (0usize..4, 0usize..3, 0usize..2),
        (factors, batch_size, negatives) in (1usize..20, 1usize..5, 1usize..4),
        (biases, dropout, seed) in (any::<bool>(), 0.0f64..0.9, any::<u64>()),
    ) {
        let data = matrices(12, 9, &entries);
        let params = Params {
            optimizer: [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam][optimizer],
            sampling: [Sampling::Uniform, Sampling::Popularity][sampling],
            factors,
            batch_size,
            negatives,
            biases,
            dropout,
            seed,
            iterations: 3,
            learning_rate: 0.05,
            ..Params::of(LOSSES[loss])
        };
        let fitted = fit(&data, &params);
        prop_assert!(fitted.losses.iter().all(|loss| *loss >= 0.0 && loss.is_finite()));
        for user in 0..12 {
            for item in 0..9 {
                prop_assert!(fitted.model.score(user, item).is_finite());
            }
        }
        prop_assert_eq!(fit(&data, &Params { threads: 2, ..params.clone() }), fitted);
    }

    #[test]
    fn users_and_items_may_stand_in_any_order(entries in entries(), turn in 1usize..9) {
        // A batch of everything has no order, so neither has the model: gradients of all samples, once an epoch. Without
        // negatives nothing is drawn.
        let params = Params {
            optimizer: Optimizer::Sgd,
            factors: 4,
            batch_size: 4096,
            iterations: 5,
            negatives: 0,
            ..Params::of(Loss::Logistic)
        };
        let turned: Vec<_> =
            entries.iter().map(|&(user, item, value)| ((user + turn) % 12, (item + turn) % 9, value)).collect();
        let (first, second) = (matrices(12, 9, &entries), matrices(12, 9, &turned));
        let start = sgd::start(12, 9, &params, &Control::unlimited()).unwrap();
        let mut moved = start.clone();
        for (rows, from, count) in [(&mut moved.users, &start.users, 12), (&mut moved.items, &start.items, 9)] {
            for row in 0..count {
                rows[(row + turn) % count * 4..][..4].copy_from_slice(&from[row * 4..][..4]);
            }
        }
        let run = |data: &(Csr, Csr), start: Factors| {
            sgd::fit(&data.0, &data.1, start, &params, Validation::None, &Control::unlimited(), &mut |_| ()).unwrap().model
        };
        let (plain, turned) = (run(&first, start), run(&second, moved));
        for user in 0..12 {
            for item in 0..9 {
                let scores = [plain.score(user, item), turned.score((user + turn as u32) % 12, (item + turn as u32) % 9)];
                prop_assert!((scores[0] - scores[1]).abs() < 1e-4, "{:?}", scores);
            }
        }
    }
}
