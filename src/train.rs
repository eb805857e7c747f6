//! What all trainers of recommenders share: whose model it is, reading, the holdout, the deploy guard, and
//! writing a version. One transaction a version, all or nothing.

use std::time::Instant;

use algorithms::als::Factors;
use algorithms::evaluate::{Evaluation, evaluate};
use algorithms::interactions::{Holdout, Interactions, InteractionsBuilder, split};
use algorithms::recommender::{Parts, encode};
use algorithms::{Control, Csr};
use pgrx::{JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use crate::access::{self, Identity};
use crate::call::{Call, datum};
use crate::deploy::{self, KEEP_VERSIONS};
use crate::error::{Code, OrReport, Result, fail, words};
use crate::identity;
use crate::ids::type_name;
use crate::locks;
use crate::notice;
use crate::outputs;
use crate::progress::Progress;
use crate::registry::scan::Seen;
use crate::registry::write::{self, LogLine, NewVersion};
use crate::registry::{self, Metric, Model, Version};
use crate::settings;
use crate::source::{Counts, InteractionColumns, Source};
use crate::work;

/// Users that a holdout samples at most.
pub(crate) const HOLDOUT_USERS: usize = 10_000;

/// Cutoffs whose metrics are stored with a version.
pub(crate) const CUTOFFS: [usize; 5] = [1, 5, 10, 20, 50];

/// What decides between versions: nDCG at this cutoff.
const GUARD_CUTOFF: usize = 10;

/// How much lower than the live version's value a new one may be and still go live.
const GUARD_MARGIN: f64 = 0.02;

/// Which rows score a first fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldoutChoice {
    Auto,
    Time,
    Hash,
    None,
}

/// Whether the new version goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeployChoice {
    Auto,
    Always,
    Never,
}

/// A word of a fixed list, as the value that stands for it.
pub(crate) fn choose<T: Copy>(what: &str, word: &str, choices: &[(&str, T)]) -> Result<T> {
    choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("unrecognized {what} \"{word}\""))
            .set_hint(format!("Valid words are {}.", words(&names)))
    })
}

/// The words of `holdout`.
pub(crate) const HOLDOUTS: [(&str, HoldoutChoice); 4] = [
    ("auto", HoldoutChoice::Auto),
    ("time", HoldoutChoice::Time),
    ("hash", HoldoutChoice::Hash),
    ("none", HoldoutChoice::None),
];

/// The words of `deploy`.
pub(crate) const DEPLOYS: [(&str, DeployChoice); 3] =
    [("auto", DeployChoice::Auto), ("always", DeployChoice::Always), ("never", DeployChoice::Never)];

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

/// Where the version goes: the model found or made.
struct Target {
    relation: pg_sys::Oid,
    model_id: Uuid,
    name: String,
}

/// A running training.
struct Training<'a> {
    control: &'a Control,
    progress: Progress,
    started: Instant,
    log: Vec<LogLine>,
}

impl<'a> Training<'a> {
    fn start(model: &str, algorithm: &'static str, control: &'a Control) -> Training<'a> {
        let progress = Progress::start(model, algorithm);
        Training { control, progress, started: Instant::now(), log: Vec::new() }
    }

    /// Runs a phase of long work away from the main thread and logs its time.
    fn phase<T: Send>(
        &mut self,
        phase: &'static str,
        iterations: usize,
        body: impl FnOnce() -> algorithms::Result<T> + Send,
    ) -> Result<T> {
        let from = Instant::now();
        self.progress.phase = phase;
        self.progress.iterations = iterations;
        self.control.start(0);
        let control = self.control;
        let progress = &self.progress;
        let tick = || {
            let (done, total) = control.progress();
            progress.write(done, total, control.used());
        };
        let answer = work::run(control, tick, body)?;
        self.logged(phase, from);
        Ok(answer)
    }

    fn logged(&mut self, phase: &'static str, from: Instant) {
        let seconds = from.elapsed().as_secs_f64();
        notice::verbose(&format!("{phase}: {seconds:.3} s, {} MB", self.control.used() >> 20));
        self.log.push(LogLine { iteration: None, phase, loss: None, validation: None, seconds });
    }
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
        access::require_owner(named.relation, &named.name)?;
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

/// The model of a name, if there is one; takes its training lock, or that of the name.
fn find(name: &str) -> Result<Option<(identity::Named, Model)>> {
    let look = || -> Result<Option<(identity::Named, Model)>> {
        let Some(named) = identity::lookup(name)? else { return Ok(None) };
        let model = registry::model_by_relation(named.relation, Seen::Latest)?;
        Ok(model.map(|model| (named, model)))
    };
    if look()?.is_none() {
        locks::creating(&identity::place(name)?)?;
    }
    // Somebody may have made it between the look and the lock.
    let found = look()?;
    if let Some((named, _)) = &found {
        locks::training(named.relation, &named.name)?;
    }
    Ok(found)
}

/// A further version of an existing model.
fn reuse(named: identity::Named, model: Model, spec: Map<String, Value>) -> Result<Target> {
    if model.kind != "recommender" {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model \"{}\" is a {}, not a recommender", named.name, model.kind),
        )
        .set_hint("Choose another name, or remove the model with persona.drop_model()."));
    }
    for (key, role) in [("user_type", "users"), ("item_type", "items")] {
        if model.spec.get(key) != spec.get(key) {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("unknown").to_string();
            return Err(fail(
                Code::ERRCODE_DATATYPE_MISMATCH,
                format!("model \"{}\" has {role} of another id type", named.name),
            )
            .set_detail(format!("It was made for {}, now the column has {}.", text(model.spec.get(key)), text(spec.get(key))))
            .set_hint("Its typed functions cannot change; remove the model with persona.drop_model() and train again."));
        }
    }
    let name = identity::qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    write::update_model(model.model_id, &name, JsonB(Value::Object(spec)))?;
    Ok(Target { relation: named.relation, model_id: model.model_id, name: named.name })
}

/// A new model: its view and typed functions are made before the first row is read, so that a name or a
/// privilege that is missing shows at once.
fn create(name: &str, columns: &InteractionColumns, spec: Map<String, Value>) -> Result<Target> {
    write::sweep()?;
    let place = identity::place(name)?;
    let model_id = write::new_id()?;
    let relation = outputs::create_view(&place, model_id, "recommender")?;
    outputs::create_recommender_functions(&place, columns.user.type_oid, columns.item.type_oid)?;
    write::insert_model(model_id, relation, &place.beside(""), "recommender", JsonB(Value::Object(spec)))?;
    Ok(Target { relation, model_id, name: name.to_string() })
}

fn read(
    training: &mut Training<'_>,
    source: &Source,
    columns: &InteractionColumns,
) -> Result<(Counts, Interactions)> {
    let from = Instant::now();
    let control = training.control;
    let progress = &mut training.progress;
    progress.phase = "read";
    let mut builder = InteractionsBuilder::new(
        columns.user_class.kind(),
        columns.item_class.kind(),
        columns.time.is_some(),
        control,
    );
    let mut last = Instant::now();
    let counts = source.read(columns, &mut builder, &mut |rows| {
        // The clock is read once in a batch of 1024 rows.
        if last.elapsed().as_millis() >= 100 {
            last = Instant::now();
            progress.rows_read = rows;
            progress.write(0, 0, control.used());
        }
    })?;
    progress.rows_read = counts.rows_read;
    training.logged("read", from);
    let interactions = training.phase("sort", 0, || builder.finish())?;
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

/// The holdout that a word means for this data.
pub(crate) fn holdout(choice: HoldoutChoice, has_time: bool) -> Result<Option<Holdout>> {
    match choice {
        HoldoutChoice::None => Ok(None),
        HoldoutChoice::Hash => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Auto if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Auto => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Time if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Time => {
            Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "holdout \"time\" needs a time column")
                .set_hint("Name it in \"time_column\", or use holdout \"hash\"."))
        }
    }
}

/// Fits on all but the held-out rows and measures on those.
fn score(
    training: &mut Training<'_>,
    interactions: &Interactions,
    holdout: Holdout,
    seed: i64,
    factorizer: &dyn Factorizer,
    cutoffs: &[usize],
) -> Result<Vec<Evaluation>> {
    let control = training.control;
    let items = interactions.items.len();
    let transposed = interactions.user_items.entries() as u64 * 8;
    let (split, item_users) = training.phase("split", 0, || {
        let split = split(interactions, holdout, seed as u64, HOLDOUT_USERS, control)?;
        control.take(transposed, "holding rows out", "Train with holdout \"none\".")?;
        let item_users = split.train.transpose(items);
        Ok((split, item_users))
    })?;
    if split.users.is_empty() {
        return Ok(Vec::new());
    }
    let fitted = training.phase("holdout fit", factorizer.iterations(), || {
        factorizer.fit(&split.train, &item_users, control)
    })?;
    let counts: Vec<u32> = item_users.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as u32).collect();
    let threads = settings::max_threads();
    let evaluation = training
        .phase("evaluate", 0, || evaluate(&split, &counts, &fitted.factors, cutoffs, threads, control))?;
    control.give(split.bytes() + transposed + fitted.bytes);
    Ok(evaluation)
}

/// Measures a request without writing anything: a fit on a split of the rows of now.
pub(crate) fn measure(request: &Request, factorizer: &dyn Factorizer, k: usize) -> Result<Vec<Metric>> {
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, factorizer.algorithm(), &control);
    let Some((named, _)) = find(&request.model)? else { return Err(identity::no_model(&request.model)) };
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

/// Acts as the owner of a model where that is somebody else.
fn as_owner(relation: pg_sys::Oid) -> Option<Identity> {
    let owner = access::owner_of(relation);
    // SAFETY: the current user is set in every backend.
    let other = owner != unsafe { pg_sys::GetUserId() };
    other.then(|| Identity::become_user(owner, true))
}

/// A mean as people read it: sums are exact to 3e-14, so twelve decimals are the figure's own.
fn figure(mean: f64) -> f64 {
    (mean * 1e12).round() / 1e12
}

/// The figures of an evaluation as rows of the registry.
pub(crate) fn metrics(evaluation: &[Evaluation]) -> Vec<Metric> {
    let mut rows = Vec::new();
    for each in evaluation {
        let (model, popularity, k) = (&each.model, &each.popularity, each.k);
        let pairs = [
            ("precision", model.precision, popularity.precision),
            ("recall", model.recall, popularity.recall),
            ("ndcg", model.ndcg, popularity.ndcg),
            ("map", model.map, popularity.map),
            ("hit_rate", model.hit_rate, popularity.hit_rate),
        ];
        for (metric, value, baseline) in pairs {
            let interval = value.interval();
            rows.push(Metric {
                slice: "all".into(),
                metric: format!("{metric}@{k}"),
                k: k as i32,
                value: Some(figure(value.mean)),
                baseline: Some(figure(baseline.mean)),
                ci_low: interval.map(|(low, _)| figure(low.max(0.0))),
                ci_high: interval.map(|(_, high)| figure(high.min(1.0))),
                users: model.users as i64,
            });
        }
        rows.push(Metric {
            slice: "all".into(),
            metric: format!("coverage@{k}"),
            k: k as i32,
            value: Some(model.coverage),
            baseline: Some(popularity.coverage),
            ci_low: None,
            ci_high: None,
            users: model.users as i64,
        });
    }
    rows
}

/// The deploy guard: whether the new version goes live, and why.
fn decide(
    choice: DeployChoice,
    live: Option<&Version>,
    value: Option<f64>,
    baseline: Option<f64>,
    live_value: Option<f64>,
) -> (bool, String) {
    let Some(live) = live else {
        return match choice {
            DeployChoice::Never => (false, "deploy is never".into()),
            _ => (true, "first version".into()),
        };
    };
    match choice {
        DeployChoice::Never => (false, "deploy is never".into()),
        DeployChoice::Always => (true, "deploy is always".into()),
        DeployChoice::Auto => match (value, baseline, live_value) {
            (Some(value), Some(baseline), _) if value <= baseline => {
                (false, format!("not above popularity: {value:.4} against {baseline:.4}"))
            }
            (Some(value), _, Some(live_value)) if value < live_value * (1.0 - GUARD_MARGIN) => (
                false,
                format!("more than 2 % below version {}: {value:.4} against {live_value:.4}", live.version),
            ),
            (Some(value), _, Some(live_value)) => {
                (true, format!("not worse than version {}: {value:.4} against {live_value:.4}", live.version))
            }
            _ => (true, format!("nothing to compare with version {}", live.version)),
        },
    }
}
