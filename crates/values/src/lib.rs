//! Statistics of columns: what aggregates and window functions compute from one value after the other.

pub mod categories;
pub mod ks;
pub mod page_hinkley;
pub mod psi;
pub mod quantiles;
pub mod rfm;
pub mod scale;
pub mod stats;
