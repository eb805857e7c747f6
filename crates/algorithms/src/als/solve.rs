//! One half of an iteration: each row's small linear system by conjugate gradients, warm-started at the row's
//! last factors (Takács, Pilászy and Tikk, RecSys 2011).
//!
//! A row with entries `e` solves `(G + lambda + sum w_e y_e y_e') x = sum (1 + w_e) y_e` with `w = alpha *
//! value` and `G = Y'Y`, so that the entries that are absent cost nothing (Hu, Koren and Volinsky, ICDM
//! 2008).

use crate::budget::TRAINING;
use crate::control::Control;
use crate::csr::Csr;
use crate::error::Result;
use crate::simd::Level;

use super::kernel::{BATCH, Rows, add_scaled, dot, dots, scale_add, symmetric};
use crate::aligned::Aligned;
#[cfg(target_arch = "x86_64")]
use crate::simd::lanes::{Avx2, Avx512};
use crate::simd::lanes::{Lanes, Portable};

/// What all rows of one half-iteration share.
pub(super) struct Task<'a> {
    matrix: &'a Csr,
    fixed: &'a [f32],
    gram: &'a [f32],
    width: usize,
    alpha: f32,
    steps: usize,
    /// CG ends when the squared residual falls to this, absolutely ...
    floor: f32,
    /// ... or relative to the squared right side's first residual.
    tolerance: f32,
    /// The mean curvature of `gram`, and the mean square of a row of `fixed`: they tell which curvatures of a
    /// row's system are nothing but rounding.
    curvature: f32,
    square: f32,
    control: &'a Control,
}

impl<'a> Task<'a> {
    /// `fixed` are the factors of the other side, rows of `width`; `gram` is their Gram matrix with lambda on
    /// the diagonal, `width * width`.
    ///
    /// # Safety
    /// `fixed` has a row for every index of `matrix`: the loops below do not check it again.
    pub(super) unsafe fn new(
        matrix: &'a Csr,
        fixed: &'a [f32],
        gram: &'a [f32],
        width: usize,
        alpha: f32,
        steps: usize,
        control: &'a Control,
    ) -> Self {
        assert!(width > 0 && width.is_multiple_of(16) && gram.len() == width * width);
        let rows = fixed.len() / width;
        let trace: f32 = (0..width).map(|at| gram[at * (width + 1)]).sum();
        let (curvature, square) = (trace / width as f32, trace / rows.max(1) as f32);
        Self {
            matrix,
            fixed,
            gram,
            width,
            alpha,
            steps,
            floor: 1e-20,
            tolerance: 0.0,
            curvature,
            square,
            control,
        }
    }

    /// Stops at this squared residual relative to the first.
    pub(super) fn until(mut self, tolerance: f32) -> Self {
        self.tolerance = tolerance;
        self.floor = f32::MIN_POSITIVE;
        self
    }
}

/// The vectors of CG, one set per worker.
pub(super) struct Scratch {
    residual: Aligned<f32>,
    direction: Aligned<f32>,
    image: Aligned<f32>,
}

impl Scratch {
    pub(super) fn new(width: usize, control: &Control) -> Result<Self> {
        let vector = || Aligned::zeros(TRAINING, width, control);
        Ok(Self { residual: vector()?, direction: vector()?, image: vector()? })
    }
}

/// Solves the rows `first..` of the task in place, as many as `rows` holds, and returns their part of the
/// loss: squared errors over all columns and lambda times the squared factors of these rows. It is not finite
/// if the factors are not.
pub(super) fn solve(
    level: Level,
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch,
) -> Result<f64> {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx512 => unsafe { solve_avx512(task, first, rows, scratch) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level exists only where the processor was found to have these instructions.
        Level::Avx2 => unsafe { solve_avx2(task, first, rows, scratch) },
        // SAFETY: these instructions are everywhere.
        _ => unsafe { solve_rows::<Portable>(task, first, rows, scratch) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn solve_avx512(task: &Task, first: usize, rows: &mut [f32], scratch: &mut Scratch) -> Result<f64> {
    // SAFETY: this function is compiled for the instructions.
    unsafe { solve_rows::<Avx512>(task, first, rows, scratch) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn solve_avx2(task: &Task, first: usize, rows: &mut [f32], scratch: &mut Scratch) -> Result<f64> {
    // SAFETY: this function is compiled for the instructions.
    unsafe { solve_rows::<Avx2>(task, first, rows, scratch) }
}

/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn solve_rows<L: Lanes>(
    task: &Task,
    first: usize,
    rows: &mut [f32],
    scratch: &mut Scratch,
) -> Result<f64> {
    let mut loss = 0.0;
    for (offset, x) in rows.chunks_exact_mut(task.width).enumerate() {
        let range =
            task.matrix.offsets[first + offset] as usize..task.matrix.offsets[first + offset + 1] as usize;
        if range.is_empty() {
            x.fill(0.0);
            continue;
        }
        // Unrolled for the width that most models have.
        // SAFETY: the caller vouches for the instructions.
        loss += unsafe {
            match task.width {
                64 => solve_row::<L>(task, range, x, scratch, 64)?,
                width => solve_row::<L>(task, range, x, scratch, width)?,
            }
        };
        task.control.check()?;
    }
    Ok(loss)
}

/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task.
#[inline(always)]
unsafe fn solve_row<L: Lanes>(
    task: &Task,
    range: std::ops::Range<usize>,
    x: &mut [f32],
    scratch: &mut Scratch,
    width: usize,
) -> Result<f64> {
    let Scratch { residual, direction, image } = scratch;
    assert!(x.len() == width && residual.len() == width && direction.len() == width && image.len() == width);
    let (x, residual, direction, image) =
        (x.as_mut_ptr(), residual.as_mut_ptr(), direction.as_mut_ptr(), image.as_mut_ptr());
    let gram = task.gram.as_ptr();
    // SAFETY: the four vectors are distinct and `width` long, `gram` is `width * width`; instructions as
    // promised.
    unsafe {
        // residual = sum (1 + w (1 - y.x)) y - (G + lambda) x; the squared errors fall out on the way.
        symmetric::<L>(gram, x, image, width);
        let mut loss = f64::from(dot::<L>(x, image, width));
        residual.write_bytes(0, width);
        let (error, weight) = pass::<L, true>(task, range.clone(), x, residual, width)?;
        loss += error;
        // Without this, lambda 0 and a large alpha divide by what rounding left of a curvature of zero.
        let flat = 1e-7 * (task.curvature + weight * task.square);
        scale_add::<L>(residual, image, -1.0, residual, width);
        let mut square = dot::<L>(residual, residual, width);
        let enough = (square * task.tolerance).max(task.floor);
        direction.copy_from_nonoverlapping(residual, width);
        // The squared length of the direction follows from those of the residuals, which are orthogonal.
        let mut length = square;
        for step in 1..=task.steps {
            // NaN goes on, to be found in the curvature.
            if square <= enough {
                break;
            }
            symmetric::<L>(gram, direction, image, width);
            pass::<L, false>(task, range.clone(), direction, image, width)?;
            let curvature = dot::<L>(direction, image, width);
            if !curvature.is_finite() {
                loss = f64::NAN;
                break;
            }
            if curvature <= flat * length {
                break;
            }
            let rate = square / curvature;
            scale_add::<L>(x, direction, rate, x, width);
            // Each step lowers the row's quadratic form by exactly this.
            loss -= f64::from(rate) * f64::from(square);
            if step == task.steps {
                break;
            }
            scale_add::<L>(residual, image, -rate, residual, width);
            let next = dot::<L>(residual, residual, width);
            let keep = next / square;
            scale_add::<L>(direction, direction, keep, residual, width);
            length = next + keep * keep * length;
            square = next;
        }
        Ok(loss)
    }
}

/// One pass over the entries of a row. `FIRST`: adds `(1 + w (1 - y.v)) y` to `target` and returns the sums
/// of `(1 + w) (1 - y.v)^2 - (y.v)^2` and of `w`; otherwise adds `w (y.v) y` and returns zeros.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is that of the task; `vector` and `target` are distinct
/// vectors of `width`.
#[inline(always)]
unsafe fn pass<L: Lanes, const FIRST: bool>(
    task: &Task,
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
        // Eight partial sums, so that this loop is vectorised too.
        let mut sums = [0.0; 8];
        let mut weights = [0.0; 8];
        for (scales, values) in scales.chunks_exact_mut(8).zip(values.chunks(8)) {
            if let Ok(values) = <&[f32; 8]>::try_from(values) {
                for each in 0..8 {
                    sums[each] += scale::<FIRST>(&mut scales[each], task.alpha * values[each]);
                    weights[each] += task.alpha * values[each];
                }
            } else {
                for (each, &value) in values.iter().enumerate() {
                    sums[each] += scale::<FIRST>(&mut scales[each], task.alpha * value);
                    weights[each] += task.alpha * value;
                }
            }
        }
        if FIRST {
            error += f64::from(sums.iter().sum::<f32>());
            weight += weights.iter().sum::<f32>();
        }
        // SAFETY: as above; `target` is no row of `fixed`.
        unsafe { add_scaled::<L>(&rows, count, &scales, target, width) };
        task.control.check()?;
        at += count;
    }
    Ok((error, weight))
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
