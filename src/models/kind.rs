//! The interface of a kind of model. The wings install theirs when the library is loaded; nothing in `models` knows which
//! there are.

use std::sync::OnceLock;

use base::Control;
use base::image::Image;
use pgrx::pg_sys;
use serde_json::{Map, Value};

use super::identity::{ModelRef, Named};
use super::images::Loaded;
use super::registry::{Metric, Model, Version};
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::names::shown;
use crate::pg::options::Options;
use crate::source::Source;

/// A kind of model.
pub(crate) trait Kind: Sync {
    /// The word of the registry.
    fn word(&self) -> &'static str;

    /// What such a model does, in a sentence that begins with "this model": `recommends`.
    fn does(&self) -> &'static str;

    /// The section of an image that only images of models like this one have.
    fn section(&self) -> u32;

    /// Checks what the sections of an image mean, on any thread: `Corrupted`, `Cancelled`.
    fn check(&self, image: &Image<'_>, control: &Control) -> base::Result<()>;

    /// The trainer of a name, if it makes models of this kind.
    fn trainer(&self, name: &str) -> Option<&'static Trainer>;

    // Capabilities. Each default refuses with this kind's word, or does nothing.

    /// Options that name relations beside the source.
    fn relations(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks what a spec's options say of these relations, and gives each its qualified name in `kept`.
    fn name_relations(&self, _options: &Map<String, Value>, _kept: &mut Map<String, Value>) -> Result<()> {
        Ok(())
    }

    /// 42P01 if one of these relations is gone.
    fn still_there(&self, _model: &str, _spec: &Map<String, Value>) -> Result<()> {
        Ok(())
    }

    /// Brings the tables beside a model in line with a stored version that goes live. The caller holds the deploy lock.
    fn go_live(&self, _named: &Named, _model: &Model, _version: &Version, _loaded: &Loaded) -> Result<()> {
        Ok(())
    }

    /// Drops what stands beside a model's view and is no table of it.
    fn drop_beside(&self, _named: &Named) -> Result<()> {
        Ok(())
    }

    /// The figures of a version.
    fn evaluate(&self, asked: Evaluation<'_>) -> Result<Vec<Metric>> {
        Err(cannot(asked.named, self.word(), "be evaluated"))
    }

    /// Makes a version from the live one and the rows that changed. The caller holds the training lock.
    fn update(&self, _call: &Call, named: Named, _model: Model) -> Answer {
        Err(cannot(&named, self.word(), "follow its rows")
            .set_hint("Bring it in line with its relation by persona.retrain()."))
    }

    /// 42809 unless triggers can queue what an update reads.
    fn check_follows(&self, named: &Named) -> Result<()> {
        Err(cannot(named, self.word(), "follow its source")
            .set_hint("Train it again by time: SELECT * FROM persona.retrain(...);"))
    }

    /// What `tune` needs.
    fn tuned(&self, named: &Named) -> Result<&'static dyn Tuned> {
        Err(cannot(named, self.word(), "be tuned"))
    }
}

/// Whose figures are asked for, and how.
pub(crate) struct Evaluation<'a> {
    pub(crate) named: &'a Named,
    pub(crate) model: Model,
    pub(crate) version: Version,
    /// The cutoff, at least 1.
    pub(crate) k: i32,
    pub(crate) options: Map<String, Value>,
}

/// A kind of model whose settings can be searched.
pub(crate) trait Tuned: Sync {
    /// The spec that trials change, of a model's spec and the facts of the version that serves.
    fn base(&self, spec: &Map<String, Value>, facts: &Map<String, Value>) -> Map<String, Value>;

    /// 22023 if a trial cannot be measured on so many parts.
    fn check_folds(&self, base: &Map<String, Value>, folds: i32) -> Result<()>;

    /// The algorithm that a spec asks for, checked; `None` if it has none of its own.
    fn algorithm(
        &self,
        named: &Named,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
    ) -> Result<Option<&'static str>>;

    /// Fits on all but held-out rows and measures on these, for each seed on another part; `each` says whether to go on.
    fn score(
        &self,
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        seeds: &[i64],
        each: &mut dyn FnMut(Score) -> bool,
    ) -> Result<()>;
}

/// What a trial reached on one part.
pub(crate) struct Score {
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) baseline: f64,
    /// Whether lower values are better.
    pub(crate) is_error: bool,
}

/// 42809 for what a kind of model cannot do.
fn cannot(named: &Named, word: &str, what: &str) -> pg_sys::panic::ErrorReport {
    fail(
        Code::ERRCODE_WRONG_OBJECT_TYPE,
        format!("model {} is of kind {word} and cannot {what}", shown(&named.name)),
    )
}

static KINDS: OnceLock<&'static [&'static dyn Kind]> = OnceLock::new();

/// Installs the kinds of all wings; called once, when the library is loaded.
pub(crate) fn install(kinds: &'static [&'static dyn Kind]) {
    let _ = KINDS.set(kinds);
}

fn installed() -> &'static [&'static dyn Kind] {
    KINDS.get().copied().unwrap_or_default()
}

/// The kind of a word of the registry; 0A000 if this library has none.
pub(crate) fn of(word: &str) -> Result<&'static dyn Kind> {
    installed().iter().copied().find(|kind| kind.word() == word).ok_or_else(|| newer("models of kind", word))
}

/// The kind of what an image holds; `UnknownKind` if this library has none.
pub(crate) fn of_image(image: &Image<'_>) -> base::Result<&'static dyn Kind> {
    for &kind in installed() {
        if image.optional_section::<u8>(kind.section())?.is_some() {
            return Ok(kind);
        }
    }
    Err(base::Error::UnknownKind)
}

/// 42809 for an image that does not hold what a function asks; `and` says what it lacks.
pub(crate) fn wrong_image(image: &Image<'_>, and: &str) -> pg_sys::panic::ErrorReport {
    match of_image(image).or_report() {
        Ok(kind) => fail(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("this model {} and {and}", kind.does())),
        Err(unknown) => unknown,
    }
}

/// The trainer of a spec; 0A000 if this library has none of its name.
pub(crate) fn trainer(spec: &Map<String, Value>) -> Result<&'static Trainer> {
    let name = spec.get("trainer").and_then(Value::as_str).unwrap_or_default();
    installed()
        .iter()
        .find_map(|kind| kind.trainer(name))
        .ok_or_else(|| newer("models that were trained by", &format!("persona.{name}()")))
}

/// 0A000 for what a later release wrote.
fn newer(what: &str, name: &str) -> pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, format!("{what} {name} need a newer pg_persona"))
        .set_hint("Install the release of pg_persona that made the model, on this server, too.")
}

/// Trains: the call that answers, model, relation, spec, and the spec that the next retraining begins with.
type Run = fn(&Call, ModelRef, pg_sys::Oid, Map<String, Value>, Map<String, Value>) -> Answer;

/// A trainer.
pub(crate) struct Trainer {
    pub(crate) name: &'static str,
    /// Settings that a retraining may change.
    pub(crate) settings: &'static [&'static str],
    /// Keys of `options`.
    pub(crate) options: &'static [&'static str],
    /// Settings that name columns, and whether they must.
    pub(crate) columns: &'static [(&'static str, Column)],
    /// Facts of a version that a spec made of it holds, too.
    pub(crate) facts: &'static [&'static str],
    pub(crate) run: Run,
    /// Checks that a spec fits the columns of a relation and the model of that name.
    pub(crate) fits: fn(&str, &Map<String, Value>, &Source) -> Result<()>,
}

impl Trainer {
    /// Puts settings into a spec, where this trainer looks for them.
    pub(crate) fn overlay(&self, spec: &mut Map<String, Value>, settings: Map<String, Value>) {
        for (key, value) in settings {
            if self.settings.contains(&key.as_str()) {
                spec.insert(key, value);
            } else if let Value::Object(options) =
                spec.entry("options").or_insert_with(|| Value::Object(Map::new()))
            {
                options.insert(key, value);
            }
        }
    }

    /// A model's spec with the settings that one of its versions was trained with.
    pub(crate) fn spec_of_version(
        &self,
        mut spec: Map<String, Value>,
        used: &Map<String, Value>,
    ) -> Map<String, Value> {
        let recorded = |key: &&&str| used.contains_key(**key);
        for key in self.settings.iter().chain(self.facts).filter(recorded) {
            spec.insert(key.to_string(), used[*key].clone());
        }
        if let Some(Value::Object(options)) = spec.get_mut("options") {
            for key in self.options.iter().filter(recorded) {
                options.insert(key.to_string(), used[*key].clone());
            }
        }
        spec
    }

    /// Settings that say where the rows come from.
    pub(crate) fn reads(&self) -> Vec<&'static str> {
        std::iter::once("relation").chain(self.columns.iter().map(|(name, _)| *name)).collect()
    }

    /// What a retraining may change, by name.
    pub(crate) fn changes(&self, given: Map<String, Value>) -> Result<Map<String, Value>> {
        let known: Vec<&str> = self.settings.iter().chain(self.options).copied().collect();
        Ok(Options::new(given, &known)?.into_map())
    }
}

/// What a setting that names columns may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Required,
    Optional,
    /// An array of names, or NULL.
    Many,
}
