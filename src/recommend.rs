//! The serving functions of recommenders: ids in, ids out. No SPI, no planner, no transaction id.

use algorithms::ids::IdRef;
use algorithms::recommender::{Filter, Recommendation, Recommender};
use pgrx::pg_sys;

use crate::arrays;
use crate::cache;
use crate::call::{Call, Rows, datum, null_argument};
use crate::error::{Code, Result, fail};
use crate::identity::{self, Named};
use crate::ids::Class;
use crate::options::Options;

type Answer = Result<Option<pg_sys::Datum>>;

/// Classes of the ids of a model.
#[derive(Clone, Copy)]
struct Classes {
    user: Class,
    item: Class,
}

fn classes(model: &Recommender<'_>) -> Result<Classes> {
    Ok(Classes {
        user: Class::from_code(model.facts.user_class)?,
        item: Class::from_code(model.facts.item_class)?,
    })
}

/// `k` of an argument: 22023 for NULL and below 0.
fn count(call: &Call, index: usize) -> Result<usize> {
    let k: Option<i32> = call.get(index);
    k.and_then(|k| usize::try_from(k).ok()).ok_or_else(|| {
        let got = k.map_or("NULL".to_string(), |k| k.to_string());
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("\"k\" must be at least 0, got {got}"))
    })
}

/// The model named by the first argument, a text.
fn by_name(call: &Call) -> Result<std::rc::Rc<cache::Loaded>> {
    let name: String = call.required(0, "model")?;
    cache::serve_name(&name)
}

/// The model named by the first argument, a regclass.
fn by_relation(call: &Call) -> Result<std::rc::Rc<cache::Loaded>> {
    let relation: pg_sys::Oid = call.required(0, "model")?;
    let name = identity::qualified_name(relation)
        .ok_or_else(|| identity::no_model(&format!("with OID {}", relation.to_u32())))?;
    cache::serve(Named { relation, name })
}

/// The row of a user given as an argument of any type; NULL and unknown users have none.
fn user(call: &Call, index: usize, model: &Recommender<'_>, class: Class) -> Result<Option<u32>> {
    let Some(value) = call.datum(index) else { return Ok(None) };
    let id = class.read(value, call.argument_type(index))?;
    Ok(model.users.find(id.borrow()))
}

/// The row of an item given as an argument of any type.
fn item(call: &Call, index: usize, model: &Recommender<'_>, class: Class) -> Result<Option<u32>> {
    let Some(value) = call.datum(index) else { return Ok(None) };
    let id = class.read(value, call.argument_type(index))?;
    Ok(model.items.find(id.borrow()))
}

/// The rows of items given as `text[]` or a typed array, rising and each once; unknown ones are left out.
fn items(call: &Call, index: usize, model: &Recommender<'_>, class: Class) -> Result<Option<Vec<u32>>> {
    let Some(value) = call.datum(index) else { return Ok(None) };
    let mut rows = Vec::new();
    arrays::each(value, &mut |element, type_oid| {
        let id = class.read(element, type_oid)?;
        rows.extend(model.items.find(id.borrow()));
        Ok(())
    })?;
    rows.sort_unstable();
    rows.dedup();
    Ok(Some(rows))
}

fn no_options(call: &Call, index: usize) -> Result<()> {
    Options::new(call.object(index, "options")?, &[]).map(|_| ())
}

/// Writes recommendations with item ids as text, after the given first column if any.
fn push_text(
    rows: &mut Rows,
    model: &Recommender<'_>,
    class: Class,
    user: Option<&str>,
    found: &[Recommendation],
) -> Result<()> {
    for (position, each) in found.iter().enumerate() {
        let id = model.items.get(each.item).unwrap_or(IdRef::Bytes(&[]));
        let values = [
            user.map(str::to_string).and_then(datum),
            datum(class.text(id)),
            datum(each.score as f32),
            datum(position as i32 + 1),
            datum(each.source.name()),
        ];
        rows.push(if user.is_some() { &values } else { &values[1..] })?;
    }
    Ok(())
}

/// Writes recommendations with item ids of the result's own type.
fn push_typed(
    rows: &mut Rows,
    model: &Recommender<'_>,
    class: Class,
    found: &[Recommendation],
) -> Result<()> {
    let type_oid = rows.column_type(0);
    for (position, each) in found.iter().enumerate() {
        let id = model.items.get(each.item).unwrap_or(IdRef::Bytes(&[]));
        rows.push(&[
            Some(class.datum(id, type_oid)?),
            datum(each.score as f32),
            datum(position as i32 + 1),
            datum(each.source.name()),
        ])?;
    }
    Ok(())
}

/// What `recommend`, `recommend_as` and the typed function share; indices of the arguments differ.
struct Asked {
    k: usize,
    exclude: usize,
    candidates: usize,
    keep_seen: bool,
}

fn find(
    call: &Call,
    model: &Recommender<'_>,
    classes: Classes,
    asked: &Asked,
) -> Result<Vec<Recommendation>> {
    let user = user(call, 1, model, classes.user)?;
    let exclude = items(call, asked.exclude, model, classes.item)?.unwrap_or_default();
    let candidates = items(call, asked.candidates, model, classes.item)?;
    let filter = Filter { exclude: &exclude, candidates: candidates.as_deref(), keep_seen: asked.keep_seen };
    Ok(model.recommend(user, asked.k, filter))
}

/// Checks `remove_seen`, `fresh` and `options`, which follow each other; the value of `keep_seen`.
fn switches(call: &Call, first: usize) -> Result<bool> {
    if call.get(first + 1) == Some(true) {
        return Err(fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "fresh => true is not supported yet")
            .set_hint("Use recommend_for_items() with the items of the moment, or retrain."));
    }
    no_options(call, first + 2)?;
    Ok(call.get(first) == Some(false))
}

/// `persona.recommend(model, user_id, k, exclude, candidates, remove_seen, fresh, options)`.
pub(crate) fn recommend(call: &Call) -> Answer {
    let asked = Asked { k: count(call, 2)?, exclude: 3, candidates: 4, keep_seen: switches(call, 5)? };
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found = find(call, &model, classes, &asked)?;
    push_text(&mut call.rows()?, &model, classes.item, None, &found)?;
    Ok(None)
}

/// `persona.recommend_as(model, user_id, item_type, k, exclude, candidates, remove_seen, fresh, options)`.
pub(crate) fn recommend_as(call: &Call) -> Answer {
    let asked = Asked { k: count(call, 3)?, exclude: 4, candidates: 5, keep_seen: switches(call, 6)? };
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found = find(call, &model, classes, &asked)?;
    push_typed(&mut call.rows()?, &model, classes.item, &found)?;
    Ok(None)
}

/// `persona._recommend(model, user_id, item_type, k, exclude, candidates)`: behind `<model>_recommend`.
pub(crate) fn typed_recommend(call: &Call) -> Answer {
    let asked = Asked { k: count(call, 3)?, exclude: 4, candidates: 5, keep_seen: false };
    let loaded = by_relation(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found = find(call, &model, classes, &asked)?;
    push_typed(&mut call.rows()?, &model, classes.item, &found)?;
    Ok(None)
}

/// `persona.recommend_for_users(model, user_ids, k, options)`.
pub(crate) fn recommend_for_users(call: &Call) -> Answer {
    let k = count(call, 2)?;
    no_options(call, 3)?;
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let mut rows = call.rows()?;
    let mut answered = std::collections::HashSet::new();
    for text in call.texts(1).unwrap_or_default() {
        let id = classes.user.parse(&text)?;
        if !answered.insert(id.clone()) {
            continue;
        }
        let found = model.recommend(model.users.find(id.borrow()), k, Filter::default());
        push_text(&mut rows, &model, classes.item, Some(&classes.user.text(id.borrow())), &found)?;
        pgrx::check_for_interrupts!();
    }
    Ok(None)
}

/// `persona.recommend_for_items(model, items, k, options)`.
pub(crate) fn recommend_for_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    no_options(call, 3)?;
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let items = items(call, 1, &model, classes.item)?.unwrap_or_default();
    let found = model.recommend_for_items(&items, k, Filter::default());
    push_text(&mut call.rows()?, &model, classes.item, None, &found)?;
    Ok(None)
}

/// `persona._recommend_for_items(model, items, k)`: behind `<model>_recommend_for_items`.
pub(crate) fn typed_recommend_for_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    let loaded = by_relation(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let items = items(call, 1, &model, classes.item)?.unwrap_or_default();
    let found = model.recommend_for_items(&items, k, Filter::default());
    push_typed(&mut call.rows()?, &model, classes.item, &found)?;
    Ok(None)
}

/// `persona.similar_items(model, item_id, k, options)`; no rows for an item that is not known.
pub(crate) fn similar_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    no_options(call, 3)?;
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found =
        item(call, 1, &model, classes.item)?.map(|item| model.similar_items(item, k)).unwrap_or_default();
    push_text(&mut call.rows()?, &model, classes.item, None, &found)?;
    Ok(None)
}

/// `persona._similar_items(model, item_id, k)`: behind `<model>_similar_items`.
pub(crate) fn typed_similar_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    let loaded = by_relation(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found =
        item(call, 1, &model, classes.item)?.map(|item| model.similar_items(item, k)).unwrap_or_default();
    push_typed(&mut call.rows()?, &model, classes.item, &found)?;
    Ok(None)
}

/// `persona.similar_users(model, user_id, k, options)`; no rows for a user who is not known.
pub(crate) fn similar_users(call: &Call) -> Answer {
    let k = count(call, 2)?;
    no_options(call, 3)?;
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found =
        user(call, 1, &model, classes.user)?.map(|user| model.similar_users(user, k)).unwrap_or_default();
    let mut rows = call.rows()?;
    for (position, hit) in found.iter().enumerate() {
        let id = model.users.get(hit.row).unwrap_or(IdRef::Bytes(&[]));
        rows.push(&[datum(classes.user.text(id)), datum(hit.score as f32), datum(position as i32 + 1)])?;
    }
    Ok(None)
}

/// `persona.popular_items(model, k, options)`.
pub(crate) fn popular_items(call: &Call) -> Answer {
    let k = count(call, 1)?;
    no_options(call, 2)?;
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let found = model.popular(k, None, &|_| false);
    push_text(&mut call.rows()?, &model, classes.item, None, &found)?;
    Ok(None)
}

/// `persona.score(model, user_id, item_id)`; NULL where either is not known.
pub(crate) fn score(call: &Call) -> Answer {
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let classes = classes(&model)?;
    let (Some(user), Some(item)) =
        (user(call, 1, &model, classes.user)?, item(call, 2, &model, classes.item)?)
    else {
        return Ok(None);
    };
    Ok(model.score(user, item).and_then(|score| datum(score as f32)))
}

/// `persona.item_factors(model)`.
pub(crate) fn item_factors(call: &Call) -> Answer {
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let class = classes(&model)?.item;
    factors(call, model.items.len(), &|row| {
        Some((class.text(model.items.get(row)?), model.item_factors(row)?.to_vec()))
    })
}

/// `persona.user_factors(model)`.
pub(crate) fn user_factors(call: &Call) -> Answer {
    let loaded = by_name(call)?;
    let model = loaded.recommender()?;
    let class = classes(&model)?.user;
    factors(call, model.users.len(), &|row| {
        Some((class.text(model.users.get(row)?), model.user_factors(row)?.to_vec()))
    })
}

fn factors(call: &Call, count: usize, at: &dyn Fn(u32) -> Option<(String, Vec<f32>)>) -> Answer {
    let mut rows = call.rows()?;
    for (id, factors) in (0..count as u32).filter_map(at) {
        // Implicit models have no bias.
        rows.push(&[datum(id), datum(factors), None])?;
        pgrx::check_for_interrupts!();
    }
    Ok(None)
}

/// `persona.model_facts(model_id)`: the one row that the view of a model shows.
pub(crate) fn model_facts(call: &Call) -> Answer {
    let id: pgrx::Uuid = call.get(0).ok_or_else(|| null_argument("model_id"))?;
    let mut rows = call.rows()?;
    crate::lifecycle::push_facts(id, &mut rows)?;
    Ok(None)
}
