//! `persona.train_bpr` and `persona.train_sgd`: factorization by stochastic gradients.

use std::time::Instant;

use base::Control;
use base::need::Need;
use pgrx::pg_sys;
use recommenders::defaults;
use recommenders::sgd::{self, Loss, MAX_FACTORS, MAX_ITERATIONS, Optimizer, Params, Sampling, Validation};
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, Data, Fitted, Learned, WarmStart};
use super::fit::settled;
use super::request::{LAST_WORDS, Request, Trains, column_arguments, last_arguments};
use super::train::{BEST_EPOCH, train_first};
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::spec::{Spec, finite, object};
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::options::Options;
use crate::pg::settings;

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 14] = [
    "batch_size",
    "biases",
    "decay",
    "dropout",
    "item_features",
    "keep_log",
    "keep_versions",
    "negatives",
    "patience",
    "sampling",
    "segment_models",
    "segments",
    "threads",
    "user_features",
];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 9] = [
    "deploy",
    "factors",
    "holdout",
    "iterations",
    "learning_rate",
    "loss",
    "optimizer",
    "regularization",
    "seed",
];

/// `persona.train_bpr(model, relation, user_column, item_column, …)`.
pub(crate) fn train_bpr(call: &Call) -> Answer {
    locks::writable(c"persona.train_bpr()");
    train(call, "train_bpr", 6, |spec| {
        spec.insert("loss".into(), "bpr".into());
        Ok(())
    })
}

/// `persona.train_sgd(model, relation, user_column, item_column, …, loss, optimizer, …)`.
pub(crate) fn train_sgd(call: &Call) -> Answer {
    locks::writable(c"persona.train_sgd()");
    train(call, "train_sgd", 8, |spec| {
        spec.insert("loss".into(), call.required_text(6, "loss")?.into());
        spec.insert("optimizer".into(), call.text(7)?.into());
        Ok(())
    })
}

/// The arguments that both have, from `first` on after the columns.
fn train(
    call: &Call,
    trainer: &str,
    first: usize,
    own: impl FnOnce(&mut Map<String, Value>) -> Result<()>,
) -> Answer {
    let mut spec = Map::new();
    spec.insert("trainer".into(), trainer.into());
    spec.extend(column_arguments(call)?);
    own(&mut spec)?;
    spec.insert("factors".into(), call.get::<i32>(first).into());
    spec.insert("learning_rate".into(), finite(call.get(first + 1), "learning_rate")?);
    spec.insert("regularization".into(), finite(call.get(first + 2), "regularization")?);
    spec.insert("iterations".into(), call.get::<i32>(first + 3).into());
    spec.extend(last_arguments(call, first + 4, &LAST_WORDS)?);
    train_first::<Sgd>(call, spec)
}

impl Trains for Sgd {
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let options = Options::new(spec.object("options"), &OPTIONS)?;
        let loss = spec.text("loss")?.ok_or_else(|| null_argument("loss"))?;
        let usual = Params::of(Loss::parse(&loss).or_report()?);
        let most = settings::max_threads() as i64;
        let sampling =
            options.text("sampling")?.map(|word| Sampling::parse(&word).or_report()).transpose()?;
        let optimizer =
            spec.text("optimizer")?.map(|word| Optimizer::parse(&word).or_report()).transpose()?;
        let patience = options.integer("patience", 1, 10_000)?.map(|epochs| epochs as usize);
        if patience.is_none() && options.real("decay")?.is_some() {
            return Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "option \"decay\" needs \"patience\""));
        }
        let params = Params {
            optimizer: optimizer.unwrap_or(usual.optimizer),
            factors: spec.size("factors", MAX_FACTORS)?.unwrap_or(usual.factors),
            learning_rate: spec.real("learning_rate")?.unwrap_or(usual.learning_rate),
            regularization: spec.real("regularization")?.unwrap_or(usual.regularization),
            iterations: spec.size("iterations", MAX_ITERATIONS)?.unwrap_or(usual.iterations),
            batch_size: options
                .integer("batch_size", 1, 4096)?
                .map_or(usual.batch_size, |size| size as usize),
            negatives: options.integer("negatives", 0, 1000)?.map_or(usual.negatives, |count| count as usize),
            sampling: sampling.unwrap_or(usual.sampling),
            biases: options.boolean("biases")?.unwrap_or(usual.biases),
            dropout: options.real("dropout")?.unwrap_or(usual.dropout),
            patience: patience.unwrap_or(usual.patience),
            decay: options.real("decay")?.unwrap_or(usual.decay),
            seed: spec.whole("seed")?.unwrap_or(42) as u64,
            threads: options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize,
            ..usual
        };
        params.check().or_report()?;
        let keep = Keep::of(&options)?;
        Ok((Request::of(model, relation, &spec, keep, kept)?, Sgd { params, early: patience.is_some() }))
    }
}

/// What a trainer was asked for.
pub(crate) struct Sgd {
    params: Params,
    /// Whether held-out rows end the training.
    early: bool,
}

impl Algorithm for Sgd {
    fn name(&self) -> &'static str {
        match self.params.loss {
            Loss::Bpr => "bpr",
            Loss::Warp => "warp",
            Loss::Logistic => "logistic",
            Loss::Squared => "sgd",
        }
    }

    fn iterations(&self) -> usize {
        self.params.iterations
    }

    fn factors(&self) -> usize {
        // The biases of the items become one more.
        self.params.factors + usize::from(self.params.biases)
    }

    fn need(&self, users: usize, items: usize, entries: usize) -> Need {
        if self.early {
            sgd::need_early(users, items, entries, &self.params)
        } else {
            sgd::need(users, items, entries, &self.params, false)
        }
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        let Data { user_items, item_users, .. } = *data;
        let from = Instant::now();
        let mut losses = Vec::new();
        let begin = sgd::start(user_items.rows(), item_users.rows(), &self.params, control)?;
        let mut on_epoch = |epoch: &sgd::Epoch| losses.push((epoch.loss, from.elapsed().as_secs_f64()));
        let fitted = if self.early {
            sgd::fit_early(user_items, item_users.rows(), begin, &self.params, control, &mut on_epoch)?
        } else {
            sgd::fit(user_items, item_users, begin, &self.params, Validation::None, control, &mut on_epoch)?
        };
        // Somebody who is not known is placed among the items as by alternating least squares.
        let alpha = defaults::ALPHA;
        let regularization = defaults::als_regularization(user_items, item_users, alpha);
        learned(fitted, losses, (regularization, alpha), control)
    }

    fn updates(&self) -> bool {
        true
    }

    fn resumes(&self) -> bool {
        true
    }

    fn update(&self, data: &Data<'_>, warm: WarmStart<'_>, control: &Control) -> base::Result<Fitted> {
        let WarmStart { factors, squares, users, regularization, alpha, best_epoch, .. } = warm;
        let (Some(factors), Some(squares)) = (factors, squares) else {
            return Err(base::Error::Corrupted("nothing to go on from"));
        };
        let params =
            Params { iterations: best_epoch.unwrap_or(self.params.iterations), ..self.params.clone() };
        let (from, mut losses) = (Instant::now(), Vec::new());
        let mut on_epoch = |epoch: &sgd::Epoch| losses.push((epoch.loss, from.elapsed().as_secs_f64()));
        let warm = sgd::WarmStart { factors, squares };
        let (user_items, item_users) = (data.user_items, data.item_users);
        let fitted = sgd::refine(user_items, item_users, warm, users, &params, control, &mut on_epoch)?;
        learned(fitted, losses, (regularization, alpha), control)
    }

    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value> {
        let Params { optimizer, factors, learning_rate, regularization, .. } = self.params;
        let mut facts = object(json!({
            "loss": self.params.loss.word(), "optimizer": optimizer.word(), "factors": factors,
            "learning_rate": learning_rate, "regularization": regularization,
            "iterations": self.params.iterations, "batch_size": self.params.batch_size,
            "negatives": self.params.negatives, "sampling": self.params.sampling.word(),
            "biases": self.params.biases, "dropout": self.params.dropout, "seed": self.params.seed as i64,
        }));
        if self.early {
            facts.insert("patience".into(), self.params.patience.into());
            facts.insert("decay".into(), self.params.decay.into());
            facts.insert(BEST_EPOCH.into(), fitted.iterations.into());
        }
        facts
    }
}

/// What a fit answers, folded in by `fold`: regularization and alpha.
fn learned(
    fitted: sgd::Fitted,
    losses: Vec<(f64, f64)>,
    fold: (f64, f64),
    control: &Control,
) -> base::Result<Fitted> {
    let (iterations, converged) = (fitted.best_epoch, fitted.converged || settled(&losses));
    let (factors, squares) = fitted.folded(control)?;
    Ok(Fitted {
        iterations,
        converged,
        learned: Learned::Stochastic(factors, squares),
        losses,
        regularization: fold.0,
        alpha: fold.1,
    })
}
