//! A model written to an image and served from it, against plain computations.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::Control;
use base::ids::{IdKind, IdsRef};
use base::image::{AlignedBytes, Image};
use recommenders::als::{Params, fit, gram, start};
use recommenders::answers::{Filter, Source};
use recommenders::factors::Factors;
use recommenders::interactions::{Interactions, InteractionsBuilder};
use recommenders::recommender::{Learned, Parts, Recommender, encode};

const FACTORS: usize = 8;

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
    builder.finish(2).unwrap()
}

fn trained(data: &Interactions) -> Factors {
    let params = Params { factors: FACTORS, regularization: 1.0, alpha: 10.0, seed: 1, ..Params::default() };
    let control = Control::unlimited();
    let begin = start(data.users.len(), data.items.len(), &params, &control).unwrap();
    fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ()).unwrap()
}

fn image(data: &Interactions, factors: &Factors) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Factors(factors),
        regularization: 1.0,
        alpha: 10.0,
        user_class: 3,
        item_class: 2,
    };
    encode(&parts, [7; 16], 1, &Control::unlimited()).unwrap()
}

/// Every item by falling f64 score, equal ones by rising row.
fn ranking(factors: &Factors, query: &[f32]) -> Vec<(u32, f64)> {
    let dot = |row: &[f32]| row.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut all: Vec<(u32, f64)> =
        factors.items.chunks(FACTORS).enumerate().map(|(item, row)| (item as u32, dot(row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

#[test]
fn a_served_image_answers_like_a_plain_scan() {
    let data = blocks();
    let factors = trained(&data);
    let bytes = image(&data, &factors);
    let opened = Image::open(&bytes).unwrap();
    opened.verify(&Control::unlimited()).unwrap();
    let model = Recommender::new(&opened).unwrap();
    model.check(&Control::unlimited()).unwrap();
    assert_eq!((model.facts.user_class, model.facts.item_class), (3, 2));
    for user in 0..200u32 {
        let query = &factors.users[user as usize * FACTORS..][..FACTORS];
        let seen = data.user_items.row(user as usize).0;
        let expected: Vec<u32> = ranking(&factors, query)
            .into_iter()
            .map(|(item, _)| item)
            .filter(|item| !seen.contains(item))
            .take(10)
            .collect();
        let found = model.recommend(Some(user), 10, Filter::default());
        assert_eq!(found.iter().map(|each| each.item).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|each| each.source == Source::Model));
        // A user is recommended what the group likes.
        assert!(found.iter().all(|each| each.item / 20 == user % 5));
        let first = found[0];
        assert!((model.score(user, first.item).unwrap() - first.score).abs() < 1e-12);
    }
}

#[test]
fn similar_rows_are_the_nearest_by_cosine() {
    let data = blocks();
    let factors = trained(&data);
    let bytes = image(&data, &factors);
    let model = Recommender::new(&Image::open(&bytes).unwrap()).unwrap();
    for item in 0..100 {
        let found = model.similar_items(item, 5);
        assert_eq!(found.len(), 5);
        assert!(found.iter().all(|each| each.item != item && each.item / 20 == item / 20));
    }
    assert!(model.similar_users(3, 5).iter().all(|hit| hit.row != 3 && hit.row % 5 == 3));
    assert!(model.similar_items(100, 5).is_empty());
    assert!(model.similar_users(200, 5).is_empty());
}

#[test]
fn a_basket_is_answered_as_its_owner_would_be() {
    let data = blocks();
    let params = Params {
        factors: FACTORS,
        regularization: 1.0,
        alpha: 10.0,
        iterations: 100,
        seed: 1,
        ..Params::default()
    };
    let control = Control::unlimited();
    let begin = start(200, 100, &params, &control).unwrap();
    let factors = fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ()).unwrap();
    let bytes = image(&data, &factors);
    let model = Recommender::new(&Image::open(&bytes).unwrap()).unwrap();
    for user in [0, 17, 199] {
        let as_user = model.recommend(Some(user), 5, Filter::default());
        let as_basket =
            model.recommend_for_items(data.user_items.row(user as usize).0, 5, Filter::default()).unwrap();
        for (a, b) in as_user.iter().zip(&as_basket) {
            assert!((a.score - b.score).abs() < 1e-2, "{a:?} {b:?}");
        }
    }
    assert_eq!(gram(&factors.items, FACTORS, 1, &control).unwrap().len(), FACTORS * FACTORS);
}

/// Random factors and seen items: norms over twelve orders of magnitude, users who have seen nearly everything.
#[test]
fn ten_thousand_users_rank_by_rank() {
    use rand::{RngExt, SeedableRng};
    const USERS: usize = 10_000;
    const ITEMS: usize = 300;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut numbers = |rows: usize, adversarial: bool| -> Vec<f32> {
        let mut all = Vec::with_capacity(rows * FACTORS);
        for row in 0..rows {
            let scale = if adversarial { 10f32.powi(random.random_range(-6..7)) } else { 1.0 };
            // Every seventh row repeats the one before: ties must break by id.
            if adversarial && row % 7 == 6 {
                all.extend_from_within((row - 1) * FACTORS..);
            } else {
                all.extend((0..FACTORS).map(|_| (random.random::<f32>() - 0.5) * scale));
            }
        }
        all
    };
    let factors = Factors { factors: FACTORS, users: numbers(USERS, false), items: numbers(ITEMS, true) };
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..USERS {
        // Every hundredth user has all items but five.
        let seen = if user % 100 == 0 { ITEMS - 5 } else { 1 + user % 20 };
        for n in 0..seen {
            let item = (user * 31 + n * 7) % ITEMS;
            builder
                .push(IdsRef::Integer(&[user as i64]), IdsRef::Integer(&[item as i64]), &[1.0], &[])
                .unwrap();
        }
    }
    let data = builder.finish(2).unwrap();
    assert_eq!((data.users.len(), data.items.len()), (USERS, ITEMS));
    let bytes = image(&data, &factors);
    let model = Recommender::new(&Image::open(&bytes).unwrap()).unwrap();
    let candidates: Vec<u32> = (0..ITEMS as u32).filter(|item| item % 3 == 0).collect();
    for user in 0..USERS {
        let query = &factors.users[user * FACTORS..][..FACTORS];
        let seen = data.user_items.row(user).0;
        let unseen: Vec<(u32, f64)> = ranking(&factors, query)
            .into_iter()
            .filter(|(item, _)| seen.binary_search(item).is_err())
            .collect();
        let found = model.recommend(Some(user as u32), 10, Filter::default());
        assert_eq!(found.len(), unseen.len().min(10));
        for (each, (item, score)) in found.iter().zip(&unseen) {
            assert_eq!(each.item, *item, "user {user}");
            assert!((each.score - score).abs() <= 1e-12 * score.abs(), "user {user}");
        }
        let filter = Filter { candidates: Some(&candidates), ..Filter::default() };
        let found: Vec<u32> =
            model.recommend(Some(user as u32), 10, filter).iter().map(|each| each.item).collect();
        let expected: Vec<u32> =
            unseen.iter().map(|(item, _)| *item).filter(|item| item % 3 == 0).take(10).collect();
        assert_eq!(found, expected, "user {user}");
    }
}

#[test]
fn contributions_are_those_of_the_inverse() {
    // Two items of two factors by hand: Y = [[1, 0], [1, 2]], lambda 1, alpha 2, the user has both with values 1 and 3.
    // The inverse of W is Y'Y + lambda I + 2 (1 y_0 y_0' + 3 y_1 y_1') = [[11, 14], [14, 29]], its determinant 123.
    let rows = [1.0, 0.0, 1.0, 2.0];
    let control = Control::unlimited();
    let gram = gram(&rows, 2, 1, &control).unwrap();
    let parts =
        recommenders::als::explain(&gram, &rows, 2, &[0, 1, 9], &[1.0, 3.0, 1.0], 1.0, 2.0, 0, &control)
            .unwrap();
    // y_0' W y_0 * 3 = 29 / 123 * 3, y_0' W y_1 * 7 = (29 - 28) / 123 * 7; the third item does not exist.
    let expected = [87.0 / 123.0, 7.0 / 123.0, 0.0];
    assert!(parts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{parts:?}");
}
