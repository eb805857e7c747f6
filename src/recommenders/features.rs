//! The options `item_features` and `user_features`: which relations tell what of items and users.

use features::RowsBuilder;
use pgrx::pg_sys;
use recommenders::content::Placed;
use serde_json::{Map, Value, json};

use super::read::InteractionColumns;
use super::read::content::{Content, Read};
use crate::models::identity;
use crate::models::train::Training;
use crate::pg::error::{Code, Result, fail, named_by};
use crate::pg::names::{literal, qualified_name, shown};
use crate::pg::options::Options;

/// The options, users first.
pub(crate) const KEYS: [&str; 2] = ["user_features", "item_features"];

/// Whether a spec asks for any.
pub(crate) fn asks(spec: &Map<String, Value>) -> bool {
    let options = spec.get("options");
    KEYS.iter().any(|key| options.and_then(|options| options.get(key)).is_some_and(|given| !given.is_null()))
}

/// A relation by an option.
#[derive(Debug, Clone)]
pub(crate) struct FeatureRelation {
    relation: pg_sys::Oid,
    id_column: String,
    columns: Vec<String>,
}

/// What a spec asks for. In `kept`, which the next retraining begins with, the relation gets its qualified name.
pub(crate) fn asked(
    options: &Map<String, Value>,
    kept: &mut Map<String, Value>,
) -> Result<[Option<FeatureRelation>; 2]> {
    let mut all = [None, None];
    for (key, asked) in KEYS.into_iter().zip(&mut all) {
        let Some(given) = options.get(key).filter(|given| !given.is_null()) else { continue };
        let found = parse(key, given)?;
        keep_name(kept, key, given, found.relation);
        *asked = Some(found);
    }
    Ok(all)
}

/// Gives the relation of an option its qualified name in `kept`.
pub(super) fn keep_name(kept: &mut Map<String, Value>, key: &str, given: &Value, relation: pg_sys::Oid) {
    let same = kept.get_mut("options").and_then(|options| options.get_mut(key)).filter(|kept| *kept == given);
    if let (Some(Value::Object(kept)), Some(name)) = (same, qualified_name(relation)) {
        kept.insert("relation".into(), name.into());
    }
}

fn parse(key: &str, given: &Value) -> Result<FeatureRelation> {
    let wrong = |text: String| fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, text);
    let usage = format!(
        "Write {{\"{key}\": {{\"relation\": \"...\", \"id_column\": \"...\", \"columns\": [\"...\"]}}}}."
    );
    let Value::Object(given) = given else {
        return Err(wrong(format!("option \"{key}\" must be an object, got {given}")).set_hint(usage));
    };
    let missing = |part: &str| wrong(format!("option \"{key}\" needs \"{part}\"")).set_hint(usage.clone());
    let options = Options::new(given.clone(), &["columns", "id_column", "relation"])?;
    let relation = options.text("relation")?.ok_or_else(|| missing("relation"))?;
    let id_column = options.text("id_column")?.ok_or_else(|| missing("id_column"))?;
    let columns: Vec<String> = options.texts("columns")?.unwrap_or_default();
    if columns.is_empty() {
        return Err(missing("columns"));
    }
    let relation = identity::lookup(&relation)?.ok_or_else(|| gone(key, &relation))?.relation;
    Ok(FeatureRelation { relation, id_column, columns })
}

pub(super) fn gone(key: &str, relation: &str) -> pgrx::pg_sys::panic::ErrorReport {
    named_by(key)(fail(Code::ERRCODE_UNDEFINED_TABLE, format!("relation {} does not exist", shown(relation))))
}

/// 42P01 where a relation that a spec was kept with is gone. A temporary one is: in this session its name may be another one's.
pub(crate) fn still_there(model: &str, spec: &Map<String, Value>) -> Result<()> {
    for key in KEYS {
        let relation = spec.get("options").and_then(|options| options.get(key)?.get("relation")?.as_str());
        let Some(relation) = relation else { continue };
        if relation.starts_with("pg_temp.") || identity::lookup(relation)?.is_none() {
            return Err(gone(key, relation).set_hint(format!(
                "Name another one: SELECT persona.alter_model({}, column_map => '{{\"{key}\": {{\"relation\": ...}}}}');",
                literal(model)
            )));
        }
    }
    Ok(())
}

/// Opens what was asked for, as the current user, and checks the columns.
pub(crate) fn open(
    asked: &[Option<FeatureRelation>; 2],
    columns: &InteractionColumns,
) -> Result<[Option<Content>; 2]> {
    let sides = [(&columns.user, columns.user_class), (&columns.item, columns.item_class)];
    let mut opened = [None, None];
    for (((key, asked), side), opened) in KEYS.iter().zip(asked).zip(sides).zip(&mut opened) {
        if let Some(FeatureRelation { relation, id_column, columns }) = asked {
            *opened = Some(Content::open(*relation, id_column, columns, side).map_err(named_by(key))?);
        }
    }
    Ok(opened)
}

/// Reads what was opened.
pub(crate) fn read(training: &mut Training<'_>, opened: &[Option<Content>; 2]) -> Result<Read> {
    let control = training.control;
    let mut all = [None, None];
    for (content, read) in opened.iter().zip(&mut all) {
        let Some(content) = content else { continue };
        let builder = training.phase_here("read features", |progress| {
            let mut report = |rows| progress.read(rows, control.used());
            content.read(control, &mut report)
        })?;
        *read = Some(training.phase("sort features", 0, || RowsBuilder::finish(builder))?);
    }
    Ok(all)
}

/// Whether a version with these facts has learned from features.
pub(crate) fn learned(facts: &Map<String, Value>) -> bool {
    SIDES.iter().any(|side| facts.contains_key(&format!("{side}_features_lambda")))
}

const SIDES: [&str; 2] = ["user", "item"];

/// Takes out of a version's facts what [`facts`] has put there.
pub(crate) fn forget(facts: &mut Map<String, Value>) {
    for side in SIDES {
        for fact in [
            format!("content_{side}s"),
            format!("{side}_features_lambda"),
            format!("{side}_features_unexplained"),
        ] {
            facts.remove(&fact);
        }
    }
}

/// What a version says of those who joined.
pub(crate) fn facts(placed: &Placed) -> Map<String, Value> {
    let mut facts = Map::new();
    let sides = [(&placed.users, &placed.user_mapping), (&placed.items, &placed.item_mapping)];
    for (side, (rows, mapping)) in SIDES.into_iter().zip(sides) {
        if let Some(mapping) = mapping {
            facts.insert(format!("content_{side}s"), rows.len().into());
            facts.insert(format!("{side}_features_lambda"), mapping.lambda.into());
            facts.insert(format!("{side}_features_unexplained"), json!(mapping.unexplained));
        }
    }
    facts
}
