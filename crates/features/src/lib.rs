//! What is known of items and users beside their interactions.
//!
//! Columns of a relation become a sparse matrix of features ([`RowsBuilder`], [`Features`]): numbers, words and tags.
//! [`columns`] scales a dense matrix of numbers.

mod builder;
pub mod columns;
mod table;

pub use builder::RowsBuilder;
pub use table::{Features, Kind, MAX_FEATURES};

use base::budget::{Task, task};

/// The table itself, and what is learned from it.
pub const CONTENT: Task = task("reading the features", "Name fewer columns or read fewer rows.");
