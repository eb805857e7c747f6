//! What ratings owe to their user alone and to their item alone.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;

use crate::factors::GLANCE;

/// Rows per job.
const ROWS: usize = 256;
/// Sweeps over items and users: the tenth moves no bias of MovieLens by more than a thousandth of a star.
const SWEEPS: usize = 10;

/// How strongly biases are drawn to zero: as if so many further ratings were the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Damping {
    /// For each user, at least 0; 15.
    pub users: f64,
    /// For each item, at least 0; 10.
    pub items: f64,
}

impl Default for Damping {
    fn default() -> Self {
        // Those of Koren (Factor in the Neighbors, TKDD 2010, rounded as the library Surprise has them).
        Self { users: 15.0, items: 10.0 }
    }
}

/// The part of a rating that is no interplay of user and item: `mean + users[u] + items[i]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Biases {
    /// Of all ratings.
    pub mean: f64,
    /// A row without ratings has 0.
    pub users: Vec<f32>,
    /// The same for items.
    pub items: Vec<f32>,
}

impl Biases {
    /// Memory of both.
    pub(super) fn bytes(&self) -> u64 {
        (self.users.len() + self.items.len()) as u64 * 4
    }
}

/// The biases of least squared error with damping, by turns for items and users from zero: each turn is the exact minimum
/// for one side. Without a damping all are zero and so is the mean. [`Biases::bytes`] stay taken from the control.
pub(super) fn biases(
    user_items: &Csr,
    item_users: &Csr,
    damping: Option<Damping>,
    threads: usize,
    control: &Control,
) -> Result<Biases> {
    let mut budget = Budget::new(control, TRAINING);
    let mut biases = Biases {
        mean: 0.0,
        users: budget.zeroed(user_items.rows())?,
        items: budget.zeroed(item_users.rows())?,
    };
    if let Some(Damping { users, items }) = damping {
        let mut sum = 0.0;
        for values in user_items.values.chunks(GLANCE) {
            control.check()?;
            sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
        }
        let mean = sum / user_items.entries().max(1) as f64;
        for _ in 0..SWEEPS {
            turn(item_users, &mut biases.items, &biases.users, mean, items, threads, control)?;
            turn(user_items, &mut biases.users, &biases.items, mean, users, threads, control)?;
        }
        biases.mean = mean;
    }
    budget.keep(biases.bytes());
    Ok(biases)
}

/// The best biases of all rows for given ones of the columns.
fn turn(
    matrix: &Csr,
    rows: &mut [f32],
    columns: &[f32],
    mean: f64,
    damping: f64,
    threads: usize,
    control: &Control,
) -> Result<()> {
    let threads = threads.min(rows.len().div_ceil(ROWS));
    share(rows.chunks_mut(ROWS).enumerate(), threads, control, |jobs| {
        while let Some((job, rows)) = jobs.next()? {
            let mut pace = Pace::new(control);
            for (row, to) in (job * ROWS..).zip(rows) {
                let (indices, values) = matrix.row(row);
                *to = bias(indices, values, columns, mean, damping, &mut pace)?;
            }
        }
        Ok(())
    })
}

/// The best bias of one row.
pub(super) fn bias(
    indices: &[u32],
    values: &[f32],
    columns: &[f32],
    mean: f64,
    damping: f64,
    pace: &mut Pace<'_>,
) -> Result<f32> {
    let mut sum = 0.0;
    for (indices, values) in indices.chunks(PIECE).zip(values.chunks(PIECE)) {
        pace.step(indices.len())?;
        for (&index, &value) in indices.iter().zip(values) {
            sum += f64::from(value) - mean - f64::from(columns[index as usize]);
        }
    }
    let weight = indices.len() as f64 + damping;
    Ok(if weight > 0.0 { (sum / weight) as f32 } else { 0.0 })
}

/// Entries between two looks at the control.
const PIECE: usize = 1 << 13;
