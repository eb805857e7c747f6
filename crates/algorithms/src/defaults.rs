//! Settings for data whose user gave none, by a rule that was chosen on validation slices of training data only
//! (docs/als.md has the data sets, the alternatives and what each loses).

use crate::csr::Csr;

/// Alpha where none is given.
pub const ALPHA: f64 = 10.0;

/// The weight of the squared factors for implicit ALS at a given alpha:
/// `0.4 (1 + alpha m)^(3/4) (sqrt(Du) + sqrt(Di))` with `m` the mean value and `Du`, `Di` the degree of the user
/// and of the item of an average entry (the sum of squared degrees by the number of entries).
///
/// `(sqrt(Du) + sqrt(Di)) / 2` is a lower bound of the largest singular value of the 0/1 matrix, so the rule stays
/// below the weight at which all factors would become zero.
pub fn als_regularization(user_items: &Csr, item_users: &Csr, alpha: f64) -> f64 {
    let entries = user_items.entries().max(1) as f64;
    let mean = user_items.values.iter().map(|&value| f64::from(value)).sum::<f64>() / entries;
    let degree = |matrix: &Csr| {
        let squares = matrix.offsets.windows(2).map(|pair| ((pair[1] - pair[0]) as f64).powi(2)).sum::<f64>();
        squares / entries
    };
    0.4 * (1.0 + alpha * mean).powf(0.75) * (degree(user_items).sqrt() + degree(item_users).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_users_of_one_item_each() {
        // Du = 1, Di = 1, m = 1: 0.4 * 11^0.75 * 2.
        let matrix = Csr { offsets: vec![0, 1, 2], indices: vec![0, 1], values: vec![1.0, 1.0] };
        let expected = 0.8 * 11f64.powf(0.75);
        assert!((als_regularization(&matrix, &matrix.transpose(2), ALPHA) - expected).abs() < 1e-12);
    }
}
