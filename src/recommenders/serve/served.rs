//! A recommender that is being asked: ids of arguments become rows, rows of answers become ids.

use base::ids::{IdRef, IdsRef};
use base::image::kinds;
use pgrx::{Uuid, pg_sys};
use recommenders::answers::Recommendation;
use recommenders::recommender::Recommender;

use crate::models::images::{self, Loaded};
use crate::models::kind::wrong_image;
use crate::pg::call::{Call, Rows, datum};
use crate::pg::error::{OrReport, Result};
use crate::pg::ids::{Class, Id};
use crate::pg::{arrays, memory};

/// The live version of a model, and the types of its ids.
pub(super) struct Served<'a> {
    pub(super) model: Recommender<'a>,
    /// What trained it, such as `als`.
    pub(super) algorithm: &'a str,
    pub(super) user: Class,
    pub(super) item: Class,
    pub(super) model_id: Uuid,
}

/// Asks the model that the first argument names, a text.
pub(super) fn by_name<T>(call: &Call, body: impl FnOnce(&Served<'_>) -> Result<T>) -> Result<T> {
    let name = call.required_text(0, "model")?;
    ask(&*images::serve_name(&name)?, body)
}

/// Asks the model that the first argument is, a regclass.
pub(super) fn by_relation<T>(call: &Call, body: impl FnOnce(&Served<'_>) -> Result<T>) -> Result<T> {
    let relation: pg_sys::Oid = call.required(0, "model")?;
    ask(&*images::serve_relation(relation)?, body)
}

/// The recommender in a loaded image. 42809 for another kind.
pub(crate) fn recommender(loaded: &Loaded) -> Result<Recommender<'_>> {
    let image = loaded.image()?;
    if image.optional_section::<u8>(kinds::FACTS).or_report()?.is_none() {
        return Err(wrong_image(&image, "recommends nothing")
            .set_hint("Ask it with persona.assign() or persona.segment_distances()."));
    }
    Recommender::new(&image).or_report()
}

/// Bytes that an answer may take for each item of the model: the item, what bounds its score, the score, and whether it
/// was seen; a list of all items holds them twice.
const OF_AN_ITEM: usize = 96;

fn ask<T>(loaded: &Loaded, body: impl FnOnce(&Served<'_>) -> Result<T>) -> Result<T> {
    let model = recommender(loaded)?;
    memory::reserve(model.items.len().saturating_mul(OF_AN_ITEM), "an answer of the model")?;
    let user = Class::from_code(model.facts.user_class)?;
    let item = Class::from_code(model.facts.item_class)?;
    body(&Served { model, algorithm: loaded.algorithm(), user, item, model_id: loaded.model_id() })
}

/// Items of an argument up to which nobody looks for repeated ones on the way.
const FEW: usize = 1024;

fn rising(rows: &mut Vec<u32>) {
    rows.sort_unstable();
    rows.dedup();
}

/// The row of an id given as an argument of any type; NULL and unknown ids have none.
fn row(call: &Call, index: usize, class: Class, ids: IdsRef<'_>) -> Result<Option<u32>> {
    Ok(id(call, index, class)?.and_then(|id| ids.find(id.borrow())))
}

/// An id given as an argument of any type.
fn id(call: &Call, index: usize, class: Class) -> Result<Option<Id>> {
    call.datum(index).map(|value| class.read(value, call.argument_type(index))).transpose()
}

impl Served<'_> {
    /// The user in an argument, known or not.
    pub(super) fn user_id(&self, call: &Call, index: usize) -> Result<Option<Id>> {
        id(call, index, self.user)
    }

    /// The row of the user in an argument.
    pub(super) fn user(&self, call: &Call, index: usize) -> Result<Option<u32>> {
        row(call, index, self.user, self.model.users)
    }

    /// The row of the item in an argument.
    pub(super) fn item(&self, call: &Call, index: usize) -> Result<Option<u32>> {
        row(call, index, self.item, self.model.items)
    }

    /// The segment that a user had in the training.
    pub(super) fn segment(&self, user: Option<u32>, id: Option<&Id>) -> Option<u32> {
        self.model.segment_of(user, id?.borrow())
    }

    /// The rows of the items in an argument, `text[]` or typed: rising, each once, without unknown ones. However long the
    /// argument is, no more is kept than twice the items that it has.
    pub(super) fn items(&self, call: &Call, index: usize) -> Result<Option<Vec<u32>>> {
        let Some(value) = call.datum(index) else { return Ok(None) };
        let (mut rows, mut longest) = (Vec::new(), FEW);
        arrays::each(value, &mut |element, type_oid| {
            let id = self.item.read(element, type_oid)?;
            let Some(row) = self.model.items.find(id.borrow()) else { return Ok(()) };
            if rows.len() == longest {
                rising(&mut rows);
                longest = longest.max(2 * rows.len());
            }
            if rows.len() == rows.capacity() {
                rows.try_reserve(1).map_err(|_| memory::refused_for("a list of items"))?;
            }
            rows.push(row);
            Ok(())
        })?;
        rising(&mut rows);
        Ok(Some(rows))
    }

    /// The id of a user as text, as the type writes it.
    pub(super) fn text_of_user(&self, id: &Id) -> String {
        self.user.text(id.borrow())
    }

    /// The id of a user as a datum of a type.
    pub(super) fn user_datum(&self, row: u32, type_oid: pg_sys::Oid) -> Result<pg_sys::Datum> {
        self.user.datum(self.model.users.get(row).unwrap_or(IdRef::Bytes(&[])), type_oid)
    }

    /// The id of an item as a datum of a type.
    pub(super) fn item_datum(&self, row: u32, type_oid: pg_sys::Oid) -> Result<pg_sys::Datum> {
        self.item.datum(self.model.items.get(row).unwrap_or(IdRef::Bytes(&[])), type_oid)
    }

    /// The id of a user as text.
    pub(super) fn user_text(&self, row: u32) -> String {
        self.user.text(self.model.users.get(row).unwrap_or(IdRef::Bytes(&[])))
    }

    /// The id of an item as text.
    pub(super) fn item_text(&self, row: u32) -> String {
        self.item.text(self.model.items.get(row).unwrap_or(IdRef::Bytes(&[])))
    }

    /// Writes an answer with item ids as text, each row after the given first columns. `offset` rows came before.
    pub(super) fn push_text(
        &self,
        rows: &mut Rows,
        first: &[String],
        found: &[Recommendation],
        offset: usize,
    ) -> Result<()> {
        for (position, each) in found.iter().enumerate() {
            let mut values: Vec<_> = first.iter().map(|text| datum(text.as_str())).collect();
            values.push(datum(self.item_text(each.item)));
            values.extend(measures(each, offset + position));
            rows.push(&values)?;
        }
        Ok(())
    }

    /// Writes an answer with item ids of the result's own type.
    pub(super) fn push_typed(&self, rows: &mut Rows, found: &[Recommendation], offset: usize) -> Result<()> {
        let type_oid = rows.column_type(0);
        for (position, each) in found.iter().enumerate() {
            let [score, rank, source] = measures(each, offset + position);
            rows.push(&[Some(self.item_datum(each.item, type_oid)?), score, rank, source])?;
        }
        Ok(())
    }
}

/// Score, rank and source.
fn measures(each: &Recommendation, position: usize) -> [Option<pg_sys::Datum>; 3] {
    [
        datum(each.score as f32),
        datum(i32::try_from(position + 1).unwrap_or(i32::MAX)),
        datum(each.source.name()),
    ]
}
