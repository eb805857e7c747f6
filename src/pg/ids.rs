//! Ids as Postgres types: which types may be ids, and the ways between a datum, its canonical bytes and text.

use std::ffi::{CStr, CString};

use base::ids::{IdKind, IdRef};
use pgrx::pg_sys;

use super::error::{Code, Result, fail};
use super::memory;

/// The types that ids may have; the number is stored in images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    SmallInt = 1,
    Integer = 2,
    BigInt = 3,
    Date = 4,
    Uuid = 5,
    Text = 6,
    Char = 7,
    Enum = 8,
}

const ALL: [Class; 8] = [
    Class::SmallInt,
    Class::Integer,
    Class::BigInt,
    Class::Date,
    Class::Uuid,
    Class::Text,
    Class::Char,
    Class::Enum,
];

/// An id by its canonical value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Integer(i64),
    Uuid([u8; 16]),
    Bytes(Vec<u8>),
}

impl Id {
    /// Bytes that a set of ids takes for this one, its place in the table among them.
    pub(crate) fn bytes(&self) -> usize {
        let text = if let Id::Bytes(bytes) = self { bytes.len() + 16 } else { 0 };
        2 * size_of::<Id>() + text
    }

    pub(crate) fn borrow(&self) -> IdRef<'_> {
        match self {
            Id::Integer(value) => IdRef::Integer(*value),
            Id::Uuid(bytes) => IdRef::Fixed16(bytes),
            Id::Bytes(bytes) => IdRef::Bytes(bytes),
        }
    }
}

/// The type below any domains.
pub(crate) fn base_type(type_oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a system cache look-up; raises an error for an unknown type.
    unsafe { pg_sys::getBaseType(type_oid) }
}

/// A type's name as people write it.
pub(crate) fn type_title(type_oid: pg_sys::Oid) -> String {
    // SAFETY: the result is a palloc'd string, copied at once; unknown types are shown as such.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(type_oid)).to_string_lossy().into_owned() }
}

/// A type's name with its schema, as SQL that reads it back.
pub(crate) fn type_name(type_oid: pg_sys::Oid) -> String {
    // SAFETY: the result is a palloc'd string, copied at once.
    unsafe {
        let flags = pg_sys::FORMAT_TYPE_FORCE_QUALIFY | pg_sys::FORMAT_TYPE_ALLOW_INVALID;
        CStr::from_ptr(pg_sys::format_type_extended(type_oid, -1, flags as _)).to_string_lossy().into_owned()
    }
}

/// The type of a column that stores ids of a type: without a length, `character` means a length of 1.
pub(crate) fn stored_type(type_name: &str) -> &str {
    let padded = matches!(type_name, "pg_catalog.character" | "character" | "pg_catalog.bpchar");
    if padded { "pg_catalog.bpchar" } else { type_name }
}

impl Class {
    /// The class of a type, or `None` where ids cannot have it.
    pub(crate) fn of(type_oid: pg_sys::Oid) -> Option<Class> {
        match base_type(type_oid) {
            pg_sys::INT2OID => Some(Class::SmallInt),
            pg_sys::INT4OID => Some(Class::Integer),
            pg_sys::INT8OID => Some(Class::BigInt),
            pg_sys::DATEOID => Some(Class::Date),
            pg_sys::UUIDOID => Some(Class::Uuid),
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Some(Class::Text),
            pg_sys::BPCHAROID => Some(Class::Char),
            // SAFETY: a system cache look-up of an existing type.
            other if unsafe { pg_sys::get_typtype(other) } as u8 == pg_sys::TYPTYPE_ENUM => Some(Class::Enum),
            _ => None,
        }
    }

    /// The class of a number stored in an image.
    pub(crate) fn from_code(code: u8) -> Result<Class> {
        ALL.into_iter()
            .find(|&class| class as u8 == code)
            .ok_or_else(|| fail(Code::ERRCODE_DATA_CORRUPTED, "invalid model data: unknown id type"))
    }

    /// How ids of this class are stored and ordered.
    pub(crate) fn kind(self) -> IdKind {
        match self {
            Class::SmallInt | Class::Integer | Class::BigInt | Class::Date => IdKind::Integer,
            Class::Uuid => IdKind::Fixed16,
            Class::Text | Class::Char | Class::Enum => IdKind::Bytes,
        }
    }

    /// The name of the type for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::SmallInt => "smallint",
            Class::Integer => "integer",
            Class::BigInt => "bigint",
            Class::Date => "date",
            Class::Uuid => "uuid",
            Class::Text => "text",
            Class::Char => "character",
            Class::Enum => "enum",
        }
    }

    /// Reads an id that was written as text, as the type's own input does: 22P02 where it cannot be one.
    pub(crate) fn parse(self, text: &str) -> Result<Id> {
        let input = |function: u32| -> Result<pg_sys::Datum> {
            let text = CString::new(text).map_err(|_| {
                fail(Code::ERRCODE_INVALID_TEXT_REPRESENTATION, "ids cannot hold a zero byte")
            })?;
            // SAFETY: built-in input functions that take a C string and ignore the other arguments.
            Ok(unsafe {
                pg_sys::OidInputFunctionCall(
                    function.into(),
                    text.as_ptr().cast_mut(),
                    pg_sys::InvalidOid,
                    -1,
                )
            })
        };
        Ok(match self {
            Class::SmallInt => Id::Integer(i64::from(input(pg_sys::F_INT2IN)?.value() as i16)),
            Class::Integer => Id::Integer(i64::from(input(pg_sys::F_INT4IN)?.value() as i32)),
            Class::BigInt => Id::Integer(input(pg_sys::F_INT8IN)?.value() as i64),
            Class::Date => Id::Integer(i64::from(input(pg_sys::F_DATE_IN)?.value() as i32)),
            // SAFETY: uuid_in answers 16 bytes.
            Class::Uuid => Id::Uuid(unsafe { *input(pg_sys::F_UUID_IN)?.cast_mut_ptr::<[u8; 16]>() }),
            Class::Text | Class::Enum => Id::Bytes(text.as_bytes().to_vec()),
            Class::Char => Id::Bytes(text.trim_end_matches(' ').as_bytes().to_vec()),
        })
    }

    /// Reads an id from a datum of the given type: text is parsed, any integer fits an integer class.
    pub(crate) fn read(self, value: pg_sys::Datum, type_oid: pg_sys::Oid) -> Result<Id> {
        if type_oid == pg_sys::UNKNOWNOID {
            // SAFETY: an unknown literal is a C string.
            let text = unsafe { CStr::from_ptr(value.cast_mut_ptr()) };
            return self.parse(&text.to_string_lossy());
        }
        if type_oid == pg_sys::NAMEOID {
            // SAFETY: a name is a NUL-terminated string.
            let text = unsafe { CStr::from_ptr(value.cast_mut_ptr()) };
            return self.parse(&text.to_string_lossy());
        }
        let Some(given) = Class::of(type_oid) else {
            if base_type(type_oid) == pg_sys::NUMERICOID && self.is_integer() {
                return self.read_numeric(value);
            }
            return Err(self.mismatch(type_oid));
        };
        // SAFETY: the datum has the type that `given` was found from.
        unsafe {
            match given {
                Class::SmallInt | Class::Integer | Class::BigInt if self.is_integer() => {
                    Ok(Id::Integer(read_integer(given, value)))
                }
                Class::Date if self == Class::Date => Ok(Id::Integer(read_integer(given, value))),
                Class::Uuid if self == Class::Uuid => Ok(Id::Uuid(*value.cast_mut_ptr::<[u8; 16]>())),
                Class::Text | Class::Char => self.parse(&String::from_utf8_lossy(&read_text(value, given)?)),
                Class::Enum if self.kind() == IdKind::Bytes => {
                    self.parse(&String::from_utf8_lossy(&enum_label(value)))
                }
                _ => Err(self.mismatch(type_oid)),
            }
        }
    }

    fn read_numeric(self, value: pg_sys::Datum) -> Result<Id> {
        // SAFETY: the datum is a numeric; its text form is palloc'd and copied at once.
        let text = unsafe {
            CStr::from_ptr(pg_sys::OidOutputFunctionCall(pg_sys::F_NUMERIC_OUT.into(), value))
                .to_string_lossy()
                .into_owned()
        };
        let whole = match text.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => &text,
        };
        // Beyond bigint is 22003; beyond the type of the ids is the id of nobody.
        Class::BigInt.parse(whole)
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Class::SmallInt | Class::Integer | Class::BigInt)
    }

    fn mismatch(self, given: pg_sys::Oid) -> pgrx::pg_sys::panic::ErrorReport {
        fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!("ids of type {} cannot be given as {}", self.name(), type_title(given)),
        )
        .set_hint(format!("Cast the id to {}, or write it as text.", self.name()))
    }

    /// An id as text, as the type's own output writes it.
    pub(crate) fn text(self, id: IdRef<'_>) -> String {
        match id {
            IdRef::Integer(days) if self == Class::Date => {
                // In ISO form whatever DateStyle says: the text must be that of every session.
                if let Some(text) = iso_date(days) {
                    return text;
                }
                // SAFETY: date_out takes the days since 2000 and answers a palloc'd string, copied at once.
                unsafe {
                    let text = pg_sys::OidOutputFunctionCall(
                        pg_sys::F_DATE_OUT.into(),
                        pg_sys::Datum::from(days as i32),
                    );
                    CStr::from_ptr(text).to_string_lossy().into_owned()
                }
            }
            IdRef::Integer(value) => value.to_string(),
            IdRef::Fixed16(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
            }
            IdRef::Bytes(bytes) => printable(bytes),
        }
    }

    /// An id as a datum of the given SQL type: that of the source column, or a wider one. A domain's constraints are
    /// checked.
    pub(crate) fn datum(self, id: IdRef<'_>, type_oid: pg_sys::Oid) -> Result<pg_sys::Datum> {
        let datum = self.base_datum(id, type_oid)?;
        if base_type(type_oid) != type_oid {
            // SAFETY: the datum has the domain's base type; without a cache each call looks the constraints up.
            unsafe {
                pg_sys::domain_check(datum, false, type_oid, std::ptr::null_mut(), std::ptr::null_mut());
            }
        }
        Ok(datum)
    }

    fn base_datum(self, id: IdRef<'_>, type_oid: pg_sys::Oid) -> Result<pg_sys::Datum> {
        use pgrx::IntoDatum;
        let Some(wanted) = Class::of(type_oid) else { return Err(self.mismatch(type_oid)) };
        let found = match (id, wanted) {
            (IdRef::Integer(value), _) if self.is_integer() && wanted.is_integer() => {
                let narrow = match wanted {
                    Class::SmallInt => i16::try_from(value).ok().map(|value| value.into()),
                    Class::Integer => i32::try_from(value).ok().map(|value| value.into()),
                    _ => Some(value.into()),
                };
                return narrow.ok_or_else(|| {
                    let message = format!("id {value} is out of range for type {}", wanted.name());
                    fail(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, message)
                        .set_hint("Ask for the items in the type of their column.")
                });
            }
            (IdRef::Integer(value), Class::Date) if self == Class::Date => Some((value as i32).into()),
            (IdRef::Fixed16(bytes), Class::Uuid) => pgrx::Uuid::from_bytes(*bytes).into_datum(),
            (IdRef::Bytes(bytes), Class::Enum) => {
                let label = CString::new(bytes).unwrap_or_default();
                // SAFETY: enum_in takes a label and the enum's oid.
                Some(unsafe {
                    pg_sys::OidInputFunctionCall(
                        pg_sys::F_ENUM_IN.into(),
                        label.as_ptr().cast_mut(),
                        base_type(type_oid),
                        -1,
                    )
                })
            }
            (IdRef::Bytes(bytes), Class::Text | Class::Char) => printable(bytes).into_datum(),
            (id, Class::Text) => self.text(id).into_datum(),
            _ => None,
        };
        found.ok_or_else(|| self.mismatch(type_oid))
    }
}

/// Bytes as Postgres can hold them: those of a damaged image may be no text at all.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if bytes.contains(&0) { text.replace('\0', "\u{fffd}") } else { text.into_owned() }
}

/// Days since 2000 as an ISO date; nothing for years before Christ and for the infinities.
fn iso_date(days: i64) -> Option<String> {
    let days = i32::try_from(days).ok().filter(|days| ![i32::MIN, i32::MAX].contains(days))?;
    let julian = days.checked_add(pg_sys::POSTGRES_EPOCH_JDATE as i32)?;
    let (mut year, mut month, mut day) = (0, 0, 0);
    // SAFETY: fills the three integers.
    unsafe { pg_sys::j2date(julian, &mut year, &mut month, &mut day) };
    (year > 0).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// An integer or date datum as a number.
///
/// # Safety
/// The datum has the class's type.
pub(crate) unsafe fn read_integer(class: Class, value: pg_sys::Datum) -> i64 {
    match class {
        Class::SmallInt => i64::from(value.value() as i16),
        Class::Integer | Class::Date => i64::from(value.value() as i32),
        _ => value.value() as i64,
    }
}

/// Passes on the bytes of a text datum where they stand; `character` without its padding.
///
/// # Safety
/// The datum is a text, varchar or bpchar.
pub(crate) unsafe fn with_text<T>(value: pg_sys::Datum, class: Class, body: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: promised by the caller; a detoasted copy is freed after its bytes were passed on.
    unsafe {
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        // What stands in a row as it is needs no call into Postgres.
        let plain = if is_plain(stored) { stored } else { pg_sys::pg_detoast_datum_packed(stored) };
        let mut bytes = pgrx::varlena::varlena_to_byte_slice(plain);
        if class == Class::Char {
            let kept = bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
            bytes = &bytes[..kept];
        }
        let answer = body(bytes);
        if plain != stored {
            pg_sys::pfree(plain.cast());
        }
        answer
    }
}

/// Whether a varlena is neither compressed nor stored elsewhere.
///
/// # Safety
/// The pointer is that of a varlena.
unsafe fn is_plain(stored: *const pg_sys::varlena) -> bool {
    // SAFETY: promised by the caller.
    let first = unsafe { *stored.cast::<u8>() };
    first & 1 == 1 && first != 1 || first & 3 == 0
}

/// The bytes of a text datum, copied. What a long one and the copies made of it take is announced.
///
/// # Safety
/// The datum is a text, varchar or bpchar.
unsafe fn read_text(value: pg_sys::Datum, class: Class) -> Result<Vec<u8>> {
    // SAFETY: promised by the caller.
    unsafe {
        with_text(value, class, |bytes| {
            memory::reserve_once(bytes.len().saturating_mul(COPIES), "an id")?;
            Ok(bytes.to_vec())
        })
    }
}

/// Copies of an id that a look-up makes at the same time.
const COPIES: usize = 6;

/// The label of an enum datum.
///
/// # Safety
/// The datum is the oid of an enum value.
pub(crate) unsafe fn enum_label(value: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: enum_out answers a palloc'd copy of the label.
    unsafe {
        let text = pg_sys::OidOutputFunctionCall(pg_sys::F_ENUM_OUT.into(), value);
        let label = CStr::from_ptr(text).to_bytes().to_vec();
        pg_sys::pfree(text.cast());
        label
    }
}
