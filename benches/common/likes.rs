//! One million made-up interactions of 50,000 users with 10,000 items.

use std::collections::HashMap;

use base::Csr;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

pub(crate) const USERS: usize = 50_000;
pub(crate) const ITEMS: usize = 10_000;
pub(crate) const ENTRIES: usize = 1_000_000;
const GROUPS: usize = 30;

/// Items by Zipf's law with exponent 0.9, users of log-normal activity, and both in groups that explain 70 %
/// of the entries; the value of an entry counts how often it was drawn.
pub(crate) fn interactions() -> Csr {
    let mut generator = ChaCha8Rng::seed_from_u64(4242);
    let mut popularity: Vec<f64> = (1..=ITEMS).map(|rank| (rank as f64).powf(-0.9)).collect();
    for at in (1..ITEMS).rev() {
        popularity.swap(at, below(&mut generator, at + 1));
    }
    let item_groups: Vec<usize> = (0..ITEMS).map(|_| below(&mut generator, GROUPS)).collect();
    let user_groups: Vec<usize> = (0..USERS).map(|_| below(&mut generator, GROUPS)).collect();
    let activity = cumulate((0..USERS).map(|_| {
        let normal: f64 = StandardNormal.sample(&mut generator);
        (1.1 * normal).exp()
    }));
    let everywhere = cumulate(popularity.iter().copied());
    let members: Vec<Vec<usize>> =
        (0..GROUPS).map(|group| (0..ITEMS).filter(|&item| item_groups[item] == group).collect()).collect();
    let within: Vec<Vec<f64>> =
        members.iter().map(|items| cumulate(items.iter().map(|&item| popularity[item]))).collect();
    let mut counts: HashMap<(u32, u32), f32> = HashMap::new();
    while counts.len() < ENTRIES {
        let user = draw(&mut generator, &activity);
        let group = user_groups[user];
        let item = if uniform(&mut generator) < 0.3 {
            draw(&mut generator, &everywhere)
        } else {
            members[group][draw(&mut generator, &within[group])]
        };
        *counts.entry((user as u32, item as u32)).or_default() += 1.0;
    }
    let mut entries: Vec<_> = counts.into_iter().collect();
    entries.sort_unstable_by_key(|entry| entry.0);
    let mut matrix = Csr { offsets: vec![0; USERS + 1], ..Csr::default() };
    for ((user, item), count) in entries {
        matrix.offsets[user as usize + 1] += 1;
        matrix.indices.push(item);
        matrix.values.push(count);
    }
    for user in 0..USERS {
        matrix.offsets[user + 1] += matrix.offsets[user];
    }
    matrix
}

fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn below(generator: &mut ChaCha8Rng, end: usize) -> usize {
    (uniform(generator) * end as f64) as usize
}

fn cumulate(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect()
}

fn draw(generator: &mut ChaCha8Rng, cumulated: &[f64]) -> usize {
    let point = uniform(generator) * cumulated[cumulated.len() - 1];
    cumulated.partition_point(|&sum| sum <= point).min(cumulated.len() - 1)
}

#[allow(dead_code, reason = "not every bench that shares this file writes")]
/// Writes the matrix as raw little-endian files, for `benches/peers`.
pub(crate) fn write(user_items: &Csr, folder: &str) -> std::io::Result<()> {
    let bytes = |words: &mut dyn Iterator<Item = [u8; 4]>| words.flatten().collect::<Vec<u8>>();
    let offsets: Vec<u8> = user_items.offsets.iter().flat_map(|each| each.to_le_bytes()).collect();
    std::fs::write(format!("{folder}/offsets.u64"), offsets)?;
    let mut indices = user_items.indices.iter().map(|each| each.to_le_bytes());
    std::fs::write(format!("{folder}/indices.u32"), bytes(&mut indices))?;
    let mut values = user_items.values.iter().map(|each| each.to_le_bytes());
    std::fs::write(format!("{folder}/values.f32"), bytes(&mut values))
}
