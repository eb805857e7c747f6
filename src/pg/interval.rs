//! Lengths of time, as the `interval` of SQL writes them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// An interval as text.
pub(crate) fn text(datum: pg_sys::Datum) -> String {
    // SAFETY: the caller's declaration makes the datum an interval; the palloc'd text is copied at once.
    let text = unsafe { CStr::from_ptr(pg_sys::OidOutputFunctionCall(pg_sys::F_INTERVAL_OUT.into(), datum)) };
    text.to_string_lossy().into_owned()
}

/// The seconds that the text of an interval means, a month being 30 days; an ERROR of Postgres for another text, and
/// `None` for one with a zero byte.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let mut text = CString::new(text).ok()?.into_bytes_with_nul();
    // SAFETY: the input function of interval gets a NUL-terminated text and no modifier, and answers an interval.
    let interval = unsafe {
        let datum = pg_sys::OidInputFunctionCall(
            pg_sys::F_INTERVAL_IN.into(),
            text.as_mut_ptr().cast(),
            pg_sys::InvalidOid,
            -1,
        );
        &*datum.cast_mut_ptr::<pg_sys::Interval>()
    };
    let days = f64::from(interval.month) * 30.0 + f64::from(interval.day);
    Some(days * 86_400.0 + interval.time as f64 / 1e6)
}
