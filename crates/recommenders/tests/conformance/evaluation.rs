//! What is measured is what is served.

use base::image::{AlignedBytes, Image};
use base::{Control, Csr, Result};
use recommenders::als::explicit;
use recommenders::answers::Filter;
use recommenders::evaluate::{Evaluation, Learned as Measured, Plan, record};
use recommenders::interactions::{Holdout, Interactions, Split, split, transpose};
use recommenders::recommender::Recommender;

use crate::data::groups;
use crate::path::{Held, Names, image, read};
use crate::recipes::{Data, HOW, Learned, Recipe};
use crate::table::algorithms;

const CUTOFFS: [usize; 3] = [1, 5, 10];

/// Figures, and what they are of.
pub(crate) struct Measurement {
    figures: Vec<Evaluation>,
    /// Errors of ratings, and of the items' means.
    errors: Option<[explicit::Errors; 2]>,
    split: Split,
    item_users: Csr,
    image: AlignedBytes,
}

/// Holds out, fits and measures, as the product does.
pub(crate) fn measure(recipe: &dyn Recipe, of: &Interactions, control: &Control) -> Result<Measurement> {
    let split = split(of, Holdout::Hash, 5, 1000, control)?;
    let _split = Held { bytes: split.bytes(), control };
    let item_users = transpose(&split.train, of.items.len(), 1, control)?;
    let _item_users = Held { bytes: item_users.bytes(), control };
    let times = recommenders::interactions::train_times(of, &split, control)?.unwrap_or_default();
    let _times = Held { bytes: times.len() as u64 * 8, control };
    let data = Data { user_items: &split.train, item_users: &item_users, times: &times };
    let fitted = recipe.fit(&data, HOW, control)?;
    let _fitted = Held { bytes: fitted.learned.bytes(), control };
    let fold = (fitted.regularization, fitted.alpha);
    let learned = match &fitted.learned {
        Learned::Factors(factors) | Learned::Stochastic(factors, _) => {
            Some(Measured::Factors { factors, fold })
        }
        Learned::Sums(factors) => Some(Measured::Sums(factors)),
        Learned::Neighbours(all) => Some(Measured::Neighbours { neighbours: all.view(), weighted: false }),
        Learned::Popular(popular) => Some(Measured::Popular(popular)),
        Learned::Ratings(_) => None,
    };
    let mut figures = Vec::new();
    if let Some(learned) = learned {
        let plan = Plan { ks: &CUTOFFS, auc: true, held_out: false, threads: 2 };
        let records = record(&split, &item_users, learned, plan, control)?;
        let _records = Held { bytes: records.bytes(), control };
        figures = records.figures(records.all(), None, control)?;
    }
    let mut errors = None;
    if let Learned::Ratings(model) = &fitted.learned {
        errors = Some([
            explicit::errors(model, &split.users, &split.held_out, control)?,
            explicit::item_mean_errors(&item_users, &split.held_out, control)?,
        ]);
    }
    let image = image(of, [&split.train, &item_users], &fitted, control)?;
    control.give(image.len() as u64);
    Ok(Measurement { figures, errors, split, item_users, image })
}

/// By the definition: a hit at a place counts by the logarithm of the place.
fn ndcg(list: &[u32], relevant: &[u32], k: usize) -> f64 {
    let gain = |place: usize| 1.0 / ((place + 2) as f64).log2();
    let hits = list.iter().take(k).enumerate().filter(|(_, item)| relevant.contains(item));
    let best: f64 = (0..k.min(relevant.len())).map(gain).sum();
    hits.map(|(place, _)| gain(place)).sum::<f64>() / best
}

#[test]
fn figures_are_in_range_better_than_popularity_and_those_of_the_served_lists() {
    for algorithm in algorithms() {
        let (groups, name) = (groups(algorithm.recipe.rates()), algorithm.name);
        let control = Control::unlimited();
        let of = read(&groups.rows, Names::Texts, algorithm.recipe.rates(), &Control::unlimited()).unwrap();
        let found = measure(&*algorithm.recipe, &of, &control).unwrap();
        assert_eq!(control.used(), 0, "{name}");
        let model = Recommender::new(&Image::open(&found.image).unwrap()).unwrap();
        let (users, held_out) = (&found.split.users, &found.split.held_out);
        assert_eq!(users.len(), groups.user_count() as usize);
        if let Some([errors, of_means]) = found.errors {
            let (mut squares, mut means) = (0.0, 0.0);
            for (at, &user) in users.iter().enumerate() {
                let (items, values) = held_out.row(at);
                for (&item, &value) in items.iter().zip(values) {
                    squares += (model.score(user, item).unwrap() - f64::from(value)).powi(2);
                    let ratings = found.item_users.row(item as usize).1;
                    let mean =
                        ratings.iter().map(|&value| f64::from(value)).sum::<f64>() / ratings.len() as f64;
                    means += (mean - f64::from(value)).powi(2);
                }
            }
            let root = |squares: f64| (squares / held_out.entries() as f64).sqrt();
            assert!((errors.rmse - root(squares)).abs() < 1e-9, "{name}: {errors:?}");
            assert!((of_means.rmse - root(means)).abs() < 1e-9, "{name}: {of_means:?}");
            assert!(errors.rmse < 0.7 * of_means.rmse, "{name}: {errors:?} {of_means:?}");
            continue;
        }
        let popular = model.recommend(None, usize::MAX, Filter::default());
        for figures in &found.figures {
            let (mut plain, mut baseline) = (0.0, 0.0);
            for (at, &user) in users.iter().enumerate() {
                let relevant = held_out.row(at).0;
                let list: Vec<u32> = model
                    .recommend(Some(user), figures.k, Filter::default())
                    .iter()
                    .map(|each| each.item)
                    .collect();
                plain += ndcg(&list, relevant, figures.k);
                let seen = model.seen(user);
                let others = popular.iter().map(|each| each.item).filter(|item| !seen.contains(item));
                baseline += ndcg(&others.collect::<Vec<_>>(), relevant, figures.k);
            }
            let (plain, baseline) = (plain / users.len() as f64, baseline / users.len() as f64);
            assert!((figures.model.ndcg.mean - plain).abs() < 1e-9, "{name}: {figures:?}, not {plain}");
            for of in [&figures.model, &figures.popularity] {
                let means = [of.precision, of.recall, of.ndcg, of.map, of.hit_rate, of.mrr, of.auc.unwrap()];
                assert!(means.iter().all(|each| (0.0..=1.0).contains(&each.mean)), "{name}: {of:?}");
                assert!(
                    (0.0..=1.0).contains(&of.coverage) && (0.0..=1.0).contains(&of.gini),
                    "{name}: {of:?}"
                );
            }
            if algorithm.impersonal.is_some() {
                continue;
            }
            // The order of counts; that of weights is the model's own.
            assert!(
                (figures.popularity.ndcg.mean - baseline).abs() < 1e-9,
                "{name}: {figures:?}, not {baseline}"
            );
            assert!(figures.model.ndcg.mean > 1.3 * figures.popularity.ndcg.mean, "{name}: {figures:?}");
            assert!(figures.model.auc.unwrap().mean > 0.8, "{name}: {figures:?}");
        }
    }
}
