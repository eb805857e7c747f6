//! The deploy guard: a new version goes live unless it is worse.

use pgrx::Uuid;
use serde_json::Value;

use crate::models::registry::scan::Seen;
use crate::models::registry::{self, Version};
use crate::pg::error::Result;

/// The fact of a version that says which one it is an update of.
pub(crate) const UPDATED_FROM: &str = "updated_from";

/// The fact of an update that says which version was measured last before it, so that nobody walks from one update to the
/// one before.
pub(crate) const MEASURED: &str = "measured_version";

/// The fact of a version that says what its figures were measured on.
pub(crate) const SPLIT: &str = "split";

/// What decides between versions: nDCG at this cutoff.
pub(crate) const GUARD_CUTOFF: usize = 10;

/// What decides between versions of models of ratings: the root of the mean squared error. Lower is better.
pub(crate) const RMSE: &str = "rmse";

/// How much lower than the live version's value a new one may be and still go live.
pub(crate) const GUARD_MARGIN: f64 = 0.02;

/// Whether the new version goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeployChoice {
    Auto,
    Always,
    Never,
}

/// The words of `deploy`.
pub(crate) const DEPLOYS: [(&str, DeployChoice); 3] =
    [("auto", DeployChoice::Auto), ("always", DeployChoice::Always), ("never", DeployChoice::Never)];

/// The deploy guard: whether the new version goes live, and why. Of errors, lower ones are better.
pub(crate) fn decide(
    choice: DeployChoice,
    live: Option<&Version>,
    errors: bool,
    (value, baseline, live_value): (Option<f64>, Option<f64>, Option<f64>),
) -> (bool, String) {
    let Some(live) = live else {
        return match choice {
            DeployChoice::Never => (false, "deploy is never".into()),
            _ => (true, "first version".into()),
        };
    };
    match choice {
        DeployChoice::Never => (false, "deploy is never".into()),
        DeployChoice::Always => (true, "deploy is always".into()),
        DeployChoice::Auto => match (value, baseline, live_value) {
            (Some(value), Some(baseline), Some(_)) if !better(value, baseline, errors) => {
                let than = if errors { "below the error of the items' means" } else { "above popularity" };
                (false, format!("not {than}: {value:.4} against {baseline:.4}"))
            }
            (Some(value), _, Some(live_value)) if much_worse(value, live_value, errors) => {
                let side = if errors { "above" } else { "below" };
                let version = live.version;
                (false, format!("more than 2 % {side} version {version}: {value:.4} against {live_value:.4}"))
            }
            (Some(value), _, Some(live_value)) => {
                (true, format!("not worse than version {}: {value:.4} against {live_value:.4}", live.version))
            }
            _ => (true, format!("nothing to compare with version {}", live.version)),
        },
    }
}

/// Whether a value is better than another.
pub(crate) fn better(value: f64, other: f64, errors: bool) -> bool {
    if errors { value < other } else { value > other }
}

fn much_worse(value: f64, live: f64, errors: bool) -> bool {
    if errors { value > live * (1.0 + GUARD_MARGIN) } else { value < live * (1.0 - GUARD_MARGIN) }
}

/// The version whose figures stand for another.
pub(crate) struct Ancestor {
    pub(crate) version: Version,
    /// Whether it is, or only so many steps nearer to it.
    pub(crate) last: bool,
}

/// The version whose figures stand for another: itself, or, of an update, which is not measured, what it followed. `None`
/// if that is no longer there.
pub(crate) fn ancestor(model_id: Uuid, version: Version, steps: usize) -> Result<Option<Ancestor>> {
    let mut version = version;
    for _ in 0..steps {
        let Some(before) = followed(&version) else { return Ok(Some(Ancestor { version, last: true })) };
        let Some(found) = registry::version(model_id, Some(before), Seen::Latest)? else { return Ok(None) };
        version = found;
        crate::pg::memory::interrupts();
    }
    let last = followed(&version).is_none();
    Ok(Some(Ancestor { version, last }))
}

/// The version that stands for an update, or is on the way to it.
fn followed(version: &Version) -> Option<i32> {
    if version.value.is_some() {
        return None;
    }
    let fact = |name| version.hyperparameters.get(name).and_then(Value::as_i64);
    let before = fact(UPDATED_FROM).map(|from| fact(MEASURED).unwrap_or(from))?;
    i32::try_from(before).ok().filter(|&before| before < version.version)
}

/// A mean as people read it: sums are exact to 3e-14, so twelve decimals are the figure's own.
pub(crate) fn figure(mean: f64) -> f64 {
    (mean * 1e12).round() / 1e12
}
