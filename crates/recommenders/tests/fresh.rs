//! Recommendations from what a user has at this moment, against the exact solution of the training's equation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::Control;
use base::ids::{IdKind, IdsRef};
use base::image::{AlignedBytes, Image};
use recommenders::als::{Params, fit, start};
use recommenders::answers::{Filter, Source};
use recommenders::factors::Factors;
use recommenders::interactions::{Interactions, InteractionsBuilder};
use recommenders::item_knn;
use recommenders::recommender::{Learned, Parts, Recommender, encode};

const FACTORS: usize = 8;
const REGULARIZATION: f64 = 1.5;
const ALPHA: f64 = 7.0;

/// Users of five groups; each has eight of its group's twenty items.
fn blocks() -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..200i64 {
        for n in 0..8 {
            let item = user % 5 * 20 + (user * 7 + n * 3) % 20;
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[1.0], &[]).unwrap();
        }
    }
    builder.finish(1).unwrap()
}

fn trained(data: &Interactions) -> Factors {
    let params = Params {
        factors: FACTORS,
        regularization: REGULARIZATION,
        alpha: ALPHA,
        seed: 1,
        ..Params::default()
    };
    let control = Control::unlimited();
    let begin = start(data.users.len(), data.items.len(), &params, &control).unwrap();
    fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ()).unwrap()
}

fn image(data: &Interactions, learned: Learned<'_>) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned,
        regularization: REGULARIZATION,
        alpha: ALPHA,
        user_class: 3,
        item_class: 2,
    };
    encode(&parts, [7; 16], 1, &Control::unlimited()).unwrap()
}

/// The factors of somebody with these items, by elimination in double precision: the confidence of an entry is
/// `1 + alpha * value`, that of every other item 1.
fn exact(factors: &Factors, items: &[u32], values: &[f32]) -> Vec<f64> {
    let row = |item: usize| -> Vec<f64> {
        factors.items[item * FACTORS..][..FACTORS].iter().map(|&each| f64::from(each)).collect()
    };
    let mut system = vec![vec![0.0; FACTORS + 1]; FACTORS];
    for item in 0..factors.items.len() / FACTORS {
        let y = row(item);
        let value = items.iter().position(|&each| each as usize == item).map(|at| f64::from(values[at]));
        let confidence = 1.0 + ALPHA * value.unwrap_or(0.0);
        for (line, left) in system.iter_mut().zip(&y) {
            line.iter_mut().zip(&y).for_each(|(to, right)| *to += confidence * left * right);
            line[FACTORS] += if value.is_some() { confidence * left } else { 0.0 };
        }
    }
    for (a, line) in system.iter_mut().enumerate() {
        line[a] += REGULARIZATION;
    }
    for pivot in 0..FACTORS {
        let from = system[pivot].clone();
        for (_, line) in system.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let by = line[pivot] / from[pivot];
            line.iter_mut().zip(&from).for_each(|(to, each)| *to -= by * each);
        }
    }
    (0..FACTORS).map(|a| system[a][FACTORS] / system[a][a]).collect()
}

fn scores(factors: &Factors, query: &[f64]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(query).map(|(&a, b)| f64::from(a) * b).sum();
    factors.items.chunks(FACTORS).map(dot).collect()
}

#[test]
fn values_weigh_as_in_training() {
    let data = blocks();
    let factors = trained(&data);
    let bytes = image(&data, Learned::Factors(&factors));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let cases: [(&[u32], &[f32]); 4] =
        [(&[3], &[1.0]), (&[3], &[20.0]), (&[3, 25, 61], &[1.0, 9.0, 0.1]), (&[1, 2, 22, 23], &[5.0; 4])];
    for (items, values) in cases {
        let expected = scores(&factors, &exact(&factors, items, values));
        let found = model.recommend_fresh(items, values, 100, Filter::default()).unwrap();
        assert_eq!(found.len(), 100 - items.len());
        for each in &found {
            assert_eq!(each.source, Source::Fresh);
            assert!(!items.contains(&each.item), "a live item came back");
            let exact = expected[each.item as usize];
            assert!((each.score - exact).abs() < 1e-4, "{items:?}: {} for {exact}", each.score);
        }
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
    }
    // What is had twenty times says more than what is had once.
    let first = |value| model.recommend_fresh(&[3], &[value], 1, Filter::default()).unwrap()[0].score;
    assert!(first(20.0) > first(1.0) + 0.01);
}

#[test]
fn filters_hold_and_own_items_come_where_asked() {
    let data = blocks();
    let factors = trained(&data);
    let bytes = image(&data, Learned::Factors(&factors));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let (items, values) = ([3u32, 25], [1.0f32, 1.0]);
    let with = |filter| -> Vec<u32> {
        model.recommend_fresh(&items, &values, 100, filter).unwrap().iter().map(|each| each.item).collect()
    };
    let all = with(Filter { keep_seen: true, ..Filter::default() });
    assert_eq!(all.len(), 100);
    let mut without = all.clone();
    without.retain(|item| !items.contains(item) && ![7, 8].contains(item));
    assert_eq!(with(Filter { exclude: &[7, 8], ..Filter::default() }), without);
    let candidates = [25u32, 9, 4];
    let mut few = all;
    few.retain(|item| [9, 4].contains(item));
    assert_eq!(with(Filter { candidates: Some(&candidates), ..Filter::default() }), few);
    // Somebody with nothing gets what is popular, and it says so.
    let nothing = model.recommend_fresh(&[], &[], 5, Filter::default()).unwrap();
    assert!(nothing.len() == 5 && nothing.iter().all(|each| each.source == Source::Popular));
}

#[test]
fn neighbours_of_the_live_items_add_up() {
    let data = blocks();
    let control = Control::unlimited();
    let neighbours =
        item_knn::fit(&data.user_items, &data.item_users, &item_knn::Params::default(), &control).unwrap();
    let bytes = image(&data, Learned::Neighbours(&neighbours));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let items = [1u32, 4, 66];
    let mut fresh = 0;
    // Neighbours were learned of who has what: however much there is of an item, it counts once.
    for each in model.recommend_fresh(&items, &[9.0, 1.0, 0.5], 100, Filter::default()).unwrap() {
        let weight = |&own: &u32| neighbours.view().weight(own, each.item).map_or(0.0, f64::from);
        let expected: f64 = items.iter().map(weight).sum();
        assert!((each.score - expected).abs() < 1e-6 && !items.contains(&each.item));
        fresh += usize::from(each.source == Source::Fresh);
        assert_eq!(each.source == Source::Fresh, expected > 0.0);
    }
    assert!(fresh > 10);
}
