//! `stats_agg(float8)` and what is asked of its result.

use pgrx::IntoDatum;
use values::scale::Scale;
use values::stats::Stats;

use super::{fixed, float, float_datum, overflow};
use crate::pg::call::{Answer, Call};

/// Adds a value to a state; strict.
pub(crate) fn stats_accum(call: &Call) -> Answer {
    let (Some(state), Some(x)) = (fixed::state::<Stats>(call), float(call, 1)) else { return Ok(None) };
    match state.push(x) {
        Ok(()) => Ok(Some(fixed::datum(state))),
        Err(_) => Err(overflow()),
    }
}

/// Adds a state to a state; strict.
pub(crate) fn stats_combine(call: &Call) -> Answer {
    let (Some(state), Some(other)) = (fixed::state::<Stats>(call), fixed::value::<Stats>(call, 1)) else {
        return Ok(None);
    };
    state.merge(other).map_err(|_| overflow())?;
    Ok(Some(fixed::datum(state)))
}

/// The state as the result; NULL without a value.
pub(crate) fn stats_final(call: &Call) -> Answer {
    Ok(call.datum(0).filter(|_| fixed::value::<Stats>(call, 0).is_some_and(|stats| stats.count() > 0)))
}

fn read(call: &Call, of: impl Fn(&Stats) -> Option<f64>) -> Answer {
    Ok(fixed::value::<Stats>(call, 0).and_then(of).map(float_datum))
}

/// A standardized moment: 22003 where it overflows although all values are finite.
fn read_moment(call: &Call, of: impl Fn(&Stats) -> Option<f64>) -> Answer {
    let Some(stats) = fixed::value::<Stats>(call, 0) else { return Ok(None) };
    match of(stats) {
        Some(moment) if !moment.is_finite() && stats.variance_pop().is_some_and(f64::is_finite) => {
            Err(overflow())
        }
        other => Ok(other.map(float_datum)),
    }
}

pub(crate) fn stats_num_vals(call: &Call) -> Answer {
    Ok(fixed::value::<Stats>(call, 0).and_then(|stats| stats.count().into_datum()))
}

pub(crate) fn stats_mean(call: &Call) -> Answer {
    read(call, Stats::mean)
}

pub(crate) fn stats_variance(call: &Call) -> Answer {
    read(call, Stats::variance)
}

pub(crate) fn stats_variance_pop(call: &Call) -> Answer {
    read(call, Stats::variance_pop)
}

pub(crate) fn stats_stddev(call: &Call) -> Answer {
    read(call, |stats| stats.variance().map(f64::sqrt))
}

pub(crate) fn stats_stddev_pop(call: &Call) -> Answer {
    read(call, |stats| stats.variance_pop().map(f64::sqrt))
}

pub(crate) fn stats_skewness(call: &Call) -> Answer {
    read_moment(call, Stats::skewness)
}

pub(crate) fn stats_kurtosis(call: &Call) -> Answer {
    read_moment(call, Stats::kurtosis)
}

pub(crate) fn stats_min(call: &Call) -> Answer {
    read(call, Stats::min)
}

pub(crate) fn stats_max(call: &Call) -> Answer {
    read(call, Stats::max)
}

pub(crate) fn stats_z_score(call: &Call) -> Answer {
    scaled(call, Scale::sample)
}

pub(crate) fn stats_min_max_scale(call: &Call) -> Answer {
    scaled(call, Scale::min_max)
}

fn scaled(call: &Call, by: impl Fn(&Stats) -> Option<Scale>) -> Answer {
    let (Some(stats), Some(x)) = (fixed::value::<Stats>(call, 0), float(call, 1)) else { return Ok(None) };
    Ok(by(stats).map(|scale| float_datum(scale.apply(x))))
}
