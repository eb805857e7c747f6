//! Values: known answers, the best of all partitions, a slow Lloyd.

use base::Control;
use features::columns::Scaling;
use proptest::prelude::*;
use segments::kmeans::{self, Params, Points};

use crate::{Dice, blobs, columns_of, fit, inertia, points};

#[test]
fn known_answers() {
    let control = Control::unlimited();
    let rows = [1.0, 1.0, 1.0, 2.0, 10.0, 10.0, 10.0, 11.0, 10.0, 12.0];
    let found = points(&rows, 2, &control);
    let two = fit(&found, &Params { clusters: 2, ..Params::default() });
    // The larger group first.
    assert_eq!(two.labels, [1, 1, 0, 0, 0]);
    assert_eq!(two.sizes, [3, 2]);
    assert_eq!(found.frame().raw(&two.centroids), [10.0, 11.0, 1.0, 1.5]);
    assert_eq!(two.distances, [0.5, 0.5, 1.0, 0.0, 1.0]);
    assert!((two.inertia - 2.5).abs() < 1e-12 && two.converged);
    let one = fit(&found, &Params { clusters: 1, ..Params::default() });
    assert_eq!((one.sizes, one.labels), (vec![5], vec![0; 5]));
    assert!((one.inertia - inertia(&rows, 2, &[0; 5], 1)).abs() < 1e-9);
    let five = fit(&found, &Params { clusters: 5, ..Params::default() });
    assert_eq!((five.sizes, five.inertia), (vec![1; 5], 0.0));
    // Equal sizes: by the first number, then the second.
    assert_eq!(five.labels, [0, 1, 2, 3, 4]);
}

#[test]
fn fewer_distinct_rows_than_clusters() {
    let control = Control::unlimited();
    let rows = [3.0, 0.0, 5.0, -0.0, 3.0, 0.0, 5.0, 0.0, 3.0, -0.0];
    for clusters in [2, 3, 10_000] {
        let found = fit(&points(&rows, 2, &control), &Params { clusters, ..Params::default() });
        assert_eq!((found.labels, found.sizes), (vec![0, 1, 0, 1, 0], vec![3, 2]), "{clusters}");
        assert_eq!(found.inertia, 0.0);
    }
    for rows in [vec![7.0], vec![7.0; 300]] {
        let found = fit(&points(&rows, 1, &control), &Params { clusters: 3, ..Params::default() });
        assert_eq!((found.sizes, found.inertia), (vec![rows.len() as u64], 0.0));
        assert_eq!(points(&rows, 1, &control).frame().raw(&found.centroids), [7.0]);
    }
}

#[test]
fn a_cluster_that_runs_empty_gets_the_farthest_row() {
    let control = Control::unlimited();
    let rows = [0.0, 1.0, 2.0, 10.0, 11.0, 90.0];
    let found = points(&rows, 1, &control);
    let at = |value: f64| f64::from(found.frame().point(&[value])[0]);
    // The third is nearest to nothing; 90 is the farthest from its own.
    let start = [at(1.0), at(20.0), at(1000.0)];
    let end = kmeans::fit_from(&found, &start, &Params::default(), &mut |_, _| ()).unwrap();
    assert_eq!(end.labels, [0, 0, 0, 1, 1, 2]);
    // All at one place: every other centroid is empty at first.
    let start = [at(1.0); 6];
    let end = kmeans::fit_from(&found, &start, &Params::default(), &mut |_, _| ()).unwrap();
    assert_eq!((end.sizes, end.inertia), (vec![1; 6], 0.0));
    // More than can be filled.
    let end = kmeans::fit_from(&found, &[at(1.0); 9], &Params::default(), &mut |_, _| ()).unwrap();
    assert_eq!(end.sizes, [1; 6]);
}

/// The least inertia of all partitions into `clusters` groups.
fn optimum(rows: &[f64], columns: usize, clusters: usize) -> f64 {
    fn go(rows: &[f64], columns: usize, clusters: usize, labels: &mut Vec<u32>, used: u32) -> f64 {
        if labels.len() == rows.len() / columns {
            return inertia(rows, columns, labels, clusters);
        }
        let mut least = f64::INFINITY;
        for label in 0..(used + 1).min(clusters as u32) {
            labels.push(label);
            least = least.min(go(rows, columns, clusters, labels, used.max(label + 1)));
            labels.pop();
        }
        least
    }
    go(rows, columns, clusters, &mut Vec::new(), 0)
}

#[test]
fn finds_the_best_of_all_partitions() {
    let control = Control::unlimited();
    let mut dice = Dice::new(5);
    for case in 0..40 {
        let (count, clusters) = (4 + case % 6, 2 + case % 3);
        let rows: Vec<f64> = (0..2 * count).map(|_| (dice.uniform() * 20.0).floor()).collect();
        let params = Params { clusters, starts: 30, tolerance: 0.0, ..Params::default() };
        let found = fit(&points(&rows, 2, &control), &params);
        let best = optimum(&rows, 2, clusters);
        assert!((found.inertia - best).abs() <= 1e-9 * (1.0 + best), "{} {best} {rows:?}", found.inertia);
    }
}

/// Lloyd as in a textbook, in double precision, from given centroids: labels, centroids, iterations.
fn slow(rows: &[f64], columns: usize, start: &[f64]) -> (Vec<u32>, Vec<f64>, usize) {
    let mut centroids = start.to_vec();
    let mut labels = vec![u32::MAX; rows.len() / columns];
    for iteration in 1.. {
        let new: Vec<u32> = rows
            .chunks(columns)
            .map(|row| {
                let squares = centroids
                    .chunks(columns)
                    .map(|centroid| row.iter().zip(centroid).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
                let best = squares.enumerate().fold((0, f64::INFINITY), |best, (at, square)| {
                    if square < best.1 { (at, square) } else { best }
                });
                best.0 as u32
            })
            .collect();
        for (cluster, centroid) in centroids.chunks_mut(columns).enumerate() {
            let own = || rows.chunks(columns).zip(&new).filter(|(_, label)| **label as usize == cluster);
            for (column, number) in centroid.iter_mut().enumerate() {
                *number = own().map(|(row, _)| row[column]).sum::<f64>() / own().count() as f64;
            }
        }
        if new == labels {
            return (new, centroids, iteration);
        }
        labels = new;
    }
    unreachable!()
}

#[test]
fn goes_the_way_of_a_slow_lloyd() {
    for (count, columns, clusters, scaling) in [
        (500, 2, 4, Scaling::None),
        (777, 5, 6, Scaling::Standard),
        (1000, 17, 9, Scaling::MinMax),
        (300, 40, 3, Scaling::Robust),
    ] {
        let control = Control::unlimited();
        let rows = blobs(count, columns, clusters, 2.5, count as u64);
        let found = columns_of(&rows, columns, scaling);
        let points = Points::new(&rows, &found, &control).unwrap();
        // What the kernels see: points as f32.
        let frame = points.frame();
        let seen: Vec<f64> = rows.chunks(columns).flat_map(|row| frame.point(row)).map(f64::from).collect();
        let start = &seen[..clusters * columns];
        let (labels, centroids, iterations) = slow(&seen, columns, start);
        let params = Params { tolerance: 0.0, ..Params::default() };
        let end = kmeans::fit_from(&points, start, &params, &mut |_, _| ()).unwrap();
        // Ours are numbered by size.
        let mut to = vec![None; clusters];
        for (&slow, &fast) in labels.iter().zip(&end.labels) {
            assert_eq!(*to[slow as usize].get_or_insert(fast), fast);
        }
        assert_eq!((end.iterations, end.converged), (iterations, true));
        for (cluster, centroid) in centroids.chunks(columns).enumerate() {
            let fast = &end.centroids[to[cluster].unwrap() as usize * columns..][..columns];
            for (a, b) in centroid.iter().zip(fast) {
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
        let expected = inertia(&seen, columns, &end.labels, clusters) * frame.unit * frame.unit;
        assert!((end.inertia / expected - 1.0).abs() < 1e-12, "{} {expected}", end.inertia);
    }
}

#[test]
fn the_inertia_never_rises_and_is_that_of_the_labels() {
    let control = Control::unlimited();
    let rows = blobs(3000, 6, 12, 2.0, 3);
    let found = points(&rows, 6, &control);
    let mut last = (0, 0, 0.0);
    let params = Params { clusters: 12, starts: 5, tolerance: 0.0, ..Params::default() };
    let end = kmeans::fit(&found, &params, &mut |start, iteration, inertia| {
        if start == last.0 {
            assert!(iteration == last.1 + 1 && inertia <= last.2 * (1.0 + 1e-12), "{inertia} {last:?}");
        } else {
            assert!(start == last.0 + 1 && iteration == 1);
        }
        last = (start, iteration, inertia);
    })
    .unwrap();
    assert_eq!(last.0, 5);
    let expected = inertia(&rows, 6, &end.labels, 12);
    assert!((end.inertia / expected - 1.0).abs() < 1e-6, "{} {expected}", end.inertia);
    let squares: f64 = end.distances.iter().map(|&distance| f64::from(distance).powi(2)).sum();
    assert!((end.inertia / squares - 1.0).abs() < 1e-6);
}

#[test]
fn more_starts_are_never_worse() {
    let control = Control::unlimited();
    let rows = blobs(2000, 3, 15, 0.6, 9);
    let found = points(&rows, 3, &control);
    let mut last = f64::INFINITY;
    let mut values = Vec::new();
    for starts in [1, 3, 10, 30] {
        let end = fit(&found, &Params { clusters: 15, starts, seed: 4, ..Params::default() });
        assert!(end.inertia <= last * (1.0 + 1e-12));
        last = end.inertia;
        values.push(last);
    }
    assert!(values[0] > values[3], "one start finds the best already: {values:?}");
}

#[test]
fn starts_find_small_groups() {
    let control = Control::unlimited();
    // A crowd, and 15 groups of four rows each.
    let mut dice = Dice::new(12);
    let mut rows: Vec<f64> = (0..6000).map(|_| dice.uniform()).collect();
    for group in 1..=15 {
        rows.extend((0..4).flat_map(|_| [100.0 * f64::from(group) + dice.uniform(), dice.uniform()]));
    }
    let found = points(&rows, 2, &control);
    let of = |seed| fit(&found, &Params { clusters: 16, starts: 1, seed, ..Params::default() }).sizes;
    for seed in 0..20 {
        assert_eq!(of(seed), [[3000].as_slice(), &[4; 15]].concat());
    }
}

/// On the same data and seeds the mean is 1.09; it is 1.39 with the first candidate alone.
#[test]
fn starts_are_the_best_of_several_candidates() {
    let control = Control::unlimited();
    let rows = blobs(2000, 2, 30, 0.15, 31);
    let found = points(&rows, 2, &control);
    let best = fit(&found, &Params { clusters: 30, starts: 50, ..Params::default() }).inertia;
    let of = |seed| {
        let params = Params { clusters: 30, starts: 1, max_iterations: 1, seed, ..Params::default() };
        fit(&found, &params).inertia / best
    };
    let mean = (0..40).map(of).sum::<f64>() / 40.0;
    println!("mean {mean}");
    assert!(mean < 1.15, "{mean}");
}

#[test]
fn far_from_zero_and_of_any_size() {
    let control = Control::unlimited();
    let rows = blobs(600, 3, 4, 0.5, 21);
    let params = Params { clusters: 4, ..Params::default() };
    let plain = fit(&points(&rows, 3, &control), &params);
    // Offsets that f32 could not hold, and units whose squares it could not.
    for (scale, offset) in [(1.0, 1e7), (2f64.powi(300), 0.0), (2f64.powi(-300), 0.0), (2f64.powi(40), -1e18)]
    {
        let moved: Vec<f64> = rows.iter().map(|number| number * scale + offset).collect();
        let other = fit(&points(&moved, 3, &control), &params);
        let same = plain.labels.iter().zip(&other.labels).filter(|(a, b)| a == b).count();
        assert_eq!(same, 600, "{scale} {offset}");
        assert!((other.inertia / (plain.inertia * scale * scale) - 1.0).abs() < 1e-4);
    }
}

proptest! {
    /// Whatever the rows: labels are nearest centroids, centroids means, nothing is empty, numbers are finite.
    #[test]
    fn labels_distances_and_sizes_agree(
        (columns, rows) in (1usize..4).prop_flat_map(|columns| {
            let value = prop_oneof![(-3i32..3).prop_map(f64::from), -1e6f64..1e6];
            (Just(columns), prop::collection::vec(prop::collection::vec(value, columns), 1..90))
        }),
        clusters in 1usize..8,
        scaling in prop::sample::select(vec![Scaling::None, Scaling::Standard, Scaling::MinMax, Scaling::Robust]),
    ) {
        let control = Control::unlimited();
        let flat = rows.concat();
        let found = columns_of(&flat, columns, scaling);
        let points = Points::new(&flat, &found, &control).unwrap();
        let params = Params { clusters, starts: 2, ..Params::default() };
        let end = fit(&points, &params);
        let groups = end.sizes.len();
        prop_assert_eq!(groups, points.distinct(clusters).unwrap());
        prop_assert!(end.sizes.is_sorted_by(|a, b| a >= b));
        prop_assert!(end.inertia.is_finite() && end.centroids.iter().all(|number| number.is_finite()));
        let frame = points.frame();
        for (row, (&label, &distance)) in rows.iter().zip(end.labels.iter().zip(&end.distances)) {
            let point = frame.point(row);
            let squares: Vec<f64> = end.centroids.chunks(columns).map(|centroid| {
                point.iter().zip(centroid).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum()
            }).collect();
            let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
            prop_assert_eq!(squares[label as usize], least);
            prop_assert_eq!(distance, (least.sqrt() * frame.unit) as f32);
        }
        for (label, &size) in end.sizes.iter().enumerate() {
            prop_assert_eq!(end.labels.iter().filter(|&&each| each as usize == label).count() as u64, size);
        }
    }
}
