//! Factors for users and items that have none, from what is known of them beside their interactions.
//!
//! A linear map from a sparse matrix of features ([`features::Features`]) to the factors that training found ([`ridge`])
//! gives factors to rows that training never saw (Gantner, Drumond, Freudenthaler, Rendle and Schmidt-Thieme, Learning
//! Attribute-to-Feature Mappings for Cold-Start Recommendations, ICDM 2010), and [`extend`] puts them beside the
//! trained ones.

mod cholesky;
mod extend;
mod place;
mod ridge;

pub use extend::{Extended, Side, extend, spread};
pub use place::{Content, Placed, place};
pub use ridge::{Mapping, fit};
