//! Half an iteration: all rows of one side from the fixed other side, shared between threads.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use base::simd::Level;

use super::solve::{Loss, Method, Scratch, Task, solve};

/// Rows per job: at 64 factors and 20 entries a row about 0.03 ms of work by conjugate gradients.
const ROWS: usize = 32;

/// A job with more entries than this share of a thread's part comes first: it would keep the others waiting at the end.
const SHARE: u64 = 16;

/// Memory for the losses of so many rows.
pub(super) fn bytes(rows: usize) -> u64 {
    (rows.div_ceil(ROWS) * size_of::<Loss>()) as u64
}

/// Solves all `rows` of a task in place and returns their loss: the same bits for every number of threads. `offsets` are
/// where the entries of each row begin and end if those of one follow those of the other.
pub(super) fn half(
    level: Level,
    task: &Task<'_>,
    offsets: &[u64],
    rows: &mut [f32],
    (width, method): (usize, Method),
    threads: usize,
    control: &Control,
) -> Result<Loss> {
    // One sum per job, added up in order: the same bits however the jobs were shared.
    let mut budget = Budget::new(control, TRAINING);
    let mut losses = budget.zeroed::<Loss>(offsets.len().saturating_sub(1).div_ceil(ROWS))?;
    let threads = threads.min(losses.len());
    let pieces = longest_first(offsets, rows, &mut losses, width, threads);
    let jobs = pieces.into_iter().flat_map(|(first, rows, losses)| {
        rows.chunks_mut(ROWS * width).zip(losses).enumerate().map(move |(job, each)| (first + job, each))
    });
    share(jobs, threads, control, |jobs| {
        let mut scratch = Scratch::new(width, method, control)?;
        while let Some((job, (rows, loss))) = jobs.next()? {
            let first = job * ROWS;
            let last = first + rows.len() / width;
            *loss = solve(level, task, first, rows, &mut scratch)?;
            control.advance(offsets[last] - offsets[first]);
        }
        Ok(())
    })?;
    let mut sum = Loss::default();
    losses.iter().for_each(|&loss| sum += loss);
    Ok(sum)
}

/// Consecutive jobs: the first one's number, their rows and losses.
type Piece<'a> = (usize, &'a mut [f32], &'a mut [Loss]);

/// Divides the jobs so that the longest come first: at most `SHARE` a thread, each a piece of its own, then what lies
/// between them.
fn longest_first<'a>(
    offsets: &[u64],
    mut rows: &'a mut [f32],
    mut losses: &'a mut [Loss],
    width: usize,
    threads: usize,
) -> Vec<Piece<'a>> {
    let (count, all) = (offsets.len().saturating_sub(1), offsets.last().copied().unwrap_or_default());
    let entries = |job: usize| offsets[((job + 1) * ROWS).min(count)] - offsets[job * ROWS];
    let limit = all / (threads.max(1) as u64 * SHARE);
    let jobs = losses.len();
    let mut long = Vec::new();
    let mut rest = Vec::new();
    let mut done = 0;
    for job in (0..jobs).filter(|&job| threads > 1 && entries(job) > limit) {
        let (before, from) = rows.split_at_mut((job - done) * ROWS * width);
        let (before_losses, from_losses) = losses.split_at_mut(job - done);
        rest.push((done, before, before_losses));
        let (row, after) = from.split_at_mut((ROWS * width).min(from.len()));
        let (loss, after_losses) = from_losses.split_at_mut(1);
        long.push((job, row, loss));
        (rows, losses, done) = (after, after_losses, job + 1);
    }
    rest.push((done, rows, losses));
    long.sort_by_key(|&(job, ..)| std::cmp::Reverse(entries(job)));
    long.append(&mut rest);
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_comes_once_and_the_longest_first() {
        for (rows, long) in
            [(1, vec![]), (100, vec![]), (1000, vec![3, 40, 999]), (320, vec![0, 32, 64, 319])]
        {
            let entries = |row: usize| if long.contains(&row) { 1000 + row as u64 } else { 1 };
            let mut offsets = vec![0];
            for row in 0..rows {
                offsets.push(offsets[row] + entries(row));
            }
            let mut factors: Vec<f32> = (0..rows).map(|row| row as f32).collect();
            let mut losses = vec![Loss::default(); rows.div_ceil(ROWS)];
            let pieces = longest_first(&offsets, &mut factors, &mut losses, 1, 2);
            let (mut met, mut last) = (vec![0; rows], u64::MAX);
            for (at, (first, rows, losses)) in pieces.into_iter().enumerate() {
                assert_eq!(losses.len(), rows.len().div_ceil(ROWS));
                for (each, row) in rows.iter().zip(first * ROWS..) {
                    assert_eq!(*each, row as f32);
                    met[row] += 1;
                }
                if at < long.len() {
                    let sum = (first * ROWS..first * ROWS + rows.len()).map(entries).sum();
                    assert!(sum >= 1000 && sum <= last);
                    last = sum;
                }
            }
            assert!(met.iter().all(|&times| times == 1), "{met:?}");
        }
    }
}
