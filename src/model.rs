//! Whatever an image holds.

use base::image::{Image, kinds};
use base::{Control, Result};
use recommenders::recommender::Recommender;
use segments::Segments;

/// A view of an image by what is in it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a view of slices, which lives on the stack of one call")]
pub(crate) enum Model<'a> {
    /// Factors and interactions.
    Recommender(Recommender<'a>),
    /// Centroids or scores.
    Segments(Segments<'a>),
}

impl<'a> Model<'a> {
    /// Opening looks at lengths only. Errors: `Corrupted`.
    pub(crate) fn new(image: &Image<'a>) -> Result<Model<'a>> {
        if image.optional_section::<u8>(kinds::SEGMENT_FACTS)?.is_some() {
            return Segments::new(image).map(Model::Segments);
        }
        Recommender::new(image).map(Model::Recommender)
    }

    /// The full check of what the sections mean. Errors: `Corrupted`, `Cancelled`.
    pub(crate) fn check(&self, control: &Control) -> Result<()> {
        match self {
            Model::Recommender(model) => model.check(control),
            Model::Segments(model) => model.check(),
        }
    }
}
