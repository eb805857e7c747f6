//! A `jsonb` argument as a value of this library. Its size and depth are limited before anything is made of it: a value
//! takes up to fifty times the bytes that Postgres stores it in, and a number of eight bytes may have 131,072 digits.

use pgrx::pg_sys;
use pgrx::pg_sys::{JsonbIteratorToken as Token, jbvType as Kind};
use serde_json::{Map, Number, Value};

use super::error::{Code, Result, fail};
use super::memory;

/// The most bytes of an argument, as Postgres stores it without compression.
const BYTES: usize = 1 << 20;

/// The most levels.
const DEPTH: usize = 100;

/// Bytes that a value takes here for each byte there, at worst: an object of one key is a node for eleven.
const TIMES: usize = 48;

/// Values between two looks at interrupts.
const LOOK: usize = 256;

/// Reads a `jsonb` datum that must be an object. 22023 for another value and for numbers beyond double precision, 54000 for
/// one of more than [`BYTES`] or [`DEPTH`].
pub(crate) fn object(datum: pg_sys::Datum, name: &str) -> Result<Map<String, Value>> {
    // SAFETY: the declaration of the function makes the datum a jsonb; its length is known before it is read.
    let bytes = unsafe { pg_sys::toast_raw_datum_size(datum) };
    if bytes > BYTES {
        return Err(too_much(name, format!("It has {bytes} bytes, and may have {BYTES}.")));
    }
    memory::reserve(bytes * TIMES, "a JSON argument")?;
    // SAFETY: as above; the copy belongs to the memory context of the call.
    let plain = unsafe { pg_sys::pg_detoast_datum(datum.cast_mut_ptr()) };
    // SAFETY: a jsonb that is not compressed is its length and its root.
    let mut iterator = unsafe { pg_sys::JsonbIteratorInit(&raw mut (*plain.cast::<pg_sys::Jsonb>()).root) };
    let mut reader = Reader { name, iterator: &mut iterator, read: 0 };
    match reader.document()? {
        Value::Object(map) => Ok(map),
        _ => Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("\"{name}\" must be a JSON object"))),
    }
}

fn too_much(name: &str, detail: String) -> pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, format!("\"{name}\" is too large")).set_detail(detail)
}

/// An object or array that is not complete yet.
enum Open {
    /// With the key whose value comes next.
    Object(Map<String, Value>, Option<String>),
    Array(Vec<Value>),
}

struct Reader<'a> {
    name: &'a str,
    iterator: &'a mut *mut pg_sys::JsonbIterator,
    read: usize,
}

impl Reader<'_> {
    /// Reads to the end. Without recursion: the depth costs no stack.
    fn document(&mut self) -> Result<Value> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // SAFETY: plain data that the iterator fills.
            let mut found: pg_sys::JsonbValue = unsafe { std::mem::zeroed() };
            // SAFETY: the iterator belongs to a jsonb that lives as long as the call.
            let token = unsafe { pg_sys::JsonbIteratorNext(self.iterator, &mut found, false) };
            self.read += 1;
            if self.read.is_multiple_of(LOOK) {
                memory::interrupts();
            }
            let value = match token {
                Token::WJB_BEGIN_OBJECT => {
                    open.push(Open::Object(Map::new(), None));
                    self.depth(open.len())?;
                    continue;
                }
                Token::WJB_BEGIN_ARRAY => {
                    open.push(Open::Array(Vec::new()));
                    self.depth(open.len())?;
                    continue;
                }
                Token::WJB_KEY => {
                    if let Some(Open::Object(_, key)) = open.last_mut() {
                        // SAFETY: a key is a string.
                        *key = Some(unsafe { text(&found) });
                    }
                    continue;
                }
                Token::WJB_VALUE | Token::WJB_ELEM => self.scalar(&found)?,
                _ => match open.pop() {
                    Some(Open::Object(map, _)) => Value::Object(map),
                    Some(Open::Array(values)) => Value::Array(values),
                    None => return Ok(Value::Null),
                },
            };
            match open.last_mut() {
                Some(Open::Object(map, key)) => drop(map.insert(key.take().unwrap_or_default(), value)),
                Some(Open::Array(values)) => values.push(value),
                None => return Ok(value),
            }
        }
    }

    fn depth(&self, levels: usize) -> Result<()> {
        if levels <= DEPTH {
            return Ok(());
        }
        Err(too_much(self.name, format!("Its values nest more than {DEPTH} levels deep.")))
    }

    fn scalar(&self, found: &pg_sys::JsonbValue) -> Result<Value> {
        // SAFETY: the type says which member of the union is set.
        Ok(unsafe {
            match found.type_ {
                Kind::jbvString => Value::String(text(found)),
                Kind::jbvBool => Value::Bool(found.val.boolean),
                Kind::jbvNumeric => Value::Number(self.number(found.val.numeric)?),
                _ => Value::Null,
            }
        })
    }

    /// A whole number stays one if it fits 64 bits.
    fn number(&self, numeric: pg_sys::Numeric) -> Result<Number> {
        let datum = pg_sys::Datum::from(numeric);
        // SAFETY: a numeric of the document; what overflows becomes infinite instead of an error.
        let real =
            unsafe { pgrx::direct_function_call::<f64>(pg_sys::numeric_float8_no_overflow, &[Some(datum)]) };
        let real = real.filter(|real| real.is_finite()).ok_or_else(|| {
            fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("\"{}\" is out of range", self.name))
                .set_detail("Numbers must fit double precision.")
        })?;
        let whole = if real.abs() < 2e19 && real.fract() == 0.0 { whole(datum) } else { None };
        Ok(whole.or_else(|| Number::from_f64(real)).unwrap_or_else(|| 0.into()))
    }
}

/// A numeric as a whole number, if its text is one.
fn whole(numeric: pg_sys::Datum) -> Option<Number> {
    // SAFETY: a numeric; its text is palloc'd, read at once and freed.
    unsafe {
        let text = pg_sys::OidOutputFunctionCall(pg_sys::F_NUMERIC_OUT.into(), numeric);
        let digits = std::ffi::CStr::from_ptr(text).to_string_lossy();
        let number = digits
            .parse::<i64>()
            .ok()
            .map(Number::from)
            .or_else(|| digits.parse::<u64>().ok().map(Number::from));
        pg_sys::pfree(text.cast());
        number
    }
}

/// # Safety
/// The value is a string.
unsafe fn text(found: &pg_sys::JsonbValue) -> String {
    // SAFETY: promised by the caller; the bytes lie in the document.
    unsafe {
        let string = found.val.string;
        let bytes = std::slice::from_raw_parts(string.val.cast::<u8>(), string.len as usize);
        String::from_utf8_lossy(bytes).into_owned()
    }
}
