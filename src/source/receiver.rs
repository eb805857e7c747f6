//! A DestReceiver: the executor pushes each row into the batch buffers of an `InteractionsBuilder`. No tuple
//! table, no copy of a tuple: measured, this costs no more than `count(a), count(b), sum(c)` over the same rows.

use algorithms::ids::{IdKind, IdsRef};
use algorithms::interactions::InteractionsBuilder;
use pgrx::{pg_guard, pg_sys};

use super::{Counts, InteractionColumns, c_string};
use crate::call::raise;
use crate::error::{Code, OrReport, Result, fail};
use crate::ids::{Class, base_type, enum_label, read_integer, read_text};

/// Rows that are handed over at a time: the buffers stay in the first-level cache.
const BATCH: usize = 1024;

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

/// Ids of a batch in the form of their kind.
enum IdBatch {
    Integer(Vec<i64>),
    Fixed16(Vec<[u8; 16]>),
    Bytes { offsets: Vec<u64>, bytes: Vec<u8> },
}

impl IdBatch {
    fn new(kind: IdKind) -> IdBatch {
        match kind {
            IdKind::Integer => IdBatch::Integer(Vec::with_capacity(BATCH)),
            IdKind::Fixed16 => IdBatch::Fixed16(Vec::with_capacity(BATCH)),
            IdKind::Bytes => IdBatch::Bytes { offsets: vec![0], bytes: Vec::new() },
        }
    }

    fn view(&self) -> IdsRef<'_> {
        match self {
            IdBatch::Integer(ids) => IdsRef::Integer(ids),
            IdBatch::Fixed16(ids) => IdsRef::Fixed16(ids),
            IdBatch::Bytes { offsets, bytes } => IdsRef::Bytes { offsets, bytes },
        }
    }

    fn clear(&mut self) {
        match self {
            IdBatch::Integer(ids) => ids.clear(),
            IdBatch::Fixed16(ids) => ids.clear(),
            IdBatch::Bytes { offsets, bytes } => {
                offsets.truncate(1);
                bytes.clear();
            }
        }
    }

    /// # Safety
    /// The datum is not NULL and has the class's type.
    unsafe fn push(&mut self, class: Class, value: pg_sys::Datum) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                IdBatch::Integer(ids) => ids.push(read_integer(class, value)),
                IdBatch::Fixed16(ids) => ids.push(*value.cast_mut_ptr::<[u8; 16]>()),
                IdBatch::Bytes { offsets, bytes } => {
                    let id = if class == Class::Enum { enum_label(value) } else { read_text(value, class) };
                    bytes.extend_from_slice(&id);
                    offsets.push(bytes.len() as u64);
                }
            }
        }
    }
}

/// The receiver. `head` comes first: Postgres sees a pointer to it.
#[repr(C)]
pub(super) struct Receiver<'a, 'b> {
    head: pg_sys::DestReceiver,
    columns: i32,
    user_class: Class,
    item_class: Class,
    value_type: Option<pg_sys::Oid>,
    time_type: Option<pg_sys::Oid>,
    users: IdBatch,
    items: IdBatch,
    values: Vec<f32>,
    times: Vec<i64>,
    builder: &'a mut InteractionsBuilder<'b>,
    on_batch: &'a mut dyn FnMut(u64),
    counts: Counts,
}

impl<'a, 'b> Receiver<'a, 'b> {
    pub(super) fn new(
        columns: &InteractionColumns,
        builder: &'a mut InteractionsBuilder<'b>,
        on_batch: &'a mut dyn FnMut(u64),
    ) -> Receiver<'a, 'b> {
        // The cast of numeric is in the query.
        let value_type = columns.value.as_ref().map(|column| match base_type(column.type_oid) {
            pg_sys::NUMERICOID => pg_sys::FLOAT8OID,
            other => other,
        });
        let time_type = columns.time.as_ref().map(|column| base_type(column.type_oid));
        Receiver {
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
            users: IdBatch::new(columns.user_class.kind()),
            items: IdBatch::new(columns.item_class.kind()),
            values: Vec::with_capacity(BATCH),
            times: Vec::with_capacity(BATCH),
            builder,
            on_batch,
            counts: Counts::default(),
        }
    }

    /// Runs a query with this receiver at its end.
    pub(super) fn run(&mut self, query: &str) -> Result<()> {
        let query = c_string(query)?;
        // SAFETY: SPI is connected and finished around the call; the receiver outlives it and is pinned by the
        // borrow; an error unwinds through here and Postgres cleans SPI up with the transaction.
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

    fn flush(&mut self) -> Result<()> {
        self.builder.push(self.users.view(), self.items.view(), &self.values, &self.times).or_report()?;
        self.users.clear();
        self.items.clear();
        self.values.clear();
        self.times.clear();
        (self.on_batch)(self.counts.rows_read);
        Ok(())
    }

    /// # Safety
    /// The slot holds a row of the query that `run` was given.
    unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<()> {
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
                return Ok(());
            }
            let value = self.value_type.map_or(1.0, |type_oid| read_value(type_oid, values[2]));
            if !value.is_finite() {
                self.counts.skipped.not_finite += 1;
                return Ok(());
            }
            if value <= 0.0 {
                self.counts.skipped.not_positive += 1;
                return Ok(());
            }
            self.users.push(self.user_class, values[0]);
            self.items.push(self.item_class, values[1]);
            self.values.push(value);
            if let Some(type_oid) = self.time_type {
                let datum = values[self.columns as usize - 1];
                self.times.push(if type_oid == pg_sys::DATEOID {
                    i64::from(datum.value() as i32)
                } else {
                    datum.value() as i64
                });
            }
        }
        if self.values.len() == BATCH { self.flush() } else { Ok(()) }
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
        Ok(()) => true,
        Err(error) => raise(error),
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    _receiver: *mut pg_sys::DestReceiver,
    _operation: i32,
    _rows: pg_sys::TupleDesc,
) {
}

#[pg_guard]
unsafe extern "C-unwind" fn shutdown(_receiver: *mut pg_sys::DestReceiver) {}
