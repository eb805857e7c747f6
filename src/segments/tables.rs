//! The tables beside a model of segments, as api.sql pins them: made once, by the first training, owned by the
//! model's owner, and from then on only ever changed row by row, so that grants, views over them and readers stay.

use pgrx::pg_sys;

use crate::models::identity::{self, Place};
use crate::models::outputs::check_free;
use crate::models::registry::Output;
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, quote, shown};
use crate::pg::sql::execute;
use crate::pg::{access, ids};
use crate::source::{Column, Source};

/// A column: name, type with constraints, comment.
pub(super) type Definition = (&'static str, &'static str, &'static str);

const MEMBERS: [Definition; 6] = [
    ("segment_id", "int", "segment that the row belongs to; NULL where it could not be assigned"),
    ("label", "text", "label of the segment"),
    ("distance", "float8", "distance to the centre of the segment, in the scaled space of the model"),
    ("model_version", "int NOT NULL", "version that last changed this row"),
    ("assigned_at", "timestamptz NOT NULL", "when it did"),
    ("reason", "text", "why the row has no segment"),
];

/// What members of an RFM model have besides.
pub(super) const RFM: [Definition; 6] = [
    ("recency_days", "float8", "days from the last order to the reference time of the version"),
    ("frequency", "bigint", "orders"),
    ("monetary", "float8", "sum of the amounts, refunds subtracted"),
    ("r_score", "int", "score of the recency, 1 to the number of bins; the highest is the most recent"),
    ("f_score", "int", "score of the frequency; the highest orders most often"),
    ("m_score", "int", "score of the monetary value; the highest spends most"),
];

const SEGMENTS: [Definition; 8] = [
    ("segment_id", "int PRIMARY KEY", "number of the segment from 1; stays through retrainings"),
    ("label", "text NOT NULL", "what it is called: generated, or set by persona.label_segment()"),
    ("members", "bigint NOT NULL", "rows that belong to it"),
    ("share", "float8 NOT NULL", "its part of all rows that belong to a segment, 0 to 1"),
    ("mean_distance", "float8", "mean distance of its members to its centre, in the scaled space"),
    ("model_version", "int NOT NULL", "version that last changed this row"),
    ("created_at", "timestamptz NOT NULL", "when the segment came up"),
    ("retired_at", "timestamptz", "when it went; NULL where it lives"),
];

const PROFILE: [Definition; 5] = [
    ("segment_id", "int", "number of the segment"),
    ("feature", "text", "column of the source"),
    ("mean", "float8 NOT NULL", "mean of the members, in the units of the source"),
    ("population_mean", "float8 NOT NULL", "mean of all rows"),
    ("z", "float8 NOT NULL", "(mean - population_mean) / population standard deviation"),
];

const HISTORY: [Definition; 4] = [
    ("segment_id", "int NOT NULL", "segment that the row belonged to"),
    ("previous_segment_id", "int", "segment before; NULL where there was none"),
    ("entered_at", "timestamptz", "from when on"),
    ("exited_at", "timestamptz", "until when; NULL where it still does"),
];

/// Names that the column of the ids cannot have, since the tables have columns of these names.
fn taken(besides: &'static [Definition]) -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().chain(besides).chain(&HISTORY).map(|(name, _, _)| *name)
}

/// 42701 for a column of ids that is named like a column of the tables.
pub(super) fn check_id(id: &Column, besides: &'static [Definition]) -> Result<()> {
    if taken(besides).any(|name| name == id.name) {
        return Err(fail(
            Code::ERRCODE_DUPLICATE_COLUMN,
            format!("the column of the ids cannot be named \"{}\"", id.name),
        )
        .set_detail("The tables beside the model have a column of that name.")
        .set_hint("Read from a view that gives the column another name."));
    }
    Ok(())
}

/// A table of the model: its columns but for the id, its key, and what it holds.
struct Shape {
    has_id: bool,
    columns: Vec<Definition>,
    key: Option<String>,
    comment: &'static str,
}

impl Shape {
    /// The shape of one of the tables; `None` for tables of other models.
    fn of(output: Output, id: &Column, besides: &[Definition]) -> Option<Shape> {
        let id = quote(&id.name);
        Some(match output {
            Output::Members => Shape {
                has_id: true,
                columns: MEMBERS.iter().chain(besides).copied().collect(),
                key: Some(id),
                comment: "every id of the source and its segment",
            },
            Output::Segments => Shape {
                has_id: false,
                columns: SEGMENTS.to_vec(),
                key: None,
                comment: "the segments, one row each, retired ones too",
            },
            Output::Profile => Shape {
                has_id: false,
                columns: PROFILE.to_vec(),
                key: Some("segment_id, feature".into()),
                comment: "what distinguishes each segment, feature by feature",
            },
            Output::History => Shape {
                has_id: true,
                columns: HISTORY.to_vec(),
                key: Some(format!("{id}, entered_at")),
                comment: "which id belonged to which segment from when to when",
            },
            Output::Recs | Output::Trials => return None,
        })
    }

    fn create(&self, name: &str, id: &Column) -> Result<()> {
        let quoted = quote(&id.name);
        let of = ids::type_name(id.type_oid);
        let id_column = format!("{quoted} {}{}", ids::stored_type(&of), id.collation_clause());
        let mut parts: Vec<String> = self.has_id.then_some(id_column).into_iter().collect();
        parts.extend(self.columns.iter().map(|(name, definition, _)| format!("{name} {definition}")));
        parts.extend(self.key.as_ref().map(|key| format!("PRIMARY KEY ({key})")));
        execute(&format!("CREATE TABLE {name} ({})", parts.join(", ")))?;
        execute(&format!("COMMENT ON TABLE {name} IS {}", literal(self.comment)))?;
        if self.has_id {
            execute(&format!("COMMENT ON COLUMN {name}.{quoted} IS {}", literal("id of the source")))?;
        }
        for (column, _, comment) in &self.columns {
            execute(&format!("COMMENT ON COLUMN {name}.{column} IS {}", literal(comment)))?;
        }
        Ok(())
    }

    /// 42P07 unless a table that is there already is one of these, of the same owner as the view.
    fn check(&self, view: pg_sys::Oid, table: &identity::Named, id: &Column) -> Result<()> {
        let found = Source::open(table.relation)?;
        let id_column = self.has_id.then_some((id.name.as_str(), ids::type_title(id.type_oid)));
        let others = self.columns.iter().map(|(name, definition, _)| {
            let of = definition.split(' ').next().unwrap_or_default();
            let title = match of {
                "int" => "integer",
                "float8" => "double precision",
                "timestamptz" => "timestamp with time zone",
                other => other,
            };
            (*name, title.to_string())
        });
        let same = found
            .columns()
            .iter()
            .map(|column| (column.name.as_str(), ids::type_title(column.type_oid)))
            .eq(id_column.into_iter().chain(others));
        if same && access::owner_of(table.relation) == access::owner_of(view) {
            return Ok(());
        }
        Err(fail(Code::ERRCODE_DUPLICATE_TABLE, format!("relation {} already exists", shown(&table.name)))
            .set_detail("It is no table of this model, or of another owner, or for ids of another type.")
            .set_hint("Rename or drop it."))
    }
}

/// Makes the tables of a model, or takes those over that a restore left beside its view; their oids.
pub(super) fn prepare(
    place: &Place,
    view: Option<pg_sys::Oid>,
    id: &Column,
    besides: &'static [Definition],
) -> Result<Vec<(Output, pg_sys::Oid)>> {
    let mut made = Vec::new();
    for output in Output::OF_SEGMENTS {
        let name = place.beside(&format!("_{}", output.word()));
        let Some(shape) = Shape::of(output, id, besides) else { continue };
        match (view, identity::lookup(&name)?) {
            (Some(view), Some(found)) => shape.check(view, &found, id)?,
            _ => {
                check_free(&name)?;
                shape.create(&name, id)?;
            }
        }
        match identity::lookup(&name)? {
            Some(named) => made.push((output, named.relation)),
            None => {
                return Err(fail(
                    Code::ERRCODE_UNDEFINED_TABLE,
                    format!("could not find the table {name} just made"),
                ));
            }
        }
    }
    Ok(made)
}
