//! K-means against known answers, slow plain versions and its own promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accuracy;
mod promises;
mod silhouette;

use base::Control;
use features::columns::{self, Column, Scaling};
use segments::kmeans::{self, Clusters, Params, Points};

/// Random numbers without a crate: 0 to 1.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Normally distributed rows around random centers.
pub(crate) fn blobs(rows: usize, columns: usize, centers: usize, spread: f64, seed: u64) -> Vec<f64> {
    let mut dice = Dice::new(seed);
    let centers: Vec<f64> = (0..centers * columns).map(|_| 10.0 * dice.uniform()).collect();
    let mut numbers = Vec::with_capacity(rows * columns);
    for _ in 0..rows {
        let center = dice.below(centers.len() / columns) * columns;
        numbers.extend((0..columns).map(|column| centers[center + column] + spread * dice.normal()));
    }
    numbers
}

pub(crate) fn columns_of(rows: &[f64], columns: usize, scaling: Scaling) -> Vec<Column> {
    columns::fit(rows, columns, scaling, &Control::unlimited()).unwrap()
}

/// Points of unscaled rows.
pub(crate) fn points<'a>(rows: &[f64], columns: usize, control: &'a Control) -> Points<'a> {
    Points::new(rows, &columns_of(rows, columns, Scaling::None), control).unwrap()
}

pub(crate) fn fit(points: &Points, params: &Params) -> Clusters {
    kmeans::fit(points, params, &mut |_, _, _| ()).unwrap()
}

/// The sum of squared distances of rows from the mean of their label.
pub(crate) fn inertia(rows: &[f64], columns: usize, labels: &[u32], clusters: usize) -> f64 {
    (0..clusters as u32)
        .map(|cluster| {
            let own: Vec<&[f64]> = rows
                .chunks(columns)
                .zip(labels)
                .filter(|(_, label)| **label == cluster)
                .map(|(row, _)| row)
                .collect();
            (0..columns)
                .map(|column| {
                    let mean = own.iter().map(|row| row[column]).sum::<f64>() / own.len().max(1) as f64;
                    own.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>()
                })
                .sum::<f64>()
        })
        .sum()
}
