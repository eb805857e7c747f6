//! Taking rows batch by batch.

use base::budget::{Budget, READING};
use base::control::Control;
use base::error::{Error, Result};
use base::ids::{IdBuilder, IdKind, IdsRef, SortedIds};

use super::Interactions;
use super::chunk::{CHUNK, Chunk, Repeats};
use super::counting::{self, Cell, Plain, Timed};

/// Takes rows in any order and sorts them at the end. Every row becomes an entry or a part of one, whatever its value.
///
/// Memory: 12 bytes a row while reading (20 with times) and at most 24 (40) while sorting, beside the ids.
#[derive(Debug)]
pub struct InteractionsBuilder<'c> {
    users: IdBuilder<'c>,
    items: IdBuilder<'c>,
    with_time: bool,
    repeats: Repeats,
    chunks: Vec<Chunk>,
    rows: u64,
    budget: Budget<'c>,
}

impl<'c> InteractionsBuilder<'c> {
    /// No rows yet. Memory is taken from `control` and given back when the builder is dropped.
    pub fn new(user_kind: IdKind, item_kind: IdKind, with_time: bool, control: &'c Control) -> Self {
        Self {
            users: IdBuilder::new(user_kind, "users", control),
            items: IdBuilder::new(item_kind, "items", control),
            with_time,
            repeats: Repeats::default(),
            chunks: Vec::new(),
            rows: 0,
            budget: Budget::new(control, READING),
        }
    }

    /// The same builder, with another rule for repeated pairs.
    pub fn repeats(self, repeats: Repeats) -> Self {
        Self { repeats, ..self }
    }

    /// Rows taken so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Memory held now, ids included.
    pub fn bytes(&self) -> u64 {
        self.users.bytes() + self.items.bytes() + self.budget.taken()
    }

    /// Takes a batch of rows: row `n` is `(users[n], items[n], values[n], times[n])`. The ids are of the kinds
    /// given to `new`, the values finite, `times` empty if there is no time column. Batches of a few hundred rows
    /// and more are the fastest.
    ///
    /// `Error::Parameter` where lengths or kinds differ, `Error::TooMany`, `Error::Memory`, `Error::Cancelled`.
    /// After an error a part of the batch may have been taken.
    pub fn push(
        &mut self,
        users: IdsRef<'_>,
        items: IdsRef<'_>,
        values: &[f32],
        times: &[i64],
    ) -> Result<()> {
        let rows = values.len();
        same("users", users.len(), rows)?;
        same("items", items.len(), rows)?;
        same("times", times.len(), if self.with_time { rows } else { 0 })?;
        let mut from = 0;
        while from < rows {
            if self.chunks.last().is_none_or(|chunk| chunk.values.len() == CHUNK) {
                self.budget.control().check()?;
                self.chunks.push(Chunk::new(self.with_time, &mut self.budget)?);
            }
            let Some(chunk) = self.chunks.last_mut() else { return Ok(()) };
            let filled = chunk.values.len();
            let to = rows.min(from + CHUNK - filled);
            // Not past its capacity: `filled + to - from` is at most `CHUNK`.
            chunk.users.resize(filled + to - from, 0);
            chunk.items.resize(filled + to - from, 0);
            let inserted = self
                .users
                .insert(users.slice(from..to), &mut chunk.users[filled..])
                .and_then(|()| self.items.insert(items.slice(from..to), &mut chunk.items[filled..]));
            if inserted.is_err() {
                chunk.users.truncate(filled);
                chunk.items.truncate(filled);
                return inserted;
            }
            chunk.values.extend_from_slice(&values[from..to]);
            if self.with_time {
                chunk.times.extend_from_slice(&times[from..to]);
            }
            self.rows += (to - from) as u64;
            from = to;
        }
        Ok(())
    }

    /// Sorts everything. [`Interactions::bytes`] of the result stay taken from the control; on an error nothing
    /// does. Without rows the result is empty; whether that is an error is for the caller to say.
    ///
    /// Runs on up to `threads` threads, of which the caller's is one; every number of threads gives the same bits.
    pub fn finish(self, threads: usize) -> Result<Interactions> {
        let Self { users, items, with_time, repeats, chunks, rows, mut budget } = self;
        let mut sorted = |ids: IdBuilder<'_>| -> Result<SortedIds> {
            let ids = ids.finish()?;
            budget.adopt(ids.bytes());
            Ok(ids)
        };
        let (users, items) = (sorted(users)?, sorted(items)?);
        let result = if with_time {
            build::<Timed>(chunks, users, items, (rows, repeats), threads, &mut budget)?
        } else {
            build::<Plain>(chunks, users, items, (rows, repeats), threads, &mut budget)?
        };
        budget.keep(result.bytes());
        Ok(result)
    }
}

fn build<C: Cell>(
    chunks: Vec<Chunk>,
    users: SortedIds,
    items: SortedIds,
    (rows, repeats): (u64, Repeats),
    threads: usize,
    budget: &mut Budget<'_>,
) -> Result<Interactions> {
    let by_item = counting::by_item::<C>(chunks, &items.permutation, rows, threads, budget)?;
    budget.free(items.permutation);
    let by_user = counting::by_user(by_item, &users.permutation, threads, budget)?;
    budget.free(users.permutation);
    let (user_items, times) = counting::merge(by_user, repeats, threads, budget)?;
    let item_users = counting::transpose(&user_items, items.ids.len(), threads, budget)?;
    Ok(Interactions { users: users.ids, items: items.ids, user_items, item_users, times, rows })
}

fn same(name: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::Parameter { name, expected: format!("{expected} in this batch"), got: got.to_string() })
}
