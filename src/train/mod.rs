//! What all trainers of recommenders share: whose model it is, reading, the holdout, the deploy guard, and
//! writing a version. One transaction a version, all or nothing.

mod guard;
mod holdout;
mod publish;
mod running;
mod target;

use std::time::Instant;

use algorithms::als::Factors;
use algorithms::estimate::Need;
use algorithms::recommender::{Parts, encode};
use algorithms::{Control, Csr};
use pgrx::pg_sys;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::error::{Code, Result, fail, words};
use crate::fault::point;
use crate::registry::Metric;
use crate::registry::scan::Seen;
use crate::registry::write::{self, LogLine};
use crate::source::{InteractionColumns, Source};
use crate::work::GiveMemoryBack;
use crate::{identity, images, settings};
pub(crate) use guard::{DEPLOYS, DeployChoice};
use holdout::{CUTOFFS, HOLDOUT_USERS, holdout, metrics, score};
pub(crate) use holdout::{HOLDOUTS, HoldoutChoice};
use publish::{Trained, publish};
use running::{Training, read};
pub(crate) use target::same_types;
use target::{Whose, as_owner, create, find, id_types, reuse, take_up};

/// A word of a fixed list, as the value that stands for it.
pub(crate) fn choose<T: Copy>(what: &str, word: &str, choices: &[(&str, T)]) -> Result<T> {
    choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("unrecognized {what} \"{word}\""))
            .set_hint(format!("Valid words are {}.", words(&names)))
    })
}

/// What every trainer of a recommender is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) relation: pg_sys::Oid,
    pub(crate) user_column: String,
    pub(crate) item_column: String,
    pub(crate) value_column: Option<String>,
    pub(crate) time_column: Option<String>,
    pub(crate) holdout: HoldoutChoice,
    pub(crate) deploy: DeployChoice,
    pub(crate) seed: i64,
    pub(crate) keep_versions: Option<i64>,
    /// What the next `retrain` begins with; `relation` is added by name.
    pub(crate) kept: Map<String, Value>,
}

impl Request {
    /// The source as the current user sees it, its columns checked.
    fn open(&self) -> Result<(Source, InteractionColumns)> {
        let source = Source::open(self.relation)?;
        let columns = source.interaction_columns(
            &self.user_column,
            &self.item_column,
            self.value_column.as_deref(),
            self.time_column.as_deref(),
        )?;
        Ok((source, columns))
    }
}

/// What a fit answers.
pub(crate) struct Fitted {
    pub(crate) factors: Factors,
    pub(crate) iterations: usize,
    pub(crate) converged: bool,
    /// Loss after each iteration and the seconds until then.
    pub(crate) losses: Vec<(f64, f64)>,
    /// The settings that were really used.
    pub(crate) regularization: f64,
    pub(crate) alpha: f64,
}

/// An algorithm that factorizes interactions. Runs away from the main thread: no Postgres in it.
pub(crate) trait Factorizer: Sync {
    fn algorithm(&self) -> &'static str;
    fn iterations(&self) -> usize;
    /// Numbers per user and per item.
    fn factors(&self) -> usize;
    /// Memory that a fit of so many users and items takes.
    fn need(&self, users: usize, items: usize) -> Need;
    fn fit(&self, user_items: &Csr, item_users: &Csr, control: &Control) -> algorithms::Result<Fitted>;
    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value>;
}

/// Trains a new version and answers `persona.training_result`.
pub(crate) fn train(
    call: &Call,
    request: &Request,
    factorizer: &dyn Factorizer,
) -> Result<Option<pg_sys::Datum>> {
    // Dropped last, when everything else is freed.
    let _memory = GiveMemoryBack::from_now();
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, factorizer.algorithm(), &control);

    // Whose model: an existing one is trained as its owner, whoever has the right to start it.
    let whose = find(&request.model)?;
    let identity = whose.identity()?;
    let (source, columns) = request.open()?;
    let holdout = holdout(request.holdout, columns.time.is_some())?;
    let mut spec = request.kept.clone();
    spec.insert("relation".into(), Value::String(source.name.clone()));
    spec.extend(id_types(&columns));
    let target = match whose {
        Whose::Known(named, model) => reuse(named, model, &columns, spec)?,
        Whose::Leftover(named, model_id) => take_up(named, model_id, &columns, spec)?,
        Whose::New => create(&request.model, &columns, spec)?,
    };

    let (counts, interactions) = read(&mut training, &source, &columns)?;
    training.expect(&interactions, factorizer, holdout.map(|_| (HOLDOUT_USERS, CUTOFFS.len())))?;
    let threads = settings::max_threads();
    let evaluation = match holdout {
        Some(holdout) => score(&mut training, &interactions, holdout, request.seed, factorizer, &CUTOFFS)?,
        None => Vec::new(),
    };
    let fitted = training.phase("fit", factorizer.iterations(), || {
        factorizer.fit(&interactions.user_items, &interactions.item_users, &control)
    })?;
    for (iteration, &(loss, seconds)) in fitted.losses.iter().enumerate() {
        let loss = loss.is_finite().then_some(loss);
        let iteration = Some(iteration as i32 + 1);
        training.log.push(LogLine { iteration, phase: "fit", loss, validation: None, seconds });
    }

    let image_id = write::new_id()?;
    let image = training.phase("encode", 0, || {
        let parts = Parts {
            users: &interactions.users,
            items: &interactions.items,
            user_items: &interactions.user_items,
            item_users: &interactions.item_users,
            factors: &fitted.factors,
            regularization: fitted.regularization,
            alpha: fitted.alpha,
            user_class: columns.user_class as u8,
            item_class: columns.item_class as u8,
        };
        encode(&parts, *image_id.as_bytes(), threads, &control)
    })?;
    point("encoded");
    let from = Instant::now();
    training.progress.begin("write", 0);
    training.progress.write(0, 0, control.used());
    write::insert_image(image_id, &image)?;
    training.logged("write", from);
    point("written");

    let trained = Trained {
        target,
        counts,
        users: interactions.users.len(),
        items: interactions.items.len(),
        evaluation,
        fitted,
        image_id,
        bytes: image.len(),
    };
    let result = publish(request, factorizer, training, trained)?;
    if result.deployed {
        images::write_through(&image)?;
    }
    point("published");
    drop(identity);
    result.warn();
    result.record(call)
}

/// Measures a request without writing anything: a fit on a split of the rows of now.
pub(crate) fn measure(request: &Request, factorizer: &dyn Factorizer, k: usize) -> Result<Vec<Metric>> {
    let _memory = GiveMemoryBack::from_now();
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, factorizer.algorithm(), &control);
    let (named, _) = identity::model(&request.model, Seen::Statement)?;
    let _identity = as_owner(&named)?;
    let (source, columns) = request.open()?;
    let choice = if request.holdout == HoldoutChoice::None { HoldoutChoice::Auto } else { request.holdout };
    let Some(holdout) = holdout(choice, columns.time.is_some())? else { return Ok(Vec::new()) };
    let (_, interactions) = read(&mut training, &source, &columns)?;
    training.expect(&interactions, factorizer, Some((HOLDOUT_USERS, 1)))?;
    Ok(metrics(&score(&mut training, &interactions, holdout, request.seed, factorizer, &[k])?))
}
