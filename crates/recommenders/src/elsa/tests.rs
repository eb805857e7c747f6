//! ELSA against plain dense computations and by hand.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base::simd::levels;

use super::*;

/// Users with items of two or three tastes, and a few others.
fn tastes(users: usize, items: usize) -> Vec<Vec<u32>> {
    let mut state = 7u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % limit as u64) as usize
    };
    (0..users)
        .map(|user| {
            let mut row: Vec<u32> = (0..2 + user % 7)
                .map(|_| if below(4) > 0 { below(items / 3 + 1) * 3 + user % 3 } else { below(items) })
                .map(|item| (item % items) as u32)
                .collect();
            row.sort_unstable();
            row.dedup();
            row
        })
        .collect()
}

fn matrix(rows: &[Vec<u32>], items: usize) -> [Csr; 2] {
    let mut users = Csr { offsets: vec![0], ..Csr::default() };
    for row in rows {
        users.indices.extend(row);
        users.offsets.push(users.indices.len() as u64);
    }
    users.values = vec![1.0; users.indices.len()];
    let items = users.transpose(items);
    [users, items]
}

fn run(rows: &[Vec<u32>], items: usize, params: &Params) -> Factors {
    let control = Control::unlimited();
    let [users, of_items] = matrix(rows, items);
    let factors = fit(&users, &of_items, params, &control, &mut |_, _| ()).unwrap();
    assert_eq!(control.used(), factors.bytes());
    factors
}

/// The mean loss of the batch from the predictions of all users for all items.
fn dense(rows: &[Vec<u32>], items: usize, a: &[f64], factors: usize) -> f64 {
    let mut all = 0.0;
    for own in rows {
        let mut x = vec![0.0; items];
        own.iter().for_each(|&item| x[item as usize] = 1.0);
        let user: Vec<f64> =
            (0..factors).map(|k| (0..items).map(|item| x[item] * a[item * factors + k]).sum()).collect();
        let p: Vec<f64> = (0..items)
            .map(|item| (0..factors).map(|k| a[item * factors + k] * user[k]).sum::<f64>() - x[item])
            .collect();
        let length = |of: &[f64]| of.iter().map(|each| each * each).sum::<f64>().sqrt();
        let (p_length, x_length) = (length(&p), length(&x));
        all += p.iter().zip(&x).map(|(p, x)| (p / p_length - x / x_length).powi(2)).sum::<f64>();
    }
    all / rows.len() as f64
}

/// Rows that are not of unit length: the formulas do not need it.
fn some_rows(items: usize, factors: usize) -> Vec<f32> {
    (0..items * factors).map(|at| ((at * 7919 + 13) % 1000) as f32 / 700.0 - 0.6).collect()
}

/// The gradient of every item, and the loss, by what the training is made of.
fn gradient(level: Level, rows: &[Vec<u32>], items: usize, a: &[f32], factors: usize) -> (Vec<f32>, f64) {
    let control = Control::unlimited();
    let params = Params { factors, batch_size: Some(rows.len()), threads: 2, ..Params::default() };
    let width = params.width();
    let mut wide = vec![0.0; items * width];
    for (to, from) in wide.chunks_exact_mut(width).zip(a.chunks_exact(factors)) {
        to[..factors].copy_from_slice(from);
    }
    let [users, _] = matrix(rows, items);
    let mut budget = Budget::new(&control, TRAINING);
    let mut batch = Batch::new(&users, items, &params, &mut budget).unwrap();
    let mut panels = vec![0.0; width * width];
    pack(&gram_at(level, &wide, width, 1, &control).unwrap(), width, &mut panels, &control).unwrap();
    let order: Vec<u32> = (0..rows.len() as u32).collect();
    let loss = batch.look(level, (&wide, &panels), &order, &params, &control).unwrap();
    batch.outer(level, rows.len(), &mut panels, &params, &control).unwrap();
    let mut gradients = vec![0.0; items * width];
    kernel::products(level, (&wide, width), &panels, &mut gradients, &control).unwrap();
    let mut narrow = Vec::new();
    for (item, gradient) in gradients.chunks_exact_mut(width).enumerate() {
        sum_rows(level, &batch.gradients, width, batch.users_of(item), gradient);
        assert!(gradient[factors..].iter().all(|&padding| padding == 0.0));
        narrow.extend(gradient[..factors].iter().map(|each| each / rows.len() as f32));
    }
    (narrow, loss / rows.len() as f64)
}

#[test]
fn the_gradient_is_that_of_the_dense_loss() {
    for (users, items, factors) in [(1, 4, 1), (5, 9, 3), (20, 31, 16), (9, 12, 40), (40, 25, 17)] {
        let rows = tastes(users, items);
        let a = some_rows(items, factors);
        let exact: Vec<f64> = a.iter().map(|&each| f64::from(each)).collect();
        for level in levels() {
            let (found, loss) = gradient(level, &rows, items, &a, factors);
            assert!((loss - dense(&rows, items, &exact, factors)).abs() < 1e-5, "{level:?} {loss}");
            for at in 0..a.len() {
                let moved = |by: f64| {
                    let mut moved = exact.clone();
                    moved[at] += by;
                    dense(&rows, items, &moved, factors)
                };
                let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let got = f64::from(found[at]);
                assert!(
                    (got - expected).abs() < 2e-5 + 1e-4 * expected.abs(),
                    "{level:?} {at} {got} {expected}"
                );
            }
        }
    }
}

#[test]
fn renumbered_items_get_the_same_gradient() {
    let (users, items, factors) = (50, 64, 20);
    let renumbered = |item: u32| (item * 5 + 11) % 64;
    let rows = tastes(users, items);
    let mut moved: Vec<Vec<u32>> =
        rows.iter().map(|row| row.iter().map(|&item| renumbered(item)).collect()).collect();
    moved.iter_mut().for_each(|row| row.sort_unstable());
    let a = some_rows(items, factors);
    let mut a_moved = a.clone();
    for item in 0..items {
        a_moved[renumbered(item as u32) as usize * factors..][..factors]
            .copy_from_slice(&a[item * factors..][..factors]);
    }
    let (before, loss) = gradient(level(), &rows, items, &a, factors);
    let (after, same) = gradient(level(), &moved, items, &a_moved, factors);
    assert!((loss - same).abs() < 1e-6);
    for item in 0..items {
        let after = &after[renumbered(item as u32) as usize * factors..][..factors];
        for (a, b) in before[item * factors..][..factors].iter().zip(after) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}

#[test]
fn the_loss_of_a_model_is_that_of_its_dense_predictions() {
    let (users, items, factors) = (60, 30, 7);
    let mut rows = tastes(users, items);
    let a = some_rows(items, factors);
    let exact: Vec<f64> = a.iter().map(|&each| f64::from(each)).collect();
    let model = Factors { factors, users: vec![], items: a };
    let with_two: Vec<Vec<u32>> = rows.iter().filter(|row| row.len() > 1).cloned().collect();
    // Users of one item do not count.
    rows.push(vec![3]);
    rows.push(vec![]);
    let [user_items, _] = matrix(&rows, items);
    assert!((loss(&user_items, &model) - dense(&with_two, items, &exact, factors)).abs() < 1e-9);
}

#[test]
fn items_that_always_come_together_speak_for_each_other_alone() {
    // The prediction of a user points where x does, whatever the products within a group are: the loss is 0.
    let rows: Vec<Vec<u32>> =
        (0..40).map(|user| if user % 2 == 0 { vec![0, 1] } else { vec![2, 3, 4] }).collect();
    let params = Params { factors: 8, iterations: 300, batch_size: Some(10), ..Params::default() };
    let model = run(&rows, 5, &params);
    let dot = |a: usize, b: usize| {
        model.items[a * 8..][..8].iter().zip(&model.items[b * 8..][..8]).map(|(a, b)| a * b).sum::<f32>()
    };
    for a in 0..5 {
        for b in 0..5 {
            let product = dot(a, b);
            if (a < 2) == (b < 2) {
                assert!(product > 0.3, "{a} {b} {product}");
            } else {
                assert!(product.abs() < 0.1, "{a} {b} {product}");
            }
        }
    }
    let [user_items, _] = matrix(&rows, 5);
    assert!(loss(&user_items, &model) < 0.01);
}

#[test]
fn a_checkerboard_ranks_items_of_the_same_colour_first() {
    // Users of a colour have about half of its items; the others come before every item of the other colour.
    let (users, items) = (200u32, 40u32);
    let mut state = 5u64;
    let mut coin = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 63 == 1
    };
    let rows: Vec<Vec<u32>> =
        (0..users).map(|user| (0..items).filter(|item| item % 2 == user % 2 && coin()).collect()).collect();
    let params = Params { factors: 4, iterations: 30, batch_size: Some(32), ..Params::default() };
    let model = run(&rows, items as usize, &params);
    for (user, own) in rows.iter().enumerate() {
        let score = |item: u32| {
            let row = &model.items[item as usize * 4..][..4];
            model.users[user * 4..][..4].iter().zip(row).map(|(a, b)| a * b).sum::<f32>()
        };
        let of = |same: bool| {
            (0..items).filter(move |item| (item % 2 == user as u32 % 2) == same && !own.contains(item))
        };
        let worst = of(true).map(score).fold(f32::INFINITY, f32::min);
        assert!(worst > of(false).map(score).fold(f32::NEG_INFINITY, f32::max), "{user}");
    }
}

#[test]
fn users_are_the_sums_of_unit_rows() {
    let (users, items) = (70, 50);
    let rows = tastes(users, items);
    let model = run(&rows, items, &Params { factors: 20, iterations: 3, ..Params::default() });
    for row in model.items.chunks_exact(20) {
        let square: f32 = row.iter().map(|each| each * each).sum();
        assert!((square - 1.0).abs() < 1e-5 || square == 0.0);
    }
    for (own, user) in rows.iter().zip(model.users.chunks_exact(20)) {
        for (k, &found) in user.iter().enumerate() {
            let sum: f32 = own.iter().map(|&item| model.items[item as usize * 20 + k]).sum();
            assert!((found - sum).abs() < 1e-5);
        }
    }
}

#[test]
fn the_same_bits_for_every_number_of_threads_and_by_seed() {
    for (users, items, factors) in [(30, 5, 3), (300, 200, 24), (130, 400, 64)] {
        let [user_items, item_users] = matrix(&tastes(users, items), items);
        let params = Params { factors, iterations: 2, batch_size: Some(50), ..Params::default() };
        for level in levels() {
            let fit = |params: &Params| {
                let mut losses = Vec::new();
                let control = Control::unlimited();
                let matrices = [&user_items, &item_users];
                let mut note = |_, loss| losses.push(loss);
                let model = fit_at(level, matrices, params, &control, &mut note).unwrap();
                let (done, total) = control.progress();
                assert!(done <= total);
                (model, losses)
            };
            let one = fit(&params);
            assert_eq!(one.1.len(), 2);
            for threads in [2, 3] {
                assert!(one == fit(&Params { threads, ..params.clone() }), "{level:?} {threads}");
            }
            assert!(one.0 != fit(&Params { seed: 1, ..params.clone() }).0);
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let (users, items) = (400, 90);
    let rows = tastes(users, items);
    let [user_items, item_users] = matrix(&rows, items);
    let params = Params { factors: 32, iterations: 15, ..Params::default() };
    let mut losses = Vec::new();
    let control = Control::unlimited();
    let model =
        fit(&user_items, &item_users, &params, &control, &mut |at, loss| losses.push((at, loss))).unwrap();
    assert_eq!(losses.iter().map(|each| each.0).collect::<Vec<_>>(), (1..16).collect::<Vec<_>>());
    let (first, last) = (losses[0].1, losses[14].1);
    assert!(last < 0.8 * first && loss(&user_items, &model) < last, "{first} {last}");
    assert!(control.peak() <= need(users, items, user_items.entries(), &params).peak);
}

#[test]
fn small_and_odd_inputs() {
    let params = Params { factors: 4, iterations: 2, ..Params::default() };
    for threads in [1, 3] {
        let params = Params { threads, ..params.clone() };
        let nothing = run(&[], 0, &params);
        assert!(nothing.users.is_empty() && nothing.items.is_empty());
        // Users without items, of one item, and an item that nobody has.
        let odd = run(&[vec![], vec![1], vec![0, 1]], 3, &params);
        assert_eq!(&odd.users[..4], &[0.0; 4]);
        assert_eq!(&odd.users[4..8], &odd.items[4..8]);
        assert_eq!(&odd.items[8..], &[0.0; 4]);
        assert!(odd.items[..8].iter().all(|each| each.is_finite()));
        // Nobody teaches anything.
        let alone = run(&[vec![0], vec![1]], 2, &params);
        assert!(alone.items.iter().all(|each| each.is_finite()));
        // One factor, one user a step; everybody has everything.
        let all = Params { factors: 1, batch_size: Some(1), ..params.clone() };
        let all = run(&vec![vec![0, 1, 2]; 5], 3, &all);
        assert!(all.items.iter().all(|each| (each.abs() - 1.0).abs() < 1e-6));
    }
    // As many factors as could predict nothing at all: rows at right angles, whose predictions are zero.
    assert_eq!(batch::tell(2, 2.0, 2.0), batch::Told { loss: 2.0, ..Default::default() });
}

#[test]
fn entries_that_are_not_above_0_teach_nothing() {
    let mut rows = tastes(60, 20);
    rows.iter_mut().for_each(|row| row.retain(|&item| item != 7));
    let [clean, clean_items] = matrix(&rows, 20);
    rows.iter_mut().for_each(|row| {
        row.push(7);
        row.sort_unstable();
    });
    let [mut noisy, _] = matrix(&rows, 20);
    for (value, &item) in noisy.values.iter_mut().zip(&noisy.indices) {
        *value = if item == 7 { -1.0 } else { 2.5 };
    }
    let noisy_items = noisy.transpose(20);
    let params = Params { factors: 8, iterations: 3, ..Params::default() };
    let control = Control::unlimited();
    let losses = |users: &Csr, items: &Csr| {
        let mut losses = Vec::new();
        fit(users, items, &params, &control, &mut |_, loss| losses.push(loss)).unwrap();
        losses
    };
    // The row of the item itself is there, in a random direction that is turned away from everybody.
    let (a, b) = (losses(&clean, &clean_items), losses(&noisy, &noisy_items));
    assert!((a[0] - b[0]).abs() < 0.1 && a.len() == b.len(), "{a:?} {b:?}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let [users, items] = matrix(&vec![vec![0, 1]; 3], 2);
    let usual = Params { factors: 4, ..Params::default() };
    let train = |params: &Params| fit(&users, &items, params, &Control::unlimited(), &mut |_, _| ());
    for (name, params) in [
        ("factors", Params { factors: 0, ..usual.clone() }),
        ("factors", Params { factors: MAX_FACTORS + 1, ..usual.clone() }),
        ("iterations", Params { iterations: 0, ..usual.clone() }),
        ("batch_size", Params { batch_size: Some(0), ..usual.clone() }),
        ("batch_size", Params { batch_size: Some(MAX_BATCH + 1), ..usual.clone() }),
        ("learning_rate", Params { learning_rate: 0.0, ..usual.clone() }),
        ("learning_rate", Params { learning_rate: f64::NAN, ..usual.clone() }),
        ("threads", Params { threads: 0, ..usual.clone() }),
    ] {
        let refused = train(&params);
        assert!(matches!(refused, Err(Error::Parameter { name: found, .. }) if found == name), "{refused:?}");
    }
    let refused = train(&Params { learning_rate: 1e38, ..usual.clone() });
    assert_eq!(refused, Err(Error::Diverged { iterations: 0 }));
    let control = Control::unlimited();
    let wrong = Csr { indices: vec![0, 2, 0, 1, 0, 1], ..users.clone() };
    assert!(matches!(fit(&wrong, &items, &usual, &control, &mut |_, _| ()), Err(Error::Corrupted(_))));
    control.cancel();
    assert_eq!(fit(&users, &items, &usual, &control, &mut |_, _| ()), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
}

#[test]
fn too_little_memory_is_told_before_anything_is_computed() {
    let users = Csr { offsets: vec![0, 1], indices: vec![199_999], values: vec![1.0] };
    let items = users.transpose(200_000);
    let control = Control::new(500 << 20);
    let Err(Error::Memory { needed, .. }) = fit(&users, &items, &Params::default(), &control, &mut |_, _| ())
    else {
        unreachable!("200,000 items of 256 factors take more");
    };
    assert!((580..800).contains(&needed), "{needed}");
    assert_eq!((control.used(), control.peak()), (0, 0));
}
