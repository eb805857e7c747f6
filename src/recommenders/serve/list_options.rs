//! `options` of the forms of `recommend`: paging, diversity, few of a category, only what a relation shows.

use std::cell::Cell;

use recommenders::answers::Recommendation;
use recommenders::recommender::{Arrangement, Eligibility, Look};

use super::eligible::{Admission, Categories};
use super::served::Served;
use crate::pg::call::Call;
use crate::pg::error::{Code, Result, fail};
use crate::pg::memory;
use crate::pg::options::Options;

/// All keys.
const KEYS: [&str; 7] =
    ["categories", "diversity", "eligible", "eligible_column", "max_per_category", "offset", "segment"];

/// Those of items that are the same for everybody: no segment of a user answers.
const OF_ITEMS: [&str; 6] =
    ["categories", "diversity", "eligible", "eligible_column", "max_per_category", "offset"];

/// Keys of `categories`.
const CATEGORIES: [&str; 3] = ["category_column", "item_column", "relation"];

/// The options of a call; the default is a call without.
#[derive(Default)]
pub(super) struct ListOptions {
    /// Rows of the list before the first that comes.
    pub(super) offset: usize,
    diversity: f64,
    most_per_category: Option<usize>,
    /// Relation, column of the items, column of the categories.
    categories: Option<(String, Option<String>, String)>,
    /// Relation, column of the items.
    eligible: Option<(String, Option<String>)>,
    /// Name of the segment that answers.
    segment: Option<String>,
}

impl ListOptions {
    pub(super) fn read(call: &Call, index: usize) -> Result<ListOptions> {
        ListOptions::of(&Options::new(call.object(index, "options")?, &KEYS)?)
    }

    /// The same of `similar_items`.
    pub(super) fn of_items(call: &Call, index: usize) -> Result<ListOptions> {
        ListOptions::of(&Options::new(call.object(index, "options")?, &OF_ITEMS)?)
    }

    fn of(options: &Options) -> Result<ListOptions> {
        let count = |key, low| Ok(options.integer(key, low, i32::MAX.into())?.map(|number| number as usize));
        let most_per_category = count("max_per_category", 1)?;
        let categories = options.object("categories", &CATEGORIES)?;
        let categories = match &categories {
            None => None,
            Some(given) => Some((
                given.text("relation")?.ok_or_else(|| incomplete("categories", "relation"))?,
                given.text("item_column")?,
                given.text("category_column")?.ok_or_else(|| incomplete("categories", "category_column"))?,
            )),
        };
        let (eligible, column) = (options.text("eligible")?, options.text("eligible_column")?);
        match (most_per_category, &categories, &eligible, &column) {
            (Some(_), None, ..) => return Err(incomplete("max_per_category", "categories")),
            (None, Some(_), ..) => return Err(incomplete("categories", "max_per_category")),
            (.., None, Some(_)) => return Err(incomplete("eligible_column", "eligible")),
            _ => {}
        }
        let diversity = options.real("diversity")?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&diversity) {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("option \"diversity\" must be between 0 and 1, got {diversity}"),
            ));
        }
        Ok(ListOptions {
            offset: count("offset", 0)?.unwrap_or(0),
            diversity,
            most_per_category,
            categories,
            eligible: eligible.map(|relation| (relation, column)),
            segment: options.name("segment")?,
        })
    }

    /// The segment that was asked for; nothing where the model has none of that name.
    pub(super) fn segment(&self, served: &Served<'_>) -> Option<u32> {
        served.model.segment_named(self.segment.as_deref()?)
    }

    /// Resolves the relations, as the caller.
    pub(super) fn open<'a>(&'a self, served: &'a Served<'a>) -> Result<Opened<'a>> {
        let eligible = self
            .eligible
            .as_ref()
            .map(|(relation, column)| Admission::open(served, relation, column.as_deref()));
        let categories = self
            .categories
            .as_ref()
            .map(|(relation, item, category)| Categories::open(served, relation, item.as_deref(), category));
        Ok(Opened {
            wishes: self,
            served,
            eligible: eligible.transpose()?,
            categories: categories.transpose()?,
        })
    }
}

fn incomplete(key: &str, missing: &str) -> pgrx::pg_sys::panic::ErrorReport {
    fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, format!("option \"{key}\" needs \"{missing}\""))
}

/// Wishes whose relations are known.
pub(super) struct Opened<'a> {
    wishes: &'a ListOptions,
    served: &'a Served<'a>,
    eligible: Option<Admission>,
    categories: Option<Categories>,
}

impl Opened<'_> {
    /// The list that is asked for, of the best items of a ranking.
    pub(super) fn list(
        &mut self,
        k: usize,
        ranking: impl Fn(usize) -> Result<Vec<Recommendation>>,
    ) -> Result<Vec<Recommendation>> {
        let ListOptions { offset, diversity, most_per_category, .. } = *self.wishes;
        let live = self.eligible.is_some() || self.categories.is_some();
        if offset == 0 && diversity == 0.0 && !live {
            return ranking(k);
        }
        let arrangement =
            Arrangement { offset, k, diversity, most_per_category: most_per_category.unwrap_or(usize::MAX) };
        let served = self.served;
        let mut look = |items: &[u32]| -> Result<Vec<Eligibility>> {
            let mut standings = vec![Eligibility { admitted: true, ..Eligibility::default() }; items.len()];
            if let Some(eligible) = &self.eligible {
                eligible.look(served, items, &mut standings)?;
            }
            if let Some(categories) = &mut self.categories {
                categories.look(served, items, &mut standings)?;
            }
            Ok(standings)
        };
        let look: Option<&mut Look<'_, _>> = if live { Some(&mut look) } else { None };
        // A ranking that failed ends the list, and then nobody gets it.
        let failed = Cell::new(None);
        let ranking = |n| {
            ranking(n).unwrap_or_else(|error| {
                failed.set(Some(error));
                Vec::new()
            })
        };
        let list = served.model.arrange(arrangement, ranking, look, &mut memory::interrupts)?;
        failed.take().map_or(Ok(list), Err)
    }
}
