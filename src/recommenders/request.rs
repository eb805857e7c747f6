//! What a training of a recommender was asked for.

use pgrx::pg_sys;
use serde_json::Map;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::holdout::{HOLDOUTS, HoldoutChoice};
use super::read::InteractionColumns;
use super::{by_segment, features};
use crate::models::identity::ModelRef;
use crate::models::kind::Column;
use crate::models::prune::Keep;
use crate::models::spec::Spec;
use crate::models::train::target::same_types;
use crate::models::train::{DEPLOYS, DeployChoice};
use crate::pg::call::{Call, null_argument};
use crate::pg::error::Result;
use crate::pg::options::choose;
use crate::source::Source;

/// The columns of interactions as settings of a spec: those that all trainers of recommenders take, in this order.
pub(crate) const COLUMNS: [(&str, Column); 4] = [
    ("user_column", Column::Required),
    ("item_column", Column::Required),
    ("value_column", Column::Optional),
    ("time_column", Column::Optional),
];

/// Their arguments, which follow the model and the relation.
pub(crate) fn column_arguments(call: &Call) -> Result<Map<String, Value>> {
    let mut columns = Map::new();
    for (index, (key, column)) in (2..).zip(COLUMNS) {
        let name = call.name(index);
        if name.is_none() && column == Column::Required {
            return Err(null_argument(key));
        }
        columns.insert(key.into(), name.into());
    }
    Ok(columns)
}

/// Words that may come before the seed and the options at the end of a call, each 'auto' where it is NULL.
pub(crate) const LAST_WORDS: [&str; 2] = ["holdout", "deploy"];

/// The arguments from `first` on that end a call: these words, the seed and the options.
pub(crate) fn last_arguments(call: &Call, first: usize, words: &[&str]) -> Result<Map<String, Value>> {
    let mut spec = Map::new();
    for (index, key) in (first..).zip(words) {
        let word = call.text(index)?.unwrap_or_else(|| "auto".into());
        spec.insert((*key).into(), word.into());
    }
    let seed = first + words.len();
    spec.insert("seed".into(), call.get::<i64>(seed).unwrap_or(42).into());
    spec.insert("options".into(), Value::Object(call.object(seed + 1, "options")?));
    Ok(spec)
}

/// Checks that a spec is one of a trainer and fits the columns of a relation, the model of that name, and what tells of items
/// and users.
pub(crate) fn fits<A: Trains>(name: &str, spec: &Map<String, Value>, source: &Source) -> Result<()> {
    fit(name, spec, source, &A::parse(name.to_string().into(), source.relation, spec, Map::new())?.0)
}

/// The same of a request that was parsed.
pub(crate) fn fit(name: &str, spec: &Map<String, Value>, source: &Source, request: &Request) -> Result<()> {
    let columns = request.columns(source)?;
    features::open(&request.features, &columns)?;
    same_types(name, spec, &columns)
}

/// What every trainer of a recommender is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) model: ModelRef,
    pub(crate) relation: pg_sys::Oid,
    pub(crate) user_column: String,
    pub(crate) item_column: String,
    pub(crate) value_column: Option<String>,
    pub(crate) time_column: Option<String>,
    pub(crate) holdout: HoldoutChoice,
    pub(crate) deploy: DeployChoice,
    pub(crate) seed: i64,
    pub(crate) keep: Keep,
    /// Relations that tell of users and of items.
    pub(crate) features: [Option<features::FeatureRelation>; 2],
    /// Which segment a user has.
    pub(crate) segments: Option<by_segment::SegmentRelation>,
    /// What the next `retrain` begins with; `relation` is added by name.
    pub(crate) kept: Map<String, Value>,
}

impl Request {
    /// What a spec says of a trainer's request.
    pub(crate) fn of(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Spec<'_>,
        keep: Keep,
        mut kept: Map<String, Value>,
    ) -> Result<Request> {
        let options = spec.object("options");
        let features = features::asked(&options, &mut kept)?;
        let segments = by_segment::asked(&options, &mut kept)?;
        let text = |key| spec.text(key).map(Option::unwrap_or_default);
        Ok(Request {
            model,
            relation,
            user_column: text("user_column")?,
            item_column: text("item_column")?,
            value_column: spec.text("value_column")?,
            time_column: spec.text("time_column")?,
            holdout: choose("holdout", &text("holdout")?, &HOLDOUTS)?,
            deploy: choose("deploy", &text("deploy")?, &DEPLOYS)?,
            seed: spec.whole("seed")?.unwrap_or(42),
            keep,
            features,
            segments,
            kept,
        })
    }

    /// The source as the current user sees it, its columns checked.
    pub(crate) fn open(&self) -> Result<(Source, InteractionColumns)> {
        let source = Source::open(self.relation)?;
        let columns = self.columns(&source)?;
        Ok((source, columns))
    }

    fn columns(&self, source: &Source) -> Result<InteractionColumns> {
        source.interaction_columns(
            &self.user_column,
            &self.item_column,
            self.value_column.as_deref(),
            self.time_column.as_deref(),
        )
    }
}

/// An algorithm that a spec describes.
pub(crate) trait Trains: Algorithm + Sized + 'static {
    /// What a spec asks for; `kept` is what the next `retrain` begins with.
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Self)>;
}
