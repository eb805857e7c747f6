//! Time and memory of item-based recommenders on made-up interactions:
//!
//!     cargo bench -p recommenders --bench neighbours -- [items=2000] [users=20000] [entries=50] [threads=2]
//!
//! Without items it runs 2,000 and 10,000. EASE is left out of more than 20,000. Popularity falls as one by the rank of an item. Last, the time of answers for
//! users of 100 items with 200 neighbours each, among 100,000.

use std::error::Error;
use std::time::Instant;

use base::{Control, Csr};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recommenders::answers::Filter;
use recommenders::item_knn::{self, Similarity};
use recommenders::neighbours::{Neighbours, Scratch};
use recommenders::{ease, elsa};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let word = arguments.iter().find_map(|each| each.strip_prefix(&format!("{name}=")));
        word.map(|word| word.parse::<usize>()).transpose()
    };
    let sizes = number("items")?.map_or(vec![2000, 10_000], |items| vec![items]);
    let (users, entries) = (number("users")?.unwrap_or(20_000), number("entries")?.unwrap_or(50));
    let threads = number("threads")?.map_or(vec![1, 2], |threads| vec![threads]);
    for items in sizes {
        let user_items = popular(users, items, entries);
        let item_users = user_items.transpose(items);
        println!("{users} users x {items} items, {} entries", user_items.entries());
        for &threads in &threads {
            let params = elsa::Params { threads, ..elsa::Params::default() };
            let control = Control::unlimited();
            let (begun, used) = (Instant::now(), processor_time());
            let mut losses = Vec::new();
            let model =
                elsa::fit(&user_items, &item_users, &params, &control, &mut |_, loss| losses.push(loss))?;
            println!(
                "  ELSA, {threads} threads: {:.2} s (processor {:.2}), {} MB at most ({} expected), {} MB kept, loss {:.3} to {:.3}",
                begun.elapsed().as_secs_f64(),
                processor_time() - used,
                control.peak() >> 20,
                elsa::need(users, items, user_items.entries(), &params).peak >> 20,
                model.bytes() >> 20,
                losses[0],
                elsa::loss(&user_items, &model),
            );
            if items > 20_000 {
                continue;
            }
            let params = ease::Params { threads, ..ease::Params::default() };
            let control = Control::unlimited();
            let (begun, used) = (Instant::now(), processor_time());
            let model = ease::fit(&user_items, &item_users, &params, &control)?;
            println!(
                "  EASE, {threads} threads: {:.2} s (processor {:.2}), {} MB at most ({} expected), {} MB kept",
                begun.elapsed().as_secs_f64(),
                processor_time() - used,
                control.peak() >> 20,
                ease::need(items, &params).peak >> 20,
                model.bytes() >> 20,
            );
            for similarity in [Similarity::Cosine, Similarity::TfIdf, Similarity::Bm25 { k1: 1.2, b: 0.75 }] {
                let params = item_knn::Params { similarity, threads, ..item_knn::Params::default() };
                let control = Control::unlimited();
                let (begun, used) = (Instant::now(), processor_time());
                let model = item_knn::fit(&user_items, &item_users, &params, &control)?;
                println!(
                    "  {similarity:?}, {threads} threads: {:.2} s (processor {:.2}, {:.2} ns a product), {} MB at most, {} MB \
                     kept",
                    begun.elapsed().as_secs_f64(),
                    processor_time() - used,
                    (processor_time() - used) * 1e9 / item_knn::products(&user_items) as f64,
                    control.peak() >> 20,
                    model.bytes() >> 20,
                );
            }
        }
    }
    answers();
    Ok(())
}

fn answers() {
    const ITEMS: usize = 100_000;
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let mut below = |limit: usize| (generator.next_u64() % limit as u64) as u32;
    let mut distinct = |count: usize, without: u32| {
        let mut row: Vec<u32> =
            (0..count + 2).map(|_| below(ITEMS)).filter(|&item| item != without).collect();
        row.sort_unstable();
        row.dedup();
        row
    };
    let mut model = Neighbours { offsets: vec![0], ..Neighbours::default() };
    for item in 0..ITEMS as u32 {
        model.items.extend(distinct(200, item));
        model.offsets.push(model.items.len() as u64);
    }
    model.weights = (0..model.items.len()).map(|at| (at * 7919 % 1000) as f32 / 1000.0).collect();
    let by_popularity: Vec<u32> = (0..ITEMS as u32).collect();
    let users: Vec<Vec<u32>> = (0..1000).map(|_| distinct(100, u32::MAX)).collect();
    let mut scratch = Scratch::new(ITEMS);
    let mut times: Vec<f64> = users
        .iter()
        .map(|own| {
            let begun = Instant::now();
            let found =
                model.view().recommend(own, None, 10, Filter::default(), &by_popularity, &mut scratch);
            assert_eq!(found.len(), 10);
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "answers of 100 x 200 among 100,000: median {:.3} ms, of 99 in 100 {:.3} ms",
        times[500], times[990]
    );
}

/// Seconds that all threads of this process have computed.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Users with up to so many items each, drawn by popularity.
fn popular(users: usize, items: usize, entries: usize) -> Csr {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for _ in 0..users {
        let mut row: Vec<u32> = (0..entries)
            .map(|_| {
                let uniform = (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                ((items as f64).powf(uniform) - 1.0) as u32
            })
            .collect();
        row.sort_unstable();
        row.dedup();
        matrix.indices.extend(row);
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    matrix.values = vec![1.0; matrix.indices.len()];
    matrix
}
