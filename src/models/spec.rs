//! The settings of a training as JSON: what a `train_` call was given and what `retrain` changes, checked one by one.

use serde_json::{Map, Value};

use crate::pg::error::{Code, Result, fail, shown_real};

/// Settings by name.
pub(crate) struct Spec<'a>(&'a Map<String, Value>);

impl<'a> Spec<'a> {
    pub(crate) fn new(settings: &'a Map<String, Value>) -> Spec<'a> {
        Spec(settings)
    }

    /// A setting that a predicate takes; NULL and missing are `None`, anything else is 22023.
    fn get<T>(&self, key: &str, expected: &str, take: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match take(value) {
                Some(taken) => Ok(Some(taken)),
                None => Err(fail(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("\"{key}\" must be {expected}, got {value}"),
                )),
            },
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a word", |value| value.as_str().map(str::to_string))
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.get(key, "an array of words", |value| {
            value.as_array()?.iter().map(|each| each.as_str().map(str::to_string)).collect()
        })
    }

    pub(crate) fn whole(&self, key: &str) -> Result<Option<i64>> {
        self.get(key, "a whole number", Value::as_i64)
    }

    pub(crate) fn real(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    /// A count from 1 to `most`.
    pub(crate) fn size(&self, key: &str, most: usize) -> Result<Option<usize>> {
        let Some(value) = self.whole(key)? else { return Ok(None) };
        match usize::try_from(value).ok().filter(|size| (1..=most).contains(size)) {
            Some(size) => Ok(Some(size)),
            None => Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{key}\" must be between 1 and {most}, got {value}"),
            )),
        }
    }

    pub(crate) fn object(&self, key: &str) -> Map<String, Value> {
        self.0.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
    }
}

/// What `json!` made of an object.
pub(crate) fn object(facts: Value) -> Map<String, Value> {
    match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A number as JSON, which has no NaN and no infinity: they are refused by name.
pub(crate) fn finite(value: Option<f64>, name: &str) -> Result<Value> {
    match value {
        Some(value) if !value.is_finite() => Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"{name}\" must be a finite number, got {}", shown_real(value)),
        )),
        value => Ok(value.into()),
    }
}
