//! The trainers by the name that a spec has for them: what a retraining may change, and which columns they read.

use pgrx::pg_sys;
use serde_json::{Map, Value};

use crate::als;
use crate::call::Call;
use crate::error::Result;
use crate::segments::{kmeans, rfm};
use crate::source::Source;

/// Trains: the call that answers, model, relation, spec, and the spec that the next retraining begins with.
type Run =
    fn(&Call, String, pg_sys::Oid, Map<String, Value>, Map<String, Value>) -> Result<Option<pg_sys::Datum>>;

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
}

/// What a setting that names columns may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Required,
    Optional,
    /// An array of names, or NULL.
    Many,
}

static TRAINERS: [Trainer; 3] = [
    Trainer {
        name: "train_als",
        settings: &als::RETRAIN,
        options: &als::OPTIONS,
        columns: &[
            ("user_column", Column::Required),
            ("item_column", Column::Required),
            ("value_column", Column::Optional),
            ("time_column", Column::Optional),
        ],
        run: als::run,
        fits: als::fits,
    },
    Trainer {
        name: "train_kmeans",
        settings: &kmeans::RETRAIN,
        options: &kmeans::OPTIONS,
        columns: &[("id_column", Column::Required), ("feature_columns", Column::Many)],
        run: kmeans::run,
        fits: kmeans::fits,
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
    },
];

/// The trainer of a spec.
pub(crate) fn of(spec: &Map<String, Value>) -> &'static Trainer {
    let name = spec.get("trainer").and_then(Value::as_str).unwrap_or_default();
    TRAINERS.iter().find(|trainer| trainer.name == name).unwrap_or(&TRAINERS[0])
}
