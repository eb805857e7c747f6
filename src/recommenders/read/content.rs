//! What a relation tells of items or users: numbers, words and lists of words beside an id.

use base::Control;
use features::{Features, Kind, RowsBuilder};
use pgrx::pg_sys;

use crate::pg::arrays;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::ids::{Class, base_type, with_text};
use crate::pg::names::{quote, shown};
use crate::source::features::Feature;
use crate::source::{Column, Source, rows};

const TYPES: &str = "smallint, integer, bigint, real, double precision, numeric, boolean, interval, text, varchar, char, enums, text[] and varchar[]";

/// A relation whose columns were checked.
pub(crate) struct Content {
    source: Source,
    id: Column,
    class: Class,
    kinds: Vec<Kind>,
    /// SQL that makes each column a `double precision`, a `text` or a `text[]`.
    expressions: Vec<String>,
}

/// How a column is read, and the SQL that makes it so.
fn read_as(column: &Column) -> Result<(Kind, String)> {
    if let Some(feature) = Feature::of(column) {
        return Ok((Kind::Number, feature.expression));
    }
    let quoted = quote(&column.name);
    match (base_type(column.type_oid), Class::of(column.type_oid)) {
        (pg_sys::TEXTARRAYOID | pg_sys::VARCHARARRAYOID, _) => {
            Ok((Kind::Tags, format!("{quoted}::pg_catalog.text[]")))
        }
        (_, Some(Class::Text | Class::Char | Class::Enum)) => {
            Ok((Kind::Category, format!("{quoted}::pg_catalog.text")))
        }
        _ => Err(column.wrong_type("features", TYPES)),
    }
}

impl Content {
    /// Checks the columns of a relation: 42703 for one that is missing, 0A000 for a type that tells nothing, 42701 for one
    /// that is named twice, 42804 where its ids are not those of `of`.
    pub(crate) fn open(
        relation: pg_sys::Oid,
        id: &str,
        names: &[String],
        of: (&Column, Class),
    ) -> Result<Content> {
        let source = Source::open(relation)?;
        source.take_locks()?;
        let id = source.column(id)?.clone();
        let class = id.class_like(&source, of)?;
        let (mut kinds, mut expressions) = (Vec::new(), Vec::new());
        for (at, name) in names.iter().enumerate() {
            let column = source.column(name)?;
            if column.name == id.name || names[..at].contains(name) {
                return Err(fail(
                    Code::ERRCODE_DUPLICATE_COLUMN,
                    format!("column \"{name}\" is named twice"),
                ));
            }
            let (kind, expression) = read_as(column)?;
            kinds.push(kind);
            expressions.push(expression);
        }
        Ok(Content { source, id, class, kinds, expressions })
    }

    /// Reads its rows as the current user sees them. Rows without an id are left out; 23505 where an id has two.
    pub(crate) fn read<'c>(
        &self,
        control: &'c Control,
        on_rows: &mut dyn FnMut(u64),
    ) -> Result<RowsBuilder<'c>> {
        let mut list = vec![quote(&self.id.name)];
        list.extend(self.expressions.iter().cloned());
        let query = format!("SELECT {} FROM {}", list.join(", "), self.source.name);
        let mut types = vec![self.id.type_oid];
        types.extend(self.kinds.iter().map(|kind| match kind {
            Kind::Number => pg_sys::FLOAT8OID,
            Kind::Category => pg_sys::TEXTOID,
            Kind::Tags => pg_sys::TEXTARRAYOID,
        }));
        let mut builder = RowsBuilder::new(self.class.kind(), &self.kinds, control);
        rows::stream(&query, &types, &mut |values, nulls| {
            if nulls[0] {
                return Ok(true);
            }
            let id = self.class.read(values[0], self.id.type_oid)?;
            if !builder.start(id.borrow()).or_report()? {
                return Err(self.not_unique(&self.class.text(id.borrow())));
            }
            if builder.rows().is_multiple_of(8192) {
                on_rows(builder.rows() as u64);
            }
            let cells = values[1..].iter().zip(&nulls[1..]).zip(&self.kinds).enumerate();
            for (column, ((&value, _), kind)) in cells.filter(|(_, ((_, null), _))| !**null) {
                match kind {
                    Kind::Number => builder.number(column, f64::from_bits(value.value() as u64)),
                    Kind::Category => {
                        // SAFETY: a text that is not NULL: `stream` compared the types.
                        unsafe { with_text(value, Class::Text, |word| builder.word(column, word)) }
                            .or_report()?;
                    }
                    Kind::Tags => arrays::each(value, &mut |value, _| {
                        // SAFETY: an element of an array of texts.
                        unsafe { with_text(value, Class::Text, |word| builder.word(column, word)) }
                            .or_report()
                    })?,
                }
            }
            Ok(true)
        })?;
        Ok(builder)
    }

    fn not_unique(&self, id: &str) -> pgrx::pg_sys::panic::ErrorReport {
        fail(
            Code::ERRCODE_UNIQUE_VIOLATION,
            format!(
                "the ids in column {} of {} are not unique",
                quote(&self.id.name),
                shown(&self.source.name)
            ),
        )
        .set_detail(format!("There is more than one row of {id}."))
        .set_hint("Read from a view with one row per id.")
    }
}

/// What was read, or nothing where nothing was asked for.
pub(crate) type Read = [Option<Features>; 2];
