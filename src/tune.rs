//! `persona.tune`: searches for the settings of a recommender. The procedure is SQL and commits between trials; these are
//! its steps, each of which reads from the table of the trials what was done before.

mod space;
mod table;

use std::time::Instant;

use pgrx::{JsonB, pg_sys};
use serde_json::{Map, Value};
use tuning::{Method, Outcome, below_median, next};

use crate::automatic::settled;
use crate::call::{Call, datum};
use crate::error::{Code, Result, fail};
use crate::identity::Named;
use crate::lifecycle::{self, owned, trained_from};
use crate::options::Options;
use crate::prune::Keep;
use crate::registry::scan::Seen;
use crate::registry::{self, Model, Version, write};
use crate::spec::Spec;
use crate::train::recommender::{Request, figure, measure_splits};
use crate::train::{DEPLOYS, Whom, as_owner, choose};
use crate::trainers::{self, Trainer};
use crate::{access, deploy, identity, locks, notice};
use space::Space;
use table::{METHODS, Measured, Search, Table, space_of};

type Answer = Result<Option<pg_sys::Datum>>;

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
    registry::version(model.model_id, live, Seen::Latest)?.ok_or_else(|| deploy::not_deployed(named))
}

/// The spec that trials change: the model's, and of an automatic choice that of what was chosen.
fn base(model: &Model, version: &Version) -> Map<String, Value> {
    settled(&model.spec, &version.hyperparameters).unwrap_or_else(|| model.spec.clone())
}

/// A base with settings, and the trainer that it is for.
fn with(base: &Map<String, Value>, settings: &Map<String, Value>) -> (Map<String, Value>, &'static Trainer) {
    let trainer = trainers::of(base);
    let mut spec = base.clone();
    trainer.overlay(&mut spec, settings.clone());
    (spec, trainer)
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
    if model.kind != "recommender" {
        return Err(fail(
            Code::ERRCODE_WRONG_OBJECT_TYPE,
            format!("model {} recommends nothing", identity::shown(&named.name)),
        )
        .set_hint("Only recommenders can be tuned."));
    }
    let version = version_of(&named, &model)?;
    let base = base(&model, &version);
    let text = |key: &str| base.get(key).and_then(Value::as_str).unwrap_or_default();
    if folds > 1 && !text("time_column").is_empty() && text("holdout") != "hash" {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"folds\" must be 1 where the newest rows are held out, got {folds}"),
        )
        .set_hint("Train the model with holdout \"hash\" for more."));
    }
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
    let space = Space::parse(&written, trainers::of(&base))?;
    let relation = trained_from(&named, &base)?;
    for (name, value) in space.extremes() {
        let (spec, trainer) = with(&base, &Map::from_iter([(name, value)]));
        if let Some(make) = trainer.algorithm {
            make(named.name.clone().into(), relation, &spec)?;
        }
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
            format!("model {} is not being tuned", identity::shown(&named.name)),
        )
        .set_hint("CALL persona.tune(...) searches for its settings.")
    })?;
    let base = base(model, &version_of(named, model)?);
    let (search, space) = space_of(&table, trainers::of(&base))?;
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
        && let Some(serving) = serving(&named, &base, &version_of(&named, &model)?)?
    {
        table.insert(trial, space.of(&serving), true)?;
        return Ok(datum(trial));
    }
    let Some(values) = next(&space.domains(), &tried, method, search.seed as u64) else { return Ok(None) };
    table.insert(trial, space.settings(&values), false)?;
    Ok(datum(trial))
}

/// The settings of a version, unless another algorithm than that of the base made it.
fn serving(
    named: &Named,
    base: &Map<String, Value>,
    version: &Version,
) -> Result<Option<Map<String, Value>>> {
    let Some(make) = trainers::of(base).algorithm else { return Ok(None) };
    let algorithm = make(named.name.clone().into(), trained_from(named, base)?, base)?;
    let same = algorithm.name() == version.algorithm;
    Ok(same.then(|| version.hyperparameters.clone()))
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
            format!("trial {trial} of model {} is not running", identity::shown(&named.name)),
        )
        .set_detail("It has ended, or another session goes on with the search."));
    };
    let (spec, trainer) = with(&base, &mine.settings);
    let relation = trained_from(&named, &spec)?;
    let request = Request::of(
        Whom::model(&named, model.model_id),
        relation,
        &Spec::new(&spec),
        Keep::default(),
        Map::new(),
    )?;
    let Some(make) = trainer.algorithm else { return Err(deploy::not_deployed(&named)) };
    let algorithm = make(named.name.clone().into(), relation, &spec)?;
    let others: Vec<Vec<f64>> = others.iter().map(|row| row.reached()).collect();
    let (mut metric, mut folds, mut baselines) = (String::new(), Vec::new(), Vec::new());
    let seeds = (0..search.folds).map(|fold| search.seed.wrapping_add(fold)).collect::<Vec<_>>();
    measure_splits(&request, &*algorithm, &seeds, &mut |scored| {
        let Some((name, value, baseline)) = scored.guard() else { return false };
        let sign = if scored.ratings.is_some() { -1.0 } else { 1.0 };
        metric = name;
        folds.push(value);
        baselines.push(baseline);
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
                format!("no trial of model {} came to an end", identity::shown(&named.name)),
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
    let (kept, _) = with(&base, &best.settings);
    let mut spec = kept.clone();
    spec.insert("deploy".into(), deploy.clone().into());
    let name = identity::qualified_name(named.relation).unwrap_or_else(|| named.name.clone());
    let answer = lifecycle::train_again(call, named, &model, spec, kept)?;
    let live = registry::newest_is_live(model.model_id)?;
    if deploy == "auto" && !live {
        // Nothing better was found: the next training begins with what serves.
        write::update_model(model.model_id, &name, JsonB(Value::Object(model.spec)))?;
    }
    if let Some(made) = registry::version(model.model_id, None, Seen::Latest)? {
        let what = if live {
            "is live with the best settings that were found"
        } else {
            "has the best settings that were found and is not deployed"
        };
        let detail = "The view persona.versions has its settings and the reason.";
        notice::notice(
            &format!("version {} of model {} {what}", made.version, identity::shown(&name)),
            detail,
        );
    }
    Ok(answer)
}
