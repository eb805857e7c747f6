//! A sparse matrix of features.

use base::budget::Budget;
use base::csr::Csr;
use base::error::Result;
use base::ids::{IdBuilder, IdRef, Ids};
use base::pace::Pace;

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number: standardized; a missing one counts as the mean.
    Number,
    /// One word of several: a feature for each; rare ones share one.
    Category,
    /// Any number of words: a feature for each that is not rare, weighted by TF-IDF.
    Tags,
}

/// The most features; of more words the most frequent are kept. The map from so many takes some seconds to find.
pub const MAX_FEATURES: usize = 2048;

/// Rows that a word must be in to have a feature of its own: what one row has says nothing of others.
const RARE: u32 = 2;

/// No feature.
const NONE: u32 = u32::MAX;

/// What is known of items or users.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Whose rows they are, in the order of their ids.
    pub ids: Ids,
    /// A row for each id, a column for each feature: numbers first, then words.
    pub matrix: Csr,
    /// Number of features.
    pub columns: usize,
}

/// Rows in the order in which they came.
pub(super) struct Raw {
    pub(super) numbers: Vec<f64>,
    pub(super) starts: Vec<u64>,
    pub(super) words: Vec<u32>,
}

impl Features {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.ids.bytes() + self.matrix.bytes()
    }

    pub(super) fn of(
        kinds: &[Kind],
        ids: IdBuilder<'_>,
        terms: IdBuilder<'_>,
        raw: Raw,
        mut budget: Budget<'_>,
    ) -> Result<Features> {
        let control = budget.control();
        let mut pace = Pace::new(control);
        let sorted = ids.finish()?;
        budget.adopt(sorted.bytes());
        let terms = terms.finish()?;
        budget.adopt(terms.bytes());
        let rows = raw.starts.len();
        let mut order = budget.zeroed::<u32>(rows)?;
        for (came, &position) in sorted.permutation.iter().enumerate() {
            pace.step(1)?;
            order[position as usize] = came as u32;
        }
        budget.free(sorted.permutation);

        // The words of each row in the order of the rows, each once.
        let mut offsets = budget.with_capacity::<u64>(rows + 1)?;
        let mut words = budget.with_capacity::<u32>(raw.words.len())?;
        let mut counts = budget.zeroed::<u32>(terms.ids.len())?;
        offsets.push(0);
        for &came in &order {
            let came = came as usize;
            let end = raw.starts.get(came + 1).map_or(raw.words.len(), |&end| end as usize);
            let given = &raw.words[raw.starts[came] as usize..end];
            pace.step(given.len() + 1)?;
            let start = words.len();
            words.extend(given.iter().map(|&word| terms.permutation[word as usize]));
            words[start..].sort_unstable();
            let mut kept = start;
            for at in start..words.len() {
                if kept == start || words[at] != words[kept - 1] {
                    words[kept] = words[at];
                    kept += 1;
                }
            }
            words.truncate(kept);
            words[start..].iter().for_each(|&word| counts[word as usize] += 1);
            offsets.push(kept as u64);
        }
        budget.free(raw.words);
        budget.free(raw.starts);
        budget.free(terms.permutation);

        let numbers = kinds.iter().filter(|kind| **kind == Kind::Number).count();
        let scales = scales(&raw.numbers, &order, numbers, &mut pace)?;
        let column = |term: usize| match terms.ids.view().get(term as u32) {
            Some(IdRef::Bytes(&[high, low, ..])) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        let assigned = assign(&counts, numbers, kinds, &column, &mut pace, &mut budget)?;

        let mut entries = 0;
        for piece in words.chunks(1 << 16) {
            pace.step(piece.len())?;
            entries += piece.iter().filter(|&&word| assigned.of[word as usize] != NONE).count();
        }
        for row in 0..rows {
            pace.step(numbers + 1)?;
            let own = raw.numbers[row * numbers..][..numbers].iter().zip(&scales);
            entries += own.filter(|(value, scale)| !value.is_nan() && scale.1 > 0.0).count();
        }
        let mut matrix = Csr {
            offsets: budget.with_capacity(rows + 1)?,
            indices: budget.with_capacity(entries)?,
            values: budget.with_capacity(entries)?,
        };
        matrix.offsets.push(0);
        let mut line: Vec<(u32, f32)> = Vec::new();
        for (row, &came) in order.iter().enumerate() {
            let own = &words[offsets[row] as usize..offsets[row + 1] as usize];
            pace.step(own.len() + numbers + 1)?;
            line.clear();
            for (at, &(mean, scale)) in scales.iter().enumerate() {
                let value = raw.numbers[came as usize * numbers + at];
                if !value.is_nan() && scale > 0.0 {
                    line.push((at as u32, ((value - mean) * scale) as f32));
                }
            }
            let mut from = 0;
            // Words are sorted by column first.
            while from < own.len() {
                let of = column(own[from] as usize);
                let until = from + own[from..].partition_point(|&word| column(word as usize) == of);
                let weight = |term: u32| match kinds.get(of) {
                    Some(Kind::Tags) => inverse_frequency(rows, counts[term as usize]),
                    _ => 1.0,
                };
                let kept = own[from..until].iter().filter(|&&word| assigned.of[word as usize] != NONE);
                let norm = kept.clone().map(|&word| weight(word).powi(2)).sum::<f64>().sqrt();
                line.extend(kept.map(|&word| (assigned.of[word as usize], (weight(word) / norm) as f32)));
                from = until;
            }
            // What is shared by the rare words of a category stands behind all others.
            line.sort_unstable_by_key(|&(feature, _)| feature);
            line.dedup_by_key(|&mut (feature, _)| feature);
            matrix.indices.extend(line.iter().map(|each| each.0));
            matrix.values.extend(line.iter().map(|each| each.1));
            matrix.offsets.push(matrix.indices.len() as u64);
        }
        let features = Features { ids: sorted.ids, matrix, columns: assigned.columns };
        budget.free(raw.numbers);
        budget.free(words);
        budget.free(offsets);
        budget.free(counts);
        budget.free(order);
        budget.free(assigned.of);
        let bytes = features.bytes();
        budget.keep(bytes);
        Ok(features)
    }
}

/// Smoothed, so that a word in all rows still counts.
fn inverse_frequency(rows: usize, with: u32) -> f64 {
    ((1.0 + rows as f64) / (1.0 + f64::from(with))).ln() + 1.0
}

/// Mean and the inverse of the standard deviation of each column of numbers, summed in the order of the rows.
fn scales(numbers: &[f64], order: &[u32], columns: usize, pace: &mut Pace<'_>) -> Result<Vec<(f64, f64)>> {
    let mut scales = Vec::new();
    for column in 0..columns {
        let mut of = |body: &mut dyn FnMut(f64)| -> Result<()> {
            for &came in order {
                pace.step(1)?;
                let value = numbers[came as usize * columns + column];
                if !value.is_nan() {
                    body(value);
                }
            }
            Ok(())
        };
        // Means of shares of the largest: no sum leaves the finite numbers.
        let mut largest = 0.0f64;
        of(&mut |value| largest = largest.max(value.abs()))?;
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let (mut count, mut sum, mut squares) = (0u64, 0.0, 0.0);
        of(&mut |value| {
            count += 1;
            sum += value / unit;
        })?;
        let mean = sum / count.max(1) as f64;
        of(&mut |value| squares += (value / unit - mean).powi(2))?;
        let deviation = (squares / count.max(1) as f64).sqrt() * unit;
        // What rounding left of equal numbers is no difference.
        let scale = if deviation > 1e-9 * unit { 1.0 / deviation } else { 0.0 };
        scales.push((mean * unit, scale));
    }
    Ok(scales)
}

/// The feature of each word.
struct Assigned {
    of: Vec<u32>,
    columns: usize,
}

fn assign(
    counts: &[u32],
    numbers: usize,
    kinds: &[Kind],
    column: &dyn Fn(usize) -> usize,
    pace: &mut Pace<'_>,
    budget: &mut Budget<'_>,
) -> Result<Assigned> {
    let pools = kinds.iter().filter(|kind| **kind == Kind::Category).count();
    let room = MAX_FEATURES.saturating_sub(numbers + pools);
    // Words as frequent as this have a feature; equal ones share one fate, so that none depends on an order.
    let mut least = RARE;
    let mut histogram = budget.zeroed::<u32>(MOST_COUNTED + 1)?;
    for &count in counts {
        pace.step(1)?;
        histogram[(count as usize).min(MOST_COUNTED)] += 1;
    }
    let mut with = 0usize;
    for (count, &words) in histogram.iter().enumerate().rev() {
        with += words as usize;
        if with > room {
            least = least.max(count as u32 + 1);
            break;
        }
    }
    budget.free(histogram);
    let mut of = budget.zeroed::<u32>(counts.len())?;
    let mut columns = numbers;
    for (term, feature) in of.iter_mut().enumerate() {
        pace.step(1)?;
        *feature = NONE;
        if counts[term] >= least && columns < numbers + room {
            *feature = columns as u32;
            columns += 1;
        }
    }
    // The rare ones of a category, if there are several.
    for (number, _) in kinds.iter().enumerate().filter(|(_, kind)| **kind == Kind::Category) {
        let mut pooled = 0;
        for term in 0..of.len() {
            pace.step(1)?;
            if of[term] == NONE && column(term) == number {
                pooled += counts[term];
            }
        }
        if pooled < RARE {
            continue;
        }
        for (term, of) in of.iter_mut().enumerate() {
            pace.step(1)?;
            if *of == NONE && column(term) == number {
                *of = columns as u32;
            }
        }
        columns += 1;
    }
    Ok(Assigned { of, columns })
}

/// Larger counts are as good as this.
const MOST_COUNTED: usize = 1 << 16;
