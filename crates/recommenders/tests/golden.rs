//! Images of every format ever released: they are read, checked and served as on the day they were written.
//!
//! A golden image is never changed. When the format or what is written into it changes, `write_golden_images`
//! makes new files under new names, and the old ones stay in the list:
//!
//! ```sh
//! cargo test -p recommenders --test golden -- --ignored write_golden_images
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "damage/sample.rs"]
mod sample;

use std::path::{Path, PathBuf};

use base::Control;
use base::ids::IdKind::{self, Bytes, Fixed16, Integer};
use base::ids::IdRef;
use base::image::{AlignedBytes, Image, VERSION};
use recommenders::answers::{Filter, Recommendation, Source};
use recommenders::recommender::Recommender;
use sample::{Sample, Shape};

/// Names end in the kinds of user and item ids.
const GOLDEN: [(&str, IdKind, IdKind); 6] = [
    ("format1-integer-bytes.image", Integer, Bytes),
    ("format1-fixed16-integer.image", Fixed16, Integer),
    ("format1-bytes-fixed16.image", Bytes, Fixed16),
    ("format1-values-integer-bytes.image", Integer, Bytes),
    ("format1-values-fixed16-integer.image", Fixed16, Integer),
    ("format1-values-bytes-fixed16.image", Bytes, Fixed16),
];

/// What is written today: the newest of the golden images.
const TODAY: [&str; 3] = [GOLDEN[3].0, GOLDEN[4].0, GOLDEN[5].0];

fn sample(user_kind: IdKind, item_kind: IdKind) -> Sample {
    Sample::new(Shape { users: 20, items: 18, factors: 5, user_kind, item_kind, sums: false })
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(name: &str) -> AlignedBytes {
    AlignedBytes::copy_of(&std::fs::read(path(name)).unwrap()).unwrap()
}

#[test]
#[ignore = "writes golden images that are not there yet"]
fn write_golden_images() {
    for (name, user_kind, item_kind) in GOLDEN {
        if !path(name).exists() {
            std::fs::write(path(name), &*sample(user_kind, item_kind).image()).unwrap();
        }
    }
}

/// Compares items, and scores to 1e-5: what is scored in f64 was computed by hand from the factors.
fn answers(found: &[Recommendation], expected: &[(u32, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (each, &(item, score)) in found.iter().zip(expected) {
        assert!(each.item == item && (each.score - score).abs() < 1e-5, "{each:?}, not {item} with {score}");
    }
}

/// The answers are those of a few lines of Python over the factors that `sample.rs` describes.
#[test]
fn every_golden_image_gives_the_known_answers() {
    for (name, user_kind, item_kind) in GOLDEN {
        let bytes = read(name);
        let image = Image::open(&bytes).unwrap();
        image.verify(&Control::unlimited()).unwrap();
        let model = Recommender::new(&image).unwrap();
        model.check(&Control::unlimited()).unwrap();
        assert_eq!(image.uuid(), *b"golden or sample");
        let facts = model.facts;
        assert_eq!((facts.factors, facts.entries, facts.user_class, facts.item_class), (5, 103, 3, 2));
        assert_eq!((facts.regularization, facts.alpha), (0.5, 2.0));

        let sample = sample(user_kind, item_kind);
        assert_eq!((model.users, model.items), (sample.users.view(), sample.items.view()));
        for user in 0..20 {
            let row = user as usize * 5..user as usize * 5 + 5;
            assert_eq!(model.user_factors(user), Some(&sample.factors.users[row]));
            let (seen, values) = sample.user_items.row(user as usize);
            assert_eq!(model.seen(user), seen);
            // The first images had no values.
            assert_eq!(model.has_values(), name.contains("values"));
            let ones = values.iter().all(|&value| value == 1.0);
            assert_eq!(model.entries_of(user), (seen, Some(values).filter(|_| model.has_values() && !ones)));
        }

        let none = Filter::default();
        answers(&model.recommend(Some(0), 3, none), &[(8, 1.890625), (11, 1.375), (9, 0.734375)]);
        answers(&model.recommend(Some(7), 3, none), &[(9, 3.9375), (17, 1.875), (13, 1.828125)]);
        answers(&model.recommend(Some(19), 3, none), &[(12, 3.046875), (9, 2.609375), (4, 2.1875)]);
        let popular = model.recommend(None, 3, none);
        answers(&popular, &[(0, 6.0 / 103.0), (1, 6.0 / 103.0), (3, 6.0 / 103.0)]);
        assert!(popular.iter().all(|each| each.source == Source::Popular));
        answers(&model.similar_items(4, 2), &[(2, 0.825_383_864), (15, 0.528_111_825)]);
        answers(
            &model.recommend_for_items(&[2, 5], 2, none).unwrap(),
            &[(7, 0.579_462_694), (4, 0.458_515_188)],
        );
        assert_eq!(model.score(7, 9), Some(3.9375));
        assert!(model.similar_users(3, 4).iter().all(|hit| hit.row != 3));
    }
}

/// Ids as they are found: one literal per kind.
#[test]
fn every_golden_image_finds_its_ids() {
    for (name, user_kind, item_kind) in GOLDEN {
        let bytes = read(name);
        let model = Recommender::new(&Image::open(&bytes).unwrap()).unwrap();
        for (kind, ids) in [(user_kind, model.users), (item_kind, model.items)] {
            let mut sixteen = [0; 16];
            (sixteen[7], sixteen[15]) = (9, 3);
            let id = match kind {
                Integer => IdRef::Integer(6),
                Fixed16 => IdRef::Fixed16(&sixteen),
                Bytes => IdRef::Bytes(b"aaa"),
            };
            assert_eq!((ids.find(id), ids.get(3)), (Some(3), Some(id)), "{name}");
        }
    }
}

/// A change of what is written is a decision: then new golden images are added, and these stay readable.
#[test]
fn what_is_written_today_is_golden() {
    assert_eq!(VERSION, 1);
    for (name, user_kind, item_kind) in GOLDEN.into_iter().filter(|(name, ..)| TODAY.contains(name)) {
        let written = sample(user_kind, item_kind).image();
        assert!(written[..] == read(name)[..], "{name} would be written otherwise");
    }
}
