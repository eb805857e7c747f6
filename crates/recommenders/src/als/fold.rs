//! Factors of one new user.

use base::aligned::{Aligned, Buffer};
use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::pace::Pace;
use base::simd::{Level, level};

use super::biases::{Damping, bias};
use super::solve::{Feedback, Method, Scratch, Task, solve};

/// The factors of a user who was not trained on, from the items that the user has: the minimiser of the
/// training loss with the items held fixed (Hu, Koren and Volinsky, ICDM 2008). Serves a request: it computes
/// in the calling thread, about 0.01 ms for 100 items of 64 factors.
///
/// * `gram`: `gram(item_factors, factors, ..)`, `factors * factors`; computed once per model.
/// * `item_factors`: row-major, `factors` numbers per item.
/// * `items`, `values`: the user's entries; an item that `item_factors` does not hold is ignored.
/// * `regularization`, `alpha`: those of the training.
///
/// Conjugate gradients run until the residual is 1e-6 of the first, at most `factors + 10` steps. Without
/// items, or if an input is not finite, the result is `factors` zeros; it is never NaN.
pub fn fold_in(
    gram: &[f32],
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    alpha: f64,
) -> Vec<f32> {
    fold_in_at(level(), gram, item_factors, factors, items, values, regularization, alpha)
}

/// [`fold_in`] with looks at a control, whose budget counts what it takes: for a user of millions of items.
///
/// `Error::Cancelled`, `Error::Memory`, `Error::NoMemory`.
#[allow(clippy::too_many_arguments, reason = "the arguments of fold_in and the control")]
pub fn fold_in_with(
    gram: &[f32],
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    alpha: f64,
    control: &Control,
) -> Result<Vec<f32>> {
    let zeros = vec![0.0; factors];
    if factors == 0 || gram.len() != factors * factors {
        return Ok(zeros);
    }
    let x = solve_one(level(), gram, item_factors, factors, items, values, regularization, alpha, control)?;
    Ok(if x.iter().all(|each| each.is_finite()) { x[..factors].to_vec() } else { zeros })
}

#[allow(clippy::too_many_arguments, reason = "the arguments of fold_in and the level that tests choose")]
pub(super) fn fold_in_at(
    level: Level,
    gram: &[f32],
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    alpha: f64,
) -> Vec<f32> {
    let zeros = vec![0.0; factors];
    if factors == 0 || gram.len() != factors * factors {
        return zeros;
    }
    let control = Control::unlimited();
    let x = solve_one(level, gram, item_factors, factors, items, values, regularization, alpha, &control);
    match x {
        Ok(x) if x.iter().all(|each| each.is_finite()) => x[..factors].to_vec(),
        _ => zeros,
    }
}

#[allow(clippy::too_many_arguments, reason = "the arguments of fold_in_with and the level")]
fn solve_one(
    level: Level,
    gram: &[f32],
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    alpha: f64,
    control: &Control,
) -> Result<Aligned<f32>> {
    let width = factors.next_multiple_of(16);
    let (matrix, gathered) = gather(item_factors, factors, items, values, control)?;
    let gram = regularized(gram, factors, regularization, control)?;
    let feedback = Feedback::Implicit { gram: &gram, alpha: alpha as f32 };
    let method = Method::converged(factors);
    // SAFETY: the matrix was made above, one row of `gathered` per index.
    let task = unsafe { Task::new(&matrix, &gathered, factors, feedback, method, control) };
    let mut x = Aligned::zeros(TRAINING, width, control)?;
    let loss = solve(level, &task, 0, &mut x, &mut Scratch::new(width, method, control)?)?.all;
    // The loss shows what the guards of the solver kept out of the factors.
    if !loss.is_finite() {
        x.fill(f32::NAN);
    }
    Ok(x)
}

/// The entries of one user whose items are held: the place of each among all, the factors of its item, its value.
pub(super) fn held<'a>(
    item_factors: &'a [f32],
    factors: usize,
    items: &'a [u32],
    values: &'a [f32],
) -> impl Iterator<Item = (usize, &'a [f32], f32)> {
    items
        .iter()
        .zip(values)
        .enumerate()
        .filter_map(move |(at, (&item, &value))| Some((at, row(item_factors, factors, item)?, value)))
}

/// The factors of an item, where they are held.
pub(super) fn row(item_factors: &[f32], factors: usize, item: u32) -> Option<&[f32]> {
    item_factors.get(item as usize * factors..(item as usize + 1) * factors)
}

/// The entries of one user whose items are held, as a matrix of one row over the rows gathered next to each other, padded
/// to whole registers.
fn gather(
    item_factors: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    control: &Control,
) -> Result<(Csr, Aligned<f32>)> {
    let width = factors.next_multiple_of(16);
    let mut matrix = Csr::default();
    let mut gathered = Aligned::zeros(TRAINING, items.len() * width, control)?;
    for (_, row, value) in held(item_factors, factors, items, values) {
        let at = matrix.indices.len();
        gathered[at * width..][..factors].copy_from_slice(row);
        matrix.indices.push(at as u32);
        matrix.values.push(value);
    }
    matrix.offsets = vec![0, matrix.indices.len() as u64];
    Ok((matrix, gathered))
}

/// What a model of ratings knows of its items.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// Numbers per item.
    pub factors: usize,
    /// Items by factors, row-major.
    pub rows: &'a [f32],
    /// One for each item.
    pub biases: &'a [f32],
    /// Of all ratings.
    pub mean: f64,
}

/// What a model of ratings would know of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The bias.
    pub bias: f32,
    /// The factors.
    pub factors: Vec<f32>,
}

/// Bias and factors of a user who was not trained on, from the user's ratings: the bias as the training would find it
/// beside these items' biases, then the minimiser of the loss with the items held fixed. Serves a request: it computes in
/// the calling thread, about 0.02 ms for 100 ratings of 64 factors.
///
/// An item that the model does not hold is ignored. `regularization` and `damping` are those of the training. Without
/// items, or if an input is not finite, all is zero; it is never NaN.
pub fn fold_in_ratings(
    model: Items<'_>,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    damping: Option<Damping>,
) -> Folded {
    fold_in_ratings_at(level(), model, items, values, regularization, damping)
}

pub(super) fn fold_in_ratings_at(
    level: Level,
    model: Items<'_>,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    damping: Option<Damping>,
) -> Folded {
    let control = Control::unlimited();
    ratings_at(level, model, (items, values), regularization, damping, &control)
        .unwrap_or_else(|_| nobody(model))
}

/// [`fold_in_ratings`] with looks at a control, whose budget counts what it takes: for a user of millions of ratings.
///
/// `Error::Cancelled`, `Error::Memory`, `Error::NoMemory`.
pub fn fold_in_ratings_with(
    model: Items<'_>,
    entries: (&[u32], &[f32]),
    regularization: f64,
    damping: Option<Damping>,
    control: &Control,
) -> Result<Folded> {
    ratings_at(level(), model, entries, regularization, damping, control)
}

/// What is known of somebody without ratings.
fn nobody(model: Items<'_>) -> Folded {
    Folded { bias: 0.0, factors: vec![0.0; model.factors] }
}

fn ratings_at(
    level: Level,
    model: Items<'_>,
    (items, values): (&[u32], &[f32]),
    regularization: f64,
    damping: Option<Damping>,
    control: &Control,
) -> Result<Folded> {
    if model.factors == 0 || model.biases.len() != model.rows.len() / model.factors {
        return Ok(nobody(model));
    }
    let folded = rated_one(level, model, items, values, regularization, damping, control)?;
    let finite = folded.bias.is_finite() && folded.factors.iter().all(|each| each.is_finite());
    Ok(if finite { folded } else { nobody(model) })
}

fn rated_one(
    level: Level,
    model: Items<'_>,
    items: &[u32],
    values: &[f32],
    regularization: f64,
    damping: Option<Damping>,
    control: &Control,
) -> Result<Folded> {
    let Items { factors, rows, biases, mean } = model;
    let width = factors.next_multiple_of(16);
    let (matrix, gathered) = gather(rows, factors, items, values, control)?;
    let mut budget = Budget::new(control, TRAINING);
    let mut fixed_biases: Vec<f32> = budget.with_capacity(items.len())?;
    fixed_biases.extend(items.iter().filter_map(|&item| biases.get(item as usize)));
    let bias = match damping {
        Some(damping) => {
            let mut pace = Pace::new(control);
            bias(&matrix.indices, &matrix.values, &fixed_biases, mean, damping.users, &mut pace)?
        }
        None => 0.0,
    };
    let feedback = Feedback::Explicit {
        regularization: regularization as f32,
        mean: mean as f32,
        biases: &[bias],
        fixed_biases: &fixed_biases,
    };
    let method = Method::Cholesky { steps: factors };
    // SAFETY: the matrix was made above, one row of `gathered` per index.
    let task = unsafe { Task::new(&matrix, &gathered, factors, feedback, method, control) };
    let mut x = Aligned::zeros(TRAINING, width, control)?;
    let loss = solve(level, &task, 0, &mut x, &mut Scratch::new(width, method, control)?)?.all;
    let bias = if loss.is_finite() { bias } else { f32::NAN };
    Ok(Folded { bias, factors: x[..factors].to_vec() })
}

/// A Gram matrix with lambda on its diagonal, padded with zeros to whole registers.
pub(super) fn regularized<'c>(
    gram: &[f32],
    factors: usize,
    regularization: f64,
    control: &'c Control,
) -> Result<Buffer<'c, f32>> {
    let width = factors.next_multiple_of(16);
    let mut padded = Buffer::zeros(TRAINING, width * width, control)?;
    for (row, (to, from)) in padded.chunks_exact_mut(width).zip(gram.chunks_exact(factors)).enumerate() {
        to[..factors].copy_from_slice(from);
        to[row] += regularization as f32;
    }
    Ok(padded)
}
