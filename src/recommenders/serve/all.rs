//! `persona.recommend_all`: the recommendations of every user as a table beside the model, which changes only where
//! they differ.

use base::Control;
use pgrx::{Spi, pg_sys};
use serde_json::Value;

use super::count;
use super::served::by_relation;
use crate::models::identity::{self, Named, Place, as_owner};
use crate::models::outputs::{check_at_once, check_free, copy_grants};
use crate::models::registry::scan::Seen;
use crate::models::registry::stored::id_type;
use crate::models::registry::{self, Model, Output, models};
use crate::models::{deploy, locks};
use crate::pg::access::Identity;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::ids::stored_type;
use crate::pg::names::{literal, qualified_name, quote, shown};
use crate::pg::sql::{argument, bulk, execute};
use crate::pg::{settings, work};
use crate::recommenders::WORD;
use crate::source::Source;

/// Rows that are answered at a time: a few megabytes, and below a tenth of a second.
const ROWS: usize = 1 << 17;

/// Users that are answered at a time at most.
const USERS: usize = 8192;

/// The most items for each user.
const MOST: usize = 10_000;

/// Columns of the table besides those of the ids.
const TAKEN: [&str; 5] = ["rank", "score", "source", "model_version", "computed_at"];

/// `persona._recommend_all(model, k, users, items)`: the rows of the table; the arrays tell the types of the ids.
pub(crate) fn rows(call: &Call) -> Answer {
    let k = count(call, 1)?;
    by_relation(call, |served| {
        let mut rows = call.rows()?;
        let (user_type, item_type) = (rows.column_type(0), rows.column_type(2));
        let control = Control::unlimited();
        // Settings are read on the main thread.
        let threads = settings::max_threads();
        let users = served.model.users.len() as u32;
        let longest = k.min(served.model.items.len()).max(1);
        let step = (ROWS / longest).clamp(1, USERS) as u32;
        for first in (0..users).step_by(step as usize) {
            let block = first..users.min(first + step);
            let found = work::run(
                &control,
                || {},
                || served.model.recommend_all(block.clone(), k, threads, &control),
            )?;
            for (user, found) in block.zip(&found) {
                crate::pg::memory::interrupts();
                let user = Some(served.user_datum(user, user_type)?);
                for (position, each) in found.iter().enumerate() {
                    rows.push(&[
                        user,
                        datum(position as i32 + 1),
                        Some(served.item_datum(each.item, item_type)?),
                        datum(each.score as f32),
                        datum(each.source.name()),
                    ])?;
                }
            }
        }
        Ok(())
    })?;
    Ok(None)
}

/// `persona.recommend_all(model, k)`: brings the table in line with the live version; the rows that it has now.
pub(crate) fn recommend_all(call: &Call) -> Answer {
    locks::writable(c"persona.recommend_all()");
    let name = call.required_text(0, "model")?;
    let k: i32 = call.required(1, "k")?;
    if !(1..=MOST as i32).contains(&k) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"k\" must be between 1 and {MOST}, got {k}"),
        ));
    }
    let (named, model) = deploy::locked(&name)?;
    if model.kind != WORD {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model {} recommends nothing", shown(&name)),
        ));
    }
    registry::not_outrun(model.model_id)?;
    let live = registry::live(model.model_id, Seen::Latest)?.ok_or_else(|| identity::not_deployed(&named))?;
    let _owner = as_owner(&named)?;
    let table = Table::find_or_create(&named, &model)?;
    Ok(datum(table.fill(&named, k, live.version)?))
}

/// The table, and how its columns are called and typed.
struct Table {
    relation: pg_sys::Oid,
    name: String,
    user: String,
    item: String,
    user_type: String,
    item_type: String,
}

impl Table {
    fn find_or_create(named: &Named, model: &Model) -> Result<Table> {
        let text = |key: &str| model.spec.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let (user, item) = (text("user_column"), text("item_column"));
        let mut table = Table {
            relation: pg_sys::InvalidOid,
            name: String::new(),
            user: quote(&user),
            item: quote(&item),
            user_type: id_type(&model.spec, "user_type")?,
            item_type: id_type(&model.spec, "item_type")?,
        };
        let known = registry::outputs(model.model_id, Seen::Latest)?;
        let known = known.into_iter().find(|(output, _)| *output == Output::Recs);
        // Its name as it is once nobody can change it any more, and its columns as they are called by now: the model may
        // have others.
        if let Some((_, relation)) = known.filter(|(_, relation)| identity::hold(*relation)) {
            let columns = Source::open(relation)?;
            let named = |at: usize| columns.columns().get(at).map(|column| quote(&column.name));
            table.user = named(0).unwrap_or_default();
            table.item = named(2).unwrap_or_default();
            table.name = columns.name;
            table.relation = relation;
            return Ok(table);
        }
        if let Some(name) = TAKEN.iter().find(|name| **name == user || **name == item) {
            return Err(fail(
                Code::ERRCODE_DUPLICATE_COLUMN,
                format!("the column of the ids cannot be named \"{name}\""),
            )
            .set_detail("The table of the recommendations has a column of that name.")
            .set_hint("Read from a view that gives the column another name."));
        }
        let Some(place) = Place::of(named.relation) else { return Err(identity::no_model(&named.name)) };
        table.name = place.beside("_recs");
        check_free(&table.name)?;
        table.create()?;
        let made = identity::lookup(&table.name)?.ok_or_else(|| {
            fail(Code::ERRCODE_UNDEFINED_TABLE, format!("could not find the table {} just made", table.name))
        })?;
        copy_grants(named.relation, &table.name)?;
        models::insert_outputs(model.model_id, &[(Output::Recs, made.relation)])?;
        table.relation = made.relation;
        Ok(table)
    }

    fn create(&self) -> Result<()> {
        let Table { name, user, item, user_type, item_type, .. } = self;
        execute(&format!(
            "CREATE TABLE {name} ({user} {}, rank int, {item} {} NOT NULL, score real NOT NULL, source text NOT NULL,
               model_version int NOT NULL, computed_at timestamptz NOT NULL, PRIMARY KEY ({user}, rank))",
            stored_type(user_type),
            stored_type(item_type)
        ))?;
        let comments = [
            (user.as_str(), "the user"),
            ("rank", "place of the item, from 1"),
            (item.as_str(), "the item"),
            ("score", "as recommend answers it"),
            ("source", "what the score rests on: model"),
            ("model_version", "version that last changed this row"),
            ("computed_at", "when it did"),
        ];
        execute(&format!(
            "COMMENT ON TABLE {name} IS {}",
            literal("the best items of every user, as of the last persona.recommend_all()")
        ))?;
        comments.iter().try_for_each(|(column, comment)| {
            execute(&format!("COMMENT ON COLUMN {name}.{column} IS {}", literal(comment)))
        })
    }

    fn fill(&self, named: &Named, k: i32, version: i32) -> Result<i64> {
        let Table { name, user, item, user_type, item_type, relation } = self;
        check_at_once(&[*relation])?;
        let _path = Identity::pinned_path();
        bulk();
        let model = qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
        let rows = format!(
            "SELECT r.user_id, r.rank, r.item_id, r.score, r.source
             FROM persona._recommend_all({}::regclass, $1, NULL::{user_type}[], NULL::{item_type}[]) r",
            literal(&model)
        );
        let statement = format!(
            "WITH new AS MATERIALIZED ({rows}),
             differ AS MATERIALIZED (
               SELECT n.*, m.{user} AS former_user, m.rank AS former_rank FROM new n
               FULL JOIN {name} m ON m.{user} = n.user_id AND m.rank = n.rank
               WHERE n.user_id IS NULL OR m.{user} IS NULL
                  OR (m.{item}, m.score, m.source) IS DISTINCT FROM (n.item_id, n.score, n.source)),
             gone AS (DELETE FROM {name} m USING differ n
                      WHERE n.user_id IS NULL AND m.{user} = n.former_user AND m.rank = n.former_rank),
             changed AS (UPDATE {name} m SET {item} = n.item_id, score = n.score, source = n.source,
                           model_version = $2, computed_at = clock_timestamp()
                         FROM differ n WHERE m.{user} = n.user_id AND m.rank = n.rank),
             fresh AS (INSERT INTO {name} ({user}, rank, {item}, score, source, model_version, computed_at)
                       SELECT n.user_id, n.rank, n.item_id, n.score, n.source, $2, clock_timestamp()
                       FROM differ n WHERE n.former_user IS NULL)
             SELECT count(*) FROM new"
        );
        let arguments = [argument(k), argument(version)];
        let rows =
            Spi::connect_mut(|client| client.update(&statement, None, &arguments)?.first().get_one::<i64>());
        rows.map(Option::unwrap_or_default).map_err(|error| {
            fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not write the recommendations: {error}"))
        })
    }
}
