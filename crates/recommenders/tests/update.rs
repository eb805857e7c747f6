//! Interactions brought up to date from an image, against reading everything; and factors that follow, against a training.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use base::ids::{IdBuilder, IdKind, IdRef, Ids};
use base::image::{AlignedBytes, Image, Writer, kinds};
use base::{Control, Error};
use recommenders::als::{Params, explicit, fit, refine, start};
use recommenders::answers::Filter;
use recommenders::factors::Factors;
use recommenders::interactions::{Interactions, InteractionsBuilder};
use recommenders::recommender::{Learned, Parts, Recommender, encode};
use recommenders::sgd;
use recommenders::update::{Merged, NOWHERE, merge, moved, moved_with_squares};

/// Values by user and item.
type Rows = BTreeMap<(i64, i64), f32>;

fn ids(kind: IdKind, numbers: impl Iterator<Item = i64>) -> Ids {
    match kind {
        IdKind::Integer => Ids::Integer(numbers.collect()),
        IdKind::Fixed16 => Ids::Fixed16(numbers.map(|n| u128::from(n as u64).to_be_bytes()).collect()),
        IdKind::Bytes => {
            let (mut offsets, mut bytes) = (vec![0], Vec::new());
            for number in numbers {
                bytes.extend(format!("id {number}").bytes());
                offsets.push(bytes.len() as u64);
            }
            Ids::Bytes { offsets, bytes }
        }
    }
}

fn read(kind: IdKind, rows: &Rows, of: &dyn Fn(i64) -> bool) -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(kind, kind, false, &control);
    let rows: Vec<_> = rows.iter().filter(|((user, _), _)| of(*user)).collect();
    let users = ids(kind, rows.iter().map(|(key, _)| key.0));
    let items = ids(kind, rows.iter().map(|(key, _)| key.1));
    let values: Vec<f32> = rows.iter().map(|(_, value)| **value).collect();
    builder.push(users.view(), items.view(), &values, &[]).unwrap();
    builder.finish(1).unwrap()
}

fn sorted(kind: IdKind, users: &[i64]) -> Ids {
    let control = Control::unlimited();
    let mut builder = IdBuilder::new(kind, "users", &control);
    let mut places = vec![0; users.len()];
    builder.insert(ids(kind, users.iter().copied()).view(), &mut places).unwrap();
    builder.finish().unwrap().ids
}

const PARAMS: Params = Params {
    factors: 8,
    regularization: 1.0,
    alpha: 5.0,
    iterations: 12,
    solver: recommenders::als::Solver::ConjugateGradient,
    cg_steps: 3,
    seed: 3,
    threads: 1,
};

fn trained(data: &Interactions) -> Factors {
    let control = Control::unlimited();
    let begin = start(data.users.len(), data.items.len(), &PARAMS, &control).unwrap();
    fit(&data.user_items, &data.item_users, begin, &PARAMS, &control, &mut |_, _| ()).unwrap()
}

fn image(data: &Interactions, learned: Learned<'_>) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned,
        regularization: PARAMS.regularization,
        alpha: PARAMS.alpha,
        user_class: 3,
        item_class: 3,
    };
    encode(&parts, [7; 16], 1, &Control::unlimited()).unwrap()
}

/// Users of five groups; each has six of its group's twenty items, and one of another group.
fn before(valued: bool) -> Rows {
    let mut rows = Rows::new();
    for user in 0..300i64 {
        let value = |n: i64| if valued { 1.0 + ((user + n) % 4) as f32 } else { 1.0 };
        for n in 0..6 {
            rows.insert((user, user % 5 * 20 + (user * 7 + n * 3) % 20), value(n));
        }
        rows.insert((user, (user * 13) % 100), value(9));
    }
    rows.insert((50, 777), 1.0);
    rows
}

const AGAIN: [i64; 8] = [-4, 9, 10, 50, 51, 120, 299, 4000];

/// Inserts, updates, deletes; users and items that come and go, at both ends and in the middle.
fn after(mut rows: Rows) -> Rows {
    rows.insert((9, 3), 7.0);
    rows.insert((10, 101), 1.0);
    rows.retain(|&(user, item), _| user != 51 && (user, item) != (50, 777));
    for n in 0..6 {
        rows.insert((-4, 40 + 3 * n), 1.0);
        rows.insert((4000, 61 + 3 * n), 2.0);
    }
    rows.insert((120, -9), 1.0);
    for value in rows.iter_mut().filter(|(key, _)| key.0 == 299).map(|(_, value)| value) {
        *value += 1.0;
    }
    rows
}

fn merged(kind: IdKind, was: &Rows, now: &Rows, again: &[i64]) -> (Interactions, Merged) {
    let data = read(kind, was, &|_| true);
    let bytes = image(&data, Learned::Factors(&trained(&data)));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    model.check(&Control::unlimited()).unwrap();
    let fresh = read(kind, now, &|user| again.contains(&user));
    let control = Control::unlimited();
    let merged = merge(&model, sorted(kind, again).view(), &fresh, 2, &control).unwrap();
    assert_eq!(control.used(), merged.bytes());
    (data, merged)
}

#[test]
fn what_is_merged_is_what_a_training_would_read() {
    for kind in [IdKind::Integer, IdKind::Fixed16, IdKind::Bytes] {
        for valued in [false, true] {
            let was = before(valued);
            let now = after(was.clone());
            let (data, merged) = merged(kind, &was, &now, &AGAIN);
            let all = read(kind, &now, &|_| true);
            assert_eq!(merged.interactions, Interactions { rows: now.len() as u64, ..all });
            assert!(merged.changed);
            // Everybody comes from where the id says.
            for (row, &was) in (0..).zip(&merged.users_before) {
                let id = merged.interactions.users.view().get(row).unwrap();
                assert_eq!(data.users.view().find(id).unwrap_or(NOWHERE), was);
            }
            for (row, &was) in (0..).zip(&merged.items_before) {
                let id = merged.interactions.items.view().get(row).unwrap();
                assert_eq!(data.items.view().find(id).unwrap_or(NOWHERE), was);
            }
            // 51 is gone; all others of them differ.
            assert_eq!(merged.users.len(), AGAIN.len() - 1);
            let place = |number| {
                let id = ids(kind, std::iter::once(number));
                merged.interactions.items.view().find(id.view().get(0).unwrap())
            };
            let touched = |number| place(number).is_some_and(|item| merged.items.contains(&item));
            assert!(touched(3) && touched(101) && touched(-9) && touched(40) && place(777).is_none());
            // An item that only the user who is gone had of these.
            let theirs: Vec<i64> = was.keys().filter(|key| key.0 == 51).map(|key| key.1).collect();
            assert!(theirs.into_iter().all(touched));
        }
    }
}

#[test]
fn nothing_differs_where_nothing_changed() {
    for valued in [false, true] {
        let was = before(valued);
        for again in [&[][..], &[5, 6, 7], &[-1, 5, 9999]] {
            let (data, merged) = merged(IdKind::Integer, &was, &was, again);
            assert!(!merged.changed && merged.users.is_empty() && merged.items.is_empty());
            assert_eq!(merged.interactions, Interactions { rows: was.len() as u64, ..data });
        }
    }
    // A value alone is a change.
    let was = before(true);
    let mut now = was.clone();
    *now.iter_mut().find(|(key, _)| key.0 == 6).unwrap().1 += 0.5;
    assert_eq!(merged(IdKind::Integer, &was, &now, &[5, 6, 7]).1.users, [6]);
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Mean nDCG of the first ten items of a user's group that the user does not have.
fn quality(data: &Interactions, factors: &Factors, users: &[i64], group: &dyn Fn(i64) -> i64) -> f64 {
    let bytes = image(data, Learned::Factors(factors));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let ndcg = |&user: &i64| {
        let row = data.users.view().find(IdRef::Integer(user)).unwrap();
        let found = model.recommend(Some(row), 10, Filter::default());
        let gain = |(place, good): (usize, bool)| if good { 1.0 / (place as f64 + 2.0).log2() } else { 0.0 };
        let good = found.iter().map(|each| match data.items.view().get(each.item) {
            Some(IdRef::Integer(item)) => item / 20 == group(user),
            _ => false,
        });
        let ideal: f64 = (0..10).map(|place| gain((place, true))).sum();
        good.enumerate().map(gain).sum::<f64>() / ideal
    };
    users.iter().map(ndcg).sum::<f64>() / users.len() as f64
}

#[test]
fn changed_users_are_recommended_what_a_training_would_recommend() {
    let was = before(false);
    let mut now = was.clone();
    // Thirty who have changed sides, and ten who are new.
    let users: Vec<i64> = (100..130).chain(1000..1010).collect();
    let group = |user: i64| (user + 2) % 5;
    now.retain(|key, _| !users.contains(&key.0));
    for &user in &users {
        for n in 0..6 {
            now.insert((user, group(user) * 20 + (user * 7 + n * 3) % 20), 1.0);
        }
    }
    let data = read(IdKind::Integer, &was, &|_| true);
    let old = trained(&data);
    let bytes = image(&data, Learned::Factors(&old));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let fresh = read(IdKind::Integer, &now, &|user| users.contains(&user));
    let control = Control::unlimited();
    let merged = merge(&model, sorted(IdKind::Integer, &users).view(), &fresh, 1, &control).unwrap();
    let all = &merged.interactions;
    let warm = moved(&model, &merged, &control).unwrap().unwrap();
    let run = |threads| {
        let params = Params { threads, ..PARAMS };
        let changed = (&merged.users[..], &merged.items[..]);
        refine(&all.user_items, &all.item_users, warm.clone(), changed, &params, &control).unwrap()
    };
    let updated = run(1);
    assert_eq!(updated, run(2));

    let full = quality(all, &trained(all), &users, &group);
    let after = quality(all, &updated, &users, &group);
    assert!(full > 0.9 && after >= 0.97 * full, "{after} after an update, {full} after a training");
    // Without the update they get what they had liked.
    assert!(quality(all, &warm, &users, &group) < 0.5 * full);

    // Nobody else moved.
    for (row, &before) in merged.users_before.iter().enumerate() {
        if merged.users.binary_search(&(row as u32)).is_err() {
            assert_eq!(updated.users[row * 8..][..8], old.users[before as usize * 8..][..8]);
        }
    }
    // And each of them is where the equation of a user has its solution.
    let user = merged.users[0] as usize;
    let x = &updated.users[user * 8..][..8];
    for factor in 0..8 {
        let mut gradient = f64::from(x[factor]) * PARAMS.regularization;
        for item in 0..all.items.len() {
            let y = &updated.items[item * 8..][..8];
            let has = all.user_items.row(user).0.binary_search(&(item as u32)).is_ok();
            let (confidence, wanted) = if has { (1.0 + PARAMS.alpha, 1.0) } else { (1.0, 0.0) };
            gradient += confidence * (dot(x, y) - wanted) * f64::from(y[factor]);
        }
        assert!(gradient.abs() < 1e-2, "{gradient}");
    }
}

/// What was summed up is not negative, and there is one of each user and item.
fn squares_are_checked(image: &Image<'_>) {
    let section = |kind| Some((kind, image.optional_section::<u8>(kind).unwrap()?.to_vec()));
    let sections: Vec<(u32, Vec<u8>)> = (0..60).filter_map(section).collect();
    let with = |kind, wrong: &dyn Fn(&mut Vec<u8>)| {
        let mut writer = Writer::new([9; 16]);
        let mut sections = sections.clone();
        wrong(&mut sections.iter_mut().find(|each| each.0 == kind).unwrap().1);
        for (kind, bytes) in &sections {
            writer.section(*kind, bytes);
        }
        let bytes = writer.finish().unwrap();
        let image = Image::open(&bytes).unwrap();
        Recommender::new(&image).and_then(|served| served.check(&Control::unlimited()))
    };
    for kind in [kinds::USER_SQUARES, kinds::ITEM_SQUARES] {
        assert_eq!(with(kind, &|_| ()), Ok(()));
        for wrong in [f32::NAN, f32::INFINITY, -1.0] {
            let found = with(kind, &|bytes| bytes[4..8].copy_from_slice(&wrong.to_le_bytes()));
            assert!(matches!(found, Err(Error::Corrupted(_))), "{wrong}: {found:?}");
        }
        let found = with(kind, &|bytes| bytes.truncate(bytes.len() - 4));
        assert!(matches!(found, Err(Error::Corrupted(_))), "{found:?}");
    }
}

fn stochastic(loss: sgd::Loss, threads: usize) -> sgd::Params {
    let usual = sgd::Params::of(loss);
    sgd::Params { factors: 8, iterations: 300, regularization: 0.01, seed: 3, threads, ..usual }
}

/// A training by stochastic gradients.
fn descended(data: &Interactions, params: &sgd::Params) -> sgd::Fitted {
    let control = Control::unlimited();
    let begin = sgd::start(data.users.len(), data.items.len(), params, &control).unwrap();
    let (rows, none) = ((&data.user_items, &data.item_users), sgd::Validation::None);
    sgd::fit(rows.0, rows.1, begin, params, none, &control, &mut |_| ()).unwrap()
}

/// By every loss and optimizer, and with biases or without: who changed sides and who is new is recommended what a training
/// would recommend, and nobody else moves.
#[test]
fn stochastic_gradients_go_on_where_they_ended() {
    let was = before(false);
    let mut now = was.clone();
    let users: Vec<i64> = (100..130).chain(1000..1010).collect();
    let group = |user: i64| (user + 2) % 5;
    now.retain(|key, _| !users.contains(&key.0));
    for &user in &users {
        for n in 0..6 {
            now.insert((user, group(user) * 20 + (user * 7 + n * 3) % 20), 1.0);
        }
    }
    let data = read(IdKind::Integer, &was, &|_| true);
    let fresh = read(IdKind::Integer, &now, &|user| users.contains(&user));
    let adam = sgd::Params {
        optimizer: sgd::Optimizer::Adam,
        learning_rate: 0.01,
        batch_size: 8,
        ..stochastic(sgd::Loss::Bpr, 1)
    };
    let plain = sgd::Params { optimizer: sgd::Optimizer::Sgd, ..stochastic(sgd::Loss::Warp, 1) };
    let with_biases = stochastic(sgd::Loss::Logistic, 1);
    let values = sgd::Params { negatives: 4, learning_rate: 0.02, ..stochastic(sgd::Loss::Squared, 1) };
    let without = sgd::Params { biases: false, ..stochastic(sgd::Loss::Logistic, 1) };
    for params in [
        stochastic(sgd::Loss::Bpr, 1),
        stochastic(sgd::Loss::Warp, 1),
        with_biases,
        values,
        without,
        adam,
        plain,
    ] {
        let control = Control::unlimited();
        let sgd::Fitted { model: old, squares, .. } = descended(&data, &params);
        let summed = params.optimizer != sgd::Optimizer::Sgd;
        assert_eq!(squares.users.iter().chain(&squares.items).all(|&each| each > 0.0), summed);
        let old = old.folded(&control).unwrap();
        let bytes = image(&data, Learned::Stochastic(&old, &squares));
        let opened = Image::open(&bytes).unwrap();
        let model = Recommender::new(&opened).unwrap();
        assert_eq!(
            (model.check(&control), model.squares()),
            (Ok(()), Some([&squares.users[..], &squares.items]))
        );
        squares_are_checked(&opened);
        let merged = merge(&model, sorted(IdKind::Integer, &users).view(), &fresh, 1, &control).unwrap();
        let all = &merged.interactions;
        let warm = || {
            let control = Control::unlimited();
            let warm = moved_with_squares(&model, &merged, &control).unwrap().unwrap();
            assert_eq!(control.used(), warm.bytes());
            (warm, control)
        };
        let go_on = |threads, users: &[u32], (warm, control): (sgd::WarmStart, Control)| {
            let params = sgd::Params { threads, ..params.clone() };
            let (rows, columns) = (&all.user_items, &all.item_users);
            let fitted = sgd::refine(rows, columns, warm, users, &params, &control, &mut |_| ()).unwrap();
            assert_eq!(control.used(), fitted.bytes());
            fitted
        };
        let updated = go_on(1, &merged.users, warm());
        assert_eq!(updated, go_on(3, &merged.users, warm()));
        let updated = updated.model.folded(&Control::unlimited()).unwrap();

        let full = descended(all, &params).model.folded(&Control::unlimited()).unwrap();
        let full = quality(all, &full, &users, &group);
        let after = quality(all, &updated, &users, &group);
        println!("{params:?}: {after} after an update, {full} after a training");
        assert!(after >= 0.8 * full, "{params:?}: {after} after an update, {full} after a training");
        let (before, _) = warm();
        assert!(quality(all, &before.factors, &users, &group) < 0.6 * full);
        let width = old.factors;
        for (row, &before) in merged.users_before.iter().enumerate() {
            if merged.users.binary_search(&(row as u32)).is_err() {
                assert_eq!(
                    updated.users[row * width..][..width],
                    old.users[before as usize * width..][..width]
                );
            }
        }
        // Of nobody, nothing moves at all.
        let (begun, _) = warm();
        let nothing = go_on(2, &[], warm());
        let mut squares = nothing.squares.items.iter().zip(&begun.squares.items);
        assert!(squares.all(|(now, before)| (now - before).abs() <= 1e-5 * before));
        let nothing = nothing.model.folded(&Control::unlimited()).unwrap();
        let there =
            |rows: &[f32]| rows.chunks(width).filter(|row| row.iter().any(|&each| each != 0.0)).count();
        assert!(there(&nothing.items) >= there(&begun.factors.items));
        for (row, &before) in merged.items_before.iter().enumerate().filter(|(_, before)| **before != NOWHERE)
        {
            assert_eq!(nothing.items[row * width..][..width], old.items[before as usize * width..][..width]);
        }
        // Of one user at a time, again and again: what that one does not have hardly moves, and no sum is lost.
        let (mut state, _) = warm();
        let (begun, _) = warm();
        for turn in 0..10 {
            let control = Control::unlimited();
            control.take(state.bytes(), "", "").unwrap();
            let fitted = go_on(1, &[merged.users[turn]], (state, control));
            let (factors, squares) = fitted.folded(&Control::unlimited()).unwrap();
            state = sgd::WarmStart { factors, squares };
        }
        for (item, _) in merged.items_before.iter().enumerate().filter(|(_, before)| **before != NOWHERE) {
            let (now, then) = (state.squares.items[item], begun.squares.items[item]);
            assert!(
                params.optimizer == sgd::Optimizer::Adam || now >= then * (1.0 - 1e-4),
                "{item}: {now} {then}"
            );
            let (now, then) = (
                &state.factors.items[item * width..][..width],
                &begun.factors.items[item * width..][..width],
            );
            let apart: f64 = now.iter().zip(then).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            assert!(apart < 0.3 * dot(then, then), "{params:?} {item}: {apart} of {}", dot(then, then));
        }
        let (mut wrong, control) = warm();
        wrong.squares.users.pop();
        let (rows, columns) = (&all.user_items, &all.item_users);
        let refused = sgd::refine(rows, columns, wrong, &[], &params, &control, &mut |_| ());
        assert!(matches!(refused, Err(Error::Corrupted(_))), "{refused:?}");
    }
}

/// Whose entries went is recommended what the entries that stayed tell, and nothing of what they told before.
#[test]
fn stochastic_gradients_forget_entries_that_went() {
    let mut was = before(false);
    let users: Vec<i64> = (100..130).collect();
    let (left, kept) = (|user: i64| (user + 2) % 5, |user: i64| user % 5);
    for &user in &users {
        for n in 0..12 {
            was.insert((user, left(user) * 20 + (user * 7 + n) % 20), 1.0);
        }
    }
    let mut now = was.clone();
    now.retain(|&(user, item), _| !users.contains(&user) || item / 20 != left(user));
    let data = read(IdKind::Integer, &was, &|_| true);
    let fresh = read(IdKind::Integer, &now, &|user| users.contains(&user));
    for loss in [sgd::Loss::Bpr, sgd::Loss::Warp, sgd::Loss::Logistic] {
        let (params, control) = (stochastic(loss, 1), Control::unlimited());
        let (old, squares) = descended(&data, &params).folded(&control).unwrap();
        let bytes = image(&data, Learned::Stochastic(&old, &squares));
        let opened = Image::open(&bytes).unwrap();
        let model = Recommender::new(&opened).unwrap();
        let merged = merge(&model, sorted(IdKind::Integer, &users).view(), &fresh, 1, &control).unwrap();
        let warm = moved_with_squares(&model, &merged, &control).unwrap().unwrap();
        let all = &merged.interactions;
        let (rows, columns) = (&all.user_items, &all.item_users);
        let updated =
            sgd::refine(rows, columns, warm, &merged.users, &params, &control, &mut |_| ()).unwrap();
        let updated = updated.model.folded(&control).unwrap();
        let [gone, stayed] = [quality(all, &updated, &users, &left), quality(all, &updated, &users, &kept)];
        let full = descended(all, &params).model.folded(&control).unwrap();
        let full = quality(all, &full, &users, &kept);
        let said = format!("{loss:?}: {gone} of what went, {stayed} of what stayed, {full} after a training");
        // By chance 0.2; from where the training had led him, 0.59 to 0.75 of what went.
        assert!(gone < 0.3 && stayed > 0.9 * full, "{said}");
    }
}

/// A number of a pair that tells nothing of another pair.
fn chance(user: i64, item: i64) -> u64 {
    let mixed = ((user as u64) << 32 | item as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
}

/// What a user thinks of an item: half stars by the taste of a group, which differs by a row of both.
fn opinion(user: i64, item: i64, group: i64) -> f32 {
    let taste = if (item + group) % 5 < 2 { 1.5 } else { -1.5 };
    let noise = (chance(user, item + 1000) % 2) as f32 * 0.5;
    2.75 + taste + noise + (item % 4) as f32 * 0.1
}

fn rating_params(threads: usize) -> explicit::Params {
    let usual = explicit::Params::default();
    explicit::Params {
        als: Params { factors: 8, iterations: 12, seed: 3, threads, ..usual.als.clone() },
        ..usual
    }
}

fn rated(data: &Interactions) -> explicit::Model {
    let (control, params) = (Control::unlimited(), rating_params(1));
    let begin = start(data.users.len(), data.items.len(), &params.als, &control).unwrap();
    explicit::fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ()).unwrap()
}

#[test]
fn ratings_follow_and_err_as_little_as_after_a_training() {
    // Each rates half of the items.
    let rates = |user: i64, item: i64| chance(user, item).is_multiple_of(2);
    let mut was = Rows::new();
    for (user, item) in (0..300i64).flat_map(|user| (0..60i64).map(move |item| (user, item))) {
        if rates(user, item) {
            was.insert((user, item), opinion(user, item, user % 5));
        }
    }
    // Thirty who think otherwise now, ten who are new, and a new item that these have rated.
    let users: Vec<i64> = (100..130).chain(1000..1010).collect();
    let group = |user: i64| (user + 2) % 5;
    let mut now = was.clone();
    now.retain(|key, _| !users.contains(&key.0));
    for &user in &users {
        for item in (0..60).filter(|&item| rates(user, item)).chain([60]) {
            now.insert((user, item), opinion(user, item, group(user)));
        }
    }
    let data = read(IdKind::Integer, &was, &|_| true);
    let before = rated(&data);
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Ratings(&before, rating_params(1).damping),
        regularization: rating_params(1).als.regularization,
        alpha: 0.0,
        user_class: 3,
        item_class: 3,
    };
    let control = Control::unlimited();
    let bytes = encode(&parts, [7; 16], 1, &control).unwrap();
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    model.check(&control).unwrap();
    let fresh = read(IdKind::Integer, &now, &|user| users.contains(&user));
    let merged = merge(&model, sorted(IdKind::Integer, &users).view(), &fresh, 1, &control).unwrap();
    let all = &merged.interactions;
    assert_eq!(*all, Interactions { rows: now.len() as u64, ..read(IdKind::Integer, &now, &|_| true) });
    let warm = moved(&model, &merged, &control).unwrap().unwrap();
    // The factors without the biases that the image has beside them.
    assert_eq!((warm.factors, &warm.users[..8]), (8, &before.factors.users[..8]));
    let run = |threads| {
        let changed = (&merged.users[..], &merged.items[..]);
        let (matrix, transposed) = (&all.user_items, &all.item_users);
        explicit::refine(matrix, transposed, warm.clone(), changed, &rating_params(threads), &control)
            .unwrap()
    };
    let updated = run(1);
    assert_eq!(updated, run(2));

    // Mean, biases and range are those of a training.
    let full = rated(all);
    assert_eq!((&updated.biases, updated.range), (&full.biases, full.range));
    // On what they have not rated.
    let rmse = |model: &explicit::Model, of: &Interactions| {
        let (mut squares, mut count) = (0.0, 0);
        for (&user, item) in users.iter().flat_map(|user| (0..60).map(move |item| (user, item))) {
            if !rates(user, item) {
                let place = |ids: &Ids, id| ids.view().find(IdRef::Integer(id));
                let expected = model.predict(place(&of.users, user), place(&of.items, item));
                squares += (expected - f64::from(opinion(user, item, group(user)))).powi(2);
                count += 1;
            }
        }
        (squares / f64::from(count)).sqrt()
    };
    let (after, best, without) = (rmse(&updated, all), rmse(&full, all), rmse(&before, &data));
    println!("RMSE {after:.4} after an update, {best:.4} after a training, {without:.4} without");
    assert!(after < 1.03 * best && best < 0.7 * without, "{after} {best} {without}");

    // Nobody else moved, and each of them is where the equation of a user has its solution.
    for (row, &was) in merged.users_before.iter().enumerate() {
        if merged.users.binary_search(&(row as u32)).is_err() {
            let before = &before.factors.users[was as usize * 8..][..8];
            assert_eq!(&updated.factors.users[row * 8..][..8], before);
        }
    }
    for &user in &merged.users {
        let x = &updated.factors.users[user as usize * 8..][..8];
        let (items, values) = all.user_items.row(user as usize);
        for (factor, &own) in x.iter().enumerate() {
            let mut gradient = f64::from(own) * 0.1 * items.len() as f64;
            for (&item, &value) in items.iter().zip(values) {
                let rest = updated.score(Some(user), Some(item)) - f64::from(value);
                gradient += rest * f64::from(updated.factors.items[item as usize * 8 + factor]);
            }
            assert!(gradient.abs() < 1e-3, "{gradient}");
        }
    }
    let control = Control::unlimited();
    control.cancel();
    let changed = (&merged.users[..], &merged.items[..]);
    let params = rating_params(1);
    let ended = explicit::refine(&all.user_items, &all.item_users, warm, changed, &params, &control);
    assert_eq!((ended, control.used()), (Err(Error::Cancelled), 0));
}

#[test]
fn limits_hold_and_a_cancel_ends_it() {
    let was = before(true);
    let data = read(IdKind::Integer, &was, &|_| true);
    let bytes = image(&data, Learned::Factors(&trained(&data)));
    let opened = Image::open(&bytes).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let fresh = read(IdKind::Integer, &was, &|user| user < 9);
    let again = sorted(IdKind::Integer, &(0..9).collect::<Vec<_>>());
    let control = Control::unlimited();
    let enough = merge(&model, again.view(), &fresh, 1, &control).unwrap();
    let peak = control.peak();
    for limit in [0, 1000, peak / 2, peak - 1] {
        let control = Control::new(limit);
        let refused = merge(&model, again.view(), &fresh, 1, &control);
        assert!(matches!(refused, Err(Error::Memory { .. })), "{limit}");
        assert_eq!(control.used(), 0);
    }
    assert!(merge(&model, again.view(), &fresh, 1, &Control::new(peak)).is_ok());
    let control = Control::unlimited();
    control.cancel();
    assert_eq!(merge(&model, again.view(), &fresh, 1, &control), Err(Error::Cancelled));
    assert_eq!(moved(&model, &enough, &control), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
}
