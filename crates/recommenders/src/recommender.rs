//! A recommender model as one image: what a version's training writes and what serving reads in place.

mod all;
mod arrange;
mod encode;
mod explain;
mod ratings;
mod segments;
mod serve;
mod sums;

pub use arrange::{Arrangement, Eligibility, Look, SHORTLIST};
pub use encode::{Encoded, Learned, OfSegments, Parts, encode, encode_segment, encode_with};
pub use ratings::RatingFacts;

use std::cmp::Reverse;

use base::control::Control;
use base::error::{Error, Result};
use base::ids::IdsRef;
use base::image::{Dictionary, Image, kinds};
use bytemuck::{Pod, Zeroable};
use vectors::search::{Bounds, Index};

use crate::neighbours::NeighboursRef;
use ratings::Ratings;
use segments::Segments;

/// The numbers of a model that are not arrays.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Facts {
    /// Weight of the squared factors in training.
    pub regularization: f64,
    /// Confidence of an entry is `1 + alpha * value`.
    pub alpha: f64,
    /// Distinct pairs of a user and an item.
    pub entries: u64,
    /// Numbers per user and per item, of ratings with one more for the bias of the item; 0 where none were learned.
    pub factors: u32,
    /// The caller's number for the type of user ids.
    pub user_class: u8,
    /// The caller's number for the type of item ids.
    pub item_class: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// A view of an image. Opening it looks at lengths only; damaged contents give wrong answers, never a panic.
#[derive(Debug, Clone, Copy)]
pub struct Recommender<'a> {
    /// The numbers that are not arrays.
    pub facts: Facts,
    /// The users of the training, in the order of their ids.
    pub users: IdsRef<'a>,
    /// The items of the training, in the order of their ids.
    pub items: IdsRef<'a>,
    body: Body<'a>,
    popularity: &'a [u32],
    by_popularity: &'a [u32],
    seen_offsets: &'a [u64],
    seen: &'a [u32],
    /// Nothing in images that are older than the section.
    seen_values: Option<&'a [f32]>,
    content_users: &'a [u32],
    content_items: &'a [u32],
    /// Nothing where the model has none.
    segments: Option<Segments<'a>>,
}

/// Values looked through between two looks at the control: less than 1 ms.
const VALUES: usize = 1 << 18;

/// What was learned of the interactions.
#[derive(Debug, Clone, Copy)]
enum Body<'a> {
    Factors(Factors<'a>),
    Neighbours(NeighboursRef<'a>),
    /// Each item's share of all interactions.
    Popular(&'a [f64]),
}

/// Factors and how they are searched.
#[derive(Debug, Clone, Copy)]
struct Factors<'a> {
    user_index: Index<'a>,
    item_index: Index<'a>,
    users: &'a [f32],
    items: &'a [f32],
    gram: &'a [f32],
    /// What makes ratings of products.
    ratings: Option<Ratings<'a>>,
    /// Whether a user's row is the sum of those of the user's items (`sums.rs`).
    sums: bool,
    /// Of users and items, what their training can go on from.
    squares: Option<[&'a [f32]; 2]>,
}

impl<'a> Factors<'a> {
    fn read(image: &Image<'a>, factors: usize) -> Result<Factors<'a>> {
        let users = image.section(kinds::USER_FACTORS)?;
        let items = image.section(kinds::ITEM_FACTORS)?;
        let sums = sums::read(image)?;
        Ok(Factors {
            user_index: index(image, users, factors, kinds::USER_QUANTIZED, kinds::USER_BOUNDS)?,
            item_index: index(image, items, factors, kinds::ITEM_QUANTIZED, kinds::ITEM_BOUNDS)?,
            users,
            items,
            gram: if sums { &[] } else { image.section(kinds::GRAM)? },
            ratings: Ratings::read(image)?,
            sums,
            squares: match image.optional_section(kinds::USER_SQUARES)? {
                Some(users) => Some([users, image.section(kinds::ITEM_SQUARES)?]),
                None => None,
            },
        })
    }
}

impl<'a> Recommender<'a> {
    /// A view of an opened image; `Corrupted` where sections are missing or their lengths disagree.
    pub fn new(image: &Image<'a>) -> Result<Recommender<'a>> {
        let [facts] = image.section::<Facts>(kinds::FACTS)? else {
            return Err(Error::Corrupted("facts are missing"));
        };
        let factors = facts.factors as usize;
        let body = if image.optional_section::<u8>(kinds::NEIGHBOUR_OFFSETS)?.is_some() {
            Body::Neighbours(NeighboursRef::read(image)?)
        } else if let Some(shares) = image.optional_section(kinds::POPULARITY_SHARES)? {
            Body::Popular(shares)
        } else {
            Body::Factors(Factors::read(image, factors)?)
        };
        let users = Dictionary::Users.read(image)?;
        let items = Dictionary::Items.read(image)?;
        let model = Recommender {
            facts: *facts,
            users,
            items,
            body,
            popularity: image.section(kinds::POPULARITY)?,
            by_popularity: image.section(kinds::BY_POPULARITY)?,
            seen_offsets: image.section(kinds::SEEN_OFFSETS)?,
            seen: image.section(kinds::SEEN_INDICES)?,
            seen_values: image.optional_section(kinds::SEEN_VALUES)?,
            content_users: image.optional_section(kinds::CONTENT_USERS)?.unwrap_or_default(),
            content_items: image.optional_section(kinds::CONTENT_ITEMS)?.unwrap_or_default(),
            segments: Segments::read(image, users.len())?,
        };
        let (users, items) = (users.len(), items.len());
        let learned = match &model.body {
            Body::Factors(body) => {
                body.user_index.rows() == users
                    && body.item_index.rows() == items
                    && (body.sums || body.gram.len() == factors * factors)
                    && !(body.sums && body.ratings.is_some())
                    && body.ratings.is_none_or(|ratings| ratings.fits(users, factors))
                    && body.squares.is_none_or(|squares| squares.map(<[f32]>::len) == [users, items])
            }
            Body::Neighbours(body) => body.len() == items && factors == 0,
            Body::Popular(shares) => shares.len() == items && factors == 0,
        };
        let valued = |values: &[f32]| values.is_empty() || values.len() == model.seen.len();
        let fits = learned
            && model.seen_values.is_none_or(valued)
            && model.popularity.len() == items
            && model.by_popularity.len() == items
            && model.seen_offsets.len() == users + 1;
        if fits { Ok(model) } else { Err(Error::Corrupted("sections do not fit each other")) }
    }

    /// The full check, which reads everything, of what serving relies on: ids, seen items and popularity in order
    /// and within their ranges, counts that agree, and factors that are finite and searched exactly. A model that
    /// passes answers as the slow, plain computation over its factors would. The checksums are the image's own
    /// ([`Image::verify`]). `Error::Corrupted` for the first thing that is wrong, `Error::Cancelled`.
    pub fn check(&self, control: &Control) -> Result<()> {
        self.check_facts()?;
        self.users.check(control)?;
        self.items.check(control)?;
        self.check_seen(control)?;
        self.check_popularity(control)?;
        self.check_content(control)?;
        if let Some(segments) = &self.segments {
            segments.check(self, control)?;
        }
        match &self.body {
            Body::Factors(body) => {
                body.user_index.check(control)?;
                body.item_index.check(control)?;
                if !body.gram.iter().all(|number| number.is_finite()) {
                    return Err(Error::Corrupted("a Gram matrix that is not finite"));
                }
                let summed = |square: &f32| square.is_finite() && *square >= 0.0;
                if !body.squares.iter().flatten().all(|squares| squares.iter().all(summed)) {
                    return Err(Error::Corrupted("a sum of squares out of range"));
                }
                body.ratings.map_or(Ok(()), |ratings| ratings.check())
            }
            Body::Neighbours(body) => body.check(control),
            Body::Popular(shares) if shares.iter().all(|share| (0.0..=1.0).contains(share)) => Ok(()),
            Body::Popular(_) => Err(Error::Corrupted("a share out of range")),
        }
    }

    fn check_facts(&self) -> Result<()> {
        let Facts { regularization, alpha, entries, reserved, .. } = self.facts;
        let finite = regularization.is_finite() && alpha.is_finite();
        if finite && regularization >= 0.0 && alpha >= 0.0 && reserved == [0; 2] && entries == self.entries()
        {
            Ok(())
        } else {
            Err(Error::Corrupted("facts out of range"))
        }
    }

    /// What is seen in all.
    fn entries(&self) -> u64 {
        self.seen.len() as u64
    }

    fn check_seen(&self, control: &Control) -> Result<()> {
        let offsets = self.seen_offsets;
        let rising = offsets.is_sorted() && offsets.first() == Some(&0);
        if !rising || offsets.last() != Some(&self.entries()) {
            return Err(Error::Corrupted("offsets of the seen items do not cover them"));
        }
        let items = self.items.len() as u64;
        for user in 0..self.users.len() as u32 {
            control.check()?;
            let seen = self.seen(user);
            if !seen.is_sorted_by(|a, b| a < b) {
                return Err(Error::Corrupted("seen items are not in order"));
            }
            if seen.last().is_some_and(|&item| u64::from(item) >= items) {
                return Err(Error::Corrupted("an item out of range"));
            }
        }
        for values in self.seen_values.unwrap_or(&[]).chunks(VALUES) {
            control.check()?;
            if values.iter().any(|value| value.is_nan()) {
                return Err(Error::Corrupted("a value that is no number"));
            }
        }
        Ok(())
    }

    fn check_popularity(&self, control: &Control) -> Result<()> {
        control.check()?;
        let counted: u64 = self.popularity.iter().map(|&count| u64::from(count)).sum();
        if counted != self.entries() {
            return Err(Error::Corrupted("popularity does not count what is seen"));
        }
        if self.by_popularity.iter().any(|&item| item as usize >= self.items.len()) {
            return Err(Error::Corrupted("an item out of range"));
        }
        control.check()?;
        // As many items as there are, each strictly behind the one before: so each of them once.
        let place = |item: u32| (Reverse(self.rank_key(item)), item);
        if !self.by_popularity.is_sorted_by(|&a, &b| place(a) < place(b)) {
            return Err(Error::Corrupted("items are not in the order of their popularity"));
        }
        Ok(())
    }

    /// Rows that follow from features alone rise, are within their range and have no interactions.
    fn check_content(&self, control: &Control) -> Result<()> {
        let users = |row: u32| (row as usize) < self.users.len() && self.seen(row).is_empty();
        let items = |row: u32| self.popularity.get(row as usize) == Some(&0);
        type Fits<'f> = &'f dyn Fn(u32) -> bool;
        for (rows, fits) in [(self.content_users, &users as Fits<'_>), (self.content_items, &items)] {
            if !rows.is_sorted_by(|a, b| a < b) {
                return Err(Error::Corrupted("rows of content are not in order"));
            }
            for rows in rows.chunks(1 << 16) {
                control.check()?;
                if !rows.iter().all(|&row| fits(row)) {
                    return Err(Error::Corrupted("a row of content has interactions or is out of range"));
                }
            }
        }
        Ok(())
    }

    /// Whether the factors of a user follow from features alone.
    pub fn is_content_user(&self, user: u32) -> bool {
        self.content_users.binary_search(&user).is_ok()
    }

    /// Whether the factors of an item follow from features alone.
    pub fn is_content_item(&self, item: u32) -> bool {
        self.content_items.binary_search(&item).is_ok()
    }

    /// What items are popular by: a number in the order of their shares.
    fn rank_key(&self, item: u32) -> u64 {
        match &self.body {
            // Bits of numbers that are not negative are in their order.
            Body::Popular(shares) => shares.get(item as usize).map_or(0, |share| share.to_bits()),
            _ => self.popularity.get(item as usize).copied().unwrap_or(0).into(),
        }
    }

    /// An item's share of all interactions.
    fn share(&self, item: u32) -> f64 {
        let at = item as usize;
        match &self.body {
            Body::Popular(shares) => shares.get(at).copied().unwrap_or(0.0),
            _ => self
                .popularity
                .get(at)
                .map_or(0.0, |&count| f64::from(count) / self.facts.entries.max(1) as f64),
        }
    }

    /// The items of a user, rising; empty for a user who is not known.
    pub fn seen(&self, user: u32) -> &'a [u32] {
        let user = user as usize;
        match (self.seen_offsets.get(user), self.seen_offsets.get(user + 1)) {
            (Some(&start), Some(&end)) => self.seen.get(start as usize..end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// Whether the values of what is seen are known: images of earlier versions do not have them.
    pub fn has_values(&self) -> bool {
        self.seen_values.is_some()
    }

    /// The items of a user, rising, and their values; no values where all are 1, or not known.
    pub fn entries_of(&self, user: u32) -> (&'a [u32], Option<&'a [f32]>) {
        let items = self.seen(user);
        let start = self.seen_offsets.get(user as usize).map_or(0, |&start| start as usize);
        let end = start.saturating_add(items.len());
        let values = self.seen_values.filter(|values| !values.is_empty());
        (items, values.and_then(|values| values.get(start..end)))
    }

    /// What is searched for a user: the factors; nothing where none were learned.
    pub fn user_factors(&self, user: u32) -> Option<&'a [f32]> {
        match &self.body {
            Body::Factors(body) => row(body.users, self.facts.factors, user),
            _ => None,
        }
    }

    /// What is searched among the items: the factors; nothing where none were learned.
    pub fn item_factors(&self, item: u32) -> Option<&'a [f32]> {
        match &self.body {
            Body::Factors(body) => row(body.items, self.facts.factors, item),
            _ => None,
        }
    }

    /// The factors of a user and, of ratings, the bias apart.
    pub fn user_parts(&self, user: u32) -> Option<(&'a [f32], Option<f32>)> {
        let factors = self.user_factors(user)?;
        match self.ratings() {
            Some(ratings) => Some((&factors[..factors.len() - 1], Some(ratings.user_bias(user)))),
            None => Some((factors, None)),
        }
    }

    /// The factors of an item and, of ratings, the bias apart.
    pub fn item_parts(&self, item: u32) -> Option<(&'a [f32], Option<f32>)> {
        let factors = self.item_factors(item)?;
        match (self.ratings(), factors.split_last()) {
            (Some(_), Some((&bias, factors))) => Some((factors, Some(bias))),
            _ => Some((factors, None)),
        }
    }

    /// What the optimizer of the training has summed up of users and items; nothing where it cannot go on from it.
    pub fn squares(&self) -> Option<[&'a [f32]; 2]> {
        match &self.body {
            Body::Factors(body) => body.squares,
            _ => None,
        }
    }

    /// Whether scores are ratings.
    pub fn rates(&self) -> bool {
        self.ratings().is_some()
    }

    /// What makes ratings of products; nothing where no ratings were learned.
    fn ratings(&self) -> Option<Ratings<'a>> {
        match &self.body {
            Body::Factors(body) => body.ratings,
            _ => None,
        }
    }
}

fn row(rows: &[f32], factors: u32, at: u32) -> Option<&[f32]> {
    let (factors, at) = (factors as usize, at as usize);
    rows.get(at * factors..(at + 1) * factors)
}

fn index<'a>(
    image: &Image<'a>,
    rows: &'a [f32],
    factors: usize,
    quantized: u32,
    bounds: u32,
) -> Result<Index<'a>> {
    Index::new(rows, factors, image.section::<i8>(quantized)?, image.section::<Bounds>(bounds)?)
}
