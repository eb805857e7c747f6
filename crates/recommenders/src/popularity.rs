//! How often items occur, lately or ever, and their order by it.

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::need::Need;
use base::pace::Pace;

use crate::tasks::POPULARITY;

/// Items handled between two looks at the control: at most a few milliseconds.
const PIECE: usize = 1 << 16;

/// Counts are sorted by 16 bits at a time.
const DIGITS: usize = 1 << 16;

/// Entries of each row.
pub(crate) fn counts(item_users: &Csr, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let mut counts = budget.with_capacity(item_users.rows())?;
    let mut pace = Pace::new(budget.control());
    for pair in item_users.offsets.windows(2) {
        pace.step(1)?;
        counts.push((pair[1] - pair[0]) as u32);
    }
    Ok(counts)
}

/// Items by falling count, equal ones by rising number.
pub(crate) fn order(counts: &[u32], budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    falling(counts, |&count| u64::from(count), budget)
}

/// The places of values by falling key, equal ones by rising place. A radix sort: linear, with looks at the control, and it
/// needs only one list beside the result.
fn falling<T>(values: &[T], key: impl Fn(&T) -> u64, budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let control = budget.control();
    let mut order = budget.with_capacity::<u32>(values.len())?;
    let mut used = 0;
    for piece in values.chunks(PIECE) {
        control.check()?;
        order.extend(order.len() as u32..(order.len() + piece.len()) as u32);
        used = piece.iter().fold(used, |used, value| used | key(value));
    }
    let mut other = budget.zeroed::<u32>(values.len())?;
    let mut places = budget.zeroed::<u32>(DIGITS)?;
    for shift in [0, 16, 32, 48] {
        // A digit that is zero everywhere changes nothing.
        if ((used >> shift) as usize).is_multiple_of(DIGITS) {
            continue;
        }
        // Larger keys come first.
        let digit = |item: u32| DIGITS - 1 - (key(&values[item as usize]) >> shift) as usize % DIGITS;
        places.fill(0);
        for piece in order.chunks(PIECE) {
            control.check()?;
            piece.iter().for_each(|&item| places[digit(item)] += 1);
        }
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for piece in order.chunks(PIECE) {
            control.check()?;
            for &item in piece {
                let place = &mut places[digit(item)];
                other[*place as usize] = item;
                *place += 1;
            }
        }
        std::mem::swap(&mut order, &mut other);
    }
    budget.free(other);
    budget.free(places);
    Ok(order)
}

/// How popular items are when what happened long ago counts less.
#[derive(Debug, Clone, PartialEq)]
pub struct Decayed {
    /// The weight of each item.
    pub weights: Vec<f64>,
    /// Items by falling weight, equal ones by rising number.
    pub order: Vec<u32>,
}

impl Decayed {
    /// Memory of both.
    pub fn bytes(&self) -> u64 {
        self.weights.len() as u64 * 8 + self.order.len() as u64 * 4
    }

    /// The weight of an item by that of all, which is comparable with a share of all interactions.
    pub fn share(&self, item: u32) -> f64 {
        let all = self.weights.iter().sum::<f64>();
        self.weights.get(item as usize).map_or(0.0, |weight| weight / all.max(f64::MIN_POSITIVE))
    }
}

/// Popularity without a decay: the entries of each item. [`Decayed::bytes`] stay taken from the control. Errors: `Memory`,
/// `NoMemory`, `Cancelled`.
pub fn plain(item_users: &Csr, control: &Control) -> Result<Decayed> {
    let mut budget = Budget::new(control, POPULARITY);
    let mut weights = budget.with_capacity(item_users.rows())?;
    let mut pace = Pace::new(control);
    for pair in item_users.offsets.windows(2) {
        pace.step(1)?;
        weights.push((pair[1] - pair[0]) as f64);
    }
    let order = falling(&weights, |weight| weight.to_bits(), &mut budget)?;
    let decayed = Decayed { weights, order };
    budget.keep(decayed.bytes());
    Ok(decayed)
}

/// What either takes for so many items.
pub fn need(items: usize) -> Need {
    let result = items as u64 * 12;
    Need { peak: result + items as u64 * 4 + 4 * DIGITS as u64, result }
}

/// Popularity with a half-life: an entry counts `2^(-age / half_life)`, its age being what its time is before `now`, or 0
/// after it. So an item whose entries are all one half-life older than those of another needs twice as many.
///
/// * `user_items`, `times`: entries of `items` columns, and the time of each ([`crate::interactions::Interactions::times`]).
/// * `now`: nothing for the newest of the times. What is ordered depends on it only where times lie after it.
/// * `half_life`: in the unit of the times, above 0; infinite for no decay.
///
/// Weights are summed in the order of the entries. Below the smallest of f64, about 1074 half-lives ago, an entry counts
/// nothing. [`Decayed::bytes`] stay taken from the control. Errors: `Parameter`, `Corrupted` if there is not a time for every
/// entry, `Memory`, `NoMemory`, `Cancelled`.
pub fn decayed(
    user_items: &Csr,
    items: usize,
    times: &[i64],
    now: Option<i64>,
    half_life: f64,
    control: &Control,
) -> Result<Decayed> {
    if half_life.is_nan() || half_life <= 0.0 {
        let expected = "a number above 0".into();
        return Err(Error::Parameter { name: "half_life", expected, got: half_life.to_string() });
    }
    if times.len() != user_items.entries() {
        return Err(Error::Corrupted("there is not a time for every entry"));
    }
    let mut budget = Budget::new(control, POPULARITY);
    let mut newest = i64::MIN;
    for piece in times.chunks(PIECE) {
        control.check()?;
        newest = piece.iter().copied().fold(newest, i64::max);
    }
    let now = now.unwrap_or(newest);
    let mut weights = budget.zeroed::<f64>(items)?;
    for (items, times) in user_items.indices.chunks(PIECE).zip(times.chunks(PIECE)) {
        control.check()?;
        for (&item, &time) in items.iter().zip(times) {
            let Some(weight) = weights.get_mut(item as usize) else {
                return Err(Error::Corrupted("an item out of range"));
            };
            // As i128: the times may be the first and the last that there are.
            let age = (i128::from(now) - i128::from(time)).max(0) as f64;
            *weight += (-age / half_life).exp2();
        }
    }
    // Bits of numbers that are not negative are in their order.
    let order = falling(&weights, |weight| weight.to_bits(), &mut budget)?;
    let decayed = Decayed { weights, order };
    budget.keep(decayed.bytes());
    Ok(decayed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::tasks::WRITING;

    /// Users have items 0 1, 0 2, 1.
    fn matrix() -> Csr {
        Csr { offsets: vec![0, 2, 4, 5], indices: vec![0, 1, 0, 2, 1], values: vec![1.0; 5] }
    }

    fn weights(times: &[i64], now: Option<i64>, half_life: f64) -> (Vec<f64>, Vec<u32>) {
        let Decayed { weights, order } =
            decayed(&matrix(), 4, times, now, half_life, &Control::unlimited()).unwrap();
        (weights, order)
    }

    #[test]
    fn an_entry_counts_half_after_each_half_life() {
        let times = [100, 90, 80, 100, 70];
        assert_eq!(weights(&times, None, 10.0), (vec![1.25, 0.625, 1.0, 0.0], vec![0, 2, 1, 3]));
        assert_eq!(weights(&times, Some(110), 10.0).0, [0.625, 0.3125, 0.5, 0.0]);
        // What lies in the future is no more than new.
        assert_eq!(weights(&times, Some(90), 10.0).0, [1.5, 1.25, 1.0, 0.0]);
        assert_eq!(weights(&times, None, f64::INFINITY), (vec![2.0, 2.0, 1.0, 0.0], vec![0, 1, 2, 3]));
    }

    #[test]
    fn times_at_the_ends_of_their_range() {
        let times = [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX];
        assert_eq!(weights(&times, None, 1e-3).0, [0.0, 2.0, 0.0, 0.0]);
        assert_eq!(weights(&times, None, f64::INFINITY).0, [2.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn the_order_is_that_of_a_stable_sort_of_the_weights() {
        let items = 3000;
        let mixed = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let indices: Vec<u32> = (0..20_000).map(|n| (mixed(n) % items) as u32).collect();
        let matrix = Csr { offsets: (0..=20_000).collect(), values: vec![1.0; 20_000], indices };
        let times: Vec<i64> = (0..20_000).map(|n| (mixed(n + 7) % 50) as i64).collect();
        let control = Control::unlimited();
        let found = decayed(&matrix, items as usize, &times, None, 10.0, &control).unwrap();
        let mut expected: Vec<u32> = (0..items as u32).collect();
        expected.sort_by(|&a, &b| found.weights[b as usize].total_cmp(&found.weights[a as usize]));
        assert_eq!(found.order, expected);
        assert_eq!(control.used(), found.bytes());
        assert!((found.order.iter().map(|&item| found.share(item)).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let control = Control::unlimited();
        let run =
            |times: &[i64], items, half_life| decayed(&matrix(), items, times, None, half_life, &control);
        for half_life in [0.0, -1.0, f64::NAN] {
            assert!(matches!(run(&[0; 5], 3, half_life), Err(Error::Parameter { name: "half_life", .. })));
        }
        assert!(matches!(run(&[0; 4], 3, 1.0), Err(Error::Corrupted(_))));
        assert!(matches!(run(&[0; 5], 2, 1.0), Err(Error::Corrupted(_))));
        assert_eq!(control.used(), 0);
    }

    #[test]
    fn the_order_is_that_of_a_stable_sort() {
        let control = Control::unlimited();
        let small = |n: u32| n.wrapping_mul(2_654_435_761) >> 28;
        let large = |n: u32| n.wrapping_mul(2_654_435_761) >> (n % 31);
        for counts in [
            vec![],
            vec![0; 5],
            vec![1, 3, 3, 0, u32::MAX],
            (0..1000).map(small).collect(),
            (0..100_000).map(large).collect::<Vec<u32>>(),
        ] {
            let mut expected: Vec<u32> = (0..counts.len() as u32).collect();
            expected.sort_by_key(|&item| std::cmp::Reverse(counts[item as usize]));
            assert_eq!(order(&counts, &mut Budget::new(&control, WRITING)), Ok(expected));
        }
        assert_eq!(control.used(), 0);
    }
}
