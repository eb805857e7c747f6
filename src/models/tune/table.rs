//! `<model>_trials`: a row for each trial, and in the comment of the table what was searched for.

use pgrx::datum::DatumWithOid;
use pgrx::{JsonB, Spi, pg_sys};
use serde_json::{Map, Value};
use tuning::{Method, Outcome};

use super::space::Space;
use crate::models::identity::{self, Named, Place};
use crate::models::kind::Trainer;
use crate::models::outputs::{check_at_once, check_free, copy_grants};
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Model, Output, models};
use crate::pg::access::Identity;
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, qualified_name};
use crate::pg::options::choose;
use crate::pg::sql::{argument, execute};

/// What comes before the search in the comment of the table.
const COMMENT: &str = "trials of persona.tune(): ";

/// The words of `method`; of a grid the levels are added.
pub(super) const METHODS: [(&str, Method); 3] =
    [("grid", Method::Grid { levels: 0 }), ("random", Method::Random), ("tpe", Method::Tpe)];

/// What is searched for, as it was written: everything that makes two trials comparable.
#[derive(Clone, PartialEq)]
pub(super) struct Search {
    pub(super) trainer: String,
    pub(super) method: String,
    pub(super) levels: i64,
    pub(super) seed: i64,
    pub(super) folds: i64,
    /// The space that was given; none for the usual one.
    pub(super) given: Option<Map<String, Value>>,
}

impl Search {
    /// As the comment has it, with the space that was really searched.
    fn written(&self, space: &Map<String, Value>) -> Value {
        serde_json::json!({
            "trainer": self.trainer, "method": self.method, "levels": self.levels, "seed": self.seed,
            "folds": self.folds, "given": self.given, "space": space,
        })
    }

    fn read(comment: &str) -> Option<(Search, Map<String, Value>)> {
        let written: Value = serde_json::from_str(comment.strip_prefix(COMMENT)?).ok()?;
        let text = |key: &str| Some(written.get(key)?.as_str()?.to_string());
        let whole = |key: &str| written.get(key)?.as_i64();
        let search = Search {
            trainer: text("trainer")?,
            method: text("method")?,
            levels: whole("levels")?,
            seed: whole("seed")?,
            folds: whole("folds")?,
            given: written.get("given")?.as_object().cloned(),
        };
        Some((search, written.get("space")?.as_object()?.clone()))
    }

    pub(super) fn method(&self) -> Result<Method> {
        Ok(match choose("method", &self.method, &METHODS)? {
            Method::Grid { .. } => Method::Grid { levels: self.levels.max(1) as usize },
            other => other,
        })
    }
}

/// A row.
pub(super) struct Row {
    pub(super) trial: i32,
    pub(super) state: String,
    pub(super) settings: Map<String, Value>,
    pub(super) metric: Option<String>,
    pub(super) value: Option<f64>,
    pub(super) folds: Vec<f64>,
    pub(super) error: Option<String>,
    /// Whether it has the settings of the version that was live.
    live: bool,
}

impl Row {
    /// Whether lower values of its metric are better.
    fn errs(&self) -> bool {
        self.metric.as_deref() == Some("rmse")
    }

    /// A value as one of which higher ones are better.
    fn upward(&self, value: f64) -> f64 {
        if self.errs() { -value } else { value }
    }

    /// What it came to, where higher values are better.
    pub(super) fn outcome(&self) -> Outcome {
        match (self.state.as_str(), self.value) {
            ("finished", Some(value)) if value.is_finite() => Outcome::Finished(self.upward(value)),
            ("abandoned", Some(value)) if value.is_finite() => Outcome::Abandoned(self.upward(value)),
            _ => Outcome::Failed,
        }
    }

    /// The values of its folds, where higher ones are better.
    pub(super) fn reached(&self) -> Vec<f64> {
        self.folds.iter().map(|value| self.upward(*value)).collect()
    }
}

/// What was measured of a trial.
pub(super) struct Measured {
    pub(super) finished: bool,
    pub(super) metric: String,
    pub(super) value: f64,
    pub(super) baseline: f64,
    pub(super) folds: Vec<f64>,
    pub(super) seconds: f64,
}

/// The table of a model. All of it is done as the owner of the model.
pub(super) struct Table {
    name: String,
}

impl Table {
    pub(super) fn find(model: &Model) -> Result<Option<Table>> {
        let known = registry::outputs(model.model_id, Seen::Latest)?;
        let known = known.into_iter().find(|(output, _)| *output == Output::Trials);
        let Some((_, relation)) = known.filter(|&(_, table)| identity::hold(table)) else { return Ok(None) };
        check_at_once(&[relation])?;
        Ok(qualified_name(relation).map(|name| Table { name }))
    }

    pub(super) fn create(named: &Named, model: &Model) -> Result<Table> {
        let Some(place) = Place::of(named.relation) else { return Err(identity::no_model(&named.name)) };
        let name = place.beside("_trials");
        check_free(&name)?;
        execute(&format!(
            "CREATE TABLE {name} (trial int PRIMARY KEY, live bool NOT NULL, state text NOT NULL, settings jsonb NOT NULL, metric text,
               value float8, baseline float8, folds float8[], seconds float8, error text, started_at timestamptz NOT NULL,
               finished_at timestamptz)"
        ))?;
        for (column, comment) in [
            ("trial", "number of the trial, from 1"),
            ("live", "whether these are the settings of the version that was live"),
            ("state", "running, finished, abandoned (worse than most after some folds) or failed"),
            ("settings", "settings that were tried"),
            ("metric", "what was measured: ndcg@10, higher is better, or rmse, lower is better"),
            ("value", "mean over the folds"),
            ("baseline", "the same of recommending what is popular, or of the mean rating of each item"),
            ("folds", "value of each holdout"),
            ("seconds", "time that it took"),
            ("error", "what it failed with"),
            ("started_at", "when it began"),
            ("finished_at", "when it ended"),
        ] {
            execute(&format!("COMMENT ON COLUMN {name}.{column} IS {}", literal(comment)))?;
        }
        let made = identity::lookup(&name)?.ok_or_else(|| {
            fail(Code::ERRCODE_UNDEFINED_TABLE, format!("could not find the table {name} just made"))
        })?;
        copy_grants(named.relation, &name)?;
        models::insert_outputs(model.model_id, &[(Output::Trials, made.relation)])?;
        Ok(Table { name })
    }

    /// Begins a search: no rows, and what is searched for.
    pub(super) fn begin(&self, search: &Search, space: &Map<String, Value>) -> Result<()> {
        self.run(&format!("DELETE FROM {}", self.name), &[])?;
        let comment = format!("{COMMENT}{}", search.written(space));
        execute(&format!("COMMENT ON TABLE {} IS {}", self.name, literal(&comment)))
    }

    /// What is searched for; 55000 where the comment does not say it.
    pub(super) fn search(&self) -> Result<(Search, Map<String, Value>)> {
        let comment = {
            let _path = Identity::pinned_path();
            Spi::get_one_with_args::<String>(
                "SELECT pg_catalog.obj_description($1::pg_catalog.regclass, 'pg_class')",
                &[argument(self.name.clone())],
            )
            .map_err(unread)?
        };
        comment.as_deref().and_then(Search::read).ok_or_else(|| self.another())
    }

    /// 55000 for a table of other trials.
    pub(super) fn another(&self) -> pgrx::pg_sys::panic::ErrorReport {
        fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} has the trials of another search", self.name),
        )
        .set_detail(
            "A search goes on with the same trainer, \"method\", \"space\", \"folds\", \"seed\" and \"levels\" only.",
        )
        .set_hint("Give these as they were, or begin anew with options => '{\"restart\": true}'.")
    }

    /// All trials.
    pub(super) fn rows(&self) -> Result<Vec<Row>> {
        let _path = Identity::pinned_path();
        let query = format!(
            "SELECT trial, state, settings::text, metric, value, folds, error, live FROM {} ORDER BY trial",
            self.name
        );
        Spi::connect_mut(|client| {
            // Not read-only: what this transaction has written counts.
            let rows = client.update(&query, None, &[])?;
            rows.map(|row| {
                let settings = row.get::<String>(3)?.and_then(|text| serde_json::from_str(&text).ok());
                Ok(Row {
                    trial: row.get(1)?.unwrap_or_default(),
                    state: row.get(2)?.unwrap_or_default(),
                    settings: match settings {
                        Some(Value::Object(settings)) => settings,
                        _ => Map::new(),
                    },
                    metric: row.get(4)?,
                    value: row.get(5)?,
                    folds: row
                        .get::<Vec<Option<f64>>>(6)?
                        .unwrap_or_default()
                        .into_iter()
                        .flatten()
                        .collect(),
                    error: row.get(7)?,
                    live: row.get(8)?.unwrap_or_default(),
                })
            })
            .collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(unread)
    }

    /// The trials as points of a space; 55000 where somebody changed them. What is live may lie outside.
    pub(super) fn points(&self, rows: &[Row], space: &Space) -> Result<Vec<tuning::Trial>> {
        let each = rows.iter().filter_map(|row| match space.point(&row.settings) {
            Some(values) => Some(Ok(tuning::Trial { values, outcome: row.outcome() })),
            None if row.live => None,
            None => Some(Err(self.another())),
        });
        each.collect()
    }

    /// Ends what nobody runs any more.
    pub(super) fn fail_running(&self, error: &str) -> Result<()> {
        self.run(
            &format!(
                "UPDATE {} SET state = 'failed', error = $1, finished_at = clock_timestamp() WHERE state = 'running'",
                self.name
            ),
            &[argument(error.to_string())],
        )
    }

    pub(super) fn insert(&self, trial: i32, settings: Map<String, Value>, live: bool) -> Result<()> {
        self.run(
            &format!(
                "INSERT INTO {} (trial, live, state, settings, started_at) VALUES ($1, $2, 'running', $3, clock_timestamp())",
                self.name
            ),
            &[argument(trial), argument(live), argument(JsonB(Value::Object(settings)))],
        )
    }

    pub(super) fn finish(&self, trial: i32, measured: &Measured) -> Result<()> {
        let state = if measured.finished { "finished" } else { "abandoned" };
        self.run(
            &format!(
                "UPDATE {} SET state = $2, metric = $3, value = $4, baseline = $5, folds = $6, seconds = $7,
                   finished_at = clock_timestamp() WHERE trial = $1",
                self.name
            ),
            &[
                argument(trial),
                argument(state.to_string()),
                argument(measured.metric.clone()),
                argument(measured.value),
                argument(measured.baseline),
                argument(measured.folds.clone()),
                argument(measured.seconds),
            ],
        )
    }

    fn run(&self, statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<()> {
        let _path = Identity::pinned_path();
        Spi::connect_mut(|client| client.update(statement, None, arguments).map(|_| ())).map_err(|error| {
            fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not write the trials: {error}"))
        })
    }
}

fn unread(error: pgrx::spi::Error) -> pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the trials: {error}"))
}

/// The space of a search as it is written in the comment of its table.
pub(super) fn space_of(table: &Table, trainer: &Trainer) -> Result<(Search, Space)> {
    let (search, written) = table.search()?;
    let space = Space::parse(&written, trainer).map_err(|_| table.another())?;
    Ok((search, space))
}
