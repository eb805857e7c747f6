//! Interactions against a plain version on sorted maps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use base::ids::{IdKind, Ids, IdsRef};
use base::{Control, Csr, Error};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, Repeats, split};

type Row = (i64, i64, f32, i64);

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() }
}

fn joined(ids: &[i64]) -> Ids {
    let words: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
    let mut offsets = vec![0];
    words.iter().for_each(|word| offsets.push(offsets.last().unwrap() + word.len() as u64));
    Ids::Bytes { offsets, bytes: words.concat().into_bytes() }
}

fn build(rows: &[Row], with_time: bool, batch: usize) -> Interactions {
    build_on(rows, with_time, batch, 2)
}

fn build_on(rows: &[Row], with_time: bool, batch: usize, threads: usize) -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, with_time, &control);
    for rows in rows.chunks(batch) {
        let users: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let items: Vec<i64> = rows.iter().map(|row| row.1).collect();
        let values: Vec<f32> = rows.iter().map(|row| row.2).collect();
        let times: Vec<i64> = rows.iter().filter(|_| with_time).map(|row| row.3).collect();
        builder.push(IdsRef::Integer(&users), IdsRef::Integer(&items), &values, &times).unwrap();
    }
    assert_eq!(builder.bytes(), control.used());
    let result = builder.finish(threads).unwrap();
    assert_eq!(control.used(), result.bytes());
    result
}

fn integers(ids: &Ids) -> &[i64] {
    let Ids::Integer(values) = ids else { panic!("not integers") };
    values
}

fn plain(rows: &[Row], with_time: bool) -> Interactions {
    let users: Vec<i64> = rows.iter().map(|row| row.0).collect::<BTreeSet<_>>().into_iter().collect();
    let items: Vec<i64> = rows.iter().map(|row| row.1).collect::<BTreeSet<_>>().into_iter().collect();
    let mut pairs: BTreeMap<(i64, i64), (Vec<f32>, i64)> = BTreeMap::new();
    for &(user, item, value, time) in rows {
        let pair = pairs.entry((user, item)).or_insert((Vec::new(), i64::MIN));
        pair.0.push(value);
        pair.1 = pair.1.max(time);
    }
    let mut user_items = Csr { offsets: vec![0; users.len() + 1], ..Csr::default() };
    let mut times = Vec::new();
    for ((user, item), (values, time)) in pairs {
        let user = users.binary_search(&user).unwrap();
        user_items.offsets[user + 1..].iter_mut().for_each(|end| *end += 1);
        user_items.indices.push(items.binary_search(&item).unwrap() as u32);
        user_items.values.push(values.iter().map(|&value| f64::from(value)).sum::<f64>() as f32);
        times.push(time);
    }
    Interactions {
        item_users: user_items.transpose(items.len()),
        users: Ids::Integer(users),
        items: Ids::Integer(items),
        user_items,
        times: with_time.then_some(times),
        rows: rows.len() as u64,
    }
}

fn random_rows(seed: u64, count: usize, users: i64, items: i64) -> Vec<Row> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || {
        let squared = random.random::<f64>().powi(2);
        let user = (squared * users as f64) as i64;
        (
            user * 17,
            random.random_range(0..items),
            random.random_range(-1.0..5.0),
            random.random_range(0..1000),
        )
    };
    (0..count).map(|_| row()).collect()
}

#[test]
fn nothing_and_one_row() {
    let empty = build(&[], true, 1);
    assert_eq!(empty, plain(&[], true));
    assert_eq!((empty.rows, empty.user_items.rows(), empty.user_items.offsets.len()), (0, 0, 1));
    let row = [(i64::MIN, i64::MAX, -2.5, 7)];
    assert_eq!(build(&row, true, 1), plain(&row, true));
    let parts = split(&empty, Holdout::Hash, 1, 10, &Control::unlimited()).unwrap();
    assert_eq!((parts.train.rows(), parts.held_out.rows(), parts.users.len()), (0, 0, 0));
}

#[test]
fn a_known_answer() {
    let rows = [
        (5, 1, 1.0, 30),
        (-5, 2, 2.0, 10),
        (5, 1, 0.5, 40),
        (5, 0, 3.0, 20),
        (5, 1, 0.25, 35),
        (-5, 1, 4.0, -1),
    ];
    let result = build(&rows, true, 2);
    assert_eq!(integers(&result.users), [-5, 5]);
    assert_eq!(result.user_items.offsets, [0, 2, 4]);
    assert_eq!(result.user_items.indices, [1, 2, 0, 1]);
    assert_eq!(result.user_items.values, [4.0, 2.0, 3.0, 1.75]);
    assert_eq!(result.times.as_deref(), Some(&[-1, 10, 20, 40][..]));
    assert_eq!(result.item_users.offsets, [0, 1, 3, 4]);
    assert_eq!(result.item_users.indices, [1, 0, 1, 0]);
    assert_eq!(result.rows, 6);
}

#[test]
fn the_newest_of_repeated_rows_counts_where_asked_for() {
    let rows = [(5, 1, 1.0, 30), (5, 1, -4.0, 40), (5, 0, 0.0, 20), (5, 1, 3.0, 35), (5, 1, 5.0, 40)];
    for (with_time, expected) in [(true, 0.5), (false, 1.25)] {
        let control = Control::unlimited();
        let builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, with_time, &control);
        let mut builder = builder.repeats(Repeats::Newest);
        for (user, item, value, time) in rows {
            let times = if with_time { vec![time] } else { vec![] };
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[value], &times).unwrap();
        }
        let result = builder.finish(2).unwrap();
        assert_eq!(result.user_items.values, [0.0, expected]);
        assert_eq!(result.times, with_time.then(|| vec![20, 40]));
    }
}

#[test]
fn all_the_same_pair() {
    let rows = vec![(1, 2, 0.5, 3); 200_000];
    let result = build(&rows, true, 1000);
    assert_eq!(result.user_items, Csr { offsets: vec![0, 1], indices: vec![0], values: vec![100_000.0] });
    assert_eq!((result.times.as_deref(), result.rows), (Some(&[3][..]), 200_000));
}

/// One user and then one item with more entries than are handled in one piece.
#[test]
fn long_rows() {
    let mut rows: Vec<Row> = (0..150_000).map(|n| (1, n * 7919 % 150_001, n as f32, n)).collect();
    rows.extend((0..150_000).map(|n| (n * 7919 % 150_001, 1, 1.0, n)));
    let result = build(&rows, true, 5000);
    assert_eq!(result.item_users, result.user_items.transpose(result.items.len()));
    assert_eq!(result.user_items.row(1).0.len(), 150_000);
    assert!(result.user_items.row(1).0.is_sorted_by(|a, b| a < b));
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn equals_the_plain_version(
        rows in prop::collection::vec(
            (prop_oneof![-5i64..5, any::<i64>()], -8i64..8, (-40i16..40).prop_map(|n| f32::from(n) / 8.0), any::<i64>()),
            0..200,
        ),
        with_time in any::<bool>(),
    ) {
        // Eighths: sums are exact in any order, so that the plain sum is the one.
        prop_assert_eq!(build(&rows, with_time, 60), plain(&rows, with_time));
    }
}

fn bits(result: &Interactions) -> Vec<u32> {
    result.user_items.values.iter().chain(&result.item_users.values).map(|value| value.to_bits()).collect()
}

#[test]
fn the_order_of_rows_changes_no_bit() {
    let mut rows = random_rows(1, 100_000, 300, 100);
    let first = build(&rows, true, 4096);
    for seed in 0..3 {
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let again = build(&rows, true, 977);
        assert_eq!(again, first);
        assert_eq!(bits(&again), bits(&first));
        for holdout in [Holdout::Time, Holdout::Hash] {
            let control = Control::unlimited();
            assert_eq!(
                split(&again, holdout, seed, 50, &control).unwrap(),
                split(&first, holdout, seed, 50, &control).unwrap()
            );
        }
    }
}

#[test]
fn every_kind_of_ids() {
    let rows = random_rows(2, 2000, 50, 40);
    let uuids: Vec<[u8; 16]> = rows.iter().map(|row| (row.0 as u128).to_be_bytes()).collect();
    let items: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let values: Vec<f32> = rows.iter().map(|row| row.2).collect();
    let words = joined(&items);
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Fixed16, IdKind::Bytes, false, &control);
    builder.push(IdsRef::Fixed16(&uuids), words.view(), &values, &[]).unwrap();
    let result = builder.finish(2).unwrap();
    assert_eq!(control.used(), result.bytes());
    assert_eq!(result.item_users, result.user_items.transpose(result.items.len()));
    // Non-negative integers as big-endian bytes have the order of the integers.
    let integers = build(&rows, false, 100);
    assert_eq!(result.user_items.offsets, integers.user_items.offsets);
    assert_eq!((result.items.len(), result.users.len()), (integers.items.len(), integers.users.len()));
}

#[test]
fn at_most_24_bytes_a_row() {
    let rows = random_rows(3, 2_000_000, 100_000, 20_000);
    let control = Control::unlimited();
    let users: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let items: Vec<i64> = rows.iter().map(|row| row.1).collect();
    let values: Vec<f32> = rows.iter().map(|row| row.2).collect();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for from in (0..rows.len()).step_by(8192) {
        let range = from..rows.len().min(from + 8192);
        let (users, items) = (IdsRef::Integer(&users[range.clone()]), IdsRef::Integer(&items[range.clone()]));
        builder.push(users, items, &values[range], &[]).unwrap();
    }
    let result = builder.finish(2).unwrap();
    let ids = result.users.bytes() + result.items.bytes();
    let per_row = (control.peak() - ids) as f64 / rows.len() as f64;
    assert!(per_row <= 24.0, "{per_row} bytes a row");
}

#[test]
fn threads_change_no_bit() {
    let rows = random_rows(7, 400_000, 3000, 300);
    for with_time in [false, true] {
        let expected = build_on(&rows, with_time, 1024, 1);
        assert!(expected.user_items.entries() > 1 << 18);
        for threads in [0, 2, 5, 64] {
            assert_eq!(build_on(&rows, with_time, 1024, threads), expected);
        }
    }
}

#[test]
fn errors_leave_nothing_taken() {
    let rows = random_rows(4, 100_000, 1000, 1000);
    let users: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let values: Vec<f32> = rows.iter().map(|row| row.2).collect();
    // Every limit from none at all to enough fails somewhere else.
    for limit in (0..4 << 20).step_by(100_000) {
        let control = Control::new(limit);
        let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, true, &control);
        let ids = IdsRef::Integer(&users);
        let result = builder.push(ids, ids, &values, &users).and_then(|()| builder.finish(2));
        match result {
            Ok(result) => assert_eq!(control.used(), result.bytes()),
            Err(error) => {
                assert!(matches!(error, Error::Memory { .. }));
                assert_eq!(control.used(), 0);
            }
        }
    }
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Bytes, false, &control);
    let push = |builder: &mut InteractionsBuilder, users: &[i64], items: IdsRef, times: &[i64]| {
        builder.push(IdsRef::Integer(users), items, &[1.0], times)
    };
    let bytes = IdsRef::Bytes { offsets: &[0, 1], bytes: b"a" };
    let damaged = IdsRef::Bytes { offsets: &[0, 2], bytes: b"a" };
    assert!(matches!(push(&mut builder, &[1, 2], bytes, &[]), Err(Error::Parameter { name: "users", .. })));
    assert!(matches!(push(&mut builder, &[1], damaged, &[]), Err(Error::Parameter { name: "items", .. })));
    assert!(matches!(push(&mut builder, &[1], bytes, &[1]), Err(Error::Parameter { name: "times", .. })));
    let integers = IdsRef::Integer(&[1]);
    assert!(matches!(push(&mut builder, &[1], integers, &[]), Err(Error::Parameter { name: "items", .. })));
    push(&mut builder, &[1], bytes, &[]).unwrap();
    assert_eq!(builder.rows(), 1);
    control.cancel();
    assert_eq!(builder.finish(2).unwrap_err(), Error::Cancelled);
    assert_eq!(control.used(), 0);
}

#[test]
fn splitting_holds_out_a_tenth_of_the_sampled() {
    let all = build(&random_rows(5, 20_000, 500, 400), true, 4096);
    let times = all.times.as_ref().unwrap();
    for holdout in [Holdout::Time, Holdout::Hash] {
        let control = Control::unlimited();
        let parts = split(&all, holdout, 9, 100, &control).unwrap();
        assert_eq!(control.used(), parts.bytes());
        assert_eq!((parts.users.len(), parts.held_out.rows()), (100, 100));
        assert!(parts.users.is_sorted_by(|a, b| a < b));
        assert_eq!(parts.train.rows(), all.user_items.rows());
        for user in 0..all.user_items.rows() {
            let (items, values) = all.user_items.row(user);
            let mut train: BTreeMap<u32, f32> = BTreeMap::new();
            let (kept, kept_values) = parts.train.row(user);
            train.extend(kept.iter().copied().zip(kept_values.iter().copied()));
            assert!(kept.is_sorted());
            if let Ok(row) = parts.users.binary_search(&(user as u32)) {
                let (out, out_values) = parts.held_out.row(row);
                assert!(out.is_sorted() && !kept.is_empty());
                assert_eq!(out.len(), (items.len() / 10).max(1));
                if holdout == Holdout::Time {
                    let start = all.user_items.offsets[user] as usize;
                    let key = |item: &u32| (times[start + items.binary_search(item).unwrap()], *item);
                    assert!(kept.iter().map(key).max().unwrap() < out.iter().map(key).min().unwrap());
                }
                train.extend(out.iter().copied().zip(out_values.iter().copied()));
            }
            assert!(train.into_iter().eq(items.iter().copied().zip(values.iter().copied())));
        }
        assert_ne!(split(&all, holdout, 10, 100, &control).unwrap().users, parts.users);
        assert!(split(&all, holdout, 10, usize::MAX, &control).unwrap().users.len() > 400);
        assert_eq!(split(&all, holdout, 10, 0, &control).unwrap().train, all.user_items);
    }
    let untimed = build(&[(1, 1, 1.0, 0), (1, 2, 1.0, 0)], false, 2);
    assert!(matches!(
        split(&untimed, Holdout::Time, 1, 10, &Control::unlimited()),
        Err(Error::Parameter { name: "holdout", .. })
    ));
}

/// New users and items shift all positions, yet the same ids stay chosen, by the same hash.
#[test]
fn samples_survive_renumbering() {
    let rows = random_rows(6, 5000, 200, 1000);
    let mut more = rows.clone();
    // Users of a single entry, which are never sampled, before and between the others; a new item before all.
    more.extend((0..300).map(|n| (n * 11 - 1, -1, 1.0, 0)).filter(|row| row.0 % 17 != 0));
    let chosen = |rows: &[Row]| -> BTreeSet<(i64, i64)> {
        let all = build(rows, false, 512);
        let parts = split(&all, Holdout::Hash, 3, 40, &Control::unlimited()).unwrap();
        let (users, items) = (integers(&all.users), integers(&all.items));
        let row = |n: usize| parts.held_out.row(n).0.iter().map(move |&item| (n, item));
        (0..parts.users.len())
            .flat_map(row)
            .map(|(n, item)| (users[parts.users[n] as usize], items[item as usize]))
            .collect()
    };
    assert_eq!(chosen(&rows), chosen(&more));
    assert!(chosen(&rows).len() >= 40);
}
