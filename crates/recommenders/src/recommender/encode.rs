//! Writing the image of a recommender.

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::ids::Ids;
use base::image::{AlignedBytes, Dictionary, Layout, Writer, kinds, pack};
use vectors::search::{Sections, quantize};

use crate::als::{explicit, gram};
use crate::content::Content;
use crate::factors::Factors;
use crate::neighbours::Neighbours;
use crate::partition::{Partition, Slice};
use crate::popularity::{self, Decayed};
use crate::sgd::Squares;
use crate::tasks::WRITING;

use super::{Facts, ratings, sums};

/// What was learned of the interactions.
#[derive(Debug, Clone, Copy)]
pub enum Learned<'a> {
    /// Factors of users and items.
    Factors(&'a Factors),
    /// What each item says about others.
    Neighbours(&'a Neighbours),
    /// Factors by stochastic gradients, and what the optimizer has summed up of their rows.
    Stochastic(&'a Factors, &'a Squares),
    /// How popular items are.
    Popular(&'a Decayed),
    /// Factors of items, and of users as the sums of the rows of their items: [`crate::elsa`].
    Sums(&'a Factors),
    /// A model of ratings, and how its biases were damped.
    Ratings(&'a explicit::Model, Option<explicit::Damping>),
}

/// What a training made.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Ids of the users.
    pub users: &'a Ids,
    /// Ids of the items.
    pub items: &'a Ids,
    /// All interactions: what counts as seen.
    pub user_items: &'a Csr,
    /// Their transpose.
    pub item_users: &'a Csr,
    /// What it learned.
    pub learned: Learned<'a>,
    /// As in [`Facts`].
    pub regularization: f64,
    /// As in [`Facts`].
    pub alpha: f64,
    /// As in [`Facts`].
    pub user_class: u8,
    /// As in [`Facts`].
    pub item_class: u8,
}

/// Segments of the users, and what is known of each.
#[derive(Debug, Clone, Copy)]
pub struct OfSegments<'a> {
    /// Which segment each user has.
    pub partition: &'a Partition,
    /// An image of each segment whose ids are rows of the model: another model of the kind of this one, of the segment's users
    /// alone, or how popular items are among them.
    pub images: &'a [AlignedBytes],
    /// Who has a segment and no interactions.
    pub members: &'a Ids,
    /// The segment of each of those, by number.
    pub of_member: &'a [u32],
}

/// The image of a segment that has a model of its own, whose parts are in rows of the slice; without a model of users, how
/// popular items are. Its bytes stay taken. Errors as [`encode_with`].
pub fn encode_segment(
    slice: &Slice,
    (user_items, item_users): (&Csr, &Csr),
    learned: Learned<'_>,
    (regularization, alpha): (f64, f64),
    threads: usize,
    control: &Control,
) -> Result<AlignedBytes> {
    let mut budget = Budget::new(control, WRITING);
    let mut rows = |of: &[u32]| -> Result<Ids> {
        let mut rows = budget.with_capacity(of.len())?;
        rows.extend(of.iter().map(|&row| i64::from(row)));
        Ok(Ids::Integer(rows))
    };
    let (users, items) = (rows(&slice.users[..user_items.rows()])?, rows(&slice.items)?);
    let (user_class, item_class) = (0, 0);
    let parts = Parts {
        users: &users,
        items: &items,
        user_items,
        item_users,
        learned,
        regularization,
        alpha,
        user_class,
        item_class,
    };
    encode(&parts, [0; 16], threads, control)
}

/// The image of a model without content and segments, in one piece: [`Encoded`]. `uuid` names the version. `Memory` and
/// `Cancelled` as the control says; the bytes of the image stay taken.
pub fn encode(parts: &Parts<'_>, uuid: [u8; 16], threads: usize, control: &Control) -> Result<AlignedBytes> {
    encode_with(parts, Content::default(), None, uuid, threads, control)
}

/// As [`encode`], with content and segments.
pub fn encode_with(
    parts: &Parts<'_>,
    content: Content<'_>,
    segments: Option<OfSegments<'_>>,
    uuid: [u8; 16],
    threads: usize,
    control: &Control,
) -> Result<AlignedBytes> {
    let mut encoded = Encoded::new(*parts, content, segments, threads, control)?;
    let length = encoded.writer(uuid).length();
    encoded.budget.take(length)?;
    let image = encoded.layout(uuid, control)?.bytes(control)?;
    encoded.budget.keep(length);
    Ok(image)
}

/// All sections of the image of a model: some lie in what was trained, the others here. So a model of factors is stored
/// without a second copy of it in memory: of 550,000 rows of 64 and 10,000,000 interactions that would be 268 MB more.
#[derive(Debug)]
pub struct Encoded<'a, 'c> {
    parts: Parts<'a>,
    content: Content<'a>,
    segments: Option<OfSegments<'a>>,
    facts: [Facts; 1],
    ratings: Option<ratings::Rows>,
    search: Option<Search>,
    popularity: Vec<u32>,
    /// The order of items by it, where the model has none of its own.
    by_count: Vec<u32>,
    /// Of a model of popularity.
    shares: Vec<f64>,
    all_ones: bool,
    segment_names: (Vec<u8>, Vec<u64>),
    segment_ends: Vec<u64>,
    budget: Budget<'c>,
}

impl<'a, 'c> Encoded<'a, 'c> {
    /// Computes what an image has beside what was trained. `Memory` and `Cancelled` as the control says.
    pub fn new(
        parts: Parts<'a>,
        content: Content<'a>,
        segments: Option<OfSegments<'a>>,
        threads: usize,
        control: &'c Control,
    ) -> Result<Encoded<'a, 'c>> {
        let mut budget = Budget::new(control, WRITING);
        let ratings = match parts.learned {
            Learned::Ratings(model, damping) => Some(ratings::rows(model, damping, &mut budget)?),
            _ => None,
        };
        let factors = factors(&parts, &ratings);
        let gram = match parts.learned {
            // Nobody is folded in by a Gram matrix.
            Learned::Sums(_) => Some(&[][..]),
            _ => content.gram,
        };
        let search = factors.map(|factors| Search::new(factors, gram, threads, &mut budget)).transpose()?;
        let popularity = popularity::counts(parts.item_users, &mut budget)?;
        let (mut by_count, mut shares) = (Vec::new(), Vec::new());
        match parts.learned {
            Learned::Popular(popular) => {
                shares = budget.with_capacity(popular.weights.len())?;
                let all = popular.weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                shares.extend(popular.weights.iter().map(|weight| weight / all));
            }
            _ => by_count = popularity::order(&popularity, &mut budget)?,
        }
        let facts = Facts {
            regularization: parts.regularization,
            alpha: parts.alpha,
            entries: parts.user_items.entries() as u64,
            factors: u32::try_from(factors.map_or(0, |factors| factors.factors))
                .map_err(|_| Error::TooMany { what: "factors", limit: u32::MAX.into() })?,
            user_class: parts.user_class,
            item_class: parts.item_class,
            reserved: [0; 2],
        };
        let all_ones = all_ones(&parts.user_items.values, control)?;
        let mut segment_ends = vec![0];
        for image in segments.map_or(&[][..], |segments| segments.images) {
            segment_ends.push(segment_ends.last().copied().unwrap_or(0) + image.len() as u64);
        }
        let segment_names = pack(segments.map_or(&[], |segments| &segments.partition.names));
        Ok(Encoded {
            parts,
            content,
            segments,
            facts: [facts],
            ratings,
            search,
            popularity,
            by_count,
            shares,
            all_ones,
            segment_names,
            segment_ends,
            budget,
        })
    }

    /// The image, where its sections lie; `uuid` names the version. `Cancelled` as the control says.
    pub fn layout(&self, uuid: [u8; 16], control: &Control) -> Result<Layout<'_>> {
        self.writer(uuid).layout(control)
    }

    fn writer(&self, uuid: [u8; 16]) -> Writer<'_> {
        let Encoded { parts, content, .. } = self;
        let mut image = Writer::new(uuid);
        image.section(kinds::FACTS, &self.facts);
        Dictionary::Users.write(&mut image, parts.users.view());
        Dictionary::Items.write(&mut image, parts.items.view());
        if let (Some(factors), Some(search)) = (factors(parts, &self.ratings), &self.search) {
            search.write(factors, &mut image);
        }
        let mut by_popularity = &self.by_count;
        match parts.learned {
            Learned::Factors(_) => {}
            Learned::Stochastic(_, squares) => {
                image.section(kinds::USER_SQUARES, &squares.users);
                image.section(kinds::ITEM_SQUARES, &squares.items);
            }
            Learned::Sums(_) => {
                image.section(kinds::FOLDING, &sums::FOLDING);
            }
            Learned::Neighbours(neighbours) => neighbours.write(&mut image),
            Learned::Popular(popular) => {
                image.section(kinds::POPULARITY_SHARES, &self.shares);
                by_popularity = &popular.order;
            }
            Learned::Ratings(model, _) => {
                let facts = self.ratings.as_ref().map(|rows| std::slice::from_ref(&rows.facts));
                image.section(kinds::RATING_FACTS, facts.unwrap_or_default());
                image.section(kinds::USER_BIASES, &model.biases.users);
            }
        }
        image.section(kinds::POPULARITY, &self.popularity);
        image.section(kinds::BY_POPULARITY, by_popularity);
        image.section(kinds::SEEN_OFFSETS, &parts.user_items.offsets);
        image.section(kinds::SEEN_INDICES, &parts.user_items.indices);
        // What an update needs of the entries, and an explanation of ratings; most models have nothing but ones.
        let values = if self.all_ones { &[] } else { &parts.user_items.values[..] };
        image.section(kinds::SEEN_VALUES, values);
        for (kind, rows) in [(kinds::CONTENT_USERS, content.users), (kinds::CONTENT_ITEMS, content.items)] {
            if !rows.is_empty() {
                image.section(kind, rows);
            }
        }
        if let Some(OfSegments { partition, images, members, of_member }) = self.segments {
            image.section(kinds::USER_SEGMENTS, &partition.of_user);
            let (names, starts) = &self.segment_names;
            image.section(kinds::SEGMENT_NAMES, names).section(kinds::SEGMENT_NAME_OFFSETS, starts);
            image.pieces(kinds::SEGMENT_IMAGES, images.iter().map(|image| &image[..]).collect());
            image.section(kinds::SEGMENT_IMAGE_OFFSETS, &self.segment_ends);
            Dictionary::Members.write(&mut image, members.view());
            image.section(kinds::MEMBER_SEGMENTS, of_member);
        }
        image
    }
}

/// The rows that an image serves from.
fn factors<'a>(parts: &Parts<'a>, ratings: &'a Option<ratings::Rows>) -> Option<&'a Factors> {
    match parts.learned {
        Learned::Factors(factors) | Learned::Sums(factors) | Learned::Stochastic(factors, _) => Some(factors),
        _ => ratings.as_ref().map(|rows| &rows.factors),
    }
}

fn all_ones(values: &[f32], control: &Control) -> Result<bool> {
    for piece in values.chunks(1 << 18) {
        control.check()?;
        if piece.iter().any(|&value| value != 1.0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the search of factors needs.
#[derive(Debug)]
struct Search {
    users: Sections,
    items: Sections,
    gram: Vec<f32>,
}

impl Search {
    /// `known` is the Gram matrix, where it is not that of the items.
    fn new(
        learned: &Factors,
        known: Option<&[f32]>,
        threads: usize,
        budget: &mut Budget<'_>,
    ) -> Result<Search> {
        let Factors { factors, users, items } = learned;
        let control = budget.control();
        let users = quantize(users, *factors, threads, control)?;
        budget.adopt(users.bytes());
        let item_sections = quantize(items, *factors, threads, control)?;
        budget.adopt(item_sections.bytes());
        budget.take((factors * factors) as u64 * 4)?;
        let gram = match known {
            Some(known) => {
                let mut copy = Vec::new();
                copy.try_reserve_exact(known.len()).map_err(|_| budget.refused())?;
                copy.extend_from_slice(known);
                copy
            }
            None => gram(items, *factors, threads, control)?,
        };
        Ok(Search { users, items: item_sections, gram })
    }

    fn write<'b>(&'b self, factors: &'b Factors, image: &mut Writer<'b>) {
        image.section(kinds::USER_FACTORS, &factors.users);
        image.section(kinds::ITEM_FACTORS, &factors.items);
        image.section(kinds::USER_QUANTIZED, &self.users.quantized);
        image.section(kinds::USER_BOUNDS, &self.users.bounds);
        image.section(kinds::ITEM_QUANTIZED, &self.items.quantized);
        image.section(kinds::ITEM_BOUNDS, &self.items.bounds);
        if !self.gram.is_empty() {
            image.section(kinds::GRAM, &self.gram);
        }
    }
}
