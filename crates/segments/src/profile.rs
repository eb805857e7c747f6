//! What the groups of a clustering are like: members, means, and how far these are from everybody's.

mod describe;
mod sum;

use base::control::Control;
use base::error::{Error, Result};
pub use describe::{THRESHOLD, describe};

use sum::Sum;

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

/// Groups added up row by row, in any order.
#[derive(Debug, Clone)]
pub struct Tally {
    /// A value of each feature that the others are not far from: distances from it keep their digits where values are
    /// large and vary little.
    origins: Vec<f64>,
    width: usize,
    counts: Vec<u64>,
    lengths: Vec<Sum>,
    /// Group by group.
    sums: Vec<Sum>,
    /// Of all rows.
    squares: Vec<Sum>,
}

impl Tally {
    /// Nothing yet, of `groups` groups, with a value of each feature that most are near. Another one changes the last
    /// digits: it must not come from the order of the rows.
    pub fn new(groups: usize, origins: Vec<f64>) -> Tally {
        let width = origins.len();
        Tally {
            origins,
            width,
            counts: vec![0; groups],
            lengths: vec![Sum::default(); groups],
            sums: vec![Sum::default(); groups * width],
            squares: vec![Sum::default(); width],
        }
    }

    /// Adds a row in the user's units, the number of its group (below `groups`) and its distance from the centroid.
    pub fn push<T: Copy + Into<f64>>(&mut self, group: usize, row: &[T], distance: f64) {
        self.counts[group] += 1;
        self.lengths[group].add(distance);
        let sums = &mut self.sums[group * self.width..][..self.width];
        let columns = sums.iter_mut().zip(&mut self.squares).zip(&self.origins);
        for (((sum, square), origin), &value) in columns.zip(row) {
            let apart = value.into() - origin;
            sum.add(apart);
            square.add_square(apart);
        }
    }

    /// The profile of each group.
    pub fn profiles(&self) -> Vec<Profile> {
        let rows: u64 = self.counts.iter().sum();
        let count = rows as f64;
        // Mean and deviation of all rows, seen from the origins.
        let population = |(column, squares): (usize, &Sum)| {
            let mut total = Sum::default();
            self.sums.iter().skip(column).step_by(self.width).for_each(|&sum| total.merge(sum));
            let mean = if rows > 0 { total.mean(count) } else { 0.0 };
            (mean, total.variance(*squares, count, mean).sqrt())
        };
        let population: Vec<(f64, f64)> = self.squares.iter().enumerate().map(population).collect();
        let groups = self.counts.iter().zip(&self.lengths).zip(self.sums.chunks(self.width.max(1)));
        let profiles = groups.map(|((&members, &length), sums)| {
            let mean_of = |sum: Sum| (members > 0).then(|| sum.mean(members as f64));
            let feature = |((&sum, &(population, deviation)), origin): ((&Sum, &(f64, f64)), &f64)| {
                let apart = mean_of(sum);
                let z = |apart: f64| {
                    let z = (apart - population) / deviation;
                    if deviation > 0.0 && z.is_finite() { z } else { 0.0 }
                };
                Feature {
                    mean: apart.map(|apart| origin + apart),
                    population_mean: origin + population,
                    z: apart.map(z),
                }
            };
            Profile {
                members,
                share: if rows > 0 { members as f64 / count } else { 0.0 },
                mean_distance: mean_of(length),
                features: sums.iter().zip(&population).zip(&self.origins).map(feature).collect(),
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
    let origins = rows.iter().take(width).map(|&value| value.into()).collect();
    let mut tally = Tally::new(clusters, if rows.is_empty() { vec![0.0; width] } else { origins });
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
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUPS: usize = 4;
    const WIDTH: usize = 3;

    fn tally(rows: &[([f64; WIDTH], usize, f64)], origins: [f64; WIDTH]) -> Vec<Profile> {
        let mut tally = Tally::new(GROUPS, origins.to_vec());
        rows.iter().for_each(|(row, group, distance)| tally.push(*group, row, *distance));
        tally.profiles()
    }

    /// A row of integers: features and distance in eighths, and the group between them.
    type Eighths = ([i32; WIDTH], usize, i32);

    /// In two passes over integers, which lose nothing: values are an offset and eighths.
    fn naive(rows: &[Eighths], offset: f64) -> Vec<Profile> {
        let count = rows.len() as f64;
        let sum = |of: &dyn Fn(&Eighths) -> Option<i64>| rows.iter().filter_map(of).sum::<i64>();
        let of_group = |group: usize| {
            let members = sum(&|row| (row.1 == group).then_some(1)) as u64;
            let mean = |total: i64| (members > 0).then(|| total as f64 / members as f64 / 8.0);
            let features = (0..WIDTH).map(|at| {
                let all = sum(&|row| Some(row.0[at].into()));
                let own = mean(sum(&|row| (row.1 == group).then_some(row.0[at].into())));
                let center = all as f64 / count / 8.0;
                // count^2 times the variance, in 64ths.
                let squares = sum(&|row| Some(i64::from(row.0[at]).pow(2)));
                let varies = rows.len() as i64 * squares - all * all;
                let deviation = (varies as f64).sqrt() / count / 8.0;
                let z = |own: f64| if varies > 0 { (own - center) / deviation } else { 0.0 };
                Feature { mean: own.map(|own| own + offset), population_mean: center + offset, z: own.map(z) }
            });
            Profile {
                members,
                share: if rows.is_empty() { 0.0 } else { members as f64 / count },
                mean_distance: mean(sum(&|row| (row.1 == group).then_some(row.2.into()))),
                features: features.collect(),
            }
        };
        (0..GROUPS).map(of_group).collect()
    }

    fn near(a: Option<f64>, b: Option<f64>, within: f64) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= within,
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    proptest! {
        #[test]
        fn a_tally_is_what_two_passes_find(
            rows in prop::collection::vec(([-80i32..80, 0..2, 5..6], 0..GROUPS, 0i32..800), 1..60),
            power in 0i32..44,
            seed in any::<u64>(),
        ) {
            // Up to where an eighth is the last digit of a value but for some bits.
            let offset = if power == 0 { 0.0 } else { 2f64.powi(power) };
            let values = |row: &Eighths| {
                (row.0.map(|eighths| offset + f64::from(eighths) / 8.0), row.1, f64::from(row.2) / 8.0)
            };
            let mut given: Vec<_> = rows.iter().map(values).collect();
            let origins = [offset, offset + 9.0, offset * 0.75];
            let found = tally(&given, origins);
            let last_digit = offset.max(16.0) * f64::EPSILON;
            for (found, expected) in found.iter().zip(&naive(&rows, offset)) {
                prop_assert_eq!(found.members, expected.members);
                prop_assert!((found.share - expected.share).abs() < 1e-15);
                prop_assert!(near(found.mean_distance, expected.mean_distance, 1e-13));
                for (found, expected) in found.features.iter().zip(&expected.features) {
                    prop_assert!(near(found.mean, expected.mean, last_digit), "{found:?} {expected:?}");
                    prop_assert!((found.population_mean - expected.population_mean).abs() <= last_digit);
                    // Means have the digits of their values; deviations have all.
                    prop_assert!(near(found.z, expected.z, 1e-12 + 600.0 * last_digit), "{found:?} {expected:?}");
                }
            }
            // The order changes no bit.
            given.sort_by_key(|row| (seed ^ row.0[0].to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(row.1 as u32));
            prop_assert_eq!(tally(&given, origins), found);
        }

        #[test]
        fn the_order_of_any_numbers_changes_no_bit(
            mut rows in prop::collection::vec(([-1e9f64..1e9, 0.0..1e-3, 1e12..1e12 + 1.0], 0..GROUPS, 0.0f64..9.0), 1..200),
        ) {
            let origins = [1e8, 0.0, 1e12];
            let found = tally(&rows, origins);
            rows.reverse();
            prop_assert_eq!(&tally(&rows, origins), &found);
            rows.sort_by(|a, b| a.0[1].total_cmp(&b.0[1]));
            prop_assert_eq!(&tally(&rows, origins), &found);
        }
    }

    #[test]
    fn nothing_has_no_means() {
        for profile in tally(&[], [1.0, 2.0, 3.0]) {
            assert_eq!((profile.members, profile.share, profile.mean_distance), (0, 0.0, None));
            assert!(profile.features.iter().all(|feature| feature.mean.is_none() && feature.z.is_none()));
        }
    }

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
