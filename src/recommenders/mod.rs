//! Models that recommend: their trainers, reading interactions, serving.

pub(crate) mod algorithm;
pub(crate) mod als;
pub(crate) mod automatic;
pub(crate) mod by_segment;
pub(crate) mod ease;
pub(crate) mod evaluate_options;
pub(crate) mod features;
pub(crate) mod figures;
pub(crate) mod fit;
pub(crate) mod functions;
pub(crate) mod holdout;
pub(crate) mod item_knn;
pub(crate) mod kind;
pub(crate) mod measure;
pub(crate) mod popularity;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod selection;
pub(crate) mod serve;
pub(crate) mod sgd;
pub(crate) mod train;
pub(crate) mod update;

/// The word of the registry for all of them.
pub(crate) const WORD: &str = "recommender";
