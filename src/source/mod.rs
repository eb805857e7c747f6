//! Reading a relation: its columns checked by name and type, its rows streamed from the executor into Rust
//! arrays, with the rights of the current user.

mod batch;
mod content;
mod features;
mod groups;
mod receiver;
mod rows;

use std::ffi::{CStr, CString};

use base::Control;
use pgrx::{Spi, pg_sys};
use recommenders::interactions::InteractionsBuilder;

use crate::access::Identity;
use crate::error::{Code, Result, fail, nearest};
use crate::fault::Within;
use crate::identity;
use crate::ids::{Class, base_type, type_title};
use crate::outputs::literal;
use crate::work;
use batch::{BATCHES, Batch, Sink};
pub(crate) use content::{Content, Read};
pub(crate) use features::{Feature, Matrix, read_matrix};
pub(crate) use groups::Groups;
use receiver::{Receiver, Skipped};
pub(crate) use rows::{run_with, stream};

/// A relation to read from.
pub(crate) struct Source {
    /// Its qualified name.
    pub(crate) name: String,
    pub(crate) relation: pg_sys::Oid,
    columns: Vec<Column>,
}

/// A column of it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: pg_sys::Oid,
    collation: pg_sys::Oid,
}

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
    /// Opens a relation by oid; 42P01 where it is gone, 42809 where it has no rows to read.
    pub(crate) fn open(relation: pg_sys::Oid) -> Result<Source> {
        let gone = || {
            fail(
                Code::ERRCODE_UNDEFINED_TABLE,
                format!("relation with OID {} does not exist", relation.to_u32()),
            )
        };
        let name;
        // SAFETY: NULL for a relation that is gone meanwhile; it is opened with a lock that the transaction keeps, so that
        // neither its columns nor its name can change before it is read.
        let columns = unsafe {
            let opened = pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as _);
            if opened.is_null() {
                return Err(gone());
            }
            name = identity::qualified_name(relation).unwrap_or_default();
            let readable = [b'r', b'p', b'v', b'm', b'f'].contains(&((*(*opened).rd_rel).relkind as u8));
            let descriptor = (*opened).rd_att;
            let columns = (1..=(*descriptor).natts)
                .filter_map(|number| Column::of(relation, descriptor, number))
                .collect::<Vec<_>>();
            pg_sys::relation_close(opened, pg_sys::NoLock as _);
            if !readable {
                return Err(fail(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("cannot read rows of \"{name}\""))
                    .set_detail("Tables, partitioned tables, foreign tables, views and materialized views can be read."));
            }
            columns
        };
        Ok(Source { name, relation, columns })
    }

    /// Takes the locks that reading it needs, those of partitions and of what lies below a view among them, and keeps them:
    /// whoever empties or rewrites one of these has ended then, and a snapshot of after that has what he wrote.
    pub(crate) fn take_locks(&self) -> Result<()> {
        stream(&format!("SELECT FROM {} LIMIT 0", self.name), &[], &mut |_, _| Ok(false))
    }

    /// A column by name; 42703 with the nearest existing name.
    pub(crate) fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let missing = fail(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation {} does not exist", identity::shown(&self.name)),
            );
            match nearest(name, self.columns.iter().map(|column| column.name.as_str())) {
                Some(near) => missing.set_hint(format!("Perhaps you meant the column \"{near}\".")),
                None => missing,
            }
        })
    }

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

    /// Whether no two rows have the same value in a column: by a unique index, or by reading the column.
    pub(crate) fn is_unique(&self, column: &Column) -> Result<bool> {
        let _path = Identity::pinned_path();
        let quoted = identity::quote(&column.name);
        let indexed = format!(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
                              AND a.attnum = ALL (i.indkey::int2[]) AND a.attname = {}
                            WHERE i.indrelid = {} AND i.indisunique AND i.indisvalid AND i.indimmediate
                              AND i.indpred IS NULL AND i.indnatts = 1)",
            literal(&column.name),
            self.relation.to_u32()
        );
        let repeated = format!(
            "SELECT NOT EXISTS (SELECT FROM {} WHERE {quoted} IS NOT NULL GROUP BY {quoted} HAVING count(*) > 1)",
            self.name
        );
        for question in [indexed, repeated] {
            let answer =
                Spi::connect(|client| client.select(&question, None, &[])?.first().get_one::<bool>());
            let answer = answer.map_err(|error| {
                fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the relation: {error}"))
            })?;
            if answer == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Its columns' names and types, in order.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
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
        let mut list = vec![identity::quote(&columns.user.name), identity::quote(&columns.item.name)];
        list.extend(columns.value.as_ref().map(|column| identity::quote(&column.name)));
        list.extend(columns.time.as_ref().map(|column| identity::quote(&column.name)));
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
        let infinities = match self.time.as_ref().map(|column| crate::ids::base_type(column.type_oid)) {
            Some(pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID) => [i64::MIN, i64::MAX],
            Some(pg_sys::DATEOID) => [i64::from(i32::MIN), i64::from(i32::MAX)],
            _ => return times?.iter().copied().max(),
        };
        times?.iter().copied().filter(|time| !infinities.contains(time)).max()
    }

    /// How many units of the time column make a day; 1 for whole numbers, whose unit is not known.
    pub(crate) fn day(&self) -> f64 {
        let type_oid = self.time.as_ref().map(|column| crate::ids::base_type(column.type_oid));
        match type_oid {
            Some(pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID) => 86_400e6,
            _ => 1.0,
        }
    }
}

impl Column {
    /// # Safety
    /// The descriptor belongs to the open relation and has `number` columns.
    unsafe fn of(relation: pg_sys::Oid, descriptor: pg_sys::TupleDesc, number: i32) -> Option<Column> {
        // SAFETY: promised by the caller; SPI_fname answers a palloc'd name, and 0 is the type of a dropped column.
        unsafe {
            let type_oid = pg_sys::SPI_gettypeid(descriptor, number);
            if type_oid == pg_sys::InvalidOid {
                return None;
            }
            let name = CStr::from_ptr(pg_sys::SPI_fname(descriptor, number)).to_string_lossy().into_owned();
            let (mut found, mut modifier, mut collation) = (pg_sys::InvalidOid, 0, pg_sys::InvalidOid);
            pg_sys::get_atttypetypmodcoll(relation, number as i16, &mut found, &mut modifier, &mut collation);
            Some(Column { name, type_oid, collation })
        }
    }

    /// The class of the ids in this column; 0A000 for types that have no canonical bytes.
    pub(crate) fn id_class(&self) -> Result<Class> {
        let Some(class) = Class::of(self.type_oid) else {
            return Err(self.wrong_type(
                "ids",
                "smallint, integer, bigint, uuid, text, varchar, char, date, enums and domains over these",
            ));
        };
        // SAFETY: a system cache look-up of the column's own collation.
        let deterministic = self.collation == pg_sys::InvalidOid
            || unsafe { pg_sys::get_collation_isdeterministic(self.collation) };
        if !deterministic {
            return Err(fail(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("column \"{}\" has a nondeterministic collation and cannot hold ids", self.name),
            )
            .set_hint(
                "Read from a view that gives the column a deterministic collation: column COLLATE \"C\".",
            ));
        }
        Ok(class)
    }

    /// The class of the ids in this column, which are to be those of another one; 42804 where they are not.
    pub(crate) fn class_like(&self, source: &Source, (of, of_class): (&Column, Class)) -> Result<Class> {
        let class = self.id_class()?;
        let fits = match of_class {
            Class::SmallInt | Class::Integer | Class::BigInt => {
                class.is_integer() && class as u8 <= of_class as u8
            }
            Class::Text => matches!(class, Class::Text | Class::Char | Class::Enum),
            Class::Enum => base_type(self.type_oid) == base_type(of.type_oid),
            _ => class == of_class,
        };
        if fits {
            return Ok(class);
        }
        Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "the ids in column {} of {} are of another type",
                identity::quote(&self.name),
                source.name
            ),
        )
        .set_detail(format!(
            "They are {}, and those in column {} are {}.",
            type_title(self.type_oid),
            identity::quote(&of.name),
            type_title(of.type_oid)
        ))
        .set_hint("Read from a view that casts the column."))
    }

    /// ` COLLATE x` for a column of texts, as a definition of a column has it.
    pub(crate) fn collation_clause(&self) -> String {
        if self.collation == pg_sys::InvalidOid {
            return String::new();
        }
        let _path = Identity::pinned_path();
        // SAFETY: the name of an existing collation, qualified unless pg_catalog has it; copied at once.
        let name = unsafe { CStr::from_ptr(pg_sys::generate_collation_name(self.collation)) };
        format!(" COLLATE {}", name.to_string_lossy())
    }

    pub(crate) fn wrong_type(&self, role: &str, allowed: &str) -> pgrx::pg_sys::panic::ErrorReport {
        fail(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("column \"{}\" of type {} cannot hold {role}", self.name, type_title(self.type_oid)),
        )
        .set_detail(format!("Supported are {allowed}."))
        .set_hint("Read from a view that casts the column.")
    }
}

/// A C string of a query.
fn c_string(query: &str) -> Result<CString> {
    CString::new(query).map_err(|_| fail(Code::ERRCODE_INVALID_NAME, "names cannot hold a zero byte"))
}
