//! One suite that every recommender passes, on the path of the product: rows, interactions, a fit, an image, and what is
//! served and measured from it. `table.rs` names the algorithms and what does not apply to which; every other file is one
//! property of all of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod checkerboard;
mod data;
mod degenerate;
mod determinism;
mod evaluation;
mod known;
mod limits;
mod path;
mod permutation;
mod recipes;
mod scaling;
mod serving;
mod slow;
mod table;
