//! Images of segments: round trips, the same answers as the training, and damage.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use base::image::{AlignedBytes, Image};
use base::{Control, Error};
use features::columns::{self, Scaling};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segments::kmeans::{self, Clusters, Params, Points};
use segments::profile::{describe, profile};
use segments::rfm::{Cuts, Labels};
use segments::{KMeansParts, RfmParts, Segments, encode_kmeans, encode_rfm};

const UUID: [u8; 16] = *b"0123456789abcdef";
const FEATURES: [&str; 3] = ["recency", "orders", "größe"];

fn rows() -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (0..2000)
        .flat_map(|row| [1.7e9 + uniform() * 1e6, (uniform() * uniform() * 30.0).floor(), f64::from(row % 3)])
        .collect()
}

fn trained(scaling: Scaling) -> (Vec<columns::Column>, Clusters, AlignedBytes) {
    let (rows, control) = (rows(), Control::unlimited());
    let columns = columns::fit(&rows, 3, scaling, &control).unwrap();
    let points = Points::new(&rows, &columns, &control).unwrap();
    let clusters =
        kmeans::fit(&points, &Params { clusters: 5, ..Params::default() }, &mut |_, _, _| ()).unwrap();
    let groups = profile(&rows, columns.len(), &clusters.labels, &clusters.distances, 5, &control).unwrap();
    let z: Vec<f64> = groups.iter().flat_map(|group| group.features.iter().map(|x| x.z.unwrap())).collect();
    let parts = KMeansParts {
        features: &FEATURES,
        columns: &columns,
        scaling,
        clusters: &clusters,
        ids: &[3, 1, 9, 2, 4],
        labels: &describe(&z, &FEATURES),
        silhouette: Some(0.5),
        id_class: 7,
    };
    let before = control.used();
    let image = encode_kmeans(&parts, UUID, &control).unwrap();
    assert_eq!(control.used(), before + image.len() as u64);
    (columns, clusters, image)
}

#[test]
fn rows_of_the_training_get_their_segments_again() {
    for scaling in [Scaling::None, Scaling::Standard, Scaling::MinMax, Scaling::Robust] {
        let (columns, clusters, bytes) = trained(scaling);
        let image = Image::open(&bytes).unwrap();
        image.verify(&Control::unlimited()).unwrap();
        let model = Segments::new(&image).unwrap();
        model.check().unwrap();
        let rows = rows();
        for ((row, &label), &distance) in rows.chunks(3).zip(&clusters.labels).zip(&clusters.distances) {
            let found = model.assign(row).unwrap();
            assert_eq!(found.segment, label as usize);
            assert_eq!(found.distance.unwrap() as f32, distance);
            assert_eq!(model.distances(row)[found.segment], found.distance.unwrap());
        }
        let facts = model.facts;
        assert_eq!((facts.rows, facts.features, facts.segments, facts.id_class), (2000, 3, 5, 7));
        assert_eq!(Scaling::WORDS[usize::from(facts.scaling)], scaling.word());
        assert_eq!((facts.inertia, facts.silhouette), (clusters.inertia, 0.5));
        assert_eq!((model.ids, model.features.get(2)), (&[3, 1, 9, 2, 4][..], "größe"));
        assert_eq!(model.columns(), Some(&columns[..]));
        assert_eq!((model.scores(&rows[..3]), model.cuts()), (None, None));
        // Centroids in the user's units are means of the members.
        let centroids = model.centroids().unwrap();
        for (label, &size) in clusters.sizes.iter().enumerate() {
            let own = rows.chunks(3).zip(&clusters.labels).filter(|(_, own)| **own as usize == label);
            let mean = own.map(|(row, _)| row[1]).sum::<f64>() / size as f64;
            assert!((centroids[label * 3 + 1] - mean).abs() < 0.1, "{} {mean}", centroids[label * 3 + 1]);
        }
    }
}

#[test]
fn rows_that_cannot_be_assigned() {
    let (_, _, bytes) = trained(Scaling::Standard);
    let model = Segments::new(&Image::open(&bytes).unwrap()).unwrap();
    for row in [&[1.0, 2.0][..], &[1.0; 4], &[f64::NAN, 1.0, 1.0], &[1.0, f64::INFINITY, 1.0], &[]] {
        assert_eq!((model.assign(row), model.distances(row), model.scores(row)), (None, vec![], None));
    }
    // However far.
    let far = model.assign(&[1e300, -1e300, f64::MAX]).unwrap();
    assert!(far.segment < 5 && far.distance.unwrap() > 1e30);
}

/// From 1, in the order of the names.
fn ids_of(labels: &Labels) -> Vec<u32> {
    (1..=labels.names.len() as u32).collect()
}

#[test]
fn scores_and_their_segments() {
    let control = Control::unlimited();
    let labels = Labels::default();
    let parts = RfmParts {
        features: ["recency_days", "frequency", "monetary"],
        rows: 23_570,
        cuts: Cuts {
            recency: &[142.0, 433.0, 486.0, 513.0],
            frequency: &[1.0, 1.0, 2.0, 4.0],
            monetary: &[15.36, 31.35, 59.924, 133.95],
        },
        ids: &ids_of(&labels),
        labels: &labels,
        id_class: 1,
    };
    let bytes = encode_rfm(&parts, UUID, &control).unwrap();
    let image = Image::open(&bytes).unwrap();
    let model = Segments::new(&image).unwrap();
    model.check().unwrap();
    for (row, scores, label) in [
        ([546.0, 1.0, 11.77], [1, 1, 1], "Lost"),
        ([535.0, 2.0, 89.0], [1, 3, 4], "At Risk"),
        ([34.0, 6.0, 156.46], [5, 5, 5], "Champions"),
        ([201.0, 4.0, 100.5], [4, 4, 4], "Loyal Customers"),
        ([142.0, 1.0, 15.36], [5, 1, 1], "New Customers"),
    ] {
        assert_eq!(model.scores(&row), Some(scores));
        let found = model.assign(&row).unwrap();
        assert_eq!((model.labels.get(found.segment), found.distance), (label, None));
        assert_eq!(model.ids[found.segment] as usize, found.segment + 1);
    }
    assert_eq!(model.cuts().unwrap().collapsed(), [0, 1, 0]);
    assert_eq!((model.centroids(), model.columns(), model.facts.bins), (None, None, 5));
    let wrong = Labels { names: vec![], ..labels.clone() };
    assert!(matches!(
        encode_rfm(&RfmParts { labels: &wrong, ids: &[], ..parts }, UUID, &control),
        Err(Error::Corrupted(_))
    ));
}

/// What a checksum does not tell: numbers that were wrong when they were written.
#[test]
fn what_the_check_refuses() {
    let (good_columns, good_clusters, _) = trained(Scaling::Standard);
    let labels: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
    type Change<'a> = &'a dyn Fn(&mut Vec<columns::Column>, &mut Clusters, &mut Vec<u32>);
    let check = |change: Change| {
        let (mut columns, mut clusters) = (good_columns.clone(), good_clusters.clone());
        let mut ids = vec![5, 2, 3, 1, 4];
        change(&mut columns, &mut clusters, &mut ids);
        let parts = KMeansParts {
            features: &FEATURES,
            columns: &columns,
            scaling: Scaling::Standard,
            clusters: &clusters,
            ids: &ids,
            labels: &labels,
            silhouette: None,
            id_class: 0,
        };
        let bytes = encode_kmeans(&parts, UUID, &Control::unlimited()).unwrap();
        Segments::new(&Image::open(&bytes).unwrap()).and_then(|model| model.check())
    };
    let refused = |what| Err(Error::Corrupted(what));
    assert_eq!(check(&|_, _, _| ()), Ok(()));
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(check(&|columns, _, _| columns[1].divisor = wrong), refused("constants of a feature"));
    }
    assert_eq!(check(&|columns, _, _| columns[2].mean = 99.0), refused("constants of a feature"));
    let nan = check(&|_, clusters, _| clusters.centroids[4] = f64::NAN);
    assert_eq!(nan, refused("a centroid that is not finite"));
    assert_eq!(check(&|_, _, ids| ids[0] = 2), refused("ids of the segments"));
    assert_eq!(check(&|_, _, ids| ids[0] = 0), refused("ids of the segments"));
    let misfit = refused("sections do not fit each other");
    assert_eq!(check(&|_, _, ids| ids.truncate(4)), misfit);
    assert_eq!(check(&|columns, _, _| columns.truncate(2)), misfit);

    let names = Labels::default();
    let with = |recency: &[f64]| {
        let cuts = Cuts { recency, frequency: &[1.0, 1.0], monetary: &[0.0, 2.0] };
        let parts =
            RfmParts { features: FEATURES, rows: 1, cuts, ids: &ids_of(&names), labels: &names, id_class: 1 };
        encode_rfm(&parts, UUID, &Control::unlimited()).unwrap()
    };
    let check = |bytes: &[u8]| Segments::new(&Image::open(bytes).unwrap()).and_then(|model| model.check());
    assert_eq!(check(&with(&[1.0, 2.0])), Ok(()));
    assert_eq!(check(&with(&[2.0, 1.0])), refused("cut points are not in order"));
    assert_eq!(check(&with(&[1.0, f64::NAN])), refused("cut points are not in order"));
    // No text any more.
    let mut bytes = with(&[1.0, 2.0]).to_vec();
    let at = bytes.windows(4).position(|four| four == b"Lost").unwrap();
    bytes[at] = 0xff;
    assert_eq!(check(&AlignedBytes::copy_of(&bytes).unwrap()), refused("texts"));
}

/// The image with checksums of header and table that are right again, as an attacker would make it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 64 {
        let length = bytes.len() as u64;
        bytes[32..40].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].fill(0);
        let sections = u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize;
        if let Some(head) = bytes.get(..64 + sections.min(256) * 32) {
            let crc = crc32c::crc32c(head);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        }
    }
    bytes
}

/// Everything that serving does.
fn serve(bytes: &[u8]) -> Option<bool> {
    let model = Segments::new(&Image::open(bytes).ok()?).ok()?;
    let sound = model.check().is_ok();
    for row in [[1.7e9, 3.0, 1.0], [0.0, 0.0, 0.0], [-1e300, 1e300, 5e-324]] {
        let found = model.assign(&row);
        if sound {
            assert!(found.is_some_and(|found| found.segment < model.ids.len()));
        }
        let _ = (model.distances(&row), model.scores(&row), model.centroids());
    }
    for at in [0, 1, 4, 5, usize::MAX] {
        let _ = (model.labels.get(at), model.features.get(at));
    }
    Some(sound)
}

#[test]
fn mutations_panic_nowhere() {
    let control = Control::unlimited();
    let labels = Labels::default();
    let cuts = Cuts { recency: &[1.0, 2.0], frequency: &[1.0, 2.0], monetary: &[1.0, 2.0] };
    let parts =
        RfmParts { features: FEATURES, rows: 1, cuts, ids: &ids_of(&labels), labels: &labels, id_class: 1 };
    let images = [trained(Scaling::Robust).2, encode_rfm(&parts, UUID, &control).unwrap()];
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut opened, mut refused) = (0, 0);
    for image in &images {
        assert_eq!(serve(image), Some(true));
        for _ in 0..10_000 {
            let mut bytes = image.to_vec();
            match random.random_range(0..4) {
                0 => bytes.truncate(random.random_range(0..bytes.len())),
                1 => {
                    let (from, to) =
                        (random.random_range(0..bytes.len()), random.random_range(0..bytes.len()));
                    let length = random.random_range(1..64).min(bytes.len() - from).min(bytes.len() - to);
                    bytes.copy_within(from..from + length, to);
                }
                _ => {
                    for _ in 0..random.random_range(1..8) {
                        let at = random.random_range(0..bytes.len());
                        bytes[at] ^= 1 << random.random_range(0..8);
                    }
                }
            }
            match serve(&AlignedBytes::copy_of(&sealed(bytes)).unwrap()) {
                Some(true) => opened += 1,
                Some(false) => refused += 1,
                None => {}
            }
        }
    }
    assert!(opened > 500 && refused > 500, "{opened} {refused}");
}
