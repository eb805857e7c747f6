//! Where a search looks: settings of a trainer as JSON, and as domains of `tuning`.

use serde_json::{Map, Value, json};
use tuning::Domain;

use crate::models::kind::Trainer;
use crate::models::spec::object;
use crate::pg::error::{Code, Result, fail, nearest, words};
use crate::pg::options::{Options, choose};

/// Settings that are none of the model's quality, or that a search settles itself.
const FIXED: [&str; 12] = [
    "algorithms",
    "budget",
    "deploy",
    "holdout",
    "item_features",
    "keep_log",
    "keep_versions",
    "segment_models",
    "segments",
    "seed",
    "threads",
    "user_features",
];

/// Settings that are whole numbers.
const WHOLE: [&str; 6] = ["batch_size", "cg_steps", "factors", "iterations", "negatives", "neighbours"];

/// Values of one setting at most.
const MOST_VALUES: usize = 100;

/// The settings of a search, in the order of their names.
pub(super) struct Space {
    settings: Vec<(String, Domain, Vec<Value>)>,
}

impl Space {
    /// Reads what somebody wrote: a name of a setting, and an array of its values or a range.
    pub(super) fn parse(written: &Map<String, Value>, trainer: &Trainer) -> Result<Space> {
        if written.is_empty() {
            return Err(wrong("\"space\" must name at least one setting".into()));
        }
        let known: Vec<&str> = trainer.settings.iter().chain(trainer.options).copied().collect();
        let known: Vec<&str> = known.into_iter().filter(|name| !FIXED.contains(name)).collect();
        let mut settings = Vec::new();
        for (name, values) in written {
            if !known.contains(&name.as_str()) {
                let error = wrong(format!("unrecognized setting \"{name}\" in \"space\""));
                return Err(match nearest(name, known.iter().copied()) {
                    Some(near) => error.set_hint(format!("Perhaps you meant \"{near}\".")),
                    None => error.set_hint(format!("This model can be tuned by {}.", words(&known))),
                });
            }
            let (domain, choices) = match values {
                Value::Array(values) => (choice(name, values)?, values.clone()),
                Value::Object(range) => (crate::models::tune::space::range(name, range.clone())?, Vec::new()),
                other => {
                    return Err(wrong(format!(
                        "\"{name}\" in \"space\" must be an array of values or a range, got {other}"
                    ))
                    .set_hint(format!(
                        "Write {{\"{name}\": [1, 2, 3]}} or {{\"{name}\": {{\"min\": 1, \"max\": 100, \"scale\": \"log\"}}}}."
                    )));
                }
            };
            settings.push((name.clone(), domain, choices));
        }
        Ok(Space { settings })
    }

    pub(super) fn domains(&self) -> Vec<Domain> {
        self.settings.iter().map(|(_, domain, _)| *domain).collect()
    }

    /// A point of the space as settings.
    pub(super) fn settings(&self, point: &[tuning::Value]) -> Map<String, Value> {
        let each = self.settings.iter().zip(point).map(|((name, domain, choices), value)| {
            let value = match *value {
                tuning::Value::Integer(number) => number.into(),
                tuning::Value::Real(number) => rounded(number, domain).into(),
                tuning::Value::Choice(at) => choices.get(at).cloned().unwrap_or(Value::Null),
            };
            (name.clone(), value)
        });
        each.collect()
    }

    /// Those of some settings that the space is about.
    pub(super) fn of(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let known =
            |(name, ..): &(String, Domain, Vec<Value>)| Some((name.clone(), settings.get(name)?.clone()));
        self.settings.iter().filter_map(known).collect()
    }

    /// Settings as a point of the space; `None` where they are none.
    pub(super) fn point(&self, settings: &Map<String, Value>) -> Option<Vec<tuning::Value>> {
        let each = self.settings.iter().map(|(name, domain, choices)| {
            let value = settings.get(name)?;
            let value = match domain {
                Domain::Integer { .. } => tuning::Value::Integer(value.as_i64()?),
                Domain::Real { .. } => tuning::Value::Real(value.as_f64()?),
                Domain::Choice(_) => {
                    tuning::Value::Choice(choices.iter().position(|choice| choice == value)?)
                }
            };
            domain.contains(value).then_some(value)
        });
        each.collect()
    }

    /// Each value and each end of a range alone, for the trainer to check.
    pub(super) fn extremes(&self) -> Vec<(String, Value)> {
        let each = self.settings.iter().flat_map(|(name, domain, choices)| {
            let values: Vec<Value> = match *domain {
                Domain::Integer { low, high, .. } => vec![low.into(), high.into()],
                Domain::Real { low, high, .. } => vec![low.into(), high.into()],
                Domain::Choice(_) => choices.clone(),
            };
            values.into_iter().map(|value| (name.clone(), value))
        });
        each.collect()
    }
}

/// Six digits are enough for a setting that was drawn, and can be read.
fn rounded(value: f64, domain: &Domain) -> f64 {
    let short = format!("{value:.5e}").parse().unwrap_or(value);
    match *domain {
        Domain::Real { low, high, .. } => short.clamp(low, high),
        _ => short,
    }
}

fn choice(name: &str, values: &[Value]) -> Result<Domain> {
    if values.is_empty() || values.len() > MOST_VALUES {
        return Err(wrong(format!(
            "\"{name}\" in \"space\" must have 1 to {MOST_VALUES} values, got {}",
            values.len()
        )));
    }
    for (at, value) in values.iter().enumerate() {
        if values[..at].contains(value) {
            return Err(wrong(format!("\"{name}\" in \"space\" has the value {value} twice")));
        }
    }
    Ok(Domain::Choice(values.len()))
}

fn range(name: &str, range: Map<String, Value>) -> Result<Domain> {
    let range = Options::new(range, &["max", "min", "scale"])?;
    let missing = |end: &str| wrong(format!("the range of \"{name}\" in \"space\" needs \"{end}\""));
    let low = range.real("min")?.ok_or_else(|| missing("min"))?;
    let high = range.real("max")?.ok_or_else(|| missing("max"))?;
    let scale = range.text("scale")?.unwrap_or_else(|| "linear".into());
    let log = choose("scale", &scale, &[("linear", false), ("log", true)])?;
    let whole = WHOLE.contains(&name);
    if whole && [low, high].iter().any(|end| end.fract() != 0.0 || end.abs() > 1e15) {
        return Err(wrong(format!(
            "the range of \"{name}\" in \"space\" must have whole numbers, got {low} to {high}"
        )));
    }
    let domain = match whole {
        true => Domain::Integer { low: low as i64, high: high as i64, log },
        false => Domain::Real { low, high, log },
    };
    if domain.is_valid() {
        return Ok(domain);
    }
    let error = wrong(format!(
        "the range of \"{name}\" in \"space\" must have \"min\" up to \"max\", got {low} to {high}"
    ));
    Err(match log && low <= high {
        true => wrong(format!(
            "the range of \"{name}\" in \"space\" must begin above 0 on a log scale, got {low} to {high}"
        )),
        false => error,
    })
}

fn wrong(message: String) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, message)
}

/// Where a search looks that was told nothing. `used` are the settings that the model's version was fitted with; 22023
/// for a trainer that has nothing to tune.
pub(super) fn usual(spec: &Map<String, Value>, used: &Map<String, Value>) -> Result<Map<String, Value>> {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let log = |min: f64, max: f64| json!({ "min": min, "max": max, "scale": "log" });
    let whole = |min: i64, max: i64| json!({ "min": min, "max": max, "scale": "log" });
    let factors = whole(16, 256);
    let space = match text("trainer") {
        "train_als" if text("feedback") == "explicit" => {
            json!({ "factors": factors, "regularization": log(0.01, 1.0) })
        }
        "train_als" => {
            // Around what the rule of train_als, or somebody, found for this data.
            let center = used.get("regularization").and_then(Value::as_f64).filter(|used| *used > 0.0);
            let center = center.unwrap_or(10.0);
            let ends = Domain::Real { low: f64::MIN_POSITIVE, high: f64::MAX, log: true };
            let around = log(rounded(center / 10.0, &ends), rounded(center * 10.0, &ends));
            json!({ "factors": factors, "regularization": around, "alpha": log(1.0, 100.0) })
        }
        "train_ease" if used.get("form").and_then(Value::as_str) == Some("low_rank") => json!({
            "factors": whole(64, 512), "iterations": whole(5, 50), "learning_rate": log(0.01, 0.1),
        }),
        "train_ease" => json!({ "regularization": log(1.0, 10_000.0) }),
        "train_item_knn" => json!({
            "similarity": ["cosine", "jaccard", "bm25", "tf_idf"],
            "neighbours": whole(5, 500),
            "shrinkage": { "min": 0.0, "max": 100.0 },
        }),
        "train_bpr" | "train_sgd" => json!({
            "factors": factors,
            "learning_rate": log(0.001, 0.5),
            "regularization": log(0.0001, 1.0),
            "iterations": whole(5, 100),
        }),
        "train_popularity" if !text("time_column").is_empty() => json!({ "half_life": log(1.0, 365.0) }),
        "train_popularity" => {
            return Err(wrong("a model of popularity without a time column has nothing to tune".into()));
        }
        other => {
            return Err(wrong(format!("no default space for {other}")).set_hint("Give one in \"space\"."));
        }
    };
    Ok(object(space))
}
