//! Trainers of recommenders, their measures, and the image that serving reads.

pub mod als;
pub mod answers;
pub mod content;
pub mod defaults;
pub mod ease;
pub mod elsa;
pub mod estimate;
pub mod evaluate;
pub mod factors;
pub mod interactions;
pub mod item_knn;
pub mod metrics;
pub mod neighbours;
pub mod partition;
pub mod popularity;
pub mod recommender;
pub mod sgd;
mod tasks;
pub mod update;
