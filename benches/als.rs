//! Training time of alternating least squares on one million interactions of 50,000 users with 10,000 items:
//!
//!     cargo bench -p algorithms --bench als -- [factors=64] [iterations=15] [threads=2] [runs=3] \
//!         [solver=cg|cholesky] [write=FOLDER]
//!
//! `write` leaves the interactions as raw little-endian files, for `benches/peers/als.py`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Instant;

use algorithms::als::{self, Params, Solver};
use algorithms::{Control, Csr};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const USERS: usize = 50_000;
const ITEMS: usize = 10_000;
const ENTRIES: usize = 1_000_000;
const GROUPS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let word = |name: &str| {
        arguments.iter().find_map(|each| each.strip_prefix(&format!("{name}=")).map(String::from))
    };
    let number = |name: &str, default| word(name).map_or(Ok(default), |word| word.parse::<usize>());
    let user_items = interactions();
    let item_users = user_items.transpose(ITEMS);
    if let Some(folder) = word("write") {
        let bytes = |words: &mut dyn Iterator<Item = [u8; 4]>| words.flatten().collect::<Vec<u8>>();
        let offsets: Vec<u8> = user_items.offsets.iter().flat_map(|each| each.to_le_bytes()).collect();
        std::fs::write(format!("{folder}/offsets.u64"), offsets)?;
        std::fs::write(
            format!("{folder}/indices.u32"),
            bytes(&mut user_items.indices.iter().map(|x| x.to_le_bytes())),
        )?;
        std::fs::write(
            format!("{folder}/values.f32"),
            bytes(&mut user_items.values.iter().map(|x| x.to_le_bytes())),
        )?;
    }
    let solver = match word("solver").as_deref() {
        None | Some("cg") => Solver::ConjugateGradient,
        Some("cholesky") => Solver::Cholesky,
        Some(other) => return Err(format!("unrecognized solver \"{other}\"").into()),
    };
    let params = Params {
        factors: number("factors", 64)?,
        regularization: 0.1,
        alpha: 10.0,
        iterations: number("iterations", 15)?,
        solver,
        cg_steps: 3,
        seed: 1,
        threads: number("threads", 2)?,
    };
    let begun = Instant::now();
    let start = als::start(USERS, ITEMS, &params, &Control::unlimited())?;
    println!("start {:.3} s", begun.elapsed().as_secs_f64());
    // Per entry four passes of a product and a sum, per row four products with the Gram matrix; and the
    // matrix itself.
    let f = params.factors as f64;
    let rows = (USERS + ITEMS) as f64;
    // Exactly: per entry half a square, and per row a third of a cube, both doubled by the addition.
    let entries = ENTRIES as f64;
    let work = match solver {
        Solver::ConjugateGradient => 2.0 * 16.0 * f * entries + rows * (8.0 * f * f + f * f),
        Solver::Cholesky => 2.0 * f * f * entries + rows * (f * f * f / 3.0 + 3.0 * f * f),
    };
    for _ in 0..number("runs", 3)? {
        let (start, control, mut last) = (start.clone(), Control::unlimited(), 0.0);
        let begun = Instant::now();
        let model = als::fit(&user_items, &item_users, start, &params, &control, &mut |_, loss| last = loss)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "fit {seconds:.3} s {:.1} GFLOP/s, loss {:.1}, on the way {last:.1}",
            work * params.iterations as f64 / seconds / 1e9,
            als::loss(&user_items, &model, &params)
        );
    }
    Ok(())
}

/// Items by Zipf's law with exponent 0.9, users of log-normal activity, and both in groups that explain 70 %
/// of the entries; the value of an entry counts how often it was drawn.
fn interactions() -> Csr {
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
