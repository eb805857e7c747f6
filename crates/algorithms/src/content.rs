//! What is known of items and users beside their interactions, and factors for those that have none.
//!
//! Columns of a relation become a sparse matrix of features ([`RowsBuilder`], [`Features`]). A linear map from features
//! to the factors that training found ([`ridge`]) gives factors to rows that training never saw (Gantner, Drumond,
//! Freudenthaler, Rendle and Schmidt-Thieme, Learning Attribute-to-Feature Mappings for Cold-Start Recommendations,
//! ICDM 2010), and [`extend`] puts them beside the trained ones.

mod builder;
mod cholesky;
mod extend;
mod features;
mod place;
mod ridge;

pub use builder::RowsBuilder;
pub use extend::{Extended, Side, extend, spread};
pub use features::{Features, Kind, MAX_FEATURES};
pub use place::{Content, Placed, place};
pub use ridge::{Mapping, fit};
