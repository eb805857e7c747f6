//! Stochastic gradients on public data beside published figures: implicit 0.7.3 and Surprise 1.1. The data are not ours to
//! publish: run by `tests/reference/run.sh`, which says where they are.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use base::{Control, Csr};
use recommenders::metrics::rank_metrics;
use recommenders::sgd::{self, Loss, Model, Optimizer, Params, Sampling, Validation, WarmStart};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(
        std::env::var("SHARED_DATA").unwrap_or_else(|_| panic!("SHARED_DATA names the folder of the data")),
    )
}

fn reference(name: &str) -> Value {
    let path = folder().join("reference").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Entries by user and item, both numbered; items only as far as training knows them.
struct Data {
    train: Csr,
    transposed: Csr,
    /// Held-out entries of each user.
    test: Csr,
    /// Held-out values of users or items that training does not know.
    unknown: Vec<f32>,
}

fn matrix(users: usize, mut entries: Vec<(u32, u32, f32)>) -> Csr {
    entries.sort_unstable_by_key(|entry| (entry.0, entry.1));
    let mut matrix = Csr { offsets: vec![0; users + 1], ..Csr::default() };
    for (user, item, value) in entries {
        matrix.offsets[user as usize + 1] += 1;
        matrix.indices.push(item);
        matrix.values.push(value);
    }
    for user in 0..users {
        matrix.offsets[user + 1] += matrix.offsets[user];
    }
    matrix
}

fn read(file: &str, value_column: Option<&str>) -> Data {
    let output = Command::new("gzip").args(["-dc"]).arg(folder().join(file)).output().unwrap();
    assert!(output.status.success(), "{file}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let (user, item, held) = (at("user_id"), at("item_id"), at("is_test"));
    let value = value_column.map(at);
    let rows: Vec<(&str, &str, f32, bool)> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let value = value.map_or(1.0, |at| fields[at].parse().unwrap());
            (fields[user], fields[item], value, fields[held] == "1")
        })
        .collect();
    fn number<'a>(ids: &mut HashMap<&'a str, u32>, id: &'a str) -> u32 {
        let next = ids.len() as u32;
        *ids.entry(id).or_insert(next)
    }
    let (mut users, mut items) = (HashMap::new(), HashMap::new());
    let mut train = Vec::new();
    for &(user, item, value, held) in &rows {
        if !held {
            train.push((number(&mut users, user), number(&mut items, item), value));
        }
    }
    let (mut test, mut unknown) = (Vec::new(), Vec::new());
    for &(user, item, value, _) in rows.iter().filter(|row| row.3) {
        match (users.get(user), items.get(item)) {
            (Some(&user), Some(&item)) => test.push((user, item, value)),
            _ => unknown.push(value),
        }
    }
    let train = matrix(users.len(), train);
    let transposed = train.transpose(items.len());
    Data { train, transposed, test: matrix(users.len(), test), unknown }
}

const MOVIELENS: &str = "movielens-latest-small/split_implicit_ml_ge4_seed20240.csv.gz";
const MSWEB: &str = "msweb/split_implicit_msweb_seed20241.csv.gz";
const RATINGS: &str = "movielens-latest-small/split_explicit_ml_seed31415.csv.gz";

/// A tenth of the entries of each user with two or more, at least one, held out of `from`.
fn validation(from: &Csr, salt: u32) -> (Csr, Csr) {
    let (mut train, mut held) = (Vec::new(), Vec::new());
    for user in 0..from.rows() {
        let (items, values) = from.row(user);
        let hash = |item: u32| {
            (item ^ salt.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b9).rotate_left(7)
                ^ (user as u32).wrapping_mul(0xc2b2_ae35)
        };
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&at| hash(items[at]).wrapping_mul(0x27d4_eb2f));
        let count = if items.len() < 2 { 0 } else { (items.len() / 10).max(1) };
        for (rank, &at) in order.iter().enumerate() {
            let to = if rank < count { &mut held } else { &mut train };
            to.push((user as u32, items[at], values[at]));
        }
    }
    (matrix(from.rows(), train), matrix(from.rows(), held))
}

fn fit(train: &Csr, transposed: &Csr, params: &Params, held: Option<&Csr>) -> sgd::Fitted {
    let control = Control::unlimited();
    let start = sgd::start(train.rows(), transposed.rows(), params, &control).unwrap();
    let users: Vec<u32> = (0..train.rows() as u32).collect();
    let validation = match held {
        Some(entries) => Validation::HeldOut { users: &users, entries },
        None => Validation::None,
    };
    sgd::fit(train, transposed, start, params, validation, &control, &mut |_| ()).unwrap()
}

/// nDCG at 10 over the users with something to find, all items ranked but their own.
fn ndcg(train: &Csr, test: &Csr, model: &Model) -> f64 {
    let (mut sum, mut users) = (0.0, 0);
    let items = model.factors.items.len() / model.factors.factors;
    for user in (0..train.rows()).filter(|&user| !test.row(user).0.is_empty()) {
        let mut scores: Vec<(f32, u32)> =
            (0..items as u32).map(|item| (model.score(user as u32, item), item)).collect();
        train.row(user).0.iter().for_each(|&item| scores[item as usize].0 = f32::NEG_INFINITY);
        scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let ranked: Vec<u32> = scores[..10].iter().map(|score| score.1).collect();
        sum += rank_metrics(&ranked, test.row(user).0, 10).ndcg;
        users += 1;
    }
    sum / f64::from(users)
}

/// The root of the mean squared error, estimates within the scale.
fn rmse(data: &Data, model: &Model) -> f64 {
    let mean = f64::from(model.biases.as_ref().unwrap().mean);
    let mut sum: f64 = data.unknown.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
    for user in 0..data.test.rows() {
        let (items, values) = data.test.row(user);
        for (&item, &value) in items.iter().zip(values) {
            let score = f64::from(model.score(user as u32, item)).clamp(0.5, 5.0);
            sum += (score - f64::from(value)).powi(2);
        }
    }
    (sum / (data.unknown.len() + data.test.entries()) as f64).sqrt()
}

#[test]
#[ignore = "needs the data sets"]
fn the_defaults_of_warp_were_chosen_on_slices_of_the_training_data() {
    let default = Params { patience: 10, iterations: 100, threads: 2, ..Params::of(Loss::Warp) };
    for file in [MOVIELENS, MSWEB] {
        let data = read(file, None);
        // One slice is too noisy to tell.
        let slices: Vec<(Csr, Csr)> = (0..3).map(|slice| validation(&data.train, slice)).collect();
        let of = |params: &Params| {
            let scores = slices.iter().zip(0..).map(|((train, held), seed)| {
                let params = Params { seed, ..params.clone() };
                let fitted = fit(train, &train.transpose(data.transposed.rows()), &params, Some(held));
                fitted.scores[fitted.best_epoch - 1]
            });
            scores.sum::<f64>() / 3.0
        };
        let best = of(&default);
        println!("{file}: {best:.4}");
        for (name, other) in [
            ("regularization as LightFM", Params { regularization: 0.0, negatives: 10, ..default.clone() }),
            (
                "a fifth of the regularization",
                Params { regularization: default.regularization / 5.0, ..default.clone() },
            ),
            ("without biases", Params { biases: false, ..default.clone() }),
            ("a fifth of the draws", Params { negatives: default.negatives / 5, ..default.clone() }),
            ("Bpr", Params { patience: 10, iterations: 100, threads: 2, ..Params::of(Loss::Bpr) }),
        ] {
            let score = of(&other);
            println!("  {name}: {score:.4}");
            assert!(score < 1.03 * best, "{name}");
        }
    }
}

/// The settings of implicit 0.7.3, from its own published runs.
fn as_published(name: &str) -> Params {
    let number = |key: &str| -> f64 {
        let from = name.find(key).unwrap() + key.len();
        name[from..].split(' ').next().unwrap().parse().unwrap()
    };
    Params {
        optimizer: Optimizer::Sgd,
        factors: number("factors=") as usize,
        learning_rate: number("lr="),
        regularization: number("reg="),
        iterations: number("iterations=") as usize,
        threads: 2,
        ..Params::of(Loss::Bpr)
    }
}

#[test]
#[ignore = "needs the data sets"]
fn bpr_at_the_settings_of_implicit() {
    for (file, name) in [(MOVIELENS, "recsys_implicit_ml_ge4.json"), (MSWEB, "recsys_implicit_msweb.json")] {
        let data = read(file, None);
        let models = &reference(name)["models"];
        for (name, figures) in models.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("bpr"))
        {
            let expected = &figures["ndcg@10"];
            let (mean, deviation) = (expected["mean"].as_f64().unwrap(), expected["std"].as_f64().unwrap());
            let of = |sampling| {
                let params = Params { sampling, ..as_published(name) };
                let each = (0..5).map(|seed| {
                    let fitted = fit(&data.train, &data.transposed, &Params { seed, ..params.clone() }, None);
                    ndcg(&data.train, &data.test, &fitted.model)
                });
                each.sum::<f64>() / 5.0
            };
            let (ours, alike) = (of(Sampling::Uniform), of(Sampling::Popularity));
            println!(
                "{file} {name}: {ours:.4}, negatives by popularity {alike:.4}, reference {mean:.4} +- {deviation:.4}"
            );
            assert!(alike >= mean - deviation);
            // Negatives by popularity are what keeps implicit from ranking by popularity, which is worth more on msweb.
            assert!(file == MOVIELENS || ours >= mean + 0.05);
        }
    }
}

/// What WARP and BPR reach by default, MovieLens and msweb.
const WARP: [f64; 2] = [0.228, 0.5];
const BPR: [f64; 2] = [0.18, 0.45];

#[test]
#[ignore = "needs the data sets"]
fn defaults_are_better_than_published_bpr() {
    for (file, loss, at_least) in [
        (MOVIELENS, Loss::Warp, WARP[0]),
        (MSWEB, Loss::Warp, WARP[1]),
        (MOVIELENS, Loss::Bpr, BPR[0]),
        (MSWEB, Loss::Bpr, BPR[1]),
    ] {
        let data = read(file, None);
        let each = (0..3).map(|seed| {
            let params = Params { seed, threads: 2, ..Params::of(loss) };
            let fitted = fit(&data.train, &data.transposed, &params, None);
            ndcg(&data.train, &data.test, &fitted.model)
        });
        let mean = each.sum::<f64>() / 3.0;
        println!("{file} {}: {mean:.4}", loss.word());
        assert!(mean >= at_least);
    }
}

#[test]
#[ignore = "needs the data sets"]
fn ratings_are_estimated_better_than_by_surprise() {
    let data = read(RATINGS, Some("rating"));
    let each = (0..3).map(|seed| {
        let params = Params { seed, threads: 2, ..Params::of(Loss::Squared) };
        rmse(&data, &fit(&data.train, &data.transposed, &params, None).model)
    });
    let mean = each.sum::<f64>() / 3.0;
    // Surprise's tuned SVD: 0.8654 +- 0.0010.
    println!("root mean squared error of ratings by default: {mean:.4}");
    assert!(mean <= 0.862);
}

/// A model that follows new users and new entries ranks as one that is trained on all, and forgets nobody.
#[test]
#[ignore = "needs the data sets"]
fn an_update_ranks_as_a_training() {
    let control = Control::unlimited();
    for file in [MOVIELENS, MSWEB] {
        let data = read(file, None);
        let (all, items) = (&data.train, data.transposed.rows());
        // Of ten users one is new, and one has every second entry later.
        let later = |user: usize, at: usize| user.is_multiple_of(10) || (user % 10 == 5 && at % 2 == 1);
        let mut first = Vec::new();
        for user in 0..all.rows() {
            let (row, values) = all.row(user);
            let kept = row.iter().zip(values).enumerate().filter(|(at, _)| !later(user, *at));
            first.extend(kept.map(|(_, (&item, &value))| (user as u32, item, value)));
        }
        let first = matrix(all.rows(), first);
        let changed: Vec<u32> = (0..all.rows() as u32).filter(|user| user.is_multiple_of(5)).collect();
        let of = |users: &dyn Fn(usize) -> bool, model: &Model| {
            let mut test = Vec::new();
            for user in (0..all.rows()).filter(|&user| users(user)) {
                test.extend(data.test.row(user).0.iter().map(|&item| (user as u32, item, 1.0)));
            }
            ndcg(all, &matrix(all.rows(), test), model)
        };
        let groups = |model: &Model| {
            [
                of(&|user| user.is_multiple_of(10), model),
                of(&|user| user % 10 == 5, model),
                of(&|user| !user.is_multiple_of(5), model),
            ]
        };
        for loss in [Loss::Bpr, Loss::Warp, Loss::Logistic] {
            let params = Params { threads: 2, seed: 1, ..Params::of(loss) };
            let before = fit(&first, &first.transpose(items), &params, None);
            let trained = groups(&fit(all, &data.transposed, &params, None).model);
            let was = groups(&before.model);
            let squares = before.squares.clone();
            let warm = WarmStart { factors: before.model.folded(&control).unwrap(), squares };
            let after =
                sgd::refine(all, &data.transposed, warm, &changed, &params, &control, &mut |_| ()).unwrap();
            let updated = groups(&after.model);
            println!("{file} {loss:?}: before {was:.4?}, updated {updated:.4?}, trained {trained:.4?}");
            let ([new, grown, others], [_, grown_before, others_before]) = (updated, was);
            assert!(new > 0.9 * trained[0] && new > 1.1 * was[0], "{new}");
            assert!(grown > grown_before && others > 0.9 * others_before, "{grown} {others}");
        }
    }
}
