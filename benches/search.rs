//! Times of one exact search on one thread: `cargo bench -p vectors --bench search`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base::Control;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use vectors::search::{Bounds, Index, Sections, Similarity, quantize};

const FACTORS: usize = 64;

/// A copy that starts at a multiple of 64 bytes, as the sections of an image do.
struct Aligned<T> {
    numbers: Vec<T>,
    start: usize,
}

impl<T: Clone> Aligned<T> {
    fn new(numbers: &[T]) -> Self {
        let Some(first) = numbers.first() else { return Self { numbers: Vec::new(), start: 0 } };
        let mut room = vec![first.clone(); numbers.len() + 64];
        let start = room.as_ptr().align_offset(64).min(64);
        room[start..start + numbers.len()].clone_from_slice(numbers);
        Self { start, numbers: room }
    }

    fn get(&self, length: usize) -> &[T] {
        &self.numbers[self.start..self.start + length]
    }
}

/// Prints the times of searching `factors` for each of `queries`, and of quantizing.
fn measure(name: &str, factors: &[f32], queries: &[f32], k: usize) -> Result<(), base::Error> {
    let rows = factors.len() / FACTORS;
    let mut sections = Sections::default();
    for threads in [1, 2] {
        let start = Instant::now();
        sections = quantize(factors, FACTORS, threads, &Control::unlimited())?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        println!("{rows} x {FACTORS}, {name}: quantized in {milliseconds:.0} ms on {threads} threads");
    }
    let quantized = Aligned::new(&sections.quantized);
    let bounds: Aligned<Bounds> = Aligned::new(&sections.bounds);
    let (quantized, bounds) = (quantized.get(sections.quantized.len()), bounds.get(sections.bounds.len()));
    let index = Index::new(factors, FACTORS, quantized, bounds)?;
    for similarity in [Similarity::InnerProduct, Similarity::Cosine] {
        let mut times: Vec<Duration> = Vec::new();
        for query in queries.chunks_exact(FACTORS) {
            let start = Instant::now();
            black_box(index.search(query, k, similarity, &|_| false));
            times.push(start.elapsed());
        }
        times.sort();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!("  k = {k}, {similarity:?}: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
    }
    Ok(())
}

fn main() -> Result<(), base::Error> {
    println!("level {:?}", base::simd::level());
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = |rows: usize| -> Vec<f32> {
        (0..rows * FACTORS).map(|_| StandardNormal.sample(&mut random)).collect()
    };
    let factors = normal(100_000);
    measure("normal", &factors, &normal(2000), 10)?;
    measure("normal", &factors, &normal(500), 1000)?;
    // No bound can tell these apart: each is scored in f64.
    measure("all equal", &normal(1).repeat(100_000), &normal(100), 10)?;
    measure("normal", &normal(1_000_000), &normal(300), 10)
}
