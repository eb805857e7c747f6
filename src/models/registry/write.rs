//! Writing the registry: plain SQL as the owner of the registry's tables, with a pinned search path. The caller
//! has checked the right to do so.

use std::borrow::Cow;
use std::ffi::CString;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{JsonB, Spi, Uuid, pg_sys};

use super::Metric;
use super::scan::{self, Seen};
use crate::pg::access::{self, Identity};
use crate::pg::error::{Code, Result, fail};
use crate::pg::sql::argument;

/// Runs statements as the owner of the registry.
pub(crate) fn as_registry_owner<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let _identity = Identity::become_user(scan::owner()?, false);
    body()
}

/// Runs one statement of the registry; the number of rows that it touched.
pub(crate) fn run(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<u64> {
    Spi::connect_mut(|client| {
        client.update(statement, None, arguments).map(|table| table.len() as u64).map_err(not_written)
    })
}

pub(crate) fn not_written(error: pgrx::spi::Error) -> ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not write the registry: {error}"))
}

pub(crate) fn unreadable(error: pgrx::spi::Error) -> ErrorReport {
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

/// Runs a statement that reads or changes what a snapshot shows, which may be older than the statement; the number of its
/// rows. No argument is NULL.
pub(crate) fn run_under<const N: usize>(
    snapshot: pg_sys::Snapshot,
    statement: &str,
    arguments: [(Option<pg_sys::Datum>, pg_sys::Oid); N],
) -> Result<u64> {
    let statement = CString::new(statement).unwrap_or_default();
    let mut types = arguments.map(|(_, type_oid)| type_oid);
    let mut values = arguments.map(|(value, _)| value.unwrap_or(pg_sys::Datum::null()));
    // SAFETY: SPI is connected and finished around what uses it, and an error unwinds through here without SPI_finish: the
    // abort of the transaction does that. The arrays have as many entries as the statement has parameters.
    let (code, rows) = unsafe {
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
        let rows = pg_sys::SPI_processed;
        pg_sys::SPI_finish();
        (code, rows)
    };
    if code < 0 {
        let message = format!("could not write the registry: SPI error {code}");
        return Err(fail(Code::ERRCODE_INTERNAL_ERROR, message));
    }
    Ok(rows)
}

/// XX000 for a clock whose time is no time.
pub(crate) fn damaged_clock() -> ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, "the clock of this machine is out of range")
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
    // The newest line is the one that counts. A sequence could be set, back or to its end, by whoever may write all data.
    let next = super::live(model_id, Seen::Latest)?.map_or(1, |live| live.deployment_id.saturating_add(1));
    as_registry_owner(|| {
        run(
            "INSERT INTO persona_internal.deployment
               (deployment_id, model_id, version, image_id, previous, action, deployed_by, deployed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp())",
            &[
                argument(next),
                argument(model_id),
                argument(version),
                argument(image_id),
                argument(previous),
                argument(action.to_string()),
                argument(user),
            ],
        )?;
        Ok(())
    })
}
