//! Training time of alternating least squares on one million interactions of 50,000 users with 10,000 items:
//!
//!     cargo bench -p recommenders --bench als -- [factors=64] [iterations=15] [threads=2] [runs=3] \
//!         [solver=cg|cholesky] [write=FOLDER]
//!
//! `write` leaves the interactions as raw little-endian files, for `benches/peers/als.py`.

#[path = "common/likes.rs"]
mod likes;

use std::error::Error;
use std::time::Instant;

use base::Control;
use likes::{ENTRIES, ITEMS, USERS, interactions};
use recommenders::als::{self, Params, Solver};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let word = |name: &str| {
        arguments.iter().find_map(|each| each.strip_prefix(&format!("{name}=")).map(String::from))
    };
    let number = |name: &str, default| word(name).map_or(Ok(default), |word| word.parse::<usize>());
    let user_items = interactions();
    let item_users = user_items.transpose(ITEMS);
    if let Some(folder) = word("write") {
        likes::write(&user_items, &folder)?;
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
