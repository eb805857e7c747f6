//! Flat types of varying length: after the length word of every varlena and a version, eight-byte words.
//!
//! A transition function changes the words in place. Where they must become more it answers a new value, which Postgres
//! copies into the memory of the aggregate; each such step multiplies the room, so that it is rare.

use std::ffi::CStr;

use pgrx::{IntoDatum, pg_sys};

use super::{bad_bytes, bad_text, in_aggregate, message};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};

/// A flat type.
pub(crate) trait Flat: 'static {
    /// Name in SQL.
    const NAME: &'static str;
    /// Whether words that came from elsewhere are a value of the type.
    fn is_valid(words: &[u64]) -> bool;
}

/// The version of the stored and the binary form.
const VERSION: u32 = 1;

/// Bytes before the words: the length and the version.
const HEADER: usize = 8;

/// What palloc gives at most.
const MOST: usize = 0x3fff_ffff;

/// The words of an argument, to be read.
pub(crate) fn words<'a>(call: &Call, index: usize) -> Option<&'a [u64]> {
    let (start, length) = plain(call.datum(index)?);
    // SAFETY: `plain` answers aligned words that live as long as the call.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

/// The words of the state of a transition or combine function, to be changed in place, and the datum that they belong
/// to: the first argument where an aggregate calls, else a copy of it.
#[inline]
pub(crate) fn state<'a>(call: &Call) -> Option<(&'a mut [u64], pg_sys::Datum)> {
    let datum = call.datum(0)?;
    if in_aggregate(call.fcinfo()) {
        let pointer = datum.cast_mut_ptr::<u32>();
        // SAFETY: a varlena begins with a byte that tells the length of its header.
        if unsafe { *pointer } & 3 == 0 {
            let (start, length) = plain(datum);
            // SAFETY: as in `words`; the state belongs to the running aggregate, which calls us alone with it.
            return Some((unsafe { std::slice::from_raw_parts_mut(start, length) }, datum));
        }
    }
    let old = words(call, 0)?;
    let (new, datum) = made(old.len()).ok()?;
    new.copy_from_slice(old);
    Some((new, datum))
}

/// A new value of that many words, all zero, in the current memory context.
pub(crate) fn made<'a>(length: usize) -> Result<(&'a mut [u64], pg_sys::Datum)> {
    let bytes = HEADER + length * 8;
    if bytes > MOST {
        return Err(fail(
            Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "the state of an aggregate would need {} MB, more than the {} MB that a value can have",
                bytes >> 20,
                MOST >> 20
            ),
        ));
    }
    // SAFETY: the new memory has `bytes` zeroed bytes, aligned for words; the length word is that of a plain varlena.
    unsafe {
        let pointer = pg_sys::palloc0(bytes).cast::<u32>();
        *pointer = (bytes as u32) << 2;
        *pointer.add(1) = VERSION;
        let words = std::slice::from_raw_parts_mut(pointer.cast::<u8>().add(HEADER).cast::<u64>(), length);
        Ok((words, pg_sys::Datum::from(pointer)))
    }
}

/// Where the words of a datum stand, uncompressed and aligned, and how many they are.
#[inline]
fn plain(datum: pg_sys::Datum) -> (*mut u64, usize) {
    let mut pointer = datum.cast_mut_ptr::<u32>();
    // SAFETY: a varlena of a type aligned like double: with a header of four bytes it is aligned, else the detoasted copy
    // is. Its bytes were checked when they were read.
    unsafe {
        if *pointer.cast::<u8>() & 3 != 0 {
            pointer = pg_sys::pg_detoast_datum(pointer.cast()).cast();
        }
        let bytes = (*pointer >> 2) as usize;
        (pointer.cast::<u8>().add(HEADER).cast::<u64>(), bytes.saturating_sub(HEADER) / 8)
    }
}

/// Eight bytes as a word.
pub(crate) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn encode(words: &[u64]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

fn decode<T: Flat>(bytes: &[u8]) -> Answer {
    let Some((version, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
        return Ok(None);
    }
    let (words, datum) = made(rest.len() / 8)?;
    for (word, bytes) in words.iter_mut().zip(rest.chunks_exact(8)) {
        *word = crate::values::flat::word(bytes);
    }
    Ok(T::is_valid(words).then_some(datum))
}

/// The input function: what bytea shows of the binary form.
pub(crate) fn input<T: Flat>(call: &Call) -> Answer {
    let Some(datum) = call.datum(0) else { return Ok(None) };
    // SAFETY: input functions get a NUL-terminated string.
    let text = unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }.to_string_lossy();
    let bytes = match text.strip_prefix("\\x") {
        Some(digits) if digits.len() % 2 == 0 => digits
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect::<Option<Vec<u8>>>(),
        _ => None,
    };
    let shown = || text.chars().take(40).collect::<String>();
    let value = match bytes {
        Some(bytes) => decode::<T>(&bytes)?,
        None => None,
    };
    value.map(Some).ok_or_else(|| bad_text(T::NAME, &shown()))
}

/// The output function.
pub(crate) fn output<T: Flat>(call: &Call) -> Answer {
    let Some(words) = words(call, 0) else { return Ok(None) };
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = b"\\x".to_vec();
    for byte in encode(words) {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text.push(0);
    Ok(CStr::from_bytes_with_nul(&text).ok().and_then(IntoDatum::into_datum))
}

/// The send function: version and words, the lowest byte first.
pub(crate) fn send<T: Flat>(call: &Call) -> Answer {
    let Some(words) = words(call, 0) else { return Ok(None) };
    Ok(encode(words).into_datum())
}

/// The receive function.
pub(crate) fn receive<T: Flat>(call: &Call) -> Answer {
    decode::<T>(message(call)?)?.map(Some).ok_or_else(|| bad_bytes(T::NAME))
}
