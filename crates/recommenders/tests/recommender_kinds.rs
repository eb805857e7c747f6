//! Models of ratings and of popularity, written to an image and served from it, against plain computations.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::ids::{IdKind, IdsRef};
use base::image::{AlignedBytes, Image};
use base::{Control, Csr, Error};
use recommenders::als::explicit::{self, Model, Params, confine};
use recommenders::als::start;
use recommenders::answers::{Filter, Recommendation, Source};
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, split, train_times};
use recommenders::popularity::{self, Decayed};
use recommenders::recommender::{Learned, Parts, Recommender, encode};

/// Thirty users with some of twenty-five items: ratings from 1 to 5, at times from 0 on.
fn rows() -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, true, &control);
    for user in 0..30i64 {
        for item in (0..25i64).filter(|item| (user * 5 + item * 3) % 7 < 4) {
            let stars = 3 + (user + item) % 2 * 2 - i64::from(item % 5 == 0);
            let time = user * 100 + item;
            builder
                .push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[stars as f32], &[time])
                .unwrap();
        }
    }
    builder.finish(1).unwrap()
}

fn image(data: &Interactions, learned: Learned<'_>) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned,
        regularization: 0.1,
        alpha: 0.0,
        user_class: 3,
        item_class: 3,
    };
    encode(&parts, [9; 16], 1, &Control::unlimited()).unwrap()
}

fn rated(data: &Interactions) -> (Model, Params) {
    let mut params = Params::default();
    params.als.factors = 3;
    let control = Control::unlimited();
    let begin = start(data.users.len(), data.items.len(), &params.als, &control).unwrap();
    let fitted = explicit::fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ());
    (fitted.unwrap(), params)
}

fn items(found: &[Recommendation]) -> Vec<u32> {
    found.iter().map(|each| each.item).collect()
}

#[test]
fn ratings_are_served_as_the_model_predicts_them() {
    let data = rows();
    let (model, params) = rated(&data);
    let bytes = image(&data, Learned::Ratings(&model, params.damping));
    let opened = Image::open(&bytes).unwrap();
    let served = Recommender::new(&opened).unwrap();
    served.check(&Control::unlimited()).unwrap();
    let all = served.recommend_all(0..30, 7, 2, &Control::unlimited()).unwrap();
    for user in 0..30u32 {
        let seen = data.user_items.row(user as usize).0;
        let mut expected: Vec<u32> = (0..25).filter(|item| !seen.contains(item)).collect();
        let score = |item: u32| model.score(Some(user), Some(item));
        expected.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        expected.truncate(7);
        let found = served.recommend(Some(user), 7, Filter::default());
        assert_eq!(items(&found), expected);
        assert_eq!(found, all[user as usize]);
        for each in &found {
            let predicted = model.predict(Some(user), Some(each.item));
            assert!((each.score - predicted).abs() < 1e-5 && each.source == Source::Model);
            assert_eq!(served.score(user, each.item), Some(each.score));
        }
        assert_eq!(served.user_parts(user).unwrap().1, Some(model.biases.users[user as usize]));
    }
    for item in 0..25u32 {
        let (factors, bias) = served.item_parts(item).unwrap();
        assert_eq!((factors.len(), bias), (3, Some(model.biases.items[item as usize])));
    }
}

#[test]
fn somebody_who_likes_items_is_folded_in_with_the_highest_ratings() {
    let data = rows();
    let (model, params) = rated(&data);
    let bytes = image(&data, Learned::Ratings(&model, params.damping));
    let opened = Image::open(&bytes).unwrap();
    let served = Recommender::new(&opened).unwrap();
    let basket = [1, 3, 7, 11];
    let about = explicit::Items {
        factors: 3,
        rows: &model.factors.items,
        biases: &model.biases.items,
        mean: model.biases.mean,
    };
    let user = explicit::fold_in(about, &basket, &[5.0; 4], 0.1, params.damping);
    let expected = |item: u32| {
        let row = &model.factors.items[item as usize * 3..][..3];
        let product: f64 = row.iter().zip(&user.factors).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let base = model.biases.mean + f64::from(user.bias) + f64::from(model.biases.items[item as usize]);
        confine(base + product, model.range)
    };
    let found = served.recommend_for_items(&basket, 25, Filter::default()).unwrap();
    assert_eq!(found.len(), 21);
    for each in found {
        assert!((each.score - expected(each.item)).abs() < 1e-5, "{each:?}");
    }
}

#[test]
fn what_is_damaged_of_ratings_is_found() {
    let data = rows();
    let (model, params) = rated(&data);
    let damaged = |change: &dyn Fn(&mut Model)| {
        let mut model = model.clone();
        change(&mut model);
        let bytes = image(&data, Learned::Ratings(&model, params.damping));
        let opened = Image::open(&bytes).unwrap();
        Recommender::new(&opened).and_then(|served| served.check(&Control::unlimited()))
    };
    assert_eq!(damaged(&|_| ()), Ok(()));
    assert!(matches!(damaged(&|model| model.biases.users[3] = f32::NAN), Err(Error::Corrupted(_))));
    assert!(matches!(damaged(&|model| model.range = (2.0, 1.0)), Err(Error::Corrupted(_))));
    assert!(matches!(damaged(&|model| model.biases.mean = f64::INFINITY), Err(Error::Corrupted(_))));
    assert!(matches!(damaged(&|model| model.biases.users.push(0.0)), Err(Error::Corrupted(_))));
}

#[test]
fn shares_out_of_range_are_found() {
    let data = rows();
    let control = Control::unlimited();
    let Decayed { weights, mut order } = popularity::plain(&data.item_users, &control).unwrap();
    order.swap(0, 1);
    let bytes = image(&data, Learned::Popular(&Decayed { weights, order }));
    let opened = Image::open(&bytes).unwrap();
    assert!(matches!(Recommender::new(&opened).unwrap().check(&control), Err(Error::Corrupted(_))));
}

#[test]
fn each_entry_of_the_training_part_keeps_its_time() {
    let data = rows();
    let control = Control::unlimited();
    for holdout in [Holdout::Time, Holdout::Hash] {
        let split = split(&data, holdout, 3, 20, &control).unwrap();
        let times = train_times(&data, &split, &control).unwrap().unwrap();
        let mut expected = Vec::new();
        for user in 0..30 {
            expected.extend(split.train.row(user).0.iter().map(|&item| user as i64 * 100 + i64::from(item)));
        }
        assert_eq!(times, expected);
    }
}

#[test]
fn the_errors_of_the_items_means() {
    // Item 0 is rated 1 and 3, item 1 is rated 5, item 2 never; the mean of all is 3.
    let item_users = Csr { offsets: vec![0, 2, 3, 3], indices: vec![0, 1, 0], values: vec![1.0, 3.0, 5.0] };
    let ratings = Csr { offsets: vec![0, 2, 3], indices: vec![0, 2, 1], values: vec![4.0, 2.0, 5.0] };
    let errors = explicit::item_mean_errors(&item_users, &ratings, &Control::unlimited()).unwrap();
    assert_eq!((errors.count, errors.mae), (3, 1.0));
    assert!((errors.rmse - (5f64 / 3.0).sqrt()).abs() < 1e-15);
}

/// Solves a dense symmetric system by Gauss and Jordan.
#[allow(clippy::needless_range_loop, reason = "two rows of one matrix at a time")]
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    for at in 0..right.len() {
        let pivot = matrix[at][at];
        matrix[at].iter_mut().for_each(|each| *each /= pivot);
        right[at] /= pivot;
        for other in (0..right.len()).filter(|&other| other != at) {
            let by = matrix[other][at];
            for column in 0..right.len() {
                matrix[other][column] -= by * matrix[at][column];
            }
            right[other] -= by * right[at];
        }
    }
    right
}

#[test]
fn contributions_of_ratings_are_those_of_a_dense_solve_and_add_up() {
    let data = rows();
    let (model, params) = rated(&data);
    let bytes = image(&data, Learned::Ratings(&model, params.damping));
    let opened = Image::open(&bytes).unwrap();
    let served = Recommender::new(&opened).unwrap();
    let control = Control::unlimited();
    let row = |item: u32| model.factors.items[item as usize * 3..][..3].iter().map(|&each| f64::from(each));
    let bias = |biases: &[f32], at: u32| f64::from(biases[at as usize]);
    for user in 0..30u32 {
        let (own, values) = data.user_items.row(user as usize);
        // sum y y' + lambda n I, and the ratings without mean and biases.
        let mut matrix = vec![vec![0.0; 3]; 3];
        for (at, line) in matrix.iter_mut().enumerate() {
            line[at] = params.als.regularization * own.len() as f64;
            for &item in own {
                let y: Vec<f64> = row(item).collect();
                line.iter_mut().zip(&y).for_each(|(to, each)| *to += y[at] * each);
            }
        }
        let base = model.biases.mean + bias(&model.biases.users, user);
        let rest: Vec<f64> = own
            .iter()
            .zip(values)
            .map(|(&item, &value)| f64::from(value) - base - bias(&model.biases.items, item))
            .collect();
        let mut right = vec![0.0; 3];
        for (&item, rest) in own.iter().zip(&rest) {
            right.iter_mut().zip(row(item)).for_each(|(to, each)| *to += each * rest);
        }
        let factors = solved(matrix.clone(), right);
        for item in 0..25u32 {
            let parts = served.explain(user, item, &control).unwrap();
            assert!(parts.is_sorted_by(|a, b| a.contribution.abs() >= b.contribution.abs()));
            let weights = solved(matrix.clone(), row(item).collect());
            for (&each, rest) in own.iter().zip(&rest) {
                let expected = row(each).zip(&weights).map(|(a, b)| a * b).sum::<f64>() * rest;
                let part = parts.iter().find(|part| part.item == each).map_or(0.0, |part| part.contribution);
                assert!((part - expected).abs() < 1e-9, "{user} {item} {each}: {part} {expected}");
            }
            // All of it is the rating that factors solved from the user's ratings would give.
            let product: f64 = row(item).zip(&factors).map(|(a, b)| a * b).sum();
            let sum: f64 = parts.iter().map(|part| part.contribution).sum();
            assert!((sum - product).abs() < 1e-9, "{user} {item}: {sum} {product}");
            let expected = base + bias(&model.biases.items, item);
            assert!((served.base(user, item).unwrap() - expected).abs() < 1e-9);
            // And near what is served, whose factors were solved half an iteration earlier.
            let score = model.score(Some(user), Some(item));
            assert!((expected + sum - score).abs() < 0.05, "{user} {item}: {sum} {score}");
        }
    }
    assert_eq!((served.base(30, 0), served.base(0, 25)), (None, None));
    assert!(served.explain(30, 0, &control).unwrap().is_empty());
    control.cancel();
    assert_eq!(served.explain(0, 1, &control), Err(Error::Cancelled));
}
