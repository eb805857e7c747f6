//! Every algorithm once more: dense matrices, double precision, formulas as they stand in the papers.

use base::{Control, Csr};
use recommenders::als::{self, Solver, explicit};
use recommenders::item_knn::Similarity;

type Matrix = Vec<Vec<f64>>;

/// Value and time of each user and item that has them.
pub(crate) struct Dense {
    pub(crate) items: usize,
    pub(crate) cells: Vec<Vec<Option<(f32, i64)>>>,
}

impl Dense {
    /// The same, sparse.
    pub(crate) fn matrix(&self) -> Csr {
        let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
        for row in &self.cells {
            for (item, cell) in row.iter().enumerate() {
                if let Some((value, _)) = cell {
                    matrix.indices.push(item as u32);
                    matrix.values.push(*value);
                }
            }
            matrix.offsets.push(matrix.indices.len() as u64);
        }
        matrix
    }

    fn value(&self, user: usize, item: usize) -> Option<f64> {
        self.cells[user][item].map(|(value, _)| f64::from(value))
    }

    fn transposed(&self) -> Dense {
        let column = |item: usize| self.cells.iter().map(|row| row[item]).collect();
        Dense { items: self.cells.len(), cells: (0..self.items).map(column).collect() }
    }

    fn count(&self, user: usize) -> f64 {
        self.cells[user].iter().flatten().count() as f64
    }

    /// The sum of the rows of a matrix of items by items that a user has.
    fn add_up(&self, weights: &Matrix) -> Matrix {
        let sum = |user: usize, to: usize| -> f64 {
            (0..self.items).filter(|&own| self.value(user, own).is_some()).map(|own| weights[own][to]).sum()
        };
        (0..self.cells.len()).map(|user| (0..self.items).map(|to| sum(user, to)).collect()).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The solution of a system, by elimination with pivots.
fn solved(mut matrix: Matrix, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let pivot =
            (column..size).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()));
        let pivot = pivot.unwrap();
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..size {
            let by = matrix[row][column] / matrix[column][column];
            let (above, below) = matrix.split_at_mut(row);
            below[0].iter_mut().zip(&above[column]).skip(column).for_each(|(to, from)| *to -= by * from);
            right[row] -= by * right[column];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|at| matrix[row][at] * right[at]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

/// Steps of conjugate gradients from a start.
fn descended(matrix: &Matrix, right: &[f64], mut x: Vec<f64>, steps: usize) -> Vec<f64> {
    let times = |vector: &[f64]| -> Vec<f64> { matrix.iter().map(|row| dot(row, vector)).collect() };
    let mut residual: Vec<f64> = right.iter().zip(times(&x)).map(|(right, is)| right - is).collect();
    let mut direction = residual.clone();
    for _ in 0..steps {
        let square = dot(&residual, &residual);
        if square < 1e-20 {
            break;
        }
        let product = times(&direction);
        let length = square / dot(&direction, &product);
        x.iter_mut().zip(&direction).for_each(|(x, by)| *x += length * by);
        residual.iter_mut().zip(&product).for_each(|(left, by)| *left -= length * by);
        let turn = dot(&residual, &residual) / square;
        direction.iter_mut().zip(&residual).for_each(|(to, left)| *to = left + turn * *to);
    }
    x
}

fn rows(of: &[f32], factors: usize) -> Matrix {
    of.chunks(factors).map(|row| row.iter().map(|&number| f64::from(number)).collect()).collect()
}

/// Users and items before the first iteration.
fn begin(dense: &Dense, params: &als::Params) -> (Matrix, Matrix) {
    let start = als::start(dense.cells.len(), dense.items, params, &Control::unlimited()).unwrap();
    (rows(&start.users, params.factors), rows(&start.items, params.factors))
}

fn products(users: &Matrix, items: &Matrix) -> Matrix {
    users.iter().map(|user| items.iter().map(|item| dot(user, item)).collect()).collect()
}

/// `sum (1 + alpha v) (p - x y)^2 + lambda (|X|^2 + |Y|^2)`, over all pairs.
pub(crate) fn als(dense: &Dense, params: &als::Params) -> Matrix {
    let half = |of: &Dense, rows: &mut Matrix, fixed: &Matrix| {
        for (user, row) in rows.iter_mut().enumerate() {
            if of.count(user) == 0.0 {
                row.fill(0.0);
                continue;
            }
            let mut matrix = vec![vec![0.0; params.factors]; params.factors];
            let mut right = vec![0.0; params.factors];
            for (item, fixed) in fixed.iter().enumerate() {
                let value = of.value(user, item);
                let confidence = 1.0 + value.map_or(0.0, |value| params.alpha * value);
                for (at, matrix) in matrix.iter_mut().enumerate() {
                    matrix.iter_mut().zip(fixed).for_each(|(to, by)| *to += confidence * fixed[at] * by);
                    right[at] += if value.is_some() { confidence * fixed[at] } else { 0.0 };
                }
            }
            (0..params.factors).for_each(|at| matrix[at][at] += params.regularization);
            *row = match params.solver {
                Solver::Cholesky => solved(matrix, right),
                Solver::ConjugateGradient => descended(&matrix, &right, row.clone(), params.cg_steps),
            };
        }
    };
    let (mut users, mut items) = begin(dense, params);
    let transposed = dense.transposed();
    for _ in 0..params.iterations {
        half(dense, &mut users, &items);
        half(&transposed, &mut items, &users);
    }
    products(&users, &items)
}

/// Damped biases, then `sum (rest - x y)^2 + lambda (sum n |x|^2 + sum n |y|^2)` over the ratings; within their range.
pub(crate) fn ratings(dense: &Dense, params: &explicit::Params) -> Matrix {
    let transposed = dense.transposed();
    let all: Vec<f64> = dense.cells.iter().flatten().flatten().map(|cell| f64::from(cell.0)).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let damping = params.damping.unwrap();
    let turn = |of: &Dense, columns: &[f64], damping: f64| -> Vec<f64> {
        let rest =
            |row: usize, column: usize| of.value(row, column).map(|value| value - mean - columns[column]);
        let sum = |row: usize| (0..of.items).filter_map(|column| rest(row, column)).sum::<f64>();
        (0..of.cells.len()).map(|row| sum(row) / (of.count(row) + damping)).collect()
    };
    let (mut of_users, mut of_items) = (vec![0.0; dense.cells.len()], vec![0.0; dense.items]);
    for _ in 0..10 {
        of_items = turn(&transposed, &of_users, damping.items);
        of_users = turn(dense, &of_items, damping.users);
    }
    let factors = params.als.factors;
    let half = |of: &Dense, rows: &mut Matrix, fixed: &Matrix, biases: [&[f64]; 2]| {
        for (user, row) in rows.iter_mut().enumerate() {
            let mut matrix = vec![vec![0.0; factors]; factors];
            let mut right = vec![0.0; factors];
            for (item, fixed) in fixed.iter().enumerate() {
                let Some(value) = of.value(user, item) else { continue };
                for at in 0..factors {
                    matrix[at].iter_mut().zip(fixed).for_each(|(to, by)| *to += fixed[at] * by);
                    right[at] += (value - mean - biases[0][user] - biases[1][item]) * fixed[at];
                }
            }
            (0..factors).for_each(|at| matrix[at][at] += params.als.regularization * of.count(user));
            *row = solved(matrix, right);
        }
    };
    let (mut users, mut items) = begin(dense, &params.als);
    for _ in 0..params.als.iterations {
        half(dense, &mut users, &items, [&of_users, &of_items]);
        half(&transposed, &mut items, &users, [&of_items, &of_users]);
    }
    let mut scores = products(&users, &items);
    let (low, high) =
        (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(f64::MIN, f64::max));
    for (row, user) in scores.iter_mut().zip(&of_users) {
        for (score, item) in row.iter_mut().zip(&of_items) {
            *score = (*score + mean + user + item).clamp(low, high);
        }
    }
    scores
}

/// `B = I - P diag(1 / diag P)` with `P = (X'X + lambda I)^-1`.
pub(crate) fn ease(dense: &Dense, lambda: f64) -> Matrix {
    let has = |user: usize, item: usize| f64::from(u8::from(dense.value(user, item).is_some()));
    let common =
        |a: usize, b: usize| (0..dense.cells.len()).map(|user| has(user, a) * has(user, b)).sum::<f64>();
    let mut gram: Matrix =
        (0..dense.items).map(|a| (0..dense.items).map(|b| common(a, b)).collect()).collect();
    (0..dense.items).for_each(|item| gram[item][item] += lambda);
    let unit = |one: usize| (0..dense.items).map(|at| f64::from(u8::from(at == one))).collect();
    // Symmetric, so columns are rows.
    let inverse: Matrix = (0..dense.items).map(|item| solved(gram.clone(), unit(item))).collect();
    let weight = |from: usize, to: usize| if from == to { 0.0 } else { -inverse[from][to] / inverse[to][to] };
    dense
        .add_up(&(0..dense.items).map(|from| (0..dense.items).map(|to| weight(from, to)).collect()).collect())
}

/// The formulas of `item_knn::Similarity`.
pub(crate) fn item_knn(dense: &Dense, similarity: Similarity) -> Matrix {
    let users = dense.cells.len();
    let idf = |user: usize| (dense.items as f64).ln() - (1.0 + dense.count(user)).ln();
    let length = |item: usize| (0..users).filter_map(|user| dense.value(user, item)).sum::<f64>();
    let mean = (0..dense.items).map(length).sum::<f64>() / dense.items as f64;
    // What an item's vector has for each user.
    let vector = |item: usize| -> Vec<f64> {
        let entry = |user: usize| {
            let value = dense.value(user, item)?;
            Some(match similarity {
                Similarity::Cosine => value,
                Similarity::Jaccard => 1.0,
                Similarity::TfIdf => value.sqrt() * idf(user),
                Similarity::Bm25 { k1, b } => {
                    value * (k1 + 1.0) / (value + k1 * (1.0 - b + b * length(item) / mean)) * idf(user)
                }
            })
        };
        (0..users).map(|user| entry(user).unwrap_or(0.0)).collect()
    };
    let weight = |a: usize, b: usize| {
        let (x, y) = (vector(a), vector(b));
        let product = dot(&x, &y);
        let weight = match similarity {
            Similarity::Cosine | Similarity::TfIdf => product / (dot(&x, &x) * dot(&y, &y)).sqrt(),
            Similarity::Jaccard => product / (x.iter().sum::<f64>() + y.iter().sum::<f64>() - product),
            Similarity::Bm25 { .. } => product,
        };
        if a == b || weight.is_nan() { 0.0 } else { weight }
    };
    dense.add_up(&(0..dense.items).map(|a| (0..dense.items).map(|b| weight(a, b)).collect()).collect())
}

/// Each item's share, an entry counting `2^(-age / half_life)`.
pub(crate) fn popularity(dense: &Dense, half_life: Option<f64>) -> Matrix {
    let newest = dense.cells.iter().flatten().flatten().map(|cell| cell.1).max().unwrap();
    let count =
        |cell: &(f32, i64)| half_life.map_or(1.0, |half| 0.5f64.powf((newest - cell.1) as f64 / half));
    let weight =
        |item: usize| dense.cells.iter().filter_map(|row| row[item].as_ref()).map(count).sum::<f64>();
    let weights: Vec<f64> = (0..dense.items).map(weight).collect();
    let all = weights.iter().sum::<f64>();
    vec![weights.iter().map(|weight| weight / all).collect(); dense.cells.len()]
}

#[test]
fn a_system_is_solved() {
    let matrix = vec![vec![0.0, 2.0, 1.0], vec![2.0, 5.0, 0.0], vec![1.0, 0.0, 3.0]];
    let right = vec![7.0, 12.0, 10.0];
    let x = solved(matrix.clone(), right.clone());
    assert!((0..3).all(|row| (dot(&matrix[row], &x) - right[row]).abs() < 1e-12), "{x:?}");
}
