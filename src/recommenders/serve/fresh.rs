//! What a user has at this moment: the rows of the model's source, read with the rights of whoever asks and under the
//! snapshot of the statement, and taken as a training takes them.

use base::Control;
use base::ids::IdRef;
use recommenders::interactions::{InteractionsBuilder, Repeats};
use serde_json::Value;

use super::served::Served;
use crate::models::identity::Named;
use crate::models::owned::trained_from;
use crate::models::registry;
use crate::models::registry::scan::Seen;
use crate::pg::access::Identity;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::ids::{Class, Id, base_type, type_name};
use crate::pg::names::{literal, qualified_name, quote, shown};
use crate::pg::{settings, work};
use crate::recommenders::read::InteractionColumns;
use crate::source::Source;

/// Rows of one user from which on another thread sorts them.
const MANY: u64 = 50_000;

/// The items of a user that the model knows, rising, and how much of each.
pub(super) struct Live {
    pub(super) items: Vec<u32>,
    pub(super) values: Vec<f32>,
}

/// The rows of a user; nothing where there are none of items that the model knows.
pub(super) fn read(served: &Served<'_>, user: &Id) -> Result<Option<Live>> {
    let gone = || fail(Code::ERRCODE_UNDEFINED_OBJECT, "the model was dropped meanwhile");
    let model = registry::model(served.model_id, Seen::Statement)?.ok_or_else(gone)?;
    let name = qualified_name(model.relation).ok_or_else(gone)?;
    let named = Named { relation: model.relation, name };
    let text = |key: &str| model.spec.get(key).and_then(Value::as_str);
    let source = Source::open(trained_from(&named, &model)?)?;
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
                format!("column \"{name}\" of relation {} does not exist", shown(&source.name)),
            )
            .set_detail(format!("Model {} was trained from it.", shown(&named.name)))
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
            format!("the ids of relation {} have another type than those of the model", shown(&source.name)),
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
    let class = served.user;
    let clause = format!("WHERE {} = {}", quote(&columns.user.name), constant(class, user.borrow(), columns));
    let control = Control::new(settings::max_memory());
    let kinds = (columns.user_class.kind(), columns.item_class.kind());
    let rates = served.model.rates();
    let builder = InteractionsBuilder::new(kinds.0, kinds.1, columns.time.is_some(), &control)
        .repeats(if rates { Repeats::Newest } else { Repeats::Sum });
    // Nothing that somebody planted is found by the operators of the clause.
    let path = Identity::pinned_path();
    let (_, builder) = source.read_with(columns, &clause, builder, &control, 1, rates, &mut |_| ())?;
    drop(path);
    // Sorting the rows of a user of millions takes longer than an interrupt may wait.
    let interactions = match builder.rows() {
        0..MANY => builder.finish(1).or_report()?,
        _ => work::run(&control, || {}, || builder.finish(1))?,
    };
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

/// An id as a constant that an index on its column serves. An integer is a bigint whatever the column, and a word that is
/// none of an enum is NULL: the id of nobody is no error.
fn constant(class: Class, id: IdRef<'_>, columns: &InteractionColumns) -> String {
    let text = literal(&class.text(id));
    match class {
        Class::SmallInt | Class::Integer | Class::BigInt => format!("{text}::pg_catalog.int8"),
        Class::Enum => format!(
            "(SELECT word FROM pg_catalog.unnest(pg_catalog.enum_range(NULL::{})) word
              WHERE word::pg_catalog.text = {text})",
            type_name(base_type(columns.user.type_oid))
        ),
        _ => text,
    }
}
