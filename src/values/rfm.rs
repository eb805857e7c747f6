//! `rfm_agg(at, amount)` and what is asked of its result. Times are microseconds since 2000-01-01 UTC, as in Postgres;
//! a date is its midnight in UTC.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{IntoDatum, pg_sys};
use values::rfm::Rfm;

use super::{finite, fixed, float, float_datum, overflow};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};

const DAY: i64 = 86_400_000_000;

/// The range of timestamptz: from 4714-11-24 BC to before 294277-01-01.
const TIMES: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// The timestamptz argument at `index`.
#[inline]
pub(crate) fn time(call: &Call, index: usize) -> Result<Option<i64>> {
    match call.datum(index).map(|datum| datum.value() as i64) {
        Some(i64::MIN | i64::MAX) => Err(infinite("timestamp")),
        other => Ok(other),
    }
}

/// The date argument at `index`, as its midnight.
#[inline]
pub(crate) fn midnight(call: &Call, index: usize) -> Result<Option<i64>> {
    match call.datum(index).map(|datum| datum.value() as i32) {
        None => Ok(None),
        Some(i32::MIN | i32::MAX) => Err(infinite("date")),
        Some(days) => match i64::from(days).checked_mul(DAY).filter(|at| TIMES.contains(at)) {
            Some(at) => Ok(Some(at)),
            None => Err(fail(Code::ERRCODE_DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")),
        },
    }
}

#[cold]
fn infinite(what: &str) -> ErrorReport {
    fail(Code::ERRCODE_DATETIME_FIELD_OVERFLOW, format!("{what} must be finite"))
}

/// Adds a purchase to a state; strict.
pub(crate) fn rfm_accum(call: &Call) -> Answer {
    accum(call, time(call, 1)?)
}

/// The same with a date.
pub(crate) fn rfm_accum_date(call: &Call) -> Answer {
    accum(call, midnight(call, 1)?)
}

#[inline]
fn accum(call: &Call, at: Option<i64>) -> Answer {
    let (Some(state), Some(at), Some(amount)) = (fixed::state::<Rfm>(call), at, float(call, 2)) else {
        return Ok(None);
    };
    match state.push(at, finite("amount", amount)?) {
        Ok(()) => Ok(Some(fixed::datum(state))),
        Err(_) => Err(overflow()),
    }
}

/// Adds a state to a state; strict.
pub(crate) fn rfm_combine(call: &Call) -> Answer {
    let (Some(state), Some(other)) = (fixed::state::<Rfm>(call), fixed::value::<Rfm>(call, 1)) else {
        return Ok(None);
    };
    state.merge(other).map_err(|_| overflow())?;
    Ok(Some(fixed::datum(state)))
}

/// The state as the result; NULL without a purchase.
pub(crate) fn rfm_final(call: &Call) -> Answer {
    Ok(call.datum(0).filter(|_| fixed::value::<Rfm>(call, 0).is_some_and(|rfm| rfm.frequency() > 0)))
}

pub(crate) fn rfm_frequency(call: &Call) -> Answer {
    Ok(fixed::value::<Rfm>(call, 0).and_then(|rfm| rfm.frequency().into_datum()))
}

pub(crate) fn rfm_monetary(call: &Call) -> Answer {
    Ok(fixed::value::<Rfm>(call, 0).and_then(Rfm::monetary).map(float_datum))
}

pub(crate) fn rfm_first_at(call: &Call) -> Answer {
    at(call, Rfm::first)
}

pub(crate) fn rfm_last_at(call: &Call) -> Answer {
    at(call, Rfm::last)
}

fn at(call: &Call, of: impl Fn(&Rfm) -> Option<i64>) -> Answer {
    Ok(fixed::value::<Rfm>(call, 0).and_then(of).map(|at| pg_sys::Datum::from(at as usize)))
}

pub(crate) fn rfm_recency_days(call: &Call) -> Answer {
    days_to(call, time(call, 1)?, Rfm::last)
}

pub(crate) fn rfm_recency_days_date(call: &Call) -> Answer {
    days_to(call, midnight(call, 1)?, Rfm::last)
}

pub(crate) fn rfm_age_days(call: &Call) -> Answer {
    days_to(call, time(call, 1)?, Rfm::first)
}

pub(crate) fn rfm_age_days_date(call: &Call) -> Answer {
    days_to(call, midnight(call, 1)?, Rfm::first)
}

fn days_to(call: &Call, as_of: Option<i64>, of: impl Fn(&Rfm) -> Option<i64>) -> Answer {
    let (Some(since), Some(as_of)) = (fixed::value::<Rfm>(call, 0).and_then(of), as_of) else {
        return Ok(None);
    };
    // In two steps: whole days are exact, and the difference of two times may not fit in 64 bits.
    let distance = i128::from(as_of) - i128::from(since);
    let (days, rest) = (distance / i128::from(DAY), distance % i128::from(DAY));
    Ok(Some(float_datum(days as f64 + rest as f64 / DAY as f64)))
}
