//! Rows as they are read, in any order.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::ids::{IdBuilder, IdKind, IdRef};

use super::table::{Features, Kind, Raw};
use crate::CONTENT;

/// Collects what is known of items or users, one row for each. Memory is taken from the control as it grows.
#[derive(Debug)]
pub struct RowsBuilder<'c> {
    kinds: Vec<Kind>,
    ids: IdBuilder<'c>,
    /// Words with the number of their column before them: the same word in two columns is two.
    terms: IdBuilder<'c>,
    /// One per row and column of numbers; NaN where it is missing.
    numbers: Vec<f64>,
    /// Where the words of each row begin.
    starts: Vec<u64>,
    words: Vec<u32>,
    key: Vec<u8>,
    budget: Budget<'c>,
}

impl<'c> RowsBuilder<'c> {
    /// No rows yet. `id` is how their ids are kept.
    pub fn new(id: IdKind, kinds: &[Kind], control: &'c Control) -> Self {
        Self {
            kinds: kinds.to_vec(),
            ids: IdBuilder::new(id, "ids", control),
            terms: IdBuilder::new(IdKind::Bytes, "words", control),
            numbers: Vec::new(),
            starts: Vec::new(),
            words: Vec::new(),
            key: Vec::new(),
            budget: Budget::new(control, CONTENT),
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.starts.len()
    }

    /// Begins the row of an id; false, and no row, where the id has one. Errors as of [`IdBuilder`].
    pub fn start(&mut self, id: IdRef<'_>) -> Result<bool> {
        let row = self.ids.insert_one(id)? as usize;
        if row < self.rows() {
            return Ok(false);
        }
        if row.is_multiple_of(1024) {
            self.budget.control().check()?;
        }
        self.budget.reserve(&mut self.starts, 1)?;
        self.starts.push(self.words.len() as u64);
        let numbers = self.kinds.iter().filter(|kind| **kind == Kind::Number).count();
        self.budget.reserve(&mut self.numbers, numbers)?;
        self.numbers.resize(self.numbers.len() + numbers, f64::NAN);
        Ok(true)
    }

    /// A number of the row that was begun last. One that is not finite counts as missing.
    pub fn number(&mut self, column: usize, value: f64) {
        let place = |kinds: &[Kind]| kinds.iter().filter(|kind| **kind == Kind::Number).count();
        let behind = place(&self.kinds[column..]);
        let at = self.numbers.len() - behind;
        // -0 and 0 are the same number.
        self.numbers[at] = if value.is_finite() { value + 0.0 } else { f64::NAN };
    }

    /// A word of the row that was begun last. Errors as of [`IdBuilder`].
    pub fn word(&mut self, column: usize, word: &[u8]) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(&(column as u16).to_be_bytes());
        self.key.extend_from_slice(word);
        let term = self.terms.insert_one(IdRef::Bytes(&self.key))?;
        self.budget.reserve(&mut self.words, 1)?;
        self.words.push(term);
        Ok(())
    }

    /// Sorts the rows by their ids and makes features of them. The same rows give the same bits in whatever order they
    /// came. [`Features::bytes`] stay taken from the control. `Cancelled`, `Memory`, `NoMemory`.
    pub fn finish(self) -> Result<Features> {
        let Self { kinds, ids, terms, numbers, starts, words, budget, .. } = self;
        Features::of(&kinds, ids, terms, Raw { numbers, starts, words }, budget)
    }
}
