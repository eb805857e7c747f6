//! Measuring what a spec asks for on held-out rows, without writing a version.

use std::sync::Arc;

use base::Control;
use pgrx::pg_sys;
use recommenders::interactions::Holdout;
use recommenders::interactions::Interactions;
use serde_json::Map;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::by_segment::{self, WithSegments};
use super::evaluate_options::{EvaluateOptions, SplitChoice, groups_of};
use super::figures::Scored;
use super::holdout::{HoldoutChoice, Prepared, holdout};
use super::read::InteractionColumns;
use super::request::{Request, Trains};
use super::train::{expect, read};
use crate::models::identity::ModelRef;
use crate::models::registry::Metric;
use crate::models::train::Training;
use crate::models::train::guard::GUARD_CUTOFF;
use crate::pg::error::{OrReport, Result};
use crate::pg::settings;
use crate::pg::work::GiveMemoryBack;

/// Reads the rows of now to measure a request on them, without writing anything. `open` says what is held out, and may
/// open more, before the first row is read; `body` measures. Nothing where `open` says nothing.
fn on_rows<B, T>(
    request: &Request,
    algorithm: &dyn Algorithm,
    open: impl FnOnce(&InteractionColumns, HoldoutChoice) -> Result<Option<B>>,
    body: impl for<'c> FnOnce(&mut Training<'c>, &Interactions, (bool, f64), B) -> Result<T>,
) -> Result<Option<T>> {
    let _memory = GiveMemoryBack::from_now();
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(&request.model, algorithm.name(), &control);
    let _identity = request.model.as_owner()?;
    let (source, columns) = request.open()?;
    let choice = if request.holdout == HoldoutChoice::None { HoldoutChoice::Auto } else { request.holdout };
    let Some(opened) = open(&columns, choice)? else { return Ok(None) };
    let (_, interactions) = read(&mut training, &source, &columns, algorithm.rates())?;
    expect(&control, &interactions, algorithm, true, 0).or_report()?;
    let times = (algorithm.wants_times(), columns.day());
    body(&mut training, &interactions, times, opened).map(Some)
}

/// What is asked of a request, on a split of the rows of now.
fn measured(request: &Request, algorithm: Arc<dyn Algorithm>, ask: &EvaluateOptions) -> Result<Vec<Metric>> {
    let rates = algorithm.rates();
    let open = |columns: &InteractionColumns, choice| {
        let holdout = match ask.split {
            Some(SplitChoice::User) => Some(Holdout::User),
            Some(SplitChoice::Holdout(choice)) => holdout(choice, columns.time.is_some())?,
            None => holdout(choice, columns.time.is_some())?,
        };
        let Some(holdout) = holdout else { return Ok(None) };
        if rates {
            ask.refuse_for_ratings()?;
        }
        let groups = ask.group.as_ref().map(|group| group.open(columns)).transpose()?;
        let segments = request.segments.as_ref().map(|asked| asked.open(columns)).transpose()?;
        Ok(Some((holdout, groups, segments)))
    };
    let found = on_rows(request, &*algorithm, open, |training, interactions, times, opened| {
        let (holdout, groups, segments) = opened;
        let Some(prepared) = Prepared::new(training, interactions, holdout, request.seed, times)? else {
            return Ok(Vec::new());
        };
        let groups = match groups {
            Some(groups) => groups_of(&groups, interactions, prepared.users())?,
            None => Vec::new(),
        };
        if let (Some(asked), Some(of)) = (&request.segments, segments) {
            let segments = by_segment::read(training, &of, interactions)?;
            let algorithm = WithSegments::new(algorithm.clone(), &segments, asked.own);
            let (algorithm, ..) =
                prepared.choose_segments(training, algorithm, &segments, asked.own, &[GUARD_CUTOFF])?;
            return prepared.ask(training, &algorithm, ask, &groups, request.seed);
        }
        let algorithm = &*algorithm;
        prepared.ask(training, algorithm, ask, &groups, request.seed)
    })?;
    Ok(found.unwrap_or_default())
}

/// Measures a request by what the guard goes by, for each seed on another split; `each` says whether to go on.
pub(crate) fn measure_splits(
    request: &Request,
    algorithm: &dyn Algorithm,
    seeds: &[i64],
    each: &mut dyn FnMut(&Scored) -> bool,
) -> Result<()> {
    let open = |columns: &InteractionColumns, choice| holdout(choice, columns.time.is_some());
    on_rows(request, algorithm, open, |training, interactions, times, holdout| {
        for &seed in seeds {
            let Some(prepared) = Prepared::new(training, interactions, holdout, seed, times)? else { break };
            let scored = prepared.measure(training, algorithm, &[GUARD_CUTOFF])?.or_report()?.0;
            if !each(&scored) {
                break;
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Measures a spec without writing a version.
pub(crate) fn measure<A: Trains>(
    model: ModelRef,
    relation: pg_sys::Oid,
    spec: Map<String, Value>,
    ask: &EvaluateOptions,
) -> Result<Vec<Metric>> {
    let (request, algorithm) = A::parse(model, relation, &spec, Map::new())?;
    measured(&request, Arc::new(algorithm), ask)
}
