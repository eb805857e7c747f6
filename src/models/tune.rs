//! `persona.tune`: searches for the settings of a model. The procedure is SQL and commits between trials; these are
//! its steps, each of which reads from the table of the trials what was done before.

mod space;
mod table;

use std::time::Instant;

use pgrx::JsonB;
use serde_json::{Map, Value};
use tuning::{Method, Outcome, below_median, next};

use super::identity::{self, ModelRef, Named, as_owner};
use super::owned::{owned, source_of};
use super::registry::scan::Seen;
use super::registry::{self, Model, Version, models};
use super::train::DEPLOYS;
use super::train::guard::figure;
use super::{kind, lifecycle, locks};
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{qualified_name, shown};
use crate::pg::options::{Options, choose};
use crate::pg::{access, notice};
use space::Space;
use table::{METHODS, Measured, Search, Table, space_of};

/// Trials of a search at most.
const MOST_TRIALS: i32 = 1000;

/// Holdouts of a trial at most.
const MOST_FOLDS: i32 = 20;

/// What `options` may hold.
const OPTIONS: [&str; 2] = ["levels", "restart"];

/// The model whose view is the first argument, under its tuning lock: names may change between the steps.
fn locked(call: &Call) -> Result<(Named, Model)> {
    let (named, model) = identity::model_of_view(call.required(0, "model")?, Seen::Latest)?;
    access::require_owner(named.relation, &named.name)?;
    lock((named, model))
}

fn lock((named, model): (Named, Model)) -> Result<(Named, Model)> {
    locks::tuning(named.relation, &named.name)?;
    match registry::model(model.model_id, Seen::Latest)? {
        Some(model) => Ok((named, model)),
        None => Err(identity::no_model(&named.name)),
    }
}

/// The version that is live, or the newest one.
fn version_of(named: &Named, model: &Model) -> Result<Version> {
    let live = registry::live(model.model_id, Seen::Latest)?.map(|live| live.version);
    registry::version(model.model_id, live, Seen::Latest)?.ok_or_else(|| identity::not_deployed(named))
}

/// A base with settings.
fn with(base: &Map<String, Value>, settings: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut spec = base.clone();
    kind::trainer(base)?.overlay(&mut spec, settings.clone());
    Ok(spec)
}

/// `persona._tune_begin(model, trials, method, space, folds, deploy, seed, options)`: checks what was asked for, and makes
/// the table or sees that it holds trials of the same search.
pub(crate) fn begin(call: &Call) -> Answer {
    locks::writable(c"persona.tune()");
    let range = |index, name: &str, most: i32| {
        let given: i32 = call.required(index, name)?;
        if (1..=most).contains(&given) {
            return Ok(given);
        }
        Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"{name}\" must be between 1 and {most}, got {given}"),
        ))
    };
    range(1, "trials", MOST_TRIALS)?;
    let method = call.required_text(2, "method")?;
    choose("method", &method, &METHODS)?;
    let folds = range(4, "folds", MOST_FOLDS)?;
    choose("deploy", &call.required_text(5, "deploy")?, &DEPLOYS)?;
    let options = Options::new(call.object(7, "options")?, &OPTIONS)?;
    let (named, model) = lock(owned(call)?)?;
    let tuned = kind::of(&model.kind)?.tuned(&named)?;
    let version = version_of(&named, &model)?;
    let base = tuned.base(&model.spec, &version.hyperparameters);
    tuned.check_folds(&base, folds)?;
    let text = |key: &str| base.get(key).and_then(Value::as_str).unwrap_or_default();
    let search = Search {
        trainer: text("trainer").into(),
        method,
        levels: options.integer("levels", 1, 100)?.unwrap_or(3),
        seed: call.required(6, "seed")?,
        folds: folds.into(),
        given: call.datum(3).is_some().then(|| call.object(3, "space")).transpose()?,
    };
    let written = match &search.given {
        Some(given) => given.clone(),
        None => space::usual(&base, &version.hyperparameters)?,
    };
    let space = Space::parse(&written, kind::trainer(&base)?)?;
    let relation = source_of(&named, &model.kind, &base)?;
    for (name, value) in space.extremes() {
        tuned.algorithm(&named, relation, &with(&base, &Map::from_iter([(name, value)]))?)?;
    }
    if !identity::hold(named.relation) {
        return Err(identity::no_model(&named.name));
    }
    let _owner = as_owner(&named)?;
    let restart = options.boolean("restart")?.unwrap_or(false);
    match Table::find(&model)? {
        None => Table::create(&named, &model)?.begin(&search, &written)?,
        Some(table) if restart || table.rows()?.is_empty() => table.begin(&search, &written)?,
        Some(table) if table.search()?.0 != search => return Err(table.another()),
        Some(_) => {}
    }
    Ok(datum(named.relation))
}

/// The table that `begin` made, its search, and the base of the trials. As the owner of the model.
fn going_on(named: &Named, model: &Model) -> Result<(Table, Search, Space, Map<String, Value>)> {
    let table = Table::find(model)?.ok_or_else(|| {
        fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("model {} is not being tuned", shown(&named.name)),
        )
        .set_hint("CALL persona.tune(...) searches for its settings.")
    })?;
    let version = version_of(named, model)?;
    let base = kind::of(&model.kind)?.tuned(named)?.base(&model.spec, &version.hyperparameters);
    let (search, space) = space_of(&table, kind::trainer(&base)?)?;
    Ok((table, search, space, base))
}

/// `persona._tune_next(model, trials, error)`: ends a trial that is not measured any more, by this error or for nobody
/// knows what, and begins the next one; its number, or NULL where the search has so many or all there are.
pub(crate) fn begin_trial(call: &Call) -> Answer {
    let (named, model) = locked(call)?;
    let trials: i32 = call.required(1, "trials")?;
    let _owner = as_owner(&named)?;
    let (table, search, space, base) = going_on(&named, &model)?;
    table.fail_running(&call.text(2)?.unwrap_or_else(|| "interrupted".into()))?;
    let rows = table.rows()?;
    if rows.len() as i64 >= i64::from(trials) {
        return Ok(None);
    }
    let tried = table.points(&rows, &space)?;
    let method = search.method()?;
    let trial = rows.last().map_or(0, |row| row.trial) + 1;
    // What serves now comes first: nothing that is not better than it shall win.
    if rows.is_empty()
        && matches!(method, Method::Random | Method::Tpe)
        && let Some(serving) = serving(&named, &model, &base)?
    {
        table.insert(trial, space.of(&serving), true)?;
        return Ok(datum(trial));
    }
    let Some(values) = next(&space.domains(), &tried, method, search.seed as u64) else { return Ok(None) };
    table.insert(trial, space.settings(&values), false)?;
    Ok(datum(trial))
}

/// The settings of the version that serves, unless another algorithm than that of the base made it.
fn serving(named: &Named, model: &Model, base: &Map<String, Value>) -> Result<Option<Map<String, Value>>> {
    let version = version_of(named, model)?;
    let relation = source_of(named, &model.kind, base)?;
    let algorithm = kind::of(&model.kind)?.tuned(named)?.algorithm(named, relation, base)?;
    Ok((algorithm == Some(version.algorithm.as_str())).then_some(version.hyperparameters))
}

/// `persona._tune_measure(model, trial)`: fits a running trial on all but held-out rows, measures on these, and writes
/// what came of it.
pub(crate) fn measure(call: &Call) -> Answer {
    let from = Instant::now();
    let (named, model) = locked(call)?;
    let trial: i32 = call.required(1, "trial")?;
    let _owner = as_owner(&named)?;
    let (table, search, _, base) = going_on(&named, &model)?;
    let (mine, others): (Vec<_>, Vec<_>) =
        table.rows()?.into_iter().partition(|row| row.trial == trial && row.state == "running");
    let Some(mine) = mine.into_iter().next() else {
        return Err(fail(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            format!("trial {trial} of model {} is not running", shown(&named.name)),
        )
        .set_detail("It has ended, or another session goes on with the search."));
    };
    let spec = with(&base, &mine.settings)?;
    let relation = source_of(&named, &model.kind, &spec)?;
    let others: Vec<Vec<f64>> = others.iter().map(|row| row.reached()).collect();
    let (mut metric, mut folds, mut baselines) = (String::new(), Vec::new(), Vec::new());
    let seeds = (0..search.folds).map(|fold| search.seed.wrapping_add(fold)).collect::<Vec<_>>();
    let whom = ModelRef::model(&named, model.model_id);
    kind::of(&model.kind)?.tuned(&named)?.score(whom, relation, &spec, &seeds, &mut |score| {
        let sign = if score.is_error { -1.0 } else { 1.0 };
        metric = score.metric;
        folds.push(score.value);
        baselines.push(score.baseline);
        let reached: Vec<f64> = folds.iter().map(|value| sign * value).collect();
        folds.len() == seeds.len() || !below_median(&reached, others.iter().map(Vec::as_slice))
    })?;
    if folds.is_empty() {
        return Err(fail(Code::ERRCODE_NO_DATA, "no row can be held out")
            .set_detail("A trial is measured on held-out rows of users that have at least two items."));
    }
    let mean = |values: &[f64]| figure(values.iter().sum::<f64>() / values.len() as f64);
    let measured = Measured {
        finished: folds.len() == seeds.len(),
        metric,
        value: mean(&folds),
        baseline: mean(&baselines),
        folds,
        seconds: from.elapsed().as_secs_f64(),
    };
    table.finish(trial, &measured)?;
    let Measured { metric, value, seconds, .. } = &measured;
    let settings = Value::Object(mine.settings);
    notice::verbose(&format!("trial {trial}: {metric} {value:.4}, {seconds:.3} s, {settings}"));
    Ok(None)
}

/// `persona._tune_finish(model, deploy)`: trains with the best settings, which the model keeps unless the guard holds the
/// version back.
pub(crate) fn finish(call: &Call) -> Answer {
    let deploy = call.required_text(1, "deploy")?;
    let (named, model) = locked(call)?;
    locks::training(named.relation, &named.name)?;
    // Whoever had that lock before may have changed it.
    let model =
        registry::model(model.model_id, Seen::Latest)?.ok_or_else(|| identity::no_model(&named.name))?;
    let (best, base) = {
        let _owner = as_owner(&named)?;
        let (table, _, _, base) = going_on(&named, &model)?;
        let rows = table.rows()?;
        let failed = rows.iter().rev().find_map(|row| row.error.clone());
        let finished = rows.into_iter().filter_map(|row| match row.outcome() {
            Outcome::Finished(value) => Some((value, row)),
            _ => None,
        });
        // Of equals the first.
        let best = finished.reduce(|best, each| if each.0 > best.0 { each } else { best });
        let Some((_, best)) = best else {
            let error = fail(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("no trial of model {} came to an end", shown(&named.name)),
            );
            return Err(match failed {
                Some(last) => error
                    .set_detail(format!("The last one failed: {last}"))
                    .set_hint("The table of the trials has what each failed with."),
                None => error
                    .set_detail("The budget was over before the first one ended.")
                    .set_hint("Give it a longer \"budget\", or none."),
            });
        };
        (best, base)
    };
    let kept = with(&base, &best.settings)?;
    let mut spec = kept.clone();
    spec.insert("deploy".into(), deploy.clone().into());
    let name = qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    let answer = lifecycle::train_again(call, named, &model, spec, kept)?;
    let live = registry::newest_is_live(model.model_id)?;
    if deploy == "auto" && !live {
        // Nothing better was found: the next training begins with what serves.
        let reads = kind::trainer(&model.spec)?.reads();
        models::update_model(model.model_id, &name, JsonB(Value::Object(model.spec)), &reads)?;
    }
    if let Some(made) = registry::version(model.model_id, None, Seen::Latest)? {
        let what = if live {
            "is live with the best settings that were found"
        } else {
            "has the best settings that were found and is not deployed"
        };
        let detail = "The view persona.versions has its settings and the reason.";
        notice::notice(&format!("version {} of model {} {what}", made.version, shown(&name)), detail);
    }
    Ok(answer)
}
