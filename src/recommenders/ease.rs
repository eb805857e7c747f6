//! `persona.train_ease`: EASE, and ELSA where the catalogue is too large for it.

use std::sync::OnceLock;
use std::time::Instant;

use base::need::Need;
use base::{Control, Error};
use pgrx::pg_sys;
use recommenders::{defaults, ease, elsa};
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, Data, Fitted, Learned};
use super::fit::{fitted, settled, threads};
use super::request::{LAST_WORDS, Request, Trains, column_arguments, last_arguments};
use super::train::{Fits, train_first};
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::spec::{Spec, finite, object};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::options::{Options, choose};

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 11] = [
    "batch_size",
    "factors",
    "form",
    "iterations",
    "keep_log",
    "keep_versions",
    "learning_rate",
    "neighbours",
    "segment_models",
    "segments",
    "threads",
];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 4] = ["deploy", "holdout", "regularization", "seed"];

/// How the weights between items are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All of them, by an inversion.
    Full,
    /// As products of factors.
    LowRank,
    /// The full form where its training keeps the memory, otherwise the other.
    Auto,
}

/// The words of `form`.
const FORMS: [(&str, Form); 3] = [("full", Form::Full), ("low_rank", Form::LowRank), ("auto", Form::Auto)];

/// What `train_ease` was asked for.
pub(crate) struct Ease {
    form: Form,
    /// What became of [`Form::Auto`]: why the full form cannot be trained, where it cannot.
    settled: OnceLock<Option<String>>,
    regularization: Option<f64>,
    full: ease::Params,
    low_rank: elsa::Params,
}

/// `persona.train_ease(model, relation, user_column, item_column, …)`.
pub(crate) fn train_ease(call: &Call) -> Answer {
    locks::writable(c"persona.train_ease()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_ease".into());
    spec.insert("regularization".into(), finite(call.get(6), "regularization")?);
    spec.extend(last_arguments(call, 7, &LAST_WORDS)?);
    train_first::<Ease>(call, spec)
}

impl Trains for Ease {
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let options = Options::new(spec.object("options"), &OPTIONS)?;
        let form = options.text("form")?.map(|word| choose("form", &word, &FORMS)).transpose()?;
        let form = form.unwrap_or(Form::Auto);
        let regularization = spec.real("regularization")?;
        if form == Form::LowRank && regularization.is_some() {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "\"regularization\" has no meaning for form \"low_rank\"",
            )
            .set_hint("Leave it out, or use form \"full\"."));
        }
        let usual = ease::Params::default();
        let full = ease::Params {
            // A default that depends on data stands in as the usual one.
            regularization: regularization.unwrap_or(usual.regularization),
            kept: options
                .integer("neighbours", 1, ease::MAX_KEPT as i64)?
                .map_or(usual.kept, |kept| kept as usize),
            threads: threads(&options)?,
            ..usual
        };
        full.check().or_report()?;
        let usual = elsa::Params::default();
        let size = |key, most: usize, usual: usize| {
            Ok(options.integer(key, 1, most as i64)?.map_or(usual, |size| size as usize))
        };
        let low_rank = elsa::Params {
            factors: size("factors", elsa::MAX_FACTORS, usual.factors)?,
            iterations: size("iterations", elsa::MAX_ITERATIONS, usual.iterations)?,
            batch_size: options.integer("batch_size", 1, elsa::MAX_BATCH as i64)?.map(|size| size as usize),
            learning_rate: options.real("learning_rate")?.unwrap_or(usual.learning_rate),
            seed: spec.whole("seed")?.unwrap_or(42) as u64,
            threads: full.threads,
        };
        low_rank.check().or_report()?;
        let keep = Keep::of(&options)?;
        let request = Request::of(model, relation, &spec, keep, kept)?;
        Ok((request, Ease { form, settled: OnceLock::new(), regularization, full, low_rank }))
    }
}

impl Ease {
    /// Why the full form was not taken, where the choice was left to the memory.
    fn why(&self) -> Option<&String> {
        self.settled.get().and_then(Option::as_ref)
    }

    fn is_low_rank(&self) -> bool {
        self.form == Form::LowRank || self.why().is_some()
    }

    fn fit_low_rank(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        let from = Instant::now();
        let mut losses = Vec::new();
        let params = &self.low_rank;
        let factors = elsa::fit(data.user_items, data.item_users, params, control, &mut |_, loss| {
            losses.push((loss, from.elapsed().as_secs_f64()));
        })?;
        Ok(Fitted {
            learned: Learned::Sums(factors),
            iterations: params.iterations,
            converged: settled(&losses),
            losses,
            regularization: 0.0,
            alpha: 0.0,
        })
    }
}

impl Algorithm for Ease {
    fn name(&self) -> &'static str {
        if self.is_low_rank() { "elsa" } else { "ease" }
    }

    fn iterations(&self) -> usize {
        if self.is_low_rank() { self.low_rank.iterations } else { 1 }
    }

    fn factors(&self) -> usize {
        if self.is_low_rank() { self.low_rank.factors } else { 0 }
    }

    fn need(&self, users: usize, items: usize, entries: usize) -> Need {
        if self.is_low_rank() {
            elsa::need(users, items, entries, &self.low_rank)
        } else {
            ease::need(items, &self.full)
        }
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        if self.is_low_rank() {
            return self.fit_low_rank(data, control);
        }
        let Data { user_items, item_users, .. } = *data;
        let from = Instant::now();
        let rule = || defaults::ease_regularization(user_items, item_users);
        let regularization = self.regularization.unwrap_or_else(rule);
        let params = ease::Params { regularization, ..self.full.clone() };
        Ok(fitted(ease::fit(user_items, item_users, &params, control)?, regularization, from))
    }

    fn settle(&self, items: usize, fits: Fits<'_>) {
        if self.form != Form::Auto {
            return;
        }
        self.settled.get_or_init(|| match fits(ease::need(items, &self.full), 0) {
            Err(Error::Memory { needed, limit, .. }) => Some(format!(
                "The full form needs about {needed} MB for {items} items, more than the {limit} MB allowed."
            )),
            _ => None,
        });
    }

    fn remark(&self) -> Option<(String, String)> {
        let why = self.why()?;
        let message = format!("EASE is trained in its low-rank form, of {} factors", self.low_rank.factors);
        let ignored = if self.regularization.is_some() { " It has no regularization." } else { "" };
        Some((message, format!("{why}{ignored}")))
    }

    fn updates(&self) -> bool {
        !self.is_low_rank()
    }

    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value> {
        if !self.is_low_rank() {
            return object(json!({
                "form": "full", "regularization": fitted.regularization, "neighbours": self.full.kept,
            }));
        }
        let elsa::Params { factors, iterations, learning_rate, seed, .. } = self.low_rank;
        let mut facts = object(json!({
            "form": "low_rank", "factors": factors, "iterations": iterations, "learning_rate": learning_rate,
            "seed": seed as i64,
        }));
        if let Learned::Sums(learned) = &fitted.learned {
            let users = learned.users.len() / learned.factors;
            facts.insert("batch_size".into(), self.low_rank.batch_of(users).into());
        }
        if let Some(why) = self.why() {
            facts.insert("form_reason".into(), why.clone().into());
            // Not used; whoever trains as this version was trained leaves it out.
            if self.regularization.is_some() {
                facts.insert("regularization".into(), Value::Null);
            }
        }
        facts
    }
}
