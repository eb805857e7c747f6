//! Writing the registry: plain SQL as the owner of the registry's tables, with a pinned search path. The caller
//! has checked the right to do so.

use std::borrow::Cow;
use std::ffi::CString;

use base::image::Layout;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{IntoDatum, JsonB, PgMemoryContexts, PgOid, Spi, Uuid, pg_sys};

use super::reclaim::reclaim;
use super::scan::{self, Seen};
use super::{Metric, Output, prune, queue};
use crate::access::{self, Identity};
use crate::error::{Code, Result, fail};
use crate::fault::point;
use crate::sql::argument;

/// Bytes of one stored piece of an image: it fills a page, so that nothing goes to the TOAST table, which would have four
/// rows and index entries for it. With its row it takes 7840 bytes, and leaves room for the line pointers of 81 pieces that
/// were in the page before it and that no VACUUM has removed yet.
pub(super) const CHUNK: usize = 7792;

/// Pieces after which the memory of their datums goes back.
const PIECES: i32 = 128;

/// Runs statements as the owner of the registry.
pub(super) fn as_registry_owner<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let _identity = Identity::become_user(scan::owner()?, false);
    body()
}

/// Runs one statement of the registry; the number of rows that it touched.
pub(super) fn run(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<u64> {
    Spi::connect_mut(|client| {
        client.update(statement, None, arguments).map(|table| table.len() as u64).map_err(not_written)
    })
}

fn not_written(error: pgrx::spi::Error) -> ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not write the registry: {error}"))
}

pub(super) fn unreadable(error: pgrx::spi::Error) -> ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the registry: {error}"))
}

/// A new random id of version 4.
pub(crate) fn new_id() -> Result<Uuid> {
    let mut bytes = [0u8; 16];
    // SAFETY: fills exactly the 16 bytes it is given.
    if !unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) } {
        return Err(fail(Code::ERRCODE_INTERNAL_ERROR, "could not generate random values"));
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Uuid::from_bytes(bytes))
}

/// Adds a model.
pub(crate) fn insert_model(
    model_id: Uuid,
    relation: pg_sys::Oid,
    name: &str,
    kind: &str,
    spec: JsonB,
) -> Result<()> {
    as_registry_owner(|| {
        run(
            "INSERT INTO persona_internal.model VALUES ($1, $2, $3, $4, $5, pg_catalog.now())",
            &[
                argument(model_id),
                argument(relation),
                argument(name.to_string()),
                argument(kind.to_string()),
                argument(spec),
            ],
        )?;
        Ok(())
    })
}

/// Notes the tables of a model.
pub(crate) fn insert_outputs(model_id: Uuid, outputs: &[(Output, pg_sys::Oid)]) -> Result<()> {
    as_registry_owner(|| {
        for (output, relation) in outputs {
            run(
                "INSERT INTO persona_internal.output VALUES ($1, $2, $3)
                 ON CONFLICT (model_id, word) DO UPDATE SET relation = excluded.relation",
                &[argument(model_id), argument(output.word().to_string()), argument(*relation)],
            )?;
        }
        Ok(())
    })
}

/// Notes the label that somebody gave to a segment, in place of any before; `None` removes it.
pub(crate) fn set_label(model_id: Uuid, segment_id: i32, label: Option<&str>) -> Result<()> {
    as_registry_owner(|| {
        match label {
            Some(label) => run(
                "INSERT INTO persona_internal.label VALUES ($1, $2, $3)
                 ON CONFLICT (model_id, segment_id) DO UPDATE SET label = excluded.label",
                &[argument(model_id), argument(segment_id), argument(label.to_string())],
            )?,
            None => run(
                "DELETE FROM persona_internal.label
                 WHERE model_id OPERATOR(pg_catalog.=) $1 AND segment_id OPERATOR(pg_catalog.=) $2",
                &[argument(model_id), argument(segment_id)],
            )?,
        };
        Ok(())
    })
}

/// Notes a model's present name and spec.
pub(crate) fn update_model(model_id: Uuid, name: &str, spec: JsonB) -> Result<()> {
    let attached = !queue::attached(model_id, Seen::Latest)?.is_empty();
    as_registry_owner(|| {
        let columns = "relation user_column item_column value_column time_column";
        let differs = columns.split(' ').map(|key| {
            format!(
                "spec OPERATOR(pg_catalog.->>) '{key}' IS DISTINCT FROM $2 OPERATOR(pg_catalog.->>) '{key}'"
            )
        });
        let moved = format!(
            "SELECT FROM persona_internal.model WHERE model_id OPERATOR(pg_catalog.=) $1 AND ({})",
            differs.collect::<Vec<_>>().join(" OR ")
        );
        if run(&moved, &[argument(model_id), argument(JsonB(spec.0.clone()))])? > 0 {
            // Neither its times nor its queue tell what another source has that a version has not seen. What is not stored
            // never goes live.
            run(
                "UPDATE persona_internal.version SET hyperparameters = hyperparameters OPERATOR(pg_catalog.-) 'newest_time'
                 WHERE model_id OPERATOR(pg_catalog.=) $1 AND stored",
                &[argument(model_id)],
            )?;
            if attached {
                queue::append(model_id, None)?;
            }
        }
        run(
            "UPDATE persona_internal.model SET last_name = $2, spec = $3 WHERE model_id OPERATOR(pg_catalog.=) $1",
            &[argument(model_id), argument(name.to_string()), argument(spec)],
        )?;
        Ok(())
    })
}

/// Notes the tables that are attached to a model, in place of any before.
pub(crate) fn set_attachment(model_id: Uuid, relations: &[pg_sys::Oid]) -> Result<()> {
    as_registry_owner(|| {
        run(
            "DELETE FROM persona_internal.attachment WHERE model_id OPERATOR(pg_catalog.=) $1",
            &[argument(model_id)],
        )?;
        for (ordinal, relation) in (1i32..).zip(relations) {
            run(
                "INSERT INTO persona_internal.attachment VALUES ($1, $2, $3)",
                &[argument(model_id), argument(ordinal), argument(*relation)],
            )?;
        }
        Ok(())
    })
}

/// Forgets that a model was attached, and what is queued for it.
pub(crate) fn delete_attachment(model_id: Uuid) -> Result<()> {
    as_registry_owner(|| {
        for table in ["attachment", "queue"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes the rows of a model's queue that a snapshot shows and that were there at a moment.
pub(crate) fn forget_changes(
    model_id: Uuid,
    snapshot: pg_sys::Snapshot,
    until: pgrx::datum::TimestampWithTimeZone,
) -> Result<()> {
    as_registry_owner(|| {
        run_under(
            snapshot,
            "DELETE FROM persona_internal.queue WHERE model_id OPERATOR(pg_catalog.=) $1
               AND queued_at OPERATOR(pg_catalog.<=) $2",
            [(model_id.into_datum(), pg_sys::UUIDOID), (until.into_datum(), pg_sys::TIMESTAMPTZOID)],
        )
    })
}

/// Notes that a version has read these rows.
pub(crate) fn mark_changes(
    model_id: Uuid,
    snapshot: pg_sys::Snapshot,
    until: pgrx::datum::TimestampWithTimeZone,
    version: i32,
) -> Result<()> {
    as_registry_owner(|| {
        run_under(
            snapshot,
            "UPDATE persona_internal.queue SET read_by = $3 WHERE model_id OPERATOR(pg_catalog.=) $1
               AND queued_at OPERATOR(pg_catalog.<=) $2",
            [
                (model_id.into_datum(), pg_sys::UUIDOID),
                (until.into_datum(), pg_sys::TIMESTAMPTZOID),
                (version.into_datum(), pg_sys::INT4OID),
            ],
        )
    })
}

/// Runs a statement that changes what a snapshot shows, which may be older than the statement. No argument is NULL.
fn run_under<const N: usize>(
    snapshot: pg_sys::Snapshot,
    statement: &str,
    arguments: [(Option<pg_sys::Datum>, pg_sys::Oid); N],
) -> Result<()> {
    let statement = CString::new(statement).unwrap_or_default();
    let mut types = arguments.map(|(_, type_oid)| type_oid);
    let mut values = arguments.map(|(value, _)| value.unwrap_or(pg_sys::Datum::null()));
    // SAFETY: SPI is connected and finished around what uses it, and an error unwinds through here without SPI_finish: the
    // abort of the transaction does that. The arrays have as many entries as the statement has parameters.
    let code = unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(statement.as_ptr(), N as i32, types.as_mut_ptr());
        let code = if plan.is_null() {
            pg_sys::SPI_result
        } else {
            let none = std::ptr::null_mut();
            pg_sys::SPI_execute_snapshot(
                plan,
                values.as_mut_ptr(),
                std::ptr::null(),
                snapshot,
                none,
                false,
                true,
                0,
            )
        };
        pg_sys::SPI_finish();
        code
    };
    if code < 0 {
        let message = format!("could not write the registry: SPI error {code}");
        return Err(fail(Code::ERRCODE_INTERNAL_ERROR, message));
    }
    Ok(())
}

/// XX000 for a clock whose time is no time.
pub(crate) fn damaged_clock() -> ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, "the clock of this machine is out of range")
}

/// Removes what a version has read of a model's queue; what other versions did counts as read by none.
pub(crate) fn release_changes(model_id: Uuid, version: i32) -> Result<()> {
    as_registry_owner(|| {
        run(
            "DELETE FROM persona_internal.queue WHERE model_id OPERATOR(pg_catalog.=) $1
               AND read_by OPERATOR(pg_catalog.=) $2",
            &[argument(model_id), argument(version)],
        )?;
        run(
            "UPDATE persona_internal.queue SET read_by = NULL WHERE model_id OPERATOR(pg_catalog.=) $1
               AND read_by IS NOT NULL",
            &[argument(model_id)],
        )?;
        Ok(())
    })
}

/// Removes a model with all it has.
pub(crate) fn delete_model(model_id: Uuid) -> Result<()> {
    delete_contents(model_id)?;
    as_registry_owner(|| {
        for table in ["output", "model"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes what a model has but the note of its tables.
fn delete_contents(model_id: Uuid) -> Result<()> {
    prune::images(model_id, &[], i32::MAX as usize)?;
    as_registry_owner(|| {
        for table in ["version", "deployment", "metric", "training_log", "label", "attachment", "queue"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes the models whose view somebody dropped by hand, or that a restore left without one. What it knows of tables stays
/// for as long as these do: `persona.check()` tells of them.
pub(crate) fn sweep() -> Result<()> {
    let orphans: Vec<Uuid> = as_registry_owner(|| {
        Spi::connect_mut(|client| {
            let found = client.update(
                "SELECT model_id FROM persona_internal.model m
                 WHERE NOT EXISTS
                   (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) m.relation::pg_catalog.oid)
                 FOR UPDATE SKIP LOCKED",
                None,
                &[],
            )?;
            found.map(|row| row.get::<Uuid>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(unreadable)
        .map(|ids| ids.into_iter().flatten().collect())
    })?;
    orphans.into_iter().try_for_each(|model_id| {
        delete_contents(model_id)?;
        as_registry_owner(|| {
            for statement in [
                "DELETE FROM persona_internal.output o WHERE o.model_id OPERATOR(pg_catalog.=) $1
                 AND NOT EXISTS
                   (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid)",
                "DELETE FROM persona_internal.model m WHERE m.model_id OPERATOR(pg_catalog.=) $1
                 AND NOT EXISTS
                   (SELECT FROM persona_internal.output o WHERE o.model_id OPERATOR(pg_catalog.=) m.model_id)",
            ] {
                run(statement, &[argument(model_id)])?;
            }
            Ok(())
        })
    })
}

/// The tables that are left of a model without a view, if this is one of them.
pub(crate) fn left_with(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    as_registry_owner(|| {
        Spi::connect(|client| {
            let found = client.select(
                "SELECT c.oid FROM persona_internal.output mine
                 JOIN persona_internal.model m USING (model_id) JOIN persona_internal.output o USING (model_id)
                 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid
                 WHERE mine.relation::pg_catalog.oid OPERATOR(pg_catalog.=) $1
                   AND NOT EXISTS
                     (SELECT FROM pg_catalog.pg_class v WHERE v.oid OPERATOR(pg_catalog.=) m.relation::pg_catalog.oid)
                 ORDER BY o.word",
                None,
                &[argument(relation)],
            )?;
            found.map(|row| row.get::<pg_sys::Oid>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(unreadable)
        .map(|tables| tables.into_iter().flatten().collect())
    })
}

/// What a finished training writes of its version.
pub(crate) struct NewVersion {
    pub(crate) model_id: Uuid,
    pub(crate) version: i32,
    pub(crate) image_id: Uuid,
    pub(crate) algorithm: &'static str,
    pub(crate) rows_used: i64,
    pub(crate) rows_skipped: i64,
    pub(crate) users: Option<i64>,
    pub(crate) items: Option<i64>,
    pub(crate) iterations: i32,
    pub(crate) converged: bool,
    pub(crate) metric: Option<String>,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) live_value: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) bytes: i64,
    pub(crate) deploy_reason: String,
    pub(crate) hyperparameters: JsonB,
}

/// Adds a version.
pub(crate) fn insert_version(new: NewVersion) -> Result<()> {
    let arguments = [
        argument(new.model_id),
        argument(new.version),
        argument(new.image_id),
        argument(new.algorithm.to_string()),
        argument(access::current_user()),
        argument(new.rows_used),
        argument(new.rows_skipped),
        argument(new.users),
        argument(new.items),
        argument(new.iterations),
        argument(new.converged),
        argument(new.metric),
        argument(new.value),
        argument(new.baseline),
        argument(new.live_value),
        argument(new.seconds),
        argument(new.bytes),
        argument(new.deploy_reason),
        argument(new.hyperparameters),
    ];
    as_registry_owner(|| {
        run(
            "INSERT INTO persona_internal.version VALUES ($1, $2, $3, $4, pg_catalog.clock_timestamp(), $5, $6, $7,
               $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
            &arguments,
        )?;
        Ok(())
    })
}

/// Stores an image in pieces.
pub(crate) fn insert_image(image_id: Uuid, image: &Layout<'_>) -> Result<()> {
    reclaim(image.length().div_ceil(CHUNK as u64) as usize)?;
    as_registry_owner(|| {
        // Each piece becomes a datum of its own, which must not stay until the statement ends.
        let mut context = PgMemoryContexts::new("pg_persona image");
        Spi::connect_mut(|client| {
            let types = [pg_sys::UUIDOID, pg_sys::INT4OID, pg_sys::BYTEAOID].map(PgOid::from);
            let insert = "INSERT INTO persona_internal.chunk VALUES ($1, $2, $3)";
            let insert = client.prepare_mut(insert, &types).map_err(not_written)?;
            let mut ordinal = 0i32;
            image.chunks(CHUNK, |piece| {
                // SAFETY: nothing that is made in the context outlives the closure.
                unsafe {
                    context.switch_to(|_| {
                        let arguments = [argument(image_id), argument(ordinal), argument(piece)];
                        client.update(&insert, None, &arguments).map(drop).map_err(not_written)
                    })?;
                    if ordinal % PIECES == PIECES - 1 {
                        context.reset();
                    }
                }
                if ordinal == 0 {
                    point("piece");
                }
                crate::memory::interrupts();
                ordinal += 1;
                Ok(())
            })
        })
    })
}

/// Adds the figures of a version.
pub(crate) fn insert_metrics(model_id: Uuid, version: i32, metrics: &[Metric]) -> Result<()> {
    as_registry_owner(|| {
        for each in metrics {
            run(
                "INSERT INTO persona_internal.metric VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    argument(model_id),
                    argument(version),
                    argument(each.slice.clone()),
                    argument(each.metric.clone()),
                    argument(each.k),
                    argument(each.value),
                    argument(each.baseline),
                    argument(each.ci_low),
                    argument(each.ci_high),
                    argument(each.users),
                ],
            )?;
        }
        Ok(())
    })
}

/// A line of a training's log.
pub(crate) struct LogLine {
    pub(crate) iteration: Option<i32>,
    pub(crate) phase: Cow<'static, str>,
    pub(crate) loss: Option<f64>,
    pub(crate) validation: Option<f64>,
    pub(crate) seconds: f64,
}

/// Adds the log of a version's training.
pub(crate) fn insert_log(model_id: Uuid, version: i32, lines: &[LogLine]) -> Result<()> {
    as_registry_owner(|| {
        for (ordinal, line) in lines.iter().enumerate() {
            run(
                "INSERT INTO persona_internal.training_log VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    argument(model_id),
                    argument(version),
                    argument(ordinal as i32 + 1),
                    argument(line.iteration),
                    argument(line.phase.to_string()),
                    argument(line.loss),
                    argument(line.validation),
                    argument(line.seconds),
                ],
            )?;
        }
        Ok(())
    })
}

/// Appends to the deployment log. The caller holds the deploy lock.
pub(crate) fn insert_deployment(
    model_id: Uuid,
    version: i32,
    image_id: Uuid,
    previous: Option<i64>,
    action: &str,
    user: String,
) -> Result<()> {
    // The newest line is the one that counts: a sequence that somebody set back must not make it an older one.
    let next = super::live(model_id, Seen::Latest)?.map(|live| live.deployment_id.saturating_add(1));
    as_registry_owner(|| {
        run(
            "INSERT INTO persona_internal.deployment
               (deployment_id, model_id, version, image_id, previous, action, deployed_by, deployed_at)
             VALUES (GREATEST(pg_catalog.nextval('persona_internal.deployment_deployment_id_seq'), $7),
               $1, $2, $3, $4, $5, $6, pg_catalog.clock_timestamp())",
            &[
                argument(model_id),
                argument(version),
                argument(image_id),
                argument(previous),
                argument(action.to_string()),
                argument(user),
                argument(next),
            ],
        )?;
        Ok(())
    })
}
