//! Bringing the tables beside a model in line with the version that goes live: in the transaction of the deployment, as
//! the owner of the model, and only rows that differ.

use base::image::Image;
use pgrx::Uuid;
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::{Spi, pg_sys};
use segments::Segments;
use segments::profile::Profile;

use super::members::Members;
use super::placing::{Placing, reasons};
use super::tables::RFM;
use crate::models::outputs::check_at_once;
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Output};
use crate::models::train::Training;
use crate::pg::access::Identity;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::{qualified_name, quote};
use crate::pg::sql::{argument, bulk};
use crate::source::Source;

/// Where the tables of a model are, and how they name its ids.
pub(super) struct Tables {
    members: String,
    segments: String,
    profile: String,
    history: String,
    /// The columns of the ids, quoted: those that the tables were made with, whatever the source calls its own now.
    members_id: String,
    history_id: String,
    relations: Vec<pg_sys::Oid>,
}

impl Tables {
    /// The tables of a model, to be written by the holder of its deploy lock; 55000 where one is gone, 40001 where others
    /// have changed them since the snapshot of the transaction.
    pub(super) fn new(model_id: pgrx::Uuid) -> Result<Tables> {
        // Rows would be compared with those of another version.
        registry::not_outrun(model_id)?;
        let outputs = registry::outputs(model_id, Seen::Latest)?;
        let open = |output: Output| {
            let found = outputs.iter().find(|(each, _)| *each == output).map(|(_, relation)| *relation);
            let gone = || {
                fail(
                    Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("the table of the {} of this model is gone", output.word()),
                )
                .set_hint("Drop the model with persona.drop_model() and train it again.")
            };
            match found.filter(|relation| qualified_name(*relation).is_some()) {
                Some(relation) => Source::open(relation),
                None => Err(gone()),
            }
        };
        let id = |table: &Source| table.columns().first().map(|column| quote(&column.name));
        let (members, history) = (open(Output::Members)?, open(Output::History)?);
        Ok(Tables {
            members_id: id(&members).unwrap_or_default(),
            history_id: id(&history).unwrap_or_default(),
            members: members.name,
            segments: open(Output::Segments)?.name,
            profile: open(Output::Profile)?.name,
            history: history.name,
            relations: outputs.iter().map(|(_, relation)| *relation).collect(),
        })
    }
}

/// What the tables shall show.
pub(super) struct Fresh<'a> {
    pub(super) members: &'a Members,
    pub(super) model: &'a Segments<'a>,
    /// The labels of the segments, in the order of the model.
    pub(super) labels: &'a [String],
    pub(super) version: i32,
}

/// Makes the tables show the image of a version that a training makes live.
pub(crate) fn show(
    training: &mut Training<'_>,
    model_id: Uuid,
    version: i32,
    image: &[u8],
    members: &Members,
) -> Result<()> {
    let opened = Image::open(image).or_report()?;
    let model = Segments::new(&opened).or_report()?;
    let labels = labels(model_id, &model)?;
    let tables = Tables::new(model_id)?;
    let fresh = Fresh { members, model: &model, labels: &labels, version };
    training.tables(|begin| refresh(&tables, &fresh, begin))
}

/// Makes the tables show a version. The caller acts as the owner of the model.
pub(super) fn refresh(tables: &Tables, fresh: &Fresh<'_>, begin: &mut dyn FnMut(&'static str)) -> Result<()> {
    let _path = Identity::pinned_path();
    check_at_once(&tables.relations)?;
    bulk();
    let now = now()?;
    let placing = Placing::new(fresh.model);
    begin("members");
    placing.run(|| members(tables, fresh, now, &placing))?;
    point("members");
    begin("history");
    history(tables, now)?;
    point("history");
    let ids: Vec<i32> = fresh.model.ids.iter().map(|&id| id as i32).collect();
    let profiles = placing.profiles();
    segments(tables, fresh, &ids, &profiles, now)?;
    point("segments");
    profile(tables, fresh.model, &ids, &profiles)?;
    point("profile");
    Ok(())
}

fn members(
    tables: &Tables,
    fresh: &Fresh<'_>,
    now: TimestampWithTimeZone,
    placing: &Placing<'_>,
) -> Result<()> {
    let Tables { members, members_id: id, .. } = tables;
    let extra: &[&str] = if fresh.members.is_rfm() { &RFM.map(|(name, _, _)| name) } else { &[] };
    // What is compared; version and time say when a row changed last.
    let compared: Vec<&str> =
        ["segment_id", "label", "distance", "reason"].iter().chain(extra).copied().collect();
    let list =
        |alias: &str| compared.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ");
    let extras: String = extra.iter().map(|name| format!(", n.{name}")).collect();
    let rows = format!(
        "SELECT n.id, n.segment_id, l.label, n.distance, n.reason{extras}
         FROM ({}) n LEFT JOIN ROWS FROM (unnest($1::int[]), unnest($2::text[])) l(segment_id, label)
           ON l.segment_id = n.segment_id",
        fresh.members.placed("$5")
    );
    let insert = format!(
        "INSERT INTO {members} ({id}, {}, model_version, assigned_at) SELECT n.id, {}, $3, $4 FROM",
        compared.join(", "),
        list("n")
    );
    let set: Vec<String> = compared.iter().map(|name| format!("{name} = n.{name}")).collect();
    let statement = if exists(&format!("SELECT FROM {members}"))? {
        format!(
            "WITH new AS ({rows}),
             differ AS MATERIALIZED (
               SELECT n.*, m.{id} AS former FROM new n FULL JOIN {members} m ON m.{id} = n.id
               WHERE n.id IS NULL OR m.{id} IS NULL OR ({}) IS DISTINCT FROM ({})),
             gone AS (DELETE FROM {members} m USING differ n WHERE m.{id} = n.former AND n.id IS NULL),
             changed AS (UPDATE {members} m SET {}, model_version = $3, assigned_at = $4 FROM differ n WHERE m.{id} = n.id)
             {insert} differ n WHERE n.former IS NULL",
            list("m"),
            list("n"),
            set.join(", "),
        )
    } else {
        format!("{insert} ({rows}) n")
    };
    let ids: Vec<i32> = fresh.model.ids.iter().map(|&id| id as i32).collect();
    run(
        &statement,
        &[
            argument(ids),
            argument(fresh.labels.to_vec()),
            argument(fresh.version),
            argument(now),
            argument(reasons(fresh.model)),
        ],
    )?;
    let written = Spi::connect_mut(|client| {
        client.update(&format!("SELECT count(*) FROM {members}"), None, &[])?.first().get_one::<i64>()
    });
    // An update takes any one of the rows that have its id.
    if written.map_err(failed)?.unwrap_or(0) as u64 != placing.rows() {
        return Err(not_unique(id));
    }
    Ok(())
}

/// 23505 for ids that stand in more than one row.
pub(super) fn not_unique(id: &str) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_UNIQUE_VIOLATION, format!("the ids in column {id} are not unique"))
        .set_detail("Each row of the relation becomes one member; some share an id.")
        .set_hint("Read from a view with one row per id.")
}

/// Closes what has ended, then opens what the rows changed just now say.
fn history(tables: &Tables, now: TimestampWithTimeZone) -> Result<()> {
    let Tables { members, history, members_id: id, history_id, .. } = tables;
    run(
        &format!(
            "UPDATE {history} h SET exited_at = $1 WHERE h.exited_at IS NULL
               AND NOT EXISTS (SELECT FROM {members} m WHERE m.{id} = h.{history_id} AND m.segment_id = h.segment_id)"
        ),
        &[argument(now)],
    )?;
    run(
        &format!(
            "INSERT INTO {history} ({history_id}, segment_id, previous_segment_id, entered_at)
             SELECT m.{id}, m.segment_id, p.segment_id, $1
             FROM {members} m LEFT JOIN {history} p ON p.{history_id} = m.{id} AND p.exited_at = $1
             WHERE m.segment_id IS NOT NULL AND m.assigned_at = $1
               AND NOT EXISTS (SELECT FROM {history} h WHERE h.{history_id} = m.{id} AND h.exited_at IS NULL)"
        ),
        &[argument(now)],
    )
}

fn segments(
    tables: &Tables,
    fresh: &Fresh<'_>,
    ids: &[i32],
    profiles: &[Profile],
    now: TimestampWithTimeZone,
) -> Result<()> {
    let segments = &tables.segments;
    run(
        &format!(
            "INSERT INTO {segments} AS s (segment_id, label, members, share, mean_distance, model_version, created_at)
             SELECT l.segment_id, l.label, l.members, l.share, l.mean_distance, $6, $7
             FROM ROWS FROM (unnest($1::int[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::float8[]),
                             unnest($5::float8[])) l(segment_id, label, members, share, mean_distance)
             ON CONFLICT (segment_id) DO UPDATE
               SET label = excluded.label, members = excluded.members, share = excluded.share,
                   mean_distance = excluded.mean_distance, model_version = excluded.model_version, retired_at = NULL
               WHERE (s.label, s.members, s.share, s.mean_distance, s.retired_at) IS DISTINCT FROM
                     (excluded.label, excluded.members, excluded.share, excluded.mean_distance, NULL)"
        ),
        &[
            argument(ids.to_vec()),
            argument(fresh.labels.to_vec()),
            argument(profiles.iter().map(|each| each.members as i64).collect::<Vec<_>>()),
            argument(profiles.iter().map(|each| each.share).collect::<Vec<_>>()),
            argument(
                profiles
                    .iter()
                    .map(|each| each.mean_distance.filter(|_| !fresh.members.is_rfm()))
                    .collect::<Vec<_>>(),
            ),
            argument(fresh.version),
            argument(now),
        ],
    )?;
    run(
        &format!(
            "UPDATE {segments} SET members = 0, share = 0, mean_distance = NULL, model_version = $2, retired_at = $3
             WHERE retired_at IS NULL AND segment_id <> ALL ($1)"
        ),
        &[argument(ids.to_vec()), argument(fresh.version), argument(now)],
    )
}

/// Segments that nobody belongs to have no profile.
fn profile(tables: &Tables, model: &Segments<'_>, ids: &[i32], profiles: &[Profile]) -> Result<()> {
    let profile = &tables.profile;
    let (mut segments, mut features) = (Vec::new(), Vec::new());
    let (mut means, mut populations, mut z) = (Vec::new(), Vec::new(), Vec::new());
    for (id, of_segment) in ids.iter().zip(profiles) {
        for (at, feature) in of_segment.features.iter().enumerate() {
            let (Some(mean), Some(apart)) = (feature.mean, feature.z) else { continue };
            segments.push(*id);
            features.push(model.features.get(at).to_string());
            means.push(mean);
            populations.push(feature.population_mean);
            z.push(apart);
        }
    }
    run(
        &format!(
            "DELETE FROM {profile} p WHERE NOT EXISTS
               (SELECT FROM ROWS FROM (unnest($1::int[]), unnest($2::text[])) n(segment_id, feature)
                WHERE n.segment_id = p.segment_id AND n.feature = p.feature)"
        ),
        &[argument(segments.clone()), argument(features.clone())],
    )?;
    run(
        &format!(
            "INSERT INTO {profile} AS p (segment_id, feature, mean, population_mean, z)
             SELECT * FROM ROWS FROM (unnest($1::int[]), unnest($2::text[]), unnest($3::float8[]), unnest($4::float8[]),
                                      unnest($5::float8[])) n
             ON CONFLICT (segment_id, feature) DO UPDATE
               SET mean = excluded.mean, population_mean = excluded.population_mean, z = excluded.z
               WHERE (p.mean, p.population_mean, p.z) IS DISTINCT FROM (excluded.mean, excluded.population_mean, excluded.z)"
        ),
        &[argument(segments), argument(features), argument(means), argument(populations), argument(z)],
    )
}

/// The highest id in a table of segments; 0 where there is none.
pub(super) fn highest_id(outputs: &[(Output, pg_sys::Oid)]) -> Result<u32> {
    let table = outputs.iter().find(|(output, _)| *output == Output::Segments);
    let Some(name) = table.and_then(|(_, relation)| qualified_name(*relation)) else {
        return Ok(0);
    };
    let _path = Identity::pinned_path();
    let found = Spi::connect_mut(|client| {
        client.update(&format!("SELECT max(segment_id) FROM {name}"), None, &[])?.first().get_one::<i32>()
    });
    Ok(found.map_err(failed)?.map_or(0, |id| id.max(0) as u32))
}

/// Shows the label of a segment in the tables. The caller acts as the owner of the model.
pub(super) fn relabel(tables: &Tables, segment_id: i32, label: &str) -> Result<()> {
    let _path = Identity::pinned_path();
    check_at_once(&tables.relations)?;
    for table in [&tables.segments, &tables.members] {
        run(
            &format!("UPDATE {table} SET label = $2 WHERE segment_id = $1 AND label <> $2"),
            &[argument(segment_id), argument(label.to_string())],
        )?;
    }
    Ok(())
}

fn now() -> Result<TimestampWithTimeZone> {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    TimestampWithTimeZone::try_from(now)
        .map_err(|_| fail(Code::ERRCODE_DATETIME_FIELD_OVERFLOW, "the clock is out of range"))
}

fn failed(error: pgrx::spi::Error) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not write the tables of the model: {error}"))
}

fn run(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<()> {
    Spi::connect_mut(|client| client.update(statement, None, arguments).map(|_| ())).map_err(failed)
}

fn exists(query: &str) -> Result<bool> {
    let found = Spi::connect_mut(|client| {
        client.update(&format!("SELECT EXISTS ({query})"), None, &[])?.first().get_one::<bool>()
    });
    Ok(found.map_err(failed)?.unwrap_or(false))
}

/// The labels of a version's segments: generated ones, unless people gave others.
pub(crate) fn labels(model_id: pgrx::Uuid, segments: &Segments<'_>) -> Result<Vec<String>> {
    let given = registry::labels(model_id, Seen::Latest)?;
    let label = |(at, id): (usize, &u32)| {
        let edited = given.iter().find(|(each, _)| each == id).map(|(_, label)| label.clone());
        edited.unwrap_or_else(|| segments.labels.get(at).to_string())
    };
    Ok(segments.ids.iter().enumerate().map(label).collect())
}
