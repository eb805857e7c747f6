//! Settings for data whose user gave none, by a rule that was chosen on validation slices of training data only
//! (docs/als.md has the data sets, the alternatives and what each loses).

use base::csr::Csr;

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
    0.4 * (1.0 + alpha * mean).powf(0.75) * (degree(user_items).sqrt() + degree(item_users).sqrt())
}

/// The degree of the row of an average entry: the sum of squared degrees by the number of entries.
fn degree(matrix: &Csr) -> f64 {
    let squares = matrix.offsets.windows(2).map(|pair| ((pair[1] - pair[0]) as f64).powi(2)).sum::<f64>();
    squares / matrix.entries().max(1) as f64
}

/// Lambda for EASE: `10 (Du Di)^(1/4)`, with `Du`, `Di` the degree of the user and of the item of an average entry; at
/// least 1. `sqrt(Du Di)` is about the largest singular value of the 0/1 matrix, so lambda grows as its root.
///
/// The evidence: nDCG@10 on a fifth of the items of each user, held out of the training part of a data set, mean of two
/// splits (one of all ratings), at the lambda of the rule (between two of the grid) and at the best of 1, 2, 5, …, 2000:
///
/// | | users x items | Du, Di | rule | there | best |
/// |---|---|---|---|---|---|
/// | MovieLens, ratings from 4 | 609 x 5279 | 146, 30 | 81 | 0.181 | 0.185 at 200 |
/// | MovieLens, all ratings | 610 x 8994 | 482, 47 | 123 | 0.375 | 0.379 at 200 |
/// | customers and products of a shop | 2173 x 3452 | 141, 75 | 101 | 0.254 | 0.254 at 100 |
/// | baskets and products of the same | 12351 x 3998 | 121, 192 | 123 | 0.277 | 0.282 at 50 |
/// | msweb, visits of pages | 32711 x 274 | 2.8, 2415 | 91 | 0.477 | 0.477 at 100 |
/// | msnbc, sessions and topics | 323 x 17 | 11, 228 | 70 | 0.921 | 0.921 at 100 |
/// | restaurants | 127 x 129 | 7.4, 9 | 29 | 0.308 | 0.310 at 50 |
/// | reviews of kinds of places | 5412 x 24 | 5, 1353 | 91 | 0.727 | 0.729 at 1 |
///
/// The optimum is flat: half and twice of lambda lose at most a hundredth of nDCG on each. A constant 100 would be as good
/// on all but the restaurants. The root is for larger data: Steck's best are 200 to 1000 for 136,000 to 571,000 users.
pub fn ease_regularization(user_items: &Csr, item_users: &Csr) -> f64 {
    (10.0 * (degree(user_items) * degree(item_users)).sqrt().sqrt()).max(1.0)
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
        assert_eq!(ease_regularization(&matrix, &matrix.transpose(2)), 10.0);
    }

    #[test]
    fn sixteen_users_of_one_item() {
        // Du = 1, Di = 16: 10 * 2; nothing at all: the least.
        let matrix = Csr { offsets: (0..=16).collect(), indices: vec![0; 16], values: vec![1.0; 16] };
        assert!((ease_regularization(&matrix, &matrix.transpose(1)) - 20.0).abs() < 1e-12);
        assert_eq!(ease_regularization(&Csr::default(), &Csr::default()), 1.0);
    }
}
