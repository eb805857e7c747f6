//! The search as its callers see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;

use base::{Control, Error};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vectors::search::{Bounds, Hit, Index, Sections, Similarity, quantize};

const SIMILARITIES: [Similarity; 2] = [Similarity::InnerProduct, Similarity::Cosine];

fn sections(rows: &[f32], factors: usize) -> Sections {
    quantize(rows, factors, 1, &Control::unlimited()).unwrap()
}

fn index<'a>(rows: &'a [f32], factors: usize, sections: &'a Sections) -> Index<'a> {
    Index::new(rows, factors, &sections.quantized, &sections.bounds).unwrap()
}

fn uniform(count: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn rows_of(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.row).collect()
}

#[test]
fn scores_and_ties_are_those_of_the_definition() {
    let rows = [3.0, 4.0, 0.0, 0.0, 6.0, 8.0, -3.0, -4.0, 3.0, 4.0];
    let sections = sections(&rows, 2);
    let index = index(&rows, 2, &sections);
    let query = [1.0, 2.0];
    let products = index.search(&query, 9, Similarity::InnerProduct, &|_| false);
    assert_eq!(rows_of(&products), [2, 0, 4, 1, 3]);
    assert_eq!(products.iter().map(|hit| hit.score).collect::<Vec<_>>(), [22.0, 11.0, 11.0, 0.0, -11.0]);
    let cosines = index.search(&query, 9, Similarity::Cosine, &|_| false);
    assert_eq!(rows_of(&cosines), [0, 2, 4, 1, 3]);
    assert!((cosines[0].score - 11.0 / (5.0 * 5f64.sqrt())).abs() < 1e-15);
    assert_eq!(cosines[3].score, 0.0);
    assert_eq!(index.score(&query, 2, Similarity::InnerProduct), 22.0);
    assert_eq!(index.score(&query, 5, Similarity::InnerProduct), f64::NEG_INFINITY);
}

#[test]
fn a_query_of_zeros_answers_in_the_order_of_rows() {
    let rows = uniform(100 * 3, 1);
    let sections = sections(&rows, 3);
    for similarity in SIMILARITIES {
        let hits = index(&rows, 3, &sections).search(&[0.0; 3], 4, similarity, &|row| row == 1);
        assert_eq!(rows_of(&hits), [0, 2, 3, 4]);
        assert!(hits.iter().all(|hit| hit.score == 0.0));
    }
}

#[test]
fn only_promising_rows_are_asked_about() {
    let rows = uniform(20_000 * 32, 2);
    let sections = sections(&rows, 32);
    let index = index(&rows, 32, &sections);
    let asked = Cell::new(0);
    let hits = index.search(&uniform(32, 3), 10, Similarity::InnerProduct, &|_| {
        asked.set(asked.get() + 1);
        false
    });
    assert_eq!(hits.len(), 10);
    // About k ln(n / k) rows reach a threshold that rises with them.
    assert!(asked.get() < 500, "{}", asked.get());
}

#[test]
fn candidates_are_ranked_as_a_search_among_them() {
    let rows = uniform(3000 * 17, 4);
    let sections = sections(&rows, 17);
    let index = index(&rows, 17, &sections);
    let query = uniform(17, 5);
    let mut candidates: Vec<u32> = (0..3000).rev().filter(|row| row % 5 < 2).collect();
    candidates.extend([10, 10, 15, 4_000_000_000, 3000]);
    for similarity in SIMILARITIES {
        for k in [0, 1, 10, 5000] {
            let ranked = index.rank(&query, &candidates, k, similarity, &|row| row % 2 == 1);
            let found = index.search(&query, k, similarity, &|row| row % 5 >= 2 || row % 2 == 1);
            assert_eq!(ranked, found);
        }
    }
    assert_eq!(index.rank(&query, &[], 10, Similarity::Cosine, &|_| false), []);
}

#[test]
fn a_query_of_another_length_is_filled_or_cut() {
    let rows = uniform(50 * 5, 6);
    let sections = sections(&rows, 5);
    let index = index(&rows, 5, &sections);
    let search = |query: &[f32]| index.search(query, 7, Similarity::Cosine, &|_| false);
    assert_eq!(search(&[1.0, 2.0]), search(&[1.0, 2.0, 0.0, 0.0, 0.0]));
    assert_eq!(search(&[1.0, 2.0, 0.0, 0.0, 0.0, 9.0]), search(&[1.0, 2.0]));
    assert_eq!(search(&[]), search(&[0.0; 5]));
}

#[test]
fn numbers_that_are_not_finite_do_no_harm() {
    let mut rows = uniform(40 * 6, 7);
    for (at, number) in [(0, f32::NAN), (13, f32::INFINITY), (100, f32::NEG_INFINITY)] {
        rows[at] = number;
    }
    let sections = sections(&rows, 6);
    let index = index(&rows, 6, &sections);
    for query in [[1.0; 6], [f32::NAN; 6], [f32::INFINITY; 6], [f32::MAX; 6]] {
        for similarity in SIMILARITIES {
            let hits = index.search(&query, 40, similarity, &|_| false);
            assert_eq!(hits.len(), 40);
            assert!(hits.iter().all(|hit| !hit.score.is_nan()));
            assert_eq!(hits, index.rank(&query, &(0..40).collect::<Vec<_>>(), 40, similarity, &|_| false));
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let rows = uniform(33 * 6, 8);
    let Sections { quantized, bounds } = sections(&rows, 6);
    let corrupted = |result: Result<Index, Error>| assert!(matches!(result, Err(Error::Corrupted(_))));
    corrupted(Index::new(&rows, 0, &quantized, &bounds));
    corrupted(Index::new(&rows, 5, &quantized, &bounds));
    corrupted(Index::new(&rows, 99, &quantized, &bounds));
    corrupted(Index::new(&rows, 1 << 16, &quantized, &bounds));
    corrupted(Index::new(&rows[1..], 6, &quantized, &bounds));
    corrupted(Index::new(&rows, 6, &quantized[1..], &bounds));
    corrupted(Index::new(&rows, 6, &quantized, &bounds[1..]));
    corrupted(Index::new(&[], 6, &quantized, &bounds));
    assert!(
        Index::new(&[], 6, &[], &[]).unwrap().search(&[1.0; 6], 3, Similarity::Cosine, &|_| false).is_empty()
    );
}

#[test]
fn quantizing_takes_memory_and_can_be_stopped() {
    let rows = uniform(100_000 * 16, 9);
    let control = Control::unlimited();
    let sections = quantize(&rows, 16, 2, &control).unwrap();
    assert_eq!(control.used(), sections.bytes());
    for threads in [0, 1, 3, 100] {
        assert_eq!(quantize(&rows, 16, threads, &Control::unlimited()).unwrap(), sections);
    }
    assert!(matches!(quantize(&rows, 16, 2, &Control::new(1000)), Err(Error::Memory { .. })));
    assert!(matches!(quantize(&rows, 0, 1, &control), Err(Error::Parameter { .. })));
    assert!(matches!(quantize(&rows, 40_000, 1, &control), Err(Error::Parameter { .. })));
    assert!(matches!(quantize(&rows[1..], 16, 1, &control), Err(Error::Corrupted(_))));
    let control = Control::unlimited();
    control.cancel();
    assert_eq!(quantize(&rows, 16, 2, &control), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_sections_never_panic(
        factors in 1usize..40,
        count in 0usize..70,
        k in 0usize..80,
        seed in any::<u64>(),
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rows: Vec<f32> = (0..count * factors).map(|_| f32::from_bits(random.random())).collect();
        let query: Vec<f32> = (0..factors).map(|_| random.random_range(-1.0..1.0)).collect();
        let mut sections = sections(&rows, factors);
        sections.quantized.iter_mut().for_each(|byte| *byte = random.random());
        for bounds in &mut sections.bounds {
            let mut noise = || std::array::from_fn(|_| f32::from_bits(random.random()));
            *bounds = Bounds { scale: noise(), norm: noise(), error: noise() };
        }
        let index = index(&rows, factors, &sections);
        for similarity in SIMILARITIES {
            let hits = index.search(&query, k, similarity, &|row| row % 3 == 0);
            prop_assert!(hits.len() <= k);
            prop_assert!(hits.iter().all(|hit| (hit.row as usize) < count && hit.row % 3 != 0));
        }
    }
}
