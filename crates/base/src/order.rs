//! Numbers in order: sorting that can be interrupted, quantiles by interpolation, and equal-frequency buckets.
//!
//! The order is Postgres': -0 equals 0 and NaN is greater than every number.

/// Values between two calls of `tick`.
const BLOCK: usize = 1 << 16;

/// The number that stands for all that are equal to it in the order: total_cmp() of two of them is the order.
#[inline]
pub fn canonical(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x + 0.0 }
}

/// Sorts canonical numbers. `scratch` is as long as `values`; `tick` runs every few milliseconds.
pub fn sort(values: &mut [f64], scratch: &mut [f64], mut tick: impl FnMut()) {
    for block in values.chunks_mut(BLOCK) {
        block.sort_unstable_by(f64::total_cmp);
        tick();
    }
    let mut width = BLOCK;
    while width < values.len() {
        for (pair, out) in values.chunks(2 * width).zip(scratch.chunks_mut(2 * width)) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(left, right, out, &mut tick);
        }
        for (block, sorted) in values.chunks_mut(BLOCK).zip(scratch.chunks(BLOCK)) {
            block.copy_from_slice(sorted);
            tick();
        }
        width *= 2;
    }
}

fn merge<'a>(mut left: &'a [f64], mut right: &'a [f64], out: &mut [f64], tick: &mut impl FnMut()) {
    for block in out.chunks_mut(BLOCK) {
        for slot in block {
            let from_left = match (left.first(), right.first()) {
                (Some(l), Some(r)) => l.total_cmp(r).is_le(),
                (l, _) => l.is_some(),
            };
            let side = if from_left { &mut left } else { &mut right };
            *slot = side[0];
            *side = &side[1..];
        }
        tick();
    }
}

/// Where the quantile `p` of `count` numbers lies: between the number of this position, from 0, and the next,
/// at this share of the way. `p` is between 0 and 1 and `count` at least 1.
#[inline]
pub fn position(count: u64, p: f64) -> (u64, f64) {
    let index = p * (count - 1) as f64;
    let below = index.floor();
    ((below as u64).min(count - 1), index - below)
}

/// The point at a share of the way from `a` to `b`, as numpy's linear method rounds it.
#[inline]
pub fn between(a: f64, b: f64, share: f64) -> f64 {
    let gap = b - a;
    if share == 0.0 || a == b {
        a
    } else if !gap.is_finite() {
        a * (1.0 - share) + b * share
    } else if share >= 0.5 {
        b - gap * (1.0 - share)
    } else {
        a + gap * share
    }
}

/// The quantile `p` of sorted numbers, between the two that it lies between; None of no numbers.
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    if sorted.is_empty() {
        return None;
    }
    let (below, share) = position(sorted.len() as u64, p);
    let below = below as usize;
    Some(between(sorted[below], sorted[(below + 1).min(sorted.len() - 1)], share))
}

/// The bucket of `x`, from 1, of `buckets` whose lower bounds are the quantiles of the sorted numbers: the k-th of n
/// begins with the first number that k/n of all numbers do not exceed. Equal numbers share a bucket.
pub fn bucket(sorted: &[f64], x: f64, buckets: u32) -> u32 {
    let x = canonical(x);
    let at_most = sorted.partition_point(|value| value.total_cmp(&x).is_le());
    if sorted.is_empty() {
        return 1;
    }
    // The k-th bound is the number at position ceil(k N / n): below or at x exactly for k <= n c / N.
    let begun = at_most as u128 * u128::from(buckets) / sorted.len() as u128;
    1 + (begun.min(u128::from(buckets - 1)) as u32)
}

/// Puts the lower bounds of all buckets but the first in the place of the sorted numbers; how many there are. None where
/// there are more bounds than numbers: then `bucket` has to look at the numbers.
pub fn bounds(sorted: &mut [f64], buckets: u32) -> Option<usize> {
    let (count, inner) = (sorted.len() as u128, buckets as usize - 1);
    if inner > sorted.len() {
        return None;
    }
    for k in 1..=inner {
        // Never before k - 1: what is read has not been written yet.
        sorted[k - 1] = sorted[(k as u128 * count).div_ceil(u128::from(buckets)) as usize - 1];
    }
    Some(inner)
}

/// The bucket of `x`, from 1, by the lower bounds of the others.
pub fn bucket_by(bounds: &[f64], x: f64) -> u32 {
    let x = canonical(x);
    1 + bounds.partition_point(|bound| bound.total_cmp(&x).is_le()) as u32
}
