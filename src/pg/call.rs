//! What a SQL-callable function gets and gives: arguments out of `fcinfo`, values, records and sets back.

use std::ffi::CStr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{FromDatum, IntoDatum, PgLogLevel, pg_sys};

use super::error::{Code, Result, fail};
use super::json;
use super::memory::{self, Held};

/// What a function of SQL answers.
pub(crate) type Answer = Result<Option<pg_sys::Datum>>;

/// Copies of a text argument that a call may make at the same time, for a name, a query and a message.
const COPIES: usize = 8;

/// One call of a SQL function.
pub(crate) struct Call {
    fcinfo: pg_sys::FunctionCallInfo,
}

/// The body of a SQL function; `None` is NULL, and what a set-returning function answers.
pub(crate) type Body = fn(&Call) -> Result<Option<pg_sys::Datum>>;

/// Runs a body and turns its error into a Postgres one.
pub(crate) fn enter(fcinfo: pg_sys::FunctionCallInfo, body: Body) -> pg_sys::Datum {
    match memory::call(|| body(&Call { fcinfo })) {
        Ok(Some(datum)) => datum,
        Ok(None) => {
            // SAFETY: fmgr passes a valid, writable fcinfo that lives for the whole call.
            unsafe { (*fcinfo).isnull = true };
            pg_sys::Datum::null()
        }
        Err(error) => raise(error),
    }
}

/// Raises a report as a Postgres ERROR: unwinds to the function's guard.
pub(crate) fn raise(error: ErrorReport) -> ! {
    error.report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

impl Call {
    /// What Postgres called with.
    #[inline]
    pub(crate) fn fcinfo(&self) -> pg_sys::FunctionCallInfo {
        self.fcinfo
    }

    /// The argument at `index`, or `None` where it is NULL.
    #[inline]
    pub(crate) fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: fmgr passes a valid fcinfo; the index is checked against its own count.
        unsafe {
            if index >= (*self.fcinfo).nargs as usize {
                return None;
            }
            let argument = &(*self.fcinfo).args.as_slice((*self.fcinfo).nargs as usize)[index];
            (!argument.isnull).then_some(argument.value)
        }
    }

    /// The argument at `index` as a Rust value; the SQL declaration guarantees its type.
    pub(crate) fn get<T: FromDatum>(&self, index: usize) -> Option<T> {
        let datum = self.datum(index)?;
        // SAFETY: the function's SQL declaration, which `make check-api` compares with ours, fixes the type.
        unsafe { T::from_datum(datum, false) }
    }

    /// The argument at `index`, which must not be NULL.
    pub(crate) fn required<T: FromDatum>(&self, index: usize, name: &str) -> Result<T> {
        self.get(index).ok_or_else(|| null_argument(name))
    }

    /// A `name` argument.
    pub(crate) fn name(&self, index: usize) -> Option<String> {
        let datum = self.datum(index)?;
        // SAFETY: a name datum points to a NUL-terminated NameData.
        let name = unsafe { CStr::from_ptr(datum.cast_mut_ptr()) };
        Some(name.to_string_lossy().into_owned())
    }

    /// A `name[]` argument; 22004 for NULL among them.
    pub(crate) fn names(&self, index: usize) -> Result<Option<Vec<String>>> {
        let Some(array) = self.datum(index) else { return Ok(None) };
        let (mut names, mut held) = (Vec::new(), Held::new("an array of names"));
        crate::pg::arrays::each_or_null(array, &mut |element| {
            let Some(datum) = element else {
                return Err(fail(
                    Code::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                    "an array of names must not contain null",
                ));
            };
            // A name, its place in a list of columns, and what is quoted of it.
            held.room(&mut names, 4 * pg_sys::NAMEDATALEN as usize)?;
            // SAFETY: an element of a name array points to a NUL-terminated NameData.
            names.push(unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }.to_string_lossy().into_owned());
            Ok(())
        })?;
        Ok(Some(names))
    }

    /// A `text` argument. The copy of a long one, and the few that are made of it, are announced.
    pub(crate) fn text(&self, index: usize) -> Result<Option<String>> {
        let Some(value) = self.datum(index) else { return Ok(None) };
        // SAFETY: the declaration makes the datum a text; a detoasted copy belongs to the memory context of the call.
        let bytes = unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
            pgrx::varlena::varlena_to_byte_slice(plain)
        };
        memory::reserve(bytes.len().saturating_mul(COPIES), "a text argument")?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A `text` argument that must not be NULL.
    pub(crate) fn required_text(&self, index: usize, name: &str) -> Result<String> {
        self.text(index)?.ok_or_else(|| null_argument(name))
    }

    /// A `jsonb` argument that must be an object; NULL is the empty one.
    pub(crate) fn object(
        &self,
        index: usize,
        name: &str,
    ) -> Result<serde_json::Map<String, serde_json::Value>> {
        match self.datum(index) {
            Some(value) => json::object(value, name),
            None => Ok(serde_json::Map::new()),
        }
    }

    /// The actual type of the argument at `index`, which matters where the declaration is polymorphic.
    pub(crate) fn argument_type(&self, index: usize) -> pg_sys::Oid {
        // SAFETY: flinfo is set by fmgr; the function tolerates a missing expression tree.
        unsafe { pg_sys::get_fn_expr_argtype((*self.fcinfo).flinfo, index as i32) }
    }

    /// A single composite value of the function's declared result type.
    pub(crate) fn record(&self, values: &[Option<pg_sys::Datum>]) -> Result<Option<pg_sys::Datum>> {
        let (mut datums, mut nulls) = split(values);
        // SAFETY: the descriptor comes from the declared result type and is blessed before use; the arrays
        // are as long as its attributes, which is checked.
        unsafe {
            let mut descriptor: pg_sys::TupleDesc = std::ptr::null_mut();
            let class = pg_sys::get_call_result_type(self.fcinfo, std::ptr::null_mut(), &mut descriptor);
            if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE
                || (*descriptor).natts as usize != values.len()
            {
                return Err(result_mismatch());
            }
            let descriptor = pg_sys::BlessTupleDesc(descriptor);
            let tuple = pg_sys::heap_form_tuple(descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
            Ok(Some(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)))
        }
    }

    /// Where a set-returning function puts its rows.
    pub(crate) fn rows(&self) -> Result<Rows> {
        // SAFETY: InitMaterializedSRF checks the caller's context itself and fills setResult and setDesc.
        unsafe {
            pg_sys::InitMaterializedSRF(self.fcinfo, 0);
            let info = (*self.fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            Ok(Rows { store: (*info).setResult, descriptor: (*info).setDesc })
        }
    }
}

/// The rows of a set-returning function, kept in a tuplestore.
pub(crate) struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    descriptor: pg_sys::TupleDesc,
}

impl Rows {
    /// Adds a row; as many values as the result has columns.
    pub(crate) fn push(&mut self, values: &[Option<pg_sys::Datum>]) -> Result<()> {
        let (mut datums, mut nulls) = split(values);
        // SAFETY: store and descriptor belong to the running call; the arrays have the descriptor's length.
        unsafe {
            if (*self.descriptor).natts as usize != values.len() {
                return Err(result_mismatch());
            }
            pg_sys::tuplestore_putvalues(
                self.store,
                self.descriptor,
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
        Ok(())
    }

    /// The type of a result column, counted from 0.
    pub(crate) fn column_type(&self, column: usize) -> pg_sys::Oid {
        // SAFETY: the descriptor belongs to the running call and has more columns than `column`.
        unsafe { pg_sys::SPI_gettypeid(self.descriptor, column as i32 + 1) }
    }
}

fn split(values: &[Option<pg_sys::Datum>]) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    values.iter().map(|value| (value.unwrap_or(pg_sys::Datum::null()), value.is_none())).unzip()
}

fn result_mismatch() -> ErrorReport {
    fail(Code::ERRCODE_DATATYPE_MISMATCH, "the SQL declaration of this function does not fit the library")
        .set_hint("Run ALTER EXTENSION pg_persona UPDATE.")
}

/// 22004 for an argument that must be given.
pub(crate) fn null_argument(name: &str) -> ErrorReport {
    fail(Code::ERRCODE_NULL_VALUE_NOT_ALLOWED, format!("\"{name}\" must not be null"))
}

/// A Rust value as a datum in the current memory context.
pub(crate) fn datum(value: impl IntoDatum) -> Option<pg_sys::Datum> {
    value.into_datum()
}
