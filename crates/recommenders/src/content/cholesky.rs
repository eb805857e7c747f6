//! A symmetric positive definite system with many right sides, in `f64`.

use base::control::Control;
use base::error::{Error, Result};

/// Numbers handled between two looks at the control: a few milliseconds.
const PIECE: usize = 1 << 22;

/// Replaces the lower half of a row-major matrix by its Cholesky factor `L`, `A = L L'`.
///
/// Where a pivot is not positive nothing is left of the matrix but rounding: `Diverged`.
pub(super) fn factor(matrix: &mut [f64], size: usize, control: &Control) -> Result<()> {
    for row in 0..size {
        control.check()?;
        let (above, rest) = matrix.split_at_mut(row * size);
        let own = &mut rest[..size];
        for (column, other) in above.chunks_exact(size).enumerate() {
            own[column] = (own[column] - dot(&own[..column], &other[..column])) / other[column];
        }
        let pivot = own[row] - dot(&own[..row], &own[..row]);
        if pivot.is_nan() || pivot <= 0.0 {
            return Err(Error::Diverged { iterations: 0 });
        }
        own[row] = pivot.sqrt();
    }
    Ok(())
}

/// Replaces `size` rows of `width` right sides by the solutions.
pub(super) fn solve(
    factor: &[f64],
    size: usize,
    right: &mut [f64],
    width: usize,
    control: &Control,
) -> Result<()> {
    let mut work = 0;
    let mut pace = |more: usize| {
        work += more;
        if work < PIECE {
            return Ok(());
        }
        work = 0;
        control.check()
    };
    for row in 0..size {
        let (above, rest) = right.split_at_mut(row * width);
        let own = &mut rest[..width];
        for (other, &by) in above.chunks_exact(width).zip(&factor[row * size..]) {
            pace(width)?;
            own.iter_mut().zip(other).for_each(|(to, from)| *to -= by * from);
        }
        let pivot = factor[row * (size + 1)];
        own.iter_mut().for_each(|each| *each /= pivot);
    }
    for row in (0..size).rev() {
        let (above, rest) = right.split_at_mut(row * width);
        let own = &mut rest[..width];
        let pivot = factor[row * (size + 1)];
        own.iter_mut().for_each(|each| *each /= pivot);
        for (other, &by) in above.chunks_exact_mut(width).zip(&factor[row * size..]) {
            pace(width)?;
            other.iter_mut().zip(&*own).for_each(|(to, from)| *to -= by * from);
        }
    }
    control.check()
}

/// Eight sums side by side, so that the compiler uses wide registers; always in the same order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}
