//! How often items occur, and their order by it.

use crate::budget::Budget;
use crate::csr::Csr;
use crate::error::Result;
use crate::interactions::Pace;

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

/// Items by falling count, equal ones by rising number. A radix sort: linear, with looks at the control, and it needs
/// only one list beside the result.
pub(crate) fn order(counts: &[u32], budget: &mut Budget<'_>) -> Result<Vec<u32>> {
    let control = budget.control();
    let mut order = budget.with_capacity::<u32>(counts.len())?;
    let mut most = 0;
    for piece in counts.chunks(PIECE) {
        control.check()?;
        order.extend(order.len() as u32..(order.len() + piece.len()) as u32);
        most = piece.iter().copied().fold(most, u32::max);
    }
    let mut other = budget.zeroed::<u32>(counts.len())?;
    let mut places = budget.zeroed::<u32>(DIGITS)?;
    for shift in [0, 16] {
        if most >> shift == 0 {
            break;
        }
        // Larger counts come first.
        let digit = |item: u32| DIGITS - 1 - (counts[item as usize] >> shift) as usize % DIGITS;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::WRITING;
    use crate::control::Control;

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
