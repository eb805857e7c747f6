//! The two loops everything is made of: products of gathered rows with a vector, and sums of scaled rows.

#![allow(clippy::needless_range_loop, reason = "loops over registers count alike in several arrays")]

use base::simd::lanes::Lanes;

/// Rows worked on at a time: at 64 factors they are 8 kB, so the second loop finds them in the first-level
/// cache.
pub(crate) const BATCH: usize = 32;

/// Addresses of up to `BATCH` rows.
pub(crate) type Rows = [*const f32; BATCH];

/// Products of `count` rows with `vector`, each `width` numbers.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is a multiple of `L::N`; `vector` and the first `count`
/// of `rows` point to `width` readable numbers; `1 <= count <= BATCH`.
#[inline(always)]
pub(crate) unsafe fn dots<L: Lanes>(
    rows: &Rows,
    count: usize,
    vector: *const f32,
    width: usize,
) -> [f32; BATCH] {
    let mut products = [0.0; BATCH];
    for begin in (0..count).step_by(8) {
        let left = count - begin;
        // SAFETY: as the caller promises; rows past the last stand for the first row of the group.
        let group = unsafe {
            if left > 4 {
                dots_of::<L, 8>(
                    std::array::from_fn(|row| rows[begin + if row < left { row } else { 0 }]),
                    vector,
                    width,
                )
            } else {
                dots_of::<L, 4>(
                    std::array::from_fn(|row| rows[begin + if row < left { row } else { 0 }]),
                    vector,
                    width,
                )
            }
        };
        products[begin..begin + 8].copy_from_slice(&group);
    }
    products
}

/// `R` products at once: as many independent chains of additions hide their latency.
///
/// # Safety
/// As `dots`, for `R` rows.
#[inline(always)]
unsafe fn dots_of<L: Lanes, const R: usize>(
    rows: [*const f32; R],
    vector: *const f32,
    width: usize,
) -> [f32; 8] {
    // SAFETY: the caller vouches for the instructions and for `width` numbers behind each pointer.
    unsafe {
        let mut sums = [L::zero(); 8];
        for at in (0..width).step_by(L::N) {
            let part = L::load(vector.add(at));
            for row in 0..R {
                sums[row] = L::load(rows[row].add(at)).fma(part, sums[row]);
            }
        }
        L::sums(sums)
    }
}

/// Adds `scales[row] * rows[row]` of the first `count` rows to `target`.
///
/// # Safety
/// As `dots`; `target` points to `width` writable numbers that no row overlaps.
#[inline(always)]
pub(super) unsafe fn add_scaled<L: Lanes>(
    rows: &Rows,
    count: usize,
    scales: &[f32; BATCH],
    target: *mut f32,
    width: usize,
) {
    let mut at = 0;
    // SAFETY: blocks lie within `width`; everything else as the caller promises.
    unsafe {
        while at + 4 * L::N <= width {
            add_block::<L, 4, 2>(rows, count, scales, at, target);
            at += 4 * L::N;
        }
        if at + 2 * L::N <= width {
            add_block::<L, 2, 4>(rows, count, scales, at, target);
            at += 2 * L::N;
        }
        if at < width {
            add_block::<L, 1, 8>(rows, count, scales, at, target);
        }
    }
}

/// `add_scaled` for `B` registers of columns from `at`, in `C` chains: the eight sums stay in registers, and
/// eight multiply-adds in flight keep both units busy.
///
/// # Safety
/// As `add_scaled`, for the columns of the block.
#[inline(always)]
unsafe fn add_block<L: Lanes, const B: usize, const C: usize>(
    rows: &Rows,
    count: usize,
    scales: &[f32; BATCH],
    at: usize,
    target: *mut f32,
) {
    // SAFETY: the caller vouches for the instructions, the rows and the target.
    unsafe {
        let mut sums = [[L::zero(); B]; C];
        for block in 0..B {
            sums[0][block] = L::load(target.add(at + block * L::N));
        }
        let mut row = 0;
        while row + C <= count {
            for chain in 0..C {
                let scale = L::splat(scales[row + chain]);
                for block in 0..B {
                    let part = L::load(rows[row + chain].add(at + block * L::N));
                    sums[chain][block] = part.fma(scale, sums[chain][block]);
                }
            }
            row += C;
        }
        while row < count {
            let scale = L::splat(scales[row]);
            for block in 0..B {
                sums[0][block] = L::load(rows[row].add(at + block * L::N)).fma(scale, sums[0][block]);
            }
            row += 1;
        }
        for block in 0..B {
            let mut sum = sums[0][block];
            for chain in sums.iter().skip(1) {
                sum = sum.add(chain[block]);
            }
            sum.store(target.add(at + block * L::N));
        }
    }
}

/// `target = matrix * vector` for a symmetric matrix of `width` rows.
///
/// # Safety
/// The processor has the instructions of `L`; `width` is a multiple of 16; `matrix` points to `width * width`
/// and `vector` to `width` readable numbers; `target` is writable and overlaps neither.
#[inline(always)]
pub(super) unsafe fn symmetric<L: Lanes>(
    matrix: *const f32,
    vector: *const f32,
    target: *mut f32,
    width: usize,
) {
    let mut at = 0;
    // SAFETY: blocks lie within `width`; everything else as the caller promises.
    unsafe {
        while at + 4 * L::N <= width {
            symmetric_block::<L, 4, 2>(matrix, vector, target, width, at);
            at += 4 * L::N;
        }
        if at + 2 * L::N <= width {
            symmetric_block::<L, 2, 4>(matrix, vector, target, width, at);
            at += 2 * L::N;
        }
        if at < width {
            symmetric_block::<L, 1, 8>(matrix, vector, target, width, at);
        }
    }
}

/// `symmetric` for `B` registers of columns from `at`: rows are scaled and summed, so no sum crosses a
/// register.
///
/// # Safety
/// As `symmetric`, for the columns of the block.
#[inline(always)]
unsafe fn symmetric_block<L: Lanes, const B: usize, const C: usize>(
    matrix: *const f32,
    vector: *const f32,
    target: *mut f32,
    width: usize,
    at: usize,
) {
    // SAFETY: the caller vouches for the instructions, the matrix and the vectors; `C` divides 16 and so
    // `width`.
    unsafe {
        let mut sums = [[L::zero(); B]; C];
        for row in (0..width).step_by(C) {
            for chain in 0..C {
                let scale = L::splat(*vector.add(row + chain));
                for block in 0..B {
                    let part = L::load(matrix.add((row + chain) * width + at + block * L::N));
                    sums[chain][block] = part.fma(scale, sums[chain][block]);
                }
            }
        }
        for block in 0..B {
            let mut sum = sums[0][block];
            for chain in sums.iter().skip(1) {
                sum = sum.add(chain[block]);
            }
            sum.store(target.add(at + block * L::N));
        }
    }
}

/// The product of two vectors, in `f32` with `L::N` or more partial sums.
///
/// # Safety
/// As `dots`, for the two vectors.
#[inline(always)]
pub(super) unsafe fn dot<L: Lanes>(a: *const f32, b: *const f32, width: usize) -> f32 {
    // SAFETY: the caller vouches for the instructions and both vectors.
    unsafe {
        let mut sum = L::zero();
        for at in (0..width).step_by(L::N) {
            sum = L::load(a.add(at)).fma(L::load(b.add(at)), sum);
        }
        let zero = L::zero();
        L::sums([sum, zero, zero, zero, zero, zero, zero, zero])[0]
    }
}

/// `target = scale * a + b`, where `target` may be `a` or `b`.
///
/// # Safety
/// As `dots`, for the two vectors; `target` points to `width` writable numbers.
#[inline(always)]
pub(super) unsafe fn scale_add<L: Lanes>(
    target: *mut f32,
    a: *const f32,
    scale: f32,
    b: *const f32,
    width: usize,
) {
    // SAFETY: the caller vouches for the instructions and the vectors.
    unsafe {
        let scale = L::splat(scale);
        for at in (0..width).step_by(L::N) {
            L::load(a.add(at)).fma(scale, L::load(b.add(at))).store(target.add(at));
        }
    }
}
