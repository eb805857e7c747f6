//! Models of segments inside the model of all: the users of a segment are served by its own.
//!
//! What is known of a segment is a whole image by itself, whose ids are rows of the model of all. It holds either a model like
//! that of all, of the segment's users alone, or how popular items are among them.

use base::control::Control;
use base::error::{Error, Result};
use base::ids::{IdRef, IdsRef};
use base::image::{Dictionary, Image, Texts, kinds};

use crate::answers::{Filter, Recommendation, Source};
use crate::partition::NONE;

use super::{Body, Recommender};

/// The segments of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments<'a> {
    names: Texts<'a>,
    of_user: &'a [u32],
    images: &'a [u8],
    offsets: &'a [u64],
    /// Who has a segment and no interactions.
    members: IdsRef<'a>,
    of_member: &'a [u32],
}

impl<'a> Segments<'a> {
    /// Nothing where the model has none.
    pub(super) fn read(image: &Image<'a>, users: usize) -> Result<Option<Self>> {
        let Some(of_user) = image.optional_section::<u32>(kinds::USER_SEGMENTS)? else { return Ok(None) };
        let segments = Self {
            names: Texts::read(image, kinds::SEGMENT_NAMES, kinds::SEGMENT_NAME_OFFSETS)?,
            of_user,
            images: image.section(kinds::SEGMENT_IMAGES)?,
            offsets: image.section(kinds::SEGMENT_IMAGE_OFFSETS)?,
            members: Dictionary::Members.read(image)?,
            of_member: image.section(kinds::MEMBER_SEGMENTS)?,
        };
        let fits = of_user.len() == users
            && segments.offsets.len() == segments.names.len() + 1
            && segments.of_member.len() == segments.members.len();
        if fits { Ok(Some(segments)) } else { Err(Error::Corrupted("segments do not fit the model")) }
    }

    /// The number of a segment by its name.
    fn find(&self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.names.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.names.get(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle as u32),
            }
        }
        None
    }

    /// What is known of a segment; nothing for one that does not exist or is damaged.
    fn open(&self, segment: u32) -> Option<Recommender<'a>> {
        self.opened(segment).ok()
    }

    fn opened(&self, segment: u32) -> Result<Recommender<'a>> {
        let damaged = Error::Corrupted("the image of a segment");
        let at = segment as usize;
        let ends = (self.offsets.get(at), self.offsets.get(at + 1));
        let (Some(&start), Some(&end)) = ends else { return Err(damaged) };
        let bytes = self.images.get(start as usize..end as usize).ok_or(damaged.clone())?;
        let image = Image::open(bytes)?;
        // A segment has no segments.
        if image.optional_section::<u32>(kinds::USER_SEGMENTS)?.is_some() {
            return Err(damaged);
        }
        Recommender::new(&image)
    }

    /// The full check.
    pub(super) fn check(&self, whole: &Recommender<'_>, control: &Control) -> Result<()> {
        let wrong = |what| Err(Error::Corrupted(what));
        self.names.check()?;
        let count = self.names.len() as u32;
        if !(1..self.names.len()).all(|at| self.names.get(at - 1) < self.names.get(at)) {
            return wrong("names of segments are not in order");
        }
        for numbers in [self.of_user, self.of_member] {
            for piece in numbers.chunks(1 << 16) {
                control.check()?;
                if piece.iter().any(|&segment| segment >= count && segment != NONE) {
                    return wrong("the number of a segment is out of range");
                }
            }
        }
        self.members.check(control)?;
        if self.members.kind() != whole.users.kind()
            || self.offsets.last() != Some(&(self.images.len() as u64))
        {
            return wrong("segments do not fit the model");
        }
        for segment in 0..count {
            let model = self.opened(segment)?;
            model.check(control)?;
            let (IdsRef::Integer(users), IdsRef::Integer(items)) = (model.users, model.items) else {
                return wrong("a segment whose ids are no rows");
            };
            for piece in users.chunks(1 << 16) {
                control.check()?;
                let own = |&user: &i64| {
                    usize::try_from(user).is_ok_and(|user| self.of_user.get(user) == Some(&segment))
                };
                if !piece.iter().all(own) {
                    return wrong("a segment has a user of another one");
                }
            }
            let within =
                |row: Option<&i64>| row.is_none_or(|&row| (0..whole.items.len() as i64).contains(&row));
            // They rise: the dictionary was checked.
            if !within(items.first()) || !within(items.last()) {
                return wrong("a segment has an item that the model has not");
            }
        }
        Ok(())
    }
}

/// The model of a segment, whose rows are spoken of as rows of the model of all.
pub(super) struct Part<'a> {
    pub(super) model: Recommender<'a>,
}

fn row_of(id: Option<IdRef<'_>>) -> Option<u32> {
    match id {
        Some(IdRef::Integer(row)) => u32::try_from(row).ok(),
        _ => None,
    }
}

impl Part<'_> {
    pub(super) fn user(&self, row: u32) -> Option<u32> {
        self.model.users.find(IdRef::Integer(row.into()))
    }

    pub(super) fn item(&self, row: u32) -> Option<u32> {
        self.model.items.find(IdRef::Integer(row.into()))
    }

    fn items(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().filter_map(|&row| self.item(row)).collect()
    }

    /// What an item of the part is in the model of all.
    pub(super) fn whole_item(&self, item: u32) -> Option<u32> {
        row_of(self.model.items.get(item))
    }

    /// An answer of the part as one of the model of all.
    pub(super) fn out(&self, mut found: Vec<Recommendation>) -> Vec<Recommendation> {
        found.retain_mut(|each| {
            if each.source == Source::Popular {
                each.source = Source::Segment;
            }
            let row = self.whole_item(each.item);
            each.item = row.unwrap_or_default();
            row.is_some()
        });
        found
    }
}

impl<'a> Recommender<'a> {
    /// The number of a segment by its name; nothing where the model has none of that name.
    pub fn segment_named(&self, name: &str) -> Option<u32> {
        self.segments.and_then(|segments| segments.find(name))
    }

    /// The segment that somebody had in the training, with interactions or without. `user` is the row of the id, where there
    /// is one.
    pub fn segment_of(&self, user: Option<u32>, id: IdRef<'_>) -> Option<u32> {
        let segments = self.segments?;
        let found = match user {
            Some(user) => segments.of_user.get(user as usize),
            None => segments.of_member.get(segments.members.find(id)? as usize),
        };
        found.copied().filter(|&segment| segment != NONE)
    }

    /// How many segments there are, and how many of those have a model of their own.
    pub fn segments(&self) -> (usize, usize) {
        let Some(segments) = self.segments else { return (0, 0) };
        let count = segments.names.len();
        let own = |&segment: &u32| segments.open(segment).is_some_and(|model| self.is_like(&model));
        (count, (0..count as u32).filter(own).count())
    }

    /// Whether what is known of a segment is a model as this one is, and not popularity alone.
    pub(super) fn is_like(&self, part: &Recommender<'_>) -> bool {
        matches!(part.body, Body::Popular(_)) == matches!(self.body, Body::Popular(_))
    }

    /// What is known of the segment that was asked for, or that a user had in the training.
    pub(super) fn part(&self, user: Option<u32>, segment: Option<u32>) -> Option<Part<'a>> {
        let segments = self.segments?;
        let of_user = || user.and_then(|user| segments.of_user.get(user as usize).copied());
        let model = segments.open(segment.or_else(of_user)?)?;
        Some(Part { model })
    }

    /// The same where it is a model that serves in place of this one.
    pub(super) fn own_part(&self, user: Option<u32>, segment: Option<u32>) -> Option<Part<'a>> {
        self.part(user, segment).filter(|part| self.is_like(&part.model))
    }

    /// The best items by the model of a segment for a user of it, whom it knows, or for somebody who has `items`, rising, with
    /// these values. What the segment does not know comes after, by popularity.
    pub(super) fn by_part(
        &self,
        part: &Part<'_>,
        user: Option<u32>,
        (items, values): (&[u32], Option<&[f32]>),
        k: usize,
        filter: Filter<'_>,
    ) -> Result<Vec<Recommendation>> {
        let candidates = filter.candidates.map(|candidates| part.items(candidates));
        let exclude = part.items(filter.exclude);
        let within = Filter { exclude: &exclude, candidates: candidates.as_deref(), segment: None, ..filter };
        let found = match user.and_then(|user| part.user(user)) {
            Some(user) => part.model.recommend_with(Some(user), k, within)?,
            None => {
                let (mut own, mut of_own) = (Vec::new(), Vec::new());
                for (at, &item) in items.iter().enumerate() {
                    if let Some(item) = part.item(item) {
                        own.push(item);
                        of_own.extend(values.and_then(|values| values.get(at)));
                    }
                }
                let values = values.is_some().then_some(&of_own[..]);
                part.model.for_entries(&own, values, k, within)?
            }
        };
        Ok(self.filled(part.out(found), k, items, filter))
    }

    /// The most popular items of a segment.
    pub(super) fn popular_in(
        &self,
        part: &Part<'_>,
        k: usize,
        own: &[u32],
        filter: Filter<'_>,
    ) -> Vec<Recommendation> {
        let candidates = filter.candidates.map(|candidates| part.items(candidates));
        let (own_rows, exclude) = (part.items(own), part.items(filter.exclude));
        let excluded = |item: u32| {
            (!filter.keep_seen && own_rows.binary_search(&item).is_ok())
                || exclude.binary_search(&item).is_ok()
        };
        let found = part.model.popular(k, candidates.as_deref(), &excluded);
        self.filled(part.out(found), k, own, filter)
    }

    /// An answer of a segment, filled up to `k` by the popularity of all.
    pub(super) fn filled(
        &self,
        mut found: Vec<Recommendation>,
        k: usize,
        own: &[u32],
        filter: Filter<'_>,
    ) -> Vec<Recommendation> {
        if found.len() < k {
            let mut listed: Vec<u32> = found.iter().map(|each| each.item).collect();
            listed.sort_unstable();
            let excluded = |item: u32| {
                listed.binary_search(&item).is_ok()
                    || (!filter.keep_seen && own.binary_search(&item).is_ok())
                    || filter.exclude.binary_search(&item).is_ok()
            };
            found.extend(self.popular(k - found.len(), filter.candidates, &excluded));
        }
        found
    }
}
