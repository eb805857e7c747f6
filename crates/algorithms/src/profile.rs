//! What the groups of a clustering are like: members, means, and how far these are from everybody's.

mod describe;

pub use describe::{THRESHOLD, describe};

use crate::control::Control;
use crate::error::{Error, Result};

/// Numbers read between two looks at the control.
const GLANCE: usize = 1 << 18;

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its rows.
    pub members: u64,
    /// Its part of all rows, 0 to 1.
    pub share: f64,
    /// The mean distance of its rows from its centroid; nothing without rows.
    pub mean_distance: Option<f64>,
    /// For each feature.
    pub features: Vec<Feature>,
}

/// One feature of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feature {
    /// The mean of its rows, in the user's units; nothing without rows.
    pub mean: Option<f64>,
    /// The mean of all rows.
    pub population_mean: f64,
    /// `(mean - population mean) / population deviation`; 0 for a feature that does not vary.
    pub z: Option<f64>,
}

/// Groups added up row by row.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Of the first row: sums of distances from it keep their digits where values are large and vary little.
    origins: Vec<f64>,
    width: usize,
    counts: Vec<u64>,
    lengths: Vec<f64>,
    /// Group by group, distances from the origins.
    sums: Vec<f64>,
    /// Squared distances from the origins, of all rows.
    squares: Vec<f64>,
}

impl Tally {
    /// Nothing yet, of `groups` groups and `width` features.
    pub fn new(groups: usize, width: usize) -> Tally {
        Tally {
            origins: Vec::new(),
            width,
            counts: vec![0; groups],
            lengths: vec![0.0; groups],
            sums: vec![0.0; groups * width],
            squares: vec![0.0; width],
        }
    }

    /// Adds a row in the user's units, the number of its group (below `groups`) and its distance from the centroid.
    pub fn push<T: Copy + Into<f64>>(&mut self, group: usize, row: &[T], distance: f64) {
        if self.origins.is_empty() {
            self.origins = row.iter().map(|&value| value.into()).collect();
        }
        self.counts[group] += 1;
        self.lengths[group] += distance;
        let sums = &mut self.sums[group * self.width..][..self.width];
        let columns = sums.iter_mut().zip(&mut self.squares).zip(&self.origins);
        for (((sum, square), origin), &value) in columns.zip(row) {
            let apart = value.into() - origin;
            *sum += apart;
            *square += apart * apart;
        }
    }

    /// The profile of each group.
    pub fn profiles(&self) -> Vec<Profile> {
        let rows: u64 = self.counts.iter().sum();
        let share = |part: f64| if rows > 0 { part / rows as f64 } else { 0.0 };
        let total = |column: usize| self.sums.iter().skip(column).step_by(self.width).sum::<f64>();
        // Mean and deviation of all rows, seen from the origins.
        let population: Vec<(f64, f64)> = (0..self.width)
            .map(|column| {
                let mean = share(total(column));
                let variance = (share(self.squares[column]) - mean * mean).max(0.0);
                // Rounding is no deviation.
                let noise = self.squares[column].max(0.0) * f64::EPSILON;
                (mean, if share(noise) >= variance { 0.0 } else { variance.sqrt() })
            })
            .collect();
        let groups = self.counts.iter().zip(&self.lengths).zip(self.sums.chunks(self.width.max(1)));
        let profiles = groups.map(|((&members, length), sums)| {
            let mean_of = |sum: f64| (members > 0).then(|| sum / members as f64);
            let features = sums.iter().zip(&population).zip(self.origins.iter());
            let features = features.map(|((&sum, &(population, deviation)), origin)| {
                let apart = mean_of(sum);
                let z = |apart: f64| {
                    if deviation > 0.0 && deviation.is_finite() {
                        (apart - population) / deviation
                    } else {
                        0.0
                    }
                };
                Feature {
                    mean: apart.map(|apart| origin + apart),
                    population_mean: origin + population,
                    z: apart.map(z),
                }
            });
            Profile {
                members,
                share: share(members as f64),
                mean_distance: mean_of(*length),
                features: features.collect(),
            }
        });
        profiles.collect()
    }
}

/// The profile of each of `clusters` groups, from row-major `rows` of `width` features in the user's units, the label
/// (below `clusters`) and the distance of each row.
///
/// Errors: `Cancelled`, `Corrupted` where the lengths do not fit.
pub fn profile<T>(
    rows: &[T],
    width: usize,
    labels: &[u32],
    distances: &[f32],
    clusters: usize,
    control: &Control,
) -> Result<Vec<Profile>>
where
    T: Copy + Into<f64>,
{
    let fits = labels.len() == distances.len()
        && rows.len() == labels.len() * width
        && labels.iter().all(|&label| (label as usize) < clusters);
    if !fits || width == 0 {
        return Err(Error::Corrupted("labels do not fit the rows"));
    }
    let mut tally = Tally::new(clusters, width);
    let step = (GLANCE / width).max(1);
    let pieces = rows.chunks(step * width).zip(labels.chunks(step)).zip(distances.chunks(step));
    for ((rows, labels), distances) in pieces {
        control.check()?;
        for ((row, &label), &distance) in rows.chunks_exact(width).zip(labels).zip(distances) {
            tally.push(label as usize, row, f64::from(distance));
        }
    }
    Ok(tally.profiles())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_profiles() -> Result<()> {
        let control = Control::unlimited();
        // Two groups; the second feature does not vary.
        let rows = [1.0, 7.0, 3.0, 7.0, 8.0, 7.0, 12.0, 7.0];
        let found = profile(&rows, 2, &[0, 0, 2, 2], &[1.0, 1.0, 2.0, 4.0], 3, &control)?;
        assert_eq!(found.iter().map(|group| group.members).collect::<Vec<_>>(), [2, 0, 2]);
        assert_eq!((found[0].share, found[0].mean_distance), (0.5, Some(1.0)));
        assert_eq!(found[2].mean_distance, Some(3.0));
        assert_eq!((found[1].share, found[1].mean_distance, found[1].features[0].mean), (0.0, None, None));
        // Mean 6, squared distances 25 + 9 + 4 + 36 = 74.
        let deviation = 18.5f64.sqrt();
        let expected = Feature { mean: Some(2.0), population_mean: 6.0, z: Some(-4.0 / deviation) };
        assert_eq!(found[0].features[0], expected);
        assert_eq!(found[2].features[0].mean, Some(10.0));
        assert_eq!(found[2].features[1], Feature { mean: Some(7.0), population_mean: 7.0, z: Some(0.0) });
        let wrong = profile(&rows, 2, &[0, 0, 3, 2], &[0.0; 4], 3, &control);
        assert!(matches!(wrong, Err(Error::Corrupted(_))));
        Ok(())
    }

    #[test]
    fn large_values_keep_their_digits() -> Result<()> {
        let control = Control::unlimited();
        let rows: Vec<f64> = (0..100_000).map(|row| 1.7e9 + f64::from(row % 4)).collect();
        let labels: Vec<u32> = (0..100_000).map(|row| row % 4).collect();
        let found = profile(&rows, 1, &labels, &vec![0.0; 100_000], 4, &control)?;
        for (label, group) in found.iter().enumerate() {
            assert_eq!(group.features[0].mean, Some(1.7e9 + label as f64));
        }
        Ok(())
    }
}
