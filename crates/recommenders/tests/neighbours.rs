//! Answers from neighbours against plain computations, and images of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::image::{AlignedBytes, Image, Writer, kinds};
use base::{Control, Csr, Error};
use proptest::prelude::*;
use recommenders::answers::{Filter, Recommendation, Source};
use recommenders::evaluate::evaluate_neighbours;
use recommenders::interactions::Split;
use recommenders::item_knn;
use recommenders::metrics::{Estimates, Summary, rank_metrics};
use recommenders::neighbours::{Neighbours, NeighboursRef, Scratch};

/// Neighbours from rows of pairs.
fn neighbours(rows: &[Vec<(u32, f32)>]) -> Neighbours {
    let mut all = Neighbours { offsets: vec![0], ..Neighbours::default() };
    for row in rows {
        all.items.extend(row.iter().map(|pair| pair.0));
        all.weights.extend(row.iter().map(|pair| pair.1));
        all.offsets.push(all.items.len() as u64);
    }
    all
}

fn flat(answer: &[Recommendation]) -> Vec<(u32, f64, Source)> {
    answer.iter().map(|each| (each.item, each.score, each.source)).collect()
}

const SIZE: usize = 12;

fn rows() -> impl Strategy<Value = Vec<Vec<(u32, f32)>>> {
    // Quarters: sums are exact in whatever order, and many are equal.
    let cell = prop_oneof![2 => Just(None), 1 => (-4i8..=8).prop_map(|n| Some(f32::from(n) / 4.0))];
    let row = prop::collection::vec(cell, SIZE);
    prop::collection::vec(row, SIZE).prop_map(|rows| {
        let pairs = |(at, row): (usize, Vec<Option<f32>>)| {
            let pair =
                |(other, weight): (usize, Option<f32>)| Some((other as u32, weight.filter(|_| other != at)?));
            row.into_iter().enumerate().filter_map(pair).collect()
        };
        rows.into_iter().enumerate().map(pairs).collect()
    })
}

fn subset() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<bool>(), SIZE)
        .prop_map(|bits| (0..SIZE as u32).filter(|&item| bits[item as usize]).collect())
}

proptest! {
    #[test]
    fn recommendations_are_those_of_a_plain_sort(
        rows in rows(),
        items in subset(),
        exclude in subset(),
        mut candidates in prop::option::of(subset()),
        keep_seen in any::<bool>(),
        k in 0usize..15,
        weights in prop::option::of(prop::collection::vec((-2i8..5).prop_map(f32::from), SIZE)),
        by_popularity in Just((0..SIZE as u32).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        if let Some(candidates) = &mut candidates {
            // Any order, repeated, and some that do not exist.
            candidates.reverse();
            candidates.extend([3, 3, 99]);
        }
        let weights = weights.map(|weights| weights[..items.len()].to_vec());
        let all = neighbours(&rows);
        let view = all.view();
        view.check(&Control::unlimited()).unwrap();
        let score = |item: u32| -> f64 {
            items.iter().enumerate().map(|(at, &own)| {
                let by = weights.as_ref().map_or(1.0, |weights| f64::from(weights[at]));
                let weight = rows[own as usize].iter().find(|pair| pair.0 == item).map_or(0.0, |pair| pair.1);
                by * f64::from(weight)
            // A sum of negative zeros is one, and no less than a zero.
            }).sum::<f64>() + 0.0
        };
        let mut expected: Vec<u32> = (0..SIZE as u32).filter(|item| {
            !exclude.contains(item)
                && (keep_seen || !items.contains(item))
                && candidates.as_ref().is_none_or(|candidates| candidates.contains(item))
        }).collect();
        let place = |item: u32| by_popularity.iter().position(|&other| other == item);
        expected.sort_by(|&a, &b| score(b).total_cmp(&(score(a))).then_with(|| {
            if score(a) == 0.0 { place(a).cmp(&place(b)) } else { a.cmp(&b) }
        }));
        expected.truncate(k);
        let expected: Vec<_> = expected.into_iter().map(|item| {
            let source = if score(item) == 0.0 { Source::Popular } else { Source::Model };
            (item, score(item) + 0.0, source)
        }).collect();
        let mut scratch = Scratch::default();
        let filter = Filter { exclude: &exclude, candidates: candidates.as_deref(), keep_seen, segment: None, control: None };
        // Twice with the same scratch: a call leaves nothing behind.
        for _ in 0..2 {
            let found = view.recommend(&items, weights.as_deref(), k, filter, &by_popularity, &mut scratch);
            prop_assert_eq!(flat(&found), &expected[..]);
        }
        // Nor what it left out: without a filter the scratch answers as a new one.
        let again = |scratch: &mut Scratch| {
            flat(&view.recommend(&[0], None, SIZE, Filter::default(), &by_popularity, scratch))
        };
        prop_assert_eq!(again(&mut scratch), again(&mut Scratch::default()));
        for item in 0..SIZE as u32 {
            let found = view.score(&items, weights.as_deref(), item);
            prop_assert_eq!(found, score(item));
            let parts = view.explain(&items, weights.as_deref(), item);
            prop_assert_eq!(parts.iter().map(|part| part.contribution).sum::<f64>() + 0.0, found);
            prop_assert!(parts.iter().all(|part| items.contains(&part.item)));
        }
    }
}

#[test]
fn explanations_name_what_speaks_for_an_item_and_against_it() {
    let all = neighbours(&[vec![(2, 0.5)], vec![(2, -0.25), (3, 1.0)], vec![], vec![(0, 1.0)]]);
    let parts = all.view().explain(&[0, 1, 3], Some(&[2.0, 1.0, 5.0]), 2);
    let flat: Vec<_> = parts.iter().map(|part| (part.item, part.contribution)).collect();
    assert_eq!(flat, [(0, 1.0), (1, -0.25)]);
    assert_eq!(all.view().score(&[0, 1, 3], Some(&[2.0, 1.0, 5.0]), 2), 0.75);
    assert_eq!(all.view().explain(&[0], None, 3), []);
}

#[test]
fn similar_items_are_the_strongest_neighbours() {
    let all = neighbours(&[vec![(1, 0.5), (2, 0.75), (3, 0.5), (4, -1.0)], vec![], vec![], vec![], vec![]]);
    let items = |k| all.view().similar(0, k).iter().map(|each| (each.item, each.score)).collect::<Vec<_>>();
    assert_eq!(items(2), [(2, 0.75), (1, 0.5)]);
    assert_eq!(items(9), [(2, 0.75), (1, 0.5), (3, 0.5)]);
    assert!(all.view().similar(1, 3).is_empty() && all.view().similar(77, 3).is_empty());
}

fn image(all: &Neighbours) -> AlignedBytes {
    let mut writer = Writer::new([3; 16]);
    all.write(&mut writer);
    writer.finish().unwrap()
}

/// What the full check says of damaged neighbours, after whoever reads them has not panicked.
fn checked(all: &Neighbours) -> Result<(), Error> {
    let bytes = image(all);
    let view = NeighboursRef::read(&Image::open(&bytes).unwrap())?;
    let mut scratch = Scratch::default();
    for item in 0..6 {
        view.row(item);
        view.similar(item, 3);
        view.explain(&[0, 1, 2, 77], Some(&[1.0]), item);
        view.recommend(&[0, 1, 2, 77], None, 10, Filter::default(), &[2, 9, 1], &mut scratch);
    }
    view.check(&Control::unlimited())
}

#[test]
fn an_image_is_read_as_it_was_written_and_damage_is_found() {
    let sound = neighbours(&[vec![(1, 0.5), (2, 0.25)], vec![(0, 0.5)], vec![(0, 0.25), (1, -1.0)]]);
    let bytes = image(&sound);
    let opened = Image::open(&bytes).unwrap();
    assert_eq!(NeighboursRef::read(&opened), Ok(sound.view()));
    assert_eq!(checked(&sound), Ok(()));
    let damaged = |damage: fn(&mut Neighbours), message: &str| {
        let mut copy = sound.clone();
        damage(&mut copy);
        assert_eq!(
            checked(&copy).map_err(|error| error.to_string()),
            Err(format!("invalid model data: {message}"))
        );
    };
    let offsets = "offsets of the neighbours do not cover them";
    damaged(|it| it.offsets[0] = 1, offsets);
    damaged(|it| it.offsets[1] = 4, offsets);
    damaged(|it| it.offsets[1] = u64::MAX, offsets);
    damaged(|it| it.offsets[3] = 4, offsets);
    damaged(|it| it.offsets[3] = 6, offsets);
    damaged(|it| it.items.swap(0, 1), "neighbours are not in order");
    damaged(|it| it.items[1] = 1, "neighbours are not in order");
    damaged(|it| it.items[1] = 3, "a neighbour out of range");
    damaged(|it| it.items[1] = u32::MAX, "a neighbour out of range");
    damaged(|it| it.items[2] = 1, "an item that is its own neighbour");
    damaged(|it| it.weights[4] = f32::NAN, "a weight that is not finite");
    damaged(|it| it.weights[0] = f32::NEG_INFINITY, "a weight that is not finite");
    damaged(|it| it.weights.truncate(4), "sections do not fit each other");
    damaged(|it| it.items.truncate(4), "sections do not fit each other");
    damaged(|it| it.offsets.clear(), "sections do not fit each other");
    let mut writer = Writer::new([3; 16]);
    writer.section(kinds::NEIGHBOUR_OFFSETS, &sound.offsets).section(kinds::NEIGHBOUR_ITEMS, &sound.items);
    let bytes = writer.finish().unwrap();
    assert!(matches!(NeighboursRef::read(&Image::open(&bytes).unwrap()), Err(Error::Corrupted(_))));
    let cancelled = Control::unlimited();
    cancelled.cancel();
    let large = neighbours(&vec![vec![]; 100_000]);
    assert_eq!(large.view().check(&cancelled), Err(Error::Cancelled));
}

#[test]
fn a_measurement_ranks_as_recommendations_do() {
    // Sixty users of three tastes, with values.
    let mut train = Csr { offsets: vec![0], ..Csr::default() };
    for user in 0..60u32 {
        let mut row: Vec<u32> = (0..6).map(|n| user % 3 * 10 + (user * 7 + n * n) % 14).collect();
        row.sort_unstable();
        row.dedup();
        train.values.extend(row.iter().map(|item| ((item + user) % 4 + 1) as f32));
        train.indices.extend(row);
        train.offsets.push(train.indices.len() as u64);
    }
    let items = 34;
    let item_users = train.transpose(items);
    let control = Control::unlimited();
    let model = item_knn::fit(&train, &item_users, &item_knn::Params::default(), &control).unwrap();
    let users: Vec<u32> = (0..60).step_by(2).collect();
    let held_out = Csr {
        offsets: (0..=users.len() as u64).collect(),
        indices: users.iter().map(|user| user % 3 * 10 + (user * 5 + 3) % 14).collect(),
        values: vec![1.0; users.len()],
    };
    let mut by_popularity: Vec<u32> = (0..items as u32).collect();
    by_popularity.sort_by_key(|&item| std::cmp::Reverse(item_users.row(item as usize).0.len()));
    let split = Split { train, users, held_out, known: None };
    for weighted in [false, true] {
        let (mut scratch, mut summary) = (Scratch::new(items), Summary::new(items));
        for (at, &user) in split.users.iter().enumerate() {
            let (own, values) = split.train.row(user as usize);
            let (values, filter) = (weighted.then_some(values), Filter::default());
            let found = model.view().recommend(own, values, 5, filter, &by_popularity, &mut scratch);
            let ranked: Vec<u32> = found.iter().map(|each| each.item).collect();
            summary.add(&rank_metrics(&ranked, split.held_out.row(at).0, 5), &ranked);
        }
        let expected = summary.estimates().unwrap();
        assert!(expected.ndcg.mean > 0.05, "{expected:?}");
        for threads in [1, 3] {
            let view = model.view();
            let found =
                evaluate_neighbours(&split, &item_users, view, weighted, &[5], threads, &control).unwrap();
            // Novelty is not of the list alone.
            let novelty = expected.novelty;
            assert_eq!(Estimates { novelty, ..found[0].model }, expected);
        }
    }
    assert_eq!(control.used(), model.bytes());
}
