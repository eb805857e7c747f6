//! What a user has at this moment: the rows of the model's source, read with the rights of whoever asks and under the
//! snapshot of the statement, and taken as a training takes them.

use algorithms::Control;
use algorithms::ids::IdRef;
use algorithms::interactions::InteractionsBuilder;
use serde_json::Value;

use super::served::Served;
use crate::error::{Code, OrReport, Result, fail};
use crate::identity::{self, Named};
use crate::ids::{Class, Id};
use crate::lifecycle::trained_from;
use crate::outputs::literal;
use crate::registry::scan::Seen;
use crate::source::{InteractionColumns, Source};
use crate::{registry, settings};

/// The items of a user that the model knows, rising, and how much of each.
pub(super) struct Live {
    pub(super) items: Vec<u32>,
    pub(super) values: Vec<f32>,
}

/// The rows of a user; nothing where there are none of items that the model knows.
pub(super) fn read(served: &Served<'_>, user: &Id) -> Result<Option<Live>> {
    let gone = || fail(Code::ERRCODE_UNDEFINED_OBJECT, "the model was dropped meanwhile");
    let model = registry::model(served.model_id, Seen::Statement)?.ok_or_else(gone)?;
    let name = identity::qualified_name(model.relation).ok_or_else(gone)?;
    let named = Named { relation: model.relation, name };
    let text = |key: &str| model.spec.get(key).and_then(Value::as_str);
    if text("feedback") == Some("explicit") {
        return Err(fail(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "fresh => true is not supported for a model of ratings yet",
        )
        .set_hint("Bring the model in line with the rows of now: persona.retrain()."));
    }

    let source = Source::open(trained_from(&named, &model.spec)?)?;
    let advice = || {
        format!(
            "Name the columns of now: SELECT persona.alter_model({}, column_map => ...);",
            literal(&named.name)
        )
    };
    for key in ["user_column", "item_column", "value_column", "time_column"] {
        if let Some(name) = text(key).filter(|name| source.column(name).is_err()) {
            return Err(fail(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation {} does not exist", identity::shown(&source.name)),
            )
            .set_detail(format!("Model {} was trained from it.", identity::shown(&named.name)))
            .set_hint(advice()));
        }
    }
    let (user_column, item_column) =
        (text("user_column").unwrap_or_default(), text("item_column").unwrap_or_default());
    let columns =
        source.interaction_columns(user_column, item_column, text("value_column"), text("time_column"))?;
    if (columns.user_class, columns.item_class) != (served.user, served.item) {
        return Err(fail(
            Code::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "the ids of relation {} have another type than those of the model",
                identity::shown(&source.name)
            ),
        )
        .set_hint(advice()));
    }
    rows(served, &source, &columns, user)
}

fn rows(
    served: &Served<'_>,
    source: &Source,
    columns: &InteractionColumns,
    user: &Id,
) -> Result<Option<Live>> {
    let condition =
        format!("{} = {}", identity::quote(&columns.user.name), constant(served.user, user.borrow()));
    let control = Control::new(settings::max_memory());
    let kinds = (columns.user_class.kind(), columns.item_class.kind());
    let builder = InteractionsBuilder::new(kinds.0, kinds.1, columns.time.is_some(), &control);
    let (_, builder) = source.read_where(columns, &condition, builder, &control, 1, &mut |_| ())?;
    let interactions = builder.finish(1).or_report()?;
    let mut live = Live { items: Vec::new(), values: Vec::new() };
    // Both dictionaries are in the order of the ids: the rows of the model rise, too.
    for (item, &value) in (0..).zip(&interactions.item_users.values) {
        let known = interactions.items.view().get(item).and_then(|id| served.model.items.find(id));
        if let Some(row) = known {
            live.items.push(row);
            live.values.push(value);
        }
    }
    Ok((!live.items.is_empty()).then_some(live))
}

/// An id as a constant that an index on its column serves. An integer is a bigint whatever the column: one beyond the
/// type of the column is the id of nobody, no error.
fn constant(class: Class, id: IdRef<'_>) -> String {
    let text = literal(&class.text(id));
    if class.is_integer() { format!("{text}::pg_catalog.int8") } else { text }
}
