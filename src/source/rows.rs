//! Rows of any query on their way from the executor to a closure: no tuple table, no copy of a tuple.

use std::ffi::CString;

use pgrx::{pg_guard, pg_sys};

use super::c_string;
use crate::pg::access::Identity;
use crate::pg::call::raise;
use crate::pg::error::{Code, Result, fail};

/// Takes a row: values and which of them are NULL. False where it wants no more.
pub(crate) type OnRow<'a> = dyn FnMut(&[pg_sys::Datum], &[bool]) -> Result<bool> + 'a;

/// The receiver. `head` comes first: Postgres sees a pointer to it.
#[repr(C)]
struct Receiver<'a, 'r> {
    head: pg_sys::DestReceiver,
    types: &'a [pg_sys::Oid],
    on_row: &'a mut OnRow<'r>,
}

/// The same as [`run`] with a search path that nobody can plant objects in.
pub(crate) fn stream(query: &str, types: &[pg_sys::Oid], on_row: &mut OnRow<'_>) -> Result<()> {
    let _path = Identity::pinned_path();
    run(query, types, on_row)
}

/// Runs a query as the current user and passes its rows on. Its columns must have `types`: they are compared again when the
/// query starts, since a relation that was checked by oid is read by name. 42804 where they have others.
pub(crate) fn run(query: &str, types: &[pg_sys::Oid], on_row: &mut OnRow<'_>) -> Result<()> {
    run_with(query, None, types, on_row)
}

/// The same for a query with a parameter `$1`, of the given value and type.
pub(crate) fn run_with(
    query: &str,
    parameter: Option<(pg_sys::Datum, pg_sys::Oid)>,
    types: &[pg_sys::Oid],
    on_row: &mut OnRow<'_>,
) -> Result<()> {
    let query: CString = c_string(query)?;
    let mut receiver = Receiver {
        head: pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(shutdown),
            rDestroy: Some(shutdown),
            mydest: pg_sys::CommandDest::DestNone,
        },
        types,
        on_row,
    };
    // SAFETY: SPI is connected and finished around the call; the receiver outlives it and does not move meanwhile.
    // An error unwinds through here without SPI_finish: the abort of the transaction does that.
    let code = unsafe {
        pg_sys::SPI_connect();
        let options = pg_sys::SPIExecuteOptions {
            read_only: true,
            params: parameter.map_or(std::ptr::null_mut(), |(value, type_oid)| parameters(value, type_oid)),
            dest: std::ptr::from_mut(&mut receiver).cast::<pg_sys::DestReceiver>(),
            ..std::mem::zeroed()
        };
        let code = pg_sys::SPI_execute_extended(query.as_ptr(), &options);
        pg_sys::SPI_finish();
        code
    };
    if code < 0 {
        return Err(fail(
            Code::ERRCODE_INTERNAL_ERROR,
            format!("could not read the relation: SPI error {code}"),
        ));
    }
    Ok(())
}

/// A list of one parameter, a constant to the planner.
fn parameters(value: pg_sys::Datum, type_oid: pg_sys::Oid) -> pg_sys::ParamListInfo {
    // SAFETY: the list has room for one parameter, which is set whole; it belongs to the current memory context.
    unsafe {
        let list = pg_sys::makeParamList(1);
        let parameter = pg_sys::ParamExternData {
            value,
            isnull: false,
            pflags: pg_sys::PARAM_FLAG_CONST as u16,
            ptype: type_oid,
        };
        (*list).params.as_mut_ptr().write(parameter);
        list
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: Postgres passes the receiver that `run` gave it and a slot of its query, which has as many columns
    // as `types`: `startup` compared them.
    let outcome = unsafe {
        let receiver = &mut *receiver.cast::<Receiver<'_, '_>>();
        let columns = receiver.types.len();
        if usize::try_from((*slot).tts_nvalid).unwrap_or(0) < columns {
            pg_sys::slot_getsomeattrs_int(slot, columns as i32);
        }
        let values = std::slice::from_raw_parts((*slot).tts_values, columns);
        let nulls = std::slice::from_raw_parts((*slot).tts_isnull, columns);
        (receiver.on_row)(values, nulls)
    };
    match outcome {
        Ok(more) => more,
        Err(error) => raise(error),
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    receiver: *mut pg_sys::DestReceiver,
    _operation: i32,
    descriptor: pg_sys::TupleDesc,
) {
    // SAFETY: Postgres passes the receiver that `run` gave it and the descriptor of the rows that will come.
    let same = unsafe {
        let types = (*receiver.cast::<Receiver<'_, '_>>()).types;
        (*descriptor).natts as usize == types.len()
            && (1..).zip(types).all(|(number, &checked)| pg_sys::SPI_gettypeid(descriptor, number) == checked)
    };
    if !same {
        raise(
            fail(Code::ERRCODE_DATATYPE_MISMATCH, "the columns changed while the relation was being opened")
                .set_detail("Another session renamed or replaced the relation or its schema.")
                .set_hint("Run the statement again."),
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn shutdown(_receiver: *mut pg_sys::DestReceiver) {}
