//! Rows on their way from the executor to an `InteractionsBuilder`: in its own thread where one may be used, so
//! that the next rows are read while the last ones are looked up.

use base::ids::{IdKind, IdsRef};
use pgrx::pg_sys;
use recommenders::interactions::InteractionsBuilder;

use crate::pg::error::{OrReport, Result};
use crate::pg::ids::{Class, enum_label, read_integer, with_text};
use crate::pg::memory;
use crate::pg::work::Feeder;

/// Rows that are handed over at a time: 160 kB of integer ids, a part of the second-level cache.
const ROWS: usize = 8192;

/// Bytes of ids that are handed over at the latest, however few rows they are: texts may be long.
const BYTES: usize = 1 << 20;

/// Batches that are filled, waiting or looked up at one time.
pub(crate) const BATCHES: usize = 3;

/// Ids in the form of their kind.
enum Ids {
    Integer(Vec<i64>),
    Fixed16(Vec<[u8; 16]>),
    Bytes { offsets: Vec<u64>, bytes: Vec<u8> },
}

impl Ids {
    fn new(kind: IdKind) -> Ids {
        match kind {
            IdKind::Integer => Ids::Integer(Vec::with_capacity(ROWS)),
            IdKind::Fixed16 => Ids::Fixed16(Vec::with_capacity(ROWS)),
            IdKind::Bytes => Ids::Bytes { offsets: vec![0], bytes: Vec::new() },
        }
    }

    fn view(&self) -> IdsRef<'_> {
        match self {
            Ids::Integer(ids) => IdsRef::Integer(ids),
            Ids::Fixed16(ids) => IdsRef::Fixed16(ids),
            Ids::Bytes { offsets, bytes } => IdsRef::Bytes { offsets, bytes },
        }
    }

    /// Of texts; other ids have a fixed size.
    fn bytes(&self) -> usize {
        match self {
            Ids::Bytes { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    fn clear(&mut self) {
        match self {
            Ids::Integer(ids) => ids.clear(),
            Ids::Fixed16(ids) => ids.clear(),
            Ids::Bytes { offsets, bytes } => {
                offsets.truncate(1);
                bytes.clear();
                // A very long id must not keep its room in every buffer.
                bytes.shrink_to(4 * BYTES);
            }
        }
    }

    /// # Safety
    /// The datum is not NULL and has the class's type.
    unsafe fn push(&mut self, class: Class, value: pg_sys::Datum) -> Result<()> {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Ids::Integer(ids) => ids.push(read_integer(class, value)),
                Ids::Fixed16(ids) => ids.push(*value.cast_mut_ptr::<[u8; 16]>()),
                Ids::Bytes { offsets, bytes } => {
                    let mut add = |id: &[u8]| {
                        bytes.try_reserve(id.len()).map_err(|_| memory::refused_for("a long id"))?;
                        bytes.extend_from_slice(id);
                        Ok(())
                    };
                    if class == Class::Enum {
                        add(&enum_label(value))?;
                    } else {
                        with_text(value, class, add)?;
                    }
                    offsets.push(bytes.len() as u64);
                }
            }
        }
        Ok(())
    }
}

/// Rows in columns.
pub(crate) struct Batch {
    users: Ids,
    items: Ids,
    values: Vec<f32>,
    times: Vec<i64>,
}

impl Batch {
    pub(crate) fn new(users: Class, items: Class) -> Batch {
        let (users, items) = (Ids::new(users.kind()), Ids::new(items.kind()));
        Batch { users, items, values: Vec::with_capacity(ROWS), times: Vec::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.values.len() == ROWS || self.users.bytes() + self.items.bytes() >= BYTES
    }

    /// # Safety
    /// The datums are not NULL and have the types of the classes.
    pub(crate) unsafe fn push(
        &mut self,
        user: (Class, pg_sys::Datum),
        item: (Class, pg_sys::Datum),
        value: f32,
        time: Option<i64>,
    ) -> Result<()> {
        // SAFETY: promised by the caller.
        unsafe {
            self.users.push(user.0, user.1)?;
            self.items.push(item.0, item.1)?;
        }
        self.values.push(value);
        self.times.extend(time);
        Ok(())
    }

    /// Moves the rows into the builder.
    pub(crate) fn drain(&mut self, builder: &mut InteractionsBuilder<'_>) -> base::Result<()> {
        builder.push(self.users.view(), self.items.view(), &self.values, &self.times)?;
        self.users.clear();
        self.items.clear();
        self.values.clear();
        self.times.clear();
        Ok(())
    }
}

/// Where full batches go.
pub(crate) enum Sink<'a, 'b> {
    /// Into the builder, here and now.
    Here(&'a mut InteractionsBuilder<'b>),
    /// To the thread that has the builder.
    There(Feeder<Batch>),
}

impl Sink<'_, '_> {
    /// Passes a batch on and leaves an empty one; false where the other thread has failed and wants no more.
    pub(crate) fn pass(&mut self, batch: &mut Option<Batch>) -> Result<bool> {
        let Some(mut full) = batch.take() else { return Ok(false) };
        *batch = match self {
            Sink::Here(builder) => full.drain(builder).or_report().map(|()| Some(full))?,
            Sink::There(feeder) => feeder.exchange(full),
        };
        Ok(batch.is_some())
    }
}
