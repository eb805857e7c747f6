//! The trainers by the name that a spec has for them: what a retraining may change, and which columns they read.

use pgrx::pg_sys;
use serde_json::{Map, Value};

use super::identity::Whom;
use super::registry::Metric;
use crate::pg::call::Call;
use crate::pg::error::Result;
use crate::recommenders::algorithm::Algorithm;
use crate::recommenders::als::{self, Als};
use crate::recommenders::ask::Ask;
use crate::recommenders::ease::{self, Ease};
use crate::recommenders::item_knn::{self, ItemKnn};
use crate::recommenders::popularity::{self, Popularity};
use crate::recommenders::request::{self, Trains};
use crate::recommenders::sgd::{self, Sgd};
use crate::recommenders::{automatic, train};
use crate::segments::{kmeans, rfm};
use crate::source::Source;

/// Trains: the call that answers, model, relation, spec, and the spec that the next retraining begins with.
type Run =
    fn(&Call, Whom, pg_sys::Oid, Map<String, Value>, Map<String, Value>) -> Result<Option<pg_sys::Datum>>;

/// A trainer.
pub(crate) struct Trainer {
    name: &'static str,
    /// Settings that a retraining may change.
    pub(crate) settings: &'static [&'static str],
    /// Keys of `options`.
    pub(crate) options: &'static [&'static str],
    /// Settings that name columns, and whether they must.
    pub(crate) columns: &'static [(&'static str, Column)],
    pub(crate) run: Run,
    /// Checks that a spec fits the columns of a relation and the model of that name.
    pub(crate) fits: fn(&str, &Map<String, Value>, &Source) -> Result<()>,
    /// Measures a spec at a cutoff without writing a version; for recommenders.
    pub(crate) measure: Option<Measure>,
    /// The algorithm of a spec; for recommenders that have one.
    pub(crate) algorithm: Option<Make>,
}

/// Measures: model, relation, spec, what is asked.
type Measure = fn(Whom, pg_sys::Oid, Map<String, Value>, &Ask) -> Result<Vec<Metric>>;

/// The algorithm of a model, relation, spec.
type Make = fn(Whom, pg_sys::Oid, &Map<String, Value>) -> Result<Box<dyn Algorithm>>;

impl Trainer {
    const fn of_recommender<A: Trains>(
        name: &'static str,
        settings: &'static [&'static str],
        options: &'static [&'static str],
    ) -> Trainer {
        Trainer {
            name,
            settings,
            options,
            columns: &request::COLUMNS,
            run: train::run::<A>,
            fits: request::fits::<A>,
            measure: Some(train::measure::<A>),
            algorithm: Some(train::algorithm::<A>),
        }
    }

    /// Puts settings into a spec, where this trainer looks for them.
    pub(crate) fn overlay(&self, spec: &mut Map<String, Value>, settings: Map<String, Value>) {
        for (key, value) in settings {
            if self.settings.contains(&key.as_str()) {
                spec.insert(key, value);
            } else if let Value::Object(options) =
                spec.entry("options").or_insert_with(|| Value::Object(Map::new()))
            {
                options.insert(key, value);
            }
        }
    }

    /// A model's spec with the settings that one of its versions was trained with.
    pub(crate) fn spec_of_version(
        &self,
        mut spec: Map<String, Value>,
        used: &Map<String, Value>,
    ) -> Map<String, Value> {
        let recorded = |key: &&&str| used.contains_key(**key);
        for key in self.settings.iter().filter(recorded) {
            spec.insert(key.to_string(), used[*key].clone());
        }
        if let Some(Value::Object(options)) = spec.get_mut("options") {
            for key in self.options.iter().filter(recorded) {
                options.insert(key.to_string(), used[*key].clone());
            }
        }
        // What an automatic choice came to.
        if let Some(chosen) = used.get(automatic::CHOSEN) {
            spec.insert(automatic::CHOSEN.into(), chosen.clone());
        }
        spec
    }
}

/// What a setting that names columns may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Required,
    Optional,
    /// An array of names, or NULL.
    Many,
}

static TRAINERS: [Trainer; 9] = [
    Trainer::of_recommender::<Als>("train_als", &als::RETRAIN, &als::OPTIONS),
    Trainer::of_recommender::<Sgd>("train_bpr", &sgd::RETRAIN, &sgd::OPTIONS),
    Trainer::of_recommender::<Sgd>("train_sgd", &sgd::RETRAIN, &sgd::OPTIONS),
    Trainer::of_recommender::<Ease>("train_ease", &ease::RETRAIN, &ease::OPTIONS),
    Trainer::of_recommender::<ItemKnn>("train_item_knn", &item_knn::KNN_RETRAIN, &item_knn::KNN_OPTIONS),
    Trainer::of_recommender::<Popularity>("train_popularity", &popularity::RETRAIN, &popularity::OPTIONS),
    Trainer {
        name: "train_recommender",
        settings: &automatic::RETRAIN,
        options: &automatic::OPTIONS,
        columns: &request::COLUMNS,
        run: automatic::run,
        fits: automatic::fits,
        measure: Some(automatic::measure),
        algorithm: None,
    },
    Trainer {
        name: "train_kmeans",
        settings: &kmeans::RETRAIN,
        options: &kmeans::OPTIONS,
        columns: &[("id_column", Column::Required), ("feature_columns", Column::Many)],
        run: kmeans::run,
        fits: kmeans::fits,
        measure: None,
        algorithm: None,
    },
    Trainer {
        name: "train_rfm",
        settings: &rfm::RETRAIN,
        options: &rfm::OPTIONS,
        columns: &[
            ("id_column", Column::Required),
            ("time_column", Column::Required),
            ("amount_column", Column::Required),
            ("order_column", Column::Optional),
        ],
        run: rfm::run,
        fits: rfm::fits,
        measure: None,
        algorithm: None,
    },
];

/// The trainer of a spec.
pub(crate) fn of(spec: &Map<String, Value>) -> &'static Trainer {
    let name = spec.get("trainer").and_then(Value::as_str).unwrap_or_default();
    TRAINERS.iter().find(|trainer| trainer.name == name).unwrap_or(&TRAINERS[0])
}
