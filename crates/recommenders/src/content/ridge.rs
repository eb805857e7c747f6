//! A linear map from features to factors, by ridge regression.
//!
//! Minimises `sum_i w_i |q_i - W'f_i - c|^2 + lambda |W|^2` over the rows `i` that training knows, where `w_i` says how
//! much it knows of each. Lambda is the one of a small grid that predicts best the factors of rows left out as a whole.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::pace::Pace;
use features::{CONTENT, Features};

use super::cholesky;

/// Lambdas to choose from, as multiples of the mean of the diagonal of the features' Gram matrix.
const GRID: [f64; 7] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0];

/// One of so many rows is left out to choose lambda.
const LEFT_OUT: u64 = 5;

/// A map from features to factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// A row for each feature, and the constant behind them: row-major, `width` numbers each.
    pub weights: Vec<f32>,
    /// Numbers that are mapped to.
    pub width: usize,
    /// The multiple of the mean of the diagonal that was chosen.
    pub lambda: f64,
    /// The share of the weighted squares about their mean that rows left out leave unexplained: 1 and more where
    /// features say nothing, 0 where they say everything.
    pub unexplained: f64,
}

impl Mapping {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.weights.len() as u64 * 4
    }

    /// Factors of a row of features.
    pub fn map(&self, features: (&[u32], &[f32]), factors: &mut [f32]) {
        let constant = self.weights.len() - self.width;
        factors.copy_from_slice(&self.weights[constant..]);
        for (&feature, &value) in features.0.iter().zip(features.1) {
            let row = &self.weights[feature as usize * self.width..][..self.width];
            factors.iter_mut().zip(row).for_each(|(to, from)| *to += value * from);
        }
    }
}

/// What is known: rows of features, their factors, and how much each counts.
struct Known<'a> {
    features: &'a Features,
    pairs: &'a [(u32, u32)],
    targets: &'a [f32],
    width: usize,
    weights: &'a [f64],
}

/// Finds the map from features to `targets`, rows of `width` numbers each. `pairs` are rows of features and of targets
/// that belong to each other; `weights` says how much each row of targets counts, above 0.
///
/// [`Mapping::bytes`] of the answer stay taken from the control. `Cancelled`, `Memory`, `NoMemory`.
pub fn fit(
    features: &Features,
    pairs: &[(u32, u32)],
    targets: &[f32],
    width: usize,
    weights: &[f64],
    control: &Control,
) -> Result<Mapping> {
    let mut budget = Budget::new(control, CONTENT);
    let known = Known { features, pairs, targets, width, weights };
    let size = features.columns + 1;
    // Rows that are left out, and the others.
    let mut parts = [System::zeros(size, width, &mut budget)?, System::zeros(size, width, &mut budget)?];
    let mut pace = Pace::new(control);
    for (number, &pair) in pairs.iter().enumerate() {
        parts[usize::from(is_left_out(number))].add(&known, pair, &mut pace)?;
    }
    let [most, left_out] = &mut parts;
    let mut work = System::zeros(size, width, &mut budget)?;
    let mut best: Option<(f64, f64)> = None;
    let enough = most.rows > 0 && left_out.rows > 0;
    for lambda in GRID.into_iter().filter(|_| enough) {
        work.copy(most, control)?;
        if work.solve(lambda, control).is_err() {
            control.check()?;
            continue;
        }
        let share = unexplained(&work.right, &known, &mut pace)?;
        if best.is_none_or(|(least, _)| share < least) {
            best = Some((share, lambda));
        }
    }
    let (unexplained, lambda) = best.unwrap_or((1.0, 1.0));
    most.add_all(left_out, control)?;
    most.solve(lambda, control)?;
    let mut answer = budget.with_capacity(size * width)?;
    for row in most.right.chunks(width) {
        pace.step(width)?;
        answer.extend(row.iter().map(|&number| number as f32));
    }
    let mapping = Mapping { weights: answer, width, lambda, unexplained };
    drop(parts);
    drop(work);
    budget.keep(mapping.bytes());
    Ok(mapping)
}

/// Rows are in the order of their ids: which are left out does not depend on how they came.
fn is_left_out(number: usize) -> bool {
    let mixed = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32).is_multiple_of(LEFT_OUT)
}

/// Normal equations: a symmetric matrix, of which the lower half counts, and right sides.
struct System {
    size: usize,
    width: usize,
    rows: usize,
    matrix: Vec<f64>,
    right: Vec<f64>,
}

impl System {
    fn zeros(size: usize, width: usize, budget: &mut Budget<'_>) -> Result<Self> {
        let matrix = budget.zeroed(size * size)?;
        Ok(Self { size, width, rows: 0, matrix, right: budget.zeroed(size * width)? })
    }

    /// Adds a row with its weight. The constant is a feature behind all others that is always 1.
    fn add(&mut self, known: &Known<'_>, (row, target): (u32, u32), pace: &mut Pace<'_>) -> Result<()> {
        let (features, values) = known.features.matrix.row(row as usize);
        let weight = known.weights[target as usize];
        let target = &known.targets[target as usize * self.width..][..self.width];
        let constant = [(self.size - 1, 1.0)];
        let all = || {
            let own =
                features.iter().zip(values).map(|(&feature, &value)| (feature as usize, f64::from(value)));
            own.chain(constant)
        };
        for (at, value) in all() {
            pace.step(features.len() + self.width)?;
            let by = weight * value;
            let line = &mut self.matrix[at * self.size..][..=at];
            all().take_while(|&(other, _)| other <= at).for_each(|(other, value)| line[other] += by * value);
            let right = self.right[at * self.width..][..self.width].iter_mut();
            right.zip(target).for_each(|(to, &from)| *to += by * f64::from(from));
        }
        self.rows += 1;
        Ok(())
    }

    fn copy(&mut self, from: &System, control: &Control) -> Result<()> {
        let pairs = [(&mut self.matrix, &from.matrix), (&mut self.right, &from.right)];
        for (to, from) in pairs {
            for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
                control.check()?;
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn add_all(&mut self, other: &System, control: &Control) -> Result<()> {
        let pairs = [(&mut self.matrix, &other.matrix), (&mut self.right, &other.right)];
        for (to, from) in pairs {
            for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
                control.check()?;
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
        Ok(())
    }

    /// Puts the solution in the place of the right sides. The constant is not regularized but for rounding.
    fn solve(&mut self, lambda: f64, control: &Control) -> Result<()> {
        let Self { size, width, matrix, right, .. } = self;
        let diagonal = |at: usize| at * (*size + 1);
        let sum: f64 = (0..*size - 1).map(|at| matrix[diagonal(at)]).sum();
        let mean = sum / (*size - 1).max(1) as f64;
        let constant = matrix[diagonal(*size - 1)].max(f64::MIN_POSITIVE);
        // Features that are all zero, and a constant of no rows.
        let mean = if mean > 0.0 { mean } else { constant };
        for at in 0..*size {
            matrix[diagonal(at)] += if at + 1 < *size { lambda * mean } else { 1e-9 * constant };
        }
        cholesky::factor(matrix, *size, control)?;
        cholesky::solve(matrix, *size, right, *width, control)
    }
}

/// Numbers copied between two looks at the control.
const PIECE: usize = 1 << 20;

/// The share of the weighted squares of the rows left out, about their mean, that a map leaves.
fn unexplained(weights: &[f64], known: &Known<'_>, pace: &mut Pace<'_>) -> Result<f64> {
    let width = known.width;
    let constant = &weights[weights.len() - width..];
    let (mut mapped, mut sum) = (vec![0.0; width], vec![0.0; width]);
    let (mut left, mut squares, mut all) = (0.0, 0.0, 0.0);
    let held = known.pairs.iter().enumerate().filter(|(number, _)| is_left_out(*number));
    for (_, &(row, target)) in held {
        let (features, values) = known.features.matrix.row(row as usize);
        pace.step((features.len() + 1) * width)?;
        mapped.copy_from_slice(constant);
        for (&feature, &value) in features.iter().zip(values) {
            let row = &weights[feature as usize * width..][..width];
            mapped.iter_mut().zip(row).for_each(|(to, from)| *to += f64::from(value) * from);
        }
        let weight = known.weights[target as usize];
        let target = &known.targets[target as usize * width..][..width];
        all += weight;
        for ((&number, mapped), sum) in target.iter().zip(&mapped).zip(&mut sum) {
            let number = f64::from(number);
            left += weight * (number - mapped).powi(2);
            squares += weight * number * number;
            *sum += weight * number;
        }
    }
    let about = squares - sum.iter().map(|sum| sum * sum).sum::<f64>() / all;
    // Nothing varies: nothing is left to explain.
    Ok(if about > 0.0 { left / about } else { left })
}
