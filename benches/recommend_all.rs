//! The best items of 50,000 users of 10,000 items, by factors trained on one million interactions:
//!
//!     cargo bench -p recommenders --bench recommend_all -- [factors=64] [threads=2] [k=10] [runs=5]

#[path = "common/likes.rs"]
mod likes;

use std::error::Error;
use std::time::Instant;

use base::Control;
use base::ids::{IdKind, IdsRef};
use base::image::Image;
use recommenders::als::{self, Params};
use recommenders::interactions::InteractionsBuilder;
use recommenders::recommender::{Learned, Parts, Recommender, encode};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let word = arguments.iter().find_map(|each| each.strip_prefix(name)?.strip_prefix('='));
        word.map_or(Ok(default), str::parse)
    };
    let (threads, k, runs) = (number("threads", 2)?, number("k", 10)?, number("runs", 5)?);
    let control = Control::unlimited();
    let likes = likes::interactions();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..likes::USERS {
        let (items, values) = likes.row(user);
        let items: Vec<i64> = items.iter().map(|&item| i64::from(item)).collect();
        let users = vec![user as i64; items.len()];
        builder.push(IdsRef::Integer(&users), IdsRef::Integer(&items), values, &[])?;
    }
    let data = builder.finish(threads)?;
    let params =
        Params { factors: number("factors", 64)?, alpha: 10.0, seed: 1, threads, ..Params::default() };
    let start = als::start(data.users.len(), data.items.len(), &params, &control)?;
    let learned = als::fit(&data.user_items, &data.item_users, start, &params, &control, &mut |_, _| ())?;
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Factors(&learned),
        regularization: params.regularization,
        alpha: params.alpha,
        user_class: 0,
        item_class: 0,
    };
    let image = encode(&parts, [0; 16], threads, &control)?;
    let model = Recommender::new(&Image::open(&image)?)?;
    let users = data.users.len() as u32;
    for _ in 0..runs {
        let begun = Instant::now();
        let mut found = 0;
        // As the table is written: some users at a time.
        for first in (0..users).step_by(10_000) {
            let answers = model.recommend_all(first..users.min(first + 10_000), k, threads, &control)?;
            found += answers.iter().map(Vec::len).sum::<usize>();
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{users} users in {seconds:.3} s, {:.0} a second, {found} rows", f64::from(users) / seconds);
    }
    Ok(())
}
