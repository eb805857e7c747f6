//! Models of segments: their trainers, their tables, and the functions that ask them.

mod beside;
pub(crate) mod kind;
pub(crate) mod kmeans;
mod live;
mod members;
mod placing;
mod refresh;
pub(crate) mod rfm;
mod serve;
mod tables;

pub(crate) use live::label_segment;
pub(crate) use placing::place;
pub(crate) use serve::{assign, assign_row, segment_distances};
