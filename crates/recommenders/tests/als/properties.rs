//! What holds of every input, for both solvers and both kinds of feedback.

use base::{Control, Csr};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use recommenders::als::{self, Params, Solver};
use recommenders::factors::Factors;

use crate::ratings::{Entries, params as rating_params, train};
use crate::{assert_near, doubles, fit, matrices};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() }
}

#[derive(Debug, Clone)]
struct Case {
    users: usize,
    items: usize,
    entries: Entries,
    factors: usize,
    regularization: f64,
    alpha: f64,
    solver: Solver,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    (1usize..60, 1usize..40, 1usize..40, 0.05f64..5.0, 0.1f64..20.0, any::<bool>(), 0u64..1000).prop_flat_map(
        |(users, items, factors, regularization, alpha, exact, seed)| {
            let value = (0u8..10).prop_map(|steps| f32::from(steps) * 0.5);
            let entries = prop::collection::btree_map((0..users, 0..items), value, 1..300);
            entries.prop_map(move |entries| Case {
                users,
                items,
                entries: entries.into_iter().map(|((user, item), value)| (user, item, value)).collect(),
                factors,
                regularization,
                alpha,
                solver: if exact { Solver::Cholesky } else { Solver::ConjugateGradient },
                seed,
            })
        },
    )
}

impl Case {
    fn params(&self) -> Params {
        Params {
            factors: self.factors,
            regularization: self.regularization,
            alpha: self.alpha,
            iterations: 4,
            solver: self.solver,
            seed: self.seed,
            ..Params::default()
        }
    }

    fn matrices(&self) -> (Csr, Csr) {
        matrices(self.users, self.items, &self.entries)
    }

    fn start(&self) -> Factors {
        als::start(self.users, self.items, &self.params(), &Control::unlimited()).unwrap()
    }
}

fn falls(losses: &[f64]) -> bool {
    losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-5) + 1e-9)
}

fn scaled(entries: &Entries, by: f32) -> Entries {
    entries.iter().map(|&(user, item, value)| (user, item, value * by)).collect()
}

/// Rows in another order.
fn moved(rows: &[f32], width: usize, to: &[usize]) -> Vec<f32> {
    let mut result = vec![0.0; rows.len()];
    for (row, &to) in rows.chunks(width).zip(to) {
        result[to * width..][..width].copy_from_slice(row);
    }
    result
}

/// A rotation and a reversal: a permutation without a pattern that sorting would undo.
fn permutation(count: usize, by: usize) -> Vec<usize> {
    (0..count).map(|at| (count - 1 - at + by) % count).collect()
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn the_loss_never_rises(case in cases()) {
        let (user_items, item_users) = case.matrices();
        let (_, losses) = fit(&user_items, &item_users, case.start(), &case.params());
        prop_assert!(falls(&losses), "{losses:?}");
        let mut params = rating_params(case.factors, case.solver);
        params.als = Params { regularization: case.regularization * 0.1, ..case.params() };
        let (_, losses) = train(&user_items, &item_users, case.start(), &params);
        prop_assert!(falls(&losses), "{losses:?}");
    }

    #[test]
    fn the_order_of_users_and_items_is_nothing_but_an_order(case in cases(), by in 0usize..40) {
        // Exact, or the order of sums would show in steps that are not converged.
        let case = Case { solver: Solver::Cholesky, regularization: 1.0 + case.regularization, ..case };
        let (users, items) = (permutation(case.users, by), permutation(case.items, by));
        let entries: Entries =
            case.entries.iter().map(|&(user, item, value)| (users[user], items[item], value)).collect();
        let start = case.start();
        let width = case.factors;
        let other_start =
            Factors { factors: width, users: moved(&start.users, width, &users), items: moved(&start.items, width, &items) };
        let mut params = rating_params(case.factors, case.solver);
        params.als = Params { iterations: 2, ..case.params() };
        let (user_items, item_users) = case.matrices();
        let (other_users, other_items) = matrices(case.users, case.items, &entries);
        let (a, _) = fit(&user_items, &item_users, start.clone(), &params.als);
        let (b, _) = fit(&other_users, &other_items, other_start.clone(), &params.als);
        assert_near(&b.users, &doubles(&moved(&a.users, width, &users)), 2e-3);
        assert_near(&b.items, &doubles(&moved(&a.items, width, &items)), 2e-3);
        let (a, _) = train(&user_items, &item_users, start, &params);
        let (b, _) = train(&other_users, &other_items, other_start, &params);
        for (&(user, item, _), &(to, at, _)) in case.entries.iter().zip(&entries) {
            let scores = (a.score(Some(user as u32), Some(item as u32)), b.score(Some(to as u32), Some(at as u32)));
            prop_assert!((scores.0 - scores.1).abs() < 1e-4, "{scores:?}");
        }
    }

    /// Powers of two scale every rounding too, so the bits are the same.
    #[test]
    fn the_unit_of_the_values_does_not_matter(case in cases()) {
        let (user_items, item_users) = case.matrices();
        let (large, large_items) = matrices(case.users, case.items, &scaled(&case.entries, 4.0));
        let params = case.params();
        let (a, losses) = fit(&user_items, &item_users, case.start(), &params);
        let quarter = Params { alpha: case.alpha / 4.0, ..params };
        prop_assert_eq!(fit(&large, &large_items, case.start(), &quarter), (a, losses));

        // Ratings four times as large: biases are, factors are twice as large, if lambda and the start fit.
        let mut params = rating_params(case.factors, Solver::Cholesky);
        params.als = Params { regularization: case.regularization * 0.01, solver: Solver::Cholesky, ..case.params() };
        let double = |rows: &[f32]| rows.iter().map(|each| each * 2.0).collect::<Vec<f32>>();
        let start = case.start();
        let other = Factors { factors: case.factors, users: double(&start.users), items: double(&start.items) };
        let (a, losses) = train(&user_items, &item_users, start, &params);
        params.als.regularization *= 4.0;
        let (b, other_losses) = train(&large, &large_items, other, &params);
        // Numbers below the normal ones, that rows without weight decay to, have fewer digits.
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| 2.0 * a == *b || a.abs() + b.abs() < 1e-30);
        prop_assert!(same(&a.factors.users, &b.factors.users) && same(&a.factors.items, &b.factors.items));
        prop_assert_eq!(b.biases.mean, 4.0 * a.biases.mean);
        prop_assert!(losses.iter().zip(&other_losses).all(|(a, b)| (16.0 * a - b).abs() <= 1e-12 * b + 1e-20));
    }

    #[test]
    fn threads_change_no_bit(case in cases(), threads in 2usize..5) {
        let (user_items, item_users) = case.matrices();
        let one = case.params();
        let many = Params { threads, ..one.clone() };
        let fits = [&one, &many].map(|params| fit(&user_items, &item_users, case.start(), params));
        prop_assert_eq!(&fits[0], &fits[1]);
        let ratings = [one, many].map(|als| {
            let params = als::explicit::Params { als, ..rating_params(case.factors, case.solver) };
            train(&user_items, &item_users, case.start(), &params)
        });
        prop_assert_eq!(&ratings[0], &ratings[1]);
    }
}
