//! EASE against plain inversions and by hand.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base::simd::levels;

use super::*;

/// A matrix from rows of columns, and its transpose.
fn matrix(rows: &[Vec<u32>], items: usize) -> (Csr, Csr) {
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for row in rows {
        matrix.indices.extend(row);
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    matrix.values = vec![1.0; matrix.indices.len()];
    let transposed = matrix.transpose(items);
    (matrix, transposed)
}

/// Users of five tastes with some items of every taste, the first items being more popular.
fn tastes(users: usize, items: usize) -> Vec<Vec<u32>> {
    let mixed = |n: usize| ((n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize;
    let row = |user: usize| {
        let mut row: Vec<u32> = (0..3 + mixed(user) % 20)
            .map(|n| {
                let any = mixed(user * 64 + n) % items * (mixed(user * 64 + n + 7) % items) / items;
                (if n % 4 == 0 { any } else { (any / 5 * 5 + user % 5).min(items - 1) }) as u32
            })
            .collect();
        row.sort_unstable();
        row.dedup();
        row
    };
    (0..users).map(row).collect()
}

fn run(rows: &[Vec<u32>], items: usize, params: &Params) -> Neighbours {
    let (users, transposed) = matrix(rows, items);
    let control = Control::unlimited();
    let kept = fit(&users, &transposed, params, &control).unwrap();
    assert_eq!(control.used(), kept.bytes());
    assert!(control.peak() <= need(items, params).peak, "{} {:?}", control.peak(), need(items, params));
    kept.view().check(&control).unwrap();
    kept
}

/// All weights by the definition, the inverse by Gauss-Jordan with pivots.
fn plain(rows: &[Vec<u32>], items: usize, lambda: f64) -> Vec<f64> {
    let mut left = vec![0.0; items * items];
    let mut inverse = vec![0.0; items * items];
    for at in 0..items {
        left[at * (items + 1)] = lambda;
        inverse[at * (items + 1)] = 1.0;
    }
    for row in rows {
        for &a in row {
            for &b in row {
                left[a as usize * items + b as usize] += 1.0;
            }
        }
    }
    for at in 0..items {
        let pivot = (at..items)
            .max_by(|&a, &b| left[a * items + at].abs().total_cmp(&left[b * items + at].abs()))
            .unwrap();
        for column in 0..items {
            left.swap(at * items + column, pivot * items + column);
            inverse.swap(at * items + column, pivot * items + column);
        }
        let scale = 1.0 / left[at * (items + 1)];
        for column in 0..items {
            left[at * items + column] *= scale;
            inverse[at * items + column] *= scale;
        }
        for row in (0..items).filter(|&row| row != at) {
            let by = left[row * items + at];
            if by != 0.0 {
                for column in 0..items {
                    left[row * items + column] -= by * left[at * items + column];
                    inverse[row * items + column] -= by * inverse[at * items + column];
                }
            }
        }
    }
    let weight = |at: usize| {
        let (row, column) = (at / items, at % items);
        if row == column { 0.0 } else { -inverse[at] / inverse[column * (items + 1)] }
    };
    (0..items * items).map(weight).collect()
}

fn dense(kept: &Neighbours) -> Vec<f64> {
    let items = kept.view().len();
    let mut dense = vec![0.0; items * items];
    for row in 0..items {
        let (others, weights) = kept.view().row(row as u32);
        for (&other, &weight) in others.iter().zip(weights) {
            dense[row * items + other as usize] = f64::from(weight);
        }
    }
    dense
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{at}: {a} instead of {b}");
    }
}

#[test]
fn a_checkerboard_by_hand() {
    // X'X + I = [3 0 2; 0 2 0; 2 0 3]; of the first and the last item the inverse is [3 -2; -2 3] / 5.
    let kept =
        run(&[vec![0, 2], vec![1], vec![0, 2]], 3, &Params { regularization: 1.0, ..Params::default() });
    assert_eq!((&*kept.offsets, &*kept.items), (&[0, 1, 1, 2][..], &[2, 0][..]));
    let third = (2.0f64 / 3.0) as f32;
    assert!(kept.weights.iter().all(|weight| (weight - third).abs() < 1e-6), "{:?}", kept.weights);
}

#[test]
fn agrees_with_a_plain_inversion_at_every_level_and_thread_count() {
    for (users, items) in [(30, 5), (300, 127), (300, 128), (500, 129), (600, 300)] {
        let rows = tastes(users, items);
        let expected = plain(&rows, items, 3.0);
        let (by_user, by_item) = matrix(&rows, items);
        for level in levels() {
            let params = Params { regularization: 3.0, kept: 1000, ..Params::default() };
            let control = Control::unlimited();
            let kept = fit_at(level, &by_user, &by_item, &params, &control).unwrap();
            assert_near(&dense(&kept), &expected, 1e-7);
            for threads in [2, 3] {
                let params = Params { threads, ..params.clone() };
                assert!(kept == fit_at(level, &by_user, &by_item, &params, &control).unwrap(), "{threads}");
            }
        }
    }
}

#[test]
fn the_strongest_weights_of_all_are_kept() {
    let (users, items) = (400, 200);
    let mut rows = tastes(users, items);
    // Items with the same users: their weights are equal, and some stay while others go.
    for row in &mut rows {
        row.retain(|&item| item < 150);
        if row.contains(&3) {
            row.extend(150..200);
        }
    }
    let all = run(&rows, items, &Params { regularization: 2.0, kept: 1000, ..Params::default() });
    let mut order: Vec<(u32, u32, f32)> = Vec::new();
    for row in 0..items as u32 {
        let (others, weights) = all.view().row(row);
        order.extend(others.iter().zip(weights).map(|(&other, &weight)| (row, other, weight)));
    }
    order.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()).then((a.0, a.1).cmp(&(b.0, b.1))));
    for kept in [1, 2, 7, 13, 40, 150] {
        for threads in [1, 3] {
            let params = Params { regularization: 2.0, kept, threads, ..Params::default() };
            let found = run(&rows, items, &params);
            let mut expected = order[..order.len().min(kept * items)].to_vec();
            expected.sort_by_key(|&(row, other, _)| (row, other));
            let mut flat = Vec::new();
            for row in 0..items as u32 {
                let (others, weights) = found.view().row(row);
                flat.extend(others.iter().zip(weights).map(|(&other, &weight)| (row, other, weight)));
            }
            assert!(flat == expected, "{kept}: {} of {}", flat.len(), expected.len());
        }
    }
}

#[test]
fn renumbered_items_get_the_same_weights() {
    let (users, items) = (300, 150);
    let rows = tastes(users, items);
    let renumbered = |item: u32| (item * 7 + 31) % 150;
    let moved: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| {
            let mut row: Vec<u32> = row.iter().map(|&item| renumbered(item)).collect();
            row.sort_unstable();
            row
        })
        .collect();
    let params = Params { regularization: 5.0, kept: 1000, ..Params::default() };
    let (before, after) = (dense(&run(&rows, items, &params)), dense(&run(&moved, items, &params)));
    for a in 0..items as u32 {
        for b in 0..items as u32 {
            let (a_after, b_after) = (renumbered(a) as usize, renumbered(b) as usize);
            let difference = before[a as usize * items + b as usize] - after[a_after * items + b_after];
            assert!(difference.abs() < 1e-7);
        }
    }
}

#[test]
fn users_that_come_three_times_are_as_a_third_of_lambda() {
    let rows = tastes(200, 140);
    let thrice: Vec<Vec<u32>> = rows.iter().flat_map(|row| [row.clone(), row.clone(), row.clone()]).collect();
    let params = |regularization| Params { regularization, kept: 1000, ..Params::default() };
    assert_near(&dense(&run(&thrice, 140, &params(12.0))), &dense(&run(&rows, 140, &params(4.0))), 1e-7);
}

#[test]
fn values_count_where_they_are_asked_for() {
    // Users 0 and 1 with values: X = [2 1; 1 0] gives X'X = [5 2; 2 1].
    let users = Csr { offsets: vec![0, 2, 4], indices: vec![0, 1, 0, 1], values: vec![2.0, 1.0, 1.0, 0.0] };
    let items = users.transpose(2);
    let weights = |weighted, lambda| {
        let params = Params { regularization: lambda, weighted, ..Params::default() };
        fit(&users, &items, &params, &Control::unlimited()).unwrap().weights
    };
    // (X'X + I) = [6 2; 2 2]: the inverse is [2 -2; -2 6] / 8.
    assert_eq!(weights(true, 1.0), [2.0 / 6.0, 1.0]);
    // 0/1: X'X + I = [3 1; 1 2]; the inverse is [2 -1; -1 3] / 5, and the entry of value 0 is none.
    let near = |found: Vec<f32>, expected: [f32; 2]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    };
    near(weights(false, 1.0), [1.0 / 3.0, 0.5]);
}

#[test]
fn small_and_odd_inputs() {
    let default = Params { regularization: 1.0, ..Params::default() };
    for threads in [1, 4] {
        let params = Params { threads, ..default.clone() };
        // Nothing, one item, one user.
        assert_eq!(run(&[], 0, &params).offsets, [0]);
        assert_eq!(run(&[vec![0], vec![], vec![0]], 1, &params).offsets, [0, 0]);
        // [2 1; 1 2]: 1/2 each way.
        assert!(
            dense(&run(&[vec![0, 1]], 2, &params))
                .iter()
                .zip([0.0, 0.5, 0.5, 0.0])
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        // Users without items, and items that nobody has.
        let sparse = run(&[vec![], vec![1, 3], vec![], vec![1, 3]], 5, &params);
        assert_eq!((&*sparse.offsets, &*sparse.items), (&[0, 0, 1, 1, 2, 2][..], &[3, 1][..]));
        // Many users with the same: items are as good as each other. G = 1000 J + I with three items.
        let same = run(&vec![vec![0, 1, 2]; 1000], 3, &params);
        assert!(same.weights.iter().all(|weight| (f64::from(*weight) - 1000.0 / 2001.0).abs() < 1e-7));
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let (users, items) = matrix(&vec![vec![0, 1]; 3], 2);
    let train = |params: &Params| fit(&users, &items, params, &Control::unlimited());
    for regularization in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = train(&Params { regularization, ..Params::default() });
        assert!(matches!(refused, Err(Error::Parameter { name: "regularization", .. })), "{regularization}");
    }
    // 3 + 1e-20 is 3: the second item is the first.
    let refused = train(&Params { regularization: 1e-20, ..Params::default() });
    assert!(matches!(refused, Err(Error::Parameter { name: "regularization", .. })), "{refused:?}");
    for params in
        [Params { kept: 0, ..Params::default() }, Params { kept: MAX_KEPT + 1, ..Params::default() }]
    {
        assert!(matches!(train(&params), Err(Error::Parameter { name: "neighbours", .. })));
    }
    assert!(matches!(
        train(&Params { threads: 0, ..Params::default() }),
        Err(Error::Parameter { name: "threads", .. })
    ));
    let control = Control::unlimited();
    let wrong = Csr { indices: vec![0, 2, 0, 1, 0, 1], ..users.clone() };
    assert!(matches!(fit(&wrong, &items, &Params::default(), &control), Err(Error::Corrupted(_))));
    assert!(matches!(fit(&items, &items, &Params::default(), &control), Err(Error::Corrupted(_))));
    control.cancel();
    assert_eq!(fit(&users, &items, &Params::default(), &control), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
}

#[test]
fn too_many_items_are_refused_before_anything_is_computed() {
    let users = Csr { offsets: vec![0, 1], indices: vec![19_999], values: vec![1.0] };
    let items = users.transpose(20_000);
    let control = Control::new(1 << 30);
    let Err(Error::Memory { needed, advice, .. }) = fit(&users, &items, &Params::default(), &control) else {
        unreachable!("20,000 items take more than a gigabyte");
    };
    // Of all that is needed, not of the first part that does not fit.
    assert_eq!(needed, need(20_000, &Params::default()).peak.div_ceil(1 << 20));
    assert!((1500..1700).contains(&needed), "{needed}");
    assert_eq!(advice, "Use fewer items or another trainer.");
    assert_eq!((control.used(), control.peak()), (0, 0));
}
