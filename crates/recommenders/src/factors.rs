//! Users and items as rows of numbers, and what every trainer of them asks.

use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};

/// Entries read, or numbers moved at the most factors, between two looks at the control: about 1 ms.
pub(crate) const GLANCE: usize = 1 << 20;

/// A model: the score of a user for an item is the product of their rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// Numbers per row.
    pub factors: usize,
    /// Users by factors, row-major.
    pub users: Vec<f32>,
    /// Items by factors, row-major.
    pub items: Vec<f32>,
}

impl Factors {
    /// Memory of both.
    pub fn bytes(&self) -> u64 {
        (self.users.len() + self.items.len()) as u64 * 4
    }
}

/// `Corrupted` unless there is a row of factors for every row and every column of both matrices.
pub(crate) fn check_shapes(
    user_items: &Csr,
    item_users: &Csr,
    (users, items): (&[f32], &[f32]),
    [factors, expected]: [usize; 2],
    control: &Control,
) -> Result<()> {
    let consistent = |matrix: &Csr, rows: &[f32], columns: &[f32]| {
        for indices in matrix.indices.chunks(GLANCE) {
            control.check()?;
            if indices.iter().max().is_some_and(|&last| last as usize >= columns.len() / factors) {
                return Ok(false);
            }
        }
        Ok(matrix.values.len() == matrix.entries()
            && matrix.rows() * factors == rows.len()
            && matrix.offsets.is_sorted()
            && matrix.offsets.last().is_none_or(|&end| end == matrix.entries() as u64))
    };
    let agree = factors == expected
        && user_items.entries() == item_users.entries()
        && consistent(user_items, users, items)?
        && consistent(item_users, items, users)?;
    if agree { Ok(()) } else { Err(Error::Corrupted("the shapes of matrices and factors disagree")) }
}

/// Whether all numbers are finite.
pub(crate) fn finite(numbers: &[f32], control: &Control) -> Result<bool> {
    for piece in numbers.chunks(GLANCE) {
        control.check()?;
        if !piece.iter().all(|each| each.is_finite()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The sum of the rows of items; those that are not held are ignored.
pub(crate) fn sum(rows: &[f32], factors: usize, items: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0; factors];
    for &item in items {
        let at = item as usize * factors;
        if let Some(row) = rows.get(at..at + factors) {
            sum.iter_mut().zip(row).for_each(|(to, each)| *to += each);
        }
    }
    sum
}
