//! The counting sorts: rows by item, those by user, repeated pairs merged, the transpose.
//!
//! Sorting by item first means that sorting by user, which keeps the order, leaves the items of each user in
//! order. The ids never become sorted positions row by row: the cursors of the sorts are indexed by the
//! provisional positions and point to where the sorted ones go.

use bytemuck::Zeroable;

use super::builder::Chunk;
use super::duplicates;
use crate::control::Control;
use crate::csr::Csr;
use crate::error::Result;
use crate::ids::Budget;

/// Entries moved between two looks at the control: about 1 ms, at 10 to 15 ns each.
const PIECE: usize = 1 << 16;

/// An entry on its way: the other id, the value, and the time where there is one.
pub(super) trait Cell: Copy + Zeroable {
    const TIMED: bool;
    fn new(id: u32, value: f32, time: i64) -> Self;
    fn id(self) -> u32;
    fn value(self) -> f32;
    fn time(self) -> i64;
}

#[derive(Debug, Clone, Copy, Zeroable)]
pub(super) struct Plain {
    id: u32,
    value: f32,
}

impl Cell for Plain {
    const TIMED: bool = false;
    fn new(id: u32, value: f32, _: i64) -> Self {
        Self { id, value }
    }
    fn id(self) -> u32 {
        self.id
    }
    fn value(self) -> f32 {
        self.value
    }
    fn time(self) -> i64 {
        0
    }
}

#[derive(Debug, Clone, Copy, Zeroable)]
pub(super) struct Timed {
    id: u32,
    value: f32,
    time: i64,
}

impl Cell for Timed {
    const TIMED: bool = true;
    fn new(id: u32, value: f32, time: i64) -> Self {
        Self { id, value, time }
    }
    fn id(self) -> u32 {
        self.id
    }
    fn value(self) -> f32 {
        self.value
    }
    fn time(self) -> i64 {
        self.time
    }
}

/// Cells by group: those of group `g` are `cells[offsets[g]..offsets[g + 1]]`.
pub(super) struct Grouped<C> {
    offsets: Vec<u64>,
    cells: Vec<C>,
}

impl<C> Grouped<C> {
    fn free(self, budget: &mut Budget<'_>) {
        budget.free(self.offsets);
        budget.free(self.cells);
    }

    fn group(&self, group: usize) -> &[C] {
        &self.cells[self.offsets[group] as usize..self.offsets[group + 1] as usize]
    }
}

/// Where each group starts, and for each provisional id where its group starts, made from its count.
fn starts(counts: &mut [u64], permutation: &[u32], budget: &mut Budget<'_>) -> Result<Vec<u64>> {
    let mut offsets = budget.zeroed::<u64>(counts.len() + 1)?;
    let mut pace = Pace::new(budget.control());
    for (&count, &group) in counts.iter().zip(permutation) {
        pace.step(1)?;
        offsets[group as usize + 1] = count;
    }
    accumulate(&mut offsets);
    for (count, &group) in counts.iter_mut().zip(permutation) {
        pace.step(1)?;
        *count = offsets[group as usize];
    }
    Ok(offsets)
}

fn accumulate(counts: &mut [u64]) {
    let mut total = 0;
    for count in counts {
        total += *count;
        *count = total;
    }
}

/// Rows to cells by item, with provisional users inside. Frees each chunk as soon as it is done.
pub(super) fn by_item<C: Cell>(
    chunks: Vec<Chunk>,
    permutation: &[u32],
    rows: u64,
    budget: &mut Budget<'_>,
) -> Result<Grouped<C>> {
    let mut next = budget.zeroed::<u64>(permutation.len())?;
    for chunk in &chunks {
        budget.control().check()?;
        for &item in &chunk.items {
            next[item as usize] += 1;
        }
    }
    let offsets = starts(&mut next, permutation, budget)?;
    let mut cells = budget.zeroed::<C>(rows as usize)?;
    for chunk in chunks {
        budget.control().check()?;
        let rows = chunk.items.iter().zip(&chunk.users).zip(&chunk.values);
        for (n, ((&item, &user), &value)) in rows.enumerate() {
            let time = if C::TIMED { chunk.times[n] } else { 0 };
            let at = &mut next[item as usize];
            cells[*at as usize] = C::new(user, value, time);
            *at += 1;
        }
        chunk.free(budget);
    }
    budget.free(next);
    Ok(Grouped { offsets, cells })
}

/// Cells by item to cells by user, with the items of each user in order.
pub(super) fn by_user<C: Cell>(
    by_item: Grouped<C>,
    permutation: &[u32],
    budget: &mut Budget<'_>,
) -> Result<Grouped<C>> {
    let mut next = budget.zeroed::<u64>(permutation.len())?;
    for piece in by_item.cells.chunks(PIECE) {
        budget.control().check()?;
        for cell in piece {
            next[cell.id() as usize] += 1;
        }
    }
    let offsets = starts(&mut next, permutation, budget)?;
    let mut cells = budget.zeroed::<C>(by_item.cells.len())?;
    let mut pace = Pace::new(budget.control());
    for item in 0..by_item.offsets.len() - 1 {
        for piece in by_item.group(item).chunks(PIECE) {
            pace.step(piece.len())?;
            for cell in piece {
                let at = &mut next[cell.id() as usize];
                cells[*at as usize] = C::new(item as u32, cell.value(), cell.time());
                *at += 1;
            }
        }
    }
    budget.free(next);
    by_item.free(budget);
    Ok(Grouped { offsets, cells })
}

/// One entry for each pair: values summed, the newest time.
pub(super) fn merge<C: Cell>(
    by_user: Grouped<C>,
    budget: &mut Budget<'_>,
) -> Result<(Csr, Option<Vec<i64>>)> {
    let users = by_user.offsets.len() - 1;
    let mut offsets = budget.with_capacity::<u64>(users + 1)?;
    offsets.push(0);
    let mut pace = Pace::new(budget.control());
    let mut entries = 0;
    for user in 0..users {
        let mut before = None;
        for piece in by_user.group(user).chunks(PIECE) {
            pace.step(piece.len())?;
            for cell in piece {
                entries += usize::from(before != Some(cell.id()));
                before = Some(cell.id());
            }
        }
        offsets.push(entries as u64);
    }
    let mut indices = budget.with_capacity::<u32>(entries)?;
    let mut values = budget.with_capacity::<f32>(entries)?;
    let mut times = if C::TIMED { Some(budget.with_capacity::<i64>(entries)?) } else { None };
    let mut scratch = Vec::new();
    for user in 0..users {
        let cells = by_user.group(user);
        if offsets[user + 1] - offsets[user] < cells.len() as u64 {
            for same in cells.chunk_by(|a, b| a.id() == b.id()) {
                pace.step(same.len())?;
                indices.push(same[0].id());
                if let Some(times) = &mut times {
                    times.push(same.iter().map(|cell| cell.time()).max().unwrap_or(i64::MIN));
                }
                if let [single] = same {
                    values.push(single.value());
                    continue;
                }
                budget.reserve(&mut scratch, same.len())?;
                scratch.extend(same.iter().map(|cell| cell.value()));
                values.push(duplicates::sum(&scratch, budget.control())?);
                scratch.clear();
            }
            continue;
        }
        for piece in cells.chunks(PIECE) {
            pace.step(piece.len())?;
            indices.extend(piece.iter().map(|cell| cell.id()));
            values.extend(piece.iter().map(|cell| cell.value()));
            if let Some(times) = &mut times {
                times.extend(piece.iter().map(|cell| cell.time()));
            }
        }
    }
    budget.free(scratch);
    by_user.free(budget);
    Ok((Csr { offsets, indices, values }, times))
}

/// The transpose of a matrix of `columns` columns, like [`Csr::transpose`], counted and cancellable.
pub(super) fn transpose(matrix: &Csr, columns: usize, budget: &mut Budget<'_>) -> Result<Csr> {
    let mut next = budget.zeroed::<u64>(columns)?;
    for piece in matrix.indices.chunks(PIECE) {
        budget.control().check()?;
        for &column in piece {
            next[column as usize] += 1;
        }
    }
    let mut offsets = budget.with_capacity::<u64>(columns + 1)?;
    offsets.push(0);
    offsets.extend_from_slice(&next);
    accumulate(&mut offsets);
    next.copy_from_slice(&offsets[..columns]);
    let mut indices = budget.zeroed::<u32>(matrix.entries())?;
    let mut values = budget.zeroed::<f32>(matrix.entries())?;
    let mut pace = Pace::new(budget.control());
    for row in 0..matrix.rows() {
        let (row_indices, row_values) = matrix.row(row);
        for (row_indices, row_values) in row_indices.chunks(PIECE).zip(row_values.chunks(PIECE)) {
            pace.step(row_indices.len())?;
            for (&column, &value) in row_indices.iter().zip(row_values) {
                let at = &mut next[column as usize];
                indices[*at as usize] = row as u32;
                values[*at as usize] = value;
                *at += 1;
            }
        }
    }
    budget.free(next);
    Ok(Csr { offsets, indices, values })
}

/// Looks at the control once every `PIECE` steps.
pub(super) struct Pace<'c> {
    control: &'c Control,
    left: usize,
}

impl<'c> Pace<'c> {
    pub(super) fn new(control: &'c Control) -> Self {
        Self { control, left: PIECE }
    }

    #[inline]
    pub(super) fn step(&mut self, steps: usize) -> Result<()> {
        if steps < self.left {
            self.left -= steps;
            return Ok(());
        }
        self.left = PIECE;
        self.control.check()
    }
}
