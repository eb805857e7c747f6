//! Alternating least squares against reference values, an exact solver and its own promises.

use std::time::{Duration, Instant};

use algorithms::als::{self, Factors, Params};
use algorithms::{Control, Csr, Error};
use serde_json::Value;

/// Users by items and the transpose, from unordered entries.
fn matrices(users: usize, items: usize, entries: &[(usize, usize, f32)]) -> (Csr, Csr) {
    let mut entries = entries.to_vec();
    entries.sort_by_key(|entry| (entry.0, entry.1));
    let mut matrix = Csr { offsets: vec![0; users + 1], ..Csr::default() };
    for &(user, item, value) in &entries {
        matrix.offsets[user + 1] += 1;
        matrix.indices.push(item as u32);
        matrix.values.push(value);
    }
    for user in 0..users {
        matrix.offsets[user + 1] += matrix.offsets[user];
    }
    let transposed = matrix.transpose(items);
    (matrix, transposed)
}

/// About `entries` entries, users and items of uneven weight.
fn random(users: usize, items: usize, entries: usize) -> Vec<(usize, usize, f32)> {
    let mut state = 1u64;
    let mut draw = |end: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let fraction = (state >> 33) as f64 / (1u64 << 31) as f64;
        (fraction * fraction * end as f64) as usize
    };
    let mut drawn: Vec<_> = (0..entries).map(|_| (draw(users), draw(items))).collect();
    drawn.sort_unstable();
    drawn.dedup();
    drawn.into_iter().map(|(user, item)| (user, item, (1 + (user * 7 + item) % 4) as f32)).collect()
}

fn fit(user_items: &Csr, item_users: &Csr, start: Factors, params: &Params) -> (Factors, Vec<f64>) {
    let control = Control::unlimited();
    let mut losses = vec![];
    let model = als::fit(user_items, item_users, start, params, &control, &mut |iteration, loss| {
        losses.push(loss);
        assert_eq!(iteration, losses.len());
    });
    let (done, total) = control.progress();
    assert_eq!(done, total);
    assert_eq!(total, (2 * user_items.entries() * params.iterations) as u64);
    (model.unwrap(), losses)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|each| each as f32).collect()
}

fn assert_near(a: &[f32], b: &[f64], relative: f64) {
    assert_eq!(a.len(), b.len());
    let distance = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>().sqrt();
    let length = b.iter().map(|b| b * b).sum::<f64>().sqrt();
    assert!(distance <= relative * length, "{distance} of {length}");
}

fn doubles(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&each| f64::from(each)).collect()
}

/// The exact row in double precision, by elimination: slow and obvious.
fn exact(fixed: &[f32], factors: usize, items: &[u32], values: &[f32], params: &Params) -> Vec<f64> {
    let mut system = vec![vec![0.0; factors + 1]; factors];
    let mut add = |row: &[f32], scale: f64, right: f64| {
        for a in 0..factors {
            for b in 0..factors {
                system[a][b] += scale * f64::from(row[a]) * f64::from(row[b]);
            }
            system[a][factors] += right * f64::from(row[a]);
        }
    };
    for row in fixed.chunks(factors) {
        add(row, 1.0, 0.0);
    }
    for (&item, &value) in items.iter().zip(values) {
        let weight = params.alpha * f64::from(value);
        add(&fixed[item as usize * factors..][..factors], weight, 1.0 + weight);
    }
    for pivot in 0..factors {
        system[pivot][pivot] += params.regularization;
    }
    for pivot in 0..factors {
        let best = (pivot..factors).max_by(|&a, &b| system[a][pivot].abs().total_cmp(&system[b][pivot].abs())).unwrap();
        system.swap(pivot, best);
        for row in 0..factors {
            let scale = system[row][pivot] / system[pivot][pivot];
            if row != pivot {
                for column in pivot..=factors {
                    system[row][column] -= scale * system[pivot][column];
                }
            }
        }
    }
    (0..factors).map(|row| system[row][factors] / system[row][row]).collect()
}

#[test]
fn equals_the_reference_values() {
    let golden: Value = serde_json::from_str(include_str!("golden/als.json")).unwrap();
    let entries: Vec<_> = golden["entries"].as_array().unwrap().iter().map(numbers).collect();
    let entries: Vec<_> = entries.iter().map(|each| (each[0] as usize, each[1] as usize, each[2] as f32)).collect();
    let (user_items, item_users) = matrices(20, 15, &entries);
    let start = Factors { factors: 3, users: floats(&golden["users"]), items: floats(&golden["items"]) };
    for case in golden["cases"].as_array().unwrap() {
        let params = Params {
            factors: 3,
            regularization: case["lambda"].as_f64().unwrap(),
            alpha: case["alpha"].as_f64().unwrap(),
            iterations: case["iterations"].as_u64().unwrap() as usize,
            // The references are exact; three unknowns need three steps and rounding a few more.
            cg_steps: 12,
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
        let scores: Vec<f32> =
            model.items.chunks(3).map(|item| item.iter().zip(&model.users).map(|(a, b)| a * b).sum()).collect();
        assert_near(&scores, &numbers(&case["scores_user0"]), 1e-3);
    }
}

#[test]
fn the_loss_falls_and_is_the_one_in_double_precision() {
    let (user_items, item_users) = matrices(300, 120, &random(300, 120, 6000));
    for (factors, alpha, regularization) in [(8, 1.0, 0.01), (20, 40.0, 0.1), (64, 10.0, 1.0), (64, 10.0, 0.0)] {
        let params = Params { factors, alpha, regularization, iterations: 12, ..Params::default() };
        let start = als::start(300, 120, &params).unwrap();
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
    let (model, _) = fit(&user_items, &item_users, als::start(30, 20, &params).unwrap(), &params);
    let squares = |rows: &[f32]| rows.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>();
    let mut plain = 0.3 * (squares(&model.users) + squares(&model.items));
    for user in 0..30 {
        let (items, values) = user_items.row(user);
        for item in 0..20 {
            let product = |at: usize| f64::from(model.users[user * 5 + at]) * f64::from(model.items[item * 5 + at]);
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
fn conjugate_gradients_reach_the_exact_rows() {
    let (user_items, item_users) = matrices(80, 60, &random(80, 60, 1200));
    for factors in [4, 16, 33] {
        let params = Params { factors, regularization: 0.5, alpha: 5.0, iterations: 1, cg_steps: 60, ..Params::default() };
        let start = als::start(80, 60, &params).unwrap();
        let (model, _) = fit(&user_items, &item_users, start.clone(), &params);
        for user in 0..80 {
            let (items, values) = user_items.row(user);
            let row = &model.users[user * factors..][..factors];
            assert_near(row, &exact(&start.items, factors, items, values, &params), 1e-4);
        }
        for item in 0..60 {
            let (users, values) = item_users.row(item);
            let row = &model.items[item * factors..][..factors];
            assert_near(row, &exact(&model.users, factors, users, values, &params), 1e-4);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let (user_items, item_users) = matrices(9000, 500, &random(9000, 500, 60_000));
    for factors in [10, 64] {
        let one = Params { factors, iterations: 3, seed: 7, ..Params::default() };
        let start = als::start(9000, 500, &one).unwrap();
        let (model, losses) = fit(&user_items, &item_users, start.clone(), &one);
        for threads in [1, 2, 3] {
            let params = Params { threads, ..one.clone() };
            let again = als::start(9000, 500, &params).unwrap();
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
    let start = als::start(3000, 2000, &params).unwrap();
    for rows in [&start.users, &start.items] {
        let mean = rows.iter().map(|&each| f64::from(each)).sum::<f64>() / rows.len() as f64;
        let variance = rows.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>() / rows.len() as f64;
        assert!(mean.abs() < 1e-4 && (variance.sqrt() - 0.01).abs() < 1e-4, "{mean} {variance}");
    }
    assert_ne!(start.users[..100], start.items[..100]);
    assert_ne!(start.users[..64], start.users[1024 * 64..][..64]);
    assert_ne!(start, als::start(3000, 2000, &Params { seed: 43, ..params }).unwrap());
}

#[test]
fn the_order_of_users_does_not_matter() {
    let entries = random(200, 50, 3000);
    let to = |user: usize| (user * 77 + 5) % 200;
    let permuted: Vec<_> = entries.iter().map(|&(user, item, value)| (to(user), item, value)).collect();
    let params = Params { factors: 24, iterations: 3, regularization: 0.1, ..Params::default() };
    let start = als::start(200, 50, &params).unwrap();
    let move_rows = |rows: &[f32]| {
        let mut moved = vec![0.0; rows.len()];
        for (user, row) in rows.chunks(24).enumerate() {
            moved[to(user) * 24..][..24].copy_from_slice(row);
        }
        moved
    };
    let moved_start = Factors { users: move_rows(&start.users), ..start.clone() };
    let (user_items, item_users) = matrices(200, 50, &entries);
    let (model, _) = fit(&user_items, &item_users, start, &params);
    let (user_items, item_users) = matrices(200, 50, &permuted);
    let (moved, _) = fit(&user_items, &item_users, moved_start, &params);
    assert_near(&moved.users, &doubles(&move_rows(&model.users)), 1e-4);
    assert_near(&moved.items, &doubles(&model.items), 1e-4);
}

#[test]
fn degenerate_inputs_give_finite_factors() {
    let all = |users: usize, items: usize| -> Vec<(usize, usize, f32)> {
        (0..users * items).map(|at| (at / items, at % items, 1.0)).collect()
    };
    let cases: Vec<(usize, usize, Vec<(usize, usize, f32)>)> = vec![
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
        for factors in [1, 16, 70] {
            for (alpha, regularization) in [(1.0, 0.1), (1.0, 0.0), (1e6, 0.0), (1e-6, 0.0), (1e6, 0.1), (40.0, 1e6)] {
                let params = Params { factors, alpha, regularization, iterations: 6, threads: 2, ..Params::default() };
                let start = als::start(users, items, &params).unwrap();
                let (model, losses) = fit(&user_items, &item_users, start.clone(), &params);
                let context = format!("{users} {items} {factors} {alpha} {regularization} {losses:?}");
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
    let params = Params { factors: 8, ..Params::default() };
    let start = als::start(20, 10, &params).unwrap();
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
        assert!(als::start(1, 1, &params).is_err());
    }
    let (user_items, item_users) = matrices(20, 10, &random(20, 10, 100));
    let control = Control::unlimited();
    for (users, items) in [(20, 9), (19, 10), (10, 20)] {
        let start = als::start(users, items, &good).unwrap();
        let result = als::fit(&user_items, &item_users, start, &good, &control, &mut |_, _| ());
        assert!(matches!(result, Err(Error::Corrupted(_))));
    }
    let start = als::start(20, 10, &good).unwrap();
    let result = als::fit(&user_items, &user_items, start, &good, &control, &mut |_, _| ());
    assert!(matches!(result, Err(Error::Corrupted(_))));
}

#[test]
fn cancelling_stops_within_50_ms() {
    // Item 0 belongs to every user: a row of its own that takes long.
    let mut entries: Vec<_> = (0..200_000).map(|user| (user, 0, 1.0)).collect();
    entries.extend((0..200_000).map(|user| (user, 1 + user % 99, 1.0)));
    let (user_items, item_users) = matrices(200_000, 100, &entries);
    let params = Params { factors: 64, iterations: 10_000, threads: 2, ..Params::default() };
    let mut slowest = Duration::ZERO;
    for wait in [20, 55, 90] {
        let start = als::start(200_000, 100, &params).unwrap();
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
fn a_new_user_gets_the_exact_factors() {
    let (user_items, item_users) = matrices(300, 150, &random(300, 150, 6000));
    for factors in [1, 10, 64] {
        let params = Params { factors, regularization: 0.1, alpha: 10.0, iterations: 20, cg_steps: 40, ..Params::default() };
        let start = als::start(300, 150, &params).unwrap();
        let (model, _) = fit(&user_items, &item_users, start, &params);
        let gram = als::gram(&model.items, factors, 1, &Control::unlimited()).unwrap();
        let fold = |items: &[u32], values: &[f32]| als::fold_in(&gram, &model.items, factors, items, values, 0.1, 10.0);
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
    let params = Params { factors: 4, regularization: 5.0, iterations: 400, cg_steps: 10, ..Params::default() };
    let start = als::start(100, 60, &params).unwrap();
    let (model, _) = fit(&user_items, &item_users, start, &params);
    let gram = als::gram(&model.items, 4, 1, &Control::unlimited()).unwrap();
    for user in 0..100 {
        let (items, values) = user_items.row(user);
        let folded = als::fold_in(&gram, &model.items, 4, items, values, 5.0, 1.0);
        assert_near(&folded, &doubles(&model.users[user * 4..][..4]), 1e-3);
    }
}

#[test]
fn folding_in_takes_less_than_a_millisecond() {
    let params = Params { factors: 64, ..Params::default() };
    let model = als::start(1, 5000, &params).unwrap();
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
