//! What a running training tells other sessions: one small file a backend beside the server's temporary files,
//! rewritten every 20 ms at most and read by `persona.training_progress`. Needs no shared memory.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use serde_json::{Value, json};

use crate::pg::call::{Answer, Call, datum};
use crate::pg::work::AtExit;

const FOLDER: &str = "base/pgsql_tmp";
const PREFIX: &str = "pgsql_tmp_persona.progress.";

/// The record of this backend's training; the file goes with the value.
pub(crate) struct Progress {
    file: PathBuf,
    model: String,
    algorithm: &'static str,
    started_at: i64,
    phase: &'static str,
    phase_at: i64,
    iterations: usize,
    pub(crate) rows_read: u64,
    written_at: Cell<i64>,
    /// The file goes with the process, too.
    _exit: AtExit,
}

/// Microseconds since 2000, as Postgres counts them.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

impl Progress {
    /// Starts a record.
    pub(crate) fn start(model: &str, algorithm: &'static str) -> Progress {
        // SAFETY: MyProcPid is set in every backend.
        let pid = unsafe { pg_sys::MyProcPid };
        // The folder is absent on a fresh cluster; without the file the training runs all the same.
        let _ = fs::create_dir(FOLDER);
        remove_stale();
        let file = PathBuf::from(format!("{FOLDER}/{PREFIX}{pid}"));
        let written = file.clone();
        let exit = AtExit::run(move || {
            let _ = fs::remove_file(&written);
        });
        let progress = Progress {
            file,
            _exit: exit,
            model: model.to_string(),
            algorithm,
            started_at: now(),
            phase: "starting",
            phase_at: now(),
            iterations: 0,
            rows_read: 0,
            written_at: Cell::new(0),
        };
        progress.write(0, 0, 0);
        progress
    }

    /// Begins a phase.
    pub(crate) fn begin(&mut self, phase: &'static str, iterations: usize) {
        self.phase = phase;
        self.phase_at = now();
        self.iterations = iterations;
    }

    /// So many rows have been read. The clock is read every time, the record is written every 100 ms.
    pub(crate) fn read(&mut self, rows: u64, memory: u64) {
        if now() - self.written_at.get() >= 100_000 {
            self.rows_read = rows;
            self.write(0, 0, memory);
        }
    }

    /// Writes the record: `done` of `total` steps of the phase, bytes held.
    pub(crate) fn write(&self, done: u64, total: u64, memory: u64) {
        self.written_at.set(now());
        let fraction = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        // SAFETY: process-wide values that are set in every backend.
        let (pid, backend_start, database, role) = unsafe {
            (
                pg_sys::MyProcPid,
                pg_sys::MyStartTimestamp,
                pg_sys::MyDatabaseId.to_u32(),
                pg_sys::GetUserId().to_u32(),
            )
        };
        let record = json!({
            "pid": pid, "backend_start": backend_start, "database": database, "role": role,
            "model": self.model, "algorithm": self.algorithm, "phase": self.phase,
            "iteration": (fraction * self.iterations as f64) as i64, "iterations": self.iterations,
            "fraction": fraction, "rows_read": self.rows_read, "memory_bytes": memory,
            "started_at": self.started_at, "phase_at": self.phase_at, "at": now(),
        });
        let _ = fs::write(&self.file, record.to_string());
    }
}

/// Removes the records of backends that ended without doing so.
fn remove_stale() {
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_string_lossy().strip_prefix(PREFIX).and_then(|pid| pid.parse().ok());
        // SAFETY: signal 0 only asks whether the process exists.
        if pid.is_some_and(|pid| unsafe { libc::kill(pid, 0) } != 0) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Whether the current user may see a training of a role: its own, or of anybody as a member of pg_read_all_stats.
fn may_see(role: pg_sys::Oid) -> bool {
    // SAFETY: reads the system caches.
    unsafe {
        let user = pg_sys::GetUserId();
        pg_sys::has_privs_of_role(user, role)
            || pg_sys::has_privs_of_role(user, pg_sys::ROLE_PG_READ_ALL_STATS.into())
    }
}

/// `persona_internal.training_progress()`: the records of this database that the current user may see. The view over it
/// leaves out those whose backends are gone.
pub(crate) fn training_progress(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    // The folder is absent on a fresh cluster.
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A record that is being rewritten or just went away is left out.
        let Some(record) =
            fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        else {
            continue;
        };
        // SAFETY: set in every backend.
        if record["database"].as_u64() != Some(u64::from(unsafe { pg_sys::MyDatabaseId }.to_u32())) {
            continue;
        }
        let number = |name: &str| record[name].as_i64();
        let role = number("role").map(|role| pg_sys::Oid::from(role as u32));
        if !role.is_some_and(may_see) {
            continue;
        }
        let text = |name: &str| record[name].as_str().map(str::to_string);
        let time = |at: i64| TimestampWithTimeZone::try_from(at as pg_sys::TimestampTz).ok();
        let started = number("started_at").unwrap_or(0);
        let fraction = record["fraction"].as_f64().unwrap_or(0.0);
        let phase_at = number("phase_at").unwrap_or(started);
        let elapsed = number("at").unwrap_or(phase_at) - phase_at;
        let eta = (fraction > 0.0).then(|| phase_at.saturating_add((elapsed as f64 / fraction) as i64));
        rows.push(&[
            number("pid").and_then(|pid| datum(pid as i32)),
            number("backend_start").and_then(time).and_then(datum),
            role.and_then(datum),
            text("model").and_then(datum),
            text("algorithm").and_then(datum),
            text("phase").and_then(datum),
            number("iteration").and_then(|n| datum(n as i32)),
            number("iterations").and_then(|n| datum(n as i32)),
            datum(fraction),
            number("rows_read").and_then(datum),
            number("memory_bytes").and_then(datum),
            time(started).and_then(datum),
            eta.and_then(time).and_then(datum),
        ])?;
    }
    Ok(None)
}
