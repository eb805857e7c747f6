//! Known answers.

use base::{Control, Csr};
use recommenders::sgd::{Loss, Model, Optimizer, Params, Sampling, Validation, fit as train, start};

use crate::{LOSSES, fit, matrices, uniform};

/// Users like the items of their color, of `colors`; every fourth such pair is left out.
fn checkerboard(users: usize, items: usize, colors: usize) -> (Csr, Csr) {
    let likes = |&(user, item): &(usize, usize)| {
        user % colors == item % colors && !(user / colors + item / colors).is_multiple_of(4)
    };
    let pairs = (0..users * items).map(|at| (at / items, at % items)).filter(likes);
    matrices(users, items, &pairs.map(|(user, item)| (user, item, 1.0)).collect::<Vec<_>>())
}

/// The part of the pairs, of an unseen item of the user's color with one of another, that are in order.
fn in_order(board: &(Csr, Csr), colors: usize, model: &Model) -> f64 {
    let (mut right, mut all) = (0, 0);
    for user in 0..board.0.rows() {
        let seen = board.0.row(user).0;
        let score = |item: usize| model.score(user as u32, item as u32);
        let items = || (0..board.1.rows()).filter(|&item| !seen.contains(&(item as u32)));
        for own in items().filter(|item| item % colors == user % colors) {
            for other in items().filter(|item| item % colors != user % colors) {
                all += 1;
                right += usize::from(score(own) > score(other));
            }
        }
    }
    right as f64 / all as f64
}

#[test]
fn a_checkerboard_is_completed() {
    let board = checkerboard(60, 40, 2);
    for loss in LOSSES {
        for (optimizer, batch_size, sampling) in [
            (Optimizer::Sgd, 1, Sampling::Uniform),
            (Optimizer::Sgd, 1, Sampling::Popularity),
            (Optimizer::Adagrad, 1, Sampling::Uniform),
            (Optimizer::Adam, 1, Sampling::Uniform),
            (Optimizer::Adam, 16, Sampling::Uniform),
        ] {
            for biases in [false, true] {
                let params = Params {
                    factors: 2,
                    optimizer,
                    batch_size,
                    sampling,
                    biases,
                    learning_rate: if optimizer == Optimizer::Adam { 0.01 } else { 0.05 },
                    regularization: 0.01,
                    iterations: 60,
                    negatives: 2,
                    ..Params::of(loss)
                };
                let fitted = fit(&board, &params);
                let right = in_order(&board, 2, &fitted.model);
                assert!(right > 0.9, "{right} {params:?} {:?}", fitted.losses);
                assert!(fitted.losses[59] < fitted.losses[0], "{params:?} {:?}", fitted.losses);
            }
        }
    }
}

#[test]
fn values_of_a_known_model_are_found() {
    // 3 plus biases plus products of two factors, and a little noise; half of the pairs.
    let (users, items) = (200, 100);
    let mut draw = uniform(7);
    let mut numbers =
        |count: usize, scale: f64| -> Vec<f64> { (0..count).map(|_| scale * (draw() - 0.5)).collect() };
    let (x, y) = (numbers(users * 2, 3.0), numbers(items * 2, 3.0));
    let (b, c) = (numbers(users, 1.0), numbers(items, 1.0));
    let noise = numbers(users * items, 0.2);
    let value = |user: usize, item: usize| {
        3.0 + b[user] + c[item] + x[user * 2] * y[item * 2] + x[user * 2 + 1] * y[item * 2 + 1]
    };
    let chance = numbers(users * items, 1.0);
    let known = |user: usize, item: usize| chance[user * items + item] > 0.0;
    let all: Vec<(usize, usize)> = (0..users * items).map(|at| (at / items, at % items)).collect();
    let entries: Vec<(usize, usize, f32)> = all
        .iter()
        .filter(|(user, item)| known(*user, *item))
        .map(|&(user, item)| (user, item, (value(user, item) + noise[user * items + item]) as f32))
        .collect();
    let data = matrices(users, items, &entries);
    for (optimizer, learning_rate) in
        [(Optimizer::Sgd, 0.03), (Optimizer::Adagrad, 0.2), (Optimizer::Adam, 0.01)]
    {
        let params = Params {
            factors: 4,
            optimizer,
            learning_rate,
            regularization: 0.01,
            iterations: 100,
            ..Params::of(Loss::Squared)
        };
        let model = fit(&data, &params).model;
        let unknown = all.iter().filter(|(user, item)| !known(*user, *item));
        let squares: Vec<f64> = unknown
            .map(|&(user, item)| {
                (f64::from(model.score(user as u32, item as u32)) - value(user, item)).powi(2)
            })
            .collect();
        let error = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        // The values deviate by 1.2.
        assert!(error < 0.1, "{optimizer:?} {error}");
    }
}

#[test]
fn folded_factors_rank_as_the_scores_do() {
    let board = checkerboard(30, 21, 3);
    for loss in LOSSES {
        let params = Params { factors: 5, iterations: 5, negatives: 3, ..Params::of(loss) };
        let model = fit(&board, &params).model;
        let control = Control::unlimited();
        control.take(model.bytes(), "", "").unwrap();
        let folded = model.clone().folded(&control).unwrap();
        assert_eq!((folded.factors, control.used()), (6, folded.bytes()));
        for user in 0..30u32 {
            let product = |item: u32| -> f32 {
                let (x, y) =
                    (&folded.users[user as usize * 6..][..6], &folded.items[item as usize * 6..][..6]);
                x.iter().zip(y).map(|(a, b)| a * b).sum()
            };
            for item in 1..21 {
                let (before, after) =
                    (model.score(user, item) - model.score(user, 0), product(item) - product(0));
                assert!((before - after).abs() < 1e-5, "{before} {after}");
            }
        }
        let plain = fit(&board, &Params { biases: false, ..params });
        control.take(plain.model.bytes(), "", "").unwrap();
        assert_eq!(plain.model.clone().folded(&control), Ok(plain.model.factors));
    }
}

#[test]
fn patience_ends_the_training_with_the_best_model() {
    let board = checkerboard(40, 30, 2);
    let params = Params { factors: 4, iterations: 50, patience: 3, decay: 0.5, ..Params::of(Loss::Bpr) };
    // Scores as told: the fourth is the best, and one is not a number.
    let told = [0.1, 0.3, f64::NAN, 0.5, 0.4, 0.5, 0.2, 0.9];
    let (mut models, mut rates) = (Vec::new(), Vec::new());
    let control = Control::unlimited();
    let begin = start(40, 30, &params, &control).unwrap();
    let mut score = |model: &Model| {
        models.push(model.clone());
        Ok(told[models.len() - 1])
    };
    let validation = Validation::Score(&mut score);
    let fitted = train(&board.0, &board.1, begin, &params, validation, &control, &mut |epoch| {
        rates.push((epoch.learning_rate, epoch.score.unwrap()));
    })
    .unwrap();
    assert_eq!((fitted.epochs, fitted.best_epoch, fitted.converged), (7, 4, true));
    assert_eq!(fitted.model, models[3]);
    assert_eq!(control.progress().0, control.progress().1);
    assert_eq!(control.used(), fitted.bytes());
    let halved: Vec<f64> =
        rates.iter().map(|(rate, _)| (params.learning_rate / rate).log2().round()).collect();
    assert_eq!(halved, [0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0]);
    assert!(rates.iter().zip(told).all(|((_, score), told)| score.to_bits() == told.to_bits()));

    // What the validation says goes through.
    let begin = start(40, 30, &params, &control).unwrap();
    let mut fails = |_: &Model| Err(base::Error::NoData);
    let validation = Validation::Score(&mut fails);
    let result = train(&board.0, &board.1, begin, &params, validation, &control, &mut |_| ());
    assert_eq!(result, Err(base::Error::NoData));
}

#[test]
fn values_weigh_likes() {
    // One user likes item 0 a lot and item 1 a little, and dislikes item 2; the others like everything.
    let mut entries = vec![(0, 0, 4.0), (0, 1, 0.2), (0, 2, -4.0)];
    entries.extend((1..20).flat_map(|user| (0..6).map(move |item| (user, item, 1.0))));
    let data = matrices(20, 6, &entries);
    let params = Params { factors: 4, negatives: 1, iterations: 30, ..Params::of(Loss::Logistic) };
    let model = fit(&data, &params).model;
    let score = |item| model.score(0, item);
    assert!(score(0) > score(1) && score(1) > score(2), "{} {} {}", score(0), score(1), score(2));
    // For rankings, what is disliked is no positive.
    for loss in [Loss::Bpr, Loss::Warp] {
        let data = matrices(2, 4, &[(0, 0, 1.0), (0, 1, -1.0), (1, 2, 0.0), (1, 3, -1.0)]);
        let params = Params { factors: 2, negatives: 5, iterations: 30, ..Params::of(loss) };
        let fitted = fit(&data, &params);
        let begin = start(2, 4, &params, &Control::unlimited()).unwrap();
        assert_eq!(fitted.model.factors.users[2..], begin.users[2..]);
        assert_eq!(fitted.model.factors.items[2..4], begin.items[2..4]);
        assert!(fitted.model.score(0, 0) > fitted.model.score(0, 2));
    }
}
