//! Models of segments: their trainers, their tables, and the functions that ask them.

mod beside;
pub(crate) mod kmeans;
mod live;
mod members;
mod placing;
mod refresh;
pub(crate) mod rfm;
mod serve;
mod tables;

pub(crate) use live::{go_live, label_segment};
pub(crate) use placing::place;
pub(crate) use serve::{assign, assign_row, segment_distances};

/// The kinds of models that have segments, as the registry names them.
pub(crate) const KMEANS: &str = "kmeans";
pub(crate) const RFM: &str = "rfm";

/// Whether models of this kind have segments.
pub(crate) fn has_segments(kind: &str) -> bool {
    [KMEANS, RFM].contains(&kind)
}
