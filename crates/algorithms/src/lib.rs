//! The mathematics of pg_persona. Nothing here knows Postgres: plain slices in, plain values out.

mod aligned;
pub mod als;
mod budget;
pub mod categories;
pub mod content;
pub mod control;
pub mod csr;
pub mod defaults;
pub mod ease;
pub mod error;
pub mod estimate;
pub mod evaluate;
pub mod flat;
#[cfg(test)]
mod gaps;
pub mod ids;
pub mod image;
pub mod interactions;
pub mod item_knn;
mod jobs;
pub mod kmeans;
pub mod ks;
pub mod matching;
pub mod metrics;
pub mod model;
pub mod neighbours;
pub mod order;
pub mod page_hinkley;
pub mod popularity;
pub mod profile;
pub mod psi;
pub mod quantiles;
pub mod recommender;
pub mod rfm;
pub mod rows;
pub mod scale;
pub mod search;
pub mod segments;
pub mod sgd;
pub mod simd;
pub mod stats;
pub mod tune;
pub mod update;

pub use control::Control;
pub use csr::Csr;
pub use error::{Error, Overflow, Result};
