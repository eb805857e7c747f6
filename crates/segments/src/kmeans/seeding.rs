//! Start centroids by greedy k-means++: each next one is the best of a few rows drawn with the weight of their squared
//! distance from the centroids so far (Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA
//! 2007; of several candidates the one that lowers the sum most, as in its section 7).

use base::aligned::Buffer;
use base::budget::SEGMENTS;
use base::error::Result;
use base::jobs::share;
use base::simd::Level;
use base::simd::lanes::{Kernel, Lanes, dispatch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::assign::JOB;
use super::points::{BLOCK, Points};

/// `clusters` rows as centroids. A seed and a stream give the same ones with every number of threads and on every
/// processor.
pub(super) fn seed(
    level: Level,
    points: &Points,
    clusters: usize,
    (seed, stream): (u64, u64),
    threads: usize,
) -> Result<Vec<f64>> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    let mut uniform = || (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let trials = 2 + (clusters as f64).ln() as usize;
    let mut centroids = Vec::with_capacity(clusters * points.columns);
    let mut closest = Closest::new(level, points, threads)?;
    let mut chosen: Vec<f32> = points.row((uniform() * points.rows as f64) as usize).collect();
    centroids.extend(chosen.iter().map(|&number| f64::from(number)));
    let mut sums = closest.pass(None, &chosen)?.swap_remove(0);
    for _ in 1..clusters {
        let mut candidates = Vec::with_capacity(trials * points.columns);
        for _ in 0..trials {
            let row = closest.draw(&sums, &chosen, uniform());
            candidates.extend(points.row(row));
        }
        let tried = closest.pass(Some(&chosen), &candidates)?;
        let totals = tried.iter().map(|sums| sums.iter().sum::<f64>());
        let best = totals
            .enumerate()
            .fold((0, f64::INFINITY), |best, (at, total)| if total < best.1 { (at, total) } else { best });
        chosen = candidates[best.0 * points.columns..][..points.columns].to_vec();
        centroids.extend(chosen.iter().map(|&number| f64::from(number)));
        sums.clone_from(&tried[best.0]);
    }
    Ok(centroids)
}

/// The squared distance of each row from the nearest centroid. The newest centroid is applied with the next pass, so
/// that each pass reads the rows once.
struct Closest<'p, 'a> {
    level: Level,
    points: &'p Points<'a>,
    threads: usize,
    squares: Buffer<'a, f32>,
}

impl<'p, 'a> Closest<'p, 'a> {
    fn new(level: Level, points: &'p Points<'a>, threads: usize) -> Result<Self> {
        let mut squares = Buffer::zeros(SEGMENTS, points.norms.len(), points.control)?;
        // Rows that are missing in the last block stay at 0 and weigh nothing.
        for squares in squares[..points.rows].chunks_mut(1 << 20) {
            points.control.check()?;
            squares.fill(f32::INFINITY);
        }
        Ok(Self { level, points, threads, squares })
    }

    /// Applies the centroid that was chosen last, then sums for each candidate what the squares would be with it:
    /// one sum per job, added up in order.
    fn pass(&mut self, chosen: Option<&[f32]>, candidates: &[f32]) -> Result<Vec<Vec<f64>>> {
        let Self { level, points, threads, .. } = *self;
        let jobs = points.blocks().div_ceil(JOB);
        let count = candidates.len() / points.columns;
        let mut sums = vec![0.0; jobs * count];
        let parts = self.squares.chunks_mut(JOB * BLOCK).zip(sums.chunks_mut(count)).enumerate();
        share(parts, threads.min(jobs), points.control, |parts| {
            while let Some((job, (squares, sums))) = parts.next()? {
                dispatch(level, Pass { points, first: job * JOB, chosen, candidates, squares, sums })?;
            }
            Ok(())
        })?;
        Ok((0..count).map(|at| sums.iter().skip(at).step_by(count).copied().collect()).collect())
    }

    /// The row at a fraction of all squares, `chosen` applied. `sums` are those of the jobs.
    fn draw(&self, sums: &[f64], chosen: &[f32], fraction: f64) -> usize {
        let points = self.points;
        let mut left = fraction * sums.iter().sum::<f64>();
        // Rounding may leave more than there is: then it is the last job, or row, with any weight.
        let last = sums.iter().rposition(|&sum| sum > 0.0).unwrap_or(0);
        let mut job = 0;
        while job < last && left >= sums[job] {
            left -= sums[job];
            job += 1;
        }
        let mut drawn = None;
        for block in job * JOB..((job + 1) * JOB).min(points.blocks()) {
            let mut squares = [0.0; BLOCK];
            square_distances(points.block(block), chosen, &mut squares);
            for (at, &square) in squares.iter().enumerate().take(points.rows_of(block)) {
                let row = block * BLOCK + at;
                let square = f64::from(square.min(self.squares[row]));
                if square > 0.0 {
                    drawn = Some(row);
                    if left < square {
                        return row;
                    }
                    left -= square;
                }
            }
        }
        // No weight at all: rows that differ by less than squares can tell. Any one will do.
        drawn.unwrap_or((fraction * points.rows as f64) as usize)
    }
}

/// One job of [`Closest::pass`].
struct Pass<'p, 'a> {
    points: &'p Points<'a>,
    first: usize,
    chosen: Option<&'p [f32]>,
    candidates: &'p [f32],
    squares: &'p mut [f32],
    sums: &'p mut [f64],
}

impl Kernel for Pass<'_, '_> {
    type Output = Result<()>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Result<()> {
        let Pass { points, first, chosen, candidates, squares, sums } = self;
        let mut tried = [0.0; BLOCK];
        for (block, squares) in (first..).zip(squares.chunks_exact_mut(BLOCK)) {
            points.control.check()?;
            let numbers = points.block(block);
            if let Some(chosen) = chosen {
                square_distances(numbers, chosen, &mut tried);
                for (square, &tried) in squares.iter_mut().zip(&tried) {
                    *square = if tried < *square { tried } else { *square };
                }
            }
            for (sum, candidate) in sums.iter_mut().zip(candidates.chunks_exact(points.columns)) {
                square_distances(numbers, candidate, &mut tried);
                let mut lanes = [0.0; 16];
                for (squares, tried) in squares.chunks_exact(16).zip(tried.chunks_exact(16)) {
                    for ((lane, &square), &tried) in lanes.iter_mut().zip(squares).zip(tried) {
                        *lane += f64::from(if tried < square { tried } else { square });
                    }
                }
                *sum += lanes.iter().sum::<f64>();
            }
        }
        Ok(())
    }
}

/// Squared distances of the rows of a block from a point. Differences are squared, products not fused and sums not
/// reordered: the same bits on every processor, and exactly 0 for the point itself.
#[inline(always)]
pub(crate) fn square_distances(block: &[f32], point: &[f32], squares: &mut [f32; BLOCK]) {
    let mut sums = [0.0; BLOCK];
    for (numbers, &center) in block.chunks_exact(BLOCK).zip(point) {
        for (sum, &number) in sums.iter_mut().zip(numbers) {
            let apart = number - center;
            *sum += apart * apart;
        }
    }
    *squares = sums;
}
