//! The loss in double precision.

use base::csr::Csr;

use crate::factors::Factors;

use super::Params;

/// The loss that training minimises, over all pairs of a user and an item, in double precision and one
/// thread. The pairs without an entry come from the product of two Gram matrices: `sum (x_u . y_i)^2 = <X'X,
/// Y'Y>`.
///
/// `user_items` has a row per user; only `alpha` and `regularization` of the parameters are used.
pub fn loss(user_items: &Csr, factors: &Factors, params: &Params) -> f64 {
    let width = factors.factors;
    let users = gram(&factors.users, width);
    let items = gram(&factors.items, width);
    let squares = trace(&users, width) + trace(&items, width);
    let mut loss = params.regularization * squares;
    loss += users.iter().zip(&items).map(|(a, b)| a * b).sum::<f64>();
    for (user, x) in factors.users.chunks_exact(width).enumerate().take(user_items.rows()) {
        let (items, values) = user_items.row(user);
        for (&item, &value) in items.iter().zip(values) {
            let y = &factors.items[item as usize * width..][..width];
            let score: f64 = x.iter().zip(y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let confidence = 1.0 + params.alpha * f64::from(value);
            loss += confidence * (1.0 - score).powi(2) - score.powi(2);
        }
    }
    loss
}

fn trace(gram: &[f64], width: usize) -> f64 {
    gram.iter().step_by(width + 1).sum()
}

/// `rows' * rows`; the inner loop runs over neighbours, so the compiler vectorises it.
fn gram(rows: &[f32], width: usize) -> Vec<f64> {
    let mut gram = vec![0.0; width * width];
    for row in rows.chunks_exact(width) {
        for (sums, &scale) in gram.chunks_exact_mut(width).zip(row) {
            for (sum, &each) in sums.iter_mut().zip(row) {
                *sum += f64::from(scale) * f64::from(each);
            }
        }
    }
    gram
}
