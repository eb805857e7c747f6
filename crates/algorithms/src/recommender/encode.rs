//! Writing the image of a recommender.

use crate::als::{Factors, gram};
use crate::budget::{Budget, WRITING};
use crate::control::Control;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::image::{AlignedBytes, Dictionary, Writer, kinds};
use crate::popularity;
use crate::search::quantize;

use super::Facts;

/// What a training made.
pub struct Parts<'a> {
    /// Ids of the users.
    pub users: &'a Ids,
    /// Ids of the items.
    pub items: &'a Ids,
    /// All interactions: what counts as seen.
    pub user_items: &'a Csr,
    /// Their transpose.
    pub item_users: &'a Csr,
    /// Factors of users and items.
    pub factors: &'a Factors,
    /// As in [`Facts`].
    pub regularization: f64,
    /// As in [`Facts`].
    pub alpha: f64,
    /// As in [`Facts`].
    pub user_class: u8,
    /// As in [`Facts`].
    pub item_class: u8,
}

/// The image of a model. `uuid` names the version. `Memory` and `Cancelled` as the control says; the bytes of
/// the image stay taken.
pub fn encode(parts: &Parts<'_>, uuid: [u8; 16], threads: usize, control: &Control) -> Result<AlignedBytes> {
    let Factors { factors, users: user_factors, items: item_factors } = parts.factors;
    let mut budget = Budget::new(control, WRITING);
    let user_sections = quantize(user_factors, *factors, threads, control)?;
    budget.adopt(user_sections.bytes());
    let item_sections = quantize(item_factors, *factors, threads, control)?;
    budget.adopt(item_sections.bytes());
    budget.take((factors * factors) as u64 * 4)?;
    let gram = gram(item_factors, *factors, threads, control)?;
    let popularity = popularity::counts(parts.item_users, &mut budget)?;
    let by_popularity = popularity::order(&popularity, &mut budget)?;

    let facts = Facts {
        regularization: parts.regularization,
        alpha: parts.alpha,
        entries: parts.user_items.entries() as u64,
        factors: u32::try_from(*factors)
            .map_err(|_| Error::TooMany { what: "factors", limit: u32::MAX.into() })?,
        user_class: parts.user_class,
        item_class: parts.item_class,
        reserved: [0; 2],
    };
    let facts = [facts];
    let mut image = Writer::new(uuid);
    image.section(kinds::FACTS, &facts);
    Dictionary::Users.write(&mut image, parts.users.view());
    Dictionary::Items.write(&mut image, parts.items.view());
    image.section(kinds::USER_FACTORS, user_factors);
    image.section(kinds::ITEM_FACTORS, item_factors);
    image.section(kinds::USER_QUANTIZED, &user_sections.quantized);
    image.section(kinds::USER_BOUNDS, &user_sections.bounds);
    image.section(kinds::ITEM_QUANTIZED, &item_sections.quantized);
    image.section(kinds::ITEM_BOUNDS, &item_sections.bounds);
    image.section(kinds::GRAM, &gram);
    image.section(kinds::POPULARITY, &popularity);
    image.section(kinds::BY_POPULARITY, &by_popularity);
    image.section(kinds::SEEN_OFFSETS, &parts.user_items.offsets);
    image.section(kinds::SEEN_INDICES, &parts.user_items.indices);
    let length = image.length();
    budget.take(length)?;
    let image = image.write(control)?;
    budget.keep(length);
    Ok(image)
}
