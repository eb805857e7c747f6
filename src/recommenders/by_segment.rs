//! The options `segments` and `segment_models`: which segment each user has, and which segments get a model of their own beside
//! that of all users. A training with them makes one version, served as one.

use std::sync::Arc;

use base::image::AlignedBytes;
use base::need::Need;
use base::{Control, Csr, Error};
use pgrx::pg_sys;
use recommenders::content::Placed;
use recommenders::evaluate::{self, Part};
use recommenders::interactions::{Interactions, transpose};
use recommenders::partition::{Others, Partition, PartitionBuilder, Slice, cut};
use recommenders::popularity;
use recommenders::recommender::{OfSegments, encode_segment};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Data, Fitted, Learned};
use super::features::keep_name;
use super::holdout::Times;
use super::read::InteractionColumns;
use super::train::Fits;
use crate::models::identity;
use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Output};
use crate::models::train::Training;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::names::{literal, qualified_name, shown};
use crate::pg::options::{Options, choose};
use crate::pg::settings;
use crate::source::Groups;

/// The option that says which segment a user has.
pub(crate) const KEY: &str = "segments";

/// How many segments a version knows.
const KNOWN: &str = "segments_known";

/// Which segments get a model of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentModels {
    /// Those whose held-out rows it ranks better than the model of all by more than a standard error; where nothing is held
    /// out, all.
    Auto,
    Always,
    /// None: segments say what is popular among their users.
    Never,
}

/// The words of `segment_models`.
const OWN: [(&str, SegmentModels); 3] =
    [("auto", SegmentModels::Auto), ("always", SegmentModels::Always), ("never", SegmentModels::Never)];

/// What a spec asks for.
#[derive(Debug, Clone)]
pub(crate) struct SegmentRelation {
    relation: pg_sys::Oid,
    id_column: String,
    segment_column: String,
    pub(crate) own: SegmentModels,
}

/// Whether a spec asks for segments.
pub(crate) fn asks(spec: &Map<String, Value>) -> bool {
    let given = spec.get("options").and_then(|options| options.get(KEY));
    given.is_some_and(|given| !given.is_null())
}

/// Whether a version was trained with segments.
pub(crate) fn learned(hyperparameters: &Map<String, Value>) -> bool {
    hyperparameters.contains_key(KNOWN)
}

/// What a spec asks for. In `kept`, which the next retraining begins with, the relation or the model gets its qualified name.
pub(crate) fn asked(
    options: &Map<String, Value>,
    kept: &mut Map<String, Value>,
) -> Result<Option<SegmentRelation>> {
    let words = Options::new(options.clone(), &options.keys().map(String::as_str).collect::<Vec<_>>())?;
    let own = words.text("segment_models")?.map(|word| choose("segment_models", &word, &OWN)).transpose()?;
    let Some(given) = options.get(KEY).filter(|given| !given.is_null()) else {
        return match own {
            Some(_) => Err(wrong("option \"segment_models\" needs \"segments\"".into())),
            None => Ok(None),
        };
    };
    let own = own.unwrap_or(SegmentModels::Auto);
    if let Value::String(model) = given {
        let (named, found) = identity::model(model, Seen::Latest)?;
        let members = registry::outputs(found.model_id, Seen::Latest)?;
        let members = members.into_iter().find(|(output, _)| *output == Output::Members);
        let id_column = found.spec.get("id_column").and_then(Value::as_str);
        let (Some((_, relation)), Some(id_column)) = (members, id_column) else {
            return Err(fail(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("model {} has no segments", shown(&named.name)),
            )
            .set_hint(
                "Name a model of persona.train_rfm() or persona.train_kmeans() in option \"segments\".",
            ));
        };
        let name = qualified_name(named.relation).unwrap_or(named.name);
        if let Some(kept) = kept.get_mut("options").and_then(|options| options.get_mut(KEY)) {
            *kept = name.into();
        }
        let (id_column, segment_column) = (id_column.to_string(), "segment_id".to_string());
        return Ok(Some(SegmentRelation { relation, id_column, segment_column, own }));
    }
    let Value::Object(object) = given else { return Err(wrong(unusable(given)).set_hint(USAGE)) };
    let object = Options::new(object.clone(), &["id_column", "relation", "segment_column"])?;
    let part = |key: &str| {
        let found = object.text(key)?;
        found.ok_or_else(|| wrong(format!("option \"{KEY}\" needs \"{key}\"")).set_hint(USAGE))
    };
    let (relation, id_column, segment_column) =
        (part("relation")?, part("id_column")?, part("segment_column")?);
    let relation = identity::lookup(&relation)?
        .ok_or_else(|| crate::recommenders::features::gone(KEY, &relation))?
        .relation;
    keep_name(kept, KEY, given, relation);
    Ok(Some(SegmentRelation { relation, id_column, segment_column, own }))
}

const USAGE: &str = "Write {\"segments\": \"model of segments\"} or {\"segments\": {\"relation\": \"...\", \"id_column\": \"...\", \"segment_column\": \"...\"}}.";

fn unusable(given: &Value) -> String {
    format!("option \"{KEY}\" must be the name of a model or an object, got {given}")
}

fn wrong(text: String) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, text)
}

impl SegmentRelation {
    /// Opens the relation as the current user and checks its columns.
    pub(crate) fn open(&self, columns: &InteractionColumns) -> Result<Groups> {
        let of = (&columns.user, columns.user_class);
        Groups::open(self.relation, &self.id_column, &self.segment_column, of, [KEY, KEY])
    }
}

/// The segments of a training's users.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    partition: Partition,
    others: Others,
    threads: usize,
}

/// Reads who has which segment.
pub(crate) fn read(
    training: &mut Training<'_>,
    groups: &Groups,
    interactions: &Interactions,
) -> Result<Arc<Segments>> {
    let control = training.control;
    let mut builder = PartitionBuilder::new(interactions.users.view(), control).or_report()?;
    let names = training.phase_here("read segments", |progress| {
        let mut rows = 0;
        groups.read(&mut |id, group| {
            rows += 1;
            if rows % (1 << 14) == 0 {
                progress.read(rows, control.used());
            }
            builder.put(id, group).or_report()
        })
    })?;
    let threads = settings::max_threads();
    let (partition, others) = training.phase("sort segments", 0, || builder.finish(names))?;
    Ok(Arc::new(Segments { partition, others, threads }))
}

impl Segments {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.partition.names.len()
    }

    pub(crate) fn name(&self, segment: usize) -> &str {
        &self.partition.names[segment]
    }

    /// The positions of the users of a segment among some users, both rising.
    pub(crate) fn positions(&self, segment: usize, users: &[u32]) -> Vec<u32> {
        let of = |&(_, &user): &(u32, &u32)| self.partition.of_user[user as usize] as usize == segment;
        (0..).zip(users).filter(of).map(|(position, _)| position).collect()
    }

    /// More than the model of all takes, at most: every segment may have every item.
    fn need(&self, algorithm: &dyn Algorithm, items: usize, entries: usize) -> u64 {
        let mut sizes = vec![0; self.len()];
        for &segment in &self.partition.of_user {
            if let Some(size) = sizes.get_mut(segment as usize) {
                *size += 1;
            }
        }
        // Nobody has more items than the segment has entries.
        let mean = entries / self.partition.of_user.len().max(1) + 1;
        let of = |&users: &usize| 2 * algorithm.need(users, items.min(users * mean), entries).result;
        sizes.iter().map(of).sum::<u64>() + 24 * entries as u64
    }
}

/// What was learned of a segment alone.
pub(crate) struct Model {
    learned: Learned,
    fold: (f64, f64),
    /// Entries of each of its items.
    counts: Vec<u32>,
}

/// What was learned of all and of some segments.
pub(crate) struct BySegment {
    pub(crate) whole: Learned,
    slices: Vec<Slice>,
    models: Vec<Option<Model>>,
    segments: Arc<Segments>,
}

impl BySegment {
    pub(crate) fn bytes(&self) -> u64 {
        let of = |model: &Model| model.learned.bytes() + model.counts.len() as u64 * 4;
        let slices = self.slices.iter().map(Slice::bytes).sum::<u64>();
        self.whole.bytes() + slices + self.models.iter().flatten().map(of).sum::<u64>()
    }

    /// Which segments have a model.
    pub(crate) fn own(&self) -> Vec<bool> {
        self.models.iter().map(Option::is_some).collect()
    }

    /// Users and items went to other rows.
    pub(crate) fn follow(&mut self, placed: &Placed, users: usize) {
        if let Some(trained) = &placed.trained_users {
            Arc::make_mut(&mut self.segments).partition.spread(trained, users);
        }
        for slice in &mut self.slices {
            slice.spread(placed.trained_users.as_deref(), placed.trained_items.as_deref());
        }
    }

    /// What is learned, as it is measured.
    pub(crate) fn measured<T>(
        &self,
        fold: (f64, f64),
        body: impl FnOnce(evaluate::Learned<'_>) -> base::Result<T>,
    ) -> base::Result<T> {
        let BySegment { whole, slices, models, segments } = self;
        let Some(whole) = whole.ranks(fold) else { return Err(Error::NoData) };
        let mut parts = Vec::with_capacity(models.len());
        for (model, slice) in models.iter().zip(slices) {
            parts.push(match model {
                Some(Model { learned, fold, counts }) => {
                    learned.ranks(*fold).map(|learned| Part { slice, learned, counts })
                }
                None => None,
            });
        }
        body(evaluate::Learned::Parts { whole: &whole, of_user: &segments.partition.of_user, parts: &parts })
    }

    /// The image of each segment.
    pub(crate) fn images(
        &self,
        interactions: &Interactions,
        control: &Control,
    ) -> base::Result<Vec<AlignedBytes>> {
        let threads = &self.segments.threads;
        let mut images = Vec::with_capacity(self.slices.len());
        for (slice, model) in self.slices.iter().zip(&self.models) {
            let (user_items, _) =
                cut(&interactions.user_items, None, slice, interactions.items.len(), control)?;
            let item_users = transpose(&user_items, slice.items.len(), *threads, control)?;
            let held = user_items.bytes() + item_users.bytes();
            images.push(match model {
                Some(Model { learned, fold, .. }) => {
                    let sides = (&user_items, &item_users);
                    encode_segment(slice, sides, learned.view(), *fold, *threads, control)?
                }
                None => {
                    let popular = popularity::plain(&item_users, control)?;
                    let nobody = Csr { offsets: vec![0], ..Csr::default() };
                    let nothing = Csr { offsets: vec![0; slice.items.len() + 1], ..Csr::default() };
                    let learned = recommenders::recommender::Learned::Popular(&popular);
                    let image =
                        encode_segment(slice, (&nobody, &nothing), learned, (0.0, 0.0), *threads, control);
                    control.give(popular.bytes());
                    image?
                }
            });
            control.give(held);
        }
        Ok(images)
    }

    /// What an image holds of the segments.
    pub(crate) fn of_segments<'a>(&'a self, images: &'a [AlignedBytes]) -> OfSegments<'a> {
        let Segments { partition, others, .. } = &*self.segments;
        OfSegments { partition, images, members: &others.ids, of_member: &others.parts }
    }
}

/// An algorithm on all users, and once more on those of each of some segments.
pub(crate) struct WithSegments {
    inner: Arc<dyn Algorithm>,
    segments: Arc<Segments>,
    own: Vec<bool>,
}

impl WithSegments {
    pub(crate) fn new(
        inner: Arc<dyn Algorithm>,
        segments: &Arc<Segments>,
        own: SegmentModels,
    ) -> WithSegments {
        WithSegments {
            inner,
            segments: segments.clone(),
            own: vec![own != SegmentModels::Never; segments.len()],
        }
    }

    /// The same for those segments alone that a measured fit has shown to gain.
    pub(crate) fn of(self, own: Vec<bool>) -> WithSegments {
        WithSegments { own, ..self }
    }

    fn fit_one(&self, slice: &Slice, data: &Data<'_>, control: &Control) -> base::Result<Option<Model>> {
        let (items, threads) = (data.item_users.rows(), self.segments.threads);
        let (user_items, times) =
            cut(data.user_items, data.times.map(|times| times.values), slice, items, control)?;
        let item_users = transpose(&user_items, slice.items.len(), threads, control)?;
        let held = user_items.bytes()
            + item_users.bytes()
            + times.as_ref().map_or(0, |times| times.len() as u64 * 8);
        let mut model = None;
        if user_items.entries() > 0 {
            let times = data.times.and_then(|all| Some(Times { values: times.as_deref()?, day: all.day }));
            let part = Data { user_items: &user_items, item_users: &item_users, times };
            let before = control.used();
            model = match self.inner.fit(&part, control) {
                Ok(Fitted { learned, regularization, alpha, .. }) => {
                    let counts: Vec<u32> =
                        item_users.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as u32).collect();
                    control.take(counts.len() as u64 * 4, "counting the interactions", "Read fewer rows.")?;
                    Some(Model { learned, fold: (regularization, alpha), counts })
                }
                // Too few users to learn from: they have the model of all.
                Err(Error::Diverged { .. }) => {
                    control.give(control.used().saturating_sub(before));
                    None
                }
                Err(error) => return Err(error),
            };
        }
        control.give(held);
        Ok(model)
    }
}

impl Algorithm for WithSegments {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn iterations(&self) -> usize {
        self.inner.iterations()
    }

    fn factors(&self) -> usize {
        self.inner.factors()
    }

    fn need(&self, users: usize, items: usize, entries: usize) -> Need {
        let Need { peak, result } = self.inner.need(users, items, entries);
        let more = self.segments.need(&*self.inner, items, entries);
        Need { peak: peak + more, result: result + more }
    }

    fn wants_times(&self) -> bool {
        self.inner.wants_times()
    }

    fn rates(&self) -> bool {
        self.inner.rates()
    }

    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted> {
        let whole = self.inner.fit(data, control)?;
        // Of these rows alone: which items a segment has must not tell what was held out.
        let slices = self.segments.partition.slices(data.item_users, control)?;
        let mut models = Vec::with_capacity(slices.len());
        for (slice, &own) in slices.iter().zip(&self.own) {
            models.push(if own { self.fit_one(slice, data, control)? } else { None });
        }
        let segments = self.segments.clone();
        let learned = BySegment { whole: whole.learned, slices, models, segments };
        Ok(Fitted { learned: Learned::BySegment(Box::new(learned)), ..whole })
    }

    fn settle(&self, items: usize, fits: Fits<'_>) {
        self.inner.settle(items, fits);
    }

    fn remark(&self) -> Option<(String, String)> {
        self.inner.remark()
    }

    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value> {
        let mut facts = self.inner.hyperparameters(fitted);
        let own = match &fitted.learned {
            Learned::BySegment(learned) => learned.own(),
            _ => Vec::new(),
        };
        facts.insert(KNOWN.into(), own.len().into());
        facts.insert("segments_with_model".into(), own.into_iter().filter(|own| *own).count().into());
        facts
    }
}

/// 42P01 where a relation that a spec was kept with is gone. A temporary one is: in this session its name may be another one's.
pub(crate) fn still_there(model: &str, spec: &Map<String, Value>) -> Result<()> {
    let relation = spec.get("options").and_then(|options| options.get(KEY)?.get("relation")?.as_str());
    match relation {
        Some(relation) if relation.starts_with("pg_temp.") || identity::lookup(relation)?.is_none() => {
            Err(crate::recommenders::features::gone(KEY, relation).set_hint(format!(
                "Name another one: SELECT persona.alter_model({}, column_map => '{{\"{KEY}\": {{\"relation\": ...}}}}');",
                literal(model)
            )))
        }
        _ => Ok(()),
    }
}
