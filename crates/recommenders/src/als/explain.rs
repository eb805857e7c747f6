//! What the score of an item rests on.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::pace::Pace;

use crate::tasks::EXPLAINING;

use super::fold::{Items, held, row};

/// Conjugate gradients end where the residual is this part of the first.
const TOLERANCE: f64 = 1e-12;

/// The part of each of somebody's items in the score of an item, in the order of `items`: the score is
/// `y_i' W Y' C p = sum_j y_i' W y_j c_j` with `W = (Y'Y + Y'(C - I) Y + lambda I)^-1` (Hu, Koren and Volinsky, ICDM 2008,
/// section 5). The sum is the score of the item for the factors of [`fold_in`](super::fold_in) of the same entries.
///
/// Arguments as there; `item` is the item whose score is explained. `W y_i` is solved for by conjugate gradients in double
/// precision: `factors^2 + 2 factors |items|` multiplications a step, seldom more than `factors` steps. An item that
/// `item_factors` does not hold, and every one where `item` is such, has a part of 0. The 8 bytes of each part stay taken from
/// the control. Errors: `Cancelled`, `Memory`, `NoMemory`.
#[allow(clippy::too_many_arguments, reason = "the arguments of fold_in, the item, and the control")]
pub fn explain(
    gram: &[f32],
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    alpha: f64,
    item: u32,
    control: &Control,
) -> Result<Vec<f64>> {
    let mut budget = Budget::new(control, EXPLAINING);
    let mut parts = budget.zeroed(items.len())?;
    let target = row(item_factors, factors, item);
    let Some(target) = target.filter(|_| factors > 0 && gram.len() == factors * factors) else {
        budget.keep(parts.len() as u64 * 8);
        return Ok(parts);
    };
    // W's inverse times a vector.
    let mut pace = Pace::new(control);
    let mut times = |vector: &[f64], answer: &mut [f64]| -> Result<()> {
        control.check()?;
        for (at, gram) in gram.chunks_exact(factors).enumerate() {
            pace.step(factors)?;
            answer[at] = dot(gram, vector) + regularization * vector[at];
        }
        for (_, row, value) in held(item_factors, factors, items, values) {
            pace.step(2 * factors)?;
            let scale = alpha * f64::from(value) * dot(row, vector);
            answer.iter_mut().zip(row).for_each(|(to, &each)| *to += scale * f64::from(each));
        }
        Ok(())
    };
    let solution = conjugate_gradients(target, 2 * factors + 10, &mut times)?;
    for (at, row, value) in held(item_factors, factors, items, values) {
        pace.step(factors)?;
        parts[at] = dot(row, &solution) * (1.0 + alpha * f64::from(value));
    }
    budget.keep(parts.len() as u64 * 8);
    Ok(parts)
}

/// The part of each of somebody's ratings in the expected rating of an item, in the order of `items`. That rating is
/// `mean + b_u + b_i + sum_j y_i' W y_j r_j` with `W = (sum_j y_j y_j' + lambda n I)^-1`, where `r_j` is what mean and biases
/// leave of the user's rating of item `j`, and `n` how many ratings there are: the factors that the last step of
/// [`explicit::fit`](super::explicit::fit) would give the user for these items.
///
/// `target` are the factors of the item whose rating is explained. An item that the model does not hold has a part of 0. The 8
/// bytes of each part stay taken from the control. Errors: `Cancelled`, `Memory`, `NoMemory`.
pub fn explain_ratings(
    model: Items<'_>,
    items: &[u32],
    values: &[f32],
    user_bias: f32,
    regularization: f64,
    target: &[f32],
    control: &Control,
) -> Result<Vec<f64>> {
    let Items { factors, rows, biases, mean } = model;
    let row = |item: u32| rows.get(item as usize * factors..(item as usize + 1) * factors);
    let mut budget = Budget::new(control, EXPLAINING);
    let mut parts = budget.zeroed(items.len())?;
    let mut held = budget.with_capacity(items.len())?;
    held.extend(items.iter().filter_map(|&item| row(item)));
    if factors == 0 || target.len() != factors || held.is_empty() {
        budget.keep(items.len() as u64 * 8);
        return Ok(parts);
    }
    let lambda = regularization * held.len() as f64;
    let mut pace = Pace::new(control);
    let mut times = |vector: &[f64], answer: &mut [f64]| -> Result<()> {
        control.check()?;
        answer.iter_mut().zip(vector).for_each(|(to, each)| *to = lambda * each);
        for row in &held {
            pace.step(2 * factors)?;
            let along = dot(row, vector);
            answer.iter_mut().zip(*row).for_each(|(to, &each)| *to += along * f64::from(each));
        }
        Ok(())
    };
    let solution = conjugate_gradients(target, 2 * factors + 10, &mut times)?;
    for ((&item, &value), part) in items.iter().zip(values).zip(&mut parts) {
        pace.step(factors)?;
        *part = row(item).zip(biases.get(item as usize)).map_or(0.0, |(row, &bias)| {
            dot(row, &solution) * (f64::from(value) - mean - f64::from(user_bias) - f64::from(bias))
        });
    }
    budget.keep(items.len() as u64 * 8);
    Ok(parts)
}

/// Writes the product of a matrix and a vector.
type Product<'a> = dyn FnMut(&[f64], &mut [f64]) -> Result<()> + 'a;

/// Solves a symmetric positive definite system that is given by its product with a vector.
fn conjugate_gradients(right: &[f32], steps: usize, times: &mut Product<'_>) -> Result<Vec<f64>> {
    let mut residual: Vec<f64> = right.iter().map(|&each| f64::from(each)).collect();
    let mut solution = vec![0.0; residual.len()];
    let mut direction = residual.clone();
    let mut product = vec![0.0; residual.len()];
    let mut square = squared(&residual);
    let enough = square * TOLERANCE * TOLERANCE;
    for _ in 0..steps {
        if square <= enough {
            break;
        }
        times(&direction, &mut product)?;
        let curvature: f64 = direction.iter().zip(&product).map(|(a, b)| a * b).sum();
        // Also where a number is not finite, and where the matrix is singular.
        if curvature.is_nan() || curvature <= 0.0 {
            break;
        }
        let length = square / curvature;
        solution.iter_mut().zip(&direction).for_each(|(to, each)| *to += length * each);
        residual.iter_mut().zip(&product).for_each(|(to, each)| *to -= length * each);
        let next = squared(&residual);
        direction.iter_mut().zip(&residual).for_each(|(to, each)| *to = each + next / square * *to);
        square = next;
    }
    Ok(solution)
}

fn squared(vector: &[f64]) -> f64 {
    vector.iter().map(|each| each * each).sum()
}

fn dot(row: &[f32], vector: &[f64]) -> f64 {
    row.iter().zip(vector).map(|(&a, b)| f64::from(a) * b).sum()
}
