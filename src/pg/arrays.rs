//! Elements of an array argument, read where they stand: no copy of the array, whatever its length.

use pgrx::{FromDatum, pg_sys};

use super::error::Result;
use super::memory;

/// Elements between two looks at interrupts.
const LOOK: usize = 1024;

/// Calls `body` with each element that is not NULL and the type of the elements. Arrays of any number of
/// dimensions are read in storage order. Interrupts are answered on the way.
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
    let mut elements = Elements::of(array);
    let type_oid = elements.type_oid;
    let mut count = 0;
    while let Some(element) = elements.next() {
        body(element, type_oid)?;
        count += 1;
        if count % LOOK == 0 {
            memory::interrupts();
        }
    }
    Ok(())
}

/// Walks over the elements of an array as Postgres stores it: header, dimensions, lower bounds, a bitmap of what is not
/// NULL if any is, and the elements that are not, each aligned as its type is.
struct Elements {
    type_oid: pg_sys::Oid,
    /// Bytes of an element; -1 if each tells its own length, -2 if it ends with a zero byte.
    length: i16,
    by_value: bool,
    alignment: usize,
    /// One bit an element; null if no element is NULL.
    bitmap: *const u8,
    next: *const u8,
    at: usize,
    count: usize,
}

impl Elements {
    /// The datum is an array, by the declaration of the function that got it.
    fn of(array: pg_sys::Datum) -> Elements {
        // SAFETY: an array, detoasted, begins with its header; dimensions and lower bounds follow it, then the bitmap
        // if `dataoffset` is not 0, which otherwise says where the elements begin.
        unsafe {
            let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let type_oid = (*array).elemtype;
            let (mut length, mut by_value, mut alignment) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(type_oid, &mut length, &mut by_value, &mut alignment);
            let dimensions = usize::try_from((*array).ndim).unwrap_or(0);
            let sizes = std::slice::from_raw_parts(array.add(1).cast::<i32>(), dimensions);
            let count = if dimensions == 0 { 0 } else { sizes.iter().map(|&size| size as usize).product() };
            let header = size_of::<pg_sys::ArrayType>() + 2 * dimensions * size_of::<i32>();
            let bytes = array.cast::<u8>().cast_const();
            let (bitmap, first) = match (*array).dataoffset {
                0 => (std::ptr::null(), header.next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize)),
                offset => (bytes.add(header), offset as usize),
            };
            let alignment = match alignment as u8 {
                b'd' => align_of::<f64>(),
                b'i' => align_of::<i32>(),
                b's' => align_of::<i16>(),
                _ => 1,
            };
            Elements { type_oid, length, by_value, alignment, bitmap, next: bytes.add(first), at: 0, count }
        }
    }

    /// The next element, `Some(None)` for NULL.
    fn next(&mut self) -> Option<Option<pg_sys::Datum>> {
        if self.at == self.count {
            return None;
        }
        let at = self.at;
        self.at += 1;
        // SAFETY: the array has a bit and, if that is set, an element at this place. All elements are aligned, also
        // those that could do without.
        unsafe {
            if !self.bitmap.is_null() && *self.bitmap.add(at / 8) & 1 << (at % 8) == 0 {
                return Some(None);
            }
            let here = self.next.add(self.next.align_offset(self.alignment));
            let bytes = match self.length {
                -1 => pgrx::varlena::varsize_any(here.cast::<pg_sys::varlena>()),
                -2 => libc::strlen(here.cast()) + 1,
                length => length as usize,
            };
            self.next = here.add(bytes);
            let value = match (self.by_value, self.length) {
                (false, _) => pg_sys::Datum::from(here.cast_mut()),
                (true, 1) => pg_sys::Datum::from(here.cast::<i8>().read() as isize),
                (true, 2) => pg_sys::Datum::from(here.cast::<i16>().read() as isize),
                (true, 4) => pg_sys::Datum::from(here.cast::<i32>().read() as isize),
                (true, _) => pg_sys::Datum::from(here.cast::<isize>().read()),
            };
            Some(Some(value))
        }
    }
}

/// The elements of a `float8[]` in storage order, NULL as `None`.
pub(crate) fn floats(array: pg_sys::Datum) -> Result<Vec<Option<f64>>> {
    const WHAT: &str = "an array argument";
    // SAFETY: the declaration of the function makes the datum an array of float8. Without NULLs its elements stand one
    // after the other behind its header, aligned.
    unsafe {
        let plain = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let elements = Elements::of(pg_sys::Datum::from(plain));
        let mut floats = Vec::new();
        memory::within_limit((elements.count * size_of::<Option<f64>>()) as u64, WHAT)?;
        floats.try_reserve_exact(elements.count).map_err(|_| memory::refused_for(WHAT))?;
        if elements.bitmap.is_null() {
            let all = std::slice::from_raw_parts(elements.next.cast::<f64>(), elements.count);
            floats.extend(all.iter().copied().map(Some));
        } else {
            each_or_null(pg_sys::Datum::from(plain), &mut |value| {
                floats.push(value.and_then(|value| f64::from_datum(value, false)));
                Ok(())
            })?;
        }
        Ok(floats)
    }
}
