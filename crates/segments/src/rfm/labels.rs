//! Names for combinations of scores, as data.

use base::error::{Error, Result};

/// Rows and columns of the grid.
const SIDE: usize = 5;

/// A grid of five steps of recency by five of frequency and monetary value together, each cell the number of a name. Any
/// scores fall into exactly one cell, so each has exactly one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The names.
    pub names: Vec<String>,
    /// The number of a name for each cell: recency from the longest ago, in each row frequency and monetary value from
    /// the least.
    pub grid: [u8; SIDE * SIDE],
}

impl Default for Labels {
    /// The usual names.
    fn default() -> Self {
        let names = [
            "Champions",
            "Loyal Customers",
            "Potential Loyalists",
            "New Customers",
            "Promising",
            "Need Attention",
            "About To Sleep",
            "At Risk",
            "Cannot Lose Them",
            "Hibernating",
            "Lost",
        ];
        #[rustfmt::skip]
        let grid = [
            10, 9, 7, 7, 8,
             9, 9, 7, 7, 8,
             6, 6, 5, 1, 1,
             4, 2, 2, 1, 1,
             3, 2, 2, 0, 0,
        ];
        Self { names: names.map(str::to_owned).to_vec(), grid }
    }
}

impl Labels {
    /// The names of the cells of a grid, in the order of their first appearance from the best cell down.
    pub fn of_grid(cells: &[String; SIDE * SIDE]) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut grid = [0; SIDE * SIDE];
        for (cell, name) in cells.iter().enumerate().rev() {
            let known = names.iter().position(|known| known == name);
            grid[cell] = known.unwrap_or(names.len()) as u8;
            if known.is_none() {
                names.push(name.clone());
            }
        }
        Self { names, grid }
    }

    /// The ids of the names: those that `known` names have, and fresh ones from `next` on for the others.
    pub fn continued_ids(&self, known: &[(u32, String)], next: u32) -> Vec<u32> {
        let mut fresh = next..;
        let mut id = |name: &String| {
            let same = known.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
            same.or_else(|| fresh.next()).unwrap_or(u32::MAX)
        };
        self.names.iter().map(&mut id).collect()
    }

    /// `Error::Corrupted` unless each cell has a name and names are not empty and differ.
    pub fn check(&self) -> Result<()> {
        let names = &self.names;
        let named = self.grid.iter().all(|&cell| usize::from(cell) < names.len());
        let differ =
            names.iter().enumerate().all(|(at, name)| !name.is_empty() && !names[..at].contains(name));
        if named && differ { Ok(()) } else { Err(Error::Corrupted("labels of scores")) }
    }

    /// The number of the name of scores, each 1 to `bins`.
    pub fn of(&self, scores: [u32; 3], bins: usize) -> usize {
        usize::from(self.grid[cell(scores, bins)])
    }
}

/// The cell of scores, each 1 to `bins`; others count as the next of these.
pub(crate) fn cell([recency, frequency, monetary]: [u32; 3], bins: usize) -> usize {
    let last = bins.max(2) as u32 - 1;
    let from_zero = |score: u32| score.saturating_sub(1).min(last);
    let row = step(from_zero(recency), last);
    let column = step(from_zero(frequency) + from_zero(monetary), 2 * last);
    row * SIDE + column
}

/// 0 to `last` in five steps, to the nearest; a half goes up.
fn step(value: u32, last: u32) -> usize {
    let most = SIDE as u32 - 1;
    ((2 * value * most + last) / (2 * last)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names() {
        let labels = Labels::default();
        assert_eq!(labels.check(), Ok(()));
        let name = |scores, bins| labels.names[labels.of(scores, bins)].as_str();
        for (scores, expected) in [
            ([5, 5, 5], "Champions"),
            ([5, 4, 4], "Champions"),
            ([5, 5, 2], "Champions"),
            ([4, 4, 4], "Loyal Customers"),
            ([3, 5, 4], "Loyal Customers"),
            ([5, 2, 2], "Potential Loyalists"),
            ([4, 3, 3], "Potential Loyalists"),
            ([5, 1, 1], "New Customers"),
            ([4, 1, 1], "Promising"),
            ([3, 3, 3], "Need Attention"),
            ([3, 1, 2], "About To Sleep"),
            ([2, 4, 3], "At Risk"),
            ([1, 5, 5], "Cannot Lose Them"),
            ([2, 2, 1], "Hibernating"),
            ([1, 1, 1], "Lost"),
        ] {
            assert_eq!(name(scores, 5), expected, "{scores:?}");
        }
        for bins in 2..=10u32 {
            assert_eq!(name([bins; 3], bins as usize), "Champions");
            assert_eq!(name([1; 3], bins as usize), "Lost");
            assert_eq!(name([1, bins, bins], bins as usize), "Cannot Lose Them");
            assert_eq!(name([bins, 1, 1], bins as usize), "New Customers");
        }
    }

    /// All combinations have a name, every name is used, and better scores never lead down a row or column.
    #[test]
    fn every_combination_has_one_name() {
        let labels = Labels::default();
        for bins in 2..=10u32 {
            let mut used = vec![false; labels.names.len()];
            for r in 1..=bins {
                for f in 1..=bins {
                    for m in 1..=bins {
                        let here = cell([r, f, m], bins as usize);
                        used[labels.of([r, f, m], bins as usize)] = true;
                        let next = |scores: [u32; 3]| cell(scores.map(|s| s.min(bins)), bins as usize);
                        assert!(next([r + 1, f, m]) >= here && next([r + 1, f, m]) % SIDE == here % SIDE);
                        assert!(next([r, f + 1, m]) >= here && next([r, f + 1, m]) / SIDE == here / SIDE);
                        // Frequency and monetary value count alike.
                        assert_eq!(cell([r, m, f], bins as usize), here);
                    }
                }
            }
            if bins >= 5 {
                assert!(used.iter().all(|&used| used), "{bins}");
            }
        }
    }

    #[test]
    fn names_of_a_grid_keep_their_ids() {
        let default = Labels::default();
        let cells: [String; 25] =
            std::array::from_fn(|cell| default.names[usize::from(default.grid[cell])].clone());
        let same = Labels::of_grid(&cells);
        assert_eq!((same.names[0].as_str(), same.check()), ("Champions", Ok(())));
        assert!((0..25).all(|cell| same.names[usize::from(same.grid[cell])] == cells[cell]));
        let known: Vec<(u32, String)> = (1..).zip(default.names.clone()).collect();
        let ids = same.continued_ids(&known, 12);
        for (id, name) in ids.iter().zip(&same.names) {
            assert_eq!(&default.names[*id as usize - 1], name);
        }
        let mut cells = cells;
        cells[24] = "Best".into();
        cells[0] = "Gone".into();
        let edited = Labels::of_grid(&cells);
        let ids = edited.continued_ids(&known, 12);
        let id = |name: &str| edited.names.iter().position(|known| known == name).map(|at| ids[at]);
        assert_eq!(
            (id("Best"), id("Gone"), id("Champions"), id("Lost")),
            (Some(12), Some(13), Some(1), None)
        );
    }

    #[test]
    fn edited_labels_are_checked() {
        let mut labels = Labels::default();
        labels.grid[7] = 11;
        assert!(labels.check().is_err());
        let mut labels = Labels::default();
        labels.names[1] = "Champions".into();
        assert!(labels.check().is_err());
        labels.names[1] = String::new();
        assert!(labels.check().is_err());
        assert!(Labels { names: vec!["All".into()], grid: [0; 25] }.check().is_ok());
    }
}
