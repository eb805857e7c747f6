//! What relations say about items at the moment of a call: read by SPI, read-only, under the snapshot of the statement and
//! with the caller's rights, and never more of them than the rows of the items in question.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};

use algorithms::recommender::Standing;
use pgrx::pg_sys;
use serde_json::Value;

use super::served::Served;
use crate::error::{Code, Result, fail, named_by};
use crate::identity;
use crate::ids::{Class, base_type, type_title};
use crate::registry::{self, scan::Seen};
use crate::source::{Column, Source};

/// A column of items in a relation, and the query that finds some of them.
struct Items {
    /// `$1` is an array of `element`.
    query: CString,
    element: pg_sys::Oid,
}

impl Items {
    /// `column` is that of the items, which `option` may name; `others` is what the query selects besides.
    fn open(
        served: &Served<'_>,
        source: &Source,
        (column, option): (Option<&str>, &str),
        others: &str,
    ) -> Result<Items> {
        let column = match column {
            Some(name) => source.column(name).map_err(named_by(option))?,
            None => source.column(&item_column(served)?).map_err(|error| {
                error
                    .set_detail("The model was trained from a column of this name.")
                    .set_hint(format!("Name the column of the items in \"{option}\"."))
            })?,
        };
        let name = identity::quote(&column.name);
        // Qualified throughout: whatever the search path is, and the path stays the caller's for what the relation calls.
        let query = format!(
            "SELECT {name}{others} FROM {} WHERE {name} OPERATOR(pg_catalog.=) ANY ($1)",
            source.name
        );
        let query = CString::new(query)
            .map_err(|_| fail(Code::ERRCODE_INVALID_NAME, "names cannot hold a zero byte"))?;
        Ok(Items { query, element: element(served.item, column)? })
    }

    /// Calls `on_row` with the item of each row that the relation shows of these, and a text where it selects one.
    fn rows(
        &self,
        served: &Served<'_>,
        items: &[u32],
        on_row: &mut dyn FnMut(u32, Option<String>),
    ) -> Result<()> {
        let mut ids =
            items.iter().map(|&item| served.item_datum(item, self.element)).collect::<Result<Vec<_>>>()?;
        // SAFETY: the ids have the type of the elements; SPI is connected and finished around what uses it, and an error
        // unwinds through here without SPI_finish: the abort of the transaction does that. The rows are read before it.
        unsafe {
            let array = array_of(&mut ids, self.element);
            pg_sys::SPI_connect();
            let mut types = [pg_sys::get_array_type(self.element)];
            let mut values = [array];
            let code = pg_sys::SPI_execute_with_args(
                self.query.as_ptr(),
                1,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                0,
            );
            if code != pg_sys::SPI_OK_SELECT as i32 {
                return Err(fail(
                    Code::ERRCODE_INTERNAL_ERROR,
                    format!("could not read the relation: SPI error {code}"),
                ));
            }
            let table = &*pg_sys::SPI_tuptable;
            let type_oid = pg_sys::SPI_gettypeid(table.tupdesc, 1);
            for at in 0..table.numvals as usize {
                let tuple = *table.vals.add(at);
                let mut null = false;
                let value = pg_sys::SPI_getbinval(tuple, table.tupdesc, 1, &mut null);
                if null {
                    continue;
                }
                let id = served.item.read(value, type_oid)?;
                let Some(item) = served.model.items.find(id.borrow()) else { continue };
                let text = pg_sys::SPI_getvalue(tuple, table.tupdesc, 2);
                let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
                on_row(item, text);
            }
            pg_sys::SPI_finish();
        }
        Ok(())
    }
}

/// # Safety
/// The values have the type `element`.
unsafe fn array_of(values: &mut [pg_sys::Datum], element: pg_sys::Oid) -> pg_sys::Datum {
    // SAFETY: promised by the caller; the catalog tells how the type is stored.
    unsafe {
        let (mut length, mut by_value, mut alignment) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut alignment);
        let count = values.len() as i32;
        let array =
            pg_sys::construct_array(values.as_mut_ptr(), count, element, length.into(), by_value, alignment);
        pg_sys::Datum::from(array)
    }
}

/// The type to ask a column in, so that an index on it serves; 42804 where the items of a model cannot be in it.
fn element(items: Class, column: &Column) -> Result<pg_sys::Oid> {
    let class = column.id_class()?;
    let texts = [Class::Text, Class::Char];
    let fits = class == items
        || class.is_integer() && items.is_integer()
        || texts.contains(&class) && texts.contains(&items);
    if !fits {
        return Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "column \"{}\" of type {} cannot hold the items of this model",
                column.name,
                type_title(column.type_oid)
            ),
        )
        .set_detail(format!("The items are of type {}.", items.name()))
        .set_hint("Name a view that casts the column."));
    }
    Ok(match class {
        // What an index on any integer type can be asked for, and holds every item.
        Class::SmallInt | Class::Integer | Class::BigInt => pg_sys::INT8OID,
        Class::Text => pg_sys::TEXTOID,
        Class::Char => pg_sys::BPCHAROID,
        Class::Date | Class::Uuid | Class::Enum => base_type(column.type_oid),
    })
}

/// The column that the model took its items from.
fn item_column(served: &Served<'_>) -> Result<String> {
    let model = registry::model(served.model_id, Seen::Statement)?;
    let name =
        model.and_then(|model| model.spec.get("item_column").and_then(Value::as_str).map(str::to_string));
    name.ok_or_else(|| {
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "the column of the items must be named")
            .set_hint("Give \"eligible_column\", and \"item_column\" in \"categories\".")
    })
}

/// The relation that an option names along the caller's search path; 42P01 where there is none.
fn relation(name: &str, option: &str) -> Result<Source> {
    let found = identity::lookup(name)?.ok_or_else(|| {
        fail(Code::ERRCODE_UNDEFINED_TABLE, format!("relation {} does not exist", identity::shown(name)))
    });
    found.and_then(|found| Source::open(found.relation)).map_err(named_by(option))
}

/// Only items that a relation shows.
pub(super) struct Admission(Items);

impl Admission {
    pub(super) fn open(served: &Served<'_>, name: &str, column: Option<&str>) -> Result<Admission> {
        let source = relation(name, "eligible")?;
        Ok(Admission(Items::open(served, &source, (column, "eligible_column"), "")?))
    }

    pub(super) fn look(&self, served: &Served<'_>, items: &[u32], standings: &mut [Standing]) -> Result<()> {
        let mut shown = HashSet::new();
        self.0.rows(served, items, &mut |item, _| {
            shown.insert(item);
        })?;
        for (item, standing) in items.iter().zip(standings) {
            standing.admitted &= shown.contains(item);
        }
        Ok(())
    }
}

/// The categories of items, as a relation shows them.
pub(super) struct Categories {
    items: Items,
    numbers: HashMap<String, u32>,
}

impl Categories {
    pub(super) fn open(
        served: &Served<'_>,
        name: &str,
        item: Option<&str>,
        category: &str,
    ) -> Result<Categories> {
        const OPTION: &str = "categories";
        let source = relation(name, OPTION)?;
        let category = identity::quote(&source.column(category).map_err(named_by(OPTION))?.name);
        let others = format!(", {category}::pg_catalog.text");
        let items = Items::open(served, &source, (item, "item_column"), &others)?;
        Ok(Categories { items, numbers: HashMap::new() })
    }

    pub(super) fn look(
        &mut self,
        served: &Served<'_>,
        items: &[u32],
        standings: &mut [Standing],
    ) -> Result<()> {
        let mut found: HashMap<u32, Vec<u32>> = HashMap::new();
        let numbers = &mut self.numbers;
        self.items.rows(served, items, &mut |item, category| {
            let Some(category) = category else { return };
            let next = numbers.len() as u32;
            let number = *numbers.entry(category).or_insert(next);
            let of_item = found.entry(item).or_default();
            if !of_item.contains(&number) {
                of_item.push(number);
            }
        })?;
        for (item, standing) in items.iter().zip(standings) {
            standing.categories = found.remove(item).unwrap_or_default();
        }
        Ok(())
    }
}
