//! What every part of the mathematics of pg_persona uses, and no mathematics itself. Nothing here and in the crates
//! above knows Postgres: plain slices in, plain values out.

pub mod aligned;
pub mod budget;
pub mod control;
pub mod csr;
pub mod error;
pub mod flat;
#[cfg(feature = "looks")]
pub mod gaps;
pub mod ids;
pub mod image;
pub mod jobs;
pub mod need;
pub mod order;
pub mod pace;
pub mod reserve;
pub mod rows;
pub mod simd;
pub mod wide;

pub use control::Control;
pub use csr::Csr;
pub use error::{Error, Overflow, Result};
