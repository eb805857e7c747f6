//! What needs the inside: instruction sets and parts that tests choose, and gradients against finite differences.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use base::simd::levels;

use super::*;

/// A matrix from the items and values of each user.
fn matrix(rows: &[&[(u32, f32)]], items: usize) -> [Csr; 2] {
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for row in rows {
        matrix.indices.extend(row.iter().map(|entry| entry.0));
        matrix.values.extend(row.iter().map(|entry| entry.1));
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    let transposed = matrix.transpose(items);
    [matrix, transposed]
}

/// Every user has some items, without a pattern.
fn spread(users: u32, items: u32) -> [Csr; 2] {
    let rows: Vec<Vec<(u32, f32)>> = (0..users)
        .map(|user| {
            let has = |item: &u32| (user * 7 + item * item * 3 + item) % 11 < 2 + user % 3;
            (0..items).filter(has).map(|item| (item, 1.0 + ((user + item) % 3) as f32 * 0.5)).collect()
        })
        .collect();
    matrix(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>(), items as usize)
}

const LOSSES: [Loss; 4] = [Loss::Squared, Loss::Logistic, Loss::Bpr, Loss::Warp];
const OPTIMIZERS: [Optimizer; 3] = [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam];

fn run(at: (Level, usize), matrices: &[Csr; 2], start: &Factors, params: &Params) -> Fitted {
    let control = Control::unlimited();
    let matrices = [&matrices[0], &matrices[1]];
    let fitted =
        fit_at(at, matrices, start.clone(), params, Validation::None, &control, &mut |_| ()).unwrap();
    assert_eq!(control.progress().0, control.progress().1);
    assert_eq!(control.used() + start.bytes(), fitted.bytes());
    fitted
}

/// All numbers: factors of users, of items, biases of users, of items.
fn flat(model: &Model) -> Vec<f64> {
    let mut all = [&model.factors.users[..], &model.factors.items].concat();
    if let Some(biases) = &model.biases {
        all.extend(&biases.users);
        all.extend(&biases.items);
    }
    all.into_iter().map(f64::from).collect()
}

/// A sample of the slow version: the loss of (user, item, other item), by its definition in double precision.
#[derive(Clone, Copy, Debug)]
enum Sample {
    Value(usize, usize, f64),
    Like(usize, usize, f64, f64),
    Order(usize, usize, usize),
    Rank(usize, usize, usize, f64),
}

/// The shape of a model for the slow version.
#[derive(Clone, Copy)]
struct Shape {
    users: usize,
    items: usize,
    factors: usize,
    user_biases: bool,
    item_biases: bool,
    mean: f64,
    regularization: f64,
}

impl Shape {
    fn score(&self, all: &[f64], user: usize, item: usize) -> f64 {
        let f = self.factors;
        let (x, y) = (&all[user * f..][..f], &all[(self.users + item) * f..][..f]);
        let mut score = self.mean + x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
        let biases = (self.users + self.items) * f;
        if self.user_biases {
            score += all[biases + user];
        }
        if self.item_biases {
            score += all[biases + if self.user_biases { self.users } else { 0 } + item];
        }
        score
    }

    /// The loss of a sample and half the regularized squares of what it touches.
    fn loss(&self, all: &[f64], sample: Sample) -> f64 {
        let (user, touched, loss) = match sample {
            Sample::Value(user, item, value) => {
                (user, vec![item], 0.5 * (value - self.score(all, user, item)).powi(2))
            }
            Sample::Like(user, item, sign, weight) => {
                (user, vec![item], weight * (1.0 + (-sign * self.score(all, user, item)).exp()).ln())
            }
            Sample::Order(user, item, other) => {
                let margin = self.score(all, user, item) - self.score(all, user, other);
                (user, vec![item, other], (1.0 + (-margin).exp()).ln())
            }
            Sample::Rank(user, item, other, weight) => {
                let margin = self.score(all, user, item) - self.score(all, user, other);
                (user, vec![item, other], weight * (1.0 - margin).max(0.0))
            }
        };
        let f = self.factors;
        let square = |from: usize, count: usize| all[from..][..count].iter().map(|x| x * x).sum::<f64>();
        let mut squares = square(user * f, f);
        let biases = (self.users + self.items) * f;
        if self.user_biases {
            squares += square(biases + user, 1);
        }
        for item in touched {
            squares += square((self.users + item) * f, f);
            if self.item_biases {
                squares += square(biases + if self.user_biases { self.users } else { 0 } + item, 1);
            }
        }
        loss + 0.5 * self.regularization * squares
    }

    /// By finite differences.
    fn gradient(&self, all: &[f64], samples: &[Sample]) -> Vec<f64> {
        let loss = |all: &[f64]| samples.iter().map(|&sample| self.loss(all, sample)).sum::<f64>();
        (0..all.len())
            .map(|at| {
                let [mut less, mut more] = [all.to_vec(), all.to_vec()];
                less[at] -= 1e-5;
                more[at] += 1e-5;
                (loss(&more) - loss(&less)) / 2e-5
            })
            .collect()
    }
}

fn near(a: &[f64], b: &[f64], within: f64) -> bool {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= within)
}

fn shape(matrices: &[Csr; 2], params: &Params, model: &Model) -> Shape {
    Shape {
        users: matrices[0].rows(),
        items: matrices[1].rows(),
        factors: params.factors,
        user_biases: params.biases && !params.loss.ranks(),
        item_biases: params.biases,
        mean: model.biases.as_ref().map_or(0.0, |biases| f64::from(biases.mean)),
        regularization: params.regularization,
    }
}

/// The start as numbers of the model, whose biases begin with 0.
fn begin(start: &Factors, model: &Model) -> Vec<f64> {
    let mut all: Vec<f64> = start.users.iter().chain(&start.items).map(|&each| f64::from(each)).collect();
    all.resize(flat(model).len(), 0.0);
    all
}

#[test]
fn a_step_goes_down_the_gradient() {
    // One user with one item; the others' entries only keep the items from being empty.
    let pairs = matrix(&[&[(0, 1.0)], &[(1, -1.0), (2, 0.0), (3, -2.0)]], 4);
    let points = matrix(&[&[(0, 2.5)]], 1);
    // Each user has what the other lacks, so the negatives are known.
    let both = matrix(&[&[(0, 2.0)], &[(1, 0.5)]], 2);
    for biases in [false, true] {
        for (loss, matrices, negatives, batch_size) in [
            (Loss::Squared, &points, 0, 1),
            (Loss::Logistic, &points, 0, 1),
            (Loss::Squared, &both, 1, 4),
            (Loss::Logistic, &both, 1, 4),
            (Loss::Bpr, &both, 1, 2),
            (Loss::Bpr, &pairs, 1, 1),
            (Loss::Warp, &pairs, 3, 1),
            (Loss::Warp, &pairs, 3, 2),
        ] {
            let rate = 0.01;
            let params = Params {
                optimizer: Optimizer::Sgd,
                factors: 5,
                learning_rate: rate,
                regularization: 0.3,
                iterations: 1,
                negatives,
                batch_size,
                biases,
                ..Params::of(loss)
            };
            let [users, items] = [matrices[0].rows(), matrices[1].rows()];
            let start = normal([users, items], 5, 0.5, 3, 1, &Control::unlimited()).unwrap();
            // What the updates may have been; the order of the draws decides.
            let likes = |at: usize, value: f64| Sample::Like(at, at, 1.0, value);
            let candidates: Vec<Vec<Sample>> = match loss {
                Loss::Squared if users == 1 => vec![vec![Sample::Value(0, 0, 2.5)]],
                Loss::Logistic if users == 1 => vec![vec![likes(0, 2.5)]],
                Loss::Squared => vec![vec![
                    Sample::Value(0, 0, 2.0),
                    Sample::Value(0, 1, 0.0),
                    Sample::Value(1, 1, 0.5),
                    Sample::Value(1, 0, 0.0),
                ]],
                Loss::Logistic => vec![vec![
                    likes(0, 2.0),
                    Sample::Like(0, 1, -1.0, 1.0),
                    likes(1, 0.5),
                    Sample::Like(1, 0, -1.0, 1.0),
                ]],
                Loss::Bpr if items == 2 => vec![vec![Sample::Order(0, 0, 1), Sample::Order(1, 1, 0)]],
                Loss::Bpr => (1..4).map(|other| vec![Sample::Order(0, 0, other)]).collect(),
                Loss::Warp => (1..4)
                    .flat_map(|other| [3.0f64, 1.0].map(|rank| vec![Sample::Rank(0, 0, other, rank.ln())]))
                    .collect(),
            };
            for level in levels() {
                // The seed is one whose first draw of a negative is not the user's own item.
                let moved = (0..50).find_map(|seed| {
                    let params = Params { seed, ..params.clone() };
                    let fitted = run((level, 1), matrices, &start, &params);
                    let from = begin(&start, &fitted.model);
                    (flat(&fitted.model) != from && fitted.losses[0] > 0.0).then_some((fitted, from))
                });
                let (fitted, from) = moved.unwrap();
                let shape = shape(matrices, &params, &fitted.model);
                let found: Vec<f64> =
                    flat(&fitted.model).iter().zip(&from).map(|(to, from)| (from - to) / rate).collect();
                assert!(
                    candidates.iter().any(|samples| near(&found, &shape.gradient(&from, samples), 1e-3)),
                    "{level:?} {loss:?} {biases} {batch_size}: {found:?} is none of {:?}",
                    candidates.iter().map(|samples| shape.gradient(&from, samples)).collect::<Vec<_>>()
                );
                // And the loss is that of the samples.
                let bare = Shape { regularization: 0.0, ..shape };
                let same = |samples: &Vec<Sample>| {
                    let sum: f64 = samples.iter().map(|&sample| bare.loss(&from, sample)).sum();
                    (sum / samples.len() as f64 - fitted.losses[0]).abs() < 1e-4
                };
                assert!(
                    batch_size == 1 && users == 2 || candidates.iter().any(same),
                    "{loss:?} {:?}",
                    fitted.losses
                );
            }
        }
    }
}

#[test]
fn optimizers_are_those_of_their_papers() {
    let matrices = matrix(&[&[(0, 2.0)]], 1);
    for biases in [false, true] {
        for (optimizer, batch_size) in OPTIMIZERS.into_iter().flat_map(|each| [(each, 1), (each, 3)]) {
            let rate = 0.05;
            let params = Params {
                optimizer,
                factors: 3,
                learning_rate: rate,
                regularization: 0.1,
                iterations: 7,
                biases,
                batch_size,
                ..Params::of(Loss::Squared)
            };
            let start = normal([1, 1], 3, 0.5, 9, 1, &Control::unlimited()).unwrap();
            let fitted = run((level(), 1), &matrices, &start, &params);
            // With biases, the mean explains the only value: make the factors wrong.
            let shape = shape(&matrices, &params, &fitted.model);
            let mut all = begin(&start, &fitted.model);
            let (mut first, mut second) = (vec![0.0; all.len()], vec![0.0; all.len()]);
            for step in 1..=7 {
                let gradient = shape.gradient(&all, &[Sample::Value(0, 0, 2.0)]);
                for (at, g) in gradient.into_iter().enumerate() {
                    all[at] -= rate
                        * match optimizer {
                            Optimizer::Sgd => g,
                            Optimizer::Adagrad => {
                                second[at] += g * g;
                                g / f64::sqrt(1.0 + second[at])
                            }
                            Optimizer::Adam => {
                                first[at] = 0.9 * first[at] + 0.1 * g;
                                second[at] = 0.999 * second[at] + 0.001 * g * g;
                                let mean = first[at] / (1.0 - 0.9f64.powi(step));
                                let square = second[at] / (1.0 - 0.999f64.powi(step));
                                mean / (square.sqrt() + 1e-8)
                            }
                        };
                }
            }
            assert!(
                near(&flat(&fitted.model), &all, 1e-4),
                "{optimizer:?} {:?} {all:?}",
                flat(&fitted.model)
            );
        }
    }
}

#[test]
fn dropout_leaves_factors_out_and_counts_the_others_more() {
    let matrices = matrix(&[&[(0, 2.0)]], 1);
    let start = normal([1, 1], 16, 0.5, 5, 1, &Control::unlimited()).unwrap();
    let mut kept = 0;
    for seed in 0..20 {
        let params = Params {
            factors: 16,
            learning_rate: 0.01,
            regularization: 0.0,
            iterations: 1,
            biases: false,
            dropout: 0.25,
            seed,
            ..Params::of(Loss::Squared)
        };
        let fitted = run((level(), 1), &matrices, &start, &params);
        let mask: Vec<f64> = (fitted.model.factors.users.iter().zip(&start.users))
            .map(|(after, before)| if after == before { 0.0 } else { 1.0 / 0.75 })
            .collect();
        kept += mask.iter().filter(|&&each| each > 0.0).count();
        let rows = || start.users.iter().zip(&start.items).map(|(&x, &y)| (f64::from(x), f64::from(y)));
        let score: f64 = rows().zip(&mask).map(|((x, y), mask)| mask * x * y).sum();
        let expected: Vec<f64> =
            rows().zip(&mask).map(|((x, y), mask)| x + 0.01 * (2.0 - score) * mask * y).collect();
        let found: Vec<f64> = fitted.model.factors.users.iter().map(|&each| f64::from(each)).collect();
        assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
    }
    // 240 of 320, give or take four deviations.
    assert!((209..=271).contains(&kept), "{kept}");
}

#[test]
fn threads_change_no_bit_and_instruction_sets_little() {
    let matrices = spread(150, 90);
    for loss in LOSSES {
        for optimizer in OPTIMIZERS {
            for (batch_size, dropout) in [(1, 0.0), (1, 0.2), (7, 0.0)] {
                let one = Params {
                    optimizer,
                    batch_size,
                    dropout,
                    factors: 20,
                    learning_rate: 0.01,
                    iterations: 2,
                    negatives: 2,
                    ..Params::of(loss)
                };
                let start = super::start(150, 90, &one, &Control::unlimited()).unwrap();
                for parts in [1, 4] {
                    let fitted = run((level(), parts), &matrices, &start, &one);
                    for threads in [2, 3] {
                        let params = Params { threads, ..one.clone() };
                        assert_eq!(run((level(), parts), &matrices, &start, &params), fitted);
                    }
                    for level in levels() {
                        let other = run((level, parts), &matrices, &start, &one);
                        let within = if optimizer == Optimizer::Adam { 5e-3 } else { 1e-4 };
                        assert!(
                            near(&flat(&fitted.model), &flat(&other.model), within),
                            "{loss:?} {optimizer:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_held_out_score_is_that_of_a_slow_ranking() {
    let [train, transposed] = spread(60, 40);
    let users: Vec<u32> = (0..60).step_by(3).collect();
    let mut held = Csr { offsets: vec![0], ..Csr::default() };
    for &user in &users {
        let seen = train.row(user as usize).0;
        // The first of them has nothing to find.
        let wanted =
            (0..40).filter(|item| !seen.contains(item) && (user + item).is_multiple_of(4) && user > 0);
        held.indices.extend(wanted);
        held.values.resize(held.indices.len(), 3.0);
        held.offsets.push(held.indices.len() as u64);
    }
    for loss in [Loss::Warp, Loss::Squared] {
        let params = Params { factors: 6, iterations: 4, patience: 9, threads: 2, ..Params::of(loss) };
        let control = Control::unlimited();
        let start = super::start(60, 40, &params, &control).unwrap();
        let validation = Validation::HeldOut { users: &users, entries: &held };
        let fitted = fit(&train, &transposed, start, &params, validation, &control, &mut |_| ()).unwrap();
        let model = &fitted.model;
        let (mut sum, mut count) = (0.0, 0.0);
        for (row, &user) in users.iter().enumerate() {
            let (relevant, values) = held.row(row);
            if loss == Loss::Squared {
                for (&item, &value) in relevant.iter().zip(values) {
                    sum += f64::from(value - model.score(user, item)).powi(2);
                    count += 1.0;
                }
            } else if !relevant.is_empty() {
                let mut ranked: Vec<u32> = (0..40).collect();
                ranked.retain(|item| !train.row(user as usize).0.contains(item));
                ranked.sort_by(|&a, &b| model.score(user, b).total_cmp(&model.score(user, a)));
                sum += crate::metrics::rank_metrics(&ranked, relevant, 10).ndcg;
                count += 1.0;
            }
        }
        let expected = if loss == Loss::Squared { -f64::sqrt(sum / count) } else { sum / count };
        let best = fitted.scores[fitted.best_epoch - 1];
        assert!((best - expected).abs() < 1e-5, "{loss:?} {:?} {expected}", fitted.scores);
        assert_eq!(fitted.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max), best);
    }
}

#[test]
fn parts_take_nothing_from_the_quality() {
    // Eight groups of users like the items of theirs, of which two thirds are known.
    let mut state = 1u64;
    let mut draw = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32 % 100
    };
    let (mut rows, mut held) = (Vec::new(), Csr { offsets: vec![0], ..Csr::default() });
    for user in 0..800u32 {
        let mut row = Vec::new();
        for item in 0..600u32 {
            let likes = draw() < if item % 8 == user % 8 { 30 } else { 2 };
            match likes.then(|| draw() < 67) {
                Some(true) => row.push((item, 1.0)),
                Some(false) => held.indices.push(item),
                None => {}
            }
        }
        rows.push(row);
        held.offsets.push(held.indices.len() as u64);
    }
    held.values.resize(held.indices.len(), 1.0);
    let [train, transposed] = matrix(&rows.iter().map(|row| &row[..]).collect::<Vec<_>>(), 600);
    let users: Vec<u32> = (0..800).collect();
    for (loss, sampling) in [
        (Loss::Bpr, Sampling::Uniform),
        (Loss::Bpr, Sampling::Popularity),
        (Loss::Warp, Sampling::Uniform),
        (Loss::Logistic, Sampling::Uniform),
    ] {
        let scores: Vec<f64> = [1, 16]
            .into_iter()
            .map(|parts| {
                let of_seed = |seed| {
                    let params = Params {
                        sampling,
                        factors: 16,
                        learning_rate: 0.1,
                        regularization: 0.02,
                        iterations: 25,
                        patience: 25,
                        decay: 1.0,
                        threads: 2,
                        seed,
                        ..Params::of(loss)
                    };
                    let control = Control::unlimited();
                    let start = super::start(800, 600, &params, &control).unwrap();
                    let validation = Validation::HeldOut { users: &users, entries: &held };
                    let at = (level(), parts);
                    let fitted =
                        fit_at(at, [&train, &transposed], start, &params, validation, &control, &mut |_| ());
                    let fitted = fitted.unwrap();
                    fitted.scores[fitted.best_epoch - 1]
                };
                (of_seed(1) + of_seed(2)) / 2.0
            })
            .collect();
        println!("{loss:?} {sampling:?}: {scores:.4?}");
        assert!(scores[0] > 0.05 && scores[1] > 0.97 * scores[0], "{loss:?} {scores:?}");
    }
}
