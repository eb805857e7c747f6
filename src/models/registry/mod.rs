//! The registry: models, versions, deployments and images, as the tables of sql/registry.sql hold them.

pub(crate) mod closed;
pub(crate) mod models;
pub(crate) mod pieces;
pub(crate) mod prune;
pub(crate) mod queue;
mod reclaim;
pub(crate) mod scan;
pub(crate) mod stored;
pub(crate) mod write;

use base::image::ALIGNMENT;
use pgrx::{IntoDatum, JsonB, Uuid, pg_sys};
use serde_json::{Map, Value};

use super::registry;
use crate::pg::error::{Code, Result, fail};
use crate::pg::snapshot::{self, Snapshot};
use scan::{Key, Scan, Seen};

/// A model as the registry knows it.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) model_id: Uuid,
    /// The view that carries the model's name, owner and grants.
    pub(crate) relation: pg_sys::Oid,
    pub(crate) kind: String,
    /// What to train again from: relation, columns, options.
    pub(crate) spec: Map<String, Value>,
}

/// A line of the deployment log.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) deployment_id: i64,
    pub(crate) version: i32,
    pub(crate) image_id: Uuid,
    /// The line that a rollback returns to.
    pub(crate) previous: Option<i64>,
}

/// A table that a model has beside its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Members,
    Segments,
    Profile,
    History,
    /// The recommendations of every user.
    Recs,
    /// The trials of a search for settings.
    Trials,
}

impl Output {
    /// Those of a model of segments.
    pub(crate) const OF_SEGMENTS: [Output; 4] =
        [Output::Members, Output::Segments, Output::Profile, Output::History];

    /// Its word in the registry, and the end of its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Output::Members => "members",
            Output::Segments => "segments",
            Output::Profile => "profile",
            Output::History => "history",
            Output::Recs => "recs",
            Output::Trials => "trials",
        }
    }
}

/// The facts of a version.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) version: i32,
    pub(crate) image_id: Uuid,
    pub(crate) algorithm: String,
    pub(crate) trained_at: pgrx::datum::TimestampWithTimeZone,
    pub(crate) seconds: f64,
    pub(crate) rows_used: i64,
    pub(crate) metric: Option<String>,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) bytes: i64,
    pub(crate) hyperparameters: Map<String, Value>,
}

/// The model of an id.
pub(crate) fn model(model_id: Uuid, seen: Seen) -> Result<Option<Model>> {
    let mut scan = Scan::start("model", "model_pkey", seen, &[uuid_key(1, model_id)], false)?;
    let Some(row) = scan.next() else { return Ok(None) };
    let JsonB(Value::Object(spec)) = row.expect(5)? else {
        return Err(stored::damaged());
    };
    Ok(Some(Model { model_id: row.expect(1)?, relation: row.expect(2)?, kind: row.expect(4)?, spec }))
}

/// The view of a model: what serving needs, without parsing the spec.
pub(crate) fn view_of(model_id: Uuid, seen: Seen) -> Result<Option<pg_sys::Oid>> {
    let mut scan = Scan::start("model", "model_pkey", seen, &[uuid_key(1, model_id)], false)?;
    scan.next().map(|row| row.expect(2)).transpose()
}

/// The tables of a model.
pub(crate) fn outputs(model_id: Uuid, seen: Seen) -> Result<Vec<(Output, pg_sys::Oid)>> {
    let mut scan = Scan::start("output", "output_pkey", seen, &[uuid_key(1, model_id)], false)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next() {
        let word: String = row.expect(2)?;
        let known = Output::OF_SEGMENTS.into_iter().chain([Output::Recs, Output::Trials]);
        if let Some(output) = known.into_iter().find(|output| output.word() == word) {
            found.push((output, row.expect(3)?));
        }
    }
    Ok(found)
}

/// The labels that people gave to segments of a model.
pub(crate) fn labels(model_id: Uuid, seen: Seen) -> Result<Vec<(u32, String)>> {
    let mut scan = Scan::start("label", "label_pkey", seen, &[uuid_key(1, model_id)], false)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next() {
        found.push((row.expect::<i32>(2)? as u32, row.expect(3)?));
    }
    Ok(found)
}

/// The deployment that is live.
pub(crate) fn live(model_id: Uuid, seen: Seen) -> Result<Option<Deployment>> {
    deployment(&[uuid_key(2, model_id)], seen)
}

/// Whether the newest version is the one that serves.
pub(crate) fn newest_is_live(model_id: Uuid) -> Result<bool> {
    let newest = version(model_id, None, Seen::Latest)?.map(|newest| newest.version);
    Ok(newest.is_some() && live(model_id, Seen::Latest)?.map(|live| live.version) == newest)
}

/// 40001 in a transaction that goes on seeing what it first saw, where others have trained, deployed, attached or detached
/// a model since: it would write over what it cannot see. Asked under a lock that excludes them.
pub(crate) fn not_outrun(model_id: Uuid) -> Result<()> {
    if !snapshot::stays() {
        return Ok(());
    }
    // What the transaction itself has written by now is seen, too.
    let _snapshot = Snapshot::now();
    let state = |seen| -> Result<_> {
        let newest = version_seen(model_id, None, seen)?.map(|newest| newest.version);
        let deployed = live(model_id, seen)?.map(|live| live.deployment_id);
        Ok((newest, deployed, registry::attached(model_id, seen)?))
    };
    if state(Seen::Statement)? == state(Seen::Latest)? {
        return Ok(());
    }
    let message = "could not serialize access due to concurrent update";
    Err(fail(Code::ERRCODE_T_R_SERIALIZATION_FAILURE, message)
        .set_detail("Another transaction has trained, deployed, attached or detached the model meanwhile.")
        .set_hint("The transaction might succeed if retried."))
}

/// A line of the deployment log.
pub(crate) fn deployment_by_id(model_id: Uuid, deployment_id: i64) -> Result<Option<Deployment>> {
    let id = (1, pg_sys::F_INT8EQ, pg_sys::Datum::from(deployment_id));
    deployment(&[uuid_key(2, model_id), id], Seen::Latest)
}

fn deployment(keys: &[Key], seen: Seen) -> Result<Option<Deployment>> {
    let mut scan = Scan::start("deployment", "deployment_pkey", seen, keys, true)?;
    let Some(row) = scan.next() else { return Ok(None) };
    Ok(Some(Deployment {
        deployment_id: row.expect(1)?,
        version: row.expect(3)?,
        image_id: row.expect(4)?,
        previous: row.get(5),
    }))
}

/// The facts of a version; the newest where `version` is `None`. What a statement sees deployed it may read,
/// although its snapshot may be older than the version: the same transaction has deployed it. Versions and their
/// images never change.
pub(crate) fn version(model_id: Uuid, version: Option<i32>, seen: Seen) -> Result<Option<Version>> {
    let found = version_seen(model_id, version, seen)?;
    if found.is_some() || version.is_none() || seen != Seen::Statement {
        return Ok(found);
    }
    let deployed = live(model_id, seen)?.map(|live| live.version);
    if deployed == version { version_seen(model_id, version, Seen::Now) } else { Ok(None) }
}

fn version_seen(model_id: Uuid, version: Option<i32>, seen: Seen) -> Result<Option<Version>> {
    let mut keys = vec![uuid_key(1, model_id)];
    keys.extend(version.map(|version| (2, pg_sys::F_INT4EQ, pg_sys::Datum::from(version))));
    let mut scan = Scan::start("version", "version_pkey", seen, &keys, true)?;
    let Some(row) = scan.next() else { return Ok(None) };
    Ok(Some(Version {
        version: row.expect(2)?,
        image_id: row.expect(3)?,
        algorithm: row.expect(4)?,
        trained_at: row.expect(5)?,
        seconds: row.expect(17)?,
        rows_used: row.expect(7)?,
        metric: row.get(13),
        value: row.get(14),
        baseline: row.get(15),
        bytes: row.expect(18)?,
        hyperparameters: match row.expect(20)? {
            JsonB(Value::Object(map)) => map,
            JsonB(_) => Map::new(),
        },
    }))
}

/// The oldest version that is not among `kept`.
pub(crate) fn oldest_version(model_id: Uuid, kept: &[i32]) -> Result<Option<i32>> {
    let mut scan = Scan::start("version", "version_pkey", Seen::Latest, &[uuid_key(1, model_id)], false)?;
    while let Some(row) = scan.next() {
        let version = row.expect(2)?;
        if !kept.contains(&version) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// Whether the pieces of an image are stored.
pub(crate) fn has_image(image_id: Uuid, seen: Seen) -> Result<bool> {
    let mut scan = Scan::start("chunk", "chunk_pkey", seen, &[uuid_key(1, image_id)], false)?;
    Ok(scan.next().is_some())
}

/// The pieces of an image that is deployed, also where this transaction has deployed it and it is newer than the
/// snapshot of the statement.
fn pieces(image_id: Uuid, seen: Seen) -> Result<Scan> {
    let newer = seen == Seen::Statement && !has_image(image_id, seen)?;
    let seen = if newer { Seen::Now } else { seen };
    Scan::start("chunk", "chunk_pkey", seen, &[uuid_key(1, image_id)], false)
}

/// The first bytes of an image, as many as its header has, or `None` where it is missing.
pub(crate) fn image_head(image_id: Uuid, seen: Seen) -> Result<Option<Vec<u8>>> {
    let mut scan = pieces(image_id, seen)?;
    let Some(row) = scan.next() else { return Ok(None) };
    // SAFETY: column 3 is a NOT NULL bytea; only its first piece is read, and copied at once.
    unsafe {
        let stored = row.datum(3).cast_mut_ptr::<pg_sys::varlena>();
        let head = pg_sys::pg_detoast_datum_slice(stored, 0, ALIGNMENT as i32);
        Ok(Some(pgrx::varlena::varlena_to_byte_slice(head).to_vec()))
    }
}

/// Passes an image on piece by piece; false where it is missing.
pub(crate) fn read_image(
    image_id: Uuid,
    seen: Seen,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<bool> {
    let mut scan = pieces(image_id, seen)?;
    let mut any = false;
    while let Some(row) = scan.next() {
        any = true;
        // SAFETY: column 3 is a NOT NULL bytea; the detoasted copy is freed once its bytes are taken over.
        unsafe {
            let stored = row.datum(3).cast_mut_ptr::<pg_sys::varlena>();
            let plain = pg_sys::pg_detoast_datum_packed(stored);
            sink(pgrx::varlena::varlena_to_byte_slice(plain))?;
            if plain != stored {
                pg_sys::pfree(plain.cast());
            }
        }
        crate::pg::memory::interrupts();
    }
    Ok(any)
}

fn uuid_key(column: i16, value: Uuid) -> Key {
    // A Uuid always has a datum.
    (column, pg_sys::F_UUID_EQ, value.into_datum().unwrap_or(pg_sys::Datum::null()))
}

/// A stored or computed figure.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) slice: String,
    pub(crate) metric: String,
    pub(crate) k: i32,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) ci_low: Option<f64>,
    pub(crate) ci_high: Option<f64>,
    pub(crate) users: i64,
}

/// The figures of a version at a cutoff.
pub(crate) fn metrics(model_id: Uuid, version: i32, k: i32) -> Result<Vec<Metric>> {
    let found = metrics_seen(model_id, version, k, Seen::Statement)?;
    // Who asks has found the version: as for an image.
    if found.is_empty() { metrics_seen(model_id, version, k, Seen::Now) } else { Ok(found) }
}

fn metrics_seen(model_id: Uuid, version: i32, k: i32, seen: Seen) -> Result<Vec<Metric>> {
    let keys = [uuid_key(1, model_id), (2, pg_sys::F_INT4EQ, pg_sys::Datum::from(version))];
    let mut scan = Scan::start("metric", "metric_pkey", seen, &keys, false)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next() {
        let metric = Metric {
            slice: row.expect(3)?,
            metric: row.expect(4)?,
            k: row.expect(5)?,
            value: row.get(6),
            baseline: row.get(7),
            ci_low: row.get(8),
            ci_high: row.get(9),
            users: row.expect(10)?,
        };
        if metric.k == k {
            found.push(metric);
        }
    }
    Ok(found)
}

/// The tables whose changes are queued for a model.
pub(crate) fn attached(model_id: Uuid, seen: Seen) -> Result<Vec<pg_sys::Oid>> {
    let mut scan = Scan::start("attachment", "attachment_pkey", seen, &[uuid_key(1, model_id)], false)?;
    let mut found = Vec::new();
    while let Some(row) = scan.next() {
        found.push(row.expect(3)?);
    }
    Ok(found)
}
