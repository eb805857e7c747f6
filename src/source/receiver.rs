//! A DestReceiver: the executor pushes each row into batches. No tuple
//! table, no copy of a tuple. With a second thread that looks ids up, 10 million rows of (bigint, bigint, real) took
//! 0.50 s where `count(a), count(b), sum(c)` over them took 0.43 s.

use pgrx::{direct_function_call, pg_guard, pg_sys};

use super::batch::{Batch, Sink};
use super::{Counts, InteractionColumns, c_string};
use crate::call::raise;
use crate::error::{Code, Result, fail};
use crate::ids::{Class, base_type};

/// Rows that were left out, by reason.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Skipped {
    pub(crate) null: u64,
    pub(crate) not_finite: u64,
    pub(crate) not_positive: u64,
}

impl Skipped {
    pub(crate) fn total(&self) -> u64 {
        self.null + self.not_finite + self.not_positive
    }
}

/// The receiver. `head` comes first: Postgres sees a pointer to it.
#[repr(C)]
pub(super) struct Receiver<'a, 'b> {
    head: pg_sys::DestReceiver,
    columns: i32,
    /// What the columns were when they were checked; their relation is read by name afterwards.
    types: Vec<pg_sys::Oid>,
    user_class: Class,
    item_class: Class,
    value_type: Option<pg_sys::Oid>,
    time_type: Option<pg_sys::Oid>,
    any_value: bool,
    batch: Option<Batch>,
    sink: Sink<'a, 'b>,
    on_batch: &'a mut dyn FnMut(u64),
    counts: Counts,
}

impl<'a, 'b> Receiver<'a, 'b> {
    pub(super) fn new(
        columns: &InteractionColumns,
        any_value: bool,
        sink: Sink<'a, 'b>,
        on_batch: &'a mut dyn FnMut(u64),
    ) -> Receiver<'a, 'b> {
        let value_type = columns.value.as_ref().map(|column| base_type(column.type_oid));
        let time_type = columns.time.as_ref().map(|column| base_type(column.type_oid));
        let checked =
            [Some(&columns.user), Some(&columns.item), columns.value.as_ref(), columns.time.as_ref()];
        Receiver {
            types: checked.into_iter().flatten().map(|column| column.type_oid).collect(),
            head: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(startup),
                rShutdown: Some(shutdown),
                rDestroy: Some(shutdown),
                mydest: pg_sys::CommandDest::DestNone,
            },
            columns: 2 + i32::from(value_type.is_some()) + i32::from(time_type.is_some()),
            user_class: columns.user_class,
            item_class: columns.item_class,
            value_type,
            time_type,
            any_value,
            batch: Some(Batch::new(columns.user_class, columns.item_class)),
            sink,
            on_batch,
            counts: Counts::default(),
        }
    }

    /// Runs a query with this receiver at its end.
    pub(super) fn run(&mut self, query: &str) -> Result<()> {
        let query = c_string(query)?;
        // SAFETY: SPI is connected and finished around the call; the receiver outlives it and is pinned by the
        // borrow. An error unwinds through here without SPI_finish: the abort of the transaction does that.
        let code = unsafe {
            pg_sys::SPI_connect();
            let options = pg_sys::SPIExecuteOptions {
                read_only: true,
                dest: std::ptr::from_mut(self).cast::<pg_sys::DestReceiver>(),
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

    /// Hands the last batch over.
    pub(super) fn finish(mut self) -> Result<Counts> {
        self.flush()?;
        Ok(self.counts)
    }

    /// Passes the batch on; false where nobody wants more rows.
    fn flush(&mut self) -> Result<bool> {
        (self.on_batch)(self.counts.rows_read);
        self.sink.pass(&mut self.batch)
    }

    /// # Safety
    /// The slot holds a row of the query that `run` was given.
    unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<bool> {
        // SAFETY: the slot is deformed up to our last column, so values and nulls hold that many entries, of
        // the types that were checked when the query was made.
        unsafe {
            if i32::from((*slot).tts_nvalid) < self.columns {
                pg_sys::slot_getsomeattrs_int(slot, self.columns);
            }
            let values = std::slice::from_raw_parts((*slot).tts_values, self.columns as usize);
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, self.columns as usize);
            self.counts.rows_read += 1;
            if nulls.contains(&true) {
                self.counts.skipped.null += 1;
                return Ok(true);
            }
            let value = self.value_type.map_or(1.0, |type_oid| read_value(type_oid, values[2]));
            if !value.is_finite() {
                self.counts.skipped.not_finite += 1;
                return Ok(true);
            }
            if value <= 0.0 && !self.any_value {
                self.counts.skipped.not_positive += 1;
                return Ok(true);
            }
            let time = self.time_type.map(|type_oid| {
                let datum = values[self.columns as usize - 1];
                if type_oid == pg_sys::DATEOID {
                    i64::from(datum.value() as i32)
                } else {
                    datum.value() as i64
                }
            });
            let Some(batch) = &mut self.batch else { return Ok(false) };
            batch.push((self.user_class, values[0]), (self.item_class, values[1]), value, time);
            if !batch.is_full() {
                return Ok(true);
            }
        }
        self.flush()
    }
}

/// A number as the value of an interaction; what overflows a `real` becomes infinite and is skipped.
///
/// # Safety
/// The datum is not NULL and has the given type.
unsafe fn read_value(type_oid: pg_sys::Oid, value: pg_sys::Datum) -> f32 {
    match type_oid {
        pg_sys::FLOAT4OID => f32::from_bits(value.value() as u32),
        pg_sys::FLOAT8OID => f64::from_bits(value.value() as u64) as f32,
        pg_sys::NUMERICOID => {
            // SAFETY: the datum is a numeric; what overflows becomes infinite instead of an error.
            let real =
                unsafe { direct_function_call::<f64>(pg_sys::numeric_float8_no_overflow, &[Some(value)]) };
            real.map_or(f32::NAN, |real| real as f32)
        }
        pg_sys::INT2OID => f32::from(value.value() as i16),
        pg_sys::INT4OID => value.value() as i32 as f32,
        _ => value.value() as i64 as f32,
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: Postgres passes the receiver that `run` gave it, which is a Receiver, and a slot of its query.
    match unsafe { (*receiver.cast::<Receiver<'_, '_>>()).take(slot) } {
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
        let types = &(*receiver.cast::<Receiver<'_, '_>>()).types;
        (*descriptor).natts as usize == types.len()
            && (1..).zip(types).all(|(number, &checked)| pg_sys::SPI_gettypeid(descriptor, number) == checked)
    };
    if !same {
        raise(
            fail(Code::ERRCODE_DATATYPE_MISMATCH, "the columns changed while the relation was being opened")
                .set_detail("Another session renamed or replaced the relation or its schema.")
                .set_hint("Call the trainer again."),
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn shutdown(_receiver: *mut pg_sys::DestReceiver) {}
