//! The loss of a model, slowly.

use base::csr::Csr;

use crate::factors::Factors;

use super::batch::{counted, tell};

/// The mean loss of the users of at least two items that count, in double precision and in one thread; 0 where there are none.
/// `users * factors^2` multiplications: for tests and measurements.
pub fn loss(user_items: &Csr, model: &Factors) -> f64 {
    let factors = model.factors;
    let mut gram = vec![0.0; factors * factors];
    for row in model.items.chunks_exact(factors) {
        for (a, to) in row.iter().zip(gram.chunks_exact_mut(factors)) {
            to.iter_mut().zip(row).for_each(|(to, b)| *to += f64::from(*a) * f64::from(*b));
        }
    }
    let (mut all, mut users) = (0.0, 0);
    for user in 0..user_items.rows() {
        let (items, values) = user_items.row(user);
        let mut sum = vec![0.0; factors];
        let mut count = 0;
        for item in counted(items, values) {
            let row = &model.items[item as usize * factors..][..factors];
            sum.iter_mut().zip(row).for_each(|(to, &each)| *to += f64::from(each));
            count += 1;
        }
        if count > 1 {
            let length = sum.iter().map(|each| each * each).sum();
            let rows = sum.iter().zip(gram.chunks_exact(factors));
            let squares = rows.map(|(a, row)| a * row.iter().zip(&sum).map(|(g, b)| g * b).sum::<f64>());
            all += tell(count, length, squares.sum()).loss;
            users += 1;
        }
    }
    all / f64::from(users.max(1))
}
