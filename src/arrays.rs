//! Elements of an array argument.

use pgrx::{FromDatum, pg_sys};

use crate::error::Result;

/// Calls `body` with each element that is not NULL and the type of the elements. Arrays of any number of
/// dimensions are read in storage order.
pub(crate) fn each(
    array: pg_sys::Datum,
    body: &mut dyn FnMut(pg_sys::Datum, pg_sys::Oid) -> Result<()>,
) -> Result<()> {
    elements(array, &mut |value, type_oid| value.map_or(Ok(()), |value| body(value, type_oid)))
}

/// The same with every element, `None` where it is NULL.
pub(crate) fn each_or_null(
    array: pg_sys::Datum,
    body: &mut dyn FnMut(Option<pg_sys::Datum>) -> Result<()>,
) -> Result<()> {
    elements(array, &mut |value, _| body(value))
}

fn elements(
    array: pg_sys::Datum,
    body: &mut dyn FnMut(Option<pg_sys::Datum>, pg_sys::Oid) -> Result<()>,
) -> Result<()> {
    // SAFETY: the declaration of the function makes the datum an array; deconstruct_array fills the two
    // palloc'd arrays of `count` entries, which are freed by the memory context of the call.
    let (values, nulls, type_oid) = unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let type_oid = (*array).elemtype;
        let (mut length, mut by_value, mut alignment) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(type_oid, &mut length, &mut by_value, &mut alignment);
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            type_oid,
            length.into(),
            by_value,
            alignment,
            &mut values,
            &mut nulls,
            &mut count,
        );
        if count == 0 {
            return Ok(());
        }
        (
            std::slice::from_raw_parts(values, count as usize),
            std::slice::from_raw_parts(nulls, count as usize),
            type_oid,
        )
    };
    for (&value, &null) in values.iter().zip(nulls) {
        body((!null).then_some(value), type_oid)?;
    }
    Ok(())
}

/// The elements of a `float8[]` in storage order, NULL as `None`.
pub(crate) fn floats(array: pg_sys::Datum) -> Vec<Option<f64>> {
    // SAFETY: the declaration of the function makes the datum an array of float8. Without NULLs its elements stand one
    // after the other behind its header, aligned; pgrx reads any other.
    unsafe {
        let plain = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*plain).dataoffset != 0 {
            return Vec::<Option<f64>>::from_datum(array, false).unwrap_or_default();
        }
        let dimensions = usize::try_from((*plain).ndim).unwrap_or(0);
        let sizes = std::slice::from_raw_parts(plain.add(1).cast::<i32>(), dimensions);
        let count = if dimensions == 0 { 0 } else { sizes.iter().map(|&size| size as usize).product() };
        let header = (size_of::<pg_sys::ArrayType>() + 2 * dimensions * size_of::<i32>())
            .next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize);
        let first = plain.cast::<u8>().add(header).cast::<f64>();
        std::slice::from_raw_parts(first, count).iter().copied().map(Some).collect()
    }
}
