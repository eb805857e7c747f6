//! Vectors and their nearest neighbours.

pub mod search;
