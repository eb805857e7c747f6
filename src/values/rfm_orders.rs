//! `rfm_agg(at, amount, order_id)`: frequency counts distinct orders, in a set of 128-bit keys beside the sums.

use base::flat::{self as table, Table};
use pgrx::pg_sys;
use values::rfm::Rfm;

use super::fixed::{self, Fixed};
use super::flat::{self, Flat};
use super::rfm::{midnight, time};
use super::{finite, float, overflow};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};

/// Values of `persona_internal.rfm_orders`: nothing before the first purchase, else the fields of a `persona.rfm` and a
/// table of keys.
pub(crate) struct Orders;

/// Words before the table.
const SUMS: usize = Rfm::FIELDS.len();

/// Words of an entry: the key alone.
const ENTRY: usize = 2;

/// Entries at first.
const START: usize = 4;

impl Flat for Orders {
    const NAME: &'static str = "persona_internal.rfm_orders";

    fn is_valid(words: &[u64]) -> bool {
        words.is_empty()
            || words.split_at_checked(SUMS).is_some_and(|(sums, keys)| {
                Rfm::from_fields(sums).is_some_and(|rfm| rfm.frequency() > 0)
                    && table::is_table::<ENTRY>(keys)
            })
    }
}

/// Adds a row of an order to a state; strict.
pub(crate) fn orders_accum(call: &Call) -> Answer {
    accum(call, time(call, 1)?)
}

/// The same with a date.
pub(crate) fn orders_accum_date(call: &Call) -> Answer {
    accum(call, midnight(call, 1)?)
}

fn accum(call: &Call, at: Option<i64>) -> Answer {
    let (Some((words, datum)), Some(at), Some(amount)) = (flat::state(call), at, float(call, 2)) else {
        return Ok(None);
    };
    let amount = finite("amount", amount)?;
    let (words, datum) =
        if words.is_empty() { flat::made(SUMS + table::words::<ENTRY>(START))? } else { (words, datum) };
    sums(words).push(at, amount).map_err(|_| overflow())?;
    insert(words, datum, key(call)?).map(Some)
}

/// Adds a state to a state; strict.
pub(crate) fn orders_combine(call: &Call) -> Answer {
    let (Some((words, mut datum)), Some(other)) = (flat::state(call), flat::words(call, 1)) else {
        return Ok(None);
    };
    if other.is_empty() {
        return Ok(Some(datum));
    }
    let mut words = words;
    if words.is_empty() {
        (words, datum) = flat::made(other.len())?;
        words.copy_from_slice(other);
        return Ok(Some(datum));
    }
    let mut copy = [0; SUMS];
    copy.copy_from_slice(&other[..SUMS]);
    sums(words).merge(sums(&mut copy)).map_err(|_| overflow())?;
    for (key, _) in table::entries::<ENTRY>(&other[SUMS..]) {
        if Table::<ENTRY>::new(&mut words[SUMS..]).entry(key).is_none() {
            (words, datum) = grown(words)?;
            insert(words, datum, key)?;
        }
    }
    Ok(Some(datum))
}

/// Puts a key into a state; the state, or a larger one.
fn insert(words: &mut [u64], datum: pg_sys::Datum, key: u128) -> Result<pg_sys::Datum> {
    if Table::<ENTRY>::new(&mut words[SUMS..]).entry(key).is_some() {
        return Ok(datum);
    }
    let (larger, datum) = grown(words)?;
    // Twice the room always has some for one more.
    Table::<ENTRY>::new(&mut larger[SUMS..]).entry(key);
    Ok(datum)
}

/// A copy with twice the room.
fn grown<'a>(words: &mut [u64]) -> Result<(&'a mut [u64], pg_sys::Datum)> {
    let capacity = Table::<ENTRY>::new(&mut words[SUMS..]).capacity() * 2;
    let (larger, datum) = flat::made(SUMS + table::words::<ENTRY>(capacity))?;
    larger[..SUMS].copy_from_slice(&words[..SUMS]);
    for (key, _) in table::entries::<ENTRY>(&words[SUMS..]) {
        Table::<ENTRY>::new(&mut larger[SUMS..]).entry(key);
    }
    Ok((larger, datum))
}

/// The result: a `persona.rfm` whose frequency is the number of orders; NULL without a purchase.
pub(crate) fn orders_final(call: &Call) -> Answer {
    let Some(words) = flat::words(call, 0).filter(|words| !words.is_empty()) else { return Ok(None) };
    // The first word of a table is the number of its keys.
    let rfm = Rfm::from_fields(&words[..SUMS]).map(|rfm| rfm.with_frequency(words[SUMS] as i64));
    Ok(rfm.map(|rfm| fixed::copied(&rfm)))
}

/// The fields of the sums as what they are.
fn sums(words: &mut [u64]) -> &mut Rfm {
    const { assert!(size_of::<Rfm>() == SUMS * 8 && align_of::<Rfm>() == align_of::<u64>()) };
    assert!(words.len() >= SUMS);
    // SAFETY: Rfm is plain old data of this many words, of their alignment, in the order of its fields.
    unsafe { &mut *words.as_mut_ptr().cast::<Rfm>() }
}

/// Types, beside enums, whose values are equal exactly where their bits are.
const BITS: [pg_sys::Oid; 10] = [
    pg_sys::BOOLOID,
    pg_sys::CHAROID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::OIDOID,
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
];

/// A key of the order id, the same for equal ids: its bits, or 128 bits of the hash function of its type. Two of a
/// million different ids share such a key with a probability of 1 to 10^26.
fn key(call: &Call) -> Result<u128> {
    let Some(order) = call.datum(3) else { return Ok(0) };
    let fcinfo = call.fcinfo();
    // SAFETY: flinfo is ours for the query; fn_extra is NULL at first, then the entry of the type cache, which lives as
    // long as the session. The hash functions of a type take its values and a seed.
    unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            let base = pg_sys::getBaseType(call.argument_type(3));
            let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32);
            if (*entry).hash_extended_proc_finfo.fn_oid == pg_sys::InvalidOid {
                let name = crate::pg::ids::type_title((*entry).type_id);
                return Err(fail(
                    Code::ERRCODE_UNDEFINED_FUNCTION,
                    format!("could not identify a hash function for type {name}"),
                )
                .set_hint("Cast the order id to text."));
            }
            (*flinfo).fn_extra = entry.cast();
        }
        let entry = (*flinfo).fn_extra.cast::<pg_sys::TypeCacheEntry>();
        if BITS.contains(&(*entry).type_id) || (*entry).typtype as u8 == pg_sys::TYPTYPE_ENUM {
            // A word apart from the bits keeps the key from being zero.
            return Ok(u128::from(order.value() as u64) | 1 << 64);
        }
        let hash = |seed: usize| {
            pg_sys::FunctionCall2Coll(
                &mut (*entry).hash_extended_proc_finfo,
                (*fcinfo).fncollation,
                order,
                pg_sys::Datum::from(seed),
            )
            .value() as u64
        };
        Ok(u128::from(hash(0)) | u128::from(hash(0x9e37_79b9)) << 64)
    }
}
