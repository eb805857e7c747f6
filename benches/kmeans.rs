//! Time of k-means on one million rows around 64 centers, one start, 20 iterations, the fastest of some runs:
//!
//!     cargo bench -p segments --bench kmeans -- [columns=8] [k=8] [rows=1000000] [runs=5] [write=FOLDER]
//!
//! The processor time beside it is what to compare on a machine that others use, too.
//!
//! Without columns and k it runs 8 x 8, 8 x 64, 32 x 8 and 32 x 64. `write` leaves rows and start centroids as raw
//! little-endian files, for `benches/peers/kmeans.py`.

use std::error::Error;
use std::time::Instant;

use base::Control;
use features::columns::{self, Scaling};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use segments::kmeans::{Params, Points, fit, fit_from, silhouette};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let word = |name: &str| {
        arguments.iter().find_map(|each| each.strip_prefix(&format!("{name}=")).map(String::from))
    };
    let number = |name: &str, default| word(name).map_or(Ok(default), |word| word.parse::<usize>());
    let (count, runs) = (number("rows", 1_000_000)?, number("runs", 5)?);
    let columns = word("columns").map_or(Ok(vec![8, 32]), |word| word.parse().map(|one| vec![one]))?;
    let clusters = word("k").map_or(Ok(vec![8, 64]), |word| word.parse().map(|one| vec![one]))?;
    for columns in columns {
        let rows = blobs(count, columns);
        if let Some(folder) = word("write") {
            let bytes: Vec<u8> = rows.iter().flat_map(|number| number.to_le_bytes()).collect();
            std::fs::write(format!("{folder}/rows_{columns}.f32"), bytes)?;
        }
        let control = Control::unlimited();
        let begun = Instant::now();
        let found = columns::fit(&rows, columns, Scaling::None, &control)?;
        let points = Points::new(&rows, &found, &control)?;
        println!("{count} x {columns}: statistics and points {:.3} s", begun.elapsed().as_secs_f64());
        for &clusters in &clusters {
            // The first rows: as good as any, since rows come in no order.
            let frame = points.frame();
            let start: Vec<f64> = rows[..clusters * columns]
                .chunks_exact(columns)
                .flat_map(|row| frame.point(&row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()))
                .map(f64::from)
                .collect();
            for threads in [1, 2] {
                let params = Params {
                    clusters,
                    starts: 1,
                    max_iterations: 20,
                    tolerance: 0.0,
                    threads,
                    ..Params::default()
                };
                let (mut times, mut work) = (Vec::new(), Vec::new());
                let mut inertia = 0.0;
                for _ in 0..runs {
                    let (begun, used) = (Instant::now(), processor_time());
                    inertia = fit_from(&points, &start, &params, &mut |_, _| ())?.inertia;
                    times.push(begun.elapsed().as_secs_f64());
                    work.push(processor_time() - used);
                }
                times.sort_by(f64::total_cmp);
                work.sort_by(f64::total_cmp);
                println!(
                    "{count} x {columns}, k {clusters}, {threads} threads: fit {:.4} s, {:.2} ms an iteration \
                     (processor {:.2}), inertia {inertia:.0}",
                    times[0],
                    times[0] * 1e3 / 20.0,
                    work[0] * 1e3 / 20.0,
                );
            }
            let params = Params { clusters, starts: 1, max_iterations: 1, threads: 2, ..Params::default() };
            let begun = Instant::now();
            let model = fit(&points, &params, &mut |_, _, _| ())?;
            let seeded = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            let value = silhouette(&points, &model.labels, clusters, 10_000, 1, 2)?;
            let compared = begun.elapsed().as_secs_f64();
            println!(
                "  k-means++ and one iteration {seeded:.3} s; silhouette of 10,000 {value:.3?} {compared:.3} s"
            );
        }
    }
    Ok(())
}

/// Seconds that all threads of this process have computed.
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Normally distributed rows around 64 centers of uneven weight.
fn blobs(count: usize, columns: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(1000 + columns as u64);
    let normal = |generator: &mut ChaCha8Rng| -> f32 {
        let number: f64 = StandardNormal.sample(generator);
        number as f32
    };
    let centers: Vec<f32> = (0..64 * columns).map(|_| normal(&mut generator)).collect();
    let mut rows = Vec::with_capacity(count * columns);
    for _ in 0..count {
        let uniform = (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let center = (uniform * uniform * 64.0) as usize;
        let spread = 0.5 + center as f32 / 128.0;
        for column in 0..columns {
            rows.push(centers[center * columns + column] + spread * normal(&mut generator));
        }
    }
    rows
}
