//! `persona.train_als`: alternating least squares.

use std::time::Instant;

use base::need::Need;
use base::{Control, Csr};
use pgrx::pg_sys;
use recommenders::als::{MAX_FACTORS, MAX_ITERATIONS, Params, Solver, explicit, fit, need, refine, start};
use recommenders::defaults;
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, Data, Fitted, Learned, WarmStart};
use super::fit::settled;
use super::request::{LAST_WORDS, Request, Trains, column_arguments, last_arguments};
use super::train::train_first;
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::spec::{Spec, finite, object};
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::options::{Options, choose};
use crate::pg::settings;

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 9] = [
    "cg_steps",
    "item_features",
    "keep_log",
    "keep_versions",
    "segment_models",
    "segments",
    "solver",
    "threads",
    "user_features",
];

/// The words of `solver`.
const SOLVERS: [(&str, Solver); 2] = [("cg", Solver::ConjugateGradient), ("cholesky", Solver::Cholesky)];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 7] =
    ["factors", "regularization", "alpha", "iterations", "holdout", "deploy", "seed"];

/// What `train_als` was asked for, in the words of its arguments.
pub(crate) struct Als {
    factors: usize,
    regularization: Option<f64>,
    alpha: Option<f64>,
    iterations: usize,
    solver: Option<Solver>,
    cg_steps: usize,
    seed: u64,
    threads: usize,
    /// Whether values are ratings.
    rates: bool,
}

impl Als {
    /// The settings; a default that depends on data stands in as 1.
    fn usual(&self) -> Params {
        Params {
            factors: self.factors,
            regularization: self.regularization.unwrap_or(1.0),
            alpha: self.alpha.unwrap_or(1.0),
            iterations: self.iterations,
            solver: self.solver.unwrap_or(if self.rates {
                Solver::Cholesky
            } else {
                Solver::ConjugateGradient
            }),
            cg_steps: self.cg_steps,
            seed: self.seed,
            threads: self.threads,
        }
    }

    /// The settings of ratings.
    fn of_ratings(&self) -> explicit::Params {
        let usual = explicit::Params::default();
        let regularization = self.regularization.unwrap_or(usual.als.regularization);
        explicit::Params { als: Params { regularization, ..self.usual() }, ..usual }
    }

    /// The settings for this data: where the user gave none, the rule of `recommenders::defaults`.
    fn params(&self, user_items: &Csr, item_users: &Csr) -> Params {
        let alpha = self.alpha.unwrap_or(defaults::ALPHA);
        let rule = || defaults::als_regularization(user_items, item_users, alpha);
        Params { regularization: self.regularization.unwrap_or_else(rule), alpha, ..self.usual() }
    }
}

impl Algorithm for Als {
    fn name(&self) -> &'static str {
        "als"
    }

    fn iterations(&self) -> usize {
        self.iterations
    }

    fn factors(&self) -> usize {
        self.factors
    }

    fn need(&self, users: usize, items: usize, _entries: usize) -> Need {
        if !self.rates {
            return need(users, items, &self.usual());
        }
        let Need { peak, result } = explicit::need(users, items, &self.of_ratings());
        // Factors and biases side by side while the image is written.
        Need { peak, result: 2 * result }
    }

    fn rates(&self) -> bool {
        self.rates
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        let Data { user_items, item_users, .. } = *data;
        let from = Instant::now();
        let mut losses = Vec::new();
        if self.rates {
            let params = self.of_ratings();
            let begin = start(user_items.rows(), item_users.rows(), &params.als, control)?;
            let model = explicit::fit(user_items, item_users, begin, &params, control, &mut |_, loss| {
                losses.push((loss, from.elapsed().as_secs_f64()));
            })?;
            return Ok(Fitted {
                learned: Learned::Ratings(model),
                iterations: params.als.iterations,
                converged: settled(&losses),
                losses,
                regularization: params.als.regularization,
                alpha: 0.0,
            });
        }
        let params = self.params(user_items, item_users);
        let begin = start(user_items.rows(), item_users.rows(), &params, control)?;
        let factors = fit(user_items, item_users, begin, &params, control, &mut |_, loss| {
            losses.push((loss, from.elapsed().as_secs_f64()));
        })?;
        let converged = settled(&losses);
        let (regularization, alpha) = (params.regularization, params.alpha);
        Ok(Fitted {
            learned: Learned::Factors(factors),
            iterations: params.iterations,
            converged,
            losses,
            regularization,
            alpha,
        })
    }

    fn updates(&self) -> bool {
        true
    }

    fn update(&self, data: &Data<'_>, warm: WarmStart<'_>, control: &Control) -> base::Result<Fitted> {
        let from = Instant::now();
        let WarmStart { factors: Some(factors), users, items, regularization, alpha, .. } = warm else {
            return self.fit(data, control);
        };
        let changed = (users, items);
        let refined = |learned, regularization, alpha| Fitted {
            learned,
            iterations: 1,
            converged: true,
            losses: vec![(f64::NAN, from.elapsed().as_secs_f64())],
            regularization,
            alpha,
        };
        if self.rates {
            let mut params = self.of_ratings();
            params.als = Params { factors: factors.factors, regularization, ..params.als };
            let model =
                explicit::refine(data.user_items, data.item_users, factors, changed, &params, control)?;
            return Ok(refined(Learned::Ratings(model), regularization, 0.0));
        }
        let params = Params { factors: factors.factors, regularization, alpha, ..self.usual() };
        let factors = refine(data.user_items, data.item_users, factors, changed, &params, control)?;
        Ok(Fitted {
            learned: Learned::Factors(factors),
            iterations: 1,
            converged: true,
            losses: vec![(f64::NAN, from.elapsed().as_secs_f64())],
            regularization,
            alpha,
        })
    }

    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value> {
        let solver = self.usual().solver;
        let mut facts = object(json!({
            "factors": self.factors, "regularization": fitted.regularization, "iterations": self.iterations,
            "solver": SOLVERS[usize::from(solver == Solver::Cholesky)].0, "cg_steps": self.cg_steps,
            "seed": self.seed as i64, "feedback": if self.rates { "explicit" } else { "implicit" },
        }));
        if !self.rates {
            facts.insert("alpha".into(), fitted.alpha.into());
        }
        facts
    }
}

/// `persona.train_als(model, relation, user_column, item_column, …)`.
pub(crate) fn train_als(call: &Call) -> Answer {
    locks::writable(c"persona.train_als()");
    let mut spec = Map::new();
    spec.insert("trainer".into(), "train_als".into());
    spec.extend(column_arguments(call)?);
    spec.insert("feedback".into(), call.text(6)?.unwrap_or_else(|| "implicit".into()).into());
    spec.insert("factors".into(), call.get::<i32>(7).unwrap_or(64).into());
    spec.insert("regularization".into(), finite(call.get(8), "regularization")?);
    spec.insert("alpha".into(), finite(call.get(9), "alpha")?);
    spec.insert("iterations".into(), call.get::<i32>(10).unwrap_or(15).into());
    spec.extend(last_arguments(call, 11, &LAST_WORDS)?);
    train_first::<Als>(call, spec)
}

impl Trains for Als {
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let text = |key: &str| spec.text(key);
        let feedback = text("feedback")?.unwrap_or_default();
        let rates = choose("feedback", &feedback, &[("implicit", false), ("explicit", true)])?;
        if rates && text("value_column")?.is_none() {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "feedback \"explicit\" needs a value column",
            )
            .set_hint("Name the column of the ratings in \"value_column\"."));
        }
        if rates && spec.real("alpha")?.is_some() {
            return Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "\"alpha\" has no meaning for ratings")
                .set_hint("Leave it out, or use feedback \"implicit\"."));
        }
        let options = Options::new(spec.object("options"), &OPTIONS)?;
        let size = |key: &'static str, most: usize| match spec.size(key, most)? {
            Some(size) => Ok(size),
            None => Err(null_argument(key)),
        };
        let most = settings::max_threads() as i64;
        let seed = spec.whole("seed")?.unwrap_or(42);
        let als = Als {
            factors: size("factors", MAX_FACTORS)?,
            regularization: spec.real("regularization")?,
            alpha: spec.real("alpha")?,
            iterations: size("iterations", MAX_ITERATIONS)?,
            solver: options.text("solver")?.map(|word| choose("solver", &word, &SOLVERS)).transpose()?,
            cg_steps: options.integer("cg_steps", 1, 100)?.unwrap_or(3) as usize,
            seed: seed as u64,
            threads: options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize,
            rates,
        };
        // Ranges are the algorithm's own.
        als.usual().check().or_report()?;
        let request = Request::of(model, relation, &spec, Keep::of(&options)?, kept)?;
        if rates && request.segments.is_some() {
            return Err(fail(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "feedback \"explicit\" has no models of segments",
            )
            .set_hint("Use feedback \"implicit\" with ratings that express liking, for example only those of 4 and above."));
        }
        if rates && request.features.iter().any(Option::is_some) {
            return Err(fail(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "feedback \"explicit\" does not learn from features",
            )
            .set_hint("Use feedback \"implicit\" with ratings that express liking, for example only those of 4 and above."));
        }
        Ok((request, als))
    }
}
