//! Who belongs to which group: a relation with an id and a column that names the group.

use base::ids::IdRef;
use pgrx::{FromDatum, pg_sys};

use super::{Column, Source, stream};
use crate::pg::error::{Code, Result, fail, named_by};
use crate::pg::ids::Class;
use crate::pg::names::{quote, shown};

/// Groups that are told apart at most.
const MOST: usize = 1000;

/// A relation of groups, its columns checked.
pub(crate) struct Groups {
    source: Source,
    id: Column,
    class: Class,
    column: Column,
}

impl Groups {
    /// Opens a relation as the current user: 42703 for a column that is missing, 42804 where its ids are not those of
    /// `of`. The last are the options that name the columns.
    pub(crate) fn open(
        relation: pg_sys::Oid,
        id: &str,
        column: &str,
        of: (&Column, Class),
        [of_id, of_column]: [&str; 2],
    ) -> Result<Groups> {
        let source = Source::open(relation)?;
        source.take_locks()?;
        let id = source.column(id).map_err(named_by(of_id))?.clone();
        let column = source.column(column).map_err(named_by(of_column))?.clone();
        let class = id.class_like(&source, of)?;
        Ok(Groups { source, id, class, column })
    }

    /// What the column is called.
    pub(crate) fn title(&self) -> &str {
        &self.column.name
    }

    /// Reads all rows without a NULL. `each` gets an id and the number of its group, and says whether that is the only one;
    /// 21000 where it is not, 54000 beyond a thousand groups. The names of the groups, by number.
    pub(crate) fn read(&self, each: &mut dyn FnMut(IdRef<'_>, u32) -> Result<bool>) -> Result<Vec<String>> {
        let Groups { source, id, class, column } = self;
        let (quoted, group) = (quote(&id.name), quote(&column.name));
        let query = format!(
            "SELECT {quoted}, pg_catalog.left({group}::pg_catalog.text, 100) FROM {} WHERE {quoted} IS NOT NULL AND {group} IS NOT NULL",
            source.name
        );
        let mut numbers = std::collections::HashMap::<String, u32>::new();
        let mut names = Vec::new();
        stream(&query, &[id.type_oid, pg_sys::TEXTOID], &mut |values, _| {
            let found = class.read(values[0], id.type_oid)?;
            // SAFETY: the column is a text, and not NULL: the query says so.
            let name = unsafe { String::from_datum(values[1], false) }.unwrap_or_default();
            let number = match numbers.get(&name) {
                Some(&number) => number,
                None if names.len() == MOST => {
                    return Err(fail(
                        Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                        format!("column \"{}\" has more than {MOST} groups", column.name),
                    )
                    .set_hint("Name a column of fewer values, or a view that puts them together."));
                }
                None => {
                    names.push(name.clone());
                    numbers.insert(name, names.len() as u32 - 1);
                    names.len() as u32 - 1
                }
            };
            if !each(found.borrow(), number)? {
                return Err(fail(
                    Code::ERRCODE_CARDINALITY_VIOLATION,
                    format!("a user has two groups in {}", shown(&source.name)),
                )
                .set_detail(format!("It is user {}.", class.text(found.borrow())))
                .set_hint("Name a relation with one row for each user."));
            }
            Ok(true)
        })?;
        Ok(names)
    }
}
