//! Trainers of recommenders: reading interactions, the holdout, and a factorization that becomes a version.

use algorithms::als::Factors;
use algorithms::estimate::{Need, Plan, estimate};
use algorithms::interactions::{Interactions, InteractionsBuilder};
use algorithms::recommender::{Parts, encode};
use algorithms::{Control, Csr};
use pgrx::pg_sys;
use serde_json::{Map, Value};

use super::guard::GUARD_CUTOFF;
use super::holdout::{CUTOFFS, HOLDOUT_USERS, HoldoutChoice, figure, holdout, metrics, score};
use super::target::{Beside, IdType, as_owner};
use super::{Deploy, DeployChoice, Finished, Training, begin};
use crate::call::Call;
use crate::error::{Code, OrReport, Result, fail};
use crate::fault::point;
use crate::identity::{self, Named, Place};
use crate::ids::type_name;
use crate::registry::scan::Seen;
use crate::registry::write::{self, LogLine};
use crate::registry::{Metric, Output};
use crate::source::{Counts, InteractionColumns, Source};
use crate::work::GiveMemoryBack;
use crate::{notice, outputs, settings};

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

impl Beside for InteractionColumns {
    fn kind(&self) -> &'static str {
        "recommender"
    }

    fn id_types(&self) -> Vec<IdType> {
        vec![
            IdType { key: "user_type", role: "users", name: type_name(self.user.type_oid) },
            IdType { key: "item_type", role: "items", name: type_name(self.item.type_oid) },
        ]
    }

    fn create(&self, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        outputs::create_recommender_functions(place, self.user.type_oid, self.item.type_oid)?;
        Ok(Vec::new())
    }

    fn take_up(&self, named: &Named, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        let functions = outputs::functions(named.relation)?;
        if functions.is_empty() {
            return self.create(place);
        }
        if outputs::fit(&functions, self.user.type_oid, self.item.type_oid) {
            return Ok(Vec::new());
        }
        Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!("the functions beside {} have other id types", identity::shown(&named.name)),
        )
        .set_detail(format!("There is {}.", functions.join(", ")))
        .set_hint("Drop them, or train from columns of these types."))
    }
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
    let (target, (source, columns), identity) = begin(&request.model, &request.kept, || {
        let (source, columns) = request.open()?;
        // Wrong words are told before anything is made.
        holdout(request.holdout, columns.time.is_some())?;
        Ok((source, columns))
    })?;
    let holdout = holdout(request.holdout, columns.time.is_some())?;
    let (counts, interactions) = read(&mut training, &source, &columns)?;
    expect(&control, &interactions, factorizer, holdout.map(|_| (HOLDOUT_USERS, CUTOFFS.len())))?;
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
    training.store(image_id, &image)?;

    // What was learned is in the image: its memory goes back before the image is written to a file, too.
    let (users, items) = (interactions.users.len() as i64, interactions.items.len() as i64);
    drop(interactions);
    let guard = evaluation.iter().find(|each| each.k == GUARD_CUTOFF);
    let mut hyperparameters = factorizer.hyperparameters(&fitted);
    hyperparameters.insert("rows_with_null".into(), counts.skipped.null.into());
    hyperparameters.insert("rows_not_finite".into(), counts.skipped.not_finite.into());
    hyperparameters.insert("rows_not_positive".into(), counts.skipped.not_positive.into());
    let rows_skipped = counts.skipped.total() as i64;
    let finished = Finished {
        image_id,
        image: &image,
        algorithm: factorizer.algorithm(),
        rows_used: counts.rows_read as i64 - rows_skipped,
        rows_skipped,
        users: Some(users),
        items: Some(items),
        iterations: fitted.iterations as i32,
        converged: fitted.converged,
        metric: guard.map(|_| format!("ndcg@{GUARD_CUTOFF}")),
        value: guard.map(|guard| figure(guard.model.ndcg.mean)),
        baseline: guard.map(|guard| figure(guard.popularity.ndcg.mean)),
        metrics: metrics(&evaluation),
        hyperparameters,
    };
    drop(fitted);
    let deploy = Deploy { choice: request.deploy, guarded: true, keep_versions: request.keep_versions };
    let result = finished.publish(training, target, deploy, &mut |_, _| Ok(()))?;
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
    expect(&control, &interactions, factorizer, Some((HOLDOUT_USERS, 1)))?;
    Ok(metrics(&score(&mut training, &interactions, holdout, request.seed, factorizer, &[k])?))
}

/// 53200 where what follows on the interactions will need more memory than is allowed, and what to lower.
fn expect(
    control: &Control,
    interactions: &Interactions,
    factorizer: &dyn Factorizer,
    holdout: Option<(usize, usize)>,
) -> Result<()> {
    let fit = factorizer.need(interactions.users.len(), interactions.items.len());
    let (factors, threads) = (factorizer.factors(), settings::max_threads());
    let need = estimate(interactions, &Plan { factors, fit, threads, holdout });
    let task = "the training";
    let advice = "Use fewer \"factors\" or read fewer rows.";
    control.expect(need.training, task, advice).or_report()?;
    let advice = "Use fewer \"factors\", read fewer rows, or train with holdout \"none\".";
    control.expect(need.holdout, task, advice).or_report()
}

/// Reads the interactions and sorts them; 02000 where nothing is left to learn from.
fn read(
    training: &mut Training<'_>,
    source: &Source,
    columns: &InteractionColumns,
) -> Result<(Counts, Interactions)> {
    let control = training.control;
    let builder = InteractionsBuilder::new(
        columns.user_class.kind(),
        columns.item_class.kind(),
        columns.time.is_some(),
        control,
    );
    let threads = settings::max_threads();
    let (counts, builder) = training.phase_here("read", |progress| {
        let mut report = |rows| progress.read(rows, control.used());
        let read = source.read(columns, builder, control, threads, &mut report)?;
        progress.rows_read = read.0.rows_read;
        Ok(read)
    })?;
    point("read");
    let interactions = training.phase("sort", 0, || builder.finish(threads))?;
    point("sorted");
    if interactions.user_items.entries() == 0 {
        let skipped = counts.skipped;
        return Err(Err::<(), _>(algorithms::Error::NoData).or_report().unwrap_err().set_detail(format!(
            "{} rows were read from {}; skipped were {} with NULL, {} not finite and {} not above 0.",
            counts.rows_read, source.name, skipped.null, skipped.not_finite, skipped.not_positive
        )));
    }
    notice::verbose(&format!(
        "{} rows, {} users, {} items, peak {} MB",
        counts.rows_read,
        interactions.users.len(),
        interactions.items.len(),
        control.peak() >> 20
    ));
    Ok((counts, interactions))
}
