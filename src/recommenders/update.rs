//! `persona.update_model`: a version that follows the rows that changed, without reading all others.

use base::Control;
use base::ids::{IdBuilder, Ids};
use pgrx::pg_sys;
use recommenders::content::Placed;
use recommenders::interactions::{Interactions, InteractionsBuilder, Repeats};
use recommenders::recommender::Recommender;
use recommenders::sgd;
use recommenders::update::{self, Merged, merge, moved, moved_with_squares};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Data, Fitted, Learned, WarmStart};
use super::automatic::settled;
use super::read::content::Content;
use super::read::{Counts, InteractionColumns};
use super::serve::served::recommender;
use super::train::{BEST_EPOCH, NEWEST, add_content, store};
use super::{by_segment, features};
use crate::models::identity::{self, ModelRef, Named};
use crate::models::owned::trained_from;
use crate::models::prune::{self, Keep};
use crate::models::registry::queue::{Changed, Pending};
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Model, Version};
use crate::models::spec::Spec;
use crate::models::train::job::{Fit, Job, Opened, train};
use crate::models::train::{DEPLOYS, Deploy, Finished, MEASURED, Training, UPDATED_FROM, ancestor};
use crate::models::{images, kind};
use crate::pg::access::{Identity, set_local};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::fault::point;
use crate::pg::ids::{base_type, stored_type, type_name};
use crate::pg::names::{literal, quote, shown};
use crate::pg::options::{Options, choose};
use crate::pg::{interval, memory, settings};
use crate::source::{Source, stream};

/// How long before the newest row of the last version rows may have been written that it did not see.
const LATE: &str = "1 hour";

/// The longest such time, in seconds: a century of months of 30 days.
const LATEST: f64 = 36_000.0 * 86_400.0;

/// `persona.update_model(model, options)` of a recommender, whose training lock the caller holds.
pub(crate) fn update(call: &Call, named: Named, model: Model) -> Answer {
    let options = Options::new(call.object(1, "options")?, &["late"])?;
    let live =
        registry::live(model.model_id, Seen::Latest)?.ok_or_else(|| identity::not_deployed(&named))?.version;
    let version = registry::version(model.model_id, Some(live), Seen::Latest)?
        .ok_or_else(|| identity::not_deployed(&named))?;
    let relation = trained_from(&named, &model)?;
    let algorithm = algorithm(&named, relation, &model.spec, &version)?;
    let whom = ModelRef::model(&named, model.model_id);
    let job = UpdateJob {
        named: &named,
        model: &model,
        version: &version,
        relation,
        options: &options,
        algorithm,
        features: [None, None],
    };
    train(call, &whom, &model.spec, job)
}

/// The update of a version.
struct UpdateJob<'a> {
    named: &'a Named,
    model: &'a Model,
    /// The one that is live.
    version: &'a Version,
    relation: pg_sys::Oid,
    options: &'a Options,
    algorithm: Box<dyn Algorithm>,
    features: [Option<Content>; 2],
}

impl Job for UpdateJob<'_> {
    type Opened = InteractionColumns;

    fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    fn open(&mut self) -> Result<(Source, InteractionColumns)> {
        let spec = &self.model.spec;
        let asked = features::asked(&Spec::new(spec).object("options"), &mut Map::new())?;
        let source = Source::open(self.relation)?;
        let text = |key: &str| spec.get(key).and_then(Value::as_str);
        let (user, item) = (text("user_column").unwrap_or_default(), text("item_column").unwrap_or_default());
        let columns = source.interaction_columns(user, item, text("value_column"), text("time_column"))?;
        self.features = features::open(&asked, &columns)?;
        Ok((source, columns))
    }

    fn fit(&mut self, training: &mut Training<'_>, from: &Opened<'_, InteractionColumns>) -> Result<Fit> {
        follow(self, training, from)
    }

    fn deploy(&self) -> Result<Deploy> {
        let spec = Spec::new(&self.model.spec);
        let kept = Options::new(spec.object("options"), kind::trainer(&self.model.spec)?.options)?;
        let word = spec.text("deploy")?.unwrap_or_else(|| "auto".into());
        Ok(Deploy { choice: choose("deploy", &word, &DEPLOYS)?, guarded: true, keep: Keep::of(&kept)? })
    }
}

/// 55000 for a version that does not hold what its update goes on from.
fn check_resumes(job: &UpdateJob<'_>, before: &Recommender<'_>) -> Result<()> {
    let missing = if !before.has_values() {
        "the values that it was trained on"
    } else if job.algorithm.resumes() && before.squares().is_none() {
        "what its training would go on from"
    } else {
        return Ok(());
    };
    let (version, name) = (job.version.version, shown(&job.named.name));
    Err(fail(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("version {version} of model {name} does not hold {missing}"),
    )
    .set_detail("It was trained by an earlier version of pg_persona.")
    .set_hint(format!("Train it once more: SELECT persona.retrain({});", literal(&job.named.name))))
}

/// Reads what changed, merges it with the version that is live, and fits.
fn follow(
    job: &UpdateJob<'_>,
    training: &mut Training<'_>,
    from: &Opened<'_, InteractionColumns>,
) -> Result<Fit> {
    let UpdateJob { named, model, version, options, algorithm, features, .. } = job;
    let (source, target, columns, control) = (from.source, from.target, from.columns, training.control);
    let late = late(columns, options)?;
    let loaded = images::prepare(named, model.model_id, version.image_id, version.version)?;
    let before = recommender(&loaded)?;
    check_resumes(job, &before)?;
    let again = match registry::attached(model.model_id, Seen::Latest)?.is_empty() {
        true => changed(training, (named, version), (source, columns), &late)?,
        false => queued(control, named, columns, &target.pending)?,
    };
    let (counts, fresh) = read(training, source, columns, &again, algorithm.rates())?;
    let threads = settings::max_threads();
    let mut merged = training.phase("merge", 0, || merge(&before, again.view(), &fresh, threads, control))?;
    // What is new of items and users without interactions only their features tell.
    let features = features::read(training, features)?;
    let with_features = features.iter().any(Option::is_some);
    if merged.changed && merged.interactions.user_items.entries() == 0 {
        return Err(base::Error::NoData).or_report();
    }
    let best_epoch =
        version.hyperparameters.get(BEST_EPOCH).and_then(Value::as_u64).map(|epoch| epoch as usize);
    let mut fitted = None;
    if merged.changed || with_features {
        fitted =
            Some(training.phase("fit", 1, || fit(&**algorithm, (&before, best_epoch), &merged, control))?);
    }
    let mut placed = Placed::default();
    if let Some(fitted) = &mut fitted {
        placed = add_content(training, &mut merged.interactions, fitted, features)?;
    }
    let fitted = match fitted {
        Some(fitted) if merged.changed || !same(training, &before, &merged, &fitted)? => fitted,
        _ => return Ok(Fit::Unchanged((*version).clone())),
    };
    let interactions = &merged.interactions;
    let image = store(training, interactions, columns, &fitted, placed.content())?;

    let mut hyperparameters = version.hyperparameters.clone();
    let mark = newest(version).max(columns.newest(fresh.times.as_deref()));
    if let Some(mark) = mark {
        hyperparameters.insert(NEWEST.into(), mark.into());
    }
    hyperparameters.insert(UPDATED_FROM.into(), version.version.into());
    match ancestor(model.model_id, (*version).clone(), prune::LOOK_BACK)? {
        Some(found) => hyperparameters.insert(MEASURED.into(), found.version.version.into()),
        None => hyperparameters.remove(MEASURED),
    };
    features::forget(&mut hyperparameters);
    hyperparameters.extend(features::facts(&placed));
    hyperparameters.insert("users_updated".into(), merged.users.len().into());
    hyperparameters.insert("rows_read_again".into(), counts.rows_read.into());
    Ok(Fit::New(Finished {
        image,
        algorithm: algorithm.name(),
        rows_used: interactions.user_items.entries() as i64,
        rows_skipped: counts.skipped.total() as i64,
        users: Some(interactions.users.len() as i64),
        items: Some(interactions.items.len() as i64),
        iterations: fitted.iterations as i32,
        converged: fitted.converged,
        metric: None,
        value: None,
        baseline: None,
        is_baseline: false,
        metrics: Vec::new(),
        reason: None,
        hyperparameters,
    }))
}

/// What a model learns of what changed. Away from the main thread: no Postgres in it.
fn fit(
    algorithm: &dyn Algorithm,
    (before, best_epoch): (&Recommender<'_>, Option<usize>),
    merged: &Merged,
    control: &Control,
) -> base::Result<Fitted> {
    let (regularization, alpha) = (before.facts.regularization, before.facts.alpha);
    let (factors, squares) = match moved_with_squares(before, merged, control)? {
        Some(sgd::WarmStart { factors, squares }) => (Some(factors), Some(squares)),
        None => (moved(before, merged, control)?, None),
    };
    if !merged.changed {
        let Some(factors) = factors else { return Err(base::Error::NoData) };
        let learned = match squares {
            Some(squares) => Learned::Stochastic(factors, squares),
            None => Learned::Factors(factors),
        };
        let (iterations, converged, losses) = (0, true, Vec::new());
        return Ok(Fitted { learned, iterations, converged, losses, regularization, alpha });
    }
    let Merged { interactions, users, items, .. } = merged;
    let data =
        Data { user_items: &interactions.user_items, item_users: &interactions.item_users, times: None };
    let warm = WarmStart { factors, squares, users, items, regularization, alpha, best_epoch };
    algorithm.update(&data, warm, control)
}

/// Whether what an update came to is the model of before.
fn same(
    training: &mut Training<'_>,
    before: &Recommender<'_>,
    merged: &Merged,
    fitted: &Fitted,
) -> Result<bool> {
    let control = training.control;
    match &fitted.learned {
        Learned::Factors(factors) | Learned::Stochastic(factors, _) => {
            training.phase("compare", 0, || update::same(before, &merged.interactions, factors, control))
        }
        _ => Ok(false),
    }
}

/// The algorithm that a version was trained by, with the settings of then; 0A000 where it cannot follow changes.
fn algorithm(
    named: &Named,
    relation: pg_sys::Oid,
    spec: &Map<String, Value>,
    version: &Version,
) -> Result<Box<dyn Algorithm>> {
    let used = &version.hyperparameters;
    let spec = match settled(spec, used) {
        Some(spec) => spec,
        None => kind::trainer(spec)?.spec_of_version(spec.clone(), used),
    };
    // Of features that a retraining was given once, nothing is kept.
    let once = features::learned(used) && !features::asks(&spec);
    let segments = by_segment::asks(&spec) || by_segment::learned(used);
    let made = match crate::recommenders::kind::of(&spec)?.algorithm {
        Some(make) if !segments && !once => Some(make(named.name.clone().into(), relation, &spec)?),
        _ => None,
    };
    made.filter(|made| made.name() == version.algorithm && made.updates()).ok_or_else(|| {
        let by = if once { ", from features that the model does not name" } else { "" };
        fail(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("model {} cannot follow its rows without a training", shown(&named.name)),
        )
        .set_detail(format!(
            "Version {} was trained by {}{by}. Models without segments can: of ALS, BPR, WARP and other stochastic gradients, EASE in its full form, item-kNN, and popularity without a half-life.",
            version.version, version.algorithm
        ))
        .set_hint(format!("Train it again: SELECT persona.retrain({});", literal(&named.name)))
    })
}

/// The newest time that a version saw, as its column stores it.
fn newest(version: &Version) -> Option<i64> {
    version.hyperparameters.get(NEWEST).and_then(Value::as_i64)
}

/// The part of `persona.max_memory` that the text of the changed users may have: it is an array of the query that reads their
/// rows, and Postgres makes several copies of it.
const PART: u64 = 32;

/// The users that a queue lists, sorted; 55000 if it does not list all, 53200 if they are more than the memory is for.
fn queued(control: &Control, named: &Named, columns: &InteractionColumns, pending: &Pending) -> Result<Ids> {
    let mut ids = IdBuilder::new(columns.user_class.kind(), "users", control);
    let (most, mut bytes, mut count) = (settings::max_memory() / PART, 0, 0);
    let changed = pending.users(&mut |user| {
        if ids.insert_one(columns.user_class.parse(user)?.borrow()).or_report()? == count {
            (bytes, count) = (bytes + user.len() as u64 + 3, count + 1);
        }
        Ok(bytes <= most)
    })?;
    let name = shown(&named.name);
    let (code, message) = match changed {
        Changed::Users => return Ok(ids.finish().or_report()?.ids),
        Changed::Unknown => (
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the queue of model {name} does not know all that changed"),
        ),
        Changed::TooMany => (
            Code::ERRCODE_OUT_OF_MEMORY,
            format!("more users of model {name} changed than \"persona.max_memory\" has room for"),
        ),
    };
    Err(fail(code, message)
        .set_hint(format!("Read everything once: SELECT persona.retrain({});", literal(&named.name))))
}

/// The users whose rows may differ from what the version saw, sorted; 55000 where nothing tells.
fn changed(
    training: &mut Training<'_>,
    (named, version): (&Named, &Version),
    (source, columns): (&Source, &InteractionColumns),
    late: &str,
) -> Result<Ids> {
    let unknown = |message: String, hint: &str| {
        Err(fail(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .set_hint(format!("{hint}SELECT persona.retrain({});", literal(&named.name))))
    };
    let name = shown(&named.name);
    let Some(time) = &columns.time else {
        return unknown(
            format!("nothing tells which rows of model {name} changed"),
            "Train it with a \"time_column\", or read everything: ",
        );
    };
    let Some(mark) = newest(version) else {
        return unknown(
            format!("version {} of model {name} does not say up to which time it has read", version.version),
            "Train it once more: ",
        );
    };
    let since = since(base_type(time.type_oid), mark, version, late);
    let user = quote(&columns.user.name);
    let query = format!(
        "SELECT DISTINCT {user} FROM {} WHERE {} >= {since} AND {user} IS NOT NULL",
        source.name,
        quote(&time.name)
    );
    let mut users = IdBuilder::new(columns.user_class.kind(), "users", training.control);
    training.phase_here("find", |_| {
        stream(&query, &[columns.user.type_oid], &mut |values, _| {
            let id = columns.user_class.read(values[0], columns.user.type_oid)?;
            users.insert_one(id.borrow()).or_report()?;
            Ok(true)
        })
    })?;
    Ok(training.phase("sort users", 0, || users.finish())?.ids)
}

/// The option "late": a whole number for a time of whole numbers, an interval for another.
fn late(columns: &InteractionColumns, options: &Options) -> Result<String> {
    if columns.time.as_ref().is_some_and(|time| base_type(time.type_oid) == pg_sys::INT8OID) {
        return Ok(options.integer("late", 0, i64::MAX)?.unwrap_or(0).to_string());
    }
    let late = options.interval("late")?.unwrap_or_else(|| LATE.into());
    if interval::seconds(&late).is_some_and(|seconds| (0.0..=LATEST).contains(&seconds)) {
        return Ok(late);
    }
    Err(fail(
        Code::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("option \"late\" must be an interval between 0 and 100 years, got \"{late}\""),
    ))
}

/// The time from which on rows are looked at, as SQL: before the newest that was seen, and before the training of the
/// version began, for a row may lie in the future.
fn since(type_oid: pg_sys::Oid, mark: i64, version: &Version, late: &str) -> String {
    if type_oid == pg_sys::INT8OID {
        let from = mark.saturating_sub(late.parse().unwrap_or(0));
        return format!("{}::pg_catalog.int8", literal(&from.to_string()));
    }
    let late = literal(late);
    let micros = |of: &str, n: i64| {
        format!("('2000-01-01 00:00:00+00'::pg_catalog.{of} + {n} * '1 microsecond'::pg_catalog.interval)")
    };
    // When its training began, and before it read.
    let ended = i64::from(version.trained_at);
    let trained = micros("timestamptz", ended.saturating_sub((version.seconds * 1e6) as i64));
    match type_oid {
        pg_sys::TIMESTAMPTZOID => {
            format!("LEAST({}, {trained}) - {late}::pg_catalog.interval", micros("timestamptz", mark))
        }
        pg_sys::DATEOID => format!(
            "LEAST('2000-01-01'::pg_catalog.date + {mark}, {trained}::pg_catalog.date) - {late}::pg_catalog.interval"
        ),
        _ => format!(
            "LEAST({}, {trained}::pg_catalog.timestamp) - {late}::pg_catalog.interval",
            micros("timestamp", mark)
        ),
    }
}

/// Users between two looks at interrupts.
const LOOK: u32 = 4096;

/// Copies of the array of users that are made here.
const COPIES: usize = 4;

/// Bytes of the text of an array of these users, about: numbers and uuids are shorter in memory than as digits.
fn array_bytes(users: &Ids) -> usize {
    users.bytes() as usize * 3 + users.len() * 4
}

/// All rows of these users, as they are now.
fn read(
    training: &mut Training<'_>,
    source: &Source,
    columns: &InteractionColumns,
    users: &Ids,
    rates: bool,
) -> Result<(Counts, Interactions)> {
    let control = training.control;
    let (user, item) = (columns.user_class, columns.item_class);
    let builder = InteractionsBuilder::new(user.kind(), item.kind(), columns.time.is_some(), control);
    let mut builder = builder.repeats(if rates { Repeats::Newest } else { Repeats::Sum });
    let mut counts = Counts::default();
    let threads = settings::max_threads();
    if !users.is_empty() {
        let mut array = String::from("{");
        memory::reserve(COPIES * array_bytes(users), "the query of the changed users")?;
        for at in 0..users.len() as u32 {
            let Some(id) = users.view().get(at) else { continue };
            if at % LOOK == 0 {
                memory::interrupts();
            }
            let separator = if at == 0 { "\"" } else { ",\"" };
            array.push_str(separator);
            array.push_str(&user.text(id).replace('\\', "\\\\").replace('"', "\\\""));
            array.push('"');
        }
        array.push('}');
        let of_users = type_name(base_type(columns.user.type_oid));
        // A constant array: the planner knows how many rows it finds, and takes one pass over the pages that an index
        // names or one over all of them. By a join with the unnested array, many users took a scan of the index each.
        let clause = format!(
            "WHERE {} = ANY ({}::{}[])",
            quote(&columns.user.name),
            literal(&array),
            stored_type(&of_users)
        );
        let _path = Identity::pinned_path();
        // To compile so short a query takes longer than it saves.
        set_local("jit", "off");
        (counts, builder) = training.phase_here("read", |progress| {
            let mut report = |rows| progress.read(rows, control.used());
            source.read_with(columns, &clause, builder, control, threads, rates, &mut report)
        })?;
    }
    point("read");
    let interactions = training.phase("sort", 0, || builder.finish(threads))?;
    Ok((counts, interactions))
}
