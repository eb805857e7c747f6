//! Factors of rows that training never saw, beside the trained ones.

use std::cmp::Ordering;

use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::{Error, Result};
use base::ids::{IdRef, Ids, IdsRef};
use base::pace::Pace;
use features::{CONTENT, Features};

use super::ridge::{self, Mapping};

/// What training knows of users or items.
pub struct Side<'a> {
    /// In order.
    pub ids: &'a Ids,
    /// A row for each: row-major.
    pub rows: &'a [f32],
    /// Numbers of a row.
    pub width: usize,
    /// Their interactions, a row for each.
    pub interactions: &'a Csr,
}

/// Trained and mapped rows, in the order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Extended {
    /// All ids.
    pub ids: Ids,
    /// A row for each.
    pub rows: Vec<f32>,
    /// Where each trained row went, rising.
    pub trained: Vec<u32>,
    /// Rows that follow from features alone, rising.
    pub content: Vec<u32>,
    /// How they follow; nothing where no trained row has features.
    pub mapping: Option<Mapping>,
}

impl Extended {
    /// Memory held.
    pub fn bytes(&self) -> u64 {
        let mapping = self.mapping.as_ref().map_or(0, Mapping::bytes);
        self.ids.bytes() + (self.rows.len() + self.trained.len() + self.content.len()) as u64 * 4 + mapping
    }
}

/// Adds a row of mapped factors for each id that has features and no interactions. Trained rows stay as they are. Where
/// no trained row has features there is nothing to learn from, and nothing is added.
///
/// [`Extended::bytes`] stay taken from the control. `Cancelled`, `Memory`, `NoMemory`.
pub fn extend(side: &Side<'_>, features: &Features, control: &Control) -> Result<Extended> {
    let mut budget = Budget::new(control, CONTENT);
    let mut pace = Pace::new(control);
    let (trained, known) = (side.ids.view(), features.ids.view());
    if trained.kind() != known.kind() {
        let (expected, got) = (trained.kind().name().into(), known.kind().name().into());
        return Err(Error::Parameter { name: "ids", expected, got });
    }
    // Rows of features and trained rows that belong to each other.
    let mut pairs = budget.with_capacity::<(u32, u32)>(trained.len().min(known.len()))?;
    let mut weights = budget.with_capacity::<f64>(trained.len())?;
    merge(trained, known, &mut |row, feature| {
        pace.step(1)?;
        if let (Some(row), Some(feature)) = (row, feature) {
            pairs.push((feature, row));
        }
        Ok(())
    })?;
    for row in 0..trained.len() {
        pace.step(1)?;
        // A row without interactions is all zeros, and says nothing.
        weights.push((side.interactions.offsets[row + 1] - side.interactions.offsets[row]) as f64);
    }
    pairs.retain(|&(_, row)| weights[row as usize] > 0.0);
    let mapping = match pairs.is_empty() {
        true => None,
        false => Some(ridge::fit(features, &pairs, side.rows, side.width, &weights, control)?),
    };
    budget.adopt(mapping.as_ref().map_or(0, Mapping::bytes));
    let more = if mapping.is_some() { known.len() - pairs_of(trained, known, &mut pace)? } else { 0 };
    let total = trained.len() + more;
    let mut extended = Extended {
        ids: empty(side.ids, features, total, &mut budget)?,
        rows: budget.with_capacity(total * side.width)?,
        trained: budget.with_capacity(trained.len())?,
        content: budget.with_capacity(more)?,
        mapping,
    };
    let mut mapped = vec![0.0; side.width];
    merge(trained, known, &mut |row, feature| {
        pace.step(side.width)?;
        let position = extended.trained.len() + extended.content.len();
        match (row, feature, &extended.mapping) {
            (Some(row), _, _) => {
                let from = row as usize * side.width;
                extended.rows.extend_from_slice(&side.rows[from..from + side.width]);
                extended.trained.push(position as u32);
                push(&mut extended.ids, trained.get(row));
            }
            (None, Some(feature), Some(mapping)) => {
                let features = features.matrix.row(feature as usize);
                pace.step(features.0.len() * side.width)?;
                mapping.map(features, &mut mapped);
                extended.rows.extend_from_slice(&mapped);
                extended.content.push(position as u32);
                push(&mut extended.ids, known.get(feature));
            }
            _ => {}
        }
        Ok(())
    })?;
    budget.free(pairs);
    budget.free(weights);
    budget.keep(extended.bytes());
    Ok(extended)
}

/// A matrix of more rows and columns, the new ones empty. `rows` and `columns` say where the old ones went, rising;
/// `total` rows there are. Its bytes stay taken, in place of those of the old one. `Cancelled`, `Memory`, `NoMemory`.
pub fn spread(
    matrix: &mut Csr,
    rows: Option<(&[u32], usize)>,
    columns: Option<&[u32]>,
    control: &Control,
) -> Result<()> {
    let mut pace = Pace::new(control);
    if let Some((rows, total)) = rows {
        let mut budget = Budget::new(control, CONTENT);
        let mut offsets = budget.zeroed::<u64>(total + 1)?;
        let (mut next, mut end) = (0, 0);
        for row in 0..total {
            pace.step(1)?;
            if rows.get(next) == Some(&(row as u32)) {
                next += 1;
                end = matrix.offsets[next];
            }
            offsets[row + 1] = end;
        }
        let old = std::mem::replace(&mut matrix.offsets, offsets);
        let kept = (total as u64 + 1) * 8;
        budget.keep(kept);
        control.give(old.len() as u64 * 8);
    }
    if let Some(columns) = columns {
        for indices in matrix.indices.chunks_mut(1 << 16) {
            control.check()?;
            indices.iter_mut().for_each(|index| *index = columns[*index as usize]);
        }
    }
    Ok(())
}

/// Ids that are in both.
fn pairs_of(a: IdsRef<'_>, b: IdsRef<'_>, pace: &mut Pace<'_>) -> Result<usize> {
    let mut both = 0;
    merge(a, b, &mut |a, b| {
        both += usize::from(a.is_some() && b.is_some());
        pace.step(1)
    })?;
    Ok(both)
}

/// Walks two dictionaries in order: the row of each id in the first and in the second.
fn merge(
    a: IdsRef<'_>,
    b: IdsRef<'_>,
    body: &mut dyn FnMut(Option<u32>, Option<u32>) -> Result<()>,
) -> Result<()> {
    let (mut at, mut other) = (0, 0);
    loop {
        let order = match (a.get(at), b.get(other)) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(two)) => compare(one, two),
        };
        let (first, second) = (order.is_le().then_some(at), order.is_ge().then_some(other));
        body(first, second)?;
        at += u32::from(first.is_some());
        other += u32::from(second.is_some());
    }
}

fn compare(a: IdRef<'_>, b: IdRef<'_>) -> Ordering {
    match (a, b) {
        (IdRef::Integer(a), IdRef::Integer(b)) => a.cmp(&b),
        (IdRef::Fixed16(a), IdRef::Fixed16(b)) => a.cmp(b),
        (IdRef::Bytes(a), IdRef::Bytes(b)) => a.cmp(b),
        // All are of one kind.
        _ => Ordering::Less,
    }
}

/// Room for `total` ids that are in one of two dictionaries.
fn empty(ids: &Ids, features: &Features, total: usize, budget: &mut Budget<'_>) -> Result<Ids> {
    Ok(match (ids, &features.ids) {
        (Ids::Integer(_), _) => Ids::Integer(budget.with_capacity(total)?),
        (Ids::Fixed16(_), _) => Ids::Fixed16(budget.with_capacity(total)?),
        (Ids::Bytes { bytes, .. }, others) => {
            let others = if let Ids::Bytes { bytes, .. } = others { bytes.len() } else { 0 };
            let mut offsets = budget.with_capacity(total + 1)?;
            offsets.push(0);
            Ids::Bytes { offsets, bytes: budget.with_capacity(bytes.len() + others)? }
        }
    })
}

fn push(ids: &mut Ids, id: Option<IdRef<'_>>) {
    match (ids, id) {
        (Ids::Integer(ids), Some(IdRef::Integer(id))) => ids.push(id),
        (Ids::Fixed16(ids), Some(IdRef::Fixed16(id))) => ids.push(*id),
        (Ids::Bytes { offsets, bytes }, Some(IdRef::Bytes(id))) => {
            bytes.extend_from_slice(id);
            offsets.push(bytes.len() as u64);
        }
        _ => {}
    }
}
