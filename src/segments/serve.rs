//! Asking a model of segments: which one a row belongs to. No SPI, no planner.

use base::image::kinds;
use pgrx::datum::Interval;
use pgrx::{FromDatum, pg_sys};
use segments::Segments;
use serde_json::Value;

use crate::models::images::{self, Loaded};
use crate::models::kind::wrong_image;
use crate::models::registry;
use crate::models::registry::scan::Seen;
use crate::pg::arrays;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, OrReport, Result, fail, nearest, words};

/// The segments in a loaded image. 42809 for another kind.
pub(super) fn segments(loaded: &Loaded) -> Result<Segments<'_>> {
    let image = loaded.image()?;
    if image.optional_section::<u8>(kinds::SEGMENT_FACTS).or_report()?.is_none() {
        return Err(wrong_image(&image, "has no segments")
            .set_hint("Segments are formed by persona.train_kmeans() and persona.train_rfm()."));
    }
    Segments::new(&image).or_report()
}

fn names<'a>(segments: &Segments<'a>) -> Vec<&'a str> {
    (0..segments.features.len()).map(|at| segments.features.get(at)).collect()
}

fn ask<T>(call: &Call, body: impl FnOnce(&Loaded, &Segments<'_>) -> Result<T>) -> Result<T> {
    let name = call.required_text(0, "model")?;
    let loaded = images::serve_name(&name)?;
    body(&loaded, &segments(&loaded)?)
}

/// The features of an argument `float8[]`; `None` where one is NULL. 22023 for another number of them.
fn features(call: &Call, segments: &Segments<'_>) -> Result<Option<Vec<f64>>> {
    let Some(array) = call.datum(1) else { return Ok(None) };
    let given = arrays::floats(array)?;
    let names = names(segments);
    if given.len() != names.len() {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"features\" must have {} elements, got {}", names.len(), given.len()),
        )
        .set_detail(format!("The features of the model are {}, in this order.", words(&names))));
    }
    Ok(given.into_iter().collect())
}

fn segment(segments: &Segments<'_>, row: Option<&[f64]>) -> Option<pg_sys::Datum> {
    let found = segments.assign(row?)?;
    datum(segments.ids[found.segment] as i32)
}

/// `persona.assign(model, features)`: the id of the segment; NULL where a feature is NULL or not finite.
pub(crate) fn assign(call: &Call) -> Answer {
    ask(call, |_, segments| Ok(segment(segments, features(call, segments)?.as_deref())))
}

/// `persona.assign_row(model, record)`: the same with the features of a JSON object, by name.
pub(crate) fn assign_row(call: &Call) -> Answer {
    ask(call, |_, segments| {
        if call.datum(1).is_none() {
            return Ok(None);
        }
        let record = call.object(1, "record")?;
        let row = names(segments).into_iter().map(|name| match record.get(name) {
            Some(value) => number(name, value),
            None => {
                let missing = fail(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("\"record\" has no value for feature \"{name}\""),
                );
                // Another feature is no misspelt one.
                let all = names(segments);
                let keys = record.keys().map(String::as_str).filter(|key| !all.contains(key));
                Err(match nearest(name, keys) {
                    Some(near) => missing.set_hint(format!("It has \"{near}\"; names must be the same.")),
                    None => missing.set_detail(format!("The features of the model are {}.", words(&all))),
                })
            }
        });
        let row: Option<Vec<f64>> = row.collect::<Result<Vec<_>>>()?.into_iter().collect();
        Ok(segment(segments, row.as_deref()))
    })
}

/// A feature as JSON has it: a number, a truth value, or a text, which is how intervals and numbers beyond JSON's are
/// written; NULL is `None`.
fn number(name: &str, value: &Value) -> Result<Option<f64>> {
    let wrong = || {
        fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("feature \"{name}\" must be a number, a boolean or an interval, got {value}"),
        )
    };
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        Value::Bool(truth) => Ok(Some(f64::from(u8::from(*truth)))),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => days(text).map(Some).ok_or_else(wrong),
        },
        Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

/// The days of an interval as `EXTRACT(epoch FROM …) / 86400` counts them; `None` for a text that starts with neither a
/// digit, a sign nor the P of ISO 8601. What Postgres cannot read is its own error (22007).
fn days(text: &str) -> Option<f64> {
    let first = text.trim().chars().next()?;
    if !(first.is_ascii_digit() || "+-Pp@".contains(first)) {
        return None;
    }
    let text = std::ffi::CString::new(text).ok()?;
    // SAFETY: interval_in takes a C string, an oid it ignores and a modifier of -1, and answers an interval or raises.
    let interval = unsafe {
        let value = pgrx::direct_function_call_as_datum(
            pg_sys::interval_in,
            &[
                Some(pg_sys::Datum::from(text.as_ptr())),
                Some(pg_sys::Datum::from(pg_sys::InvalidOid)),
                Some(pg_sys::Datum::from(-1i32)),
            ],
        )?;
        Interval::from_datum(value, false)?
    };
    // A month counts 30 days but each twelve of them 365.25.
    let (years, months) = (interval.months() / 12, interval.months() % 12);
    let seconds = interval.micros() as f64 / 1e6;
    Some(f64::from(years) * 365.25 + f64::from(months * 30) + f64::from(interval.days()) + seconds / 86_400.0)
}

/// `persona.segment_distances(model, features)`: every segment by distance, nearest first; no rows where a feature is
/// NULL or not finite.
pub(crate) fn segment_distances(call: &Call) -> Answer {
    ask(call, |loaded, segments| {
        if segments.centroids().is_none() {
            return Err(fail(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                "the segments of this model are combinations of scores and have no distances",
            )
            .set_hint("Ask it with persona.assign()."));
        }
        let mut rows = call.rows()?;
        let Some(row) = features(call, segments)? else { return Ok(None) };
        let edited = registry::labels(loaded.model_id(), Seen::Statement)?;
        let mut found: Vec<(usize, f64)> = segments.distances(&row).into_iter().enumerate().collect();
        found.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (at, distance) in found {
            let id = segments.ids[at];
            let label = edited.iter().find(|(each, _)| *each == id).map(|(_, label)| label.as_str());
            rows.push(&[datum(id as i32), datum(label.unwrap_or(segments.labels.get(at))), datum(distance)])?;
        }
        Ok(None)
    })
}
