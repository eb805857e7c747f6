//! Reading `options jsonb`: every key is known or an error with the nearest one as HINT.

use serde_json::{Map, Value};

use super::error::{Code, Result, fail, nearest, words};

/// A whole number, also where JSON writes it as 3.0.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        value.as_f64().filter(|real| real.fract() == 0.0 && real.abs() < 1e15).map(|real| real as i64)
    })
}

/// The options of one call.
pub(crate) struct Options {
    given: Map<String, Value>,
}

impl Options {
    /// Checks the keys.
    pub(crate) fn new(given: Map<String, Value>, known: &[&str]) -> Result<Options> {
        if let Some(key) = given.keys().find(|key| !known.contains(&key.as_str())) {
            let error = fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("unrecognized option \"{key}\""));
            return Err(match nearest(key, known.iter().copied()) {
                Some(near) => error.set_hint(format!("Perhaps you meant \"{near}\".")),
                None if known.is_empty() => error.set_hint("This function has no options yet."),
                None => error.set_hint(format!("Valid options are {}.", words(known))),
            });
        }
        Ok(Options { given })
    }

    /// All that was given.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.given
    }

    /// A value that a predicate takes; NULL and missing are `None`, anything else is 22023.
    fn get<T>(&self, key: &str, expected: &str, take: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.given.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match take(value) {
                Some(taken) => Ok(Some(taken)),
                None => Err(fail(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("option \"{key}\" must be {expected}, got {value}"),
                )),
            },
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a word", |value| value.as_str().map(str::to_string))
    }

    /// The text of an interval, which is not read yet.
    pub(crate) fn interval(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "an interval", |value| value.as_str().map(str::to_string))
    }

    /// A word, or a whole number as its digits: a name that may be a number.
    pub(crate) fn name(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a word or a whole number", |value| {
            value.as_str().map(str::to_string).or_else(|| whole(value).map(|number| number.to_string()))
        })
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.get(key, "an array of words", |value| {
            value.as_array()?.iter().map(|each| each.as_str().map(str::to_string)).collect()
        })
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    /// An object, whose keys are checked like those of the options.
    pub(crate) fn object(&self, key: &str, known: &[&str]) -> Result<Option<Options>> {
        let object = self.get(key, "an object", |value| value.as_object().cloned())?;
        object.map(|object| Options::new(object, known)).transpose()
    }

    pub(crate) fn real(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    /// A whole number within a range.
    pub(crate) fn integer(&self, key: &str, low: i64, high: i64) -> Result<Option<i64>> {
        let Some(value) = self.given.get(key) else { return Ok(None) };
        match whole(value).filter(|number| (low..=high).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("option \"{key}\" must be a whole number between {low} and {high}, got {value}"),
            )),
        }
    }
}

/// A word of a fixed list, as the value that stands for it.
pub(crate) fn choose<T: Copy>(what: &str, word: &str, choices: &[(&str, T)]) -> Result<T> {
    choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("unrecognized {what} \"{word}\""))
            .set_hint(format!("Valid words are {}.", words(&names)))
    })
}
