//! Assignments of least cost, and what they are for: groups keep their numbers when a model is trained anew.

use base::control::Control;
use base::error::Result;

/// Pairs each row with a column of its own, as many pairs as there are rows or columns, whichever are fewer, so that
/// the costs of the pairs sum up to the least. `costs` is row-major with `columns` finite numbers per row. The answer
/// holds the column of each row. Errors: `Cancelled`.
///
/// The Hungarian method in its form of shortest augmenting paths (Jonker and Volgenant 1987): `rows^2 * columns`
/// steps. An own one, since the crates that have it want integers or bring a matrix library along.
pub fn assignment(costs: &[f64], columns: usize, control: &Control) -> Result<Vec<Option<usize>>> {
    if costs.is_empty() || columns == 0 {
        return Ok(Vec::new());
    }
    let rows = costs.len() / columns;
    if rows > columns {
        // Each column finds its row.
        let turned: Vec<f64> =
            (0..columns).flat_map(|column| costs[column..].iter().step_by(columns).copied()).collect();
        let mut answer = vec![None; rows];
        for (column, row) in assignment(&turned, rows, control)?.into_iter().enumerate() {
            if let Some(row) = row {
                answer[row] = Some(column);
            }
        }
        return Ok(answer);
    }
    // Rows and columns count from 1; 0 is the row or column that is not there. Prices keep `cost - row price - column
    // price` at 0 for pairs and at least 0 elsewhere.
    let (mut row_price, mut column_price) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    let mut row_of = vec![0; columns + 1];
    for row in 1..=rows {
        control.check()?;
        // The shortest path from this row over pairs to a free column, by Dijkstra.
        row_of[0] = row;
        let (mut distance, mut done) = (vec![f64::INFINITY; columns + 1], vec![false; columns + 1]);
        let mut before = vec![0; columns + 1];
        let mut at = 0;
        while row_of[at] != 0 {
            done[at] = true;
            let own = row_of[at];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for column in (1..=columns).filter(|&column| !done[column]) {
                let cost = costs[(own - 1) * columns + column - 1] - row_price[own] - column_price[column];
                if cost < distance[column] {
                    distance[column] = cost;
                    before[column] = at;
                }
                if distance[column] < step || next == 0 {
                    (step, next) = (distance[column], column);
                }
            }
            for column in 0..=columns {
                if done[column] {
                    row_price[row_of[column]] += step;
                    column_price[column] -= step;
                } else {
                    distance[column] -= step;
                }
            }
            at = next;
        }
        // Along the path every column gets the row of the one before.
        while at != 0 {
            row_of[at] = row_of[before[at]];
            at = before[at];
        }
    }
    let mut answer = vec![None; rows];
    for (column, &row) in row_of.iter().enumerate().skip(1).filter(|(_, row)| **row != 0) {
        answer[row - 1] = Some(column - 1);
    }
    Ok(answer)
}

/// The old centroid that each new one continues: pairs of least summed distance, where going without a partner costs
/// `farthest`, and no pair is farther apart than that. Centroids are row-major in units in which distances mean
/// something; `farthest` may be infinite.
pub fn successors(
    old: &[f64],
    new: &[f64],
    columns: usize,
    farthest: f64,
    control: &Control,
) -> Result<Vec<Option<usize>>> {
    if new.is_empty() || columns == 0 {
        return Ok(Vec::new());
    }
    let count = old.len() / columns;
    let mut distances = Vec::with_capacity(new.len() / columns * count);
    for new in new.chunks_exact(columns) {
        control.check()?;
        distances.extend(old.chunks_exact(columns).map(|old| distance(new, old)));
    }
    if count == 0 {
        return Ok(vec![None; new.len() / columns]);
    }
    let capped: Vec<f64> = distances.iter().map(|distance| distance.min(farthest)).collect();
    let pairs = assignment(&capped, count, control)?.into_iter().zip(distances.chunks_exact(count));
    Ok(pairs.map(|(pair, distances)| pair.filter(|&old| distances[old] <= farthest)).collect())
}

/// Ids of the new centroids: that of the old one which each continues, and fresh ones from `next` on for the others,
/// in order. An id that was retired is never given again, as long as `next` only rises.
pub fn continued_ids(
    old: &[f64],
    old_ids: &[u32],
    new: &[f64],
    columns: usize,
    farthest: f64,
    next: u32,
    control: &Control,
) -> Result<Vec<u32>> {
    let fresh = next..;
    let mut fresh = fresh.into_iter();
    let mut id = |pair: Option<usize>| {
        let continued = pair.and_then(|pair| old_ids.get(pair).copied());
        continued.or_else(|| fresh.next()).unwrap_or(u32::MAX)
    };
    Ok(successors(old, new, columns, farthest, control)?.into_iter().map(&mut id).collect())
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    // A distance beyond all numbers would be no cost that can be compared.
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt().min(f64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::Control;

    fn assignment(costs: &[f64], columns: usize) -> Vec<Option<usize>> {
        super::assignment(costs, columns, &Control::unlimited()).unwrap()
    }

    fn successors(old: &[f64], new: &[f64], columns: usize, farthest: f64) -> Vec<Option<usize>> {
        super::successors(old, new, columns, farthest, &Control::unlimited()).unwrap()
    }

    fn continued_ids(
        old: &[f64],
        ids: &[u32],
        new: &[f64],
        columns: usize,
        farthest: f64,
        next: u32,
    ) -> Vec<u32> {
        super::continued_ids(old, ids, new, columns, farthest, next, &Control::unlimited()).unwrap()
    }

    fn cost(costs: &[f64], columns: usize, answer: &[Option<usize>]) -> f64 {
        let pairs = answer.iter().enumerate().filter_map(|(row, column)| Some((row, (*column)?)));
        pairs.map(|(row, column)| costs[row * columns + column]).sum()
    }

    #[test]
    fn known_answers() {
        // The example of scipy.optimize.linear_sum_assignment.
        let costs = [4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0];
        assert_eq!(assignment(&costs, 3), [Some(1), Some(0), Some(2)]);
        // The nearest for each would be the same column.
        assert_eq!(assignment(&[1.0, 2.0, 1.0, 5.0], 2), [Some(1), Some(0)]);
        assert_eq!(assignment(&[3.0, 1.0, 2.0], 3), [Some(1)]);
        assert_eq!(assignment(&[3.0, 1.0, 2.0], 1), [None, Some(0), None]);
        assert_eq!(assignment(&[], 3), []);
    }

    #[test]
    fn groups_keep_their_ids() {
        let old = [0.0, 0.0, 10.0, 0.0, 0.0, 10.0];
        // In another order, moved a little, and one that was not there.
        let new = [0.5, 9.0, 50.0, 50.0, 9.0, 1.0, 0.0, 0.5];
        assert_eq!(successors(&old, &new, 2, 5.0), [Some(2), None, Some(1), Some(0)]);
        assert_eq!(continued_ids(&old, &[4, 7, 9], &new, 2, 5.0, 10), [9, 10, 7, 4]);
        // Fewer than before, and all of them too far.
        assert_eq!(continued_ids(&old, &[4, 7, 9], &[10.0, 0.0], 2, 5.0, 10), [7]);
        assert_eq!(continued_ids(&old, &[4, 7, 9], &[99.0, 0.0, 98.0, 0.0], 2, 5.0, 10), [10, 11]);
        assert_eq!(continued_ids(&[], &[], &[1.0, 2.0], 2, 5.0, 1), [1]);
        assert_eq!(continued_ids(&old, &[4, 7, 9], &[99.0, 0.0], 2, f64::INFINITY, 10), [7]);
    }

    #[test]
    fn a_pair_too_far_does_not_push_others_away() {
        // Summed without the cap, 1 with 8 and -50 with 0 are nearer than 1 with 0 and -50 with 8.
        let (old, new) = ([0.0, 8.0], [1.0, -50.0]);
        assert_eq!(successors(&old, &new, 1, 10.0), [Some(0), None]);
        assert_eq!(successors(&old, &new, 1, f64::INFINITY), [Some(1), Some(0)]);
    }

    /// Every way to pair, one after the other.
    fn brute(costs: &[f64], columns: usize, row: usize, used: &mut Vec<usize>, skips: usize) -> f64 {
        if row == costs.len() / columns {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        if skips > 0 {
            least = brute(costs, columns, row + 1, used, skips - 1);
        }
        for column in 0..columns {
            if !used.contains(&column) {
                used.push(column);
                let rest = brute(costs, columns, row + 1, used, skips);
                least = least.min(costs[row * columns + column] + rest);
                used.pop();
            }
        }
        least
    }

    proptest! {
        #[test]
        fn no_permutation_costs_less(
            (columns, costs) in (1usize..=7, 1usize..=7).prop_flat_map(|(rows, columns)| {
                let costs = prop::collection::vec((-20i32..20).prop_map(f64::from), rows * columns);
                (Just(columns), costs)
            }),
        ) {
            let rows = costs.len() / columns;
            let answer = assignment(&costs, columns);
            let mut taken: Vec<usize> = answer.iter().copied().flatten().collect();
            prop_assert_eq!(taken.len(), rows.min(columns));
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), rows.min(columns));
            let least = brute(&costs, columns, 0, &mut Vec::new(), rows.saturating_sub(columns));
            prop_assert_eq!(cost(&costs, columns, &answer), least);
        }
    }
}
