//! `persona.train_ease` and `persona.train_item_knn`: what having an item says about other items.

use std::time::Instant;

use algorithms::estimate::Need;
use algorithms::item_knn::{self, Similarity};
use algorithms::{Control, defaults, ease};
use pgrx::pg_sys;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::error::{OrReport, Result};
use crate::options::Options;
use crate::spec::{Spec, finite, object};
use crate::train::choose;
use crate::train::recommender::{
    Algorithm, Data, Fitted, LAST_WORDS, Learned, Request, Trains, column_arguments, last_arguments,
    train_first,
};
use crate::{locks, settings};

type Answer = Result<Option<pg_sys::Datum>>;

/// What `options` may hold.
pub(crate) const EASE_OPTIONS: [&str; 5] =
    ["keep_versions", "neighbours", "segment_models", "segments", "threads"];
pub(crate) const KNN_OPTIONS: [&str; 7] =
    ["b", "k1", "keep_versions", "segment_models", "segments", "shrinkage", "threads"];

/// What `retrain` may change.
pub(crate) const EASE_RETRAIN: [&str; 4] = ["deploy", "holdout", "regularization", "seed"];
pub(crate) const KNN_RETRAIN: [&str; 5] = ["deploy", "holdout", "neighbours", "seed", "similarity"];

/// `persona.train_ease(model, relation, user_column, item_column, …)`.
pub(crate) fn train_ease(call: &Call) -> Answer {
    locks::writable(c"persona.train_ease()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_ease".into());
    spec.insert("regularization".into(), finite(call.get(6), "regularization")?);
    spec.extend(last_arguments(call, 7, &LAST_WORDS)?);
    train_first::<Ease>(call, spec)
}

/// `persona.train_item_knn(model, relation, user_column, item_column, …)`.
pub(crate) fn train_item_knn(call: &Call) -> Answer {
    locks::writable(c"persona.train_item_knn()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_item_knn".into());
    spec.insert("similarity".into(), call.get::<String>(6).unwrap_or_else(|| "cosine".into()).into());
    spec.insert("neighbours".into(), call.get::<i32>(7).unwrap_or(20).into());
    spec.extend(last_arguments(call, 8, &LAST_WORDS)?);
    train_first::<ItemKnn>(call, spec)
}

fn threads(options: &Options) -> Result<usize> {
    let most = settings::max_threads() as i64;
    Ok(options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize)
}

impl Trains for Ease {
    fn parse(
        model: String,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let options = Options::new(spec.object("options"), &EASE_OPTIONS)?;
        let usual = ease::Params::default();
        let regularization = spec.real("regularization")?;
        let params = ease::Params {
            // A default that depends on data stands in as the usual one.
            regularization: regularization.unwrap_or(usual.regularization),
            kept: options.integer("neighbours", 1, 10_000)?.map_or(usual.kept, |kept| kept as usize),
            threads: threads(&options)?,
            ..usual
        };
        params.check().or_report()?;
        let keep_versions = options.integer("keep_versions", 1, 1000)?;
        let request = Request::of(model, relation, &spec, keep_versions, kept)?;
        Ok((request, Ease { regularization, params }))
    }
}

impl Trains for ItemKnn {
    fn parse(
        model: String,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let options = Options::new(spec.object("options"), &KNN_OPTIONS)?;
        let bm25 = Similarity::Bm25 {
            k1: options.real("k1")?.unwrap_or(1.2),
            b: options.real("b")?.unwrap_or(0.75),
        };
        let word = spec.text("similarity")?.unwrap_or_else(|| "cosine".into());
        let similarity = choose(
            "similarity",
            &word,
            &[
                ("cosine", Similarity::Cosine),
                ("jaccard", Similarity::Jaccard),
                ("bm25", bm25),
                ("tf_idf", Similarity::TfIdf),
            ],
        )?;
        let usual = item_knn::Params::default();
        let params = item_knn::Params {
            similarity,
            neighbours: spec.size("neighbours", item_knn::MAX_NEIGHBOURS)?.unwrap_or(usual.neighbours),
            shrinkage: options.real("shrinkage")?.unwrap_or(usual.shrinkage),
            threads: threads(&options)?,
        };
        params.check().or_report()?;
        let keep_versions = options.integer("keep_versions", 1, 1000)?;
        let request = Request::of(model, relation, &spec, keep_versions, kept)?;
        Ok((request, ItemKnn { word, params }))
    }
}

/// What `train_ease` was asked for.
pub(crate) struct Ease {
    regularization: Option<f64>,
    params: ease::Params,
}

/// What `train_item_knn` was asked for.
pub(crate) struct ItemKnn {
    word: String,
    params: item_knn::Params,
}

/// A fit in one step: it has no loss and is always at its end.
fn fitted(learned: algorithms::neighbours::Neighbours, regularization: f64, from: Instant) -> Fitted {
    let losses = vec![(f64::NAN, from.elapsed().as_secs_f64())];
    let learned = Learned::Neighbours(learned);
    Fitted { learned, iterations: 1, converged: true, losses, regularization, alpha: 0.0 }
}

impl Algorithm for Ease {
    fn name(&self) -> &'static str {
        "ease"
    }

    fn iterations(&self) -> usize {
        1
    }

    fn factors(&self) -> usize {
        0
    }

    fn need(&self, _users: usize, items: usize, _entries: usize) -> Need {
        ease::need(items, &self.params)
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> algorithms::Result<Fitted> {
        let Data { user_items, item_users, .. } = *data;
        let from = Instant::now();
        let rule = || defaults::ease_regularization(user_items, item_users);
        let regularization = self.regularization.unwrap_or_else(rule);
        let params = ease::Params { regularization, ..self.params.clone() };
        Ok(fitted(ease::fit(user_items, item_users, &params, control)?, regularization, from))
    }

    fn updates(&self) -> bool {
        true
    }

    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value> {
        object(json!({ "regularization": fitted.regularization, "neighbours": self.params.kept }))
    }
}

impl Algorithm for ItemKnn {
    fn name(&self) -> &'static str {
        "item_knn"
    }

    fn iterations(&self) -> usize {
        1
    }

    fn factors(&self) -> usize {
        0
    }

    fn need(&self, users: usize, items: usize, _entries: usize) -> Need {
        item_knn::need(users, items, &self.params)
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> algorithms::Result<Fitted> {
        let Data { user_items, item_users, .. } = *data;
        let from = Instant::now();
        Ok(fitted(item_knn::fit(user_items, item_users, &self.params, control)?, 0.0, from))
    }

    fn updates(&self) -> bool {
        true
    }

    fn hyperparameters(&self, _: &Fitted) -> Map<String, Value> {
        let mut facts = object(json!({
            "similarity": self.word, "neighbours": self.params.neighbours, "shrinkage": self.params.shrinkage,
        }));
        if let Similarity::Bm25 { k1, b } = self.params.similarity {
            facts.insert("k1".into(), k1.into());
            facts.insert("b".into(), b.into());
        }
        facts
    }
}
