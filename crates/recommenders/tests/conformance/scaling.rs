//! Other units and more of the same.

use base::Control;

use crate::data::groups;
use crate::path::{Names, Row, read, trained};
use crate::permutation::quality;
use crate::recipes::{HOW, Unit};
use crate::table::algorithms;

/// Powers of two scale every rounding too.
const UNITS: [f32; 2] = [4.0, 0.25];

#[test]
fn the_unit_of_values_does_not_matter() {
    for algorithm in algorithms() {
        let (groups, recipe) = (groups(algorithm.recipe.rates()), &*algorithm.recipe);
        let first = trained(recipe, &groups.rows, Names::Integers, HOW);
        for by in UNITS {
            let scaled = |row: &Row| Row { value: row.value * by, ..*row };
            let rows: Vec<Row> = groups.rows.iter().map(scaled).collect();
            let law = recipe.in_unit(by.into());
            assert_eq!(law.is_none(), algorithm.without_unit.is_some(), "{}", algorithm.name);
            let Some((other, unit)) = law else {
                // It is another model, and still a good one.
                let other = trained(recipe, &rows, Names::Integers, HOW);
                assert!(first.recommend(0, 5) != other.recommend(0, 5), "{}", algorithm.name);
                assert!(quality(&groups, &other) > 0.85, "{} by {by}", algorithm.name);
                continue;
            };
            let other = trained(&*other, &rows, Names::Integers, HOW);
            let mut factor = None;
            for user in 0..groups.user_count() {
                let lists = [&first, &other].map(|model| model.recommend(user, 10));
                assert_eq!(lists[0].len(), lists[1].len());
                for (a, b) in lists[0].iter().zip(&lists[1]) {
                    assert_eq!(a.item, b.item, "{} by {by}, user {user}", algorithm.name);
                    let usual = if unit == Unit::Same { 1.0 } else { b.score / a.score };
                    let factor = *factor.get_or_insert(usual);
                    assert!(
                        (b.score - a.score * factor).abs() <= 1e-5 * b.score.abs(),
                        "{}: {a:?} {b:?}",
                        algorithm.name
                    );
                }
            }
        }
    }
}

#[test]
fn rows_that_come_twice_count_twice_and_ratings_once() {
    for algorithm in algorithms() {
        let (groups, rates) = (groups(algorithm.recipe.rates()), algorithm.recipe.rates());
        let twice: Vec<Row> = groups.rows.iter().flat_map(|&row| [row, row]).collect();
        let factor = if rates { 1.0 } else { 2.0 };
        let double: Vec<Row> =
            groups.rows.iter().map(|row| Row { value: row.value * factor, ..*row }).collect();
        let control = Control::unlimited();
        let found = [&twice, &double].map(|rows| read(rows, Names::Integers, rates, &control).unwrap());
        assert_eq!(found[0].user_items, found[1].user_items);
        let models = [&twice, &double].map(|rows| trained(&*algorithm.recipe, rows, Names::Integers, HOW));
        assert!(models[0].bytes[..] == models[1].bytes[..], "{}", algorithm.name);
    }
}

#[test]
fn twins_are_answered_alike() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let users = groups.user_count();
        let twin = |row: &Row| [*row, Row { user: row.user + users, ..*row }];
        let rows: Vec<Row> = groups.rows.iter().flat_map(twin).collect();
        let model = trained(&*algorithm.recipe, &rows, Names::Integers, HOW);
        let mut common = Vec::new();
        for user in 0..users {
            let [mut first, mut second] = [user, user + users]
                .map(|user| model.recommend(user, 5).iter().map(|each| each.item).collect::<Vec<_>>());
            if algorithm.recipe.draws() {
                first.sort_unstable();
                second.sort_unstable();
                common.push(
                    first.iter().filter(|item| second.contains(item)).count() as f64 / first.len() as f64,
                );
            } else {
                assert_eq!(first, second, "{}", algorithm.name);
            }
        }
        let share = common.iter().sum::<f64>() / common.len().max(1) as f64;
        assert!(common.is_empty() || share > 0.8, "{}: {share}", algorithm.name);
    }
}
