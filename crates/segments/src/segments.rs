//! A model of segments as one image: what a training writes and what serving reads in place.

mod continuity;
mod encode;

use base::error::{Error, Result};
use base::image::{Image, Texts, kinds};
pub use continuity::continue_ids;
pub use encode::{KMeansParts, RfmParts, encode_kmeans, encode_rfm};
use features::columns::Column;

use bytemuck::{Pod, Zeroable};

use crate::kmeans::Frame;
use crate::rfm::{Cuts, Labels, cell, check_bins};

/// The kinds of models.
const KMEANS: u32 = 1;
const RFM: u32 = 2;

/// The numbers of a model that are not arrays.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Facts {
    /// Rows of the training.
    pub rows: u64,
    /// The sum of the squared distances; 0 for scores.
    pub inertia: f64,
    /// The mean silhouette; NaN where it is not known.
    pub silhouette: f64,
    /// 1 for centroids, 2 for scores.
    pub kind: u32,
    /// Features of a row.
    pub features: u32,
    /// Segments.
    pub segments: u32,
    /// Scores of a measure; 0 for centroids.
    pub bins: u32,
    /// The caller's number for the type of the ids.
    pub id_class: u8,
    /// The place of the scaling in [`features::columns::Scaling::WORDS`]; 3 for scores.
    pub scaling: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// How rows get their segments.
#[derive(Debug, Clone, PartialEq)]
enum Rule<'a> {
    /// The nearest centroid.
    Nearest { frame: Frame, columns: &'a [Column], centroids: &'a [f64] },
    /// The cell of the scores.
    Scores { cuts: Cuts<'a>, grid: &'a [u8] },
}

/// A view of an image. Opening it looks at lengths and at the few numbers per feature; damaged contents give wrong
/// answers, never a panic.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments<'a> {
    /// The numbers that are not arrays.
    pub facts: Facts,
    /// Names of the features.
    pub features: Texts<'a>,
    /// Ids of the segments, in the order of their numbers.
    pub ids: &'a [u32],
    /// Labels of the segments.
    pub labels: Texts<'a>,
    rule: Rule<'a>,
}

/// Where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assignment {
    /// The number of the segment, from 0: its place in `ids` and `labels`.
    pub segment: usize,
    /// The distance from its centroid, in scaled units; nothing for scores.
    pub distance: Option<f64>,
}

impl<'a> Segments<'a> {
    /// A view of an opened image; `Corrupted` where sections are missing or their lengths disagree.
    pub fn new(image: &Image<'a>) -> Result<Segments<'a>> {
        let [facts] = image.section::<Facts>(kinds::SEGMENT_FACTS)? else {
            return Err(Error::Corrupted("facts are missing"));
        };
        let misfit = Error::Corrupted("sections do not fit each other");
        let (features, segments) = (facts.features as usize, facts.segments as usize);
        let rule = match facts.kind {
            KMEANS => {
                let columns = image.section::<Column>(kinds::FEATURE_COLUMNS)?;
                let centroids = image.section::<f64>(kinds::CENTROIDS)?;
                if features == 0 || columns.len() != features || centroids.len() != features * segments {
                    return Err(misfit);
                }
                Rule::Nearest { frame: Frame::new(columns), columns, centroids }
            }
            RFM => {
                let all = image.section::<f64>(kinds::CUT_POINTS)?;
                let grid = image.section::<u8>(kinds::SCORE_GRID)?;
                let each = (facts.bins as usize).saturating_sub(1);
                if features != 3 || check_bins(facts.bins as usize).is_err() || all.len() != 3 * each {
                    return Err(misfit);
                }
                if grid.len() != Labels::default().grid.len() {
                    return Err(misfit);
                }
                let [recency, frequency, monetary] = [0, 1, 2].map(|at| &all[at * each..(at + 1) * each]);
                Rule::Scores { cuts: Cuts { recency, frequency, monetary }, grid }
            }
            _ => return Err(Error::Corrupted("an unknown kind of segments")),
        };
        let model = Segments {
            facts: *facts,
            features: Texts::read(image, kinds::FEATURE_NAMES, kinds::FEATURE_OFFSETS)?,
            ids: image.section(kinds::SEGMENT_IDS)?,
            labels: Texts::read(image, kinds::SEGMENT_LABELS, kinds::SEGMENT_LABEL_OFFSETS)?,
            rule,
        };
        let fits = model.features.len() == features
            && model.ids.len() == segments
            && model.labels.len() == segments
            && segments > 0;
        if fits { Ok(model) } else { Err(misfit) }
    }

    /// The full check, which reads everything: texts, ids, and numbers within their ranges. A model that passes gives
    /// every row a segment. The checksums are the image's own (`Image::verify`).
    pub fn check(&self) -> Result<()> {
        self.features.check()?;
        self.labels.check()?;
        if (0..self.labels.len()).any(|at| self.labels.get(at).is_empty()) {
            return Err(Error::Corrupted("a segment without a label"));
        }
        let mut ids = self.ids.to_vec();
        ids.sort_unstable();
        if ids.first() == Some(&0) || !ids.is_sorted_by(|a, b| a < b) {
            return Err(Error::Corrupted("ids of the segments"));
        }
        let facts = &self.facts;
        if facts.reserved != [0; 6] || usize::from(facts.scaling) >= features::columns::Scaling::WORDS.len() {
            return Err(Error::Corrupted("facts out of range"));
        }
        match &self.rule {
            Rule::Nearest { columns, centroids, .. } => {
                let sound = |column: &Column| {
                    let Column { mean, deviation, min, max, center, divisor } = *column;
                    let finite = [mean, deviation, min, max, center, divisor].iter().all(|x| x.is_finite());
                    finite && min <= mean && mean <= max && deviation >= 0.0 && divisor > 0.0
                };
                if !columns.iter().all(sound) {
                    return Err(Error::Corrupted("constants of a feature"));
                }
                if !centroids.iter().all(|number| number.is_finite()) {
                    return Err(Error::Corrupted("a centroid that is not finite"));
                }
            }
            Rule::Scores { cuts, grid } => {
                for cuts in [cuts.recency, cuts.frequency, cuts.monetary] {
                    if !cuts.is_sorted() || cuts.iter().any(|cut| cut.is_nan()) {
                        return Err(Error::Corrupted("cut points are not in order"));
                    }
                }
                if grid.iter().any(|&segment| usize::from(segment) >= self.ids.len()) {
                    return Err(Error::Corrupted("a segment out of range"));
                }
            }
        }
        Ok(())
    }

    /// The segment of a row in the user's units; nothing if the row has another number of features or a feature that
    /// is not finite. A row of the training gets the segment that it got there.
    pub fn assign(&self, features: &[f64]) -> Option<Assignment> {
        self.fits(features)?;
        match &self.rule {
            Rule::Nearest { frame, .. } => {
                // Squares: two of them may have the same root.
                let (segment, square) =
                    self.squares(features).enumerate().fold((0, f64::INFINITY), |best, (at, square)| {
                        if square < best.1 { (at, square) } else { best }
                    });
                Some(Assignment { segment, distance: Some(square.sqrt() * frame.unit) })
            }
            Rule::Scores { grid, .. } => {
                let cell = cell(self.scores(features)?, self.facts.bins as usize);
                let segment = usize::from(*grid.get(cell)?);
                (segment < self.ids.len()).then_some(Assignment { segment, distance: None })
            }
        }
    }

    /// The distance of a row from each centroid, in scaled units; empty for scores and for rows that cannot be
    /// assigned.
    pub fn distances(&self, features: &[f64]) -> Vec<f64> {
        match (&self.rule, self.fits(features)) {
            (Rule::Nearest { frame, .. }, Some(())) => {
                self.squares(features).map(|square| square.sqrt() * frame.unit).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Squared distances between points, summed as in the training.
    fn squares(&self, features: &[f64]) -> impl Iterator<Item = f64> {
        let (point, centroids) = match &self.rule {
            Rule::Nearest { frame, centroids, .. } => (frame.point(features), *centroids),
            Rule::Scores { .. } => (Vec::new(), &[][..]),
        };
        centroids.chunks_exact(point.len().max(1)).map(move |centroid| {
            point.iter().zip(centroid).map(|(&number, center)| (f64::from(number) - center).powi(2)).sum()
        })
    }

    /// The scores of recency, frequency and monetary value; nothing for centroids.
    pub fn scores(&self, features: &[f64]) -> Option<[u32; 3]> {
        self.fits(features)?;
        match (&self.rule, features) {
            (Rule::Scores { cuts, .. }, &[recency, frequency, monetary]) => {
                Some(cuts.scores([recency, frequency, monetary]))
            }
            _ => None,
        }
    }

    /// The centroids in the user's units, row by row; nothing for scores.
    pub fn centroids(&self) -> Option<Vec<f64>> {
        match &self.rule {
            Rule::Nearest { frame, centroids, .. } => Some(frame.raw(centroids)),
            Rule::Scores { .. } => None,
        }
    }

    /// What is known of each feature; nothing for scores.
    pub fn columns(&self) -> Option<&'a [Column]> {
        match &self.rule {
            Rule::Nearest { columns, .. } => Some(columns),
            Rule::Scores { .. } => None,
        }
    }

    /// The cut points; nothing for centroids.
    pub fn cuts(&self) -> Option<Cuts<'a>> {
        match &self.rule {
            Rule::Nearest { .. } => None,
            Rule::Scores { cuts, .. } => Some(*cuts),
        }
    }

    fn fits(&self, features: &[f64]) -> Option<()> {
        let fits = features.len() == self.facts.features as usize && features.iter().all(|x| x.is_finite());
        fits.then_some(())
    }
}
