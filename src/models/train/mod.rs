//! What all trainers share: whose model it is, the phases of a training, the deploy guard, and writing a version. One
//! transaction a version, all or nothing.

pub(crate) mod guard;
pub(crate) mod job;
pub(crate) mod publish;
pub(crate) mod running;
pub(crate) mod target;

pub(crate) use guard::{DEPLOYS, DeployChoice, MEASURED, UPDATED_FROM, ancestor};
pub(crate) use publish::{Deploy, Finished, Published};
pub(crate) use running::{Stored, Training};
pub(crate) use target::{IdType, Outputs, Target, same_types};
