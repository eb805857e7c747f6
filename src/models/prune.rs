//! What is kept of a model's past: the data of a few versions, and the facts of many more.

use pgrx::{Uuid, pg_sys};

use super::registry::prune::{self, History};
use super::registry::scan::Seen;
use super::registry::{self, Deployment, Model, models};
use super::spec::Spec;
use super::train::ancestor;
use super::{deploy, identity, kind, locks};
use crate::pg::access;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::qualified_name;
use crate::pg::options::Options;

/// Versions whose images are kept, the live one included, unless the spec says otherwise.
const VERSIONS: i64 = 2;

/// Versions whose facts are kept, unless the spec says otherwise: a week of one a minute, 27 years of one a day.
const LOG: i64 = 10_000;

/// The most that may be asked for.
const MOST_LOG: i64 = 1_000_000;

/// Versions that one training removes at most. It makes one, so a history that is too long shrinks all the same, and no
/// training takes much longer than another.
const A_TRAINING: usize = 20;

/// How far one training looks back for the version that was measured last.
pub(crate) const LOOK_BACK: usize = 100;

/// How much a model keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    versions: i64,
    log: i64,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { versions: VERSIONS, log: LOG }
    }
}

impl Keep {
    /// What the options of a trainer say.
    pub(crate) fn of(options: &Options) -> Result<Keep> {
        Ok(Keep {
            versions: options.integer("keep_versions", 1, 1000)?.unwrap_or(VERSIONS),
            log: options.integer("keep_log", 1, MOST_LOG)?.unwrap_or(LOG),
        })
    }
}

/// How much is removed at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As much as no training notices.
    Training,
    /// All.
    Whole,
}

/// What was removed of a model.
struct Removed {
    images: usize,
    versions: usize,
}

/// What stays of a model: the newest version, and the live one with those that were live before it.
struct Kept {
    versions: Vec<i32>,
    images: Vec<Uuid>,
    /// The earliest line of the deployment log that a rollback may still come to.
    from: i64,
}

/// Removes what a training has made superfluous. The caller holds the deploy lock.
pub(crate) fn after_training(model_id: Uuid, keep: Keep) -> Result<()> {
    remove(model_id, keep, Pace::Training).map(|_| ())
}

fn remove(model_id: Uuid, keep: Keep, pace: Pace) -> Result<Removed> {
    let Some(newest) = registry::version(model_id, None, Seen::Latest)? else {
        return Ok(Removed { images: 0, versions: 0 });
    };
    let mut kept = kept(model_id, keep)?;
    kept.versions.push(newest.version);
    kept.images.push(newest.image_id);
    let most = if pace == Pace::Training { A_TRAINING } else { i32::MAX as usize };
    let images = prune::images(model_id, &kept.images, most)?;
    let last = i64::from(newest.version) - keep.log;
    let mut versions = 0;
    if let Ok(last @ 1..) = i32::try_from(last)
        && let Some(kept) = with_ancestors(model_id, kept.versions, pace)?
        && let Some(first) = registry::oldest_version(model_id, &kept)?.filter(|&first| first <= last)
    {
        versions = prune::versions(model_id, first, last.min(first.saturating_add(most as i32 - 1)), &kept)?;
    }
    if let Ok(last @ 1..) = i32::try_from(last) {
        prune::deployments(model_id, &History { last, before: kept.from, most })?;
    }
    Ok(Removed { images, versions })
}

/// What a rollback may return to. No further than the log is kept: somebody may deploy two versions in turn for ever.
fn kept(model_id: Uuid, keep: Keep) -> Result<Kept> {
    let mut kept = Kept { versions: Vec::new(), images: Vec::new(), from: i64::MAX };
    let mut line = registry::live(model_id, Seen::Latest)?;
    for _ in 0..keep.log.max(keep.versions) {
        let Some(each) = line else { break };
        kept.add(&each);
        if kept.images.len() as i64 >= keep.versions {
            break;
        }
        line = deploy::earlier(model_id, &each)?;
        crate::pg::memory::interrupts();
    }
    Ok(kept)
}

impl Kept {
    fn add(&mut self, line: &Deployment) {
        if !self.images.contains(&line.image_id) {
            self.images.push(line.image_id);
            self.versions.push(line.version);
        }
        self.from = self.from.min(line.deployment_id);
    }
}

/// Versions with those whose figures stand for them, which the guard asks for; `None` if it takes too long to find these.
fn with_ancestors(model_id: Uuid, mut versions: Vec<i32>, pace: Pace) -> Result<Option<Vec<i32>>> {
    let steps = if pace == Pace::Training { LOOK_BACK } else { usize::MAX };
    for at in 0..versions.len() {
        let Some(version) = registry::version(model_id, Some(versions[at]), Seen::Latest)? else { continue };
        let Some(found) = ancestor(model_id, version, steps)? else { continue };
        if !found.last {
            return Ok(None);
        }
        versions.push(found.version.version);
    }
    Ok(Some(versions))
}

/// `persona.prune(model, keep_log)`: removes now what trainings would remove.
pub(crate) fn prune(call: &Call) -> Answer {
    locks::writable(c"persona.prune()");
    let log = call.get::<i32>(1).map(i64::from);
    if let Some(log) = log.filter(|log| !(1..=MOST_LOG).contains(log)) {
        return Err(fail(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("\"keep_log\" must be between 1 and {MOST_LOG}, got {log}"),
        ));
    }
    let mut rows = call.rows()?;
    let mut one = |name: &str, model: &Model| -> Result<()> {
        let trainer = kind::trainer(&model.spec)?;
        let mut keep = Keep::of(&Options::new(Spec::new(&model.spec).object("options"), trainer.options)?)?;
        keep.log = log.unwrap_or(keep.log);
        let removed = remove(model.model_id, keep, Pace::Whole)?;
        rows.push(&[datum(name), datum(removed.versions as i64), datum(removed.images as i64)])
    };
    if let Some(name) = call.text(0)? {
        let (named, model) = deploy::locked(&name)?;
        one(&named.name, &model)?;
        return Ok(None);
    }
    models::sweep()?;
    for relation in prune::views_of(access::user())? {
        if let Some((name, model)) = free(relation)? {
            one(&name, &model)?;
        }
    }
    Ok(None)
}

/// One of all models of the caller, under its deploy lock; `None` if somebody deploys or drops it right now: whoever holds
/// a lock on one model must not keep the others from being pruned.
fn free(relation: pg_sys::Oid) -> Result<Option<(String, Model)>> {
    if !identity::try_hold(relation) || !locks::try_deploying(relation)? {
        return Ok(None);
    }
    let Some(name) = qualified_name(relation) else { return Ok(None) };
    if !access::owns(relation) {
        return Ok(None);
    }
    let (_, model) = identity::model_of_view(relation, Seen::Latest)?;
    Ok(Some((name, model)))
}
