//! Alternating least squares against reference values, an exact solver and its own promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::needless_range_loop, reason = "elimination reads best by index")]

mod accuracy;
mod promises;
mod properties;
mod ratings;

use base::{Control, Csr};
use recommenders::als::{self, Params};
use recommenders::factors::Factors;

/// Users by items and the transpose, from unordered entries.
pub(crate) fn matrices(users: usize, items: usize, entries: &[(usize, usize, f32)]) -> (Csr, Csr) {
    let mut entries = entries.to_vec();
    entries.sort_by_key(|entry| (entry.0, entry.1));
    let mut matrix = Csr { offsets: vec![0; users + 1], ..Csr::default() };
    for &(user, item, value) in &entries {
        matrix.offsets[user + 1] += 1;
        matrix.indices.push(item as u32);
        matrix.values.push(value);
    }
    for user in 0..users {
        matrix.offsets[user + 1] += matrix.offsets[user];
    }
    let transposed = matrix.transpose(items);
    (matrix, transposed)
}

/// About `entries` entries, users and items of uneven weight.
pub(crate) fn random(users: usize, items: usize, entries: usize) -> Vec<(usize, usize, f32)> {
    let mut state = 1u64;
    let mut draw = |end: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let fraction = (state >> 33) as f64 / (1u64 << 31) as f64;
        (fraction * fraction * end as f64) as usize
    };
    let mut drawn: Vec<_> = (0..entries).map(|_| (draw(users), draw(items))).collect();
    drawn.sort_unstable();
    drawn.dedup();
    drawn.into_iter().map(|(user, item)| (user, item, (1 + (user * 7 + item) % 4) as f32)).collect()
}

pub(crate) fn fit(
    user_items: &Csr,
    item_users: &Csr,
    start: Factors,
    params: &Params,
) -> (Factors, Vec<f64>) {
    let control = Control::unlimited();
    let mut losses = vec![];
    let model = als::fit(user_items, item_users, start, params, &control, &mut |iteration, loss| {
        losses.push(loss);
        assert_eq!(iteration, losses.len());
    });
    let model = model.unwrap_or_else(|error| panic!("{error}: {params:?}, {} entries", user_items.entries()));
    let (done, total) = control.progress();
    assert_eq!(done, total);
    assert_eq!(total, (2 * user_items.entries() * params.iterations) as u64);
    (model, losses)
}

#[track_caller]
pub(crate) fn assert_near(a: &[f32], b: &[f64], relative: f64) {
    assert_eq!(a.len(), b.len());
    let distance = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>().sqrt();
    let length = b.iter().map(|b| b * b).sum::<f64>().sqrt();
    assert!(distance <= relative * length, "{distance} of {length}");
}

pub(crate) fn doubles(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&each| f64::from(each)).collect()
}

/// The exact row in double precision, by elimination: slow and obvious.
pub(crate) fn exact(
    fixed: &[f32],
    factors: usize,
    items: &[u32],
    values: &[f32],
    params: &Params,
) -> Vec<f64> {
    let mut system = vec![vec![0.0; factors + 1]; factors];
    let mut add = |row: &[f32], scale: f64, right: f64| {
        for a in 0..factors {
            for b in 0..factors {
                system[a][b] += scale * f64::from(row[a]) * f64::from(row[b]);
            }
            system[a][factors] += right * f64::from(row[a]);
        }
    };
    for row in fixed.chunks(factors) {
        add(row, 1.0, 0.0);
    }
    for (&item, &value) in items.iter().zip(values) {
        let weight = params.alpha * f64::from(value);
        add(&fixed[item as usize * factors..][..factors], weight, 1.0 + weight);
    }
    for pivot in 0..factors {
        system[pivot][pivot] += params.regularization;
    }
    eliminate(system)
}

/// The solution of a system whose last column is the right side.
pub(crate) fn eliminate(mut system: Vec<Vec<f64>>) -> Vec<f64> {
    let factors = system.len();
    for pivot in 0..factors {
        let best = (pivot..factors)
            .max_by(|&a, &b| system[a][pivot].abs().total_cmp(&system[b][pivot].abs()))
            .unwrap();
        system.swap(pivot, best);
        for row in 0..factors {
            let scale = system[row][pivot] / system[pivot][pivot];
            if row != pivot {
                for column in pivot..=factors {
                    system[row][column] -= scale * system[pivot][column];
                }
            }
        }
    }
    (0..factors).map(|row| system[row][factors] / system[row][row]).collect()
}
