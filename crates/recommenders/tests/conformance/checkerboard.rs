//! Users are recommended what those like them have.

use crate::data::{checkerboard, groups};
use crate::path::{Names, trained};
use crate::recipes::HOW;
use crate::table::{Agreement, algorithms};

/// The parts of what must be right that may be wrong.
fn allowed(agreement: Agreement) -> f64 {
    match agreement {
        Agreement::Scores(_) => 0.0,
        Agreement::Quality(_) => 0.05,
    }
}

#[test]
fn on_a_checkerboard_everybody_is_recommended_the_square_that_is_left() {
    // As many items of a parity as an item keeps neighbours, itself beside them: all are equally similar.
    const SIZE: u64 = 42;
    for algorithm in algorithms() {
        let rates = algorithm.recipe.rates();
        let model = trained(&*algorithm.recipe, &checkerboard(SIZE, rates), Names::Integers, HOW);
        let first = |user: u64| model.recommend(user, 1)[0].item;
        let wrong = (0..SIZE).filter(|&user| Some(first(user)) != model.item(user)).count();
        match algorithm.impersonal {
            // Then it is so for half of the users and more.
            Some(_) => assert!(wrong >= SIZE as usize / 2, "{}: {wrong}", algorithm.name),
            None => {
                let limit = (allowed(algorithm.agreement) * SIZE as f64) as usize;
                assert!(wrong <= limit, "{}: {wrong} of {SIZE}", algorithm.name);
            }
        }
    }
}

#[test]
fn groups_of_unequal_size_are_recommended_their_own() {
    for algorithm in algorithms() {
        let groups = groups(algorithm.recipe.rates());
        let model = trained(&*algorithm.recipe, &groups.rows, Names::Integers, HOW);
        let numbers = model.numbers(groups.item_count());
        let (mut right, mut all) = (0, 0);
        for user in 0..groups.user_count() {
            for each in model.recommend(user, groups.missing(user).min(5)) {
                let item = numbers[each.item as usize].unwrap();
                right += usize::from(groups.item_group(item) == groups.user_group(user));
                all += 1;
            }
        }
        let mut alike = 0;
        for item in 0..groups.item_count() {
            let similar = model.view().similar_items(model.item(item).unwrap(), 3);
            assert_eq!(
                similar.len(),
                if algorithm.impersonal.is_some() { 0 } else { 3 },
                "{}",
                algorithm.name
            );
            let number = |row: u32| numbers[row as usize].unwrap();
            let same =
                similar.iter().filter(|each| groups.item_group(number(each.item)) == groups.item_group(item));
            alike += same.count();
        }
        let of = 3.0 * groups.item_count() as f64;
        assert!(
            algorithm.impersonal.is_some() || alike as f64 > 0.95 * of,
            "{}: {alike} of {of}",
            algorithm.name
        );
        let wrong = 1.0 - f64::from(right as u32) / f64::from(all as u32);
        match algorithm.impersonal {
            Some(_) => assert!(wrong > 0.3, "{}: {wrong}", algorithm.name),
            None => assert!(wrong <= allowed(algorithm.agreement), "{}: {wrong}", algorithm.name),
        }
    }
}
