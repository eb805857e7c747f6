//! Reading the interactions of users and items, and what is known of either.

use base::Control;
use pgrx::pg_sys;
use recommenders::interactions::InteractionsBuilder;

use crate::pg::error::{Code, Result, fail};
use crate::pg::fault::Within;
use crate::pg::ids::{Class, base_type};
use crate::pg::names::quote;
use crate::pg::work;
use crate::source::{Column, Source};
use batch::{BATCHES, Batch, Sink};
use receiver::{Receiver, Skipped};

pub(crate) mod batch;
pub(crate) mod content;
pub(crate) mod receiver;

/// Where interactions stand.
pub(crate) struct InteractionColumns {
    pub(crate) user: Column,
    pub(crate) user_class: Class,
    pub(crate) item: Column,
    pub(crate) item_class: Class,
    pub(crate) value: Option<Column>,
    pub(crate) time: Option<Column>,
}

/// What was read and what was left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) rows_read: u64,
    pub(crate) skipped: Skipped,
}

impl Source {
    /// Finds the columns of interactions and checks their types.
    pub(crate) fn interaction_columns(
        &self,
        user: &str,
        item: &str,
        value: Option<&str>,
        time: Option<&str>,
    ) -> Result<InteractionColumns> {
        let (user, item) = (self.column(user)?.clone(), self.column(item)?.clone());
        if user.name == item.name {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("column \"{}\" cannot be both user and item", user.name),
            ));
        }
        let value = value.map(|name| self.column(name).cloned()).transpose()?;
        let time = time.map(|name| self.column(name).cloned()).transpose()?;
        if let Some(column) = &value
            && !NUMERIC.contains(&base_type(column.type_oid))
        {
            return Err(
                column.wrong_type("values", "smallint, integer, bigint, real, double precision and numeric")
            );
        }
        if let Some(column) = &time
            && !TIMES.contains(&base_type(column.type_oid))
        {
            return Err(column.wrong_type("times", "timestamptz, timestamp, date and bigint"));
        }
        let (user_class, item_class) = (user.id_class()?, item.id_class()?);
        Ok(InteractionColumns { user, user_class, item, item_class, value, time })
    }

    /// Streams the interactions into the builder, as the current user sees them. `any_value` takes values of 0 and below,
    /// too.
    pub(crate) fn read<'c>(
        &self,
        columns: &InteractionColumns,
        builder: InteractionsBuilder<'c>,
        control: &'c Control,
        threads: usize,
        any_value: bool,
        on_batch: &mut dyn FnMut(u64),
    ) -> Result<(Counts, InteractionsBuilder<'c>)> {
        self.read_with(columns, "", builder, control, threads, any_value, on_batch)
    }

    /// The same of `FROM` this relation, which a clause of SQL follows: `WHERE` and what meets it.
    #[allow(clippy::too_many_arguments, reason = "those of read and the clause")]
    pub(crate) fn read_with<'c>(
        &self,
        columns: &InteractionColumns,
        clause: &str,
        mut builder: InteractionsBuilder<'c>,
        control: &'c Control,
        threads: usize,
        any_value: bool,
        on_batch: &mut dyn FnMut(u64),
    ) -> Result<(Counts, InteractionsBuilder<'c>)> {
        let mut list = vec![quote(&columns.user.name), quote(&columns.item.name)];
        list.extend(columns.value.as_ref().map(|column| quote(&column.name)));
        list.extend(columns.time.as_ref().map(|column| quote(&column.name)));
        let query = format!("SELECT {} FROM {} {clause}", list.join(", "), self.name);
        let mut receive =
            |sink: Sink<'_, '_>| Receiver::new(columns, any_value, sink, on_batch).run(&query, columns);
        if threads == 1 {
            let counts = receive(Sink::Here(&mut builder))?;
            return Ok((counts, builder));
        }
        let fault = Within::of("look up");
        let spare = (1..BATCHES).map(|_| Batch::new(columns.user_class, columns.item_class)).collect();
        work::pipe(
            control,
            builder,
            spare,
            |builder, batch| {
                fault.panic();
                batch.drain(builder)
            },
            |feeder| receive(Sink::There(feeder)),
        )
    }
}

const NUMERIC: [pg_sys::Oid; 6] = [
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::FLOAT4OID,
    pg_sys::FLOAT8OID,
    pg_sys::NUMERICOID,
];

const TIMES: [pg_sys::Oid; 4] =
    [pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPOID, pg_sys::DATEOID, pg_sys::INT8OID];

impl InteractionColumns {
    /// The newest of these times, as the column stores them; infinities say nothing.
    pub(crate) fn newest(&self, times: Option<&[i64]>) -> Option<i64> {
        let infinities = match self.time.as_ref().map(|column| crate::pg::ids::base_type(column.type_oid)) {
            Some(pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID) => [i64::MIN, i64::MAX],
            Some(pg_sys::DATEOID) => [i64::from(i32::MIN), i64::from(i32::MAX)],
            _ => return times?.iter().copied().max(),
        };
        times?.iter().copied().filter(|time| !infinities.contains(time)).max()
    }

    /// How many units of the time column make a day; 1 for whole numbers, whose unit is not known.
    pub(crate) fn day(&self) -> f64 {
        let type_oid = self.time.as_ref().map(|column| crate::pg::ids::base_type(column.type_oid));
        match type_oid {
            Some(pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID) => 86_400e6,
            _ => 1.0,
        }
    }
}
