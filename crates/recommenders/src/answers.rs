//! Questions to a model and its answers, whatever it learned.

use base::control::Control;

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The user's or the items' factors.
    Model,
    /// Factors of the user or the item that follow from features alone: neither has interactions of its own.
    Content,
    /// Popularity alone: the user is not known.
    Popular,
    /// Popularity among the users of a segment.
    Segment,
    /// What the user has at this moment, which may be more or less than the training saw.
    Fresh,
}

impl Source {
    /// The word that SQL shows.
    pub fn name(self) -> &'static str {
        match self {
            Source::Model => "model",
            Source::Content => "content",
            Source::Popular => "popular",
            Source::Segment => "segment",
            Source::Fresh => "fresh",
        }
    }
}

/// An item and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recommendation {
    /// Row of the item.
    pub item: u32,
    /// Product of the factors, a cosine, or an item's share of all interactions.
    pub score: f64,
    /// What the score rests on.
    pub source: Source,
}

/// What may be recommended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Items that must not come, rising.
    pub exclude: &'a [u32],
    /// Where given, the only items that may come; any order.
    pub candidates: Option<&'a [u32]>,
    /// Whether the user's own items may come.
    pub keep_seen: bool,
    /// The segment that is to answer, in place of the one that the user had in the training.
    pub segment: Option<u32>,
    /// Where given, what takes long looks at it, and what takes memory takes it of its budget.
    pub control: Option<&'a Control>,
}

/// One item's part in the score of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// The item that somebody has.
    pub item: u32,
    /// What it adds to the score.
    pub contribution: f64,
}
