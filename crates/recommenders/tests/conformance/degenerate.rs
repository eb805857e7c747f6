//! Rows that teach little, too much, or nothing: an answer that is sound, or an error with a name.

use base::{Control, Error};
use recommenders::answers::{Filter, Recommendation};

use crate::path::{Model, Names, Row, mixed, train};
use crate::recipes::HOW;
use crate::table::{Algorithm, algorithms};

fn row(user: u64, item: u64, value: f32) -> Row {
    Row { user, item, value, time: (user + item) as i64 }
}

/// Rows of pairs with one value.
fn rows(pairs: impl IntoIterator<Item = (u64, u64)>, value: f32) -> Vec<Row> {
    pairs.into_iter().map(|(user, item)| row(user, item, value)).collect()
}

/// All pairs of so many users and items.
fn all(users: u64, items: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..users * items).map(move |at| (at / items, at % items))
}

/// About a third of them.
fn some(users: u64, items: u64) -> impl Iterator<Item = (u64, u64)> {
    all(users, items).filter(|(user, item)| mixed(user * 100 + item).is_multiple_of(3))
}

fn cases() -> Vec<(&'static str, Vec<Row>)> {
    let of_some = |value: fn(u64) -> f32| {
        some(20, 15).map(|(user, item)| row(user, item, value(user + item))).collect::<Vec<_>>()
    };
    vec![
        ("one row", rows([(0, 0)], 1.0)),
        ("one user", rows(all(1, 30), 1.0)),
        ("one item", rows(all(30, 1), 1.0)),
        ("two users without a common item", rows([(0, 0), (1, 1)], 2.0)),
        ("users of one item each", rows((0..30).map(|user| (user, user)), 1.0)),
        ("everybody has everything", rows(all(20, 15), 1.0)),
        ("a user with all items", rows(some(20, 15).chain((0..15).map(|item| (20, item))), 1.0)),
        ("an item with all users", rows(some(20, 15).chain((0..20).map(|user| (user, 15))), 1.0)),
        ("all values equal", rows(some(20, 15), 3.5)),
        ("the same pair a thousand times", rows((0..1000).map(|_| (0, 0)), 1.0)),
        ("a user of 100,000 rows", rows(some(20, 15).chain((0..100_000).map(|n| (20, mixed(n) % 500))), 1.0)),
        (
            "an item of 100,000 rows",
            rows(some(20, 15).chain((0..100_000).map(|n| (mixed(n) % 500, 15))), 1.0),
        ),
        ("tiny values", of_some(|_| 1e-30)),
        ("huge values", of_some(|_| 1e30)),
        ("tiny and huge values", of_some(|n| [1e-30, 1.0, 1e30][n as usize % 3])),
        ("the smallest and the largest number", of_some(|n| [f32::from_bits(1), f32::MAX][n as usize % 2])),
        ("sums beyond all numbers", rows((0..40).map(|n| (n % 2, n % 3)), f32::MAX)),
        (
            "times at both ends",
            vec![
                Row { time: i64::MIN, ..row(0, 0, 1.0) },
                Row { time: i64::MAX, ..row(0, 1, 1.0) },
                Row { time: 0, ..row(1, 0, 1.0) },
            ],
        ),
    ]
}

/// A list that can be shown: as long as it can be, each item once, not one of `barred`, finite scores that do not rise.
pub(crate) fn assert_sound(list: &[Recommendation], k: usize, items: usize, barred: &[u32], what: &str) {
    let eligible = (0..items as u32).filter(|item| !barred.contains(item)).count();
    assert_eq!(list.len(), k.min(eligible), "{what}: {list:?}");
    let mut found: Vec<u32> = list.iter().map(|each| each.item).collect();
    assert!(found.iter().all(|item| (*item as usize) < items && !barred.contains(item)), "{what}: {list:?}");
    found.sort_unstable();
    assert!(found.is_sorted_by(|a, b| a < b), "{what}: {list:?}");
    assert!(list.iter().all(|each| each.score.is_finite()), "{what}: {list:?}");
    assert!(list.is_sorted_by(|a, b| a.score >= b.score), "{what}: {list:?}");
}

/// Every question that can be asked of a model of few users.
fn assert_answers(model: &Model, what: &str) {
    let (view, control) = (model.view(), Control::unlimited());
    let items = view.items.len();
    for user in (0..view.users.len() as u32).take(50) {
        let seen = view.seen(user).to_vec();
        for k in [0, 1, items, items + 7, usize::MAX] {
            assert_sound(&view.recommend(Some(user), k, Filter::default()), k, items, &seen, what);
        }
        let values = vec![1.0; seen.len()];
        assert_sound(&view.recommend_for_items(&seen, 9, Filter::default()).unwrap(), 9, items, &seen, what);
        assert_sound(
            &view.recommend_fresh(&seen, &values, 9, Filter::default()).unwrap(),
            9,
            items,
            &seen,
            what,
        );
        let first = &seen[..1];
        assert_sound(
            &view.recommend_fresh(first, &[1e30], 9, Filter::default()).unwrap(),
            9,
            items,
            first,
            what,
        );
        assert!(view.score(user, seen[0]).unwrap().is_finite(), "{what}");
        let parts = view.explain(user, seen[0], &control).unwrap();
        assert!(parts.iter().all(|part| part.contribution.is_finite()), "{what}: {parts:?}");
        assert!(view.similar_users(user, 3).iter().all(|hit| hit.score.is_finite()), "{what}");
    }
    for item in (0..items as u32).take(50) {
        let similar = view.similar_items(item, 3);
        assert!(similar.iter().all(|each| each.score.is_finite() && each.item != item), "{what}");
    }
    assert_sound(&view.recommend(None, 9, Filter::default()), 9, items, &[], what);
    let lists = view.recommend_all(0..view.users.len() as u32, 5, 2, &control).unwrap();
    for (user, list) in (0..).zip(&lists) {
        assert_sound(list, 5, items, view.seen(user), what);
    }
}

/// Trains, and gives everything back.
fn outcome(algorithm: &Algorithm, rows: &[Row]) -> Result<Model, Error> {
    let control = Control::new(2 << 30);
    let outcome = train(&*algorithm.recipe, rows, Names::Integers, HOW, &control);
    let kept = outcome.as_ref().map_or(0, |model| model.bytes.len() as u64);
    assert_eq!(control.used(), kept, "{}", algorithm.name);
    outcome
}

#[test]
fn odd_rows_give_sound_answers_or_an_error() {
    for algorithm in algorithms() {
        for (case, rows) in cases() {
            let what = format!("{}, {case}", algorithm.name);
            match outcome(&algorithm, &rows) {
                Ok(model) => assert_answers(&model, &what),
                Err(error @ (Error::Diverged { .. } | Error::Memory { .. })) => println!("{what}: {error}"),
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
}

#[test]
fn where_nothing_is_left_there_is_nothing_to_learn() {
    let nothing = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for algorithm in algorithms() {
        let mut cases = vec![vec![], nothing.map(|value| row(0, 0, value)).to_vec()];
        if !algorithm.recipe.rates() {
            cases.push(vec![row(0, 0, 0.0), row(1, 1, -0.0), row(2, 0, -5.0)]);
        }
        for rows in cases {
            assert_eq!(outcome(&algorithm, &rows).map(|_| ()), Err(Error::NoData), "{}", algorithm.name);
        }
    }
}
