//! `stats_agg(float8[])`: the statistics of each position of an array.

use pgrx::{IntoDatum, pg_sys};
use values::stats::Stats;

use super::fixed::{self, Fixed};
use super::flat::{self, Flat};
use super::overflow;
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};
use crate::pg::{arrays, memory};

/// Values of `persona.column_stats`: the fields of a `persona.stats` for each column.
pub(crate) struct ColumnStats;

/// Columns between two looks at interrupts.
const LOOK: usize = 16 << 10;

/// Words of one column.
const COLUMN: usize = Stats::FIELDS.len();

impl Flat for ColumnStats {
    const NAME: &'static str = "persona.column_stats";

    fn is_valid(words: &[u64]) -> bool {
        words.len().is_multiple_of(COLUMN)
            && words.chunks_exact(COLUMN).all(|column| Stats::from_fields(column).is_some())
    }
}

/// Adds an array to a state; strict. The first one says how many columns there are.
pub(crate) fn column_stats_accum(call: &Call) -> Answer {
    let Some(array) = call.datum(1) else { return Ok(None) };
    let values = arrays::floats(array)?;
    let Some((words, datum)) = with_columns(call, values.len())? else { return Ok(None) };
    for (columns, values) in words.chunks_mut(LOOK * COLUMN).zip(values.chunks(LOOK)) {
        for (column, value) in columns.chunks_exact_mut(COLUMN).zip(values) {
            if let Some(x) = value {
                stats(column).push(*x).map_err(|_| overflow())?;
            }
        }
        looked(columns);
    }
    Ok(Some(datum))
}

/// Adds a state to a state; strict.
pub(crate) fn column_stats_combine(call: &Call) -> Answer {
    let Some(other) = flat::words(call, 1) else { return Ok(None) };
    if other.is_empty() {
        return Ok(call.datum(0));
    }
    let Some((words, datum)) = with_columns(call, other.len() / COLUMN)? else { return Ok(None) };
    for (columns, others) in words.chunks_mut(LOOK * COLUMN).zip(other.chunks(LOOK * COLUMN)) {
        for (column, other) in columns.chunks_exact_mut(COLUMN).zip(others.chunks_exact(COLUMN)) {
            let mut copy = [0; COLUMN];
            copy.copy_from_slice(other);
            stats(column).merge(stats(&mut copy)).map_err(|_| overflow())?;
        }
        looked(columns);
    }
    Ok(Some(datum))
}

/// Looks at interrupts after so many columns; arrays of a few are spared the call.
fn looked(columns: &[u64]) {
    if columns.len() == LOOK * COLUMN {
        memory::interrupts();
    }
}

/// The state with that many columns: empty ones where it has none yet.
fn with_columns<'a>(call: &Call, columns: usize) -> Result<Option<(&'a mut [u64], pg_sys::Datum)>> {
    let Some((words, datum)) = flat::state(call) else { return Ok(None) };
    let have = words.len() / COLUMN;
    if have == columns {
        return Ok(Some((words, datum)));
    }
    if have > 0 {
        return Err(fail(
            Code::ERRCODE_ARRAY_ELEMENT_ERROR,
            "arrays of one column must have the same length",
        )
        .set_detail(format!("One has {have} elements, another one {columns}.")));
    }
    flat::made(columns * COLUMN).map(Some)
}

/// The state as the result; NULL without an array.
pub(crate) fn column_stats_final(call: &Call) -> Answer {
    Ok(call.datum(0).filter(|_| flat::words(call, 0).is_some_and(|words| !words.is_empty())))
}

/// The statistics of the column of that number, from 1; NULL where there is no such column or no value in it.
pub(crate) fn column_stats_of(call: &Call) -> Answer {
    let (Some(words), Some(number)) = (flat::words(call, 0), call.get::<i32>(1)) else { return Ok(None) };
    let column = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let fields = column.and_then(|column| words.chunks_exact(COLUMN).nth(column));
    Ok(fields
        .and_then(Stats::from_fields)
        .filter(|stats| stats.count() > 0)
        .map(|stats| fixed::copied(&stats)))
}

pub(crate) fn column_stats_num_columns(call: &Call) -> Answer {
    Ok(flat::words(call, 0).and_then(|words| ((words.len() / COLUMN) as i32).into_datum()))
}

/// The fields of a column as what they are.
fn stats(fields: &mut [u64]) -> &mut Stats {
    const { assert!(size_of::<Stats>() == COLUMN * 8 && align_of::<Stats>() == align_of::<u64>()) };
    assert_eq!(fields.len(), COLUMN);
    // SAFETY: Stats is plain old data of this many words, of their alignment, in the order of its fields.
    unsafe { &mut *fields.as_mut_ptr().cast::<Stats>() }
}
