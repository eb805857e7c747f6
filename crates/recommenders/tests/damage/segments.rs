//! Images of segments: small valid ones, and everything that can be asked of one.

use base::image::AlignedBytes;
use base::{Control, Result};
use features::columns::{Scaling, fit};
use segments::kmeans::Clusters;
use segments::rfm::{Cuts, Labels};
use segments::{KMeansParts, RfmParts, Segments, encode_kmeans, encode_rfm};

use crate::choices::{Choices, extreme_float};

/// Centroids of two sizes, and scores.
pub(crate) fn images() -> Vec<AlignedBytes> {
    vec![kmeans(1, 1), kmeans(7, 3), rfm()]
}

fn kmeans(segments: usize, width: usize) -> AlignedBytes {
    let control = Control::unlimited();
    let rows: Vec<f64> = (0..segments * width * 2).map(|at| ((at * at) % 23) as f64 / 8.0).collect();
    let columns = fit(&rows, width, Scaling::Standard, &control).unwrap();
    let clusters = Clusters {
        centroids: (0..segments * width).map(|at| ((at * 5) % 17) as f64 / 16.0 - 0.5).collect(),
        sizes: vec![2; segments],
        labels: (0..2 * segments as u32).map(|row| row / 2).collect(),
        distances: vec![0.5; 2 * segments],
        inertia: 0.25,
        iterations: 3,
        converged: true,
    };
    let features: Vec<String> = (0..width).map(|at| "größe".repeat(at + 1)).collect();
    let parts = KMeansParts {
        features: &features.iter().map(String::as_str).collect::<Vec<_>>(),
        columns: &columns,
        scaling: Scaling::Standard,
        clusters: &clusters,
        ids: &(1..=segments as u32).rev().collect::<Vec<_>>(),
        labels: &(0..segments).map(|at| format!("segment {at}")).collect::<Vec<_>>(),
        silhouette: None,
        id_class: 0,
    };
    encode_kmeans(&parts, *b"golden or sample", &control).unwrap()
}

fn rfm() -> AlignedBytes {
    let labels = Labels::default();
    let cuts = Cuts { recency: &[1.0, 2.0, 2.0], frequency: &[1.0, 1.0, 4.0], monetary: &[-1.0, 2.0, 8.0] };
    let parts = RfmParts {
        features: ["recency_days", "frequency", "monetary"],
        rows: 9,
        cuts,
        ids: &(1..=labels.names.len() as u32).collect::<Vec<_>>(),
        labels: &labels,
        id_class: 0,
    };
    encode_rfm(&parts, *b"golden or sample", &Control::unlimited()).unwrap()
}

/// All questions; the answers may be wrong, unless the check has passed the model.
pub(crate) fn ask(model: &Segments<'_>, checked: &Result<()>, choices: &mut dyn Choices) {
    let width = model.features.len().min(1000);
    for length in [width, 0, width + 1, 3] {
        let row: Vec<f64> = (0..length).map(|_| f64::from(extreme_float(choices))).collect();
        let found = model.assign(&row);
        let fits = length == model.features.len() && row.iter().all(|number| number.is_finite());
        assert!(fits || found.is_none());
        if fits && checked.is_ok() {
            let segment = found.unwrap().segment;
            assert!(segment < model.ids.len() && !model.labels.get(segment).is_empty());
            let distances = model.distances(&row);
            assert!(distances.iter().all(|distance| distances[segment] <= *distance));
        }
        let _ = model.scores(&row);
    }
    let _ = (model.centroids(), model.columns(), model.cuts().map(|cuts| cuts.collapsed()));
    for at in [0, 1, model.ids.len(), usize::MAX] {
        let _ = (model.labels.get(at), model.features.get(at));
    }
}
