//! `quantile_agg(float8)` and what is asked of its result.

use pgrx::{IntoDatum, pg_sys};
use values::quantiles::{self, Distribution};
use values::scale::Scale;
use values::{ks, psi};

use super::flat::{self, Flat};
use super::{float, float_datum, overflow};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, fail};

/// Values of `persona.quantiles`: a summary, or nothing before the first value.
pub(crate) struct Quantiles;

impl Flat for Quantiles {
    const NAME: &'static str = "persona.quantiles";

    fn is_valid(words: &[u64]) -> bool {
        quantiles::is_valid(words)
    }
}

/// Adds a value to a state; strict.
pub(crate) fn quantiles_accum(call: &Call) -> Answer {
    let (Some((words, datum)), Some(x)) = (flat::state(call), float(call, 1)) else { return Ok(None) };
    if quantiles::has_room(words) {
        quantiles::push(words, x);
        return Ok(Some(datum));
    }
    let (larger, datum) = flat::made(quantiles::grown(words))?;
    quantiles::grow(words, larger);
    quantiles::push(larger, x);
    Ok(Some(datum))
}

/// Adds a state to a state; strict.
pub(crate) fn quantiles_combine(call: &Call) -> Answer {
    let (Some((words, datum)), Some(other)) = (flat::state(call), flat::words(call, 1)) else {
        return Ok(None);
    };
    if quantiles::count(other) == 0 {
        return Ok(Some(datum));
    }
    let total = quantiles::total(words, other).map_err(|_| overflow())?;
    let needed = quantiles::words(total);
    if words.len() >= needed {
        quantiles::merge(words, other);
        return Ok(Some(datum));
    }
    let (larger, datum) = flat::made(needed)?;
    quantiles::grow(words, larger);
    quantiles::merge(larger, other);
    Ok(Some(datum))
}

/// The state as the result; NULL without a value.
pub(crate) fn quantiles_final(call: &Call) -> Answer {
    Ok(call.datum(0).filter(|_| flat::words(call, 0).is_some_and(|words| quantiles::count(words) > 0)))
}

fn distribution(call: &Call, index: usize) -> Option<Distribution> {
    Distribution::of(flat::words(call, index)?)
}

pub(crate) fn quantiles_num_vals(call: &Call) -> Answer {
    Ok(flat::words(call, 0).and_then(|words| (quantiles::count(words) as i64).into_datum()))
}

pub(crate) fn quantiles_rank_error(call: &Call) -> Answer {
    Ok(flat::words(call, 0)
        .filter(|words| quantiles::count(words) > 0)
        .map(|words| float_datum(quantiles::rank_error(words) as f64 / quantiles::count(words) as f64)))
}

pub(crate) fn quantiles_quantile(call: &Call) -> Answer {
    let (Some(distribution), Some(p)) = (distribution(call, 0), float(call, 1)) else { return Ok(None) };
    if !(0.0..=1.0).contains(&p) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"p\" must be between 0 and 1, got {p}"),
        ));
    }
    Ok(Some(float_datum(distribution.quantile(p))))
}

/// Scaling is asked for row by row, of one summary mostly.
pub(crate) fn quantiles_robust_scale(call: &Call) -> Answer {
    let (Some(words), Some(x)) = (flat::words(call, 0), float(call, 1)) else { return Ok(None) };
    Ok(scale_of(call, words).map(|scale| float_datum(scale.apply(x))))
}

/// What a call keeps for the next: a scale, and the words that it is of, which follow.
#[repr(C)]
struct Kept {
    scale: Scale,
    length: usize,
}

fn scale_of(call: &Call, words: &[u64]) -> Option<Scale> {
    // SAFETY: flinfo is ours for the query; fn_extra is NULL or what an earlier call put there, in memory that lives as
    // long as flinfo: a Kept and as many words as it says.
    unsafe {
        let flinfo = (*call.fcinfo()).flinfo;
        let kept = (*flinfo).fn_extra.cast::<Kept>();
        if !kept.is_null() {
            if std::slice::from_raw_parts(kept.add(1).cast::<u64>(), (*kept).length) == words {
                return Some((*kept).scale);
            }
            (*flinfo).fn_extra = std::ptr::null_mut();
            pg_sys::pfree(kept.cast());
        }
        let [first, median, third] = Distribution::of(words)?.quantiles(&[0.25, 0.5, 0.75])[..] else {
            return None;
        };
        let scale = Scale::quartiles(first, median, third);
        let kept = pg_sys::MemoryContextAlloc((*flinfo).fn_mcxt, size_of::<Kept>() + size_of_val(words))
            .cast::<Kept>();
        kept.write(Kept { scale, length: words.len() });
        std::slice::from_raw_parts_mut(kept.add(1).cast::<u64>(), words.len()).copy_from_slice(words);
        (*flinfo).fn_extra = kept.cast();
        Some(scale)
    }
}

/// Bins that can be asked for.
const BINS: std::ops::RangeInclusive<i32> = 2..=1000;

pub(crate) fn quantiles_psi(call: &Call) -> Answer {
    let (Some(a), Some(b)) = (distribution(call, 0), distribution(call, 1)) else { return Ok(None) };
    let Some(bins) = call.get::<i32>(2) else { return Ok(None) };
    if !BINS.contains(&bins) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"bins\" must be between {} and {}, got {bins}", BINS.start(), BINS.end()),
        ));
    }
    Ok(Some(float_datum(psi::of_numbers(&a, &b, bins as usize))))
}

pub(crate) fn quantiles_ks_test(call: &Call) -> Answer {
    let (Some(a), Some(b)) = (distribution(call, 0), distribution(call, 1)) else { return Ok(None) };
    let (statistic, p_value) = ks::ks_test(&a, &b);
    call.record(&[statistic.into_datum(), p_value.into_datum()])
}
