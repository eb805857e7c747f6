//! The nearest centroid of every row: one pass over the rows, which also moves the rows that changed from the sums of
//! one cluster to those of another.
//!
//! Of two centroids the nearer one has the greater `x.c - |c|^2 / 2`, which `f32` computes fast but not exactly. The
//! error is bounded, so where the best is ahead of the second best by more than that, it is proven; the few other
//! rows are decided in `f64`. So labels are those of double precision on every processor, and ties go to the first.

use std::sync::{Mutex, PoisonError};

use base::aligned::Buffer;
use base::budget::SEGMENTS;
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use base::simd::Level;
use base::simd::lanes::{Kernel, Lanes, dispatch};

use super::points::{BLOCK, Points, to_grid};

/// Centroids whose products are computed together.
const GROUP: usize = 4;
/// Centroids whose distances are computed together in `f64`.
const WIDE: usize = 8;
/// The label of rows that have none yet.
pub(super) const NONE: u32 = u32::MAX;
/// Blocks of a job: 4,096 rows.
pub(super) const JOB: usize = 64;

/// Centroids, arranged for the kernels.
pub(super) struct Centers<'a> {
    count: usize,
    columns: usize,
    /// Groups of four, column by column.
    single: Buffer<'a, f32>,
    /// What a product starts with: minus half the squared length, raised by the bound of its error; minus infinity
    /// for the centroids that are missing in the last group.
    start: Vec<f32>,
    /// Twice the squared lengths.
    squares: Vec<f32>,
    /// The greatest of them.
    longest: f32,
    /// Groups of eight, column by column.
    double: Buffer<'a, f64>,
    /// The error of a product is at most this times `|x|^2 / 2 + |c|^2`.
    bound: f32,
}

impl<'a> Centers<'a> {
    /// Arranges row-major centroids.
    pub(super) fn new(centroids: &[f64], columns: usize, control: &'a Control) -> Result<Self> {
        let count = centroids.len() / columns;
        let mut single = Buffer::zeros(SEGMENTS, count.next_multiple_of(GROUP) * columns, control)?;
        let mut double = Buffer::zeros(SEGMENTS, count.next_multiple_of(WIDE) * columns, control)?;
        let mut start = vec![f32::NEG_INFINITY; count.next_multiple_of(GROUP)];
        let mut squares = vec![0.0; count];
        // Each of the `columns` products and sums rounds once or twice, the centroid and its length once: with
        // |x||c| <= (|x|^2 + |c|^2) / 2, the bound holds with room to spare.
        let bound = (columns as f64 + 8.0) * 2f64.powi(-24);
        for (at, centroid) in centroids.chunks_exact(columns).enumerate() {
            let square: f64 = centroid.iter().map(|number| number * number).sum();
            start[at] = (-(0.5 - bound) * square) as f32;
            squares[at] = (2.0 * square) as f32;
            for (column, &number) in centroid.iter().enumerate() {
                single[(at / GROUP * columns + column) * GROUP + at % GROUP] = number as f32;
                double[(at / WIDE * columns + column) * WIDE + at % WIDE] = number;
            }
        }
        let longest = squares.iter().copied().fold(0.0, f32::max);
        Ok(Self { count, columns, single, start, squares, longest, double, bound: bound as f32 })
    }

    /// The nearest centroid in double precision, the first of equally near ones, and its squared distance. No sum is
    /// reordered and no product fused, so all processors agree.
    #[inline(always)]
    pub(super) fn exact(&self, row: impl Iterator<Item = f32> + Clone) -> (u32, f64) {
        let (mut nearest, mut least) = (0, f64::INFINITY);
        for (group, centroids) in self.double.chunks_exact(WIDE * self.columns).enumerate() {
            let mut sums = [0.0; WIDE];
            for (number, centroids) in row.clone().zip(centroids.chunks_exact(WIDE)) {
                for (sum, centroid) in sums.iter_mut().zip(centroids) {
                    let apart = f64::from(number) - centroid;
                    *sum += apart * apart;
                }
            }
            for (at, &sum) in sums.iter().enumerate().take(self.count - group * WIDE) {
                if sum < least {
                    (nearest, least) = ((group * WIDE + at) as u32, sum);
                }
            }
        }
        (nearest, least)
    }
}

/// Rows and their sums per cluster, in multiples of the grid: exact, so that only rows that change need be touched.
pub(super) struct Sums<'a> {
    pub(super) totals: Buffer<'a, i64>,
    pub(super) counts: Vec<i64>,
}

impl<'a> Sums<'a> {
    pub(super) fn new(clusters: usize, columns: usize, control: &'a Control) -> Result<Self> {
        Ok(Self { totals: Buffer::zeros(SEGMENTS, clusters * columns, control)?, counts: vec![0; clusters] })
    }

    fn merge(&mut self, other: &Sums) {
        for (to, &from) in self.totals.iter_mut().zip(other.totals.iter()) {
            *to = to.wrapping_add(from);
        }
        for (to, &from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
    }

    /// Moves a row of a block from one cluster, or none, to another.
    #[inline(always)]
    pub(super) fn relabel(&mut self, points: &Points, block: usize, at: usize, from: u32, to: u32) {
        let columns = points.columns;
        let numbers = points.block(block)[at..].iter().step_by(BLOCK).zip(&points.grid);
        let to = to as usize;
        let target = &mut self.totals[to * columns..][..columns];
        for (sum, (&number, &grid)) in target.iter_mut().zip(numbers.clone()) {
            // Sums cannot overflow: that is how the grid was chosen.
            *sum = sum.wrapping_add(to_grid(number, grid));
        }
        self.counts[to] += 1;
        if from != NONE {
            let from = from as usize;
            let source = &mut self.totals[from * columns..][..columns];
            for (sum, (&number, &grid)) in source.iter_mut().zip(numbers) {
                *sum = sum.wrapping_sub(to_grid(number, grid));
            }
            self.counts[from] -= 1;
        }
    }
}

/// Gives every row the label of its nearest centroid, and returns how many labels changed. `sums` follow.
pub(super) fn assign(
    level: Level,
    points: &Points,
    centers: &Centers,
    threads: usize,
    labels: &mut [u32],
    sums: &mut Sums,
) -> Result<u64> {
    let control = points.control;
    let jobs = labels.chunks_mut(JOB * BLOCK).enumerate();
    let threads = threads.min(jobs.len());
    let merged = Mutex::new((sums, 0));
    share(jobs, threads, control, |jobs| {
        let mut moved = Sums::new(centers.count, centers.columns, control)?;
        let mut changed = 0;
        while let Some((job, labels)) = jobs.next()? {
            let pass = Pass { points, centers, labels, first: job * JOB, moved: &mut moved };
            changed += dispatch(level, pass)?;
        }
        // Sums of integers: the order in which threads end does not matter.
        let mut merged = merged.lock().unwrap_or_else(PoisonError::into_inner);
        merged.0.merge(&moved);
        merged.1 += changed;
        Ok(())
    })?;
    let changed = merged.lock().unwrap_or_else(PoisonError::into_inner).1;
    Ok(changed)
}

/// One job of [`assign`].
struct Pass<'p, 'a> {
    points: &'p Points<'a>,
    centers: &'p Centers<'a>,
    labels: &'p mut [u32],
    first: usize,
    moved: &'p mut Sums<'a>,
}

/// What the fast part finds about a block: the two greatest values of each row and the bits of the label of the first.
#[repr(C, align(64))]
struct Found {
    best: [f32; BLOCK],
    second: [f32; BLOCK],
    label: [f32; BLOCK],
}

impl Kernel for Pass<'_, '_> {
    type Output = Result<u64>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Result<u64> {
        let Pass { points, centers, labels, first, moved } = self;
        let mut found = Found { best: [0.0; BLOCK], second: [0.0; BLOCK], label: [0.0; BLOCK] };
        let mut changed = 0;
        for (block, labels) in (first..).zip(labels.chunks_exact_mut(BLOCK)) {
            points.control.check()?;
            let numbers = points.block(block);
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                match L::N {
                    // As many registers as each instruction set has without spilling.
                    16 => nearest::<L, 4>(centers, numbers, &mut found),
                    _ => nearest::<L, 2>(centers, numbers, &mut found),
                }
            }
            let norms = &points.norms[block * BLOCK..][..BLOCK];
            let mut flags = [0u32; BLOCK];
            let mut any = 0;
            for at in 0..BLOCK {
                // The products of numbers below 2^-63 may vanish.
                let limit = centers.bound * (norms[at] + centers.longest) + 1e-35;
                let proven = found.best[at] - found.second[at] > limit;
                flags[at] = u32::from(!proven) | u32::from(found.label[at].to_bits() != labels[at]);
                any |= flags[at];
            }
            if any == 0 {
                continue;
            }
            for at in (0..points.rows_of(block)).filter(|&at| flags[at] != 0) {
                let mut label = found.label[at].to_bits();
                // The bound again, with the length of this centroid instead of the longest.
                let limit = centers.bound * (norms[at] + centers.squares[label as usize]) + 1e-35;
                if found.best[at] - found.second[at] <= limit {
                    label = centers.exact(numbers[at..].iter().step_by(BLOCK).copied()).0;
                }
                if label != labels[at] {
                    moved.relabel(points, block, at, labels[at], label);
                    labels[at] = label;
                    changed += 1;
                }
            }
        }
        Ok(changed)
    }
}

/// The two greatest values of each row of a block, `R` registers of rows at a time.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn nearest<L: Lanes, const R: usize>(centers: &Centers, block: &[f32], found: &mut Found) {
    let columns = centers.columns;
    assert!(block.len() == columns * BLOCK && BLOCK.is_multiple_of(L::N * R));
    for first in (0..BLOCK).step_by(L::N * R) {
        // SAFETY: the caller vouches for the instructions; `first` and the `R` registers after it stay within the 64
        // rows of a column and of `found`.
        unsafe {
            let mut best = [L::splat(f32::NEG_INFINITY); R];
            let mut second = best;
            let mut label = [L::splat(0.0); R];
            let groups = centers.single.chunks_exact(columns * GROUP).zip(centers.start.chunks_exact(GROUP));
            for (group, (numbers, start)) in groups.enumerate() {
                let mut values: [[L; R]; GROUP] = std::array::from_fn(|each| [L::splat(start[each]); R]);
                let mut rows = block.as_ptr().add(first);
                let mut number = numbers.as_ptr();
                for _ in 0..columns {
                    let row: [L; R] = std::array::from_fn(|each| L::load(rows.add(each * L::N)));
                    for (each, values) in values.iter_mut().enumerate() {
                        let centroid = L::splat(*number.add(each));
                        for (value, row) in values.iter_mut().zip(row) {
                            *value = centroid.fma(row, *value);
                        }
                    }
                    rows = rows.wrapping_add(BLOCK);
                    number = number.add(GROUP);
                }
                for (each, values) in values.into_iter().enumerate() {
                    let own = L::splat(f32::from_bits((group * GROUP + each) as u32));
                    for (at, value) in values.into_iter().enumerate() {
                        second[at] = value.min(best[at]).max(second[at]);
                        label[at] = value.choose(best[at], own, label[at]);
                        best[at] = value.max(best[at]);
                    }
                }
            }
            for at in 0..R {
                best[at].store(found.best.as_mut_ptr().add(first + at * L::N));
                second[at].store(found.second.as_mut_ptr().add(first + at * L::N));
                label[at].store(found.label.as_mut_ptr().add(first + at * L::N));
            }
        }
    }
}
