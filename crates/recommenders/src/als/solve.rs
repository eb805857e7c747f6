//! One half of an iteration: each row's small linear system, solved for the way from the row's last factors to its new
//! ones. By a few steps of conjugate gradients (Takács, Pilászy and Tikk, RecSys 2011), or exactly.
//!
//! A row with entries `e` solves `(B + sum w_e y_e y_e') x = sum r_e y_e`. Implicit feedback has `w = alpha * value`,
//! `r = 1 + w` and `B = Y'Y + lambda`, so that the entries that are absent cost nothing (Hu, Koren and Volinsky, ICDM
//! 2008). Ratings have `w = 1`, `r` the rating without its biases, and `B = lambda n` for `n` entries (Zhou et al., AAIM
//! 2008).

use base::aligned::Aligned;
use base::budget::TRAINING;
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::simd::Level;

use super::cholesky::System;
use super::gram::BLOCK;
use super::kernel::{BATCH, Rows, add_scaled, dot, dots, scale_add, symmetric};
#[cfg(target_arch = "x86_64")]
use base::simd::lanes::{Avx2, Avx512};
use base::simd::lanes::{Lanes, Portable};

/// What the entries mean.
#[derive(Clone, Copy)]
pub(super) enum Feedback<'a> {
    /// Preferences of 1 with confidences `1 + alpha * value`; all other pairs are preferences of 0.
    Implicit {
        /// The Gram matrix of the fixed rows with lambda on its diagonal.
        gram: &'a [f32],
        alpha: f32,
    },
    /// Ratings; other pairs are not known.
    Explicit {
        /// Lambda, per entry of a row.
        regularization: f32,
        mean: f32,
        /// Of the rows that are solved.
        biases: &'a [f32],
        /// Of the fixed rows.
        fixed_biases: &'a [f32],
    },
}

/// A squared residual of this part of what it is the difference of is rounding. Steps after it go where the curvature is
/// next to nothing, as far as rounding sends them: with more factors than the data have, they raised the loss.
const NOISE: f32 = 1e-12;

/// How a row's system is solved.
#[derive(Clone, Copy)]
pub(super) enum Method {
    /// So many steps of conjugate gradients at most. They end when the squared residual falls to `floor`, or to
    /// `tolerance` of the first.
    Gradients { steps: usize, floor: f32, tolerance: f32 },
    /// A Cholesky factorization; so many steps of conjugate gradients where the matrix is singular in `f32`: more of them
    /// would follow what rounding left of zero curvatures.
    Cholesky { steps: usize },
}

impl Method {
    /// A fixed number of steps, as a training takes.
    pub(super) fn steps(steps: usize) -> Self {
        Self::Gradients { steps, floor: 1e-20, tolerance: 0.0 }
    }

    /// Steps until the residual is a millionth of the first.
    pub(super) fn converged(factors: usize) -> Self {
        Self::Gradients { steps: factors + 10, floor: f32::MIN_POSITIVE, tolerance: 1e-12 }
    }
}

/// What all rows of one half-iteration share.
pub(super) struct Task<'a> {
    matrix: &'a Csr,
    /// The rows that are solved; nothing for all.
    chosen: Option<&'a [u32]>,
    fixed: &'a [f32],
    factors: usize,
    width: usize,
    feedback: Feedback<'a>,
    method: Method,
    /// The mean curvature of the Gram matrix, and the mean square of a row of `fixed`: they tell which curvatures of a
    /// row's system are nothing but rounding.
    curvature: f32,
    square: f32,
    control: &'a Control,
}

impl<'a> Task<'a> {
    /// `fixed` are the factors of the other side, `factors` numbers each in rows padded to whole registers.
    ///
    /// # Safety
    /// `fixed` has a row for every index of `matrix`: the loops below do not check it again.
    pub(super) unsafe fn new(
        matrix: &'a Csr,
        fixed: &'a [f32],
        factors: usize,
        feedback: Feedback<'a>,
        method: Method,
        control: &'a Control,
    ) -> Self {
        let width = factors.next_multiple_of(16);
        let rows = (fixed.len() / width).max(1) as f32;
        let (curvature, square) = match feedback {
            Feedback::Implicit { gram, .. } => {
                assert!(width > 0 && gram.len() == width * width);
                let trace: f32 = (0..width).map(|at| gram[at * (width + 1)]).sum();
                (trace / width as f32, trace / rows)
            }
            // Found row by row.
            Feedback::Explicit { .. } => (0.0, 0.0),
        };
        Self { matrix, chosen: None, fixed, factors, width, feedback, method, curvature, square, control }
    }

    /// For these rows of the matrix alone, if any are chosen.
    pub(super) fn of(self, chosen: Option<&'a [u32]>) -> Self {
        Self { chosen, ..self }
    }
}

/// The vectors of CG and the system of a row, one set per worker.
pub(super) struct Scratch<'c> {
    residual: Aligned<f32>,
    direction: Aligned<f32>,
    image: Aligned<f32>,
    system: Option<System<'c>>,
}

impl<'c> Scratch<'c> {
    pub(super) fn new(width: usize, method: Method, control: &'c Control) -> Result<Self> {
        let vector = || Aligned::zeros(TRAINING, width, control);
        let system = match method {
            Method::Gradients { .. } => None,
            Method::Cholesky { .. } => Some(System::new(width, control)?),
        };
        Ok(Self { residual: vector()?, direction: vector()?, image: vector()?, system })
    }
}

/// What rows add to the loss.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Loss {
    /// Squared errors and the weighted squares of these rows; not finite if the factors are not.
    pub(super) all: f64,
    /// The weighted squares alone, of ratings; what the other side's half cannot know.
    pub(super) squares: f64,
}

impl std::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.squares += other.squares;
    }
}

/// Solves the rows `first..` of the task in place (of the chosen ones, where there are such), as many as `rows` holds, and
/// returns their part of the loss.
pub(super) fn solve(
    level: Level,
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch<'_>,
) -> Result<Loss> {
    // Compiled apart: beside the exact solver in one function, conjugate gradients took a tenth longer.
    match task.method {
        Method::Gradients { .. } => solve_at::<false>(level, task, first, rows, scratch),
        Method::Cholesky { .. } => solve_at::<true>(level, task, first, rows, scratch),
    }
}

fn solve_at<const EXACT: bool>(
    level: Level,
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch<'_>,
) -> Result<Loss> {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx512 => unsafe { solve_avx512::<EXACT>(task, first, rows, scratch) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx2 => unsafe { solve_avx2::<EXACT>(task, first, rows, scratch) },
        // SAFETY: these instructions are everywhere.
        _ => unsafe { solve_rows::<Portable, 4, EXACT>(task, first, rows, scratch) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn solve_avx512<const EXACT: bool>(
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch<'_>,
) -> Result<Loss> {
    // SAFETY: this function is compiled for the instructions.
    unsafe { solve_rows::<Avx512, 8, EXACT>(task, first, rows, scratch) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_avx2<const EXACT: bool>(
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch<'_>,
) -> Result<Loss> {
    // SAFETY: this function is compiled for the instructions.
    unsafe { solve_rows::<Avx2, 4, EXACT>(task, first, rows, scratch) }
}

/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn solve_rows<L: Lanes, const R: usize, const EXACT: bool>(
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch<'_>,
) -> Result<Loss> {
    let mut loss = Loss::default();
    for (row, x) in (first..).zip(rows.chunks_exact_mut(task.width)) {
        let row = task.chosen.map_or(row, |chosen| chosen[row] as usize);
        let range = task.matrix.offsets[row] as usize..task.matrix.offsets[row + 1] as usize;
        if range.is_empty() {
            x.fill(0.0);
            continue;
        }
        // Unrolled for the width that most models have.
        // SAFETY: the caller vouches for the instructions.
        loss += unsafe {
            match task.width {
                64 => solve_row::<L, R, EXACT>(task, row, range, x, scratch, 64)?,
                width => solve_row::<L, R, EXACT>(task, row, range, x, scratch, width)?,
            }
        };
        task.control.check()?;
    }
    Ok(loss)
}

/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task.
#[inline(always)]
unsafe fn solve_row<L: Lanes, const R: usize, const EXACT: bool>(
    task: &Task,
    row: usize,
    range: std::ops::Range<usize>,
    x: &mut [f32],
    scratch: &mut Scratch<'_>,
    width: usize,
) -> Result<Loss> {
    let Scratch { residual, direction, image, system } = scratch;
    assert!(x.len() == width && residual.len() == width && direction.len() == width && image.len() == width);
    let (x, image) = (x.as_mut_ptr(), image.as_mut_ptr());
    // SAFETY: the four vectors are distinct and `width` long; instructions as promised.
    unsafe {
        // residual = sum (r - w y.x) y - B x; the squared errors fall out on the way.
        base::<L>(task, range.len(), x, image, width);
        let mut loss = f64::from(dot::<L>(x, image, width));
        let noise = NOISE * dot::<L>(image, image, width);
        residual.fill(0.0);
        let (error, weight) = pass::<L, true>(task, row, range.clone(), x, residual.as_mut_ptr(), width)?;
        loss += error;
        scale_add::<L>(residual.as_mut_ptr(), image, -1.0, residual.as_ptr(), width);
        let method = match (task.method, system) {
            (Method::Cholesky { steps }, Some(system)) if EXACT => {
                direction.copy_from_slice(residual);
                if exact::<L, R>(task, range.clone(), direction, system, width)? {
                    // The way to the minimum lowers the row's quadratic form by this.
                    let lower = dot::<L>(residual.as_ptr(), direction.as_ptr(), width);
                    if lower.is_finite() && lower >= 0.0 {
                        scale_add::<L>(x, direction.as_ptr(), 1.0, x, width);
                        return Ok(Loss {
                            all: loss - f64::from(lower),
                            squares: squares::<L>(task, range, x, width),
                        });
                    }
                }
                Method::steps(steps)
            }
            (method, _) => method,
        };
        let (residual, direction) = (residual.as_mut_ptr(), direction.as_mut_ptr());
        let Method::Gradients { steps, floor, tolerance } = method else {
            return Ok(Loss { all: f64::NAN, squares: 0.0 });
        };
        // Without this, lambda 0 and a large alpha divide by what rounding left of a curvature of zero.
        let mut flat = 1e-7 * (task.curvature + weight * task.square);
        let mut square = dot::<L>(residual, residual, width);
        let enough = (square * tolerance).max(floor).max(noise);
        direction.copy_from_nonoverlapping(residual, width);
        // The squared length of the direction follows from those of the residuals, which are orthogonal.
        let mut length = square;
        for step in 1..=steps {
            // NaN goes on, to be found in the curvature.
            if square <= enough {
                break;
            }
            base::<L>(task, range.len(), direction, image, width);
            pass::<L, false>(task, row, range.clone(), direction, image, width)?;
            let curvature = dot::<L>(direction, image, width);
            if !curvature.is_finite() {
                loss = f64::NAN;
                break;
            }
            if step == 1 && matches!(task.feedback, Feedback::Explicit { .. }) {
                // The first residual lies where the ratings are, so its curvature tells how large they come.
                flat = 1e-7 * curvature / length;
            }
            if curvature <= flat * length {
                break;
            }
            let rate = square / curvature;
            scale_add::<L>(x, direction, rate, x, width);
            // Each step lowers the row's quadratic form by exactly this.
            loss -= f64::from(rate) * f64::from(square);
            if step == steps {
                break;
            }
            scale_add::<L>(residual, image, -rate, residual, width);
            let next = dot::<L>(residual, residual, width);
            let keep = next / square;
            scale_add::<L>(direction, direction, keep, residual, width);
            length = next + keep * keep * length;
            square = next;
        }
        Ok(Loss { all: loss, squares: squares::<L>(task, range, x, width) })
    }
}

/// Lambda times the squares of a row of ratings.
///
/// # Safety
/// The processor has the instructions of `L`; `x` points to `width` numbers.
#[inline(always)]
unsafe fn squares<L: Lanes>(task: &Task, range: std::ops::Range<usize>, x: *const f32, width: usize) -> f64 {
    match task.feedback {
        Feedback::Implicit { .. } => 0.0,
        Feedback::Explicit { regularization, .. } => {
            // SAFETY: as the caller promises.
            let square = unsafe { dot::<L>(x, x, width) };
            f64::from(regularization) * range.len() as f64 * f64::from(square)
        }
    }
}

/// `image = B vector`, for a row of so many entries.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task; `vector` and `image` are distinct vectors of
/// `width`.
#[inline(always)]
unsafe fn base<L: Lanes>(task: &Task, entries: usize, vector: *const f32, image: *mut f32, width: usize) {
    // SAFETY: as the caller promises; the Gram matrix is `width * width`.
    unsafe {
        match task.feedback {
            Feedback::Implicit { gram, .. } => symmetric::<L>(gram.as_ptr(), vector, image, width),
            Feedback::Explicit { regularization, .. } => {
                image.write_bytes(0, width);
                scale_add::<L>(image, vector, regularization * entries as f32, image, width);
            }
        }
    }
}

/// Replaces the residual of a row by the way to its solution; false if the row's matrix is singular.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task and of the system.
#[inline(always)]
unsafe fn exact<L: Lanes, const R: usize>(
    task: &Task,
    range: std::ops::Range<usize>,
    residual: &mut [f32],
    system: &mut System<'_>,
    width: usize,
) -> Result<bool> {
    match task.feedback {
        Feedback::Implicit { gram, .. } => {
            system.copy(gram);
            system.add_diagonal(0.0, task.factors);
        }
        Feedback::Explicit { regularization, .. } => {
            system.clear();
            system.add_diagonal(regularization * range.len() as f32, task.factors);
        }
    }
    for at in range.clone().step_by(BLOCK) {
        let count = (range.end - at).min(BLOCK);
        let entries = task.matrix.indices[at..at + count].iter().zip(&task.matrix.values[at..at + count]);
        for (to, (&index, &value)) in system.block(count).chunks_exact_mut(width).zip(entries) {
            let scale = match task.feedback {
                Feedback::Implicit { alpha, .. } => (alpha * value).sqrt(),
                Feedback::Explicit { .. } => 1.0,
            };
            // SAFETY: who made the task vouched that `fixed` has a row for every index; both are `width` long.
            unsafe {
                let from = task.fixed.as_ptr().add(index as usize * width);
                let (to, scale) = (to.as_mut_ptr(), L::splat(scale));
                for lane in (0..width).step_by(L::N) {
                    L::load(from.add(lane)).fma(scale, L::zero()).store(to.add(lane));
                }
            }
        }
        // SAFETY: as the caller promises.
        unsafe { system.add_block::<L, R>(count, width) };
        task.control.check()?;
    }
    // SAFETY: as the caller promises.
    unsafe { system.solve::<L, R>(residual, width) }
}

/// One pass over the entries of a row. `FIRST`: adds `(r - w y.v) y` to `target` and returns the sums of the squared
/// errors, beyond those that absent entries would have, and of `w`; otherwise adds `w (y.v) y` and returns zeros.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task; `vector` and `target` are distinct
/// vectors of `width`.
#[inline(always)]
unsafe fn pass<L: Lanes, const FIRST: bool>(
    task: &Task,
    row: usize,
    range: std::ops::Range<usize>,
    vector: *const f32,
    target: *mut f32,
    width: usize,
) -> Result<(f64, f32)> {
    let (mut error, mut weight) = (0.0, 0.0);
    let mut at = range.start;
    while at < range.end {
        let count = (range.end - at).min(BATCH);
        let indices = &task.matrix.indices[at..at + count];
        let values = &task.matrix.values[at..at + count];
        let mut rows: Rows = [task.fixed.as_ptr(); BATCH];
        for (row, &index) in rows.iter_mut().zip(indices) {
            // SAFETY: who made the task vouched that `fixed` has a row for every index.
            *row = unsafe { task.fixed.as_ptr().add(index as usize * width) };
        }
        // SAFETY: the rows are `width` long and lie in `fixed`, which nothing writes meanwhile; the rest as
        // promised.
        let mut scales = unsafe { dots::<L>(&rows, count, vector, width) };
        let sums = match task.feedback {
            Feedback::Implicit { alpha, .. } => implicit::<FIRST>(&mut scales, values, alpha),
            Feedback::Explicit { mean, biases, fixed_biases, .. } if FIRST => {
                rated(&mut scales, indices, values, mean + biases[row], fixed_biases)
            }
            Feedback::Explicit { .. } => (0.0, 0.0),
        };
        error += f64::from(sums.0);
        weight += sums.1;
        // SAFETY: as above; `target` is no row of `fixed`.
        unsafe { add_scaled::<L>(&rows, count, &scales, target, width) };
        task.control.check()?;
        at += count;
    }
    Ok((error, weight))
}

/// Turns the products of implicit entries with the vector into the scales of their rows; the sums of errors and weights.
#[inline(always)]
fn implicit<const FIRST: bool>(scales: &mut [f32; BATCH], values: &[f32], alpha: f32) -> (f32, f32) {
    // Eight partial sums, so that this loop is vectorised too.
    let mut sums = [0.0; 8];
    let mut weights = [0.0; 8];
    for (scales, values) in scales.chunks_exact_mut(8).zip(values.chunks(8)) {
        if let Ok(values) = <&[f32; 8]>::try_from(values) {
            for each in 0..8 {
                sums[each] += scale::<FIRST>(&mut scales[each], alpha * values[each]);
                weights[each] += alpha * values[each];
            }
        } else {
            for (each, &value) in values.iter().enumerate() {
                sums[each] += scale::<FIRST>(&mut scales[each], alpha * value);
                weights[each] += alpha * value;
            }
        }
    }
    if FIRST { (sums.iter().sum(), weights.iter().sum()) } else { (0.0, 0.0) }
}

/// The same for ratings, in the first pass; in the others the products are the scales.
#[inline(always)]
fn rated(
    scales: &mut [f32; BATCH],
    indices: &[u32],
    values: &[f32],
    base: f32,
    fixed_biases: &[f32],
) -> (f32, f32) {
    let mut error = 0.0;
    for ((scale, &index), &value) in scales.iter_mut().zip(indices).zip(values) {
        *scale = value - base - fixed_biases[index as usize] - *scale;
        error += *scale * *scale;
    }
    (error, values.len() as f32)
}

/// Turns the product of an entry's row with the vector into the row's scale; returns the squared error beyond
/// the one an absent entry would have.
#[inline(always)]
fn scale<const FIRST: bool>(product: &mut f32, weight: f32) -> f32 {
    if FIRST {
        let score = *product;
        let miss = 1.0 - score;
        *product = 1.0 + weight * miss;
        (1.0 + weight) * miss * miss - score * score
    } else {
        *product *= weight;
        0.0
    }
}
