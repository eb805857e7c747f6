//! `persona.train_popularity`: what most have taken, lately or ever.

use std::time::Instant;

use base::Control;
use base::need::Need;
use pgrx::pg_sys;
use recommenders::popularity;
use serde_json::{Map, Value, json};

use super::algorithm::{Algorithm, Data, Fitted, Learned};
use super::request::{LAST_WORDS, Request, Trains, column_arguments, last_arguments};
use super::train::train_first;
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::spec::{Spec, finite, object};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::options::Options;

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 4] = ["keep_log", "keep_versions", "segment_models", "segments"];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 4] = ["deploy", "half_life", "holdout", "seed"];

/// `persona.train_popularity(model, relation, user_column, item_column, …)`.
pub(crate) fn train_popularity(call: &Call) -> Answer {
    locks::writable(c"persona.train_popularity()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_popularity".into());
    spec.insert("half_life".into(), finite(call.get(6), "half_life")?);
    spec.extend(last_arguments(call, 7, &LAST_WORDS)?);
    train_first::<Popularity>(call, spec)
}

/// What `train_popularity` was asked for.
pub(crate) struct Popularity {
    /// Days, or units of a time column of whole numbers.
    half_life: Option<f64>,
}

/// The algorithm as versions name it.
pub(crate) const POPULARITY: &str = "popularity";

impl Trains for Popularity {
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)> {
        let spec = Spec::new(spec);
        let options = Options::new(spec.object("options"), &OPTIONS)?;
        let half_life = spec.real("half_life")?;
        let wrong = |message: String| Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, message));
        match half_life {
            Some(days) if days <= 0.0 => {
                return wrong(format!("\"half_life\" must be a number above 0, got {days}"));
            }
            Some(_) if spec.text("time_column")?.is_none() => {
                return wrong("\"half_life\" needs a time column".into())
                    .map_err(|error| error.set_hint("Name it in \"time_column\"."));
            }
            _ => {}
        }
        let keep = Keep::of(&options)?;
        let request = Request::of(model, relation, &spec, keep, kept)?;
        Ok((request, Popularity { half_life }))
    }
}

impl Algorithm for Popularity {
    fn name(&self) -> &'static str {
        POPULARITY
    }

    fn iterations(&self) -> usize {
        1
    }

    fn factors(&self) -> usize {
        0
    }

    fn wants_times(&self) -> bool {
        self.half_life.is_some()
    }

    fn need(&self, _users: usize, items: usize, _entries: usize) -> Need {
        popularity::need(items)
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        let from = Instant::now();
        let popular = match (self.half_life, data.times) {
            (Some(half_life), Some(times)) => {
                let (items, half_life) = (data.item_users.rows(), half_life * times.day);
                popularity::decayed(data.user_items, items, times.values, None, half_life, control)?
            }
            _ => popularity::plain(data.item_users, control)?,
        };
        Ok(Fitted {
            learned: Learned::Popular(popular),
            iterations: 1,
            converged: true,
            losses: vec![(f64::NAN, from.elapsed().as_secs_f64())],
            regularization: 0.0,
            alpha: 0.0,
        })
    }

    fn updates(&self) -> bool {
        // The image has no times.
        self.half_life.is_none()
    }

    fn hyperparameters(&self, _: &Fitted) -> Map<String, Value> {
        object(json!({ "half_life": self.half_life }))
    }
}
