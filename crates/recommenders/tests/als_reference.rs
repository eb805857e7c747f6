//! Factors of public ratings beside what other programs make of the same split. The data are not ours to publish: run by
//! `tests/reference/run.sh`, which says where they are.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use base::{Control, Csr};
use recommenders::als::{self, Params, Solver, explicit};
use recommenders::evaluate::evaluate;
use recommenders::factors::Factors;
use recommenders::interactions::Split;
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

/// Some columns of a gzipped CSV file.
fn read(file: &str, names: [&str; 4]) -> Vec<[String; 4]> {
    let output = Command::new("gzip").args(["-dc"]).arg(folder().join(file)).output().unwrap();
    assert!(output.status.success(), "{file}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let wanted = names.map(|name| head.iter().position(|column| *column == name).unwrap());
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            wanted.map(|at| fields[at].to_string())
        })
        .collect()
}

/// A matrix of so many rows, from entries in any order.
fn matrix(rows: usize, entries: &[(u32, u32, f32)]) -> Csr {
    let mut entries = entries.to_vec();
    entries.sort_by_key(|entry| (entry.0, entry.1));
    let mut matrix = Csr { offsets: vec![0; rows + 1], ..Csr::default() };
    for (row, index, value) in entries {
        matrix.offsets[row as usize + 1] += 1;
        matrix.indices.push(index);
        matrix.values.push(value);
    }
    (0..rows).for_each(|row| matrix.offsets[row + 1] += matrix.offsets[row]);
    matrix
}

/// The training and the test part of a file, both over all users and all items of it.
fn parts(file: &str, value: &str) -> (Csr, Csr, usize) {
    let lines = read(file, ["user_id", "item_id", value, "is_test"]);
    let number = |column: usize| {
        let mut of: BTreeMap<&str, u32> = lines.iter().map(|line| (line[column].as_str(), 0)).collect();
        of.values_mut().zip(0..).for_each(|(to, number)| *to = number);
        of
    };
    let (users, items) = (number(0), number(1));
    let part = |test: &str| {
        let lines = lines.iter().filter(|line| line[3] == test);
        let entries: Vec<_> = lines
            .map(|line| (users[line[0].as_str()], items[line[1].as_str()], line[2].parse().unwrap()))
            .collect();
        matrix(users.len(), &entries)
    };
    (part("0"), part("1"), items.len())
}

#[test]
#[ignore = "needs the data sets"]
fn ratings_are_predicted_as_well_as_by_numpy() {
    for (name, file) in [
        ("ml", "movielens-latest-small/split_explicit_ml_seed31415.csv.gz"),
        ("restaurants", "restaurant-consumer/split_explicit_restaurants_seed31417.csv.gz"),
        ("travel_reviews", "travel-review-ratings/split_explicit_travel_reviews_seed31416.csv.gz"),
    ] {
        let expected = &reference(&format!("recsys_explicit_{name}.json"))["models"];
        let (train, test, items) = parts(file, "rating");
        let item_users = train.transpose(items);
        for (factors, lambda) in [(32, 0.1), (32, 0.05), (8, 0.1)] {
            let peer = format!(
                "numpy ALS-WR on bias-removed ratings factors={factors} lambda={lambda}*n 15 iterations"
            );
            let [rmse, mae] = ["rmse", "mae"].map(|figure| expected[&peer][figure]["mean"].as_f64().unwrap());
            let errors = [0, 1, 2].map(|seed| {
                let default = explicit::Params::default();
                let als = Params { factors, regularization: lambda, seed, threads: 2, ..default.als };
                let params = explicit::Params { als, ..default };
                let control = Control::unlimited();
                let start = als::start(train.rows(), items, &params.als, &control).unwrap();
                let model =
                    explicit::fit(&train, &item_users, start, &params, &control, &mut |_, _| ()).unwrap();
                let users: Vec<u32> = (0..train.rows() as u32).collect();
                explicit::errors(&model, &users, &test, &control).unwrap()
            });
            let mean = |of: fn(&explicit::Errors) -> f64| errors.iter().map(of).sum::<f64>() / 3.0;
            let (ours, ours_mae) = (mean(|errors| errors.rmse), mean(|errors| errors.mae));
            println!("{name} {factors} {lambda}: rmse {ours:.4} of {rmse:.4}, mae {ours_mae:.4} of {mae:.4}");
            assert_eq!(errors[0].count, test.entries() as u64);
            // A few hundred ratings are few.
            let near = if name == "restaurants" { 0.01 } else { 0.005 };
            assert!(ours <= rmse + near && ours_mae <= mae + near);
            assert!(name != "ml" || factors != 32 || lambda != 0.1 || ours <= 0.86);
        }
    }
}

#[test]
#[ignore = "needs the data sets"]
fn items_are_ranked_as_well_as_by_implicit() {
    let (train, test, items) =
        parts("movielens-latest-small/split_implicit_ml_ge4_seed20240.csv.gz", "value");
    let item_users = train.transpose(items);
    // Only items that somebody has can be found.
    let known = |item: u32| !item_users.row(item as usize).0.is_empty();
    let mut held_out = Csr { offsets: vec![0], ..Csr::default() };
    let mut users = vec![];
    for user in 0..train.rows() {
        let relevant = test.row(user).0.iter().copied().filter(|&item| known(item));
        held_out.indices.extend(relevant);
        if held_out.indices.len() as u64 > held_out.offsets[users.len()] {
            held_out.offsets.push(held_out.indices.len() as u64);
            users.push(user as u32);
        }
    }
    held_out.values = vec![1.0; held_out.indices.len()];
    assert_eq!(users.len(), 602);
    let split = Split { train, users, held_out, known: None };
    let models = &reference("recsys_implicit_ml_ge4.json")["models"];
    // Their confidence is alpha * value, ours 1 + alpha * value.
    for (factors, reg, alpha) in [(32, "0.05", 10.0), (32, "10.0", 2.0), (64, "20.0", 2.0)] {
        let alpha_name = alpha as i64;
        let name =
            format!(r#"als {{"factors": {factors}, "reg": {reg}, "alpha": {alpha_name}, "iters": 15}}"#);
        let expected = models[&name]["ndcg@10"]["mean"].as_f64().unwrap();
        let figures = [0, 1, 2].map(|seed| {
            let params = Params {
                factors,
                regularization: reg.parse().unwrap(),
                alpha: alpha - 1.0,
                solver: Solver::Cholesky,
                seed,
                threads: 2,
                ..Params::default()
            };
            let control = Control::unlimited();
            let start = als::start(split.train.rows(), items, &params, &control).unwrap();
            let model =
                als::fit(&split.train, &item_users, start, &params, &control, &mut |_, _| ()).unwrap();
            let measured = evaluate(&split, &item_users, &model, &[10], 2, &control).unwrap()[0];
            assert!((0.134..0.136).contains(&measured.popularity.ndcg.mean));
            measured.model.ndcg.mean
        });
        let ours = figures.iter().sum::<f64>() / 3.0;
        println!("{name}: nDCG@10 {ours:.4} {figures:.4?} of {expected:.4}");
        assert!((ours - expected).abs() <= 0.01);
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

#[test]
#[ignore = "needs the data sets"]
fn factors_of_ratings_are_those_of_numpy() {
    let golden = reference("golden_deterministic.json");
    let data = &golden["data"];
    let entries: Vec<(u32, u32, f32)> = numbers(&data["ratings(user_row,item_row,rating)"])
        .chunks(3)
        .map(|entry| (entry[0] as u32, entry[1] as u32, entry[2] as f32))
        .collect();
    let floats = |value: &Value| numbers(value).into_iter().map(|each| each as f32).collect::<Vec<f32>>();
    let start = Factors { factors: 3, users: floats(&data["X0_users"]), items: floats(&data["Y0_items"]) };
    let case = &golden["explicit_als ALS-WR lambda*n lambda=.1 5 iterations users first (numpy)"];
    let matrix = matrix(20, &entries);
    let default = explicit::Params::default();
    let params = explicit::Params {
        als: Params { factors: 3, regularization: 0.1, iterations: 5, ..default.als },
        damping: None,
    };
    let mut losses = vec![];
    let model = explicit::fit(
        &matrix,
        &matrix.transpose(15),
        start,
        &params,
        &Control::unlimited(),
        &mut |_, loss| {
            losses.push(loss);
        },
    )
    .unwrap();
    let near = |ours: &[f32], theirs: &Value| {
        let theirs = numbers(theirs);
        let apart: f64 = ours.iter().zip(&theirs).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
        (apart / theirs.iter().map(|each| each * each).sum::<f64>()).sqrt()
    };
    let apart = [
        near(&model.factors.users, &case["user_factors"]),
        near(&model.factors.items, &case["item_factors"]),
    ];
    println!("apart in norm: {apart:?}");
    assert!(apart.iter().all(|&each| each < 1e-4));
    let expected = numbers(&case["loss_after_each_half_step"]);
    for (iteration, loss) in losses.iter().enumerate() {
        assert!((loss / expected[2 * iteration + 2] - 1.0).abs() < 1e-5, "{losses:?} {expected:?}");
    }
    let users: Vec<u32> = (0..20).collect();
    let free = explicit::Model { range: (f32::MIN, f32::MAX), ..model };
    let errors = explicit::errors(&free, &users, &matrix, &Control::unlimited()).unwrap();
    assert!((errors.rmse - case["train_rmse"].as_f64().unwrap()).abs() < 1e-5);
}
