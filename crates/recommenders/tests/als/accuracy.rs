//! Values: reference numbers, the exact solution, the loss.

use base::Control;
use recommenders::als::{self, Params, Solver};
use recommenders::factors::Factors;
use serde_json::Value;

use crate::{assert_near, doubles, exact, fit, matrices, random};

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|each| each as f32).collect()
}

#[test]
fn equals_the_reference_values() {
    let golden: Value = serde_json::from_str(include_str!("../golden/als.json")).unwrap();
    let entries: Vec<_> = golden["entries"].as_array().unwrap().iter().map(numbers).collect();
    let entries: Vec<_> =
        entries.iter().map(|each| (each[0] as usize, each[1] as usize, each[2] as f32)).collect();
    let (user_items, item_users) = matrices(20, 15, &entries);
    let start = Factors { factors: 3, users: floats(&golden["users"]), items: floats(&golden["items"]) };
    let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
    let cases = golden["cases"].as_array().unwrap();
    for (case, solver) in cases.iter().flat_map(|case| solvers.map(|solver| (case, solver))) {
        let params = Params {
            solver,
            factors: 3,
            regularization: case["lambda"].as_f64().unwrap(),
            alpha: case["alpha"].as_f64().unwrap(),
            iterations: case["iterations"].as_u64().unwrap() as usize,
            // The references are exact solves; the default of three steps solves three unknowns.
            ..Params::default()
        };
        let expected = numbers(&case["losses"]);
        assert!((als::loss(&user_items, &start, &params) / expected[0] - 1.0).abs() < 1e-6);
        let (model, losses) = fit(&user_items, &item_users, start.clone(), &params);
        assert_near(&model.users, &numbers(&case["users"]), 1e-3);
        assert_near(&model.items, &numbers(&case["items"]), 1e-3);
        for (loss, expected) in losses.iter().zip(&expected[1..]) {
            assert!((loss / expected - 1.0).abs() < 1e-3, "{losses:?} {expected:?}");
        }
        let scores: Vec<f32> = model
            .items
            .chunks(3)
            .map(|item| item.iter().zip(&model.users).map(|(a, b)| a * b).sum())
            .collect();
        assert_near(&scores, &numbers(&case["scores_user0"]), 1e-3);
    }
}

#[test]
fn the_loss_falls_and_is_the_one_in_double_precision() {
    let (user_items, item_users) = matrices(300, 120, &random(300, 120, 6000));
    let cases = [(8, 1.0, 0.01), (20, 40.0, 0.1), (64, 10.0, 1.0), (64, 10.0, 0.0)];
    let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
    for ((factors, alpha, regularization), solver) in
        cases.into_iter().flat_map(|case| solvers.map(|solver| (case, solver)))
    {
        let params = Params { factors, alpha, regularization, iterations: 12, solver, ..Params::default() };
        let start = als::start(300, 120, &params, &Control::unlimited()).unwrap();
        let before = als::loss(&user_items, &start, &params);
        let (model, losses) = fit(&user_items, &item_users, start, &params);
        assert!(losses[0] < before);
        assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)), "{losses:?}");
        let after = als::loss(&user_items, &model, &params);
        assert!((losses[11] / after - 1.0).abs() < 1e-4, "{} {after}", losses[11]);
    }
}

#[test]
fn the_loss_counts_every_pair() {
    let (user_items, item_users) = matrices(30, 20, &random(30, 20, 100));
    let params = Params { factors: 5, iterations: 2, alpha: 3.0, regularization: 0.3, ..Params::default() };
    let (model, _) =
        fit(&user_items, &item_users, als::start(30, 20, &params, &Control::unlimited()).unwrap(), &params);
    let squares = |rows: &[f32]| rows.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>();
    let mut plain = 0.3 * (squares(&model.users) + squares(&model.items));
    for user in 0..30 {
        let (items, values) = user_items.row(user);
        for item in 0..20 {
            let product =
                |at: usize| f64::from(model.users[user * 5 + at]) * f64::from(model.items[item * 5 + at]);
            let score: f64 = (0..5).map(product).sum();
            plain += match items.iter().position(|&each| each as usize == item) {
                Some(at) => (1.0 + 3.0 * f64::from(values[at])) * (1.0 - score).powi(2),
                None => score.powi(2),
            };
        }
    }
    let loss = als::loss(&user_items, &model, &params);
    assert!((loss / plain - 1.0).abs() < 1e-12, "{loss} {plain}");
}

#[test]
fn both_solvers_reach_the_exact_rows() {
    let (user_items, item_users) = matrices(80, 60, &random(80, 60, 1200));
    let steps = [4, 16, 33].map(|factors| (factors, Solver::ConjugateGradient));
    let exactly = [1, 4, 16, 33, 64, 130].map(|factors| (factors, Solver::Cholesky));
    for (factors, solver) in steps.into_iter().chain(exactly) {
        let params = Params {
            solver,
            factors,
            regularization: 0.5,
            alpha: 5.0,
            iterations: 1,
            // One step would show where the exact solver gives up.
            cg_steps: if solver == Solver::Cholesky { 1 } else { 100 },
            ..Params::default()
        };
        let start = als::start(80, 60, &params, &Control::unlimited()).unwrap();
        let (model, _) = fit(&user_items, &item_users, start.clone(), &params);
        for user in 0..80 {
            let (items, values) = user_items.row(user);
            let row = &model.users[user * factors..][..factors];
            assert_near(row, &exact(&start.items, factors, items, values, &params), 1e-4);
        }
        // Factors start small, so those of the users are large: the condition of these systems is up to 1e5.
        let near = if factors > 60 { 1e-3 } else { 1e-4 };
        for item in 0..60 {
            let (users, values) = item_users.row(item);
            let row = &model.items[item * factors..][..factors];
            assert_near(row, &exact(&model.users, factors, users, values, &params), near);
        }
    }
}

#[test]
fn a_new_user_gets_the_exact_factors() {
    let (user_items, item_users) = matrices(300, 150, &random(300, 150, 6000));
    for factors in [1, 10, 64] {
        let params = Params {
            factors,
            regularization: 0.1,
            alpha: 10.0,
            iterations: 20,
            cg_steps: 40,
            ..Params::default()
        };
        let start = als::start(300, 150, &params, &Control::unlimited()).unwrap();
        let (model, _) = fit(&user_items, &item_users, start, &params);
        let gram = als::gram(&model.items, factors, 1, &Control::unlimited()).unwrap();
        let fold = |items: &[u32], values: &[f32]| {
            als::fold_in(&gram, &model.items, factors, items, values, 0.1, 10.0)
        };
        for user in 0..300 {
            let (items, values) = user_items.row(user);
            assert_near(&fold(items, values), &exact(&model.items, factors, items, values, &params), 1e-4);
        }
        assert_eq!(fold(&[], &[]), vec![0.0; factors]);
        assert_eq!(fold(&[150, 4_000_000_000], &[1.0, 1.0]), vec![0.0; factors]);
        assert_eq!(fold(&[3], &[f32::NAN]), vec![0.0; factors]);
        assert_eq!(fold(&[3], &[f32::INFINITY]), vec![0.0; factors]);
    }
}

#[test]
fn a_trained_user_folds_in_to_the_trained_factors() {
    // Few factors and a strong lambda, so that training converges.
    let (user_items, item_users) = matrices(100, 60, &random(100, 60, 1500));
    let params =
        Params { factors: 4, regularization: 5.0, iterations: 400, cg_steps: 10, ..Params::default() };
    let start = als::start(100, 60, &params, &Control::unlimited()).unwrap();
    let (model, _) = fit(&user_items, &item_users, start, &params);
    let gram = als::gram(&model.items, 4, 1, &Control::unlimited()).unwrap();
    for user in 0..100 {
        let (items, values) = user_items.row(user);
        let folded = als::fold_in(&gram, &model.items, 4, items, values, 5.0, 1.0);
        assert_near(&folded, &doubles(&model.users[user * 4..][..4]), 1e-3);
    }
}

#[test]
fn one_exact_iteration_lowers_the_loss_more_than_one_of_three_steps() {
    let (user_items, item_users) = matrices(300, 120, &random(300, 120, 6000));
    let params = Params { factors: 32, alpha: 40.0, iterations: 1, ..Params::default() };
    let start = als::start(300, 120, &params, &Control::unlimited()).unwrap();
    let (_, steps) = fit(&user_items, &item_users, start.clone(), &params);
    let (_, exact) = fit(&user_items, &item_users, start, &Params { solver: Solver::Cholesky, ..params });
    assert!(exact[0] < 0.97 * steps[0], "{exact:?} {steps:?}");
}
