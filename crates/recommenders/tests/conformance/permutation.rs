//! Ids, their types and the order of rows are names and an order, nothing more.

use crate::data::{Groups, groups};
use crate::path::{Model, Names, mixed, trained};
use crate::recipes::HOW;
use crate::table::{Agreement, Algorithm, algorithms};

/// The share of the recommended items that are of the user's group.
pub(crate) fn quality(groups: &Groups, model: &Model) -> f64 {
    let numbers = model.numbers(groups.item_count());
    let mut right = Vec::new();
    for user in 0..groups.user_count() {
        for each in model.recommend(user, groups.missing(user).min(5)) {
            right.push(groups.item_group(numbers[each.item as usize].unwrap()) == groups.user_group(user));
        }
    }
    right.iter().filter(|&&right| right).count() as f64 / right.len() as f64
}

/// Scores of all users and items by their numbers.
fn scores(groups: &Groups, model: &Model) -> Vec<f64> {
    let (view, items) = (model.view(), groups.item_count());
    let rows: Vec<u32> = (0..items).map(|item| model.item(item).unwrap()).collect();
    (0..groups.user_count())
        .flat_map(|user| {
            let user = model.user(user).unwrap();
            rows.iter().map(move |&item| view.score(user, item).unwrap()).collect::<Vec<_>>()
        })
        .collect()
}

/// Two models of the same rows agree.
pub(crate) fn assert_agree(
    algorithm: &Algorithm,
    agreement: Agreement,
    groups: &Groups,
    [a, b]: [&Model; 2],
    what: &str,
) {
    match agreement {
        Agreement::Quality(apart) => {
            let found = [a, b].map(|model| quality(groups, model));
            assert!((found[0] - found[1]).abs() <= apart, "{}, {what}: {found:?}", algorithm.name);
            assert!(found[1] > 0.9, "{}, {what}: {found:?}", algorithm.name);
        }
        Agreement::Scores(apart) => {
            let [first, second] = [a, b].map(|model| scores(groups, model));
            let size = first.iter().fold(0.0, |size: f64, score| size.max(score.abs()));
            let off = first.iter().zip(&second).fold(0.0, |off: f64, (a, b)| off.max((a - b).abs()));
            assert!(off <= apart * size, "{}, {what}: {off} of {size}", algorithm.name);
            // Lists hold what the scores say, up to scores that are as near as that.
            for user in 0..groups.user_count() {
                let [first, second] = [a, b].map(|model| model.recommend(user, 10));
                assert_eq!(first.len(), second.len(), "{}, {what}", algorithm.name);
                for (a, b) in first.iter().zip(&second) {
                    assert!(
                        (a.score - b.score).abs() <= apart * size,
                        "{}, {what}: {a:?} {b:?}",
                        algorithm.name
                    );
                }
            }
        }
    }
}

#[test]
fn names_are_only_names() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let plain = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        for names in [Names::Shuffled, Names::Uuids, Names::Texts] {
            let mut rows = groups.rows.clone();
            rows.sort_by_key(|row| mixed(row.user * 7 + row.item * 13));
            let other = trained(&*algorithm.recipe, &rows, names, HOW);
            let moved = (0..groups.item_count()).any(|item| plain.item(item) != other.item(item));
            assert!(moved, "the order is another one");
            if algorithm.impersonal.is_some() {
                assert_eq!(quality(&groups, &plain), quality(&groups, &other), "{}", algorithm.name);
            }
            assert_agree(&algorithm, algorithm.agreement, &groups, [&plain, &other], &format!("{names:?}"));
        }
    }
}

/// An id's kind alone, with the same order: not a bit of what is learned is another.
#[test]
fn rows_in_another_order_give_the_same_bytes() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let mut rows = groups.rows.clone();
        rows.reverse();
        let [a, b] =
            [&groups.rows, &rows].map(|rows| trained(&*algorithm.recipe, rows, Names::Integers, HOW));
        assert!(a.bytes[..] == b.bytes[..], "{}", algorithm.name);
    }
}
