//! The mathematics of pg_persona. Nothing here knows Postgres: plain slices in, plain values out.

pub mod als;
pub mod columns;
pub mod control;
pub mod csr;
pub mod defaults;
pub mod error;
pub mod evaluate;
pub mod ids;
pub mod image;
pub mod interactions;
mod jobs;
pub mod kmeans;
pub mod matching;
pub mod metrics;
pub mod profile;
pub mod recommender;
pub mod scoring;
pub mod search;
pub mod segments;
pub mod simd;

pub use control::Control;
pub use csr::Csr;
pub use error::{Error, Result};
