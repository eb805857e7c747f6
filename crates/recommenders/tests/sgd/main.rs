//! Factorization by stochastic gradients: known answers and promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accuracy;
mod promises;

use base::{Control, Csr};
use recommenders::sgd::{self, Fitted, Loss, Params, Validation};

pub(crate) const LOSSES: [Loss; 4] = [Loss::Squared, Loss::Logistic, Loss::Bpr, Loss::Warp];

/// Users by items and the transpose, from unordered entries.
pub(crate) fn matrices(users: usize, items: usize, entries: &[(usize, usize, f32)]) -> (Csr, Csr) {
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

/// Even numbers between 0 and 1.
pub(crate) fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    }
}

pub(crate) fn fit(of: &(Csr, Csr), params: &Params) -> Fitted {
    let control = Control::unlimited();
    let start = sgd::start(of.0.rows(), of.1.rows(), params, &control).unwrap();
    let mut epochs = 0;
    let fitted = sgd::fit(&of.0, &of.1, start, params, Validation::None, &control, &mut |epoch| {
        epochs += 1;
        assert_eq!((epoch.number, epoch.score), (epochs, None));
    });
    let fitted = fitted.unwrap_or_else(|error| panic!("{error}: {params:?}, {} entries", of.0.entries()));
    assert_eq!((epochs, fitted.epochs, fitted.losses.len()), (params.iterations, epochs, epochs));
    assert!(fitted.scores.is_empty() && !fitted.converged && fitted.best_epoch == epochs);
    assert_eq!(control.used(), fitted.bytes());
    assert_eq!(control.progress().0, control.progress().1);
    fitted
}
