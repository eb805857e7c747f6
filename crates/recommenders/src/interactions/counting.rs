//! The counting sorts: rows by item, those by user, repeated pairs merged, the transpose.
//!
//! Sorting by item first means that sorting by user, which keeps the order, leaves the items of each user in
//! order. The ids never become sorted positions row by row: the cursors of the sorts are indexed by the
//! provisional positions and point to where the sorted ones go.

use base::budget::{Budget, READING};
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;
use bytemuck::{Pod, Zeroable};

use super::chunk::{Chunk, Repeats};
use super::duplicates;
use super::parts::{self, Cursors, Shared, accumulate, divide};

/// Entries moved between two looks at the control: about 0.1 ms at 10 to 15 ns each, and up to 5 ms where each of them
/// is the first to touch a page of memory.
const PIECE: usize = 1 << 13;

/// An entry on its way: the other id, the value, and the time where there is one.
pub(super) trait Cell: Pod + Send + Sync {
    const TIMED: bool;
    fn put(to: Shared<'_>, at: u64, id: u32, value: f32, time: i64);
    fn id(self) -> u32;
    fn value(self) -> f32;
    fn time(self) -> i64;
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Plain {
    id: u32,
    value: f32,
}

impl Cell for Plain {
    const TIMED: bool = false;
    #[inline]
    fn put(to: Shared<'_>, at: u64, id: u32, value: f32, _: i64) {
        to.put(at, bytemuck::cast::<_, [u32; 2]>(Self { id, value }));
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

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Timed {
    id: u32,
    value: f32,
    time: i64,
}

impl Cell for Timed {
    const TIMED: bool = true;
    #[inline]
    fn put(to: Shared<'_>, at: u64, id: u32, value: f32, time: i64) {
        to.put(at, bytemuck::cast::<_, [u32; 4]>(Self { id, value, time }));
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

/// Rows to cells by item, with provisional users inside. Each thread frees its chunks as soon as they are done.
pub(super) fn by_item<C: Cell>(
    mut chunks: Vec<Chunk>,
    permutation: &[u32],
    rows: u64,
    threads: usize,
    budget: &mut Budget<'_>,
) -> Result<Grouped<C>> {
    let (rows, control) = (rows as usize, budget.control());
    let parts = parts::count(threads, rows, permutation.len());
    let part = chunks.len().div_ceil(parts).max(1);
    let mut cursors = Cursors::new(parts, permutation.len(), budget)?;
    share(chunks.chunks(part).zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((chunks, counts)) = jobs.next()? {
            for chunk in chunks {
                control.check()?;
                for &item in &chunk.items {
                    counts[item as usize] += 1;
                }
            }
        }
        Ok(())
    })?;
    let offsets = cursors.place(|id| permutation[id] as usize, budget)?;
    let mut cells = budget.zeroed::<C>(rows)?;
    let to = Shared::new(&mut cells);
    let bytes = chunks.iter().map(Chunk::bytes).sum();
    share(chunks.chunks_mut(part).zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((chunks, next)) = jobs.next()? {
            for chunk in chunks {
                let chunk = std::mem::take(chunk);
                let rows = chunk.items.iter().zip(&chunk.users).zip(&chunk.values);
                for (n, ((&item, &user), &value)) in rows.enumerate() {
                    if n.is_multiple_of(PIECE) {
                        control.check()?;
                    }
                    let time = if C::TIMED { chunk.times[n] } else { 0 };
                    let at = &mut next[item as usize];
                    C::put(to, *at, user, value, time);
                    *at += 1;
                }
            }
        }
        Ok(())
    })?;
    budget.give(bytes);
    cursors.free(budget);
    Ok(Grouped { offsets, cells })
}

/// Cells by item to cells by user, with the items of each user in order.
pub(super) fn by_user<C: Cell>(
    by_item: Grouped<C>,
    permutation: &[u32],
    threads: usize,
    budget: &mut Budget<'_>,
) -> Result<Grouped<C>> {
    let control = budget.control();
    let parts = parts::count(threads, by_item.cells.len(), permutation.len());
    let ranges = parts::ranges(&by_item.offsets, parts);
    let mut cursors = Cursors::new(parts, permutation.len(), budget)?;
    share(ranges.iter().zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((items, counts)) = jobs.next()? {
            let [start, end] = [items.start, items.end].map(|item| by_item.offsets[item] as usize);
            for piece in by_item.cells[start..end].chunks(PIECE) {
                control.check()?;
                for cell in piece {
                    counts[cell.id() as usize] += 1;
                }
            }
        }
        Ok(())
    })?;
    let offsets = cursors.place(|id| permutation[id] as usize, budget)?;
    let mut cells = budget.zeroed::<C>(by_item.cells.len())?;
    let to = Shared::new(&mut cells);
    share(ranges.iter().zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((items, next)) = jobs.next()? {
            let mut pace = Pace::new(control);
            for item in items.clone() {
                for piece in by_item.group(item).chunks(PIECE) {
                    pace.step(piece.len())?;
                    for cell in piece {
                        let at = &mut next[cell.id() as usize];
                        C::put(to, *at, item as u32, cell.value(), cell.time());
                        *at += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    cursors.free(budget);
    by_item.free(budget);
    Ok(Grouped { offsets, cells })
}

/// One entry for each pair: the values as a rule has it, the newest time.
pub(super) fn merge<C: Cell>(
    by_user: Grouped<C>,
    repeats: Repeats,
    threads: usize,
    budget: &mut Budget<'_>,
) -> Result<(Csr, Option<Vec<i64>>)> {
    let control = budget.control();
    let parts = parts::count(threads, by_user.cells.len(), 0);
    let ranges = parts::ranges(&by_user.offsets, parts);
    let mut offsets = budget.zeroed::<u64>(by_user.offsets.len())?;
    let counts = divide(&mut offsets[1..], ranges.iter().map(|users| users.len()));
    share(ranges.iter().zip(counts), parts, control, |jobs| {
        while let Some((users, counts)) = jobs.next()? {
            let mut pace = Pace::new(control);
            for (user, count) in users.clone().zip(counts) {
                let mut before = None;
                for piece in by_user.group(user).chunks(PIECE) {
                    pace.step(piece.len())?;
                    for cell in piece {
                        *count += u64::from(before != Some(cell.id()));
                        before = Some(cell.id());
                    }
                }
            }
        }
        Ok(())
    })?;
    accumulate(&mut offsets);
    let entries = offsets[offsets.len() - 1] as usize;
    let mut indices = budget.zeroed::<u32>(entries)?;
    let mut values = budget.zeroed::<f32>(entries)?;
    let mut times = budget.zeroed::<i64>(if C::TIMED { entries } else { 0 })?;
    let lengths = || ranges.iter().map(|users| (offsets[users.end] - offsets[users.start]) as usize);
    let outputs = divide(&mut indices, lengths()).into_iter().zip(divide(&mut values, lengths()));
    let outputs = outputs.zip(divide(&mut times, lengths().map(|length| if C::TIMED { length } else { 0 })));
    share(ranges.iter().zip(outputs), parts, control, |jobs| {
        let (mut scratch, mut budget) = (Vec::new(), Budget::new(control, READING));
        while let Some((users, ((indices, values), times))) = jobs.next()? {
            let mut pace = Pace::new(control);
            let mut at = 0;
            for user in users.clone() {
                let cells = by_user.group(user);
                if offsets[user + 1] - offsets[user] < cells.len() as u64 {
                    for same in cells.chunk_by(|a, b| a.id() == b.id()) {
                        indices[at] = same[0].id();
                        scratch.clear();
                        budget.reserve(&mut scratch, same.len())?;
                        let mut newest = i64::MIN;
                        for piece in same.chunks(PIECE) {
                            pace.step(piece.len())?;
                            newest = piece.iter().map(|cell| cell.time()).fold(newest, i64::max);
                        }
                        for piece in same.chunks(PIECE) {
                            pace.step(piece.len())?;
                            let taken = |cell: &&C| repeats == Repeats::Sum || cell.time() == newest;
                            scratch.extend(piece.iter().filter(taken).map(|cell| cell.value()));
                        }
                        if C::TIMED {
                            times[at] = newest;
                        }
                        values[at] = match repeats {
                            Repeats::Sum => duplicates::sum(&scratch, control)?,
                            Repeats::Newest => duplicates::mean(&scratch, control)?,
                        };
                        at += 1;
                    }
                    continue;
                }
                for piece in cells.chunks(PIECE) {
                    pace.step(piece.len())?;
                    let range = at..at + piece.len();
                    let to = indices[range.clone()].iter_mut().zip(&mut values[range.clone()]);
                    for ((index, value), cell) in to.zip(piece) {
                        (*index, *value) = (cell.id(), cell.value());
                    }
                    if C::TIMED {
                        times[range].iter_mut().zip(piece).for_each(|(time, cell)| *time = cell.time());
                    }
                    at += piece.len();
                }
            }
        }
        Ok(())
    })?;
    by_user.free(budget);
    Ok((Csr { offsets, indices, values }, C::TIMED.then_some(times)))
}

/// The transpose of a matrix of `columns` columns, like [`Csr::transpose`], counted and cancellable.
pub(super) fn transpose(
    matrix: &Csr,
    columns: usize,
    threads: usize,
    budget: &mut Budget<'_>,
) -> Result<Csr> {
    let control = budget.control();
    let parts = parts::count(threads, matrix.entries(), columns);
    let ranges = parts::ranges(&matrix.offsets, parts);
    let mut cursors = Cursors::new(parts, columns, budget)?;
    share(ranges.iter().zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((rows, counts)) = jobs.next()? {
            let [start, end] = [rows.start, rows.end].map(|row| matrix.offsets[row] as usize);
            for piece in matrix.indices[start..end].chunks(PIECE) {
                control.check()?;
                for &column in piece {
                    counts[column as usize] += 1;
                }
            }
        }
        Ok(())
    })?;
    let offsets = cursors.place(|column| column, budget)?;
    let mut indices = budget.zeroed::<u32>(matrix.entries())?;
    let mut values = budget.zeroed::<f32>(matrix.entries())?;
    let (to_indices, to_values) = (Shared::new(&mut indices), Shared::new(&mut values));
    share(ranges.iter().zip(cursors.parts(parts)), parts, control, |jobs| {
        while let Some((rows, next)) = jobs.next()? {
            let mut pace = Pace::new(control);
            for row in rows.clone() {
                let (row_indices, row_values) = matrix.row(row);
                for (row_indices, row_values) in row_indices.chunks(PIECE).zip(row_values.chunks(PIECE)) {
                    pace.step(row_indices.len())?;
                    for (&column, &value) in row_indices.iter().zip(row_values) {
                        let at = &mut next[column as usize];
                        to_indices.put(*at, [row as u32]);
                        to_values.put(*at, [value.to_bits()]);
                        *at += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    cursors.free(budget);
    Ok(Csr { offsets, indices, values })
}
