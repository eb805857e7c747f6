//! What makes two items similar: their users, counted and weighted in one of several ways. All but Jaccard are defined as in
//! the Python package implicit 0.7.3, whose weights they give to the last digits of f32.

use base::budget::Budget;
use base::csr::Csr;
use base::error::Result;
use base::pace::Pace;

/// A similarity of two items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Similarity {
    /// The cosine of their values.
    Cosine,
    /// Their common users by the users of either.
    Jaccard,
    /// The cosine of `sqrt(value) * idf(user)`, with `idf = ln(items) - ln(1 + items of the user)`.
    TfIdf,
    /// The product of `value (k1 + 1) / (value + k1 (1 - b + b length)) * idf(user)`, with `length` the sum of an item's
    /// values by the mean of all items. It is no cosine and has no largest value.
    Bm25 {
        /// How fast large values lose weight, at least 0; 1.2.
        k1: f64,
        /// How much items with many interactions lose, 0 to 1; 0.75.
        b: f64,
    },
}

/// How entries become products, and products a similarity.
pub(super) trait Measure: Sync {
    /// What an entry of an item is worth.
    fn entry(&self, value: f32, item: usize) -> f64;
    /// What a user is worth in a product.
    fn user(&self, user: usize) -> f64;
    /// The similarity of two items by their product.
    fn similarity(&self, product: f64, item: usize, other: usize) -> f64;
}

/// Cosine.
pub(super) struct Values {
    norms: Vec<f64>,
}

impl Values {
    pub(super) fn new(item_users: &Csr, budget: &mut Budget<'_>) -> Result<Self> {
        Ok(Self { norms: norms(item_users, |_, value| f64::from(value), budget)? })
    }
}

impl Measure for Values {
    #[inline(always)]
    fn entry(&self, value: f32, _: usize) -> f64 {
        f64::from(value)
    }

    #[inline(always)]
    fn user(&self, _: usize) -> f64 {
        1.0
    }

    #[inline(always)]
    fn similarity(&self, product: f64, item: usize, other: usize) -> f64 {
        product / (self.norms[item] * self.norms[other])
    }
}

/// Jaccard.
pub(super) struct Binary<'a> {
    item_users: &'a Csr,
}

impl<'a> Binary<'a> {
    pub(super) fn new(item_users: &'a Csr) -> Self {
        Self { item_users }
    }
}

impl Measure for Binary<'_> {
    #[inline(always)]
    fn entry(&self, _: f32, _: usize) -> f64 {
        1.0
    }

    #[inline(always)]
    fn user(&self, _: usize) -> f64 {
        1.0
    }

    #[inline(always)]
    fn similarity(&self, product: f64, item: usize, other: usize) -> f64 {
        let users = |item: usize| (self.item_users.offsets[item + 1] - self.item_users.offsets[item]) as f64;
        product / (users(item) + users(other) - product)
    }
}

/// TF-IDF.
pub(super) struct TfIdf {
    /// Squares: a product has a user's twice.
    idf: Vec<f64>,
    norms: Vec<f64>,
}

impl TfIdf {
    pub(super) fn new(user_items: &Csr, item_users: &Csr, budget: &mut Budget<'_>) -> Result<Self> {
        let idf = idf(user_items, item_users.rows(), budget)?;
        let norms = norms(item_users, |user, value| (f64::from(value) * idf[user]).sqrt(), budget)?;
        Ok(Self { idf, norms })
    }
}

impl Measure for TfIdf {
    #[inline(always)]
    fn entry(&self, value: f32, _: usize) -> f64 {
        f64::from(value).sqrt()
    }

    #[inline(always)]
    fn user(&self, user: usize) -> f64 {
        self.idf[user]
    }

    #[inline(always)]
    fn similarity(&self, product: f64, item: usize, other: usize) -> f64 {
        product / (self.norms[item] * self.norms[other])
    }
}

/// BM25.
pub(super) struct Bm25 {
    idf: Vec<f64>,
    k1: f64,
    /// `k1 (1 - b + b length)` of each item.
    damping: Vec<f64>,
}

impl Bm25 {
    pub(super) fn new(
        user_items: &Csr,
        item_users: &Csr,
        k1: f64,
        b: f64,
        budget: &mut Budget<'_>,
    ) -> Result<Self> {
        let idf = idf(user_items, item_users.rows(), budget)?;
        let mut damping = budget.with_capacity(item_users.rows())?;
        let mut pace = Pace::new(budget.control());
        for item in 0..item_users.rows() {
            let (_, values) = item_users.row(item);
            pace.step(values.len() + 1)?;
            damping.push(values.iter().map(|&value| f64::from(value)).sum::<f64>());
        }
        let mean = damping.iter().sum::<f64>() / damping.len() as f64;
        for length in &mut damping {
            *length = k1 * (1.0 - b + b * *length / mean);
        }
        Ok(Self { idf, k1, damping })
    }
}

impl Measure for Bm25 {
    #[inline(always)]
    fn entry(&self, value: f32, item: usize) -> f64 {
        let value = f64::from(value);
        value * (self.k1 + 1.0) / (self.damping[item] + value)
    }

    #[inline(always)]
    fn user(&self, user: usize) -> f64 {
        self.idf[user]
    }

    #[inline(always)]
    fn similarity(&self, product: f64, _: usize, _: usize) -> f64 {
        product
    }
}

/// The square of `ln(items) - ln(1 + items of the user)`, for each user.
fn idf(user_items: &Csr, items: usize, budget: &mut Budget<'_>) -> Result<Vec<f64>> {
    let mut idf = budget.with_capacity(user_items.rows())?;
    let mut pace = Pace::new(budget.control());
    for pair in user_items.offsets.windows(2) {
        pace.step(8)?;
        idf.push(((items as f64).ln() - ((pair[1] - pair[0]) as f64).ln_1p()).powi(2));
    }
    Ok(idf)
}

/// The length of each item's vector, whose entries `entry` gives.
fn norms(item_users: &Csr, entry: impl Fn(usize, f32) -> f64, budget: &mut Budget<'_>) -> Result<Vec<f64>> {
    let mut norms = budget.with_capacity(item_users.rows())?;
    let mut pace = Pace::new(budget.control());
    for item in 0..item_users.rows() {
        let (users, values) = item_users.row(item);
        let mut squares = 0.0;
        for (&user, &value) in users.iter().zip(values) {
            pace.step(1)?;
            squares += entry(user as usize, value).powi(2);
        }
        norms.push(squares.sqrt());
    }
    Ok(norms)
}
