//! `persona.train_kmeans`: rows in groups of least squared distance.

use std::time::Instant;

use ::segments::kmeans::{self, Clusters, Params, Points, SAMPLE, Tried};
use ::segments::profile::{describe, profile};
use ::segments::{KMeansParts, continue_ids, encode_kmeans};
use base::image::AlignedBytes;
use base::image::Layout;
use base::{Control, rows};
use features::columns::{self, Column, Scaling};
use pgrx::Uuid;
use pgrx::pg_sys;
use serde_json::{Map, Value, json};

use super::beside::{KMEANS, SegmentTables};
use super::live::{live_image, next_id};
use super::members::Members;
use super::refresh::{not_unique, show};
use super::serve::segments;
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::registry::Metric;
use crate::models::registry::write::{self, LogLine};
use crate::models::spec::{Spec, object};
use crate::models::train::job::{Fit, Job, Opened, train};
use crate::models::train::{DEPLOYS, Deploy, DeployChoice, Finished, Training};
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::quote;
use crate::pg::options::{Options, choose};
use crate::pg::{notice, settings};
use crate::source::features::Feature;
use crate::source::{Matrix, Source, read_matrix};

/// The most segments of a model: people shall know them apart, and each is compared with each of the version before.
const MAX_SEGMENTS: usize = 1000;

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 4] = ["k_max", "keep_log", "keep_versions", "threads"];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 8] =
    ["k", "scaling", "n_init", "max_iterations", "tolerance", "holdout", "deploy", "seed"];

/// `persona.train_kmeans(model, relation, id_column, feature_columns, …)`.
pub(crate) fn train_kmeans(call: &Call) -> Answer {
    locks::writable(c"persona.train_kmeans()");
    let mut spec = Map::new();
    spec.insert("trainer".into(), "train_kmeans".into());
    let id = call.name(2).ok_or_else(|| null_argument("id_column"))?;
    spec.insert("id_column".into(), id.into());
    spec.insert("feature_columns".into(), call.names(3)?.into());
    spec.insert("k".into(), call.get::<i32>(4).into());
    spec.insert("scaling".into(), call.text(5)?.unwrap_or_else(|| "standard".into()).into());
    spec.insert("n_init".into(), call.get::<i32>(6).unwrap_or(10).into());
    spec.insert("max_iterations".into(), call.get::<i32>(7).unwrap_or(300).into());
    spec.insert("tolerance".into(), crate::models::spec::finite(call.get(8), "tolerance")?);
    spec.insert("holdout".into(), call.text(9)?.unwrap_or_else(|| "none".into()).into());
    spec.insert("deploy".into(), call.text(10)?.unwrap_or_else(|| "auto".into()).into());
    spec.insert("seed".into(), call.get::<i64>(11).unwrap_or(42).into());
    if let Some(features) = call.text(12)? {
        return Err(fail(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("features => '{features}' is not supported yet"),
        )
        .set_hint("Name the columns in \"feature_columns\"."));
    }
    spec.insert("options".into(), Value::Object(call.object(13, "options")?));
    let model = call.required_text(0, "model")?;
    let relation: pg_sys::Oid = call.required(1, "relation")?;
    let kept = spec.clone();
    run(call, model.into(), relation, spec, kept)
}

/// What a training was asked for.
struct Request {
    model: ModelRef,
    relation: pg_sys::Oid,
    id: String,
    features: Option<Vec<String>>,
    /// Nothing: chosen by silhouette.
    k: Option<usize>,
    k_max: usize,
    scaling: Scaling,
    params: Params,
    deploy: DeployChoice,
    keep: Keep,
    kept: Map<String, Value>,
}

/// Trains from a spec: what `train_kmeans` was given, or what `retrain` made of the kept one.
pub(crate) fn run(
    call: &Call,
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    kept: Map<String, Value>,
) -> Answer {
    let request = parse(model, relation, &spec, kept)?;
    train(call, &request.model, &request.kept, KMeans { request: &request, features: Vec::new(), made: None })
}

fn parse(
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: &Map<String, Value>,
    kept: Map<String, Value>,
) -> Result<Request> {
    let spec = Spec::new(spec);
    let options = Options::new(spec.object("options"), &OPTIONS)?;
    choose("holdout", &spec.text("holdout")?.unwrap_or_default(), &[("none", ())])?;
    let most = settings::max_threads() as i64;
    let k = spec.size("k", MAX_SEGMENTS)?;
    let params = Params {
        clusters: k.unwrap_or(2),
        starts: spec.size("n_init", kmeans::MAX_STARTS)?.unwrap_or(10),
        max_iterations: spec.size("max_iterations", kmeans::MAX_ITERATIONS)?.unwrap_or(300),
        tolerance: spec.real("tolerance")?.unwrap_or(1e-4),
        seed: spec.whole("seed")?.unwrap_or(42) as u64,
        threads: options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize,
    };
    params.check().or_report()?;
    Ok(Request {
        model,
        relation,
        id: spec.text("id_column")?.unwrap_or_default(),
        features: spec.texts("feature_columns")?,
        k,
        k_max: options.integer("k_max", 2, MAX_SEGMENTS as i64)?.unwrap_or(*kmeans::RANGE.end() as i64)
            as usize,
        scaling: Scaling::parse(&spec.text("scaling")?.unwrap_or_default()).or_report()?,
        params,
        deploy: choose("deploy", &spec.text("deploy")?.unwrap_or_default(), &DEPLOYS)?,
        keep: Keep::of(&options)?,
        kept,
    })
}

/// Checks that a spec fits the columns of a relation; what it is for.
pub(crate) fn fits(name: &str, spec: &Map<String, Value>, source: &Source) -> Result<()> {
    let parsed = Spec::new(spec);
    let id = parsed.text("id_column")?.unwrap_or_default();
    let column = source.column(&id)?;
    source.features(&id, parsed.texts("feature_columns")?.as_deref())?;
    crate::models::train::same_types(name, spec, &SegmentTables::new(column, &KMEANS)?)
}

/// The groups that were found.
struct Found {
    columns: Vec<Column>,
    clusters: Clusters,
    tried: Vec<Tried>,
    /// Centroids in the user's units.
    raw: Vec<f64>,
    /// How far each feature of each group is from everybody's, in deviations.
    z: Vec<f64>,
}

impl Found {
    fn silhouette(&self) -> Option<f64> {
        let groups = self.clusters.sizes.len();
        self.tried.iter().find(|each| each.clusters == groups).and_then(|each| each.silhouette)
    }
}

/// An iteration: its number, the inertia after it, and the seconds of the fit until then.
type Step = (usize, f64, f64);

/// The iterations of the best start of each number of groups.
#[derive(Default)]
struct Steps {
    /// The number of groups and the start that run.
    running: (usize, usize),
    now: Vec<Step>,
    /// By the number of groups that was asked for, rising.
    best: Vec<(usize, Vec<Step>)>,
}

impl Steps {
    fn push(&mut self, running: (usize, usize), step: Step) {
        if self.running != running {
            self.close();
            self.running = running;
        }
        self.now.push(step);
    }

    fn close(&mut self) {
        let now = std::mem::take(&mut self.now);
        let inertia = |steps: &[Step]| steps.last().map_or(f64::INFINITY, |step| step.1);
        match self.best.last_mut() {
            Some((k, best)) if *k == self.running.0 => {
                if inertia(&now) < inertia(best) {
                    *best = now;
                }
            }
            _ if now.is_empty() => {}
            _ => self.best.push((self.running.0, now)),
        }
    }

    /// Writes those of the number of groups that was chosen; fewer may have come out than were asked for.
    fn log(mut self, training: &mut Training<'_>, groups: usize) {
        self.close();
        let chosen = self.best.iter().find(|(k, _)| *k == groups).or(self.best.last());
        for &(iteration, inertia, seconds) in chosen.into_iter().flat_map(|(_, steps)| steps) {
            training.log.push(LogLine {
                iteration: Some(iteration as i32),
                phase: "fit".into(),
                loss: Some(inertia).filter(|inertia| inertia.is_finite()),
                validation: None,
                seconds,
            });
        }
    }
}

/// The training of a request.
struct KMeans<'a> {
    request: &'a Request,
    features: Vec<Feature>,
    /// What the tables show if the version goes live.
    made: Option<(Members, AlignedBytes)>,
}

impl Job for KMeans<'_> {
    type Opened = SegmentTables;

    fn algorithm(&self) -> &'static str {
        "kmeans"
    }

    fn open(&mut self) -> Result<(Source, SegmentTables)> {
        let request = self.request;
        let source = Source::open(request.relation)?;
        let tables = SegmentTables::new(source.column(&request.id)?, &KMEANS)?;
        self.features = source.features(&request.id, request.features.as_deref())?;
        if self.features.len() > kmeans::MAX_COLUMNS {
            return Err(base::Error::TooMany { what: "features", limit: kmeans::MAX_COLUMNS as u64 })
                .or_report();
        }
        Ok((source, tables))
    }

    fn fit(&mut self, training: &mut Training<'_>, from: &Opened<'_, SegmentTables>) -> Result<Fit> {
        let (finished, members, image) = form(self.request, &self.features, training, from)?;
        self.made = Some((members, image));
        Ok(Fit::New(finished))
    }

    fn deploy(&self) -> Result<Deploy> {
        Ok(Deploy { choice: self.request.deploy, guarded: false, keep: self.request.keep })
    }

    fn goes_live(&mut self, training: &mut Training<'_>, model_id: Uuid, version: i32) -> Result<()> {
        match &self.made {
            Some((members, image)) => show(training, model_id, version, image, members),
            None => Ok(()),
        }
    }
}

/// Reads the rows and forms the segments: what is published, the rows, and the image.
fn form(
    request: &Request,
    features: &[Feature],
    training: &mut Training<'_>,
    from: &Opened<'_, SegmentTables>,
) -> Result<(Finished, Members, AlignedBytes)> {
    let (source, target, control) = (from.source, from.target, training.control);
    let id = source.column(&request.id)?;
    let members = Members::rows(source, id, features);
    let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();

    let matrix = training.phase_here("read", |progress| {
        if !source.is_unique(id)? {
            return Err(not_unique(&quote(&id.name)));
        }
        let mut report = |rows| progress.read(rows, control.used());
        let matrix = read_matrix(&members.matrix(), members.features(), control, &mut report)?;
        progress.rows_read = matrix.rows_read;
        Ok(matrix)
    })?;
    point("read");
    let (used, skipped) = (matrix.rows() as i64, matrix.null + matrix.not_finite);
    if used == 0 {
        return Err(no_rows(source, &matrix));
    }
    let (with_null, not_finite) = (matrix.null, matrix.not_finite);
    let values = training.phase("sort", 0, || rows::in_order(matrix.values, matrix.columns, control))?;
    let mut steps = Steps::default();
    let found = training.phase("fit", request.params.max_iterations, || {
        let from = Instant::now();
        fit(request, &values, names.len(), control, &mut |k, start, iteration, inertia| {
            steps.push((k, start), (iteration, inertia, from.elapsed().as_secs_f64()));
        })
    })?;
    let groups = found.clusters.sizes.len();
    drop(values);
    steps.log(training, groups);
    if let Some(wanted) = request.k.filter(|&k| k > groups) {
        notice::notice(
            &format!("{groups} of {wanted} segments were found"),
            &format!("The number of rows that differ from each other is {groups}."),
        );
    }

    let next = next_id(target)?;
    let live = live_image(target)?;
    let old = live.as_ref().map(|loaded| segments(loaded)).transpose()?;
    let ids = training.phase("match", 0, || match &old {
        Some(old) => continue_ids(old, &names, &found.columns, &found.raw, next, control),
        None => Ok((next..).take(groups).collect()),
    })?;
    let next = ids.iter().max().map_or(next, |most| next.max(most + 1));
    let generated = describe(&found.z, &names);
    let image_id = write::new_id()?;
    let image = training.phase("encode", 0, || {
        let parts = KMeansParts {
            features: &names,
            columns: &found.columns,
            scaling: request.scaling,
            clusters: &found.clusters,
            ids: &ids,
            labels: &generated,
            silhouette: found.silhouette(),
            id_class: 0,
        };
        encode_kmeans(&parts, *image_id.as_bytes(), control)
    })?;
    let stored = training.store(image_id, &Layout::of(&image))?;

    let hyperparameters = object(json!({
        "k": groups, "scaling": request.scaling.word(), "n_init": request.params.starts,
        "max_iterations": request.params.max_iterations, "tolerance": request.params.tolerance,
        "seed": request.params.seed as i64, "feature_columns": names, "inertia": found.clusters.inertia,
        "next_segment_id": next, "rows_with_null": with_null, "rows_not_finite": not_finite,
    }));
    let silhouette = found.silhouette();
    let finished = Finished {
        image: stored,
        algorithm: "kmeans",
        rows_used: used,
        rows_skipped: skipped as i64,
        users: None,
        items: None,
        iterations: found.clusters.iterations as i32,
        converged: found.clusters.converged,
        metric: silhouette.map(|_| "silhouette".to_string()),
        value: silhouette,
        baseline: None,
        is_baseline: false,
        metrics: metrics(&found.tried, used),
        reason: None,
        hyperparameters,
    };
    Ok((finished, members, image))
}

/// Away from the main thread: no Postgres in it.
fn fit(
    request: &Request,
    values: &[f64],
    width: usize,
    control: &Control,
    on_iteration: &mut (dyn FnMut(usize, usize, usize, f64) + Send),
) -> base::Result<Found> {
    let columns = columns::fit(values, width, request.scaling, control)?;
    let points = Points::new(values, &columns, control)?;
    // The labels and distances of the best groups, and of those that are compared with them.
    let kept = points.rows() as u64 * 16;
    control.take(kept, "forming the segments", "Use fewer rows or fewer features.")?;
    let Params { seed, threads, .. } = request.params;
    let (clusters, tried) = match request.k {
        Some(k) => {
            let mut report = |start, iteration, inertia| on_iteration(k, start, iteration, inertia);
            let clusters = kmeans::fit(&points, &request.params, &mut report)?;
            let groups = clusters.sizes.len();
            let value = kmeans::silhouette(&points, &clusters.labels, groups, SAMPLE, seed, threads)?;
            let tried = vec![Tried { clusters: groups, inertia: clusters.inertia, silhouette: value }];
            (clusters, tried)
        }
        None => {
            let range = *kmeans::RANGE.start()..=request.k_max;
            let choice = kmeans::choose(&points, range, SAMPLE, &request.params, on_iteration)?;
            (choice.clusters, choice.tried)
        }
    };
    let groups = clusters.sizes.len();
    let of_all = profile(values, width, &clusters.labels, &clusters.distances, groups, control)?;
    let z = of_all.iter().flat_map(|group| group.features.iter().map(|feature| feature.z.unwrap_or(0.0)));
    let (raw, z) = (points.frame().raw(&clusters.centroids), z.collect());
    drop(points);
    control.give(kept);
    Ok(Found { columns, clusters, tried, raw, z })
}

/// The figures of every number of segments that was tried, as rows of the registry.
fn metrics(tried: &[Tried], rows: i64) -> Vec<Metric> {
    let row = |metric: &str, k: usize, value: Option<f64>| Metric {
        slice: "all".into(),
        metric: metric.into(),
        k: k as i32,
        value,
        baseline: None,
        ci_low: None,
        ci_high: None,
        users: rows,
    };
    tried
        .iter()
        .flat_map(|each| {
            [
                row("silhouette", each.clusters, each.silhouette),
                row("inertia", each.clusters, Some(each.inertia)),
            ]
        })
        .collect()
}

fn no_rows(source: &Source, matrix: &Matrix) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_NO_DATA, "no usable rows")
        .set_detail(format!(
            "{} rows were read from {}; skipped were {} with NULL and {} not finite.",
            matrix.rows_read, source.name, matrix.null, matrix.not_finite
        ))
        .set_hint("A row needs an id and a finite number in every feature.")
}
