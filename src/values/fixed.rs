//! Types of a fixed length: their values as arguments and states, their text and their bytes.

use std::ffi::CStr;

use pgrx::{IntoDatum, pg_sys};
use values::rfm::Rfm;
use values::stats::Stats;

use super::{bad_bytes, bad_text, in_aggregate, message};
use crate::pg::call::{Answer, Call};

/// A type whose values are eight-byte fields, declared with ALIGNMENT double.
pub(crate) trait Fixed: Copy + 'static {
    /// Name in SQL.
    const NAME: &'static str;
    /// Name of each field in the text, and whether it is a whole number.
    const FIELDS: &'static [(&'static str, bool)];
    /// The fields in order; whole numbers and floats as their bits.
    fn fields(&self) -> Vec<u64>;
    /// The value of such fields; None for impossible ones.
    fn from_fields(fields: &[u64]) -> Option<Self>;
}

/// The version of the binary form.
const VERSION: u8 = 1;

/// A value to read. The type of the argument is T by the declaration of the function.
#[inline]
pub(crate) fn value<T: Fixed>(call: &Call, index: usize) -> Option<&T> {
    // SAFETY: the declaration, which `make check-api` compares with ours, says that the datum points to a T; values on
    // pages and in tuples are aligned as the type says.
    call.datum(index).map(|datum| unsafe { &*datum.cast_mut_ptr::<T>() })
}

/// The state of a transition or combine function, to be changed in place: its first argument where an aggregate
/// calls, else a copy of it.
#[inline]
pub(crate) fn state<'a, T: Fixed>(call: &Call) -> Option<&'a mut T> {
    let datum = call.datum(0)?;
    let pointer = datum.cast_mut_ptr::<T>();
    if in_aggregate(call.fcinfo()) {
        // SAFETY: as in `value`; the state belongs to the running aggregate, which calls us alone with it.
        return Some(unsafe { &mut *pointer });
    }
    // SAFETY: the new memory has the size of a T and holds a copy before a reference is made.
    unsafe {
        let copy = pg_sys::palloc(size_of::<T>()).cast::<T>();
        *copy = *pointer;
        Some(&mut *copy)
    }
}

/// A state as the result of the function that changed it.
#[inline]
pub(crate) fn datum<T: Fixed>(state: &mut T) -> pg_sys::Datum {
    pg_sys::Datum::from(std::ptr::from_mut(state))
}

/// A value as a datum in the current memory context.
pub(crate) fn copied<T: Fixed>(value: &T) -> pg_sys::Datum {
    // SAFETY: the new memory has the size of a T.
    unsafe {
        let copy = pg_sys::palloc(size_of::<T>()).cast::<T>();
        copy.write(*value);
        pg_sys::Datum::from(copy)
    }
}

/// The input function: `{count: 2, mean: 1.5}` with the fields in order.
pub(crate) fn input<T: Fixed>(call: &Call) -> Answer {
    let Some(datum) = call.datum(0) else { return Ok(None) };
    // SAFETY: input functions get a NUL-terminated string.
    let text = unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }.to_string_lossy();
    match parse::<T>(&text) {
        Some(value) => Ok(Some(copied(&value))),
        None => Err(bad_text(T::NAME, &text)),
    }
}

fn parse<T: Fixed>(text: &str) -> Option<T> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut parts = inner.split(',');
    let mut fields = Vec::with_capacity(T::FIELDS.len());
    for (name, whole) in T::FIELDS {
        let (key, value) = parts.next()?.split_once(':')?;
        if key.trim() != *name {
            return None;
        }
        let value = value.trim();
        fields.push(if *whole {
            value.parse::<i64>().ok()? as u64
        } else {
            value.parse::<f64>().ok()?.to_bits()
        });
    }
    parts.next().is_none().then(|| T::from_fields(&fields))?
}

/// The output function; floats in the shortest form that reads back as the same.
pub(crate) fn output<T: Fixed>(call: &Call) -> Answer {
    let Some(value) = value::<T>(call, 0) else { return Ok(None) };
    let fields: Vec<String> = T::FIELDS
        .iter()
        .zip(value.fields())
        .map(|((name, whole), bits)| {
            if *whole {
                format!("{name}: {}", bits as i64)
            } else {
                format!("{name}: {:?}", f64::from_bits(bits))
            }
        })
        .collect();
    let text = format!("{{{}}}\0", fields.join(", "));
    Ok(CStr::from_bytes_with_nul(text.as_bytes()).ok().and_then(IntoDatum::into_datum))
}

/// The send function: a byte with the version, then each field in eight bytes, the lowest first.
pub(crate) fn send<T: Fixed>(call: &Call) -> Answer {
    let Some(value) = value::<T>(call, 0) else { return Ok(None) };
    let mut bytes = vec![VERSION];
    bytes.extend(value.fields().iter().flat_map(|field| field.to_le_bytes()));
    Ok(bytes.into_datum())
}

/// The receive function.
pub(crate) fn receive<T: Fixed>(call: &Call) -> Answer {
    let value = match message(call)?.split_first() {
        Some((&VERSION, rest)) if rest.len() == 8 * T::FIELDS.len() => {
            let fields: Vec<u64> = rest.chunks_exact(8).map(crate::values::flat::word).collect();
            T::from_fields(&fields)
        }
        _ => None,
    };
    value.map(|value| Some(copied(&value))).ok_or_else(|| bad_bytes(T::NAME))
}

impl Fixed for Stats {
    const NAME: &'static str = "persona.stats";
    const FIELDS: &'static [(&'static str, bool)] = &[
        ("count", true),
        ("origin", false),
        ("offset", false),
        ("m2", false),
        ("m3", false),
        ("m4", false),
        ("min", false),
        ("max", false),
    ];

    fn fields(&self) -> Vec<u64> {
        let (count, parts) = self.parts();
        std::iter::once(count as u64).chain(parts.map(f64::to_bits)).collect()
    }

    fn from_fields(fields: &[u64]) -> Option<Stats> {
        let (count, parts) = fields.split_first()?;
        let parts: [u64; 7] = parts.try_into().ok()?;
        Stats::from_parts(*count as i64, parts.map(f64::from_bits))
    }
}

impl Fixed for Rfm {
    const NAME: &'static str = "persona.rfm";
    const FIELDS: &'static [(&'static str, bool)] =
        &[("frequency", true), ("first", true), ("last", true), ("monetary", false), ("lost", false)];

    fn fields(&self) -> Vec<u64> {
        let (whole, floats) = self.parts();
        whole.map(|x| x as u64).into_iter().chain(floats.map(f64::to_bits)).collect()
    }

    fn from_fields(fields: &[u64]) -> Option<Rfm> {
        let (whole, floats) = fields.split_first_chunk::<3>()?;
        let floats: [u64; 2] = floats.try_into().ok()?;
        Rfm::from_parts(whole.map(|x| x as i64), floats.map(f64::from_bits))
    }
}
