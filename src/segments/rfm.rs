//! `persona.train_rfm`: customers by recency, frequency and monetary value, each scored by quantiles.

use base::image::AlignedBytes;
use base::image::Layout;
use pgrx::Uuid;
use pgrx::{Spi, pg_sys};
use segments::rfm::{Cuts, Labels, check_bins, cut_points};
use segments::{RfmParts, encode_rfm};
use serde_json::{Map, Value, json};

use super::beside::{RFM, SegmentTables};
use super::live::{live_image, next_id};
use super::members::{self, MEASURES, Members, Purchases};
use super::refresh::show;
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::registry::write;
use crate::models::spec::{Spec, object};
use crate::models::train::job::{Fit, Job, Opened, train};
use crate::models::train::{DEPLOYS, Deploy, DeployChoice, Finished, Published, Target, Training};
use crate::pg::access::Identity;
use crate::pg::call::{Answer, Call, datum, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::literal;
use crate::pg::notice;
use crate::pg::options::{Options, choose};
use crate::source::{Source, read_matrix};

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 3] = ["keep_log", "keep_versions", "labels"];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 3] = ["as_of", "bins", "deploy"];

/// `persona.train_rfm(model, relation, id_column, time_column, amount_column, …)`.
pub(crate) fn train_rfm(call: &Call) -> Answer {
    locks::writable(c"persona.train_rfm()");
    let column = |index, name| call.name(index).ok_or_else(|| null_argument(name));
    let mut spec = Map::new();
    spec.insert("trainer".into(), "train_rfm".into());
    spec.insert("id_column".into(), column(2, "id_column")?.into());
    spec.insert("time_column".into(), column(3, "time_column")?.into());
    spec.insert("amount_column".into(), column(4, "amount_column")?.into());
    spec.insert("order_column".into(), call.name(5).into());
    spec.insert("as_of".into(), call.datum(6).map(iso).transpose()?.into());
    spec.insert("bins".into(), call.get::<i32>(7).unwrap_or(5).into());
    spec.insert("deploy".into(), call.text(8)?.unwrap_or_else(|| "auto".into()).into());
    spec.insert("options".into(), Value::Object(call.object(9, "options")?));
    let model = call.required_text(0, "model")?;
    let relation: pg_sys::Oid = call.required(1, "relation")?;
    let kept = spec.clone();
    run(call, model.into(), relation, spec, kept)
}

/// A timestamptz in UTC and ISO 8601, whatever the settings of the session; 22008 where it is infinite.
fn iso(at: pg_sys::Datum) -> Result<String> {
    let finite = i64::MIN + 1..i64::MAX;
    let at = Some(at.value() as i64).filter(|at| finite.contains(at));
    let at = at.ok_or_else(|| fail(Code::ERRCODE_DATETIME_FIELD_OVERFLOW, "\"as_of\" must be finite"))?;
    let _path = Identity::pinned_path();
    let query = format!(
        "SELECT {}",
        members::iso(&format!("('2000-01-01'::timestamp + '{at} microseconds'::interval)"))
    );
    let text = Spi::connect(|client| client.select(&query, None, &[])?.first().get_one::<String>());
    text.map_err(unreadable).map(Option::unwrap_or_default)
}

/// A text that `retrain` was given, likewise; 22007 where it is no time.
fn read_time(text: &str) -> Result<String> {
    let query = format!("SELECT {}::pg_catalog.timestamptz", literal(text));
    let at = Spi::connect(|client| {
        client.select(&query, None, &[])?.first().get_one::<pgrx::datum::TimestampWithTimeZone>()
    });
    iso(at.map_err(unreadable)?.and_then(datum).unwrap_or(pg_sys::Datum::from(i64::MAX)))
}

fn unreadable(error: pgrx::spi::Error) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the relation: {error}"))
}

/// What a training was asked for.
struct Request {
    model: ModelRef,
    relation: pg_sys::Oid,
    id: String,
    time: String,
    amount: String,
    order: Option<String>,
    /// Nothing: the newest time of the data.
    as_of: Option<String>,
    bins: usize,
    labels: Labels,
    deploy: DeployChoice,
    keep: Keep,
    kept: Map<String, Value>,
}

/// Trains from a spec: what `train_rfm` was given, or what `retrain` made of the kept one.
pub(crate) fn run(
    call: &Call,
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    kept: Map<String, Value>,
) -> Answer {
    let request = parse(model, relation, &spec, kept)?;
    let job = Rfm { request: &request, purchases: None, made: None, collapsed: [0; 3] };
    train(call, &request.model, &request.kept, job)
}

fn parse(
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: &Map<String, Value>,
    kept: Map<String, Value>,
) -> Result<Request> {
    let spec = Spec::new(spec);
    let options = spec.object("options");
    let labels = options.get("labels").map(grid).transpose()?.unwrap_or_default();
    let options = Options::new(options, &OPTIONS)?;
    let text = |key| spec.text(key).map(Option::unwrap_or_default);
    let bins = usize::try_from(spec.whole("bins")?.unwrap_or(5)).unwrap_or(0);
    check_bins(bins).or_report()?;
    Ok(Request {
        model,
        relation,
        id: text("id_column")?,
        time: text("time_column")?,
        amount: text("amount_column")?,
        order: spec.text("order_column")?,
        as_of: spec.text("as_of")?.map(|text| read_time(&text)).transpose()?,
        bins,
        labels,
        deploy: choose("deploy", &text("deploy")?, &DEPLOYS)?,
        keep: Keep::of(&options)?,
        kept,
    })
}

/// Names for five steps of recency by five of frequency and monetary value together, as JSON has them.
fn grid(value: &Value) -> Result<Labels> {
    let wrong = || {
        fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "option \"labels\" must be 5 arrays of 5 names that are not empty",
        )
        .set_detail("The first array is for the customers who bought longest ago, and within it the first name for those who bought least.")
    };
    let rows = value.as_array().ok_or_else(wrong)?;
    let cells: Option<Vec<String>> = rows
        .iter()
        .flat_map(|row| match row.as_array() {
            Some(row) if row.len() == 5 => row.iter().map(|name| name.as_str().map(str::to_string)).collect(),
            _ => vec![None],
        })
        .collect();
    let cells: [String; 25] = cells.and_then(|cells| cells.try_into().ok()).ok_or_else(wrong)?;
    let labels = Labels::of_grid(&cells);
    labels.check().map_err(|_| wrong())?;
    Ok(labels)
}

/// Checks that a spec fits the columns of a relation.
pub(crate) fn fits(name: &str, spec: &Map<String, Value>, source: &Source) -> Result<()> {
    let parsed = Spec::new(spec);
    let text = |key| parsed.text(key).map(Option::unwrap_or_default);
    let (id, time, amount) = (text("id_column")?, text("time_column")?, text("amount_column")?);
    Purchases::open(source, [&id, &time, &amount], parsed.text("order_column")?.as_deref())?;
    crate::models::train::same_types(name, spec, &SegmentTables::new(source.column(&id)?, &RFM)?)
}

/// The training of a request.
struct Rfm<'a> {
    request: &'a Request,
    purchases: Option<Purchases>,
    /// What the tables show if the version goes live.
    made: Option<(Members, AlignedBytes)>,
    /// Scores of each measure that cannot be reached.
    collapsed: [usize; 3],
}

impl Job for Rfm<'_> {
    type Opened = SegmentTables;

    fn algorithm(&self) -> &'static str {
        "rfm"
    }

    fn open(&mut self) -> Result<(Source, SegmentTables)> {
        let request = self.request;
        let source = Source::open(request.relation)?;
        let columns = [request.id.as_str(), &request.time, &request.amount];
        let found = Purchases::open(&source, columns, request.order.as_deref())?;
        let tables = SegmentTables::new(found.id(), &RFM)?;
        self.purchases = Some(found);
        Ok((source, tables))
    }

    fn fit(&mut self, training: &mut Training<'_>, from: &Opened<'_, SegmentTables>) -> Result<Fit> {
        let Some(purchases) = &self.purchases else { return Err(null_argument("id_column")) };
        let (finished, members, image, collapsed) = score(self.request, purchases, training, from)?;
        self.made = Some((members, image));
        self.collapsed = collapsed;
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

    fn tell(&self, _result: &Published) {
        report_collapsed(self.collapsed, self.request.bins);
    }
}

/// Reads the purchases and finds the cut points: what is published, the customers, the image, and how many scores of each
/// measure cannot be reached.
fn score(
    request: &Request,
    purchases: &Purchases,
    training: &mut Training<'_>,
    from: &Opened<'_, SegmentTables>,
) -> Result<(Finished, Members, AlignedBytes, [usize; 3])> {
    let (source, target, control) = (from.source, from.target, training.control);
    let (facts, members, matrix) = training.phase_here("read", |progress| {
        let facts = Facts::read(purchases, request.as_of.as_deref())?;
        let Some(as_of) = facts.as_of.as_deref().filter(|_| facts.used > 0) else {
            return Err(fail(Code::ERRCODE_NO_DATA, "no usable purchases")
                .set_detail(format!("{} rows were read from {}.", facts.rows, source.name))
                .set_hint("A purchase needs an id, a time up to \"as_of\" and a finite amount."));
        };
        let members = Members::customers(purchases, as_of);
        let mut report = |rows| progress.read(rows, control.used());
        let matrix = read_matrix(&members.matrix(), MEASURES.len(), control, &mut report)?;
        progress.rows_read = facts.rows as u64;
        Ok((facts, members, matrix))
    })?;
    point("read");
    let customers = matrix.rows();
    if customers == 0 {
        return Err(fail(Code::ERRCODE_NO_DATA, "no usable purchases")
            .set_detail("Every amount is a refund.")
            .set_hint("Amounts of purchases are at least 0, those of refunds below."));
    }
    let [recency, frequency, monetary] = training.phase("fit", 0, || {
        let of = |measure: usize| {
            let values = matrix.values.iter().skip(measure).step_by(MEASURES.len()).copied();
            cut_points(values, customers, request.bins, control)
        };
        Ok([of(0)?, of(1)?, of(2)?])
    })?;
    let cuts = Cuts { recency: &recency, frequency: &frequency, monetary: &monetary };
    let collapsed = cuts.collapsed();
    let (ids, next) = continued(target, &request.labels)?;
    let image_id = write::new_id()?;
    let image = training.phase("encode", 0, || {
        let parts = RfmParts {
            features: MEASURES,
            rows: customers as u64,
            cuts,
            ids: &ids,
            labels: &request.labels,
            id_class: 0,
        };
        encode_rfm(&parts, *image_id.as_bytes(), control)
    })?;
    let stored = training.store(image_id, &Layout::of(&image))?;

    let of_measures = |values: &dyn Fn(usize) -> Value| -> Value {
        Value::Object(MEASURES.iter().enumerate().map(|(at, name)| (name.to_string(), values(at))).collect())
    };
    let all = [&recency, &frequency, &monetary];
    let hyperparameters = object(json!({
        "bins": request.bins, "as_of": facts.as_of, "cut_points": of_measures(&|at| json!(all[at])),
        "collapsed": of_measures(&|at| collapsed[at].into()), "next_segment_id": next,
        "customers": customers,
    }));
    let finished = Finished {
        image: stored,
        algorithm: "rfm",
        rows_used: facts.used,
        rows_skipped: facts.rows - facts.used,
        users: Some(customers as i64),
        items: None,
        iterations: 0,
        converged: true,
        metric: None,
        value: None,
        baseline: None,
        is_baseline: false,
        metrics: Vec::new(),
        reason: None,
        hyperparameters,
    };
    Ok((finished, members, image, collapsed))
}

/// Too many customers share a value where cut points are equal: the scores between them stay empty.
fn report_collapsed(collapsed: [usize; 3], bins: usize) {
    for (name, collapsed) in MEASURES.iter().zip(collapsed).filter(|(_, collapsed)| *collapsed > 0) {
        notice::notice(
            &format!("only {} of {bins} scores of {name} can be reached", bins - collapsed),
            "So many customers share a value that cut points are equal; equal customers always share a score.",
        );
    }
}

/// Ids of the segments, which continue those of the live version by their names, and the next one that nobody had yet.
fn continued(target: &Target, labels: &Labels) -> Result<(Vec<u32>, u32)> {
    let next = next_id(target)?;
    let mut known = Vec::new();
    if let Some(loaded) = live_image(target)? {
        let old = crate::segments::serve::segments(&loaded)?;
        known.extend(old.ids.iter().enumerate().map(|(at, &id)| (id, old.labels.get(at).to_string())));
    }
    let ids = labels.continued_ids(&known, next);
    let most = ids.iter().max().map_or(next, |most| next.max(most + 1));
    Ok((ids, most))
}

/// What a first look at the purchases tells.
struct Facts {
    rows: i64,
    used: i64,
    /// The reference time in UTC; `None` where no time is usable.
    as_of: Option<String>,
}

impl Facts {
    fn read(purchases: &Purchases, as_of: Option<&str>) -> Result<Facts> {
        let _path = Identity::pinned_path();
        let time = as_of.map_or("NULL".to_string(), literal);
        let query = purchases.summary(&format!("{time}::timestamptz"));
        let facts = Spi::connect(|client| {
            let row = client.select(&query, None, &[])?.first();
            Ok::<_, pgrx::spi::Error>(Facts {
                rows: row.get::<i64>(1)?.unwrap_or(0),
                used: row.get::<i64>(2)?.unwrap_or(0),
                as_of: row.get::<String>(3)?,
            })
        });
        facts.map_err(unreadable)
    }
}
