//! The serving functions of recommenders: ids in, ids out. No SPI, no planner, no transaction id; `fresh` alone reads rows.

pub(crate) mod all;
mod eligible;
pub(crate) mod explain;
mod fresh;
mod list_options;
pub(crate) mod served;

use std::collections::HashSet;

use recommenders::answers::{Filter, Recommendation};

use crate::pg::call::{Answer, Call, datum, null_argument};
use crate::pg::error::{Code, Result, fail};
use crate::pg::memory::{self, Held};
use crate::pg::options::Options;
use crate::pg::{arrays, work};
use list_options::ListOptions;
use served::{Served, by_name, by_relation};

/// `k` of an argument: 22023 for NULL and below 0.
fn count(call: &Call, index: usize) -> Result<usize> {
    let k: Option<i32> = call.get(index);
    k.and_then(|k| usize::try_from(k).ok()).ok_or_else(|| {
        let got = k.map_or("NULL".to_string(), |k| k.to_string());
        fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("\"k\" must be at least 0, got {got}"))
    })
}

/// Bytes that `similar_users` may take for each user of the model.
const OF_A_USER: usize = 96;

fn no_options(call: &Call, index: usize) -> Result<()> {
    Options::new(call.object(index, "options")?, &[]).map(|_| ())
}

/// Where the arguments of the forms of `recommend` stand, whether the user's own items may come, and whether those are
/// read now.
struct RecommendArguments {
    k: usize,
    exclude: usize,
    candidates: usize,
    keep_seen: bool,
    fresh: bool,
    wishes: ListOptions,
}

impl RecommendArguments {
    fn find(&self, call: &Call, served: &Served<'_>) -> Result<Vec<Recommendation>> {
        let id = served.user_id(call, 1)?;
        let user = id.as_ref().and_then(|id| served.model.users.find(id.borrow()));
        let exclude = served.items(call, self.exclude)?.unwrap_or_default();
        let candidates = served.items(call, self.candidates)?;
        let segment = self.wishes.segment(served).or_else(|| served.segment(user, id.as_ref()));
        let keep_seen = self.keep_seen;
        let filter = Filter {
            exclude: &exclude,
            candidates: candidates.as_deref(),
            keep_seen,
            segment,
            control: None,
        };
        let live = match id.filter(|_| self.fresh) {
            Some(id) => fresh::read(served, &id)?,
            None => None,
        };
        self.wishes.open(served)?.list(self.k, |n| match &live {
            Some(live) => {
                here(filter, |filter| served.model.recommend_fresh(&live.items, &live.values, n, filter))
            }
            None => here(filter, |filter| served.model.recommend_with(user, n, filter)),
        })
    }
}

/// Asks on the main thread, under a control that interrupts cancel.
fn here(
    filter: Filter<'_>,
    ask: impl Fn(Filter<'_>) -> base::Result<Vec<Recommendation>>,
) -> Result<Vec<Recommendation>> {
    work::here(|control| ask(Filter { control: Some(control), ..filter }))
}

/// `remove_seen` and `fresh`, which follow each other, as the values of `keep_seen` and `fresh`.
fn switches(call: &Call, first: usize) -> (bool, bool) {
    (call.get(first) == Some(false), call.get(first + 1) == Some(true))
}

/// `persona.recommend(model, user_id, k, exclude, candidates, remove_seen, fresh, options)`.
pub(crate) fn recommend(call: &Call) -> Answer {
    let (k, (keep_seen, fresh)) = (count(call, 2)?, switches(call, 5));
    by_name(call, |served| {
        let wishes = ListOptions::read(call, 7)?;
        let asked = RecommendArguments { k, exclude: 3, candidates: 4, keep_seen, fresh, wishes };
        let found = asked.find(call, served)?;
        served.push_text(&mut call.rows()?, &[], &found, asked.wishes.offset)
    })?;
    Ok(None)
}

/// `persona.recommend_as(model, user_id, item_type, k, exclude, candidates, remove_seen, fresh, options)`.
pub(crate) fn recommend_as(call: &Call) -> Answer {
    let (k, (keep_seen, fresh)) = (count(call, 3)?, switches(call, 6));
    by_name(call, |served| {
        let wishes = ListOptions::read(call, 8)?;
        let asked = RecommendArguments { k, exclude: 4, candidates: 5, keep_seen, fresh, wishes };
        let found = asked.find(call, served)?;
        served.push_typed(&mut call.rows()?, &found, asked.wishes.offset)
    })?;
    Ok(None)
}

/// `persona._recommend(model, user_id, k, exclude, candidates)`: behind `<model>_recommend`. The arrays tell the
/// type of the items; a NULL of that type would not pass the constraints of a domain.
pub(crate) fn typed_recommend(call: &Call) -> Answer {
    let wishes = ListOptions::default();
    let asked = RecommendArguments {
        k: count(call, 2)?,
        exclude: 3,
        candidates: 4,
        keep_seen: false,
        fresh: false,
        wishes,
    };
    by_relation(call, |served| served.push_typed(&mut call.rows()?, &asked.find(call, served)?, 0))?;
    Ok(None)
}

/// `persona.recommend_for_users(model, user_ids, k, options)`. The users are read one by one, each answered once.
pub(crate) fn recommend_for_users(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_name(call, |served| {
        let wishes = ListOptions::read(call, 3)?;
        let mut live = wishes.open(served)?;
        let mut rows = call.rows()?;
        let (mut answered, mut held) = (HashSet::new(), Held::new("a list of users"));
        let Some(users) = call.datum(1) else { return Ok(()) };
        arrays::each(users, &mut |element, type_oid| {
            let id = served.user.read(element, type_oid)?;
            if answered.contains(&id) {
                return Ok(());
            }
            held.take(id.bytes())?;
            answered.try_reserve(1).map_err(|_| memory::refused_for("a list of users"))?;
            let user = served.model.users.find(id.borrow());
            let segment = wishes.segment(served).or_else(|| served.segment(user, Some(&id)));
            let filter = Filter { segment, ..Filter::default() };
            let found =
                live.list(k, |n| here(filter, |filter| served.model.recommend_with(user, n, filter)))?;
            served.push_text(&mut rows, &[served.text_of_user(&id)], &found, wishes.offset)?;
            answered.insert(id);
            memory::interrupts();
            Ok(())
        })
    })?;
    Ok(None)
}

fn for_items(
    call: &Call,
    served: &Served<'_>,
    k: usize,
    wishes: &ListOptions,
) -> Result<Vec<Recommendation>> {
    let items = served.items(call, 1)?.unwrap_or_default();
    let filter = Filter { segment: wishes.segment(served), ..Filter::default() };
    let ranking = |n| here(filter, |filter| served.model.recommend_for_items(&items, n, filter));
    wishes.open(served)?.list(k, ranking)
}

/// `persona.recommend_for_items(model, items, k, options)`.
pub(crate) fn recommend_for_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_name(call, |served| {
        let wishes = ListOptions::read(call, 3)?;
        let found = for_items(call, served, k, &wishes)?;
        served.push_text(&mut call.rows()?, &[], &found, wishes.offset)
    })?;
    Ok(None)
}

/// `persona._recommend_for_items(model, items, k)`: behind `<model>_recommend_for_items`.
pub(crate) fn typed_recommend_for_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_relation(call, |served| {
        let found = for_items(call, served, k, &ListOptions::default())?;
        served.push_typed(&mut call.rows()?, &found, 0)
    })?;
    Ok(None)
}

fn similar(call: &Call, served: &Served<'_>, k: usize) -> Result<Vec<Recommendation>> {
    Ok(served.item(call, 1)?.map(|item| served.model.similar_items(item, k)).unwrap_or_default())
}

/// `persona.similar_items(model, item_id, k, options)`; no rows for an item that is not known.
pub(crate) fn similar_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_name(call, |served| {
        let wishes = ListOptions::of_items(call, 3)?;
        let mut rows = call.rows()?;
        let Some(item) = served.item(call, 1)? else { return Ok(()) };
        let found = wishes.open(served)?.list(k, |most| Ok(served.model.similar_items(item, most)))?;
        served.push_text(&mut rows, &[], &found, wishes.offset)
    })?;
    Ok(None)
}

/// `persona._similar_items(model, item_id, k)`: behind `<model>_similar_items`.
pub(crate) fn typed_similar_items(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_relation(call, |served| served.push_typed(&mut call.rows()?, &similar(call, served, k)?, 0))?;
    Ok(None)
}

/// `persona.similar_users(model, user_id, k, options)`; no rows for a user who is not known.
pub(crate) fn similar_users(call: &Call) -> Answer {
    let k = count(call, 2)?;
    by_name(call, |served| {
        no_options(call, 3)?;
        let users = served.model.users.len();
        memory::reserve(users.saturating_mul(OF_A_USER), "an answer of the model")?;
        let found = served.user(call, 1)?.map(|user| served.model.similar_users(user, k)).unwrap_or_default();
        let mut rows = call.rows()?;
        for (position, hit) in found.iter().enumerate() {
            rows.push(&[
                datum(served.user_text(hit.row)),
                datum(hit.score as f32),
                datum(position as i32 + 1),
            ])?;
        }
        Ok(())
    })?;
    Ok(None)
}

/// `persona.popular_items(model, k, options)`.
pub(crate) fn popular_items(call: &Call) -> Answer {
    let k = count(call, 1)?;
    by_name(call, |served| {
        let wishes = ListOptions::read(call, 2)?;
        let filter = Filter { segment: wishes.segment(served), ..Filter::default() };
        let found = wishes.open(served)?.list(k, |most| Ok(served.model.recommend(None, most, filter)))?;
        served.push_text(&mut call.rows()?, &[], &found, wishes.offset)
    })?;
    Ok(None)
}

/// `persona.score(model, user_id, item_id)`; NULL where either is not known.
pub(crate) fn score(call: &Call) -> Answer {
    by_name(call, |served| {
        let (Some(user), Some(item)) = (served.user(call, 1)?, served.item(call, 2)?) else {
            return Ok(None);
        };
        Ok(served.model.score(user, item).and_then(|score| datum(score as f32)))
    })
}

/// `persona.item_factors(model)`.
pub(crate) fn item_factors(call: &Call) -> Answer {
    by_name(call, |served| {
        let (model, count) = (&served.model, served.model.items.len());
        factors(call, count, &|row| Some((served.item_text(row), model.item_parts(row)?)))
    })
}

/// `persona.user_factors(model)`.
pub(crate) fn user_factors(call: &Call) -> Answer {
    by_name(call, |served| {
        let (model, count) = (&served.model, served.model.users.len());
        factors(call, count, &|row| Some((served.user_text(row), model.user_parts(row)?)))
    })
}

/// An id, its factors, and the bias that a model of ratings has.
type Row<'a> = (String, (&'a [f32], Option<f32>));

fn factors<'a>(call: &Call, count: usize, at: &dyn Fn(u32) -> Option<Row<'a>>) -> Answer {
    let mut rows = call.rows()?;
    for (id, (factors, bias)) in (0..count as u32).filter_map(at) {
        rows.push(&[datum(id), datum(factors.to_vec()), bias.and_then(datum)])?;
        memory::interrupts();
    }
    Ok(None)
}

/// `persona.model_facts(model_id)`: the one row that the view of a model shows.
pub(crate) fn model_facts(call: &Call) -> Answer {
    let id: pgrx::Uuid = call.get(0).ok_or_else(|| null_argument("model_id"))?;
    crate::models::lifecycle::push_facts(id, &mut call.rows()?)?;
    Ok(None)
}
