//! What needs the inside: instruction sets against each other, and labels against double precision.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base::control::Control;
use base::simd::levels;
use features::columns::{self, Scaling};

use super::*;

/// Rows around a few centers; a twentieth of them repeated, one far outside.
fn rows(count: usize, columns: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let mut rows = Vec::new();
    for row in 0..count {
        let center = (uniform() * 5.0).floor();
        for column in 0..columns {
            let spread: f64 = (0..4).map(|_| uniform() - 0.5).sum();
            rows.push(center * (1.0 + (column % 3) as f64) + spread);
        }
        if row > 20 && row % 20 == 0 {
            let from = (row - 20) * columns;
            rows.truncate(row * columns);
            rows.extend_from_within(from..from + columns);
        }
    }
    rows[0] = 1e4;
    rows
}

#[test]
fn all_instruction_sets_agree_to_the_bit() {
    for (count, columns, clusters) in [(1, 1, 1), (63, 2, 3), (3000, 3, 5), (5000, 8, 8), (4097, 33, 17)] {
        let rows = rows(count, columns, 7);
        let control = Control::unlimited();
        let found = columns::fit(&rows, columns, Scaling::Standard, &control).unwrap();
        let points = Points::new(&rows, &found, &control).unwrap();
        let params = Params { clusters, starts: 2, threads: 2, ..Params::default() };
        let results: Vec<_> =
            levels().map(|level| fit_at(level, &points, &params, &mut |_, _, _| ()).unwrap()).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{count} {columns}");
    }
}

#[test]
fn labels_are_those_of_double_precision() {
    for (kind, offset) in [(Scaling::Standard, 0.0), (Scaling::None, 1e9)] {
        let rows: Vec<f64> = rows(3000, 6, 3).iter().map(|number| number + offset).collect();
        let control = Control::unlimited();
        let found = columns::fit(&rows, 6, kind, &control).unwrap();
        let points = Points::new(&rows, &found, &control).unwrap();
        // Centroids in near pairs, so that many rows are as good as between two.
        let mut centroids: Vec<f64> = (0..20).flat_map(|row| points.row(row * 31)).map(f64::from).collect();
        let near: Vec<f64> = centroids.iter().map(|number| number + 1e-9 * points.frame.unit).collect();
        centroids.extend(near);
        let centers = Centers::new(&centroids, 6, &control).unwrap();
        let slow: Vec<u32> = (0..points.rows)
            .map(|row| {
                let squares = centroids.chunks(6).map(|centroid| lloyd::square(&points, row, centroid));
                let best = squares.enumerate().fold((0, f64::INFINITY), |best, (at, square)| {
                    if square < best.1 { (at, square) } else { best }
                });
                best.0 as u32
            })
            .collect();
        for level in levels() {
            let mut labels = vec![NONE; points.norms.len()];
            let mut sums = Sums::new(40, 6, &control).unwrap();
            let changed = assign(level, &points, &centers, 1, &mut labels, &mut sums).unwrap();
            assert_eq!((changed, &labels[..3000]), (3000, &slow[..]));
            assert!(labels[3000..].iter().all(|&label| label == NONE));
            // Once more: nothing changes, and the sums are those of the rows.
            assert_eq!(assign(level, &points, &centers, 3, &mut labels, &mut sums), Ok(0));
            let mut totals = vec![0; 40 * 6];
            for (row, &label) in slow.iter().enumerate() {
                for (column, number) in points.row(row).enumerate() {
                    totals[label as usize * 6 + column] += points::to_grid(number, points.grid[column]);
                }
            }
            assert_eq!(totals, sums.totals[..]);
        }
    }
}

#[test]
fn ties_go_to_the_first_centroid() {
    let control = Control::unlimited();
    let rows: Vec<f64> = (-50..=50).map(f64::from).collect();
    let columns = columns::fit(&rows, 1, Scaling::None, &control).unwrap();
    let points = Points::new(&rows, &columns, &control).unwrap();
    // Twice the same two, with row 0 between them.
    let centroids = [0.125, -0.125, 0.125, -0.125];
    let centers = Centers::new(&centroids, 1, &control).unwrap();
    for level in levels() {
        let mut labels = vec![NONE; points.norms.len()];
        let mut sums = Sums::new(4, 1, &control).unwrap();
        assign(level, &points, &centers, 1, &mut labels, &mut sums).unwrap();
        assert_eq!(sums.counts, [51, 50, 0, 0]);
        assert_eq!(labels[50], 0);
    }
}

#[test]
fn the_farthest_row_that_its_cluster_can_spare_fills_an_empty_one() {
    let control = Control::unlimited();
    let rows = [0.0, 1.0, 100.0];
    let columns = columns::fit(&rows, 1, Scaling::None, &control).unwrap();
    let points = Points::new(&rows, &columns, &control).unwrap();
    let at = |value: f64| f64::from(points.frame.coordinate(0, value));
    let centroids = [at(0.5), at(60.0), at(1000.0)];
    let centers = Centers::new(&centroids, 1, &control).unwrap();
    let mut labels = vec![NONE; points.norms.len()];
    let mut sums = Sums::new(3, 1, &control).unwrap();
    assign(Level::Portable, &points, &centers, 1, &mut labels, &mut sums).unwrap();
    assert_eq!(labels[..3], [0, 0, 1]);
    // 100 is farthest, but alone; 0 and 1 are equally far.
    assert_eq!(lloyd::fill_empty(&points, &centroids, &mut labels, &mut sums), Ok(1));
    assert_eq!((&labels[..3], &sums.counts[..]), (&[2, 0, 1][..], &[1, 1, 1][..]));
}
