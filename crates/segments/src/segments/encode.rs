//! Writing the image of a model of segments.

use base::budget::SEGMENTS;
use base::control::Control;
use base::error::Result;
use base::image::{AlignedBytes, Writer, kinds, pack};
use features::columns::{Column, Scaling};

use crate::kmeans::Clusters;
use crate::rfm::{Cuts, Labels};

use super::{Facts, KMEANS, RFM};

/// What a clustering made.
pub struct KMeansParts<'a> {
    /// Names of the features.
    pub features: &'a [&'a str],
    /// The features, as they were found on the rows.
    pub columns: &'a [Column],
    /// Their scaling.
    pub scaling: Scaling,
    /// The groups.
    pub clusters: &'a Clusters,
    /// Ids of the segments, from 1.
    pub ids: &'a [u32],
    /// Labels of the segments.
    pub labels: &'a [String],
    /// The mean silhouette, where it was computed.
    pub silhouette: Option<f64>,
    /// As in [`Facts`].
    pub id_class: u8,
}

/// What scores rest on.
pub struct RfmParts<'a> {
    /// Names of the three measures.
    pub features: [&'a str; 3],
    /// Customers.
    pub rows: u64,
    /// Equally many for each measure.
    pub cuts: Cuts<'a>,
    /// Ids of the segments, from 1, one for each name.
    pub ids: &'a [u32],
    /// The segments.
    pub labels: &'a Labels,
    /// As in [`Facts`].
    pub id_class: u8,
}

/// The image of a clustering. `uuid` names the version. `Memory` as the control says; the bytes of the image stay
/// taken.
pub fn encode_kmeans(parts: &KMeansParts<'_>, uuid: [u8; 16], control: &Control) -> Result<AlignedBytes> {
    let facts = Facts {
        rows: parts.clusters.labels.len() as u64,
        inertia: parts.clusters.inertia,
        silhouette: parts.silhouette.unwrap_or(f64::NAN),
        kind: KMEANS,
        features: parts.columns.len() as u32,
        segments: parts.ids.len() as u32,
        bins: 0,
        id_class: parts.id_class,
        scaling: Scaling::WORDS.iter().position(|word| *word == parts.scaling.word()).unwrap_or(0) as u8,
        reserved: [0; 6],
    };
    let mut image = Writer::new(uuid);
    image.section(kinds::FEATURE_COLUMNS, parts.columns);
    image.section(kinds::CENTROIDS, &parts.clusters.centroids);
    finish(image, facts, (parts.features, parts.ids, parts.labels), control)
}

/// The image of scores. As [`encode_kmeans`].
pub fn encode_rfm(parts: &RfmParts<'_>, uuid: [u8; 16], control: &Control) -> Result<AlignedBytes> {
    parts.labels.check()?;
    let names = &parts.labels.names;
    let cuts = [parts.cuts.recency, parts.cuts.frequency, parts.cuts.monetary].concat();
    let facts = Facts {
        rows: parts.rows,
        inertia: 0.0,
        silhouette: f64::NAN,
        kind: RFM,
        features: 3,
        segments: names.len() as u32,
        bins: parts.cuts.recency.len() as u32 + 1,
        id_class: parts.id_class,
        scaling: 3,
        reserved: [0; 6],
    };
    let mut image = Writer::new(uuid);
    image.section(kinds::CUT_POINTS, &cuts);
    image.section(kinds::SCORE_GRID, &parts.labels.grid);
    finish(image, facts, (&parts.features, parts.ids, names), control)
}

fn finish(
    image: Writer<'_>,
    facts: Facts,
    (features, ids, labels): (&[&str], &[u32], &[String]),
    control: &Control,
) -> Result<AlignedBytes> {
    let facts = [facts];
    let (names, name_offsets) = pack(features);
    let (texts, text_offsets) = pack(labels);
    let mut image = image;
    image.section(kinds::SEGMENT_FACTS, &facts);
    image.section(kinds::FEATURE_NAMES, &names);
    image.section(kinds::FEATURE_OFFSETS, &name_offsets);
    image.section(kinds::SEGMENT_IDS, ids);
    image.section(kinds::SEGMENT_LABELS, &texts);
    image.section(kinds::SEGMENT_LABEL_OFFSETS, &text_offsets);
    let length = image.length();
    SEGMENTS.take(length, control)?;
    image.finish().inspect_err(|_| control.give(length))
}
