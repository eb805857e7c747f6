//! What an answer holds, whatever the model.

use base::Control;
use recommenders::answers::{Filter, Recommendation, Source};

use crate::data::groups;
use crate::degenerate::assert_sound;
use crate::path::{Names, Row, trained};
use crate::recipes::HOW;
use crate::table::algorithms;

/// How many equal scores stand in the order of ids, as they must. Ratings beyond their range are equal and stay in the order of
/// what they would be; of neighbours, what nothing speaks for has 0 and comes by popularity.
fn ties(list: &[Recommendation], rates: bool, what: &str) -> usize {
    let equal = |pair: &&[Recommendation]| pair[0].score == pair[1].score && pair[0].score != 0.0 && !rates;
    let equal = list.windows(2).filter(equal);
    equal.inspect(|pair| assert!(pair[0].item < pair[1].item, "{what}: {pair:?}")).count()
}

#[test]
fn lists_are_long_enough_and_in_order() {
    for algorithm in algorithms() {
        let (groups, rates) = (groups(algorithm.recipe.rates()), algorithm.recipe.rates());
        // Two items of the same users: equal scores.
        let items = groups.item_count();
        let twins = |row: &Row| (row.item < 20).then_some(Row { item: row.item + items, ..*row });
        let rows: Vec<Row> =
            groups.rows.iter().copied().chain(groups.rows.iter().filter_map(twins)).collect();
        let model = trained(&*algorithm.recipe, &rows, Names::Integers, HOW);
        let (view, control, mut equal) = (model.view(), Control::unlimited(), 0);
        let items = view.items.len();
        let excluded: Vec<u32> = (0..items as u32).filter(|item| item % 3 == 0).collect();
        let candidates: Vec<u32> = (0..items as u32).rev().filter(|item| item % 2 == 0).collect();
        // Twice, and some that do not exist.
        let candidates = [&candidates[..], &candidates[..5], &[items as u32, u32::MAX]].concat();
        let users = view.users.len() as u32;
        let all = view.recommend_all(0..users, 10, 3, &control).unwrap();
        assert_eq!(view.recommend_all(3..users, 10, 1, &control).unwrap(), all[3..], "{}", algorithm.name);
        assert_eq!(view.recommend_all(users..users + 1, 10, 1, &control).unwrap(), [vec![]]);
        for user in 0..view.users.len() as u32 {
            let what = format!("{}, user {user}", algorithm.name);
            let seen = view.seen(user);
            let longest = view.recommend(Some(user), usize::MAX, Filter::default());
            assert_sound(&longest, usize::MAX, items, seen, &what);
            equal += ties(&longest, rates, &what);
            for k in [0, 1, 5, items] {
                // Shorter lists begin as longer ones do.
                assert_eq!(
                    view.recommend(Some(user), k, Filter::default()),
                    longest[..k.min(longest.len())],
                    "{what}"
                );
            }
            assert_eq!(all[user as usize], longest[..10], "{what}");
            for each in &longest {
                assert_eq!(view.score(user, each.item), Some(each.score), "{what}: {each:?}");
            }
            // What is kept out, or alone may come, leaves the others in their places.
            let filter = Filter { exclude: &excluded, candidates: Some(&candidates), ..Filter::default() };
            let left = longest.iter().filter(|each| each.item % 2 == 0 && each.item % 3 != 0).copied();
            assert_eq!(view.recommend(Some(user), usize::MAX, filter), left.collect::<Vec<_>>(), "{what}");
            let everything = Filter { keep_seen: true, ..Filter::default() };
            assert_sound(&view.recommend(Some(user), usize::MAX, everything), usize::MAX, items, &[], &what);
        }
        // Random factors seldom make two items equal to the last bit.
        assert!(equal > 0 || algorithm.recipe.draws(), "{}: no ties were looked at", algorithm.name);
    }
}

#[test]
fn who_is_not_known_gets_what_is_popular() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let model = trained(&*algorithm.recipe, &groups.rows, Names::Uuids, HOW);
        let (view, items) = (model.view(), model.view().items.len());
        let popular = view.recommend(None, usize::MAX, Filter::default());
        assert_sound(&popular, usize::MAX, items, &[], algorithm.name);
        assert!(
            (popular.iter().map(|each| each.score).sum::<f64>() - 1.0).abs() < 1e-9,
            "{}",
            algorithm.name
        );
        assert!(popular.iter().all(|each| each.source == Source::Popular), "{}", algorithm.name);
        assert!(popular.windows(2).all(|pair| pair[0].score > pair[1].score || pair[0].item < pair[1].item));
        assert_eq!(model.user(10_000), None);
        for stranger in [view.users.len() as u32, u32::MAX] {
            assert_eq!(view.recommend(Some(stranger), usize::MAX, Filter::default()), popular);
            assert_eq!(view.score(stranger, 0), None);
        }
        assert_eq!(view.recommend_for_items(&[], usize::MAX, Filter::default()).unwrap(), popular);
        let filter = Filter { candidates: Some(&[items as u32, 5, u32::MAX, 3, 5]), ..Filter::default() };
        let few: Vec<_> = popular.iter().copied().filter(|each| [3, 5].contains(&each.item)).collect();
        assert_eq!(view.recommend(None, 9, filter), few, "{}", algorithm.name);
        if algorithm.impersonal.is_none() {
            let users = |item: u32| {
                (0..view.users.len() as u32).filter(|&user| view.seen(user).contains(&item)).count()
            };
            let share = |item: u32| users(item) as f64 / groups.rows.len() as f64;
            assert!(
                popular.iter().all(|each| (each.score - share(each.item)).abs() < 1e-12),
                "{}",
                algorithm.name
            );
        }
        assert_eq!(view.score(0, items as u32), None);
    }
}

/// What a user has now is answered as the training would answer it, and a list of items as a user who has them.
#[test]
fn what_a_user_has_now_is_answered_like_what_it_had() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let model = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        let (view, items) = (model.view(), model.view().items.len());
        let numbers = model.numbers(groups.item_count());
        let (mut right, mut of) = (0, 0);
        for user in 0..view.users.len() as u32 {
            let what = format!("{}, user {user}", algorithm.name);
            let own = view.seen(user).to_vec();
            let values: Vec<f32> = own
                .iter()
                .map(|&item| {
                    let is = |row: &&Row| row.user == u64::from(user) && row.item == u64::from(item);
                    groups.rows.iter().find(is).unwrap().value
                })
                .collect();
            let fresh = view.recommend_fresh(&own, &values, usize::MAX, Filter::default()).unwrap();
            assert_sound(&fresh, usize::MAX, items, &own, &what);
            let as_trained = view.recommend(Some(user), usize::MAX, Filter::default());
            if !algorithm.recipe.draws() {
                let flat = |list: &[Recommendation]| {
                    list.iter().map(|each| (each.item, each.score)).collect::<Vec<_>>()
                };
                assert_eq!(flat(&fresh), flat(&as_trained), "{what}");
            }
            let source = if algorithm.impersonal.is_some() { Source::Popular } else { Source::Fresh };
            assert_eq!(fresh[0].source, source, "{what}");
            let best = &fresh[..groups.missing(user.into()).min(5)];
            let is_right = |each: &&Recommendation| {
                groups.item_group(numbers[each.item as usize].unwrap()) == groups.user_group(user.into())
            };
            right += best.iter().filter(is_right).count();
            of += best.len();
            // Nothing said about the values: each of the items is liked.
            let basket = view.recommend_for_items(&own, usize::MAX, Filter::default()).unwrap();
            assert_sound(&basket, usize::MAX, items, &own, &what);
        }
        let share = right as f64 / of as f64;
        assert!(share > 0.95 || algorithm.impersonal.is_some(), "{}: {share}", algorithm.name);
    }
}

#[test]
fn what_explains_a_score_adds_up_to_it() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let model = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        let (view, control) = (model.view(), Control::unlimited());
        assert_eq!(view.explains(), algorithm.impersonal.is_none(), "{}", algorithm.name);
        let rates = algorithm.recipe.rates();
        for user in (0..view.users.len() as u32).step_by(7) {
            let own = view.seen(user);
            // Of factors, what is explained is the score of the user's items; of ratings, the expected one, for which the
            // last step of the training had the items of the step before.
            let scores = match rates {
                true => view.recommend(Some(user), 10, Filter::default()),
                false => view.recommend_for_items(own, 10, Filter::default()).unwrap(),
            };
            let tolerance = if rates { 0.05 } else { 1e-5 };
            for each in &scores {
                let parts = view.explain(user, each.item, &control).unwrap();
                assert_eq!(
                    parts.is_empty(),
                    !view.explains() || each.source == Source::Popular,
                    "{}",
                    algorithm.name
                );
                if !view.explains() {
                    continue;
                }
                let base = view.base(user, each.item);
                assert_eq!(base.is_some(), rates, "{}", algorithm.name);
                let sum = base.unwrap_or(0.0) + parts.iter().map(|part| part.contribution).sum::<f64>();
                let sum = if rates { sum.clamp(1.0, 5.0) } else { sum };
                assert!(
                    (sum - each.score).abs() < tolerance,
                    "{}: {sum}, not {}",
                    algorithm.name,
                    each.score
                );
                assert!(parts.iter().all(|part| own.contains(&part.item)), "{}", algorithm.name);
                assert!(parts.is_sorted_by(|a, b| a.contribution.abs() >= b.contribution.abs()));
            }
        }
        assert!(view.explain(u32::MAX, 0, &control).unwrap().is_empty());
        assert!(view.explain(0, u32::MAX, &control).unwrap().is_empty());
    }
}
