//! The strongest weights, out of all of them: what a model keeps.
//!
//! One threshold for the whole matrix, not as many for every item: see [`super::Params::kept`]. It is found by counting,
//! first the upper and then the lower 16 bits of the weights, because a list of all weights would be as large as the matrix.

use std::sync::{Mutex, PoisonError};

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::jobs::share;

use crate::neighbours::Neighbours;
use crate::tasks::EASE;

use super::kernel::{AREA, TILE};
use super::{Params, Triangle};

/// Counters of 16 bits.
const BINS: usize = 1 << 16;
/// Their bytes.
pub(super) const HISTOGRAM: u64 = BINS as u64 * 8;

/// All weights, from minus the inverse matrix: that of an item for another is their entry by minus the diagonal entry of
/// the other.
struct Weights<'a> {
    tiles: &'a Triangle,
    /// What the entries of each column are multiplied with.
    scales: Vec<f64>,
    threads: usize,
    control: &'a Control,
}

/// The bits of an absolute value, which are in the order of the values.
fn size(weight: f32) -> u32 {
    weight.abs().to_bits()
}

/// The weights with the `items * kept` largest absolute values; of equal ones those of the first items. No zeros.
pub(super) fn strongest(tiles: &Triangle, params: &Params, budget: &mut Budget<'_>) -> Result<Neighbours> {
    let control = budget.control();
    let items = tiles.items;
    let mut scales = budget.zeroed::<f64>(items)?;
    for (item, scale) in scales.iter_mut().enumerate() {
        *scale = -1.0 / tiles.tile(item / TILE, item / TILE)[item % TILE * (TILE + 1)];
    }
    let weights = Weights { tiles, scales, threads: params.threads, control };

    let most = items as u64 * params.kept as u64;
    let (high, more) = weights.bin_of(most, |size| Some((size >> 16) as usize), budget)?;
    let (low, ties) = weights.bin_of(
        most - more,
        |size| (size >> 16 == high as u32).then_some((size & 0xffff) as usize),
        budget,
    )?;
    let threshold = (high << 16 | low) as u32;
    let mut left = most - more - ties;

    // What each item keeps: all above the threshold, and of those at it as many as are left.
    let mut above = budget.zeroed::<u32>(items)?;
    let mut level = budget.zeroed::<u32>(items)?;
    weights.count(threshold, &mut above, &mut level)?;
    let mut offsets = budget.with_capacity(items + 1)?;
    offsets.push(0);
    let mut total = 0;
    for (&above, level) in above.iter().zip(&mut level) {
        *level = left.min(u64::from(*level)) as u32;
        left -= u64::from(*level);
        total += u64::from(above) + u64::from(*level);
        offsets.push(total);
    }
    budget.free(above);
    let mut kept = Neighbours {
        offsets,
        items: budget.zeroed(total as usize)?,
        weights: budget.zeroed(total as usize)?,
    };
    weights.gather(threshold, &level, &mut kept)?;
    budget.free(level);
    budget.free(weights.scales);
    Ok(kept)
}

impl Weights<'_> {
    /// The bin that the `most`-th largest weight is in, and how many weights are in larger ones; bin 0 where there are not
    /// so many. `bin` says where a size is counted, if it is. Zeros are not.
    fn bin_of(
        &self,
        most: u64,
        bin: impl Fn(u32) -> Option<usize> + Sync,
        budget: &mut Budget<'_>,
    ) -> Result<(usize, u64)> {
        let counts = Mutex::new(budget.zeroed::<u64>(BINS)?);
        let Triangle { items, blocks, .. } = *self.tiles;
        let jobs = Triangle::places(blocks).zip(self.tiles.numbers.chunks(AREA));
        share(jobs, self.threads.min(blocks), self.control, |jobs| {
            let mut own = Budget::new(self.control, EASE);
            let mut mine = own.zeroed::<u64>(BINS)?;
            let mut add = |weight: f64| {
                let size = size(weight as f32);
                if let Some(bin) = bin(size).filter(|_| size > 0) {
                    mine[bin] += 1;
                }
            };
            while let Some(((i, j), tile)) = jobs.next()? {
                for (row, numbers) in (i * TILE..items).zip(tile.chunks_exact(TILE)) {
                    for (column, number) in (j * TILE..row).zip(numbers) {
                        add(number * self.scales[column]);
                        add(number * self.scales[row]);
                    }
                }
            }
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.iter_mut().zip(&mine).for_each(|(all, mine)| *all += mine);
            Ok(())
        })?;
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut larger = 0;
        let mut found = 0;
        for (bin, &count) in counts.iter().enumerate().rev() {
            if larger + count >= most || bin == 0 {
                found = bin;
                break;
            }
            larger += count;
        }
        budget.free(counts);
        Ok((found, larger))
    }

    /// Calls `each` with the line in its block, the column and the weight of every entry of a block of rows beside the
    /// diagonal: columns rise for each line. It looks at the control tile by tile.
    fn of_block(&self, block: usize, mut each: impl FnMut(usize, u32, f32)) -> Result<()> {
        let Triangle { items, blocks, .. } = *self.tiles;
        let rows = block * TILE..items.min((block + 1) * TILE);
        for other in 0..blocks {
            self.control.check()?;
            let columns = other * TILE..items.min((other + 1) * TILE);
            if other < block {
                for (line, numbers) in
                    self.tiles.tile(block, other).chunks_exact(TILE).take(rows.len()).enumerate()
                {
                    for (column, number) in columns.clone().zip(numbers) {
                        each(line, column as u32, (number * self.scales[column]) as f32);
                    }
                }
            } else {
                let tile = self.tiles.tile(other, block);
                for (column, numbers) in columns.zip(tile.chunks_exact(TILE)) {
                    for (line, number) in numbers.iter().enumerate().take(rows.len()) {
                        // In a tile of the diagonal the lower half counts.
                        let number = match other == block {
                            true if rows.start + line == column => continue,
                            true if rows.start + line > column => &tile[line * TILE + column - rows.start],
                            _ => number,
                        };
                        each(line, column as u32, (number * self.scales[column]) as f32);
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts the weights of each item above and at the threshold.
    fn count(&self, threshold: u32, above: &mut [u32], level: &mut [u32]) -> Result<()> {
        let jobs = above.chunks_mut(TILE).zip(level.chunks_mut(TILE)).enumerate();
        share(jobs, self.threads.min(self.tiles.blocks), self.control, |jobs| {
            while let Some((block, (above, level))) = jobs.next()? {
                self.of_block(block, |line, _, weight| {
                    above[line] += u32::from(size(weight) > threshold);
                    level[line] += u32::from(size(weight) == threshold && threshold > 0);
                })?;
            }
            Ok(())
        })
    }

    /// Fills in what is kept, with `level` weights at the threshold for each item.
    fn gather(&self, threshold: u32, level: &[u32], kept: &mut Neighbours) -> Result<()> {
        let offsets = &kept.offsets;
        let (mut items, mut weights) = (kept.items.as_mut_slice(), kept.weights.as_mut_slice());
        let mut jobs = Vec::with_capacity(self.tiles.blocks);
        for (block, level) in level.chunks(TILE).enumerate() {
            let offsets = &offsets[block * TILE..][..level.len() + 1];
            let length = (offsets[level.len()] - offsets[0]) as usize;
            let (these, others) = items.split_at_mut(length);
            let (those, rest) = weights.split_at_mut(length);
            (items, weights) = (others, rest);
            jobs.push((block, level, offsets, these, those));
        }
        share(jobs.into_iter(), self.threads.min(self.tiles.blocks), self.control, |jobs| {
            while let Some((block, level, offsets, items, weights)) = jobs.next()? {
                let (mut next, mut left) = ([0; TILE], [0; TILE]);
                for (next, offset) in next.iter_mut().zip(offsets) {
                    *next = (offset - offsets[0]) as usize;
                }
                left[..level.len()].copy_from_slice(level);
                self.of_block(block, |line, column, weight| {
                    let at_threshold = size(weight) == threshold;
                    if size(weight) > threshold || at_threshold && left[line] > 0 {
                        left[line] -= u32::from(at_threshold);
                        (items[next[line]], weights[next[line]]) = (column, weight);
                        next[line] += 1;
                    }
                })?;
            }
            Ok(())
        })
    }
}
