//! The values layer: functions over the rows that a query selects. No registry, no side effect.
//!
//! States of aggregates are values of SQL types, fixed in length or flat, which Postgres itself keeps in the memory of
//! the aggregate: hash aggregation sees their size, workers and other nodes pass them on like any column, and a
//! transition changes them in place without a call into Postgres.

mod categories;
mod column_stats;
mod fixed;
mod flat;
mod page_hinkley;
mod quantiles;
mod rfm;
mod rfm_orders;
mod scale;
mod stats;
mod window;

pub(crate) use categories::{
    categories_accum, categories_combine, categories_final, categories_num_vals, categories_psi,
};
pub(crate) use column_stats::{
    column_stats_accum, column_stats_combine, column_stats_final, column_stats_num_columns, column_stats_of,
};
pub(crate) use page_hinkley::{page_hinkley_accum, page_hinkley_accum_defaults, page_hinkley_final};
pub(crate) use quantiles::{
    quantiles_accum, quantiles_combine, quantiles_final, quantiles_ks_test, quantiles_num_vals,
    quantiles_psi, quantiles_quantile, quantiles_rank_error, quantiles_robust_scale,
};
pub(crate) use rfm::{
    rfm_accum, rfm_accum_date, rfm_age_days, rfm_age_days_date, rfm_combine, rfm_final, rfm_first_at,
    rfm_frequency, rfm_last_at, rfm_monetary, rfm_recency_days, rfm_recency_days_date,
};
pub(crate) use rfm_orders::{orders_accum, orders_accum_date, orders_combine, orders_final};
pub(crate) use scale::{max_abs_scaler, min_max_scaler, quantile_bucketize, robust_scaler, standard_scaler};
pub(crate) use stats::{
    stats_accum, stats_combine, stats_final, stats_kurtosis, stats_max, stats_mean, stats_min,
    stats_min_max_scale, stats_num_vals, stats_skewness, stats_stddev, stats_stddev_pop, stats_variance,
    stats_variance_pop, stats_z_score,
};

/// Reading and writing of the types of fixed length.
pub(crate) mod fixed_io {
    pub(crate) use values::rfm::Rfm;
    pub(crate) use values::stats::Stats;

    pub(crate) use super::fixed::{input, output, receive, send};
}

/// Reading and writing of the flat types.
pub(crate) mod flat_io {
    pub(crate) use super::categories::Categories;
    pub(crate) use super::column_stats::ColumnStats;
    pub(crate) use super::flat::{input, output, receive, send};
    pub(crate) use super::quantiles::Quantiles;
    pub(crate) use super::rfm_orders::Orders;
}

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use crate::pg::call::Call;
use crate::pg::error::{Code, Result, fail, shown_real};

/// Whether Postgres calls as part of an aggregate, also one used as a window function: what AggCheckCallContext asks.
/// Only then may the first argument be changed in place; anywhere else it may be a constant of the query.
#[inline]
pub(crate) fn in_aggregate(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: fmgr passes a valid fcinfo; a context, where there is one, is a node.
    unsafe {
        let context = (*fcinfo).context;
        !context.is_null()
            && matches!((*context).type_, pg_sys::NodeTag::T_AggState | pg_sys::NodeTag::T_WindowAggState)
    }
}

/// The float8 argument at `index`.
#[inline]
fn float(call: &Call, index: usize) -> Option<f64> {
    call.datum(index).map(|datum| f64::from_bits(datum.value() as u64))
}

/// A float8 as a datum.
#[inline]
fn float_datum(value: f64) -> pg_sys::Datum {
    pg_sys::Datum::from(value.to_bits() as usize)
}

/// 22003, in the words of Postgres.
#[cold]
fn overflow() -> ErrorReport {
    fail(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

/// 22003 for NaN and the infinities where only numbers make sense.
#[inline]
fn finite(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(not_finite(name, value)) }
}

#[cold]
fn not_finite(name: &str, value: f64) -> ErrorReport {
    let message = format!("\"{name}\" must be finite, got {}", shown_real(value));
    fail(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, message)
        .set_hint("Leave such rows out with a WHERE clause.")
}

/// 22P02 for the text of a type.
#[cold]
fn bad_text(type_name: &str, text: &str) -> ErrorReport {
    fail(
        Code::ERRCODE_INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
    .set_hint("Only what the type itself wrote can be read.")
}

/// 22P03 for the bytes of a type.
#[cold]
fn bad_bytes(type_name: &str) -> ErrorReport {
    fail(Code::ERRCODE_INVALID_BINARY_REPRESENTATION, format!("invalid binary value of type {type_name}"))
        .set_hint("Only what the type itself wrote can be read.")
}

/// What is left of the message that a receive function reads.
fn message(call: &Call) -> Result<&[u8]> {
    let buffer: *mut pg_sys::StringInfoData =
        call.datum(0).ok_or_else(|| bad_bytes("unknown"))?.cast_mut_ptr();
    // SAFETY: Postgres passes a StringInfo to receive functions; the cursor lies within its length.
    unsafe {
        let (cursor, length) = ((*buffer).cursor as usize, (*buffer).len as usize);
        (*buffer).cursor = (*buffer).len;
        Ok(std::slice::from_raw_parts((*buffer).data.cast::<u8>().add(cursor), length - cursor))
    }
}
