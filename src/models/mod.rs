//! Models of any kind: names, versions, images, trainings, deployments, queues. It knows no kind.

pub(crate) mod attach;
pub(crate) mod body;
pub(crate) mod deploy;
pub(crate) mod evaluate;
pub(crate) mod identity;
pub(crate) mod images;
pub(crate) mod kind;
pub(crate) mod lifecycle;
pub(crate) mod locks;
pub(crate) mod outputs;
pub(crate) mod owned;
pub(crate) mod progress;
pub(crate) mod prune;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod spec;
pub(crate) mod train;
pub(crate) mod tune;
pub(crate) mod update;
