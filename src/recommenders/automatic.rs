//! `persona.train_recommender`: tries the trainers on held-out rows, within a time, and trains the best of them.

mod candidates;

use std::time::{Duration, Instant};

use base::Control;
use pgrx::pg_sys;
use recommenders::interactions::Interactions;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::evaluate_options::EvaluateOptions;
use super::figures::{CUTOFFS, Scored};
use super::holdout::Prepared;
use super::request::{self, Request, column_arguments, last_arguments};
use super::selection::{Selected, Selection, SelectionContext};
use super::train::{self, expect};
use super::{WORD, features, kind};
use crate::models::identity::ModelRef;
use crate::models::locks;
use crate::models::prune::Keep;
use crate::models::registry::Metric;
use crate::models::registry::write::LogLine;
use crate::models::spec::Spec;
use crate::pg::call::{Answer, Call, null_argument};
use crate::pg::error::{Code, OrReport, Result, fail, words};
use crate::pg::interval;
use crate::pg::options::Options;
use crate::source::Source;
use candidates::{Candidate, Scale};

/// What `options` may hold.
pub(crate) const OPTIONS: [&str; 8] = [
    "algorithms",
    "item_features",
    "keep_log",
    "keep_versions",
    "segment_models",
    "segments",
    "threads",
    "user_features",
];

/// What `retrain` may change.
pub(crate) const RETRAIN: [&str; 3] = ["budget", "deploy", "seed"];

/// `persona.train_recommender(model, relation, user_column, item_column, …)`.
pub(crate) fn train_recommender(call: &Call) -> Answer {
    locks::writable(c"persona.train_recommender()");
    let mut spec = column_arguments(call)?;
    spec.insert("trainer".into(), "train_recommender".into());
    let budget = call.datum(6).ok_or_else(|| null_argument("budget"))?;
    spec.insert("budget".into(), interval::text(budget).into());
    spec.extend(last_arguments(call, 7, &["deploy"])?);
    run(call, call.required_text(0, "model")?.into(), call.required(1, "relation")?, spec.clone(), spec)
}

/// Trains from a spec: what the call was given, or what `retrain` made of the kept one.
pub(crate) fn run(
    call: &Call,
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    kept: Map<String, Value>,
) -> Answer {
    let (request, search) = Search::parse(model, relation, &spec, kept)?;
    train::train(call, &request, Box::new(search))
}

/// Checks that a spec fits the columns of a relation and the model of that name.
pub(crate) fn fits(name: &str, spec: &Map<String, Value>, source: &Source) -> Result<()> {
    let (request, _) = Search::parse(name.to_string().into(), source.relation, spec, Map::new())?;
    request::fit(name, spec, source, &request)
}

/// Measures what a version was trained by at a cutoff, without writing one.
pub(crate) fn measure(
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    ask: &EvaluateOptions,
) -> Result<Vec<Metric>> {
    let Some(spec) = settled(&spec, &spec) else { return Ok(Vec::new()) };
    (kind::of(&spec)?.measure)(model, relation, spec, ask)
}

/// The spec of a model whose trainer chooses, as one of the trainer that was chosen. What the model says of columns and
/// features may be newer than the choice.
pub(crate) fn settled(spec: &Map<String, Value>, used: &Map<String, Value>) -> Option<Map<String, Value>> {
    let chosen =
        used.get(CHOSEN)?.as_object().filter(|_| kind::of(spec).is_ok_and(|of| of.algorithm.is_none()))?;
    let mut options = Spec::new(chosen).object("options");
    let of_model = Spec::new(spec).object("options");
    options.extend(of_model.into_iter().filter(|(key, _)| OF_ANY.contains(&key.as_str())));
    let mut settled = chosen.clone();
    let own = |key: &str| !["trainer", "budget", CHOSEN].contains(&key);
    settled.extend(spec.iter().filter(|(key, _)| own(key)).map(|(key, value)| (key.clone(), value.clone())));
    settled.insert("options".into(), Value::Object(options));
    Some(settled)
}

/// Options that mean the same to the trainer that is chosen.
const OF_ANY: [&str; 6] =
    ["item_features", "keep_log", "keep_versions", "segment_models", "segments", "user_features"];

/// The fact of a version that holds the spec of what was chosen.
pub(crate) const CHOSEN: &str = "chosen";

/// The budget that the text of an interval means.
fn duration(text: &str) -> Result<Duration> {
    match interval::seconds(text).filter(|&seconds| seconds > 0.0) {
        // A century is as good as for ever.
        Some(seconds) => Ok(Duration::from_secs_f64(seconds.min(3.2e9))),
        None => Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"budget\" must be an interval above 0, got {text}"),
        )),
    }
}

/// Of fewer users' rows, what is held out is mostly chance: of these several parts are held out one after the other.
const ENOUGH_USERS: usize = 5000;
const MOST_SPLITS: usize = 3;

/// A choice among the trainers.
struct Search {
    model: ModelRef,
    relation: pg_sys::Oid,
    budget: Duration,
    /// The names of the algorithms that may be tried.
    allowed: Vec<&'static str>,
    /// Whether they were named.
    named: bool,
    /// Whether features of items or users are to be learned from.
    features: bool,
    /// What every candidate's spec holds.
    common: Map<String, Value>,
    has_time: bool,
    threads: usize,
}

impl Search {
    fn parse(
        model: ModelRef,
        relation: pg_sys::Oid,
        spec: &Map<String, Value>,
        kept: Map<String, Value>,
    ) -> Result<(Request, Search)> {
        let mut common = spec.clone();
        for key in ["trainer", "budget", "relation", "options"] {
            common.remove(key);
        }
        common.insert("holdout".into(), "auto".into());
        let whole = Map::from_iter(spec.clone().into_iter().chain([("holdout".into(), "auto".into())]));
        let spec = Spec::new(&whole);
        let given = spec.object("options");
        let options = Options::new(given.clone(), &OPTIONS)?;
        let features = features::asks(&whole);
        let named = Spec::new(&given).texts("algorithms")?.unwrap_or_default();
        let allowed = candidates::allowed(&named, features)?;
        let named = !named.is_empty();
        let most = crate::pg::settings::max_threads() as i64;
        let threads = options.integer("threads", 1, 64)?.unwrap_or(most).min(most) as usize;
        let budget = duration(&spec.text("budget")?.unwrap_or_else(|| "10 minutes".into()))?;
        let keep = Keep::of(&options)?;
        let has_time = spec.text("time_column")?.is_some();
        let request = Request::of(model.clone(), relation, &spec, keep, kept)?;
        Ok((request, Search { model, relation, budget, allowed, named, features, common, has_time, threads }))
    }

    /// The whole spec of a candidate.
    fn spec(&self, candidate: &Candidate) -> Map<String, Value> {
        let mut spec = self.common.clone();
        spec.extend(candidate.settings.clone());
        spec.insert("trainer".into(), candidate.trainer().into());
        if candidate.takes_threads() {
            spec.entry("options")
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
                .map(|options| options.insert("threads".into(), self.threads.into()));
        }
        if let (Some(form), Some(Value::Object(options))) = (candidate.form(), spec.get_mut("options")) {
            options.insert("form".into(), form.into());
        }
        spec
    }

    fn algorithm(&self, candidate: &Candidate) -> Result<Box<dyn Algorithm>> {
        let spec = self.spec(candidate);
        match kind::of(&spec)?.algorithm {
            Some(make) => make(self.model.clone(), self.relation, &spec),
            None => Err(fail(Code::ERRCODE_INTERNAL_ERROR, "a candidate that is no recommender")),
        }
    }
}

/// A candidate that was measured.
struct Tried {
    candidate: Candidate,
    scored: Scored,
    value: f64,
    /// The standard error of the value.
    error: f64,
    seconds: f64,
}

impl Selection for Search {
    fn name(&self) -> &'static str {
        WORD
    }

    fn wants_times(&self) -> bool {
        self.has_time
    }

    fn rates(&self) -> bool {
        false
    }

    fn splits(&self, users: usize) -> u32 {
        (ENOUGH_USERS / users.max(1)).clamp(1, MOST_SPLITS) as u32
    }

    fn expect(&self, _: &Control, _: &Interactions, _: bool) -> Result<()> {
        // Each candidate is asked by itself, and those that do not fit are passed over.
        Ok(())
    }

    fn choose(self: Box<Self>, scene: &mut SelectionContext<'_, '_>) -> Result<Selected> {
        let scale = Scale::of(scene.interactions, self.threads);
        let began = scene.training.started;
        let mut round = Round {
            search: &self,
            scale,
            scene,
            began,
            tried: Vec::new(),
            leader: None,
            passed: 0,
            crowded: false,
        };
        let span = round.scale.span().map(|span| span / round.scene.day);
        let first = candidates::first(&self.allowed, span);
        if self.features {
            round.note(format!("only {}: they learn from features", words(&self.allowed)), None, 0.0);
        }
        if round.scene.prepared.is_empty() {
            let chosen = round.untried(first)?;
            return scene.by_segment(chosen);
        }
        for candidate in first {
            // Where nothing was said of it: only where its full form has no room.
            if candidate.stands_in() && !self.named && !round.crowded {
                continue;
            }
            round.measure(candidate)?;
        }
        round.leader = round.best();
        while let Some(next) = round.next() {
            if !round.measure(next)? {
                break;
            }
            round.follow();
        }
        let chosen = round.answer()?;
        scene.by_segment(chosen)
    }
}

/// A choice under way.
struct Round<'a, 'b, 'c> {
    search: &'a Search,
    scale: Scale,
    scene: &'a mut SelectionContext<'b, 'c>,
    began: Instant,
    tried: Vec<Tried>,
    /// What is to be trained.
    leader: Option<usize>,
    /// Candidates that time or memory did not allow.
    passed: usize,
    /// Whether the full form of EASE was one that memory did not allow.
    crowded: bool,
}

impl Round<'_, '_, '_> {
    fn best(&self) -> Option<usize> {
        // Of equal ones the first: they come in the order of their cost.
        (0..self.tried.len())
            .reduce(|best, next| if self.tried[next].value > self.tried[best].value { next } else { best })
    }

    /// The next step from the leader.
    fn next(&self) -> Option<Candidate> {
        let tried: Vec<&Candidate> = self.tried.iter().map(|tried| &tried.candidate).collect();
        candidates::next(&self.tried.get(self.leader?)?.candidate, &tried)
    }

    /// The last step leads if it is better by more than a standard error (Breiman, Friedman, Olshen and Stone 1984): what is
    /// tried often enough wins by chance, and defaults are the better guess then.
    fn follow(&mut self) {
        let (Some(leader), Some(last)) = (self.leader, self.tried.len().checked_sub(1)) else { return };
        if self.tried[last].value > self.tried[leader].value + self.tried[leader].error {
            self.leader = Some(last);
        }
    }

    /// Measures a candidate, unless it takes too long or too much memory; whether it was measured.
    fn measure(&mut self, mut candidate: Candidate) -> Result<bool> {
        let algorithm = self.search.algorithm(&candidate)?;
        let held = self.scene.prepared.iter().map(Prepared::bytes).sum();
        let control = self.scene.training.control;
        let fits = expect(control, self.scene.interactions, &*algorithm, true, held).is_ok();
        // What it will take, and the final fit of the best of all.
        let own = self.expected_seconds(&candidate);
        let last = self.best().map_or(own, |best| self.tried[best].seconds.max(own));
        let tries = own * self.scene.prepared.len() as f64;
        let in_time = self.began.elapsed().as_secs_f64() + tries + last <= self.search.budget.as_secs_f64();
        if !fits || (!in_time && !candidate.is_cheap()) {
            self.passed += 1;
            self.crowded |= !fits && candidate.is_full();
            let why = if fits { "no time for" } else { "no memory for" };
            self.note(format!("{why} {}", candidate.title()), None, 0.0);
            return Ok(false);
        }
        let from = Instant::now();
        let mut figures = Vec::new();
        for prepared in &self.scene.prepared {
            match prepared.measure(self.scene.training, &*algorithm, &CUTOFFS)? {
                Ok(figure) => figures.push(figure),
                Err(error) => {
                    self.passed += 1;
                    let seconds = from.elapsed().as_secs_f64();
                    self.note(format!("{} failed: {error}", candidate.title()), None, seconds);
                    return Ok(false);
                }
            }
        }
        let seconds = from.elapsed().as_secs_f64() / figures.len().max(1) as f64;
        let count = figures.len().max(1) as f64;
        let value = figures.iter().filter_map(|(scored, _)| Some(scored.guard()?.1)).sum::<f64>() / count;
        let squares =
            figures.iter().filter_map(|(scored, _)| scored.standard_error()).map(|error| error * error);
        let error = squares.sum::<f64>().sqrt() / count;
        let Some((scored, used)) = figures.into_iter().next() else { return Ok(false) };
        candidate.used(&used);
        self.note(format!("try {}", candidate.title()), Some(value), seconds);
        self.tried.push(Tried { candidate, scored, value, error, seconds });
        Ok(true)
    }

    /// From what the same algorithm took before, or from the size of the data.
    fn expected_seconds(&self, candidate: &Candidate) -> f64 {
        let same = |tried: &&Tried| tried.candidate.algorithm == candidate.algorithm;
        match self.tried.iter().rev().find(same) {
            Some(before) => before.seconds * candidate.work() / before.candidate.work(),
            None => self.scale.seconds(candidate),
        }
    }

    fn note(&mut self, phase: String, validation: Option<f64>, seconds: f64) {
        crate::pg::notice::verbose(&match validation {
            Some(value) => format!("{phase}: {value:.4}, {seconds:.3} s"),
            None => phase.clone(),
        });
        let phase = phase.into();
        self.scene.training.log.push(LogLine { iteration: None, phase, loss: None, validation, seconds });
    }

    /// The first candidate that fits, where nothing could be held out.
    fn untried(self, first: Vec<Candidate>) -> Result<Selected> {
        // The last of the first ones is the most general.
        let Some(candidate) = first.into_iter().next_back() else {
            return Err(base::Error::NoData).or_report();
        };
        let algorithm = self.search.algorithm(&candidate)?;
        expect(self.scene.training.control, self.scene.interactions, &*algorithm, false, 0).or_report()?;
        let spec = self.search.spec(&candidate);
        Ok(Selected {
            algorithm,
            scored: None,
            reason: Some(format!("{} untried: no user has two items", candidate.title())),
            facts: Map::from_iter([(CHOSEN.to_string(), Value::Object(spec))]),
        })
    }

    fn answer(mut self) -> Result<Selected> {
        let Some(best) = self.leader else {
            return Err(fail(
                Code::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "no algorithm could be fitted within the memory and the time that are allowed",
            )
            .set_hint("Raise persona.max_memory or \"budget\", or read fewer rows."));
        };
        let reason = self.reason(best);
        let Tried { candidate, scored, .. } = self.tried.swap_remove(best);
        let algorithm = self.search.algorithm(&candidate)?;
        let spec = self.search.spec(&candidate);
        Ok(Selected {
            algorithm,
            scored: Some(scored),
            reason: Some(reason),
            facts: Map::from_iter([(CHOSEN.to_string(), Value::Object(spec))]),
        })
    }

    /// What was tried, the best of each algorithm, best first.
    fn reason(&self, best: usize) -> String {
        let mut of_each: Vec<&Tried> = Vec::new();
        for tried in &self.tried {
            match of_each.iter_mut().find(|other| other.candidate.algorithm == tried.candidate.algorithm) {
                Some(other) if tried.value > other.value => *other = tried,
                Some(_) => {}
                None => of_each.push(tried),
            }
        }
        of_each.sort_by(|a, b| b.value.total_cmp(&a.value));
        let list: Vec<String> =
            of_each.iter().map(|tried| format!("{} {:.4}", tried.candidate.algorithm, tried.value)).collect();
        let winner = self.tried[best].candidate.title();
        let left = match self.passed {
            0 => String::new(),
            passed => format!("; {passed} passed over"),
        };
        let splits = match self.scene.prepared.len() {
            1 => String::new(),
            splits => format!(" (means of {splits} splits)"),
        };
        let only = if self.search.features { " that learn from features" } else { "" };
        format!("{winner} of {} tried{only}: {}{splits}{left}", self.tried.len(), list.join(", "))
    }
}
