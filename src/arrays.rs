//! Elements of an array argument.

use pgrx::pg_sys;

use crate::error::Result;

/// Calls `body` with each element that is not NULL and the type of the elements. Arrays of any number of
/// dimensions are read in storage order.
pub(crate) fn each(
    array: pg_sys::Datum,
    body: &mut dyn FnMut(pg_sys::Datum, pg_sys::Oid) -> Result<()>,
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
        if !null {
            body(value, type_oid)?;
        }
    }
    Ok(())
}
