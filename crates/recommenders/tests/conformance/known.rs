//! The scores and the order of a slow, plain computation.

use recommenders::answers::Filter;

use crate::path::{Names, Row, trained};
use crate::recipes::HOW;
use crate::slow::Dense;
use crate::table::algorithms;

/// Seven users by six items; a zero is none. No user has all, none has one alone.
const CELLS: [[u8; 6]; 7] = [
    [1, 2, 0, 0, 3, 0],
    [2, 1, 1, 0, 0, 0],
    [0, 4, 2, 0, 0, 1],
    [0, 0, 1, 3, 2, 0],
    [1, 0, 0, 2, 1, 0],
    [0, 3, 1, 0, 0, 5],
    [4, 0, 0, 1, 3, 0],
];

#[test]
fn scores_and_order_are_those_of_a_plain_computation() {
    let time = |user: usize, item: usize| (user * 17 + item * 5) as i64;
    let cell = |user: usize, item: usize| {
        (CELLS[user][item] > 0).then(|| (f32::from(CELLS[user][item]), time(user, item)))
    };
    let dense =
        Dense { items: 6, cells: (0..7).map(|user| (0..6).map(|item| cell(user, item)).collect()).collect() };
    let each = (0..42).filter_map(|at| Some((at / 6, at % 6, cell(at / 6, at % 6)?)));
    let rows: Vec<Row> = each
        .map(|(user, item, (value, time))| Row { user: user as u64, item: item as u64, value, time })
        .collect();
    for algorithm in algorithms() {
        let slow = algorithm.recipe.slow(&dense, HOW);
        assert_eq!(slow.is_none(), algorithm.without_slow.is_some(), "{}", algorithm.name);
        let Some(slow) = slow else { continue };
        let model = trained(&*algorithm.recipe, &rows, Names::Integers, HOW);
        let size = slow.iter().flatten().fold(0.0, |size: f64, score| size.max(score.abs()));
        for (user, scores) in (0u32..).zip(&slow) {
            let all = model.view().recommend(Some(user), 9, Filter { keep_seen: true, ..Filter::default() });
            assert_eq!(all.len(), 6, "{}", algorithm.name);
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * size;
            for found in &all {
                let expected = scores[found.item as usize];
                assert!(near(found.score, expected), "{} {user}: {found:?}, not {expected}", algorithm.name);
                assert!(near(model.view().score(user, found.item).unwrap(), expected), "{}", algorithm.name);
            }
            // What comes first is no worse than what comes later.
            let falls = |pair: &[recommenders::answers::Recommendation]| {
                let [a, b] = [0, 1].map(|at| scores[pair[at].item as usize]);
                a >= b || near(a, b)
            };
            assert!(all.windows(2).all(falls), "{} {user}: {all:?}", algorithm.name);
        }
    }
}
