//! Matrix factorization of implicit feedback by alternating least squares.
//!
//! Minimises `sum c_ui (p_ui - x_u . y_i)^2 + lambda (|X|^2 + |Y|^2)` over all pairs of a user and an item,
//! where an entry has preference `p = 1` and confidence `c = 1 + alpha * value`, and an absent one `p = 0`
//! and `c = 1` (Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008).
//! Each row is solved by a few steps of conjugate gradients from its last factors (Takács, Pilászy and Tikk,
//! Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering, RecSys 2011), or exactly.
//!
//! [`explicit`] is for ratings.
//!

mod biases;
mod cholesky;
mod explain;
pub mod explicit;
mod fold;
mod gram;
mod half;
pub(crate) mod kernel;
mod loss;
mod refine;
mod solve;
mod start;
#[cfg(test)]
mod tests;

use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::need::Need;
use base::simd::{Level, level};
use base::wide::{Wide, padding};
pub use explain::explain;
pub use fold::{fold_in, fold_in_with};
pub(crate) use gram::{gram_at, gram_bytes};
pub use loss::loss;
pub use refine::refine;
pub(crate) use start::normal;
pub use start::start;

use crate::factors::{Factors, check_shapes, finite};

/// The most factors a model can have.
pub const MAX_FACTORS: usize = 2048;

/// The most iterations of a training.
pub const MAX_ITERATIONS: usize = 10_000;

/// How a row is solved from the fixed other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Solver {
    /// A few steps of conjugate gradients from the row's last factors.
    #[default]
    ConjugateGradient,
    /// Exactly, by a Cholesky factorization: the loss falls faster per iteration, and an iteration takes longer the more
    /// factors there are. A row whose matrix is singular in `f32` is solved by conjugate gradients.
    Cholesky,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Numbers per user and per item, 1 to 2048; 64. Multiples of 16 are fastest.
    pub factors: usize,
    /// Lambda, the weight of the squared factors, at least 0; 0.01.
    pub regularization: f64,
    /// Confidence of an entry is `1 + alpha * value`, above 0; 1.
    pub alpha: f64,
    /// Passes over users and items, 1 to 10000; 15.
    pub iterations: usize,
    /// Conjugate gradients.
    pub solver: Solver,
    /// Steps of conjugate gradients per row and iteration, 1 to 100; 3.
    pub cg_steps: usize,
    /// Of the start factors.
    pub seed: u64,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            factors: 64,
            regularization: 0.01,
            alpha: 1.0,
            iterations: 15,
            solver: Solver::default(),
            cg_steps: 3,
            seed: 0,
            threads: 1,
        }
    }
}

impl Params {
    /// `Error::Parameter` for the first parameter outside its range.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(1..=MAX_FACTORS).contains(&self.factors) {
            return error("factors", "between 1 and 2048", self.factors.to_string());
        }
        if !(self.regularization >= 0.0 && self.regularization.is_finite()) {
            return error("regularization", "a finite number, at least 0", self.regularization.to_string());
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return error("alpha", "a finite number above 0", self.alpha.to_string());
        }
        if !(1..=MAX_ITERATIONS).contains(&self.iterations) {
            return error("iterations", "between 1 and 10000", self.iterations.to_string());
        }
        if !(1..=100).contains(&self.cg_steps) {
            return error("cg_steps", "between 1 and 100", self.cg_steps.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        Ok(())
    }

    fn method(&self) -> solve::Method {
        match self.solver {
            Solver::ConjugateGradient => solve::Method::steps(self.cg_steps),
            Solver::Cholesky => solve::Method::Cholesky { steps: self.cg_steps },
        }
    }
}

/// What [`start`] and [`fit`] take for so many users and items.
pub fn need(users: usize, items: usize, params: &Params) -> Need {
    let factors = params.factors;
    let width = factors.next_multiple_of(16);
    let result = ((users + items) * factors * 4) as u64;
    let most = users.max(items);
    let peak = result + rows_need(users, items, params) + gram_bytes(most, width);
    Need { peak, result }
}

/// Memory beside the factors that every fit takes: their padding, and what solves the rows.
fn rows_need(users: usize, items: usize, params: &Params) -> u64 {
    let width = params.factors.next_multiple_of(16);
    let systems = match params.solver {
        Solver::ConjugateGradient => 0,
        Solver::Cholesky => params.threads as u64 * cholesky::bytes(width),
    };
    padding(users, params.factors) + padding(items, params.factors) + half::bytes(users.max(items)) + systems
}

/// Trains from `start`. Each iteration solves all users from the items, then all items from the users; a row
/// without entries becomes zeros. The result is the same to the bit for every number of threads.
///
/// * `user_items`: users by items, values not negative; `item_users`: its transpose.
/// * `on_iteration` is called in this thread with the iteration, from 1, and the loss after it. The loss
///   falls out of the last half-iteration at no cost, to about six digits; `loss` computes it in double
///   precision.
///
/// Progress counts entries: each is passed twice per iteration. Beyond the factors themselves it takes from
/// the budget what rounds them up to a multiple of 16, and at most 64 MB for Gram matrices.
///
/// Errors: `Parameter`, `Cancelled` (noticed within 10 ms by every thread), `Memory`, `Diverged` if the
/// factors left the finite numbers, `Corrupted` if the shapes of matrices and factors disagree.
pub fn fit(
    user_items: &Csr,
    item_users: &Csr,
    start: Factors,
    params: &Params,
    control: &Control,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Factors> {
    fit_at(level(), user_items, item_users, start, params, control, on_iteration)
}

fn fit_at(
    level: Level,
    user_items: &Csr,
    item_users: &Csr,
    start: Factors,
    params: &Params,
    control: &Control,
    on_iteration: &mut dyn FnMut(usize, f64),
) -> Result<Factors> {
    params.check()?;
    let Factors { factors, users, items } = start;
    check_shapes(user_items, item_users, (&users, &items), [factors, params.factors], control)?;
    let training = Training { level, user_items, item_users, params, control };
    let (mut users, mut items) = (Wide::new(users, factors, control)?, Wide::new(items, factors, control)?);
    training.run(&mut users, &mut items, on_iteration)?;
    Ok(Factors { factors, users: users.narrow()?, items: items.narrow()? })
}

/// The Gram matrix `rows' * rows` of row-major `rows` with `factors` numbers each: `factors * factors`,
/// symmetric. What `fold_in` needs of a model, from its item factors. The same bits for every number of
/// threads.
///
/// Errors: `Cancelled`, `Memory`, `Parameter` if `factors` is not between 1 and 2048.
pub fn gram(rows: &[f32], factors: usize, threads: usize, control: &Control) -> Result<Vec<f32>> {
    Params { factors, threads, ..Params::default() }.check()?;
    gram::gram_at(level(), rows, factors, threads, control)
}

/// Rows of a matrix that are solved.
struct Part<'a> {
    matrix: &'a Csr,
    /// Which; nothing for all.
    chosen: Option<&'a [u32]>,
    /// As of [`half::half`].
    offsets: &'a [u64],
}

impl<'a> Part<'a> {
    fn all(matrix: &'a Csr) -> Self {
        Part { matrix, chosen: None, offsets: &matrix.offsets }
    }
}

/// What every half-iteration uses.
struct Training<'a> {
    level: Level,
    user_items: &'a Csr,
    item_users: &'a Csr,
    params: &'a Params,
    control: &'a Control,
}

impl Training<'_> {
    /// Trains padded factors in place.
    fn run(
        &self,
        users: &mut [f32],
        items: &mut [f32],
        on_iteration: &mut dyn FnMut(usize, f64),
    ) -> Result<()> {
        let iterations = self.params.iterations;
        self.control.start(2 * (self.user_items.entries() * iterations) as u64);
        for iteration in 1..=iterations {
            let diverged = Error::Diverged { iterations: iteration - 1 };
            self.half(&Part::all(self.user_items), users, items, &diverged)?;
            let loss = self.half(&Part::all(self.item_users), items, users, &diverged)?;
            if iteration == iterations && !finite(items, self.control)? {
                return Err(diverged);
            }
            on_iteration(iteration, loss);
        }
        Ok(())
    }

    /// Solves all `rows` of a part from the `fixed` ones and returns the loss.
    fn half(&self, part: &Part<'_>, rows: &mut [f32], fixed: &[f32], diverged: &Error) -> Result<f64> {
        let Self { level, params, control, .. } = *self;
        let width = params.factors.next_multiple_of(16);
        let gram = gram::gram_at(level, fixed, width, params.threads, control)?;
        // Its diagonal sums the squares of the fixed factors, so it is finite only if they are.
        let squares: f64 = gram.iter().step_by(width + 1).map(|&each| f64::from(each)).sum();
        if !squares.is_finite() {
            return Err(diverged.clone());
        }
        let gram = fold::regularized(&gram, width, params.regularization, control)?;
        let (method, alpha) = (params.method(), params.alpha as f32);
        let feedback = solve::Feedback::Implicit { gram: &gram, alpha };
        // SAFETY: `check_shapes` found a row for every index.
        let task = unsafe { solve::Task::new(part.matrix, fixed, params.factors, feedback, method, control) };
        let task = task.of(part.chosen);
        let sums = half::half(level, &task, part.offsets, rows, (width, method), params.threads, control)?;
        let loss = sums.all + params.regularization * squares;
        if loss.is_finite() { Ok(loss) } else { Err(diverged.clone()) }
    }
}
