//! Segments of public data beside what scikit-learn 1.9 finds in them. The data are not ours to publish: run by
//! `tests/reference/run.sh`, which says where they are.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::process::Command;

use base::Control;
use features::columns::{self, Scaling};
use segments::kmeans::{self, Params, Points, silhouette};
use segments::rfm::{Best, cut_points, score};
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

/// The numbers of some columns of a gzipped CSV file.
fn read(file: &str, columns: impl Fn(&[&str]) -> Vec<usize>) -> Vec<f64> {
    let output = Command::new("gzip").args(["-dc"]).arg(folder().join(file)).output().unwrap();
    assert!(output.status.success(), "{file}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let wanted = columns(&lines.next().unwrap().split(',').collect::<Vec<_>>());
    lines
        .flat_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            wanted.iter().map(|&at| fields[at].parse().unwrap()).collect::<Vec<f64>>()
        })
        .collect()
}

#[test]
#[ignore = "needs the data sets"]
fn customers_as_scikit_learn_groups_them() {
    // Inertias that differ in the sixth digit have silhouettes that differ in the third where rows are few.
    for (file, name, near) in [
        ("cdnow/rfm_zfeatures_cdnow.csv.gz", "rfm_segmentation_cdnow.json", 0.002),
        (
            "online-retail/rfm_zfeatures_online_retail_even.csv.gz",
            "rfm_segmentation_online_retail_even.json",
            0.003,
        ),
    ] {
        let control = Control::unlimited();
        let rows = read(file, |_| vec![1, 2, 3]);
        let found = columns::fit(&rows, 3, Scaling::None, &control).unwrap();
        let points = Points::new(&rows, &found, &control).unwrap();
        let expected = &reference(name)["segmentation"]["kmeans"];
        let params = Params { threads: 2, ..Params::default() };
        let choice = kmeans::choose(&points, 2..=8, points.rows(), &params, &mut |_, _, _, _| ()).unwrap();
        for tried in &choice.tried {
            let expected = &expected[tried.clusters.to_string()];
            let (best, width) =
                (expected["inertia_best"].as_f64().unwrap(), expected["silhouette"].as_f64().unwrap());
            println!(
                "{name} k {}: inertia {:.3} of {best:.3}, silhouette {:.5} of {width:.5}",
                tried.clusters,
                tried.inertia,
                tried.silhouette.unwrap()
            );
            assert!(tried.inertia <= 1.001 * best);
            assert!((tried.silhouette.unwrap() - width).abs() <= near);
        }
    }
}

#[test]
#[ignore = "needs the data sets"]
fn wines_of_three_growers() {
    let control = Control::unlimited();
    let numbers = read("wine/wine.csv.gz", |head| (0..head.len() - 1).collect());
    let width = 13;
    let growers = read("wine/wine.csv.gz", |head| vec![head.len() - 1]);
    let found = columns::fit(&numbers, width, Scaling::Standard, &control).unwrap();
    let points = Points::new(&numbers, &found, &control).unwrap();
    let groups =
        kmeans::fit(&points, &Params { clusters: 3, ..Params::default() }, &mut |_, _, _| ()).unwrap();
    let expected = &reference("clustering_misc.json")["wine_zscored_kmeans3"];
    let best = expected["inertia"].as_f64().unwrap();
    assert!(groups.inertia <= best * (1.0 + 1e-6), "{} {best}", groups.inertia);
    let value = silhouette(&points, &groups.labels, 3, 1000, 1, 1).unwrap().unwrap();
    assert!((value - expected["silhouette"].as_f64().unwrap()).abs() < 1e-5, "{value}");
    // The adjusted Rand index, from the pairs that both keep together.
    let pairs = |count: f64| count * (count - 1.0) / 2.0;
    let count = |label: Option<usize>, grower: Option<usize>| {
        let both = groups.labels.iter().zip(&growers);
        let hit = both.filter(|(a, b)| {
            label.is_none_or(|label| **a as usize == label)
                && grower.is_none_or(|grower| **b == grower as f64)
        });
        pairs(hit.count() as f64)
    };
    let cells: f64 = (0..9).map(|at| count(Some(at / 3), Some(at % 3))).sum();
    let (ours, theirs): (f64, f64) = (0..3)
        .map(|at| (count(Some(at), None), count(None, Some(at))))
        .fold((0.0, 0.0), |s, x| (s.0 + x.0, s.1 + x.1));
    let chance = ours * theirs / count(None, None);
    let index = (cells - chance) / ((ours + theirs) / 2.0 - chance);
    assert!((index - expected["ari_vs_class"].as_f64().unwrap()).abs() < 1e-9, "{index}");
}

#[test]
#[ignore = "needs the data sets"]
fn cut_points_of_customers() {
    let control = Control::unlimited();
    let rows = read("cdnow/rfm_cdnow.csv.gz", |head| {
        let at = |name| head.iter().position(|column| *column == name).unwrap();
        vec![at("recency_days"), at("frequency_orders"), at("monetary_total")]
    });
    let expected = &reference("rfm_segmentation_cdnow.json")["quintile_edges_linear"];
    for (at, name) in ["recency_days", "frequency_orders", "monetary_total"].into_iter().enumerate() {
        let values = || rows.chunks(3).map(|row| row[at]);
        let cuts = cut_points(values(), rows.len() / 3, 5, &control).unwrap();
        let edges: Vec<f64> =
            expected[name].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap()).collect();
        for (cut, edge) in cuts.iter().zip(&edges) {
            assert!((cut - edge).abs() <= 1e-9 * edge, "{name} {cuts:?} {edges:?}");
        }
        // About a fifth has the highest score, as far as equal values allow.
        let best = if at == 0 { Best::Low } else { Best::High };
        let top =
            values().filter(|&value| score(value, &cuts, best) == 5).count() as f64 / values().count() as f64;
        assert!((0.1..0.3).contains(&top), "{name} {top}");
    }
}
