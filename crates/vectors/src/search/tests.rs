//! What needs the inside: every instruction set by force, and the bounds themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use base::control::Control;
use base::simd::levels;
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::exact::{Scorer, best_first};
use super::quantize::QuantizedQuery;
use super::scan::{Sink, scan};
use super::*;

const SIMILARITIES: [Similarity; 2] = [Similarity::InnerProduct, Similarity::Cosine];

fn normal(random: &mut impl Rng) -> f32 {
    StandardNormal.sample(random)
}

/// Rows of a named kind: those that bounds find hard.
fn rows_of(kind: &str, count: usize, factors: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..count * factors).map(|_| normal(random)).collect();
    let same: Vec<f32> = (0..factors).map(|_| normal(random)).collect();
    for (number, row) in rows.chunks_exact_mut(factors).enumerate() {
        let scale = match kind {
            "normal" => 1.0,
            "zipf" => 10.0 / (number as f32 + 1.0),
            "rising" => 1e-3 * number as f32,
            "mixed" => 10f32.powi(random.random_range(-20..=20)),
            "huge" => {
                if number == count / 2 {
                    3e18
                } else {
                    1e-3
                }
            }
            "largest" => 1e38 / (number as f32 + 1.0),
            "denormal" => 1e-42,
            "some denormal" => {
                if number % 2 == 0 {
                    1e-40
                } else {
                    1e-37
                }
            }
            "zeros" => 0.0,
            "half zeros" => (number % 2) as f32,
            "equal" | "few above equal" | "duplicates" | "negative" | "one factor" => 1.0,
            _ => panic!("unknown kind {kind}"),
        };
        match kind {
            "few above equal" => row
                .iter_mut()
                .zip(&same)
                .for_each(|(row, same)| *row = same * (1 + (number % 997 == 0) as u8) as f32),
            "equal" => row.copy_from_slice(&same),
            "duplicates" => {
                row.iter_mut().zip(&same).for_each(|(row, same)| *row = same * (number % 7) as f32)
            }
            "negative" => row.iter_mut().for_each(|each| *each = -each.abs()),
            "one factor" => row
                .iter_mut()
                .enumerate()
                .for_each(|(at, each)| *each *= (at == number % factors) as u8 as f32),
            _ => row.iter_mut().for_each(|each| *each *= scale),
        }
    }
    rows
}

const KINDS: [&str; 15] = [
    "normal",
    "zipf",
    "rising",
    "mixed",
    "huge",
    "largest",
    "denormal",
    "some denormal",
    "zeros",
    "half zeros",
    "equal",
    "few above equal",
    "duplicates",
    "negative",
    "one factor",
];

/// The scores by plain sums, one factor after the other.
fn plain_score(query: &[f32], row: &[f32], similarity: Similarity) -> f64 {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(&left, &right)| f64::from(left) * f64::from(right)).sum()
    };
    match similarity {
        Similarity::InnerProduct => dot(query, row),
        Similarity::Cosine => {
            let norms = dot(query, query).sqrt() * dot(row, row).sqrt();
            if norms == 0.0 { 0.0 } else { dot(query, row) / norms }
        }
    }
}

/// All rows that are not excluded, best first; checks each score against a plain sum.
fn all_ranked(
    index: &Index,
    query: &[f32],
    similarity: Similarity,
    excluded: &dyn Fn(u32) -> bool,
) -> Vec<Hit> {
    let norm = |vector: &[f32]| vector.iter().map(|&each| f64::from(each).powi(2)).sum::<f64>().sqrt();
    let mut hits = Vec::new();
    for (row, factors) in index.rows.chunks_exact(index.factors).enumerate() {
        let score = index.score(query, row as u32, similarity);
        let most = match similarity {
            Similarity::InnerProduct => norm(query) * norm(factors),
            Similarity::Cosine => 1.0,
        };
        assert!((score - plain_score(query, factors, similarity)).abs() <= 1e-13 * most);
        if !excluded(row as u32) {
            hits.push(Hit { row: row as u32, score });
        }
    }
    hits.sort_by(best_first);
    hits
}

/// Compares all levels with the full ranking, for several k, with and without exclusions.
fn check(rows: &[f32], factors: usize, query: &[f32], name: &str) {
    let sections = quantize(rows, factors, 1, &Control::unlimited()).unwrap();
    let index = Index::new(rows, factors, &sections.quantized, &sections.bounds).unwrap();
    assert_eq!(index.check(&Control::unlimited()), Ok(()), "{name}: {} x {factors}", index.rows());
    let count = index.rows();
    let exclusions: [(&str, &dyn Fn(u32) -> bool); 3] = [
        ("none", &|_| false),
        ("thirds", &|row| row % 3 != 0),
        ("nearly all", &|row| row as usize != count / 2 && row as usize + 3 < count),
    ];
    for similarity in SIMILARITIES {
        for (which, excluded) in exclusions {
            let expected = all_ranked(&index, query, similarity, excluded);
            for k in [0, 1, 10, count, count + 5] {
                let expected = &expected[..k.min(expected.len())];
                for level in levels() {
                    let found = index.search_at(level, query, k, similarity, excluded);
                    assert!(
                        found == expected,
                        "{name}: {count} x {factors}, k {k}, {similarity:?}, {level:?}, excluded {which}\n\
                         found {:?}\nexpected {:?}",
                        &found[..found.len().min(12)],
                        &expected[..expected.len().min(12)]
                    );
                }
            }
        }
    }
}

#[test]
fn every_number_of_factors_and_rows_is_ranked_as_by_a_full_scan() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for factors in [1, 2, 3, 4, 5, 16, 63, 64, 65, 128, 200] {
        for count in [0, 1, 15, 16, 17, 1000] {
            let rows = rows_of("normal", count, factors, &mut random);
            let query = rows_of("normal", 1, factors, &mut random);
            check(&rows, factors, &query, "normal");
        }
    }
    let rows = rows_of("normal", 5000, 64, &mut random);
    let query = rows_of("normal", 1, 64, &mut random);
    check(&rows, 64, &query, "normal");
}

#[test]
fn hard_rows_are_ranked_as_by_a_full_scan() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for kind in KINDS {
        for (count, factors) in [(17, 1), (1000, 5), (5000, 16), (1000, 64)] {
            let rows = rows_of(kind, count, factors, &mut random);
            for query in ["normal", "mixed", "largest", "denormal", "one factor"] {
                let query = rows_of(query, 1, factors, &mut random);
                check(&rows, factors, &query, kind);
            }
        }
    }
}

#[test]
fn whole_numbers_are_ranked_as_by_plain_sums_to_the_bit() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for factors in [3, 16, 40] {
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count * factors).map(|_| random.random_range(-3..=3) as f32).collect()
        };
        let (rows, query) = (draw(3000), draw(1));
        let sections = quantize(&rows, factors, 1, &Control::unlimited()).unwrap();
        let index = Index::new(&rows, factors, &sections.quantized, &sections.bounds).unwrap();
        let mut expected: Vec<(i64, u32)> = rows
            .chunks_exact(factors)
            .zip(0..)
            .map(|(row, number)| (-(plain_score(&query, row, Similarity::InnerProduct) as i64), number))
            .collect();
        expected.sort();
        for k in [1, 10, 200] {
            let found = index.search(&query, k, Similarity::InnerProduct, &|_| false);
            let found: Vec<(i64, u32)> = found.iter().map(|hit| (-(hit.score as i64), hit.row)).collect();
            assert_eq!(found, expected[..k]);
        }
    }
}

/// Keeps every bound, and checks that only existing rows are offered.
struct Bounded {
    rows: usize,
    bounds: Vec<(f32, f32)>,
}

impl Sink for Bounded {
    fn threshold(&self) -> f32 {
        f32::NEG_INFINITY
    }

    fn offer(&mut self, block: usize, mask: u16, uppers: &[f32; BLOCK], lowers: &[f32; BLOCK]) {
        assert_eq!(block * BLOCK, self.bounds.len());
        assert_eq!(mask.count_ones() as usize, (self.rows - self.bounds.len()).min(BLOCK));
        for lane in 0..mask.count_ones() as usize {
            self.bounds.push((lowers[lane], uppers[lane]));
        }
    }
}

/// Checks the bounds of every row at every level; gives the mean width of the finite ones by the norm.
fn check_bounds(rows: &[f32], factors: usize, query: &[f32], similarity: Similarity) {
    let sections = quantize(rows, factors, 1, &Control::unlimited()).unwrap();
    let index = Index::new(rows, factors, &sections.quantized, &sections.bounds).unwrap();
    assert_eq!(index.check(&Control::unlimited()), Ok(()));
    let scorer = Scorer::new(rows, factors, query, similarity);
    if scorer.norm() == 0.0 {
        return;
    }
    let quantized = QuantizedQuery::new(&scorer);
    for level in levels() {
        let mut bounded = Bounded { rows: rows.len() / factors, bounds: Vec::new() };
        let (bytes, bounds) = (&sections.quantized, &sections.bounds);
        scan(level, bounded.rows, bytes, bounds, &quantized, similarity, &mut bounded);
        assert_eq!(bounded.bounds.len(), bounded.rows);
        for (row, &(lower, upper)) in bounded.bounds.iter().enumerate() {
            let value = scorer.score(row as u32) * quantized.unit();
            let wrong = f64::from(lower) > value || f64::from(upper) < value;
            assert!(!wrong, "row {row}: {lower:e} <= {value:e} <= {upper:e} is not so at {level:?}");
        }
    }
}

#[test]
fn bounds_are_tight_enough_to_be_of_use() {
    let mut random = ChaCha8Rng::seed_from_u64(10);
    let rows = rows_of("normal", 1000, 64, &mut random);
    let query = rows_of("normal", 1, 64, &mut random);
    let sections = quantize(&rows, 64, 2, &Control::unlimited()).unwrap();
    let scorer = Scorer::new(&rows, 64, &query, Similarity::Cosine);
    let quantized = QuantizedQuery::new(&scorer);
    for level in levels() {
        let mut bounded = Bounded { rows: 1000, bounds: Vec::new() };
        let (bytes, bounds) = (&sections.quantized, &sections.bounds);
        scan(level, 1000, bytes, bounds, &quantized, Similarity::Cosine, &mut bounded);
        let widest = bounded.bounds.iter().map(|(lower, upper)| upper - lower).fold(0.0, f32::max);
        // 8 bits: two roundings of about 0.6 % of the norm, to either side.
        assert!(widest < 0.04, "{widest}");
    }
}

/// A number of any exponent, with zeros and denormals.
fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0f32..1.0,
        4 => (-1.0f32..1.0, -44i32..38).prop_map(|(number, power)| number * 10f32.powi(power)),
        1 => Just(0.0),
        1 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |number| number.is_finite()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bounds_hold_for_any_numbers(
        (factors, rows, query) in (1usize..70).prop_flat_map(|factors| (
            Just(factors),
            prop::collection::vec(any_number(), factors * 19),
            prop::collection::vec(any_number(), factors),
        )),
    ) {
        for similarity in SIMILARITIES {
            check_bounds(&rows, factors, &query, similarity);
        }
    }

    #[test]
    fn bounds_hold_for_each_row_on_its_own_scale(
        (factors, rows, query, powers) in (1usize..70).prop_flat_map(|factors| (
            Just(factors),
            prop::collection::vec(-1.0f32..1.0, factors * 19),
            prop::collection::vec(-1.0f32..1.0, factors),
            prop::collection::vec(-149i32..127, 20),
        )),
    ) {
        let scale = |vector: &[f32], power: i32| -> Vec<f32> {
            vector.iter().map(|&each| (f64::from(each) * 2f64.powi(power)) as f32).collect()
        };
        let rows: Vec<f32> =
            rows.chunks(factors).zip(&powers).flat_map(|(row, &power)| scale(row, power)).collect();
        let query = scale(&query, powers[19]);
        for similarity in SIMILARITIES {
            check_bounds(&rows, factors, &query, similarity);
        }
        check(&rows, factors, &query, "own scale");
    }
}

/// Sections that no `quantize` made, as wrong as `check` allows: other bytes, other scales, rounder bounds.
#[test]
fn whatever_passes_the_check_is_searched_exactly() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let mut passed = [0, 0];
    for round in 0..300 {
        let (count, factors) = (random.random_range(1..90), random.random_range(1..40));
        let kind = KINDS[round % KINDS.len()];
        let rows = rows_of(kind, count, factors, &mut random);
        let mut sections = quantize(&rows, factors, 1, &Control::unlimited()).unwrap();
        let change = random.random_range(0..4);
        for byte in sections.quantized.iter_mut().filter(|_| change & 1 == 1) {
            *byte = byte.saturating_add(random.random_range(-9..=9));
        }
        for bounds in &mut sections.bounds {
            for lane in 0..BLOCK {
                if change & 2 == 2 {
                    bounds.scale[lane] *= random.random_range(0.9..1.1f32);
                }
                bounds.norm[lane] = bounds.norm[lane].next_up();
                bounds.error[lane] = bounds.norm[lane] * random.random_range(0.02..1.01f32);
            }
        }
        let index = Index::new(&rows, factors, &sections.quantized, &sections.bounds).unwrap();
        passed[usize::from(index.check(&Control::unlimited()).is_ok())] += 1;
        if index.check(&Control::unlimited()).is_err() {
            continue;
        }
        let query = rows_of("normal", 1, factors, &mut random);
        for similarity in SIMILARITIES {
            let expected = all_ranked(&index, &query, similarity, &|_| false);
            for level in levels() {
                for k in [1, 7, 20] {
                    let found = index.search_at(level, &query, k, similarity, &|_| false);
                    assert_eq!(found, expected[..k.min(count)], "{kind}: {count} x {factors}, {level:?}");
                }
            }
        }
    }
    assert!(passed.iter().all(|&each| each > 50), "refused and passed: {passed:?}");
}
