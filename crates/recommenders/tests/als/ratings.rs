//! Explicit ratings: the exact solution, biases, predictions, new users, and what cannot be learned from.

use std::time::{Duration, Instant};

use base::{Control, Csr, Error};
use recommenders::als::explicit::{self, Damping, Errors, Items, Model, Params};
use recommenders::als::{self, Solver};
use recommenders::factors::Factors;

use crate::{assert_near, doubles, eliminate, matrices, random};

pub(crate) type Entries = Vec<(usize, usize, f32)>;

/// Ratings from -2 to 2.5 that depend on user and item.
pub(crate) fn rated(users: usize, items: usize, entries: usize) -> Entries {
    let rate = |user: usize, item: usize| (user * 13 % 5 + item * 7 % 4 + user * item % 3) as f32 * 0.5 - 2.0;
    random(users, items, entries).into_iter().map(|(user, item, _)| (user, item, rate(user, item))).collect()
}

pub(crate) fn params(factors: usize, solver: Solver) -> Params {
    // One step would show where the exact solver gives up.
    let cg_steps = if solver == Solver::Cholesky { 1 } else { 100 };
    let als = als::Params { factors, solver, cg_steps, ..Params::default().als };
    Params { als, ..Params::default() }
}

pub(crate) fn train(
    user_items: &Csr,
    item_users: &Csr,
    start: Factors,
    params: &Params,
) -> (Model, Vec<f64>) {
    let control = Control::unlimited();
    let mut losses = vec![];
    let model =
        explicit::fit(user_items, item_users, start, params, &control, &mut |_, loss| losses.push(loss))
            .unwrap_or_else(|error| panic!("{error}: {params:?}, {} entries", user_items.entries()));
    let (done, total) = control.progress();
    assert_eq!((done, total), (total, (2 * user_items.entries() * params.als.iterations) as u64));
    // The factors were taken by `start`.
    assert_eq!(control.used(), model.bytes() - model.factors.bytes());
    (model, losses)
}

fn begin(users: usize, items: usize, params: &Params) -> Factors {
    als::start(users, items, &params.als, &Control::unlimited()).unwrap()
}

/// The exact row in double precision: `(Y'Y + lambda n) x = Y' rest`.
fn exact(fixed: &[f32], factors: usize, indices: &[u32], rests: &[f64], lambda: f64) -> Vec<f64> {
    let mut system = vec![vec![0.0; factors + 1]; factors];
    for (&index, rest) in indices.iter().zip(rests) {
        let row = &fixed[index as usize * factors..][..factors];
        for a in 0..factors {
            for b in 0..factors {
                system[a][b] += f64::from(row[a]) * f64::from(row[b]);
            }
            system[a][factors] += rest * f64::from(row[a]);
        }
    }
    for a in 0..factors {
        system[a][a] += lambda * indices.len() as f64;
    }
    eliminate(system)
}

#[test]
fn rows_are_the_exact_ones() {
    let (user_items, item_users) = matrices(80, 60, &rated(80, 60, 1200));
    for (factors, solver) in [
        (1, Solver::Cholesky),
        (16, Solver::Cholesky),
        (33, Solver::Cholesky),
        (70, Solver::Cholesky),
        (16, Solver::ConjugateGradient),
    ] {
        let mut params = params(factors, solver);
        params.als.iterations = 1;
        let start = begin(80, 60, &params);
        let (model, losses) = train(&user_items, &item_users, start.clone(), &params);
        let biases = &model.biases;
        let side = |matrix: &Csr, row: usize, own: &[f32], other: &[f32], fixed: &[f32], solved: &[f32]| {
            let (indices, values) = matrix.row(row);
            let rests: Vec<f64> = indices
                .iter()
                .zip(values)
                .map(|(&index, &value)| {
                    f64::from(value) - biases.mean - f64::from(own[row]) - f64::from(other[index as usize])
                })
                .collect();
            if !indices.is_empty() {
                assert_near(
                    &solved[row * factors..][..factors],
                    &exact(fixed, factors, indices, &rests, 0.1),
                    1e-4,
                );
            }
        };
        let (users, items) = (&model.factors.users, &model.factors.items);
        (0..80).for_each(|user| side(&user_items, user, &biases.users, &biases.items, &start.items, users));
        (0..60).for_each(|item| side(&item_users, item, &biases.items, &biases.users, users, items));
        let loss = explicit::loss(&user_items, &model, &params);
        assert!((losses[0] / loss - 1.0).abs() < 1e-5, "{losses:?} {loss}");
    }
}

#[test]
fn the_loss_is_the_plain_sum() {
    let entries = rated(30, 20, 200);
    let (user_items, item_users) = matrices(30, 20, &entries);
    let params = params(5, Solver::Cholesky);
    let (model, _) = train(&user_items, &item_users, begin(30, 20, &params), &params);
    let Factors { users, items, .. } = &model.factors;
    let mut plain = 0.0;
    for &(user, item, value) in &entries {
        let (x, y) = (doubles(&users[user * 5..][..5]), doubles(&items[item * 5..][..5]));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let base =
            model.biases.mean + f64::from(model.biases.users[user]) + f64::from(model.biases.items[item]);
        plain += (f64::from(value) - base - dot(&x, &y)).powi(2) + 0.1 * (dot(&x, &x) + dot(&y, &y));
    }
    let loss = explicit::loss(&user_items, &model, &params);
    assert!((loss / plain - 1.0).abs() < 1e-12, "{loss} {plain}");
}

/// All biases together solve one system that is small enough for elimination.
#[test]
fn biases_are_those_of_least_squares() {
    let entries = rated(40, 25, 300);
    let (user_items, item_users) = matrices(40, 25, &entries);
    let mut params = params(1, Solver::Cholesky);
    params.als.iterations = 1;
    params.damping = Some(Damping { users: 3.0, items: 2.0 });
    let (model, _) = train(&user_items, &item_users, begin(40, 25, &params), &params);
    let mean = entries.iter().map(|entry| f64::from(entry.2)).sum::<f64>() / entries.len() as f64;
    assert!((model.biases.mean - mean).abs() < 1e-12);
    let mut system = vec![vec![0.0; 66]; 65];
    for &(user, item, value) in &entries {
        for (a, b) in [(user, 40 + item), (40 + item, user)] {
            system[a][a] += 1.0;
            system[a][b] += 1.0;
            system[a][65] += f64::from(value) - mean;
        }
    }
    (0..65).for_each(|at| system[at][at] += if at < 40 { 3.0 } else { 2.0 });
    let expected = eliminate(system);
    assert_near(&model.biases.users, &expected[..40], 1e-3);
    assert_near(&model.biases.items, &expected[40..], 1e-3);
}

#[test]
fn ratings_are_predicted_for_whom_the_model_knows_and_for_others() {
    let model = Model {
        factors: Factors { factors: 2, users: vec![1.0, 2.0], items: vec![0.5, 0.25, -8.0, 0.0] },
        biases: explicit::Biases { mean: 3.0, users: vec![0.5], items: vec![-0.25, 0.125] },
        range: (0.5, 5.0),
    };
    let cases = [
        (Some(0), Some(0), 4.25),
        (Some(0), Some(1), -4.375),
        (Some(0), None, 3.5),
        (None, Some(0), 2.75),
        (None, None, 3.0),
        (Some(1), Some(1), 3.125),
        (Some(0), Some(2), 3.5),
        (Some(u32::MAX), Some(u32::MAX), 3.0),
    ];
    for (user, item, expected) in cases {
        assert_eq!(model.score(user, item), expected);
        assert_eq!(model.predict(user, item), expected.max(0.5));
    }
    let ratings = Csr { offsets: vec![0, 2], indices: vec![0, 1], values: vec![4.0, 2.0] };
    let errors = explicit::errors(&model, &[0], &ratings, &Control::unlimited());
    assert_eq!(errors, Ok(Errors { count: 2, rmse: ((0.0625 + 2.25) / 2.0f64).sqrt(), mae: 0.875 }));
    let none = explicit::errors(&model, &[], &Csr::default(), &Control::unlimited());
    assert_eq!(none, Ok(Errors { count: 0, rmse: 0.0, mae: 0.0 }));
}

#[test]
fn a_new_user_gets_the_factors_of_one_who_rated_the_same() {
    let (user_items, item_users) = matrices(100, 60, &rated(100, 60, 1500));
    for damping in [None, Some(Damping::default())] {
        let mut params = params(8, Solver::Cholesky);
        params.als.iterations = 200;
        params.damping = damping;
        let (model, _) = train(&user_items, &item_users, begin(100, 60, &params), &params);
        let items = Items {
            factors: 8,
            rows: &model.factors.items,
            biases: &model.biases.items,
            mean: model.biases.mean,
        };
        for user in 0..100 {
            let (indices, values) = user_items.row(user);
            let folded = explicit::fold_in(items, indices, values, 0.1, damping);
            assert!((folded.bias - model.biases.users[user]).abs() < 1e-6);
            let row = &model.factors.users[user * 8..][..8];
            let norm = row.iter().map(|each| each * each).sum::<f32>().sqrt();
            let apart = row.iter().zip(&folded.factors).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            assert!(apart <= 1e-3 * norm + 1e-4, "{apart} of {norm}");
        }
        let nothing = explicit::Folded { bias: 0.0, factors: vec![0.0; 8] };
        let fold = |items: Items<'_>, indices: &[u32], values: &[f32]| {
            explicit::fold_in(items, indices, values, 0.1, damping)
        };
        assert_eq!(fold(items, &[], &[]), nothing);
        assert_eq!(fold(items, &[60, u32::MAX], &[1.0, 1.0]), nothing);
        assert_eq!(fold(items, &[3], &[f32::NAN]), nothing);
        assert_eq!(fold(items, &[3], &[f32::INFINITY]), nothing);
        assert_eq!(fold(Items { biases: &[], ..items }, &[3], &[1.0]), nothing);
        // Unknown items change nothing.
        assert_eq!(fold(items, &[2, 60, 5], &[1.0, -2.0, 0.5]), fold(items, &[2, 5], &[1.0, 0.5]));
    }
}

#[test]
fn folding_in_takes_less_than_a_millisecond() {
    let rows: Vec<f32> = (0..5000 * 64usize).map(|at| ((at * 7919 % 1000) as f32 - 500.0) / 500.0).collect();
    let items = Items { factors: 64, rows: &rows, biases: &[0.125; 5000], mean: 3.0 };
    let indices: Vec<u32> = (0..100).map(|each| each * 49).collect();
    let values = vec![4.0; 100];
    let fastest = (0..20)
        .map(|_| {
            let begun = Instant::now();
            let folded = explicit::fold_in(items, &indices, &values, 0.1, Some(Damping::default()));
            assert!(folded.factors.iter().any(|&each| each != 0.0));
            begun.elapsed()
        })
        .min();
    println!("{fastest:?}");
    assert!(fastest < Some(Duration::from_millis(1)), "{fastest:?}");
}

#[test]
fn degenerate_ratings_give_finite_models() {
    let all = |users: usize, items: usize, value: f32| -> Entries {
        (0..users * items).map(|at| (at / items, at % items, value)).collect()
    };
    let cases: [(usize, usize, Entries); 8] = [
        (3, 3, vec![]),
        (1, 1, vec![(0, 0, 4.5)]),
        (1, 50, all(1, 50, 2.0)),
        (50, 1, all(50, 1, 0.0)),
        (30, 20, all(30, 20, 3.0)),
        (30, 20, vec![(3, 4, -1.0), (3, 5, 0.0), (4, 4, 1e6)]),
        (30, 20, vec![(3, 4, 1e-30), (3, 5, -1e-30)]),
        (40, 30, rated(40, 30, 300)),
    ];
    for (users, items, entries) in cases {
        let (user_items, item_users) = matrices(users, items, &entries);
        for (factors, solver) in
            [(1, Solver::Cholesky), (70, Solver::Cholesky), (16, Solver::ConjugateGradient)]
        {
            for (lambda, damping) in [
                (0.1, Some(Damping::default())),
                (0.0, Some(Damping { users: 0.0, items: 0.0 })),
                (10.0, None),
            ] {
                let mut params = params(factors, solver);
                params.als = als::Params { regularization: lambda, iterations: 5, threads: 2, ..params.als };
                params.damping = damping;
                let (model, losses) = train(&user_items, &item_users, begin(users, items, &params), &params);
                let context = format!("{users} {items} {params:?} {losses:?}");
                let Factors { users: x, items: y, .. } = &model.factors;
                assert!(x.iter().chain(y).all(|each| each.is_finite()), "{context}");
                for (row, x) in x.chunks(factors).enumerate() {
                    let empty = user_items.row(row).0.is_empty();
                    assert!(!empty || (x.iter().all(|&each| each == 0.0) && model.biases.users[row] == 0.0));
                }
                for user in 0..users {
                    let predicted = model.predict(Some(user as u32), Some(0));
                    assert!(
                        (f64::from(model.range.0)..=f64::from(model.range.1)).contains(&predicted),
                        "{context}"
                    );
                }
            }
        }
    }
    // Nobody is unlike the others: everything is the mean.
    let (user_items, item_users) = matrices(30, 20, &all(30, 20, 3.0));
    let params = params(16, Solver::Cholesky);
    let (model, _) = train(&user_items, &item_users, begin(30, 20, &params), &params);
    assert!(
        (model.score(Some(3), Some(7)) - 3.0).abs() < 1e-6 && (model.score(None, None) - 3.0).abs() < 1e-12
    );
}

#[test]
fn parameters_shapes_and_overflow_are_errors() {
    let (user_items, item_users) = matrices(20, 10, &rated(20, 10, 100));
    let good = params(8, Solver::Cholesky);
    let run = |start: Factors, params: &Params, matrix: &Csr| {
        let control = Control::unlimited();
        let result = explicit::fit(matrix, &item_users, start, params, &control, &mut |_, _| ());
        assert!(result.is_ok() || control.used() == 0);
        result
    };
    for (name, damping) in [
        ("user_damping", Damping { users: -1.0, items: 1.0 }),
        ("item_damping", Damping { users: 1.0, items: f64::NAN }),
    ] {
        let wrong = Params { damping: Some(damping), ..good.clone() };
        let error = run(begin(20, 10, &good), &wrong, &user_items).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: got, .. } if got == name), "{error:?}");
    }
    assert!(matches!(run(begin(20, 9, &good), &good, &user_items), Err(Error::Corrupted(_))));
    let mut broken = begin(20, 10, &good);
    broken.items[3] = f32::NAN;
    assert_eq!(run(broken, &good, &user_items), Err(Error::Diverged { iterations: 0 }));
    let mut huge = user_items.clone();
    huge.values[0] = 1e30;
    assert_eq!(run(begin(20, 10, &good), &good, &huge), Err(Error::Diverged { iterations: 0 }));
}
