//! Time and counted memory of taking rows: 10 million of 500,000 users and 50,000 items, both Zipf-like.
//! `cargo bench -p recommenders --bench interactions`

use base::ids::{IdBuilder, IdKind, IdsRef};
use base::{Control, Result};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recommenders::interactions::{Holdout, InteractionsBuilder, split};

const ROWS: usize = 10_000_000;
const USERS: usize = 500_000;
const ITEMS: usize = 50_000;
const BATCH: usize = 4096;

fn main() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let users = zipf(ROWS, USERS, 0.6, &mut random);
    let items = zipf(ROWS, ITEMS, 0.9, &mut random);
    let values: Vec<f32> = (0..ROWS).map(|_| random.random_range(1..6) as f32).collect();
    let times: Vec<i64> = (0..ROWS).map(|_| random.random_range(0..1 << 40)).collect();
    for _ in 0..3 {
        inserts(&users)?;
    }
    for timed in [false, false, false, true] {
        for threads in [1, 2] {
            whole(&users, &items, &values, if timed { &times } else { &[] }, threads)?;
        }
    }
    Ok(())
}

fn inserts(users: &[i64]) -> Result<()> {
    let control = Control::unlimited();
    let mut ids = IdBuilder::new(IdKind::Integer, "users", &control);
    let mut out = [0; BATCH];
    let start = now();
    for batch in users.chunks(BATCH) {
        ids.insert(IdsRef::Integer(batch), &mut out[..batch.len()])?;
    }
    let inserted = now() - start;
    let (count, bytes) = (ids.len(), ids.bytes());
    let start = now();
    ids.finish()?;
    println!(
        "dictionary: {:.1} ns per insert, {count} ids, {} bytes per id, sorted in {:.1} ms",
        inserted * 1e9 / users.len() as f64,
        bytes / count as u64,
        (now() - start) * 1e3
    );
    Ok(())
}

fn whole(users: &[i64], items: &[i64], values: &[f32], times: &[i64], threads: usize) -> Result<()> {
    let control = Control::unlimited();
    let timed = !times.is_empty();
    let start = now();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, timed, &control);
    for from in (0..users.len()).step_by(BATCH) {
        let range = from..users.len().min(from + BATCH);
        let times = if timed { &times[range.clone()] } else { &[] };
        let (users, items) = (&users[range.clone()], &items[range.clone()]);
        builder.push(IdsRef::Integer(users), IdsRef::Integer(items), &values[range], times)?;
    }
    let pushed = now() - start;
    let wall = std::time::Instant::now();
    let result = builder.finish(threads)?;
    let finished = now() - start;
    println!("finish {:.3} s of wall time", wall.elapsed().as_secs_f64());
    let ids = result.users.bytes() + result.items.bytes();
    let per_row = |seconds: f64| seconds * 1e9 / users.len() as f64;
    println!(
        "interactions{}, {threads} threads: push {:.1} + finish {:.1} = {:.1} ns per row ({:.3} s), peak {:.1} bytes per row, {} entries",
        if timed { " with times" } else { "" },
        per_row(pushed),
        per_row(finished - pushed),
        per_row(finished),
        finished,
        (control.peak() - ids) as f64 / users.len() as f64,
        result.user_items.entries()
    );
    let start = now();
    let holdout = if timed { Holdout::Time } else { Holdout::Hash };
    let parts = split(&result, holdout, 1, 10_000, &control)?;
    let milliseconds = (now() - start) * 1e3;
    println!(
        "split: {} users, {} entries in {milliseconds:.1} ms",
        parts.users.len(),
        parts.held_out.entries()
    );
    Ok(())
}

/// Seconds on the processor, which other work on the machine does not count into as it does into wall time;
/// wall time where the system does not tell.
fn now() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |n| n * 1e-9)
}

/// Ids of which the `n`th most frequent has a probability near `1 / n^exponent`, by inverting the integral;
/// scattered over the integers, so that frequent ones are not neighbours.
fn zipf(rows: usize, ids: usize, exponent: f64, random: &mut impl Rng) -> Vec<i64> {
    let power = 1.0 - exponent;
    let most = (ids as f64).powf(power);
    (0..rows)
        .map(|_| {
            let rank = (random.random::<f64>() * (most - 1.0) + 1.0).powf(1.0 / power) as i64;
            rank.min(ids as i64).wrapping_mul(7_919_317) % 1_000_000_007
        })
        .collect()
}
