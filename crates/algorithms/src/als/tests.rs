//! Tests that choose the instruction set.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::simd::levels;

/// Every user has `entries` items, spread without a pattern that the factors could follow.
fn spread(users: usize, items: usize, entries: usize) -> (Csr, Csr) {
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for user in 0..users {
        let mut row: Vec<u32> =
            (0..entries).map(|each| ((user * 31 + each * each * 7 + each) % items) as u32).collect();
        row.sort_unstable();
        row.dedup();
        matrix.values.extend(row.iter().map(|&item| (item as usize * user % 5 + 1) as f32));
        matrix.indices.extend(row);
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    let transposed = matrix.transpose(items);
    (matrix, transposed)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |pair: (&f32, &f32)| f64::from(pair.0 - pair.1).powi(2);
    let length = a.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>();
    (a.iter().zip(b).map(square).sum::<f64>() / length.max(f64::MIN_POSITIVE)).sqrt()
}

#[test]
fn every_instruction_set_gives_the_same_factors() {
    let (user_items, item_users) = spread(150, 90, 50);
    for factors in [1, 7, 16, 24, 32, 48, 64, 100, 144, 200] {
        let params = Params { factors, regularization: 1.0, iterations: 2, ..Params::default() };
        let start = start(150, 90, &params, &Control::unlimited()).unwrap();
        let models: Vec<_> = levels()
            .map(|level| {
                let (start, control) = (start.clone(), Control::unlimited());
                let model = fit_at(level, &user_items, &item_users, start, &params, &control, &mut |_, _| ())
                    .unwrap();
                assert_eq!(control.used(), 0);
                (level, model)
            })
            .collect();
        let first = &models[0].1;
        let gram = gram(&first.items, factors, 1, &Control::unlimited()).unwrap();
        let (items, values) = user_items.row(3);
        let fold = |level| fold::fold_in_at(level, &gram, &first.items, factors, items, values, 1.0, 1.0);
        for (level, model) in &models[1..] {
            let apart = [
                distance(&first.users, &model.users),
                distance(&first.items, &model.items),
                distance(&fold(Level::Portable), &fold(*level)),
            ];
            assert!(apart.iter().all(|&each| each < 1e-5), "{factors} {apart:?}");
        }
    }
}

#[test]
fn a_refused_budget_is_an_error_and_nothing_stays_taken() {
    let (user_items, item_users) = spread(150, 90, 50);
    let params = Params::default();
    for limit in [0, 40_000, 70_000] {
        let control = Control::new(limit);
        let start = start(150, 90, &params, &Control::unlimited()).unwrap();
        let result = fit(&user_items, &item_users, start, &params, &control, &mut |_, _| ());
        assert!(matches!(result, Err(Error::Memory { .. })), "{result:?}");
        assert_eq!(control.used(), 0);
    }
}
