//! The mathematics of pg_persona. Nothing here knows Postgres: plain slices in, plain values out.

pub mod als;
mod budget;
pub mod control;
pub mod csr;
pub mod defaults;
pub mod error;
pub mod estimate;
pub mod evaluate;
#[cfg(test)]
mod gaps;
pub mod ids;
pub mod image;
pub mod interactions;
mod jobs;
pub mod metrics;
mod popularity;
pub mod recommender;
pub mod search;
pub mod simd;

pub use control::Control;
pub use csr::Csr;
pub use error::{Error, Result};
