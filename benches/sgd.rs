//! Time per epoch of factorization by stochastic gradients on one million interactions of 50,000 users with 10,000 items:
//!
//!     cargo bench -p recommenders --bench sgd -- [loss=bpr] [optimizer=sgd] [factors=64] [iterations=5] [threads=2] \
//!         [batch_size=1] [runs=3] [write=FOLDER]
//!
//! `write` leaves the interactions as raw little-endian files.

#[path = "common/likes.rs"]
mod likes;

use std::error::Error;
use std::time::Instant;

use base::Control;
use likes::{ENTRIES, ITEMS, USERS, interactions};
use recommenders::sgd::{self, Loss, Optimizer, Params, Validation};

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
    let loss = Loss::parse(&word("loss").unwrap_or("bpr".into()))?;
    let params = Params {
        optimizer: Optimizer::parse(&word("optimizer").unwrap_or("sgd".into()))?,
        factors: number("factors", 64)?,
        learning_rate: 0.01,
        regularization: 0.01,
        iterations: number("iterations", 5)?,
        threads: number("threads", 2)?,
        batch_size: number("batch_size", 1)?,
        ..Params::of(loss)
    };
    for _ in 0..number("runs", 3)? {
        let control = Control::unlimited();
        let start = sgd::start(USERS, ITEMS, &params, &control)?;
        let (mut last, mut fastest) = (Instant::now(), f64::INFINITY);
        let fitted =
            sgd::fit(&user_items, &item_users, start, &params, Validation::None, &control, &mut |_| {
                fastest = fastest.min(last.elapsed().as_secs_f64());
                last = Instant::now();
            })?;
        println!(
            "{} {}: {:.1} ms for the fastest epoch, {:.1} ns an entry; losses {:.4?}",
            loss.word(),
            params.optimizer.word(),
            fastest * 1e3,
            fastest * 1e9 / ENTRIES as f64,
            fitted.losses
        );
    }
    Ok(())
}
