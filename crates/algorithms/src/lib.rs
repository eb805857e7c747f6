//! The mathematics of pg_persona. Nothing here knows Postgres: plain slices in, plain values out.

pub mod control;
pub mod csr;
pub mod error;
pub mod simd;

pub use control::Control;
pub use csr::Csr;
pub use error::{Error, Result};
