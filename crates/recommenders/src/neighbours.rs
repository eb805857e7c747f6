//! Items and the items that speak for them: a sparse matrix of items by items, what item-based recommenders learn
//! ([`crate::ease`], [`crate::item_knn`]).
//!
//! The row of an item holds what having it says about other items, in the order of those, not of their weights: an item is
//! then found in a row by bisection, and a row that is added to scores moves through memory in one direction.

mod serve;

use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::image::{Image, Writer, kinds};
use base::pace::Pace;
pub use serve::Scratch;

/// The neighbours of every item: row `r` holds the pairs `items[a..b]`, `weights[a..b]` with `a = offsets[r]`,
/// `b = offsets[r + 1]`; the items of a row rise strictly and do not have `r` among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbours {
    /// `rows + 1` positions; the first is 0.
    pub offsets: Vec<u64>,
    /// The neighbour of each entry.
    pub items: Vec<u32>,
    /// What the item of the row says about it.
    pub weights: Vec<f32>,
}

impl Neighbours {
    /// A view, for everything that reads.
    pub fn view(&self) -> NeighboursRef<'_> {
        NeighboursRef { offsets: &self.offsets, items: &self.items, weights: &self.weights }
    }

    /// Memory of the matrix.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.offsets.len().saturating_sub(1), self.items.len() as u64)
    }

    /// Memory of a matrix of so many items and entries.
    pub(crate) fn bytes_of(items: usize, entries: u64) -> u64 {
        (items as u64 + 1) * 8 + entries * 8
    }

    /// Adds the sections of an image.
    pub fn write<'a>(&'a self, image: &mut Writer<'a>) {
        image.section(kinds::NEIGHBOUR_OFFSETS, &self.offsets);
        image.section(kinds::NEIGHBOUR_ITEMS, &self.items);
        image.section(kinds::NEIGHBOUR_WEIGHTS, &self.weights);
    }
}

/// A view of neighbours, in memory or in an image. Damaged contents give wrong answers, never a panic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeighboursRef<'a> {
    offsets: &'a [u64],
    items: &'a [u32],
    weights: &'a [f32],
}

impl<'a> NeighboursRef<'a> {
    /// A view of the sections of an opened image. It looks at lengths only. Errors: `Corrupted` where a section is missing
    /// or they disagree.
    pub fn read(image: &Image<'a>) -> Result<Self> {
        let offsets = image.section(kinds::NEIGHBOUR_OFFSETS)?;
        let items = image.section(kinds::NEIGHBOUR_ITEMS)?;
        let weights = image.section(kinds::NEIGHBOUR_WEIGHTS)?;
        if offsets.is_empty() || items.len() != weights.len() {
            return Err(Error::Corrupted("sections do not fit each other"));
        }
        Ok(Self { offsets, items, weights })
    }

    /// The full check, which reads everything: offsets that cover the entries, neighbours that exist, in order and other
    /// than the item itself, finite weights. Errors: `Corrupted`, `Cancelled`.
    pub fn check(&self, control: &Control) -> Result<()> {
        let rising = self.offsets.is_sorted() && self.offsets.first() == Some(&0);
        if !rising || self.offsets.last() != Some(&(self.items.len() as u64)) {
            return Err(Error::Corrupted("offsets of the neighbours do not cover them"));
        }
        let mut pace = Pace::new(control);
        for item in 0..self.len() as u32 {
            let (items, weights) = self.row(item);
            pace.step(items.len() + 1)?;
            if !items.is_sorted_by(|a, b| a < b) {
                return Err(Error::Corrupted("neighbours are not in order"));
            }
            if items.last().is_some_and(|&last| last as usize >= self.len()) {
                return Err(Error::Corrupted("a neighbour out of range"));
            }
            if items.binary_search(&item).is_ok() {
                return Err(Error::Corrupted("an item that is its own neighbour"));
            }
            if !weights.iter().all(|weight| weight.is_finite()) {
                return Err(Error::Corrupted("a weight that is not finite"));
            }
        }
        Ok(())
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Neighbours of all items.
    pub fn entries(&self) -> usize {
        self.items.len()
    }

    /// The neighbours of an item, rising, and their weights; nothing for an item that does not exist.
    pub fn row(&self, item: u32) -> (&'a [u32], &'a [f32]) {
        let item = item as usize;
        let range = match (self.offsets.get(item), self.offsets.get(item + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        };
        match (self.items.get(range.clone()), self.weights.get(range)) {
            (Some(items), Some(weights)) => (items, weights),
            _ => (&[], &[]),
        }
    }

    /// What an item says about another; nothing where they are not neighbours.
    pub fn weight(&self, item: u32, other: u32) -> Option<f32> {
        let (items, weights) = self.row(item);
        items.binary_search(&other).ok().and_then(|at| weights.get(at).copied())
    }
}

/// Whether a matrix of users by items and its transpose are that: `Corrupted` where their shapes disagree.
pub(crate) fn check_shapes(user_items: &Csr, item_users: &Csr, control: &Control) -> Result<()> {
    let mut pace = Pace::new(control);
    let mut consistent = |matrix: &Csr, columns: usize| -> Result<bool> {
        for row in 0..matrix.rows() {
            if matrix.offsets[row] > matrix.offsets[row + 1]
                || matrix.offsets[row + 1] > matrix.entries() as u64
            {
                return Ok(false);
            }
            let (indices, _) = matrix.row(row);
            pace.step(indices.len() + 1)?;
            if indices.last().is_some_and(|&last| last as usize >= columns)
                || !indices.is_sorted_by(|a, b| a < b)
            {
                return Ok(false);
            }
        }
        Ok(matrix.offsets.last().is_none_or(|&end| end == matrix.entries() as u64))
    };
    let agree = user_items.entries() == item_users.entries()
        && user_items.values.len() == user_items.entries()
        && item_users.values.len() == item_users.entries()
        && consistent(user_items, item_users.rows())?
        && consistent(item_users, user_items.rows())?;
    if agree { Ok(()) } else { Err(Error::Corrupted("the shapes of the matrices disagree")) }
}
