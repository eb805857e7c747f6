//! Columns of numbers: which of them can be features, and their rows as a matrix.

use base::Control;
use pgrx::pg_sys;

use super::{Column, Source, rows};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::ids::base_type;
use crate::pg::names::{quote, shown};

/// A column that is read as a number.
#[derive(Debug, Clone)]
pub(crate) struct Feature {
    pub(crate) name: String,
    /// SQL that makes it a `double precision`.
    pub(crate) expression: String,
}

const TYPES: &str = "smallint, integer, bigint, real, double precision, numeric, boolean and interval";

impl Feature {
    pub(crate) fn of(column: &Column) -> Option<Feature> {
        let quoted = quote(&column.name);
        let expression = match base_type(column.type_oid) {
            pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
            | pg_sys::NUMERICOID => format!("{quoted}::pg_catalog.float8"),
            pg_sys::BOOLOID => format!("{quoted}::pg_catalog.int4::pg_catalog.float8"),
            // In days.
            pg_sys::INTERVALOID => {
                format!("(EXTRACT(epoch FROM {quoted}) OPERATOR(pg_catalog./) 86400)::pg_catalog.float8")
            }
            _ => return None,
        };
        Some(Feature { name: column.name.clone(), expression })
    }
}

impl Source {
    /// The named columns as features, or all that can be, but for the id; 42703, 0A000 with the column's name.
    pub(crate) fn features(&self, id: &str, names: Option<&[String]>) -> Result<Vec<Feature>> {
        let features: Vec<Feature> = match names {
            None => {
                let others = self.columns.iter().filter(|column| column.name != id);
                let feature = |column: &Column| {
                    Feature::of(column).ok_or_else(|| {
                        column.wrong_type("features", TYPES).set_hint(
                            "Name the columns to learn from in \"feature_columns\", or read from a view that casts the column.",
                        )
                    })
                };
                others.map(feature).collect::<Result<_>>()?
            }
            Some(names) => {
                let mut features: Vec<Feature> = Vec::new();
                for name in names {
                    let column = self.column(name)?;
                    if column.name == id || features.iter().any(|feature| feature.name == *name) {
                        return Err(fail(
                            Code::ERRCODE_DUPLICATE_COLUMN,
                            format!("column \"{name}\" is named twice"),
                        ));
                    }
                    features.push(Feature::of(column).ok_or_else(|| column.wrong_type("features", TYPES))?);
                }
                features
            }
        };
        if features.is_empty() {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("relation {} has no columns to learn from", shown(&self.name)),
            )
            .set_detail(format!("Features can be of type {TYPES}; the column of the ids is none.")));
        }
        Ok(features)
    }
}

/// Rows of numbers, and what was left out of them.
pub(crate) struct Matrix {
    /// Row by row, `columns` numbers each, all finite.
    pub(crate) values: Vec<f64>,
    pub(crate) columns: usize,
    pub(crate) rows_read: u64,
    pub(crate) null: u64,
    pub(crate) not_finite: u64,
}

impl Matrix {
    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }
}

/// Numbers that the matrix grows by at least, so that it is seldom copied.
const STEP: usize = 1 << 19;

/// Reads a query whose columns are all `double precision`. Rows with a NULL or a number that is not finite are left
/// out and counted. What is kept stays taken from the control.
pub(crate) fn read_matrix(
    query: &str,
    columns: usize,
    control: &Control,
    on_rows: &mut dyn FnMut(u64),
) -> Result<Matrix> {
    const TASK: &str = "reading the features";
    let types = vec![pg_sys::FLOAT8OID; columns];
    let mut matrix = Matrix { values: Vec::new(), columns, rows_read: 0, null: 0, not_finite: 0 };
    rows::stream(query, &types, &mut |values, nulls| {
        matrix.rows_read += 1;
        if matrix.rows_read.is_multiple_of(8192) {
            on_rows(matrix.rows_read);
        }
        if nulls.contains(&true) {
            matrix.null += 1;
            return Ok(true);
        }
        let numbers = values.iter().map(|value| f64::from_bits(value.value() as u64));
        if !numbers.clone().all(f64::is_finite) {
            matrix.not_finite += 1;
            return Ok(true);
        }
        if matrix.values.capacity() - matrix.values.len() < columns {
            let more = (matrix.values.len() / 2).max(STEP).max(columns);
            control
                .take(more as u64 * 8, TASK, "Train from fewer rows or columns.")
                .and_then(|()| {
                    matrix.values.try_reserve_exact(more).map_err(|_| base::Error::NoMemory { task: TASK })
                })
                .or_report()?;
        }
        matrix.values.extend(numbers);
        Ok(true)
    })?;
    Ok(matrix)
}
