//! Behaviour: the same bits every time, errors, cancellation, memory.

use std::time::{Duration, Instant};

use base::{Control, Error};
use features::columns::{self, Scaling};
use segments::kmeans::{self, Params, Points};

use crate::{blobs, columns_of, fit, points};

#[test]
fn threads_change_no_bit() {
    let control = Control::unlimited();
    for (count, columns, clusters) in [(30_000, 4, 7), (9000, 20, 30), (100, 2, 3)] {
        let rows = blobs(count, columns, clusters, 2.0, 1);
        let found = points(&rows, columns, &control);
        let run = |threads| {
            let mut seen = Vec::new();
            let params = Params { clusters, starts: 3, threads, ..Params::default() };
            let end = kmeans::fit(&found, &params, &mut |start, iteration, inertia| {
                seen.push((start, iteration, inertia));
            });
            (end.unwrap(), seen)
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

#[test]
fn the_order_of_rows_changes_no_bit_from_given_centroids() {
    let control = Control::unlimited();
    let rows = blobs(10_000, 5, 8, 2.0, 2);
    let moved: Vec<f64> =
        (0..10_000).flat_map(|row| rows[(row * 7919 + 13) % 10_000 * 5..][..5].to_vec()).collect();
    // The same columns for both: their means are sums in the order of the rows.
    let found = columns_of(&rows, 5, Scaling::Standard);
    let (one, other) =
        (Points::new(&rows, &found, &control).unwrap(), Points::new(&moved, &found, &control).unwrap());
    let start: Vec<f64> =
        rows[..40].chunks(5).flat_map(|row| one.frame().point(row)).map(f64::from).collect();
    let a = kmeans::fit_from(&one, &start, &Params::default(), &mut |_, _| ()).unwrap();
    let b = kmeans::fit_from(&other, &start, &Params::default(), &mut |_, _| ()).unwrap();
    assert_eq!((&a.centroids, &a.sizes, a.inertia), (&b.centroids, &b.sizes, b.inertia));
    let labels: Vec<u32> = (0..10_000).map(|row| a.labels[(row * 7919 + 13) % 10_000]).collect();
    assert_eq!(labels, b.labels);
}

#[test]
fn a_seed_gives_one_result_and_numbers_do_not_depend_on_it() {
    let control = Control::unlimited();
    let rows = blobs(3000, 2, 5, 0.1, 6);
    let found = points(&rows, 2, &control);
    let of = |seed| fit(&found, &Params { clusters: 5, seed, ..Params::default() });
    assert_eq!(of(1), of(1));
    for seed in 2..8 {
        // Well apart, so all seeds find the same groups, and number them alike.
        assert_eq!(of(1).labels, of(seed).labels);
    }
    // With one iteration the start shows.
    let of =
        |seed| fit(&found, &Params { clusters: 9, seed, starts: 1, max_iterations: 1, ..Params::default() });
    assert!((2..8).any(|seed| of(seed) != of(1)));
}

#[test]
fn parameters_and_shapes_are_checked() {
    let control = Control::unlimited();
    let rows = blobs(20, 2, 2, 1.0, 1);
    let found = points(&rows, 2, &control);
    let good = Params::default();
    for (expected, params) in [
        ("k", Params { clusters: 0, ..good.clone() }),
        ("k", Params { clusters: 10_001, ..good.clone() }),
        ("n_init", Params { starts: 0, ..good.clone() }),
        ("n_init", Params { starts: 1001, ..good.clone() }),
        ("max_iterations", Params { max_iterations: 0, ..good.clone() }),
        ("tolerance", Params { tolerance: -1.0, ..good.clone() }),
        ("tolerance", Params { tolerance: f64::NAN, ..good.clone() }),
        ("threads", Params { threads: 0, ..good.clone() }),
    ] {
        let refused = kmeans::fit(&found, &params, &mut |_, _, _| ());
        assert!(matches!(refused, Err(Error::Parameter { name, .. }) if name == expected), "{expected}");
    }
    let columns = columns_of(&rows, 2, Scaling::None);
    assert!(matches!(Points::new::<f64>(&[], &columns, &control), Err(Error::NoData)));
    assert!(matches!(Points::new(&rows[..3], &columns, &control), Err(Error::Corrupted(_))));
    let refused = kmeans::fit_from(&found, &[1.0; 3], &good, &mut |_, _| ());
    assert!(matches!(refused, Err(Error::Corrupted(_))));
}

#[test]
fn the_budget_is_kept_and_given_back() {
    let rows = blobs(20_000, 4, 5, 1.0, 1);
    let params = Params { clusters: 5, starts: 2, ..Params::default() };
    let control = Control::unlimited();
    let found = points(&rows, 4, &control);
    let held = control.used();
    // 4 bytes per number and per row.
    assert!((400_000..402_000).contains(&held), "{held}");
    fit(&found, &params);
    assert_eq!(control.used(), held);
    assert!(control.peak() > held && control.peak() <= held + 4 * 20_000 + 10_000, "{}", control.peak());
    drop(found);
    assert_eq!(control.used(), 0);
    for limit in [0, 1000, held - 1, held, held + 1000, control.peak() - 1] {
        let small = Control::new(limit);
        let columns = columns_of(&rows, 4, Scaling::None);
        let result = Points::new(&rows, &columns, &small)
            .and_then(|points| kmeans::fit(&points, &params, &mut |_, _, _| ()));
        assert!(matches!(result, Err(Error::Memory { .. })), "{limit}");
        assert_eq!(small.used(), 0);
    }
}

#[test]
fn cancelling_stops_within_50_ms() {
    let rows = blobs(300_000, 16, 40, 8.0, 1);
    let columns = columns::fit(&rows, 16, Scaling::Standard, &Control::unlimited()).unwrap();
    let mut slowest = Duration::ZERO;
    for wait in [5, 60, 150] {
        let control = Control::unlimited();
        let points = Points::new(&rows, &columns, &control).unwrap();
        let params = Params { clusters: 500, starts: 1000, threads: 2, ..Params::default() };
        let (result, ended, asked) = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let result = kmeans::fit(&points, &params, &mut |_, _, _| ());
                (result, Instant::now())
            });
            std::thread::sleep(Duration::from_millis(wait));
            let asked = Instant::now();
            control.cancel();
            let (result, ended) = work.join().unwrap();
            (result, ended, asked)
        });
        assert_eq!(result.map(|_| ()), Err(Error::Cancelled));
        slowest = slowest.max(ended.saturating_duration_since(asked));
    }
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[test]
fn progress_ends_at_its_total() {
    let control = Control::unlimited();
    let rows = blobs(500, 2, 4, 1.0, 1);
    let found = points(&rows, 2, &control);
    fit(&found, &Params { clusters: 4, starts: 3, ..Params::default() });
    assert_eq!(control.progress(), (900, 900));
    kmeans::choose(&found, kmeans::RANGE, 100, &Params::default(), &mut |_, _, _, _| ()).unwrap();
    let (done, total) = control.progress();
    assert!(done == total && total == 9 * 10 * 300, "{done} {total}");
}
