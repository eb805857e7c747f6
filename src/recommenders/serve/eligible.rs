//! What relations say about items at the moment of a call: read by SPI, read-only, under the snapshot of the statement and
//! with the caller's rights, and never more of them than the rows of the items in question.

use std::collections::{HashMap, HashSet};

use pgrx::pg_sys;
use recommenders::recommender::Eligibility;
use serde_json::Value;

use super::served::Served;
use crate::models::registry::scan::Seen;
use crate::models::{identity, registry};
use crate::pg::error::{Code, Result, fail, named_by};
use crate::pg::ids::{Class, base_type, type_title, with_text};
use crate::pg::memory::{self, Held};
use crate::pg::names::{quote, shown};
use crate::source::{Column, Source, run_with};

/// A column of items in a relation, and the query that finds some of them.
struct Items {
    /// `$1` is an array of `element`.
    query: String,
    element: pg_sys::Oid,
    /// The types of its columns.
    types: Vec<pg_sys::Oid>,
}

impl Items {
    /// `column` is that of the items, which `option` may name; `text` is what the query selects besides.
    fn open(
        served: &Served<'_>,
        source: &Source,
        (column, option): (Option<&str>, &str),
        text: Option<&str>,
    ) -> Result<Items> {
        let column = match column {
            Some(name) => source.column(name).map_err(named_by(option))?,
            None => source.column(&item_column(served)?).map_err(|error| {
                error
                    .set_detail("The model was trained from a column of this name.")
                    .set_hint(format!("Name the column of the items in \"{option}\"."))
            })?,
        };
        let name = quote(&column.name);
        // Qualified throughout: whatever the search path is, and the path stays the caller's for what the relation calls.
        let others = text.map_or(String::new(), |text| format!(", {text}::pg_catalog.text"));
        let query = format!(
            "SELECT {name}{others} FROM {} WHERE {name} OPERATOR(pg_catalog.=) ANY ($1)",
            source.name
        );
        let types = std::iter::once(column.type_oid).chain(text.map(|_| pg_sys::TEXTOID)).collect();
        Ok(Items { query, element: element(served.item, column)?, types })
    }

    /// Calls `on_row` with the item of each row that the relation shows of these, and a text where it selects one. The rows
    /// pass by: none is kept here, however many a relation has of an item.
    fn rows(
        &self,
        served: &Served<'_>,
        items: &[u32],
        on_row: &mut dyn FnMut(u32, Option<pg_sys::Datum>) -> Result<()>,
    ) -> Result<()> {
        let mut ids =
            items.iter().map(|&item| served.item_datum(item, self.element)).collect::<Result<Vec<_>>>()?;
        // SAFETY: the ids have the type of the elements; a system cache look-up tells the type of their array.
        let parameter = unsafe { (array_of(&mut ids, self.element), pg_sys::get_array_type(self.element)) };
        run_with(&self.query, Some(parameter), &self.types, &mut |values, nulls| {
            if !nulls[0] {
                let id = served.item.read(values[0], self.types[0])?;
                if let Some(item) = served.model.items.find(id.borrow()) {
                    on_row(item, values.get(1).copied().filter(|_| !nulls[1]))?;
                }
            }
            Ok(true)
        })
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
        fail(Code::ERRCODE_UNDEFINED_TABLE, format!("relation {} does not exist", shown(name)))
    });
    found.and_then(|found| Source::open(found.relation)).map_err(named_by(option))
}

/// Only items that a relation shows.
pub(super) struct Admission(Items);

impl Admission {
    pub(super) fn open(served: &Served<'_>, name: &str, column: Option<&str>) -> Result<Admission> {
        let source = relation(name, "eligible")?;
        Ok(Admission(Items::open(served, &source, (column, "eligible_column"), None)?))
    }

    pub(super) fn look(
        &self,
        served: &Served<'_>,
        items: &[u32],
        standings: &mut [Eligibility],
    ) -> Result<()> {
        // No more of them than were asked for.
        let mut shown = HashSet::new();
        self.0.rows(served, items, &mut |item, _| {
            shown.insert(item);
            Ok(())
        })?;
        for (item, standing) in items.iter().zip(standings) {
            standing.admitted &= shown.contains(item);
        }
        Ok(())
    }
}

/// The categories of items, as a relation shows them. How many there are is up to whoever fills the relation.
pub(super) struct Categories {
    items: Items,
    numbers: HashMap<String, u32>,
    held: Held,
}

/// What is said to need the memory.
const CATEGORIES: &str = "a relation of categories";

impl Categories {
    pub(super) fn open(
        served: &Served<'_>,
        name: &str,
        item: Option<&str>,
        category: &str,
    ) -> Result<Categories> {
        const OPTION: &str = "categories";
        let source = relation(name, OPTION)?;
        let category = quote(&source.column(category).map_err(named_by(OPTION))?.name);
        let items = Items::open(served, &source, (item, "item_column"), Some(&category))?;
        Ok(Categories { items, numbers: HashMap::new(), held: Held::new(CATEGORIES) })
    }

    /// The number of a category, the same in each look.
    fn number(numbers: &mut HashMap<String, u32>, held: &mut Held, text: pg_sys::Datum) -> Result<u32> {
        let refused = |_| memory::refused_for(CATEGORIES);
        // SAFETY: the query selects a text.
        unsafe {
            with_text(text, Class::Text, |text| {
                let text = String::from_utf8_lossy(text);
                if let Some(&number) = numbers.get(&*text) {
                    return Ok(number);
                }
                held.take(2 * size_of::<(String, u32)>() + text.len() + 16)?;
                numbers.try_reserve(1).map_err(refused)?;
                let mut owned = String::new();
                owned.try_reserve_exact(text.len()).map_err(refused)?;
                owned.push_str(&text);
                let next = numbers.len() as u32;
                numbers.insert(owned, next);
                Ok(next)
            })
        }
    }

    pub(super) fn look(
        &mut self,
        served: &Served<'_>,
        items: &[u32],
        standings: &mut [Eligibility],
    ) -> Result<()> {
        // Each pair once: a relation may have any number of rows of one.
        let mut pairs = HashSet::new();
        let (numbers, held) = (&mut self.numbers, &mut self.held);
        self.items.rows(served, items, &mut |item, category| {
            let Some(category) = category else { return Ok(()) };
            let pair = (item, Categories::number(numbers, held, category)?);
            if !pairs.contains(&pair) {
                // In the set, and in the list of its item.
                held.take(2 * size_of_val(&pair) + 2 * size_of::<u32>())?;
                pairs.try_reserve(1).map_err(|_| memory::refused_for(CATEGORIES))?;
                pairs.insert(pair);
            }
            Ok(())
        })?;
        let mut found: HashMap<u32, Vec<u32>> = HashMap::new();
        for (item, number) in pairs {
            let of_item = found.entry(item).or_default();
            of_item.try_reserve(1).map_err(|_| memory::refused_for(CATEGORIES))?;
            of_item.push(number);
        }
        for (item, standing) in items.iter().zip(standings) {
            standing.categories = found.remove(item).unwrap_or_default();
        }
        Ok(())
    }
}
