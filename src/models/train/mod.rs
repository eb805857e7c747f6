//! What all trainers share: whose model it is, the phases of a training, the deploy guard, and writing a version. One
//! transaction a version, all or nothing.

pub(crate) mod guard;
pub(crate) mod publish;
pub(crate) mod running;
pub(crate) mod target;

use serde_json::{Map, Value};

use super::identity::ModelRef;
use crate::pg::access::Identity;
use crate::pg::error::Result;
use crate::source::Source;
pub(crate) use guard::{DEPLOYS, DeployChoice, MEASURED, UPDATED_FROM, ancestor};
pub(crate) use publish::{Deploy, Finished, Published};
pub(crate) use running::{Stored, Training};
pub(crate) use target::{IdType, Outputs, Target, same_types};

/// Begins a training: finds or makes the model and opens its source. An existing model is trained as its owner, whoever
/// has the right to start it, for as long as the identity lives. `kept` is what the next `retrain` begins with.
pub(crate) fn begin<C: Outputs>(
    model: &ModelRef,
    kept: &Map<String, Value>,
    open: impl FnOnce() -> Result<(Source, C)>,
) -> Result<(Target, (Source, C), Option<Identity>)> {
    let whose = target::find(model)?;
    let identity = whose.identity()?;
    let (source, columns) = open()?;
    source.take_locks()?;
    let mut spec = kept.clone();
    spec.insert("relation".into(), Value::String(source.name.clone()));
    let target = target::target(whose, model, &columns, spec)?;
    Ok((target, (source, columns), identity))
}
