//! Item-kNN against dense matrices, and against implicit.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

/// Rows of users, and its transpose; zeros are absent.
fn matrix(rows: &[Vec<f32>], items: usize) -> (Csr, Csr) {
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for row in rows {
        for (item, &value) in row.iter().enumerate().filter(|&(_, &value)| value != 0.0) {
            matrix.indices.push(item as u32);
            matrix.values.push(value);
        }
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    let transposed = matrix.transpose(items);
    (matrix, transposed)
}

fn run(rows: &[Vec<f32>], items: usize, params: &Params) -> Neighbours {
    let (users, transposed) = matrix(rows, items);
    let control = Control::unlimited();
    let kept = fit(&users, &transposed, params, &control).unwrap();
    assert_eq!(control.used(), kept.bytes());
    assert!(control.peak() <= need(rows.len(), items, params).peak);
    kept.view().check(&control).unwrap();
    kept
}

/// Similarities by their definitions over dense vectors.
fn plain(rows: &[Vec<f32>], items: usize, params: &Params) -> Vec<Vec<f64>> {
    let value = |user: usize, item: usize| f64::from(rows[user][item]);
    let users = 0..rows.len();
    let count = |user: usize| rows[user].iter().filter(|&&value| value != 0.0).count() as f64;
    let idf = |user: usize| (items as f64).ln() - count(user).ln_1p();
    let sum = |item: usize| users.clone().map(|user| value(user, item)).sum::<f64>();
    let mean = (0..items).map(sum).sum::<f64>() / items as f64;
    let weight = |user: usize, item: usize| {
        let value = value(user, item);
        match params.similarity {
            _ if value == 0.0 => 0.0,
            Similarity::Cosine => value,
            Similarity::Jaccard => 1.0,
            Similarity::TfIdf => value.sqrt() * idf(user),
            Similarity::Bm25 { k1, b } => {
                value * (k1 + 1.0) / (k1 * (1.0 - b + b * sum(item) / mean) + value) * idf(user)
            }
        }
    };
    let dot = |a: usize, b: usize| users.clone().map(|user| weight(user, a) * weight(user, b)).sum::<f64>();
    let common = |a: usize, b: usize| {
        users.clone().filter(|&user| value(user, a) * value(user, b) != 0.0).count() as f64
    };
    let similarity = |a: usize, b: usize| {
        let similarity = match params.similarity {
            Similarity::Cosine | Similarity::TfIdf => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
            Similarity::Jaccard => dot(a, b) / (dot(a, a) + dot(b, b) - dot(a, b)),
            Similarity::Bm25 { .. } => dot(a, b),
        };
        let trust = common(a, b) / (common(a, b) + params.shrinkage);
        if a == b || common(a, b) == 0.0 { 0.0 } else { similarity * trust }
    };
    (0..items).map(|a| (0..items).map(|b| similarity(a, b)).collect()).collect()
}

const SIMILARITIES: [Similarity; 4] =
    [Similarity::Cosine, Similarity::Jaccard, Similarity::TfIdf, Similarity::Bm25 { k1: 1.2, b: 0.75 }];

proptest! {
    #[test]
    fn agrees_with_dense_matrices(
        rows in prop::collection::vec(prop::collection::vec(prop_oneof![3 => Just(0.0f32), 1 => 0.5f32..5.0], 9), 1..20),
        similarity in prop::sample::select(&SIMILARITIES[..]),
        neighbours in 1usize..9,
        shrinkage in prop_oneof![Just(0.0), 0.1f64..10.0],
    ) {
        let params = Params { similarity, neighbours, shrinkage, threads: 1 };
        let kept = run(&rows, 9, &params);
        for threads in [2, 3] {
            prop_assert_eq!(&kept, &run(&rows, 9, &Params { threads, ..params.clone() }));
        }
        let expected = plain(&rows, 9, &params);
        for (item, expected) in expected.iter().enumerate() {
            let (others, weights) = kept.view().row(item as u32);
            for (&other, &weight) in others.iter().zip(weights) {
                let expected = expected[other as usize];
                prop_assert!((f64::from(weight) - expected).abs() <= 1e-5 * expected.abs(), "{} {}", weight, expected);
            }
            // As many as there are, and none of those that are left out is greater than what was kept.
            let above = expected.iter().filter(|&&similarity| similarity > 1e-9).count();
            prop_assert!(others.len() >= above.min(neighbours), "{} of {}", others.len(), above);
            let least = weights.iter().copied().fold(f32::INFINITY, f32::min);
            for (other, &similarity) in expected.iter().enumerate() {
                if others.len() == neighbours && !others.contains(&(other as u32)) {
                    prop_assert!(similarity <= f64::from(least) * (1.0 + 1e-5));
                }
            }
        }
    }
}

/// What the Python package implicit 0.7.3 says, by
///
/// ```python
/// X = np.array([[5,3,0,1,0,2],[4,0,0,1,0,0],[1,1,0,5,2,0],[0,0,5,4,0,1],[0,1,5,4,3,0],[2,0,0,0,1,0],[0,0,1,0,0,3]], dtype=float)
/// for m in (CosineRecommender(K=6), TFIDFRecommender(K=6), BM25Recommender(K=6)):
///     m.fit(csr_matrix(X)); m.similarity.toarray()
///     m.recommend(1, csr_matrix(X)[1], N=4)
/// ```
///
/// without the diagonal, which says nothing about items that a user does not have.
#[test]
fn agrees_with_implicit() {
    let rows = [
        [5., 3., 0., 1., 0., 2.],
        [4., 0., 0., 1., 0., 0.],
        [1., 1., 0., 5., 2., 0.],
        [0., 0., 5., 4., 0., 1.],
        [0., 1., 5., 4., 3., 0.],
        [2., 0., 0., 0., 1., 0.],
        [0., 0., 1., 0., 0., 3.],
    ]
    .map(|row| row.to_vec());
    let cosine = [
        [0.0, 0.711286759, 0.000000000, 0.268734308, 0.157622081, 0.394055203],
        [0.711286759, 0.0, 0.211100165, 0.471041203, 0.402911482, 0.483493778],
        [0.000000000, 0.211100165, 0.0, 0.729203757, 0.561360891, 0.299392475],
        [0.268734308, 0.471041203, 0.729203757, 0.0, 0.765477901, 0.208766700],
        [0.157622081, 0.402911482, 0.561360891, 0.765477901, 0.0, 0.000000000],
        [0.394055203, 0.483493778, 0.299392475, 0.208766700, 0.000000000, 0.0],
    ];
    let tf_idf = [
        [0.0, 0.226318473, 0.000000000, 0.521190352, 0.514581424, 0.046301853],
        [0.226318473, 0.0, 0.150444434, 0.401293429, 0.319014664, 0.154446799],
        [0.000000000, 0.150444434, 0.0, 0.601459432, 0.132105893, 0.765580862],
        [0.521190352, 0.401293429, 0.601459432, 0.0, 0.225884442, 0.239659576],
        [0.514581424, 0.319014664, 0.132105893, 0.225884442, 0.0, 0.000000000],
        [0.046301853, 0.154446799, 0.765580862, 0.239659576, 0.000000000, 0.0],
    ];
    let bm25 = [
        [0.0, 0.134519473, 0.000000000, 0.705081708, 0.752759726, 0.085962109],
        [0.134519473, 0.0, 0.070403976, 0.174488662, 0.131487492, 0.088138991],
        [0.000000000, 0.070403976, 0.0, 0.519463819, 0.097262155, 1.083792030],
        [0.705081708, 0.174488662, 0.519463819, 0.0, 0.168218685, 0.332030850],
        [0.752759726, 0.131487492, 0.097262155, 0.168218685, 0.0, 0.000000000],
        [0.085962109, 0.088138991, 1.083792030, 0.332030850, 0.000000000, 0.0],
    ];
    let answers = [
        [(1, 3.31618824), (5, 1.78498751), (4, 1.39596623), (2, 0.72920376)],
        [(4, 2.28421014), (1, 1.30656732), (2, 0.60145943), (5, 0.42486699)],
        [(4, 3.17925759), (1, 0.71256655), (5, 0.67587929), (2, 0.51946382)],
    ];
    let similarities = [Similarity::Cosine, Similarity::TfIdf, Similarity::Bm25 { k1: 1.2, b: 0.75 }];
    for ((similarity, expected), answer) in similarities.into_iter().zip([cosine, tf_idf, bm25]).zip(answers)
    {
        let kept = run(&rows, 6, &Params { similarity, neighbours: 5, ..Params::default() });
        for (item, expected) in expected.iter().enumerate() {
            for (other, expected) in expected.iter().enumerate() {
                let weight = kept.view().weight(item as u32, other as u32).unwrap_or(0.0);
                assert!(
                    (f64::from(weight) - expected).abs() < 1e-7,
                    "{similarity:?} {item} {other}: {weight}"
                );
            }
        }
        let mut scratch = crate::neighbours::Scratch::new(6);
        let filter = crate::answers::Filter::default();
        let found = kept.view().recommend(&[0, 3], Some(&[4.0, 1.0]), 4, filter, &[], &mut scratch);
        assert_eq!(found.len(), 4);
        for (found, (item, score)) in found.iter().zip(answer) {
            assert!(found.item == item && (found.score - score).abs() < 1e-6, "{similarity:?}: {found:?}");
        }
    }
}

#[test]
fn jaccard_and_shrinkage_by_hand() {
    // Users of item 0: 0 1 2; of item 1: 1 2 3; of item 2: 3.
    let rows = [[1., 0., 0.], [9., 1., 0.], [1., 1., 0.], [0., 2., 1.]].map(|row| row.to_vec());
    let params = Params { similarity: Similarity::Jaccard, ..Params::default() };
    let weights = |params: &Params| {
        let kept = run(&rows, 3, params);
        [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2)].map(|(a, b)| kept.view().weight(a, b))
    };
    let third = Some((1.0f64 / 3.0) as f32);
    assert_eq!(weights(&params), [Some(0.5), Some(0.5), third, third, None]);
    // Two common users of 0 and 1: half of it goes; one of 1 and 2: two thirds go.
    let ninth = Some((1.0f64 / 9.0) as f32);
    let shrunk = Params { shrinkage: 2.0, ..params };
    assert_eq!(weights(&shrunk), [Some(0.25), Some(0.25), ninth, ninth, None]);
}

#[test]
fn of_equal_neighbours_the_first_items_stay() {
    let rows = vec![vec![1.0; 6]; 4];
    let kept = run(&rows, 6, &Params { neighbours: 3, ..Params::default() });
    assert_eq!(kept.view().row(0).0, [1, 2, 3]);
    assert_eq!(kept.view().row(2).0, [0, 1, 3]);
    assert_eq!(kept.view().row(5).0, [0, 1, 2]);
    assert!(kept.weights.iter().all(|&weight| weight == 1.0));
}

#[test]
fn small_and_odd_inputs() {
    for similarity in SIMILARITIES {
        for threads in [1, 4] {
            let params = Params { similarity, threads, ..Params::default() };
            assert_eq!(run(&[], 0, &params).offsets, [0]);
            assert_eq!(run(&[vec![1.0], vec![0.0]], 1, &params).offsets, [0, 0]);
            // An item that nobody has, and a user without items.
            let kept = run(&[vec![0.0; 4], vec![1.0, 0.0, 2.0, 0.0]], 4, &params);
            assert_eq!(kept.offsets, [0, 1, 1, 2, 2], "{similarity:?}");
            assert_eq!(kept.items, [2, 0]);
        }
    }
    // A user with all but one item: ln(2) - ln(2) is 0, and so is every product.
    let none = run(&[vec![1.0, 0.0]], 2, &Params { similarity: Similarity::TfIdf, ..Params::default() });
    assert!(none.items.is_empty());
}

#[test]
fn larger_values_and_more_of_the_same_users_change_no_cosine() {
    let rows: Vec<Vec<f32>> =
        (0..40).map(|user| (0..12).map(|item| ((user * 7 + item * 5) % 4) as f32).collect()).collect();
    let scaled: Vec<Vec<f32>> =
        rows.iter().map(|row| row.iter().map(|value| value * 4.0).collect()).collect();
    let twice = [rows.clone(), rows.clone()].concat();
    let (once, scaled) = (run(&rows, 12, &Params::default()), run(&scaled, 12, &Params::default()));
    assert_eq!(once, scaled);
    let twice = run(&twice, 12, &Params::default());
    assert_eq!(once.items, twice.items);
    assert!(once.weights.iter().zip(&twice.weights).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let (users, items) = matrix(&[vec![1.0, 1.0]], 2);
    let control = Control::unlimited();
    let name = |params: Params| match fit(&users, &items, &params, &control) {
        Err(Error::Parameter { name, .. }) => name,
        other => unreachable!("{other:?}"),
    };
    assert_eq!(name(Params { neighbours: 0, ..Params::default() }), "neighbours");
    assert_eq!(name(Params { shrinkage: -1.0, ..Params::default() }), "shrinkage");
    assert_eq!(name(Params { threads: 0, ..Params::default() }), "threads");
    let bm25 = |k1, b| Params { similarity: Similarity::Bm25 { k1, b }, ..Params::default() };
    assert_eq!((name(bm25(f64::NAN, 0.5)), name(bm25(1.0, 1.5))), ("k1", "b"));
    assert!(matches!(fit(&users, &users, &Params::default(), &control), Err(Error::Corrupted(_))));
    control.cancel();
    assert_eq!(fit(&users, &items, &Params::default(), &control), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
    assert_eq!(products(&users), 4);
}
