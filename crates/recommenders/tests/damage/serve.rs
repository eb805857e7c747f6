//! Everything that can be asked of an image, whether it was checked or not.

use base::ids::{IdRef, IdsRef};
use base::image::{Dictionary, Image, kinds};
use base::{Control, Result};
use recommenders::answers::{Filter, Recommendation};
use recommenders::recommender::Recommender;
use vectors::search::{Bounds, Index, Similarity};

use crate::choices::{Choices, extreme, extreme_float};
use crate::segments;

/// What came of serving an image.
#[derive(Debug, PartialEq)]
pub(crate) struct Served {
    /// Header and sections let it be opened.
    pub(crate) opened: bool,
    /// What a writer checks before it hands an image on.
    pub(crate) checked: Result<()>,
}

/// Opens an image and asks everything, also where the checks fail. Panics where an answer breaks what holds for
/// every image, or what the checks promise of one that they pass.
pub(crate) fn serve(bytes: &[u8], choices: &mut dyn Choices) -> Served {
    let image = match Image::open(bytes) {
        Ok(image) => image,
        Err(error) => return Served { opened: false, checked: Err(error) },
    };
    let verified = image.verify(&Control::unlimited());
    read_sections(&image, choices);
    for dictionary in [Dictionary::Users, Dictionary::Items] {
        if let Ok(ids) = dictionary.read(&image) {
            find_ids(ids, choices);
        }
    }
    // As the library tells them apart.
    let facts = image.optional_section::<u8>(kinds::SEGMENT_FACTS);
    let checked = match facts {
        Ok(Some(_)) => ::segments::Segments::new(&image).map(|model| {
            let checked = verified.clone().and(model.check());
            segments::ask(&model, &checked, choices);
            checked
        }),
        Ok(None) => Recommender::new(&image).map(|model| {
            let checked = verified.clone().and(model.check(&Control::unlimited()));
            recommend(&model, choices);
            if checked.is_ok() && model.segments() == (0, 0) {
                answers_are_exact(&model, choices);
            }
            checked
        }),
        Err(error) => Err(error),
    };
    match checked {
        Ok(checked) => Served { opened: true, checked },
        Err(error) => Served { opened: false, checked: verified.and(Err(error)) },
    }
}

/// Every section as every sort of number, and the index over sections that were not made for each other.
fn read_sections(image: &Image<'_>, choices: &mut dyn Choices) {
    let _ = image.uuid();
    for kind in 0..60 {
        let bytes = image.optional_section::<u8>(kind).unwrap();
        let _ = (image.optional_section::<u64>(kind), image.optional_section::<[u8; 16]>(kind));
        assert_eq!(image.section::<u8>(kind).ok(), bytes);
    }
    let factors = extreme(choices) as usize;
    let part = |kind| image.section::<f32>(kind).unwrap_or(&[]);
    let quantized = image.section::<i8>(kinds::ITEM_QUANTIZED).unwrap_or(&[]);
    let bounds = image.section::<Bounds>(kinds::USER_BOUNDS).unwrap_or(&[]);
    let _ = Index::new(part(kinds::USER_FACTORS), factors, quantized, bounds);
    if let Ok(index) = Index::new(part(kinds::ITEM_FACTORS), 1 + factors % 40, quantized, bounds) {
        ask(&index, choices);
    }
}

fn ask(index: &Index<'_>, choices: &mut dyn Choices) {
    let query: Vec<f32> = (0..choices.below(70)).map(|_| extreme_float(choices)).collect();
    let rows = [0, 1, u32::MAX, extreme(choices) as u32];
    for similarity in [Similarity::InnerProduct, Similarity::Cosine] {
        for k in [0, 3, usize::MAX] {
            let found = index.search(&query, k, similarity, &|row| row % 5 == 1);
            let control = Control::unlimited();
            let parts = index.search_with(&query, k, similarity, &|row| row % 5 == 1, &control);
            assert_eq!(parts.as_ref(), Ok(&found));
            assert!(found.len() <= k && found.len() <= index.rows());
            assert!(found.iter().all(|hit| (hit.row as usize) < index.rows() && !hit.score.is_nan()));
            assert!(index.rank(&query, &rows, k, similarity, &|_| false).len() <= k.min(4));
        }
        assert!(rows.iter().all(|&row| !index.score(&query, row, similarity).is_nan()));
    }
    let _ = index.check(&Control::unlimited());
}

fn find_ids(ids: IdsRef<'_>, choices: &mut dyn Choices) {
    let checked = ids.check(&Control::unlimited());
    let last = ids.len().saturating_sub(1) as u32;
    for at in [0, 1, last, last.wrapping_add(1), u32::MAX, extreme(choices) as u32] {
        let Some(id) = ids.get(at) else {
            assert!(checked.is_err() || at as usize >= ids.len());
            continue;
        };
        let found = ids.find(id);
        assert!(checked.is_err() || found == Some(at), "the id at {at} is found at {found:?}");
        let _ = id.stable_hash(1);
    }
    let bytes = choices.number().to_le_bytes();
    for id in [IdRef::Integer(choices.number() as i64), IdRef::Fixed16(&[7; 16]), IdRef::Bytes(&bytes)] {
        assert!(ids.find(id).is_none_or(|at| (at as usize) < ids.len()));
    }
    assert!(!ids.is_empty() || ids.get(0).is_none());
}

/// All questions; the answers may be wrong.
fn recommend(model: &Recommender<'_>, choices: &mut dyn Choices) {
    let (users, items) = (model.users.len() as u32, model.items.len() as u32);
    let whole = model.segments().0 == 0;
    let mut listed: Vec<u32> = (0..choices.below(20)).map(|_| choices.below(80) as u32).collect();
    listed.push(u32::MAX);
    // Rising, as callers pass them.
    let mut exclude = [0, 2, items, u32::MAX];
    exclude.sort_unstable();
    let any = choices.below(80) as u32;
    for user in [None, Some(0), Some(any), users.checked_sub(1), Some(users), Some(u32::MAX)] {
        for k in [0, 1, 7, usize::MAX] {
            for candidates in [None, Some(&listed[..]), Some(&[])] {
                for keep_seen in [false, true] {
                    for segment in [None, Some(1), Some(any)] {
                        let filter =
                            Filter { exclude: &exclude, candidates, keep_seen, segment, control: None };
                        let found = model.recommend(user, k, filter);
                        if whole {
                            sane(&found, k, items, candidates, &exclude);
                        }
                        assert!(found.len() <= k && found.iter().all(|each| !each.score.is_nan()));
                    }
                }
            }
        }
        if let Some(user) = user {
            let _ = model.seen(user);
            let factors = model.user_factors(user);
            assert!(factors.is_none_or(|factors| factors.len() == model.facts.factors as usize));
            assert!(model.similar_users(user, 5).iter().all(|hit| hit.row < users && hit.row != user));
            for item in [0, any, items, u32::MAX] {
                assert!(
                    model
                        .score(user, item)
                        .is_none_or(|score| user < users && item < items && !score.is_nan())
                );
            }
        }
    }
    for item in [0, any, items.saturating_sub(1), items, u32::MAX] {
        let _ = model.item_factors(item);
        let found = model.similar_items(item, 5);
        sane(&found, 5, items, None, &[item]);
    }
    // As callers pass them: rising, each once.
    listed.sort_unstable();
    listed.dedup();
    for had in [&[][..], &[0], &listed] {
        let filter = Filter { exclude: &exclude, ..Filter::default() };
        let found = model.recommend_for_items(had, 4, filter).unwrap();
        sane(&found, 4, items, None, &exclude);
        let segment = model.segment_named("two");
        assert!(model.recommend_for_items(had, 4, Filter { segment, ..filter }).unwrap().len() <= 4);
    }
}

/// What holds for every answer: no more than asked for, nothing excluded, nothing but candidates, numbers.
fn sane(found: &[Recommendation], k: usize, items: u32, candidates: Option<&[u32]>, exclude: &[u32]) {
    assert!(found.len() <= k && found.len() <= items as usize);
    for each in found {
        assert!(!each.score.is_nan() && !exclude.contains(&each.item), "{each:?}");
        assert!(candidates.is_none_or(|candidates| candidates.contains(&each.item) && each.item < items));
    }
}

/// What the checks promise: the quick answers are those of the slow ways.
fn answers_are_exact(model: &Recommender<'_>, choices: &mut dyn Choices) {
    let (users, items) = (model.users.len() as u32, model.items.len() as u32);
    let all: Vec<u32> = (0..items).collect();
    let k = 1 + choices.below(items as usize + 2);
    let slow = Filter { candidates: Some(&all), ..Filter::default() };
    for user in (0..users).map(Some).chain([None]) {
        let found = model.recommend(user, k, Filter::default());
        assert_eq!(found, model.recommend(user, k, slow), "user {user:?}, k {k}");
        let seen = user.map_or(&[][..], |user| model.seen(user));
        assert_eq!(found.len(), k.min(items as usize - seen.len()));
        assert!(found.iter().all(|each| each.item < items && !seen.contains(&each.item)));
    }
    for item in 0..items {
        let Some(query) = model.item_factors(item) else { panic!("item {item} has no factors") };
        let mut nearest: Vec<(f64, u32)> = (0..items)
            .filter(|&other| other != item)
            .map(|other| (cosine(query, model.item_factors(other).unwrap()), other))
            .collect();
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
        let found = model.similar_items(item, k);
        assert_eq!(found.len(), k.min(nearest.len()));
        for (each, (cosine, _)) in found.iter().zip(&nearest) {
            assert!((each.score - cosine).abs() < 1e-12, "{each:?} {cosine}");
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
}
