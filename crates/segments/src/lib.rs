//! Groups of users: k-means, scores of recency, frequency and money, their profiles, and the image that keeps them.

pub mod kmeans;
pub mod matching;
pub mod profile;
pub mod rfm;
mod segments;

pub use segments::{
    Assignment, Facts, KMeansParts, RfmParts, Segments, continue_ids, encode_kmeans, encode_rfm,
};
