//! Trainers of recommenders: reading interactions, the holdout, and a factorization that becomes a version.

use base::Control;
use base::need::Need;
use pgrx::pg_sys;
use recommenders::content::{Content, Placed, place};
use recommenders::estimate::{Plan, estimate};
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, Repeats};
use recommenders::recommender::{Encoded, Parts};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Data, Fitted, Learned};
use super::figures::{CUTOFFS, Scored};
use super::holdout::{HOLDOUT_USERS, Prepared, Times, holdout};
use super::popularity::POPULARITY;
use super::read::content::Read;
use super::read::{Counts, InteractionColumns};
use super::request::{Request, Trains};
use super::selection::{FixedSelection, Selection, SelectionContext};
use super::{WORD, by_segment, features, functions};
use crate::models::identity::{ModelRef, Named, Place};
use crate::models::registry::Output;
use crate::models::registry::write::{self, LogLine};
use crate::models::train::guard::SPLIT;
use crate::models::train::job::{self, Fit, Job, Opened};
use crate::models::train::target::{IdType, Outputs};
use crate::models::train::{Deploy, Finished, Published, Stored, Training};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::fault::point;
use crate::pg::ids::type_name;
use crate::pg::names::shown;
use crate::pg::{notice, settings};
use crate::source::{Groups, Source};

/// Whether a fit keeps the memory: what it takes, and its factors.
pub(crate) type Fits<'a> = &'a dyn Fn(Need, usize) -> base::Result<()>;

/// The fact of a version that says after how many iterations held-out rows ended its training.
pub(crate) const BEST_EPOCH: &str = "best_epoch";

/// The fact of a version that says up to which time it has seen rows, as the time column stores it.
pub(crate) const NEWEST: &str = "newest_time";

impl Outputs for InteractionColumns {
    fn kind(&self) -> &'static str {
        WORD
    }

    fn id_types(&self) -> Vec<IdType> {
        vec![
            IdType { key: "user_type", role: "users", name: type_name(self.user.type_oid) },
            IdType { key: "item_type", role: "items", name: type_name(self.item.type_oid) },
        ]
    }

    fn create(&self, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        functions::create_recommender_functions(place, self.user.type_oid, self.item.type_oid)?;
        Ok(Vec::new())
    }

    fn take_up(&self, named: &Named, place: &Place) -> Result<Vec<(Output, pg_sys::Oid)>> {
        let functions = functions::functions(named.relation)?;
        if functions.is_empty() {
            return self.create(place);
        }
        if functions::fit(&functions, self.user.type_oid, self.item.type_oid) {
            return Ok(Vec::new());
        }
        Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!("the functions beside {} have other id types", shown(&named.name)),
        )
        .set_detail(format!("There is {}.", functions.join(", ")))
        .set_hint("Drop them, or train from columns of these types."))
    }
}

/// Trains from a spec: what the trainer was given, or what `retrain` made of the kept one.
pub(crate) fn run<A: Trains>(
    call: &Call,
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    kept: Map<String, Value>,
) -> Answer {
    let (request, algorithm) = A::parse(model, relation, &spec, kept)?;
    train(call, &request, Box::new(FixedSelection(Box::new(algorithm))))
}

/// Trains for the first time from what a trainer was given.
pub(crate) fn train_first<A: Trains>(call: &Call, spec: Map<String, Value>) -> Answer {
    run::<A>(call, call.required_text(0, "model")?.into(), call.required(1, "relation")?, spec.clone(), spec)
}

/// The algorithm that a spec asks for.
pub(crate) fn algorithm<A: Trains>(
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: &Map<String, Value>,
) -> Result<Box<dyn Algorithm>> {
    Ok(Box::new(A::parse(model, relation, spec, Map::new())?.1))
}

/// Trains a new version and answers `persona.training_result`.
pub(crate) fn train(call: &Call, request: &Request, choose: Box<dyn Selection>) -> Answer {
    let name = choose.name();
    let job = RecommenderJob { request, name, choose: Some(choose), features: [None, None], segments: None };
    job::train(call, &request.model, &request.kept, job)
}

/// The training of a request.
struct RecommenderJob<'a> {
    request: &'a Request,
    name: &'static str,
    /// Taken by the fit.
    choose: Option<Box<dyn Selection>>,
    features: [Option<crate::recommenders::read::content::Content>; 2],
    segments: Option<Groups>,
}

impl Job for RecommenderJob<'_> {
    type Opened = InteractionColumns;

    fn algorithm(&self) -> &'static str {
        self.name
    }

    fn open(&mut self) -> Result<(Source, InteractionColumns)> {
        let request = self.request;
        let (source, columns) = request.open()?;
        self.features = features::open(&request.features, &columns)?;
        self.segments = request.segments.as_ref().map(|asked| asked.open(&columns)).transpose()?;
        // Wrong words are told before anything is made.
        holdout(request.holdout, columns.time.is_some())?;
        Ok((source, columns))
    }

    fn fit(&mut self, training: &mut Training<'_>, from: &Opened<'_, InteractionColumns>) -> Result<Fit> {
        let Some(choose) = self.choose.take() else { return Err(base::Error::NoData).or_report() };
        let features = std::mem::take(&mut self.features);
        learn(self.request, choose, (features, self.segments.take()), training, from).map(Fit::New)
    }

    fn deploy(&self) -> Result<Deploy> {
        Ok(Deploy { choice: self.request.deploy, guarded: true, keep: self.request.keep })
    }

    fn tell(&self, result: &Published) {
        result.warn();
    }
}

/// Reads, chooses, fits and stores.
fn learn(
    request: &Request,
    choose: Box<dyn Selection>,
    (features, segments): ([Option<crate::recommenders::read::content::Content>; 2], Option<Groups>),
    training: &mut Training<'_>,
    from: &Opened<'_, InteractionColumns>,
) -> Result<Finished> {
    let (source, columns, control) = (from.source, from.columns, training.control);
    let holdout = holdout(request.holdout, columns.time.is_some())?;
    let (counts, mut interactions) = read(training, source, columns, choose.rates())?;
    let features = features::read(training, &features)?;
    let segments = match (&request.segments, &segments) {
        (Some(asked), Some(groups)) => Some((by_segment::read(training, groups, &interactions)?, asked.own)),
        _ => None,
    };
    let times = choose.wants_times();
    choose.expect(control, &interactions, holdout.is_some())?;
    let mut prepared = Vec::new();
    if let Some(holdout) = holdout {
        let splits = if holdout == Holdout::Hash { choose.splits(interactions.users.len()) } else { 1 };
        for split in 0..i64::from(splits) {
            let seed = request.seed.wrapping_add(split);
            prepared.extend(Prepared::new(training, &interactions, holdout, seed, (times, columns.day()))?);
        }
    }
    let mut scene =
        SelectionContext { training, interactions: &interactions, prepared, day: columns.day(), segments };
    let chosen = choose.choose(&mut scene)?;
    drop(scene);
    let algorithm = &*chosen.algorithm;
    if let Some((remark, detail)) = algorithm.remark() {
        notice::notice(&remark, &detail);
    }
    let times = interactions.times.as_deref().filter(|_| algorithm.wants_times());
    let data = Data {
        user_items: &interactions.user_items,
        item_users: &interactions.item_users,
        times: times.map(|values| Times { values, day: columns.day() }),
    };
    let mut fitted = training.phase("fit", algorithm.iterations(), || algorithm.fit(&data, control))?;
    for (iteration, &(loss, seconds)) in fitted.losses.iter().enumerate() {
        let loss = loss.is_finite().then_some(loss);
        let iteration = Some(iteration as i32 + 1);
        training.log.push(LogLine { iteration, phase: "fit".into(), loss, validation: None, seconds });
    }

    let (users, items) = (interactions.users.len() as i64, interactions.items.len() as i64);
    let newest = columns.newest(interactions.times.as_deref());
    let placed = add_content(training, &mut interactions, &mut fitted, features)?;
    let image = store(training, &interactions, columns, &fitted, placed.content())?;
    drop(interactions);
    let guard = chosen.scored.as_ref().and_then(Scored::guard);
    let mut hyperparameters = algorithm.hyperparameters(&fitted);
    hyperparameters.extend(chosen.facts);
    if let Some(holdout) = holdout.filter(|_| guard.is_some()) {
        let split = if holdout == Holdout::Hash { "hash" } else { "time" };
        hyperparameters.insert(SPLIT.into(), split.into());
    }
    if let Some(newest) = newest {
        hyperparameters.insert(NEWEST.into(), newest.into());
    }
    hyperparameters.extend(features::facts(&placed));
    hyperparameters.insert("rows_with_null".into(), counts.skipped.null.into());
    hyperparameters.insert("rows_not_finite".into(), counts.skipped.not_finite.into());
    hyperparameters.insert("rows_not_positive".into(), counts.skipped.not_positive.into());
    let rows_skipped = counts.skipped.total() as i64;
    Ok(Finished {
        image,
        algorithm: algorithm.name(),
        rows_used: counts.rows_read as i64 - rows_skipped,
        rows_skipped,
        users: Some(users),
        items: Some(items),
        iterations: fitted.iterations as i32,
        converged: fitted.converged,
        value: guard.as_ref().map(|guard| guard.1),
        baseline: guard.as_ref().map(|guard| guard.2),
        is_baseline: chosen.algorithm.name() == POPULARITY,
        metric: guard.map(|guard| guard.0),
        metrics: chosen.scored.as_ref().map(Scored::metrics).unwrap_or_default(),
        reason: chosen.reason,
        hyperparameters,
    })
}

/// Adds users and items that have features and no interactions.
pub(crate) fn add_content(
    training: &mut Training<'_>,
    interactions: &mut Interactions,
    fitted: &mut Fitted,
    features: Read,
) -> Result<Placed> {
    let (control, threads) = (training.control, settings::max_threads());
    let Some((factors, squares)) =
        fitted.learned.factors_mut().filter(|_| features.iter().any(Option::is_some))
    else {
        return Ok(Placed::default());
    };
    let placed = training.phase("map features", 0, || {
        let placed = place(interactions, factors, features, threads, control)?;
        if let Some(squares) = squares {
            let rows = [interactions.users.len(), interactions.items.len()];
            *squares = std::mem::take(squares).spread(&placed, rows, control)?;
        }
        Ok(placed)
    })?;
    if let Learned::BySegment(learned) = &mut fitted.learned {
        learned.follow(&placed, interactions.users.len());
    }
    Ok(placed)
}

/// Encodes what was learned and stores it, from where it lies.
pub(crate) fn store(
    training: &mut Training<'_>,
    interactions: &Interactions,
    columns: &InteractionColumns,
    fitted: &Fitted,
    content: Content<'_>,
) -> Result<Stored> {
    let (control, threads) = (training.control, settings::max_threads());
    let image_id = write::new_id()?;
    let (mut images, mut segments) = (Vec::new(), None);
    if let Learned::BySegment(learned) = &fitted.learned {
        images = training.phase("encode segments", 0, || learned.images(interactions, control))?;
        segments = Some(learned.of_segments(&images));
    }
    let parts = Parts {
        users: &interactions.users,
        items: &interactions.items,
        user_items: &interactions.user_items,
        item_users: &interactions.item_users,
        learned: fitted.learned.view(),
        regularization: fitted.regularization,
        alpha: fitted.alpha,
        user_class: columns.user_class as u8,
        item_class: columns.item_class as u8,
    };
    let mut encoded = None;
    let layout = training.phase("encode", 0, || {
        let made = Encoded::new(parts, content, segments, threads, control)?;
        encoded.insert(made).layout(*image_id.as_bytes(), control)
    })?;
    let stored = training.store(image_id, &layout)?;
    control.give(images.iter().map(|image| image.len() as u64).sum());
    Ok(stored)
}

/// 53200 where what follows on the interactions will need more memory than is allowed, and what to lower. `held` of it is
/// taken already and given back when it is not needed any more.
pub(crate) fn expect(
    control: &Control,
    interactions: &Interactions,
    algorithm: &dyn Algorithm,
    holdout: bool,
    held: u64,
) -> base::Result<()> {
    let (users, items, entries) =
        (interactions.users.len(), interactions.items.len(), interactions.user_items.entries());
    let threads = settings::max_threads();
    let holdout = holdout.then_some((HOLDOUT_USERS, &CUTOFFS[..]));
    let fits = |fit: Need, factors: usize| {
        let need = estimate(interactions, &Plan { factors, fit, threads, holdout });
        let task = "the training";
        let advice = "Use fewer \"factors\" or read fewer rows.";
        control.expect(need.training.saturating_sub(held), task, advice)?;
        let advice = "Use fewer \"factors\", read fewer rows, or train with holdout \"none\".";
        control.expect(need.holdout.saturating_sub(held), task, advice)
    };
    algorithm.settle(items, &fits);
    fits(algorithm.need(users, items, entries), algorithm.factors())
}

/// Reads the interactions and sorts them; 02000 where nothing is left to learn from.
pub(crate) fn read(
    training: &mut Training<'_>,
    source: &Source,
    columns: &InteractionColumns,
    rates: bool,
) -> Result<(Counts, Interactions)> {
    let control = training.control;
    let builder = InteractionsBuilder::new(
        columns.user_class.kind(),
        columns.item_class.kind(),
        columns.time.is_some(),
        control,
    )
    .repeats(if rates { Repeats::Newest } else { Repeats::Sum });
    let threads = settings::max_threads();
    let (counts, builder) = training.phase_here("read", |progress| {
        let mut report = |rows| progress.read(rows, control.used());
        let read = source.read(columns, builder, control, threads, rates, &mut report)?;
        progress.rows_read = read.0.rows_read;
        Ok(read)
    })?;
    point("read");
    let interactions = training.phase("sort", 0, || builder.finish(threads))?;
    point("sorted");
    if interactions.user_items.entries() == 0 {
        let skipped = counts.skipped;
        return Err(Err::<(), _>(base::Error::NoData).or_report().unwrap_err().set_detail(format!(
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
