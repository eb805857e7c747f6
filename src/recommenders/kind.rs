//! Recommenders as a kind of model: their trainers, and what of a model's life is theirs.

use base::Control;
use base::image::{Image, kinds};
use pgrx::pg_sys;
use recommenders::recommender::Recommender;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::als::{self, Als};
use super::ease::{self, Ease};
use super::evaluate_options::{ASK, EvaluateOptions};
use super::item_knn::{self, ItemKnn};
use super::measure::{self, measure_splits};
use super::popularity::{self, Popularity};
use super::request::{self, Request, Trains};
use super::sgd::{self, Sgd};
use super::{WORD, automatic, by_segment, features, functions, train, update};
use crate::models::identity::{ModelRef, Named};
use crate::models::kind::{Evaluation, Kind, Score, Trainer, Tuned};
use crate::models::owned::trained_from;
use crate::models::prune::Keep;
use crate::models::registry::{self, Metric, Model};
use crate::models::spec::Spec;
use crate::pg::access;
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::options::Options;
use crate::pg::sql::execute;

/// Measures: model, relation, spec, what is asked.
type Measure = fn(ModelRef, pg_sys::Oid, Map<String, Value>, &EvaluateOptions) -> Result<Vec<Metric>>;

/// The algorithm of a model, relation, spec.
type Make = fn(ModelRef, pg_sys::Oid, &Map<String, Value>) -> Result<Box<dyn Algorithm>>;

/// A trainer of recommenders.
pub(crate) struct OfRecommender {
    trainer: Trainer,
    /// Measures a spec at a cutoff without writing a version.
    pub(crate) measure: Measure,
    /// The algorithm of a spec, if the trainer has one of its own.
    pub(crate) algorithm: Option<Make>,
}

impl OfRecommender {
    const fn new<A: Trains>(
        name: &'static str,
        settings: &'static [&'static str],
        options: &'static [&'static str],
    ) -> OfRecommender {
        let columns = &request::COLUMNS;
        let (run, fits) = (train::run::<A>, request::fits::<A>);
        OfRecommender {
            trainer: Trainer { name, settings, options, columns, facts: &[], run, fits },
            measure: measure::measure::<A>,
            algorithm: Some(train::algorithm::<A>),
        }
    }
}

static TRAINERS: [OfRecommender; 7] = [
    OfRecommender::new::<Als>("train_als", &als::RETRAIN, &als::OPTIONS),
    OfRecommender::new::<Sgd>("train_bpr", &sgd::RETRAIN, &sgd::OPTIONS),
    OfRecommender::new::<Sgd>("train_sgd", &sgd::RETRAIN, &sgd::OPTIONS),
    OfRecommender::new::<Ease>("train_ease", &ease::RETRAIN, &ease::OPTIONS),
    OfRecommender::new::<ItemKnn>("train_item_knn", &item_knn::KNN_RETRAIN, &item_knn::KNN_OPTIONS),
    OfRecommender::new::<Popularity>("train_popularity", &popularity::RETRAIN, &popularity::OPTIONS),
    OfRecommender {
        trainer: Trainer {
            name: "train_recommender",
            settings: &automatic::RETRAIN,
            options: &automatic::OPTIONS,
            columns: &request::COLUMNS,
            facts: &[automatic::CHOSEN],
            run: automatic::run,
            fits: automatic::fits,
        },
        measure: automatic::measure,
        algorithm: None,
    },
];

/// The trainer of a recommender's spec.
pub(crate) fn of(spec: &Map<String, Value>) -> Result<&'static OfRecommender> {
    let name = spec.get("trainer").and_then(Value::as_str).unwrap_or_default();
    match TRAINERS.iter().find(|each| each.trainer.name == name) {
        Some(found) => Ok(found),
        // It says what is missing.
        None => crate::models::kind::trainer(spec).and_then(|_| Err(registry::stored::damaged())),
    }
}

/// The kind of all models that recommend.
pub(crate) struct Recommenders;

impl Kind for Recommenders {
    fn word(&self) -> &'static str {
        WORD
    }

    fn does(&self) -> &'static str {
        "recommends"
    }

    fn section(&self) -> u32 {
        kinds::FACTS
    }

    fn check(&self, image: &Image<'_>, control: &Control) -> base::Result<()> {
        Recommender::new(image)?.check(control)
    }

    fn trainer(&self, name: &str) -> Option<&'static Trainer> {
        TRAINERS.iter().map(|each| &each.trainer).find(|trainer| trainer.name == name)
    }

    fn relations(&self) -> &'static [&'static str] {
        &[features::KEYS[0], features::KEYS[1], by_segment::KEY]
    }

    fn name_relations(&self, options: &Map<String, Value>, kept: &mut Map<String, Value>) -> Result<()> {
        features::asked(options, kept)?;
        by_segment::asked(options, kept)?;
        Ok(())
    }

    fn still_there(&self, model: &str, spec: &Map<String, Value>) -> Result<()> {
        features::still_there(model, spec)?;
        by_segment::still_there(model, spec)
    }

    fn drop_beside(&self, named: &Named) -> Result<()> {
        for function in functions::functions(named.relation)? {
            execute(&format!("DROP FUNCTION {function}"))?;
        }
        Ok(())
    }

    fn evaluate(&self, asked: Evaluation<'_>) -> Result<Vec<Metric>> {
        let Evaluation { named, model, version, k, options } = asked;
        let ask = EvaluateOptions::of(k as usize, &Options::new(options, &ASK)?)?;
        let mut stored = Vec::new();
        if !ask.is_special() {
            stored = registry::metrics(model.model_id, version.version, k)?;
            // What has no cutoff.
            stored.extend(registry::metrics(model.model_id, version.version, 0)?);
        }
        if stored.is_empty() {
            access::require_owner(named.relation, &named.name)?;
            let relation = trained_from(named, &model)?;
            let own = of(&model.spec)?;
            let spec = own.trainer.spec_of_version(model.spec, &version.hyperparameters);
            stored = (own.measure)(ModelRef::model(named, model.model_id), relation, spec, &ask)?;
        }
        Ok(stored)
    }

    fn update(&self, call: &Call, named: Named, model: Model) -> Answer {
        update::update(call, named, model)
    }

    fn check_follows(&self, _named: &Named) -> Result<()> {
        Ok(())
    }

    fn tuned(&self, _named: &Named) -> Result<&'static dyn Tuned> {
        Ok(&Recommenders)
    }
}

impl Tuned for Recommenders {
    fn base(&self, spec: &Map<String, Value>, facts: &Map<String, Value>) -> Map<String, Value> {
        automatic::settled(spec, facts).unwrap_or_else(|| spec.clone())
    }

    fn check_folds(&self, base: &Map<String, Value>, folds: i32) -> Result<()> {
        let text = |key: &str| base.get(key).and_then(Value::as_str).unwrap_or_default();
        if folds == 1 || text("time_column").is_empty() || text("holdout") == "hash" {
            return Ok(());
        }
        Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"folds\" must be 1 where the newest rows are held out, got {folds}"),
        )
        .set_hint("Train the model with holdout \"hash\" for more."))
    }

    fn algorithm(
        &self,
        named: &Named,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
    ) -> Result<Option<&'static str>> {
        let Some(make) = of(spec)?.algorithm else { return Ok(None) };
        Ok(Some(make(named.name.clone().into(), relation, spec)?.name()))
    }

    fn score(
        &self,
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        seeds: &[i64],
        each: &mut dyn FnMut(Score) -> bool,
    ) -> Result<()> {
        let Some(make) = of(spec)?.algorithm else { return Ok(()) };
        let algorithm = make(model.clone(), relation, spec)?;
        let request = Request::of(model, relation, &Spec::new(spec), Keep::default(), Map::new())?;
        measure_splits(&request, &*algorithm, seeds, &mut |scored| {
            let Some((metric, value, baseline)) = scored.guard() else { return false };
            each(Score { metric, value, baseline, is_error: scored.ratings.is_some() })
        })
    }
}
