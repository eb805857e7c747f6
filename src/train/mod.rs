//! What all trainers of recommenders share: whose model it is, reading, the holdout, the deploy guard, and
//! writing a version. One transaction a version, all or nothing.

mod guard;
mod holdout;
mod running;
mod target;

use std::time::Instant;

use algorithms::als::Factors;
use algorithms::recommender::{Parts, encode};
use algorithms::{Control, Csr};
use pgrx::{JsonB, pg_sys};
use serde_json::{Map, Value};

use crate::call::{Call, datum};
use crate::deploy::{self, KEEP_VERSIONS};
use crate::error::{Code, Result, fail, words};
use crate::ids::type_name;
use crate::registry::scan::Seen;
use crate::registry::write::{self, LogLine, NewVersion};
use crate::registry::{self, Metric};
use crate::source::Source;
use crate::{identity, locks, notice, settings};
pub(crate) use guard::{DEPLOYS, DeployChoice};
use guard::{GUARD_CUTOFF, decide};
use holdout::{CUTOFFS, figure, holdout, metrics, score};
pub(crate) use holdout::{HOLDOUTS, HoldoutChoice};
use running::{Training, read};
use target::{as_owner, create, find, reuse};

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
    /// Everything that `retrain` needs to ask the same again; `relation` is added by name.
    pub(crate) spec: Map<String, Value>,
}

/// What a fit answers.
pub(crate) struct Fitted {
    pub(crate) factors: Factors,
    /// Bytes of the factors, taken from the budget.
    pub(crate) bytes: u64,
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
    fn fit(&self, user_items: &Csr, item_users: &Csr, control: &Control) -> algorithms::Result<Fitted>;
    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value>;
}

/// Trains a new version and answers `persona.training_result`.
pub(crate) fn train(
    call: &Call,
    request: &Request,
    factorizer: &dyn Factorizer,
) -> Result<Option<pg_sys::Datum>> {
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, factorizer.algorithm(), &control);

    // Whose model: an existing one is trained as its owner, whoever has the right to start it.
    let existing = find(&request.model)?;
    let mut identity = None;
    if let Some((named, _)) = &existing {
        identity = as_owner(named.relation);
    }
    let source = Source::open(request.relation)?;
    let columns = source.interaction_columns(
        &request.user_column,
        &request.item_column,
        request.value_column.as_deref(),
        request.time_column.as_deref(),
    )?;
    let holdout = holdout(request.holdout, columns.time.is_some())?;
    let mut spec = request.spec.clone();
    spec.insert("relation".into(), Value::String(source.name.clone()));
    spec.insert("user_type".into(), Value::String(type_name(columns.user.type_oid)));
    spec.insert("item_type".into(), Value::String(type_name(columns.item.type_oid)));
    let target = match existing {
        Some((named, model)) => reuse(named, model, spec)?,
        None => create(&request.model, &columns, spec)?,
    };

    let (counts, interactions) = read(&mut training, &source, &columns)?;
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
    let from = Instant::now();
    training.progress.phase = "write";
    training.progress.write(0, 0, control.used());
    write::insert_image(image_id, &image)?;
    training.logged("write", from);

    // From here on the deployment log is ours until the transaction ends.
    locks::deploying(target.relation)?;
    let guard = evaluation.iter().find(|each| each.k == GUARD_CUTOFF);
    let value = guard.map(|guard| figure(guard.model.ndcg.mean));
    let baseline = guard.map(|guard| figure(guard.popularity.ndcg.mean));
    let metric = guard.map(|_| format!("ndcg@{GUARD_CUTOFF}"));
    let newest = registry::version(target.model_id, None, Seen::Latest)?;
    let version = newest.map_or(1, |newest| newest.version + 1);
    let live = match registry::live(target.model_id, Seen::Latest)? {
        Some(live) => registry::version(target.model_id, Some(live.version), Seen::Latest)?,
        None => None,
    };
    let live_value = live.as_ref().and_then(|live| live.value.filter(|_| live.metric == metric));
    let (deployed, deploy_reason) = decide(request.deploy, live.as_ref(), value, baseline, live_value);
    let seconds = training.started.elapsed().as_secs_f64();
    let rows_skipped = counts.skipped.total() as i64;
    let rows_used = counts.rows_read as i64 - rows_skipped;
    let mut hyperparameters = factorizer.hyperparameters(&fitted);
    hyperparameters.insert("rows_with_null".into(), counts.skipped.null.into());
    hyperparameters.insert("rows_not_finite".into(), counts.skipped.not_finite.into());
    hyperparameters.insert("rows_not_positive".into(), counts.skipped.not_positive.into());
    write::insert_version(NewVersion {
        model_id: target.model_id,
        version,
        image_id,
        algorithm: factorizer.algorithm(),
        rows_used,
        rows_skipped,
        users: interactions.users.len() as i64,
        items: interactions.items.len() as i64,
        iterations: fitted.iterations as i32,
        converged: fitted.converged,
        metric: metric.clone(),
        value,
        baseline,
        live_value,
        seconds,
        bytes: image.len() as i64,
        deploy_reason: deploy_reason.clone(),
        hyperparameters: JsonB(Value::Object(hyperparameters)),
    })?;
    write::insert_metrics(target.model_id, version, &metrics(&evaluation))?;
    write::insert_log(target.model_id, version, &training.log)?;
    if deployed {
        deploy::publish(target.model_id, version, image_id, "train")?;
    }
    deploy::prune(target.model_id, request.keep_versions.unwrap_or(KEEP_VERSIONS))?;
    drop(identity);
    if let (Some(value), Some(baseline)) = (value, baseline)
        && deployed
        && value < baseline
    {
        notice::warning(
            &format!(
                "model \"{}\" is live although it ranks below popularity ({value:.4} against {baseline:.4})",
                target.name
            ),
            "Train on more interactions, or try other settings.",
        );
    }
    call.record(&[
        datum(target.name),
        datum(version),
        datum(factorizer.algorithm()),
        datum(rows_used),
        datum(rows_skipped),
        datum(fitted.iterations as i32),
        datum(fitted.converged),
        metric.and_then(datum),
        value.and_then(datum),
        baseline.and_then(datum),
        live_value.and_then(datum),
        datum(seconds),
        datum(deployed),
        datum(deploy_reason),
    ])
}

/// Measures a request without writing anything: a fit on a split of the rows of now.
pub(crate) fn measure(request: &Request, factorizer: &dyn Factorizer, k: usize) -> Result<Vec<Metric>> {
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, factorizer.algorithm(), &control);
    let (named, _) = identity::model(&request.model)?;
    let _identity = as_owner(named.relation);
    let source = Source::open(request.relation)?;
    let columns = source.interaction_columns(
        &request.user_column,
        &request.item_column,
        request.value_column.as_deref(),
        request.time_column.as_deref(),
    )?;
    let choice = if request.holdout == HoldoutChoice::None { HoldoutChoice::Auto } else { request.holdout };
    let Some(holdout) = holdout(choice, columns.time.is_some())? else { return Ok(Vec::new()) };
    let (_, interactions) = read(&mut training, &source, &columns)?;
    Ok(metrics(&score(&mut training, &interactions, holdout, request.seed, factorizer, &[k])?))
}
