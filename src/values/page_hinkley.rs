//! `page_hinkley(x, …)`: its state is a float8[] of fixed length, as the states of Postgres' own deviations are.

use pgrx::{IntoDatum, pg_sys};
use values::page_hinkley::{PageHinkley, Parameters, STATE};

use super::{finite, float, in_aggregate};
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail};

/// Adds a value under default parameters; strict.
pub(crate) fn page_hinkley_accum_defaults(call: &Call) -> Answer {
    accum(call, |_| Ok(Parameters::default()))
}

/// Adds a value under the parameters of the first row; called on NULL.
pub(crate) fn page_hinkley_accum(call: &Call) -> Answer {
    accum(call, |call| {
        let number = |index, name| float(call, index).ok_or_else(|| null_argument(name));
        Parameters::new(
            call.required(2, "min_instances")?,
            number(3, "delta")?,
            number(4, "threshold")?,
            number(5, "alpha")?,
            call.required(6, "mode")?,
        )
        .or_report()
    })
}

#[inline]
fn accum(call: &Call, parameters: impl Fn(&Call) -> Result<Parameters>) -> Answer {
    let Some(datum) = call.datum(0) else { return Ok(None) };
    let (state, datum) = if in_aggregate(call.fcinfo()) { (state(datum)?, datum) } else { copied(datum)? };
    if state.is_blank() {
        state.start(parameters(call)?);
    }
    if let Some(x) = float(call, 1) {
        state.push(finite("x", x)?);
    }
    Ok(Some(datum))
}

/// The result; NULL before the first value.
pub(crate) fn page_hinkley_final(call: &Call) -> Answer {
    let Some(datum) = call.datum(0) else { return Ok(None) };
    let state = state(datum)?;
    if state.value().is_none() {
        return Ok(None);
    }
    call.record(&[
        state.drift().into_datum(),
        (state.drifts().min(i64::from(i32::MAX)) as i32).into_datum(),
        state.last_position().and_then(IntoDatum::into_datum),
        state.value().and_then(IntoDatum::into_datum),
    ])
}

/// Bytes before the numbers of a float8[] of one dimension without NULLs, and of all of it.
const HEADER: usize = 24;
const BYTES: usize = HEADER + STATE * 8;

/// The array as what it holds.
#[inline]
fn state<'a>(datum: pg_sys::Datum) -> Result<&'a mut PageHinkley> {
    const { assert!(size_of::<PageHinkley>() == STATE * 8) };
    let array = datum.cast_mut_ptr::<pg_sys::ArrayType>();
    // SAFETY: the declaration makes the datum a float8[]; header and length are checked before the numbers are used. A
    // plain array is aligned like its header, of eight bytes in memory that Postgres allocated.
    unsafe {
        let plain = *array.cast::<u8>() & 3 == 0 && ((*array).vl_len_ as u32 >> 2) as usize == BYTES;
        if !plain || (*array).ndim != 1 || (*array).dataoffset != 0 || (*array).elemtype != pg_sys::FLOAT8OID
        {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("the state of page_hinkley() is an array of {STATE} numbers"),
            ));
        }
        Ok(&mut *array.cast::<u8>().add(HEADER).cast::<PageHinkley>())
    }
}

/// A copy of a state that is not ours to change.
fn copied<'a>(datum: pg_sys::Datum) -> Result<(&'a mut PageHinkley, pg_sys::Datum)> {
    // SAFETY: the declaration makes the datum a float8[], which detoasting copies.
    let copy = unsafe { pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(datum.cast_mut_ptr())) };
    Ok((state(copy)?, copy))
}
