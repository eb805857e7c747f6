//! Tests that choose the instruction set.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base::simd::levels;

use super::*;

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

/// The models of every level, which leave nothing taken but what they hold.
fn models<M>(mut fit: impl FnMut(Level, &Control) -> Result<M>, held: impl Fn(&M) -> u64) -> Vec<(Level, M)> {
    levels()
        .map(|level| {
            let control = Control::unlimited();
            let model = fit(level, &control).unwrap();
            assert_eq!(control.used(), held(&model));
            (level, model)
        })
        .collect()
}

#[test]
fn every_instruction_set_gives_the_same_factors() {
    let (user_items, item_users) = spread(150, 90, 50);
    let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
    let all = [1, 7, 16, 24, 32, 48, 64, 100, 144, 200];
    for (factors, solver) in all.into_iter().flat_map(|factors| solvers.map(|solver| (factors, solver))) {
        let params = Params { factors, solver, regularization: 1.0, iterations: 2, ..Params::default() };
        let start = start(150, 90, &params, &Control::unlimited()).unwrap();
        let fit = |level, control: &Control| {
            fit_at(level, &user_items, &item_users, start.clone(), &params, control, &mut |_, _| ())
        };
        let models = models(fit, |_| 0);
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
            assert!(apart.iter().all(|&each| each < 1e-5), "{factors} {solver:?} {apart:?}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_model_of_ratings() {
    let (user_items, item_users) = spread(150, 90, 50);
    let solvers = [Solver::ConjugateGradient, Solver::Cholesky];
    for (factors, solver) in
        [1, 24, 64, 100].into_iter().flat_map(|factors| solvers.map(|each| (factors, each)))
    {
        let als = Params { factors, solver, cg_steps: 30, iterations: 2, ..explicit::Params::default().als };
        let params = explicit::Params { als, ..explicit::Params::default() };
        let start = start(150, 90, &params.als, &Control::unlimited()).unwrap();
        let fit = |level, control: &Control| {
            let start = start.clone();
            explicit::fit_at(level, &user_items, &item_users, start, &params, control, &mut |_, _| ())
        };
        // Of the factors nothing was taken: `start` had another control.
        let models = models(fit, |model| model.bytes() - model.factors.bytes());
        let first = &models[0].1;
        let (rows, biases) = (&first.factors.items[..], &first.biases.items[..]);
        let model = explicit::Items { factors, rows, biases, mean: first.biases.mean };
        let (items, values) = user_items.row(3);
        let fold = |level| fold::fold_in_ratings_at(level, model, items, values, 0.1, params.damping).factors;
        for (level, model) in &models[1..] {
            assert_eq!(model.biases, first.biases);
            let apart = [
                distance(&first.factors.users, &model.factors.users),
                distance(&first.factors.items, &model.factors.items),
                distance(&fold(Level::Portable), &fold(*level)),
            ];
            assert!(apart.iter().all(|&each| each < 1e-5), "{factors} {solver:?} {apart:?}");
        }
    }
}

#[test]
fn a_refused_budget_is_an_error_and_nothing_stays_taken() {
    let (user_items, item_users) = spread(150, 90, 50);
    let params = Params { solver: Solver::Cholesky, ..Params::default() };
    let of_ratings = explicit::Params { als: params.clone(), ..explicit::Params::default() };
    let start = || start(150, 90, &params, &Control::unlimited()).unwrap();
    let implicit = |control: &Control| {
        fit(&user_items, &item_users, start(), &params, control, &mut |_, _| ()).map(drop)
    };
    let explicit = |control: &Control| {
        explicit::fit(&user_items, &item_users, start(), &of_ratings, control, &mut |_, _| ()).map(drop)
    };
    for fit in [&implicit as &dyn Fn(&Control) -> Result<()>, &explicit] {
        let free = Control::unlimited();
        assert_eq!(fit(&free), Ok(()));
        for limit in [0, free.peak() / 3, free.peak() / 3 * 2, free.peak() - 1] {
            let control = Control::new(limit);
            let result = fit(&control);
            assert!(matches!(result, Err(Error::Memory { .. })), "{result:?}");
            assert_eq!(control.used(), 0);
        }
    }
}
