//! The silhouette (Rousseeuw 1987): how much nearer rows are to their own group than to the next one.

use base::aligned::Buffer;
use base::budget::SEGMENTS;
use base::error::{Error, Result};
use base::jobs::share;
use base::simd::lanes::{Kernel, Lanes, dispatch};
use base::simd::level;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::points::{BLOCK, Points};
use super::seeding::square_distances;

/// Rows that are compared where the caller names no other number: the mean over so many is off by about 0.002, and
/// their 300 million pairs take a few tenths of a second.
pub const SAMPLE: usize = 25_000;

/// Rows of a job.
const JOB: usize = 64;

/// The mean silhouette of rows with these labels (below `clusters`), by Euclidean distances. Exact for up to `sample`
/// rows; of more, `sample` rows are drawn by the seed and compared with each other only. A row alone in its group
/// counts 0. Nothing if the rows have fewer than two labels or each one its own.
///
/// Errors: `Cancelled`, `Memory`, `Corrupted` if there is not one label for each row.
pub fn silhouette(
    points: &Points,
    labels: &[u32],
    clusters: usize,
    sample: usize,
    seed: u64,
    threads: usize,
) -> Result<Option<f64>> {
    if labels.len() != points.rows || labels.iter().any(|&label| label as usize >= clusters) {
        return Err(Error::Corrupted("labels do not fit the rows"));
    }
    let rows = draw(points.rows, sample, seed);
    let grouped = Grouped::new(points, labels, clusters, &rows)?;
    let present = grouped.groups.iter().filter(|group| group.rows > 0).count();
    if present < 2 || present >= rows.len() {
        return Ok(None);
    }
    let level = level();
    // One sum per job, added up in order.
    let mut sums = vec![0.0; rows.len().div_ceil(JOB)];
    let threads = threads.min(sums.len());
    share(rows.chunks(JOB).zip(&mut sums), threads, points.control, |jobs| {
        while let Some((rows, sum)) = jobs.next()? {
            *sum = dispatch(level, Part { points, labels, grouped: &grouped, rows })?;
        }
        Ok(())
    })?;
    Ok(Some(sums.iter().sum::<f64>() / rows.len() as f64))
}

/// `count` of the rows, rising: Floyd's algorithm.
fn draw(rows: usize, count: usize, seed: u64) -> Vec<u32> {
    if rows <= count {
        return (0..rows as u32).collect();
    }
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = std::collections::BTreeSet::new();
    for last in rows - count..rows {
        let fraction = (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let row = (fraction * (last + 1) as f64) as u32;
        if !chosen.insert(row) {
            chosen.insert(last as u32);
        }
    }
    chosen.into_iter().collect()
}

/// Rows of one label.
struct Group {
    rows: usize,
    /// Its first block in [`Grouped`].
    block: usize,
}

/// The chosen rows in blocks of one label each.
struct Grouped<'a> {
    groups: Vec<Group>,
    numbers: Buffer<'a, f32>,
}

impl<'a> Grouped<'a> {
    fn new(points: &Points<'a>, labels: &[u32], clusters: usize, rows: &[u32]) -> Result<Self> {
        let mut groups: Vec<Group> = (0..clusters).map(|_| Group { rows: 0, block: 0 }).collect();
        for &row in rows {
            groups[labels[row as usize] as usize].rows += 1;
        }
        let mut blocks = 0;
        for group in &mut groups {
            group.block = blocks;
            blocks += group.rows.div_ceil(BLOCK);
        }
        let width = points.columns * BLOCK;
        let mut numbers = Buffer::zeros(SEGMENTS, blocks * width, points.control)?;
        let mut filled = vec![0; clusters];
        for rows in rows.chunks(1 << 12) {
            points.control.check()?;
            for &row in rows {
                let label = labels[row as usize] as usize;
                let at = groups[label].block * BLOCK + filled[label];
                filled[label] += 1;
                for (column, number) in points.row(row as usize).enumerate() {
                    numbers[at / BLOCK * width + column * BLOCK + at % BLOCK] = number;
                }
            }
        }
        Ok(Self { groups, numbers })
    }
}

/// The sum over some rows.
struct Part<'p, 'a> {
    points: &'p Points<'a>,
    labels: &'p [u32],
    grouped: &'p Grouped<'a>,
    rows: &'p [u32],
}

impl Kernel for Part<'_, '_> {
    type Output = Result<f64>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Result<f64> {
        let width = self.points.columns * BLOCK;
        let (mut total, mut squares) = (0.0, [0.0; BLOCK]);
        let mut point = Vec::with_capacity(self.points.columns);
        for &row in self.rows {
            let own = self.labels[row as usize] as usize;
            point.clear();
            point.extend(self.points.row(row as usize));
            let (mut inside, mut outside) = (0.0, f64::INFINITY);
            for (label, group) in self.grouped.groups.iter().enumerate().filter(|(_, group)| group.rows > 0) {
                let mut lanes = [0.0; 16];
                let mut rest = 0.0;
                for block in 0..group.rows.div_ceil(BLOCK) {
                    if block % 64 == 0 {
                        self.points.control.check()?;
                    }
                    let block_of_all = &self.grouped.numbers[(group.block + block) * width..][..width];
                    square_distances(block_of_all, &point, &mut squares);
                    let rows = group.rows - block * BLOCK;
                    if rows >= BLOCK {
                        for squares in squares.chunks_exact(16) {
                            for (lane, square) in lanes.iter_mut().zip(squares) {
                                *lane += f64::from(square.sqrt());
                            }
                        }
                    } else {
                        rest = squares[..rows].iter().map(|square| f64::from(square.sqrt())).sum();
                    }
                }
                let sum = lanes.iter().sum::<f64>() + rest;
                if label == own {
                    inside = sum / (group.rows as f64 - 1.0);
                } else {
                    outside = outside.min(sum / group.rows as f64);
                }
            }
            // Alone in its group: 0 by definition, here 0 / 0. All distances 0: 0 as well.
            let value = (outside - inside) / outside.max(inside);
            if value.is_finite() && self.grouped.groups[own].rows > 1 {
                total += value;
            }
        }
        Ok(total)
    }
}
