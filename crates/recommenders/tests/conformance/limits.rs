//! Budgets are kept, and whoever asks to stop is heard.

use std::thread::{scope, sleep};
use std::time::Instant;

use base::{Control, Error};

use crate::data::groups;
use crate::evaluation::measure;
use crate::path::{Held, Names, fit, read, train, trained};
use crate::recipes::{HOW, How};
use crate::table::algorithms;

#[test]
fn too_small_a_budget_is_an_error_before_there_is_work() {
    for algorithm in algorithms() {
        let (groups, recipe) = (groups(algorithm.recipe.rates()), &*algorithm.recipe);
        let free = Control::unlimited();
        let model = train(recipe, &groups.rows, Names::Integers, HOW, &free).unwrap();
        assert_eq!(free.used(), model.bytes.len() as u64, "{}", algorithm.name);
        let of = read(&groups.rows, Names::Integers, recipe.rates(), &Control::unlimited()).unwrap();
        let mut fitted = 0;
        for part in 0..=16 {
            let control = Control::new(free.peak() * part / 12);
            match train(recipe, &groups.rows, Names::Integers, HOW, &control) {
                Ok(model) => {
                    assert!(part >= 12 && control.peak() >= of.bytes(), "{}", algorithm.name);
                    assert_eq!(control.used(), model.bytes.len() as u64, "{}", algorithm.name);
                    fitted += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Memory { .. }), "{}: {error}", algorithm.name);
                    // Not one step of a fit was taken.
                    assert_eq!(control.progress(), (0, 0), "{} {part}", algorithm.name);
                    assert_eq!(control.used(), 0, "{}", algorithm.name);
                }
            }
            // A fit that nobody warned of keeps the limit, too.
            let control = Control::new(free.peak() * part / 40);
            let outcome = fit(recipe, &of, HOW, &control).map(|bytes| bytes.len() as u64);
            assert!(matches!(outcome, Ok(_) | Err(Error::Memory { .. })), "{}: {outcome:?}", algorithm.name);
            assert_eq!(control.used(), outcome.unwrap_or(0), "{}", algorithm.name);
        }
        assert!(fitted > 0, "{}", algorithm.name);
    }
}

#[test]
fn who_has_asked_to_stop_is_heard_everywhere() {
    for algorithm in algorithms() {
        let (groups, recipe) = (groups(algorithm.recipe.rates()), &*algorithm.recipe);
        let of = read(&groups.rows, Names::Integers, recipe.rates(), &Control::unlimited()).unwrap();
        let control = Control::unlimited();
        control.cancel();
        let name = algorithm.name;
        let cancelled = Some(Error::Cancelled);
        assert_eq!(read(&groups.rows, Names::Integers, recipe.rates(), &control).err(), cancelled, "{name}");
        for threads in [1, 2] {
            assert_eq!(fit(recipe, &of, How { threads, ..HOW }, &control).err(), cancelled, "{name}");
        }
        assert_eq!(measure(recipe, &of, &control).err(), cancelled, "{name}");
        let model = trained(recipe, &groups.rows, Names::Integers, HOW);
        let view = model.view();
        assert_eq!(view.recommend_all(0..9, 5, 2, &control).err(), cancelled, "{name}");
        assert_eq!(view.check(&control).err(), cancelled, "{name}");
        let explained = view.explain(0, 1, &control).err();
        assert_eq!(explained.is_some(), view.explains(), "{name}");
        assert_eq!(control.used(), 0, "{name}");
    }
}

#[test]
fn a_training_stops_wherever_it_is() {
    for algorithm in algorithms() {
        let (groups, recipe) = (groups(algorithm.recipe.rates()), &*algorithm.recipe);
        let begun = Instant::now();
        trained(recipe, &groups.rows, Names::Integers, HOW);
        let long = begun.elapsed();
        let mut stopped = 0;
        for part in 0..12 {
            let control = Control::unlimited();
            let outcome = scope(|scope| {
                scope.spawn(|| {
                    sleep(long * part / 12);
                    control.cancel();
                });
                let how = How { threads: 1 + part as usize % 2, ..HOW };
                train(recipe, &groups.rows, Names::Integers, how, &control)
            });
            match outcome {
                Ok(model) => drop(Held { bytes: model.bytes.len() as u64, control: &control }),
                Err(error) => {
                    assert_eq!(error, Error::Cancelled, "{}", algorithm.name);
                    stopped += 1;
                }
            }
            assert_eq!(control.used(), 0, "{}, at {part}/12", algorithm.name);
        }
        // What takes less than a thread needs to begin may be done before.
        assert!(stopped > 0 || long.as_millis() < 5, "{}: {long:?}", algorithm.name);
    }
}
