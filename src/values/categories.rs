//! `category_agg(text)` and what is asked of its result.

use base::flat::key_of;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use values::{categories, psi};

use super::flat::{self, Flat};
use super::{float_datum, overflow};
use crate::pg::call::{Answer, Call};
use crate::pg::error::Result;

/// Values of `persona.categories`: a summary, or nothing before the first row.
pub(crate) struct Categories;

impl Flat for Categories {
    const NAME: &'static str = "persona.categories";

    fn is_valid(words: &[u64]) -> bool {
        categories::is_valid(words)
    }
}

/// A state: its words and the datum that they belong to.
type State<'a> = (&'a mut [u64], pg_sys::Datum);

/// Adds a row of a category to a state; strict.
pub(crate) fn categories_accum(call: &Call) -> Answer {
    let (Some(state), Some(text)) = (flat::state(call), call.datum(1)) else { return Ok(None) };
    // SAFETY: the declaration makes the datum a text.
    let Some(text) = (unsafe { <&[u8]>::from_datum(text, false) }) else { return Ok(None) };
    Ok(Some(add(state, key_of(text), 1)?.1))
}

/// Adds a state to a state; strict.
pub(crate) fn categories_combine(call: &Call) -> Answer {
    let (Some(mut state), Some(other)) = (flat::state(call), flat::words(call, 1)) else { return Ok(None) };
    if other.is_empty() {
        return Ok(Some(state.1));
    }
    categories::total(state.0, other).map_err(|_| overflow())?;
    for (key, rows) in categories::parts(other).0 {
        state = add(state, key, rows)?;
    }
    if state.0.is_empty() {
        state = larger(state)?;
    }
    categories::add_rest(state.0, other);
    Ok(Some(state.1))
}

fn add(mut state: State<'_>, key: u128, rows: u64) -> Result<State<'_>> {
    while !categories::push(state.0, key, rows) {
        if categories::grown(state.0).is_some() {
            state = larger(state)?;
        } else {
            categories::shrink(state.0);
        }
    }
    Ok(state)
}

fn larger(state: State<'_>) -> Result<State<'_>> {
    let Some(length) = categories::grown(state.0) else { return Ok(state) };
    let (words, datum) = flat::made(length)?;
    categories::grow(state.0, words);
    Ok((words, datum))
}

/// The state as the result; NULL without a row.
pub(crate) fn categories_final(call: &Call) -> Answer {
    Ok(call.datum(0).filter(|_| flat::words(call, 0).is_some_and(|words| categories::rows(words) > 0)))
}

pub(crate) fn categories_num_vals(call: &Call) -> Answer {
    Ok(flat::words(call, 0).and_then(|words| (categories::rows(words) as i64).into_datum()))
}

pub(crate) fn categories_psi(call: &Call) -> Answer {
    let (Some(a), Some(b)) = (flat::words(call, 0), flat::words(call, 1)) else { return Ok(None) };
    if categories::rows(a) == 0 || categories::rows(b) == 0 {
        return Ok(None);
    }
    Ok(Some(float_datum(psi::psi(categories::shares(a, b).into_iter()))))
}
