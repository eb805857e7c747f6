//! `persona.train_item_knn`: what having an item says about other items.

use std::time::Instant;

use base::Control;
use base::need::Need;
use pgrx::pg_sys;
use recommenders::item_knn::{self, Similarity};
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, Data, Fitted};
use super::fit::{fitted, threads};
use super::request::{LAST_WORDS, Request, Trains, column_arguments, last_arguments};
use super::train::train_first;
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::spec::{Spec, object};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{OrReport, Result};
use crate::pg::options::{Options, choose};

/// What `options` may hold.
pub(crate) const KNN_OPTIONS: [&str; 8] =
    ["b", "k1", "keep_log", "keep_versions", "segment_models", "segments", "shrinkage", "threads"];

/// What `retrain` may change.
pub(crate) const KNN_RETRAIN: [&str; 5] = ["deploy", "holdout", "neighbours", "seed", "similarity"];

/// `persona.train_item_knn(model, relation, user_column, item_column, …)`.
pub(crate) fn train_item_knn(call: &Call) -> Answer {
    locks::writable(c"persona.train_item_knn()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_item_knn".into());
    spec.insert("similarity".into(), call.text(6)?.unwrap_or_else(|| "cosine".into()).into());
    spec.insert("neighbours".into(), call.get::<i32>(7).unwrap_or(20).into());
    spec.extend(last_arguments(call, 8, &LAST_WORDS)?);
    train_first::<ItemKnn>(call, spec)
}

impl Trains for ItemKnn {
    fn parse(
        model: ModelRef,
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
        let keep = Keep::of(&options)?;
        let request = Request::of(model, relation, &spec, keep, kept)?;
        Ok((request, ItemKnn { word, params }))
    }
}

/// What `train_item_knn` was asked for.
pub(crate) struct ItemKnn {
    word: String,
    params: item_knn::Params,
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

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
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
