//! Which version of a model is live: the deployment log and its two writers, deploy and rollback.

use pgrx::Uuid;

use super::identity::{self, Named, not_deployed};
use super::registry::scan::Seen;
use super::registry::{self, Deployment, Model, Version, queue, write};
use super::{images, kind, locks};
use crate::pg::access;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{Code, Result, fail};
use crate::pg::fault::point;
use crate::pg::names::shown;

/// `persona.deploy(model, version)`: makes a stored version live.
pub(crate) fn deploy(call: &Call) -> Answer {
    locks::writable(c"persona.deploy()");
    let name = call.required_text(0, "model")?;
    let number: i32 = call.required(1, "version")?;
    let (named, model) = locked(&name)?;
    let Some(version) = registry::version(model.model_id, Some(number), Seen::Latest)? else {
        return Err(fail(
            Code::ERRCODE_UNDEFINED_OBJECT,
            format!("version {number} of model {} does not exist", shown(&name)),
        )
        .set_hint("The view persona.versions lists the versions of a model."));
    };
    if !registry::has_image(version.image_id, Seen::Latest)? {
        return Err(fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("version {number} of model {} is no longer stored", shown(&name)),
        )
        .set_hint(
            "Kept are the newest version and those that were live last (option \"keep_versions\" of the training). Train again.",
        ));
    }
    bring_in(&named, &model, &version)?;
    let live = registry::live(model.model_id, Seen::Latest)?;
    queue::deployed(model.model_id, number, live.is_some_and(|live| number < live.version))?;
    publish(model.model_id, number, version.image_id, "deploy")?;
    Ok(None)
}

/// The model of a name, which the current user must own, under its deploy lock.
pub(crate) fn locked(name: &str) -> Result<(Named, Model)> {
    let (named, model) = identity::model(name, Seen::Latest)?;
    access::require_owner(named.relation, &named.name)?;
    // The view first, then the deploy lock: everybody takes them in this order.
    if !identity::hold(named.relation) {
        return Err(identity::no_model(name));
    }
    locks::deploying(named.relation)?;
    point("deploy locked");
    Ok((named, model))
}

/// Loads a stored version that is about to go live, and brings the tables beside the model in line with it.
fn bring_in(named: &Named, model: &Model, version: &Version) -> Result<()> {
    let loaded = images::prepare(named, model.model_id, version.image_id, version.version)?;
    kind::of(&model.kind)?.go_live(named, model, version, &loaded)
}

/// Appends a version to the log. The caller holds the deploy lock.
pub(crate) fn publish(model_id: Uuid, version: i32, image_id: Uuid, action: &str) -> Result<()> {
    let previous = registry::live(model_id, Seen::Latest)?.map(|live| live.deployment_id);
    point("before deployment");
    write::insert_deployment(model_id, version, image_id, previous, action, access::current_user())?;
    point("after deployment");
    Ok(())
}

/// `persona.rollback(model)`: returns to the version that was live before; the version that is live now.
pub(crate) fn rollback(call: &Call) -> Answer {
    locks::writable(c"persona.rollback()");
    let name = call.required_text(0, "model")?;
    let (named, model) = locked(&name)?;
    let live = registry::live(model.model_id, Seen::Latest)?.ok_or_else(|| not_deployed(&named))?;
    let mut older = earlier(model.model_id, &live)?;
    while let Some(candidate) = older {
        if candidate.version != live.version && registry::has_image(candidate.image_id, Seen::Latest)? {
            let user = access::current_user();
            // The new line continues where the older one did, so that the next rollback goes further back.
            let (version, image, previous) = (candidate.version, candidate.image_id, candidate.previous);
            let Some(facts) = registry::version(model.model_id, Some(version), Seen::Latest)? else {
                return Err(registry::stored::damaged());
            };
            bring_in(&named, &model, &facts)?;
            queue::deployed(model.model_id, version, true)?;
            point("before rollback");
            write::insert_deployment(model.model_id, version, image, previous, "rollback", user)?;
            point("after rollback");
            return Ok(datum(version));
        }
        older = earlier(model.model_id, &candidate)?;
    }
    Err(fail(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("model {} has no older version to return to", shown(&name)),
    )
    .set_detail(format!("Version {} is live.", live.version)))
}

/// The line of the deployment log that a rollback from this one looks at next.
pub(crate) fn earlier(model_id: Uuid, line: &Deployment) -> Result<Option<Deployment>> {
    match line.previous {
        Some(id) => registry::deployment_by_id(model_id, id),
        None => Ok(None),
    }
}
