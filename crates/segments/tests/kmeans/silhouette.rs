//! Silhouettes, and the number of groups that they choose.

use base::{Control, Error};
use segments::kmeans::{self, Params, silhouette};

use crate::{Dice, blobs, fit, points};

/// From its definition.
fn slow(rows: &[f64], columns: usize, labels: &[u32]) -> f64 {
    let distance = |a: usize, b: usize| -> f64 {
        let (a, b) = (&rows[a * columns..][..columns], &rows[b * columns..][..columns]);
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    let last = labels.iter().max().copied().unwrap();
    let value = |row: usize| {
        let mean = |label: u32| {
            let others = (0..labels.len()).filter(|&other| labels[other] == label && other != row);
            let distances: Vec<f64> = others.map(|other| distance(row, other)).collect();
            (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64)
        };
        let Some(inside) = mean(labels[row]) else { return 0.0 };
        let others = (0..=last).filter(|&label| label != labels[row]).filter_map(mean);
        let outside = others.fold(f64::INFINITY, f64::min);
        if inside == outside { 0.0 } else { (outside - inside) / outside.max(inside) }
    };
    (0..labels.len()).map(value).sum::<f64>() / labels.len() as f64
}

#[test]
fn equals_the_definition() {
    let control = Control::unlimited();
    let mut dice = Dice::new(8);
    for (count, columns, clusters) in [(3, 1, 2), (50, 2, 3), (200, 3, 5), (333, 7, 4)] {
        let rows = blobs(count, columns, clusters, 1.0, count as u64);
        let found = points(&rows, columns, &control);
        let near = fit(&found, &Params { clusters, ..Params::default() }).labels;
        let any: Vec<u32> = (0..count).map(|row| (dice.below(clusters) as u32).min(row as u32)).collect();
        for labels in [near, any] {
            let groups = labels.iter().max().map_or(0, |&last| last as usize + 1);
            let value = silhouette(&found, &labels, groups, count, 1, 1).unwrap();
            if groups < 2 {
                continue;
            }
            let expected = slow(&rows, columns, &labels);
            assert!((value.unwrap() - expected).abs() < 1e-5, "{value:?} {expected}");
            for threads in [2, 3] {
                assert_eq!(silhouette(&found, &labels, groups, count, 1, threads), Ok(value));
            }
        }
    }
    assert_eq!(control.progress().0, control.progress().1);
}

#[test]
fn known_silhouettes() {
    let control = Control::unlimited();
    let found = points(&[0.0, 1.0, 10.0, 11.0], 1, &control);
    // Rows 0 and 11: (10.5 - 1) / 10.5; rows 1 and 10: (9.5 - 1) / 9.5.
    let expected = (9.5 / 10.5 + 8.5 / 9.5) / 2.0;
    let value = silhouette(&found, &[0, 0, 1, 1], 2, 100, 1, 1).unwrap().unwrap();
    assert!((value - expected).abs() < 1e-6);
    assert_eq!(silhouette(&found, &[0; 4], 1, 100, 1, 1), Ok(None));
    assert_eq!(silhouette(&found, &[0, 1, 2, 3], 4, 100, 1, 1), Ok(None));
    assert!(matches!(silhouette(&found, &[0, 0, 1], 2, 100, 1, 1), Err(Error::Corrupted(_))));
    assert!(matches!(silhouette(&found, &[0, 0, 1, 2], 2, 100, 1, 1), Err(Error::Corrupted(_))));
    // All rows alike.
    let same = points(&[1.0; 5], 1, &control);
    assert_eq!(silhouette(&same, &[0, 0, 1, 1, 1], 2, 100, 1, 1), Ok(Some(0.0)));
}

#[test]
fn a_sample_is_near_and_depends_on_the_seed_only() {
    let control = Control::unlimited();
    let rows = blobs(6000, 3, 4, 1.2, 5);
    let found = points(&rows, 3, &control);
    let labels = fit(&found, &Params { clusters: 4, ..Params::default() }).labels;
    let of = |sample, seed, threads| silhouette(&found, &labels, 4, sample, seed, threads).unwrap().unwrap();
    let all = of(6000, 1, 2);
    assert_eq!(all, of(usize::MAX, 9, 1));
    assert_eq!(of(1500, 1, 1), of(1500, 1, 3));
    assert_ne!(of(1500, 1, 1), of(1500, 2, 1));
    for seed in 1..10 {
        assert!((of(1500, seed, 2) - all).abs() < 0.03, "{} {all}", of(1500, seed, 2));
    }
}

#[test]
fn chooses_the_number_that_is_there() {
    let control = Control::unlimited();
    for centers in [2, 3, 5, 7] {
        // On a circle, far apart.
        let mut dice = Dice::new(centers as u64);
        let rows: Vec<f64> = (0..900)
            .flat_map(|row| {
                let angle = (row % centers) as f64 / centers as f64 * std::f64::consts::TAU;
                [angle.sin() * 20.0 + dice.normal(), angle.cos() * 20.0 + dice.normal()]
            })
            .collect();
        let found = points(&rows, 2, &control);
        let params = Params { threads: 2, ..Params::default() };
        let choice = kmeans::choose(&found, kmeans::RANGE, 500, &params, &mut |_, _, _, _| ()).unwrap();
        assert_eq!(choice.clusters.sizes.len(), centers);
        let tried: Vec<usize> = choice.tried.iter().map(|tried| tried.clusters).collect();
        assert_eq!(tried, (2..=10).collect::<Vec<_>>());
        assert!(choice.tried.windows(2).all(|pair| pair[1].inertia < pair[0].inertia));
        let best = &choice.tried[centers - 2];
        assert!(choice.tried.iter().all(|tried| tried.silhouette <= best.silhouette));
        // The same as asked for.
        let direct = fit(&found, &Params { clusters: centers, ..params.clone() });
        assert_eq!(direct, choice.clusters);
        assert_eq!(direct.inertia, best.inertia);
    }
}

#[test]
fn few_distinct_rows_cap_the_range() {
    let control = Control::unlimited();
    let choose = |rows: &[f64], range| {
        kmeans::choose(&points(rows, 1, &control), range, 500, &Params::default(), &mut |_, _, _, _| ())
    };
    let three = choose(&[1.0, 1.0, 5.0, 5.0, 9.0, 9.0], 2..=10).unwrap();
    assert_eq!(three.tried.iter().map(|tried| tried.clusters).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(three.clusters.sizes, [2, 2, 2]);
    let one = choose(&[4.0; 7], 2..=10).unwrap();
    assert_eq!((one.clusters.sizes, one.tried.len(), one.tried[0].silhouette), (vec![7], 1, None));
    // Two distinct rows, one of each: a silhouette of two groups of two rows is not defined.
    let two = choose(&[1.0, 2.0], 2..=10).unwrap();
    assert_eq!((two.clusters.sizes, two.tried[0].silhouette), (vec![1, 1], None));
    // Nothing to choose by: the fewest.
    let fewest = choose(&[1.0, 2.0], 1..=2).unwrap();
    assert_eq!((fewest.clusters.sizes, fewest.tried.len()), (vec![2], 2));
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let empty = 5..=2;
    assert!(matches!(choose(&[1.0, 2.0, 3.0], empty), Err(Error::Parameter { name: "k_max", .. })));
    assert!(matches!(choose(&[1.0, 2.0, 3.0], 0..=2), Err(Error::Parameter { name: "k", .. })));
}
