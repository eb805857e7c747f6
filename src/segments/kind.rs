//! Models of segments as two kinds: by k-means and by purchases.

use base::Control;
use base::image::{Image, kinds};
use segments::Segments;

use super::beside::{Form, KMEANS, RFM};
use super::{kmeans, live, rfm};
use crate::models::identity::Named;
use crate::models::images::Loaded;
use crate::models::kind::{Column, Evaluation, Kind, Trainer};
use crate::models::registry::{self, Metric, Model, Version};
use crate::pg::error::{Code, Result, fail};

static BY_KMEANS: Trainer = Trainer {
    name: "train_kmeans",
    settings: &kmeans::RETRAIN,
    options: &kmeans::OPTIONS,
    columns: &[("id_column", Column::Required), ("feature_columns", Column::Many)],
    facts: &[],
    run: kmeans::run,
    fits: kmeans::fits,
};

static BY_PURCHASES: Trainer = Trainer {
    name: "train_rfm",
    settings: &rfm::RETRAIN,
    options: &rfm::OPTIONS,
    columns: &[
        ("id_column", Column::Required),
        ("time_column", Column::Required),
        ("amount_column", Column::Required),
        ("order_column", Column::Optional),
    ],
    facts: &[],
    run: rfm::run,
    fits: rfm::fits,
};

/// A kind of models of segments.
pub(crate) struct OfSegments {
    form: &'static Form,
    trainer: &'static Trainer,
}

/// Clusters of rows of numbers.
pub(crate) static CLUSTERS: OfSegments = OfSegments { form: &KMEANS, trainer: &BY_KMEANS };
/// Customers by recency, frequency and monetary value.
pub(crate) static CUSTOMERS: OfSegments = OfSegments { form: &RFM, trainer: &BY_PURCHASES };

impl Kind for OfSegments {
    fn word(&self) -> &'static str {
        self.form.word
    }

    fn does(&self) -> &'static str {
        "forms segments"
    }

    fn section(&self) -> u32 {
        kinds::SEGMENT_FACTS
    }

    fn check(&self, image: &Image<'_>, _control: &Control) -> base::Result<()> {
        Segments::new(image)?.check()
    }

    fn trainer(&self, name: &str) -> Option<&'static Trainer> {
        Some(self.trainer).filter(|trainer| trainer.name == name)
    }

    fn go_live(&self, named: &Named, model: &Model, version: &Version, loaded: &Loaded) -> Result<()> {
        live::go_live(named, model, version, loaded)
    }

    fn evaluate(&self, asked: Evaluation<'_>) -> Result<Vec<Metric>> {
        if !asked.options.is_empty() {
            return Err(fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "segments are evaluated without options"));
        }
        // The number of segments takes the place of the cutoff.
        let k = asked.version.hyperparameters.get("k").and_then(serde_json::Value::as_i64).unwrap_or(0);
        registry::metrics(asked.model.model_id, asked.version.version, k as i32)
    }
}
