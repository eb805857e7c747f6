//! Evaluation against scikit-learn 1.9.1, against values by hand, and against slow exact versions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::ids::{IdKind, IdsRef};
use base::image::Image;
use base::{Control, Csr};
use recommenders::als::{Params, fit, start};
use recommenders::answers::Filter;
use recommenders::evaluate::{Learned, Plan, Records, activity, record};
use recommenders::factors::Factors;
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, Split, split, transpose};
use recommenders::metrics::{Ranking, Summary, exposure, rank_metrics};
use recommenders::neighbours::Neighbours;
use recommenders::popularity;
use recommenders::recommender::{Parts, Recommender, encode};

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-12, "{left} {right}");
}

fn csr(rows: &[&[u32]]) -> Csr {
    let mut matrix = Csr { offsets: vec![0], ..Csr::default() };
    for row in rows {
        matrix.indices.extend_from_slice(row);
        matrix.offsets.push(matrix.indices.len() as u64);
    }
    matrix.values = vec![1.0; matrix.entries()];
    matrix
}

const ITEMS: usize = 8;

/// Four users, eight items, two factors.
fn small() -> (Split, Factors) {
    let train = csr(&[&[0], &[3, 4], &[2, 4], &[7]]);
    let held_out = csr(&[&[2, 3], &[1], &[6], &[4, 5]]);
    let items = [
        [1.0, 0.0],
        [0.875, 0.125],
        [0.5, 0.5],
        [0.125, 0.875],
        [0.0, 1.0],
        [-1.0, 0.0],
        [0.5, 0.5],
        [0.25, 0.375],
    ];
    let users = [[1.0, 0.25], [-0.5, 1.0], [0.5, 0.5], [0.125, -1.0]];
    let factors = Factors { factors: 2, users: users.concat(), items: items.concat() };
    (Split { train, users: vec![0, 1, 2, 3], held_out, known: None }, factors)
}

fn measured(split: &Split, learned: Learned<'_>, ks: &[usize], threads: usize) -> Records {
    let control = Control::unlimited();
    let items = split.train.transpose(ITEMS);
    let records =
        record(split, &items, learned, Plan { ks, auc: true, held_out: true, threads }, &control).unwrap();
    assert_eq!(control.used(), records.bytes());
    records
}

#[test]
fn users_are_measured_as_by_scikit_learn() {
    let (split, factors) = small();
    let records = measured(&split, Learned::Factors { factors: &factors, fold: (0.0, 0.0) }, &[3], 2);
    let control = Control::unlimited();
    // roc_auc_score(held, items[eligible] @ user), the same of the counts of the training rows, and
    // ndcg_score([held], [scores], k=3, ignore_ties=True); the third user's equal scores come in another order there.
    for (user, auc, popularity, ndcg) in [
        (0, 0.6, 0.7, Some(0.38685280723454163)),
        (1, 0.2, 0.2, Some(0.0)),
        (2, 0.7, 0.2, None),
        (3, 0.3, 0.6, Some(0.30657359638272924)),
    ] {
        let figures = records.figures(&[user], None, &control).unwrap()[0];
        close(figures.model.auc.unwrap().mean, auc);
        close(figures.popularity.auc.unwrap().mean, popularity);
        if let Some(ndcg) = ndcg {
            close(figures.model.ndcg.mean, ndcg);
        }
    }
    // By hand: user 0 is shown 1, 2, 6 and 2 is held out; user 3 is shown 0, 1, 5.
    let all = records.figures(records.all(), None, &control).unwrap()[0];
    close(all.model.mrr.mean, (1.0 / 2.0 + 0.0 + 0.0 + 1.0 / 3.0) / 4.0);
    assert_eq!((all.model.users, all.k), (4, 3));
}

#[test]
fn novelty_is_the_information_of_what_is_shown() {
    let (split, factors) = small();
    let control = Control::unlimited();
    let records = measured(&split, Learned::Factors { factors: &factors, fold: (0.0, 0.0) }, &[1, 2], 1);
    // Six training rows; item 4 has two of them, 0 has one, and 1, which has none, counts as one.
    let one = |user: u32, cutoff: usize| {
        let figures = records.figures(&[user], None, &control).unwrap()[cutoff];
        (figures.model.novelty.mean, figures.popularity.novelty.mean)
    };
    let (rare, common) = (6f64.log2(), 3f64.log2());
    let (model, popular) = one(0, 0);
    close(model, rare);
    close(popular, common);
    // By popularity, then by number: 4 and 2.
    close(one(0, 1).1, (rare + common) / 2.0);
}

#[test]
fn exposure_is_that_of_hand() {
    // Everything alike; one alone; and 1, 2, 3 of four: sum (2i - 5) x = -3*0 - 1*1 + 1*2 + 3*3 = 10, by 4 * 6.
    for (shown, items, expected) in [
        (&[2, 2, 2, 2][..], 4, (1.0, 0.0)),
        (&[0, 0, 9, 0], 4, (0.25, 0.75)),
        (&[3, 0, 1, 2], 4, (0.75, 10.0 / 24.0)),
        (&[3, 1, 2], 4, (0.75, 10.0 / 24.0)),
        (&[0, 0], 2, (0.0, 0.0)),
        (&[], 0, (0.0, 0.0)),
    ] {
        let found = exposure(shown, items);
        close(found.0, expected.0);
        close(found.1, expected.1);
    }
    // The mean difference of all pairs by twice the mean: the definition.
    let shown: Vec<u32> = (0..300u32).map(|n| n.wrapping_mul(2_654_435_761) >> 28).collect();
    let apart: f64 = shown.iter().flat_map(|&a| shown.iter().map(move |&b| f64::from(a.abs_diff(b)))).sum();
    let all: f64 = shown.iter().map(|&each| f64::from(each)).sum();
    close(exposure(&shown, 300).1, apart / (2.0 * 300.0 * all));
}

#[test]
fn neighbours_rank_silent_items_by_popularity() {
    // 0 speaks for 1 and against 2; nothing else is said.
    let neighbours =
        Neighbours { offsets: vec![0, 2, 2, 2, 2, 2, 2, 2, 2], items: vec![1, 2], weights: vec![0.5, -0.5] };
    let train = csr(&[&[0], &[4, 5], &[4, 5], &[4]]);
    let split = Split { train, users: vec![0], held_out: csr(&[&[2, 5]]), known: None };
    let records =
        measured(&split, Learned::Neighbours { neighbours: neighbours.view(), weighted: false }, &[2], 1);
    let auc = records.figures(&[0], None, &Control::unlimited()).unwrap()[0].model.auc.unwrap().mean;
    // 5 is below 1 and 4 and above 3, 6, 7; 2 is below all five.
    close(auc, (3.0 / 5.0 + 0.0) / 2.0);
}

#[test]
fn classes_of_held_out_items_are_measured_apart() {
    let (split, factors) = small();
    let control = Control::unlimited();
    let records = measured(&split, Learned::Factors { factors: &factors, fold: (0.0, 0.0) }, &[3], 1);
    // Rows by popularity: 4 4 | 0 2 | 3 7; so 4 is head, 0 and 2 torso, the rest tail.
    let users = |class| {
        records
            .figures(records.all(), Some(class), &control)
            .unwrap()
            .first()
            .map_or(0, |each| each.model.users)
    };
    assert_eq!([users(0), users(1), users(2)], [1, 1, 4]);
    let torso = records.figures(&[0], Some(1), &control).unwrap()[0].model;
    // Of the held-out items 2 and 3 of user 0 only 2 is of the torso: at position 2, one relevant.
    close(torso.recall.mean, 1.0);
    close(torso.ndcg.mean, 1.0 / 3f64.log2());
    // It wins against 4, 5 and 7, loses against 1, and is equal to 6.
    close(torso.auc.unwrap().mean, 3.5 / 5.0);
}

#[test]
fn activity_keeps_equal_users_together() {
    let rows: Vec<Vec<u32>> = [1u32, 5, 2, 2, 2, 8, 6, 2, 7].iter().map(|&n| (0..n).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let held_out = csr(&[&[9u32][..]; 9]);
    let split = Split { train: csr(&rows), users: (0..9).collect(), held_out, known: None };
    // Sorted 1 2 2 | 2 2 5 | 6 7 8.
    let found = activity(&split, &Control::unlimited()).unwrap();
    assert_eq!(found.bounds, (2, 5));
    let classes = [("cold", vec![0, 2, 3, 4, 7]), ("medium", vec![1]), ("heavy", vec![5, 6, 8])];
    assert_eq!(found.classes, classes);
}

#[test]
fn thirds_that_end_alike_are_one_class_with_both_names() {
    for (counts, expected) in [
        (&[2u32, 2, 2, 2, 2, 3][..], &[("cold+medium", vec![0, 1, 2, 3, 4]), ("heavy", vec![5])][..]),
        (&[1, 1, 4, 4, 4, 4], &[("cold", vec![0, 1]), ("medium+heavy", vec![2, 3, 4, 5])]),
        (&[3, 3, 3], &[("cold+medium+heavy", vec![0, 1, 2])]),
        (&[7], &[("cold+medium+heavy", vec![0])]),
        (&[1, 2], &[("cold", vec![0]), ("medium+heavy", vec![1])]),
        (&[], &[]),
    ] {
        let rows: Vec<Vec<u32>> = counts.iter().map(|&n| (0..n).collect()).collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let users = (0..counts.len() as u32).collect();
        let held_out = csr(&vec![&[9u32][..]; counts.len()]);
        let split = Split { train: csr(&rows), users, held_out, known: None };
        assert_eq!(activity(&split, &Control::unlimited()).unwrap().classes, expected, "{counts:?}");
    }
}

/// Two hundred users of five tastes.
fn blocks() -> Interactions {
    let mut builder = InteractionsBuilder::new(
        IdKind::Integer,
        IdKind::Integer,
        false,
        Box::leak(Box::new(Control::unlimited())),
    );
    for user in 0..200i64 {
        for n in 0..5 + user % 7 {
            let item = user % 5 * 20 + (user * 7 + n * 3) % 20;
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[1.0], &[]).unwrap();
        }
    }
    builder.finish(1).unwrap()
}

const PARAMS: (f64, f64) = (1.0, 10.0);

fn fitted(from: &Csr, transposed: &Csr) -> Factors {
    let params =
        Params { factors: 8, regularization: PARAMS.0, alpha: PARAMS.1, seed: 1, ..Params::default() };
    let control = Control::unlimited();
    let begin = start(from.rows(), transposed.rows(), &params, &control).unwrap();
    fit(from, transposed, begin, &params, &control, &mut |_, _| ()).unwrap()
}

#[test]
fn new_users_are_unknown_to_the_fit_and_served_as_a_list_of_items() {
    let data = blocks();
    let control = Control::unlimited();
    let split = split(&data, Holdout::User, 3, 10_000, &control).unwrap();
    let known = split.known.as_ref().unwrap();
    assert_eq!(split.users.len(), 20);
    for (position, &user) in split.users.iter().enumerate() {
        let all = data.user_items.row(user as usize).0;
        assert!(split.train.row(user as usize).0.is_empty());
        assert_eq!(split.held_out.row(position).0.len(), (all.len() / 5).max(1));
        let mut both = [known.row(position).0, split.held_out.row(position).0].concat();
        both.sort_unstable();
        assert_eq!(both, all);
    }
    let others: usize = split.users.iter().map(|&user| data.user_items.row(user as usize).0.len()).sum();
    assert_eq!(split.train.entries() + others, data.user_items.entries());

    let item_users = transpose(&split.train, data.items.len(), 1, &control).unwrap();
    let factors = fitted(&split.train, &item_users);
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &split.train,
        item_users: &item_users,
        learned: recommenders::recommender::Learned::Factors(&factors),
        regularization: PARAMS.0,
        alpha: PARAMS.1,
        user_class: 3,
        item_class: 2,
    };
    let bytes = encode(&parts, [7; 16], 1, &Control::unlimited()).unwrap();
    let served = Recommender::new(&Image::open(&bytes).unwrap()).unwrap();
    let plan = Plan { ks: &[10], auc: false, held_out: false, threads: 2 };
    let learned = Learned::Factors { factors: &factors, fold: PARAMS };
    let records = record(&split, &item_users, learned, plan, &control).unwrap();
    for (position, _) in split.users.iter().enumerate() {
        let answer = served.recommend_for_items(known.row(position).0, 10, Filter::default()).unwrap();
        let ranked: Vec<u32> = answer.iter().map(|each| each.item).collect();
        let expected = rank_metrics(&ranked, split.held_out.row(position).0, 10);
        let found = records.figures(&[position as u32], None, &control).unwrap()[0].model;
        close(found.ndcg.mean, expected.ndcg);
    }
    let all = records.figures(records.all(), None, &control).unwrap()[0];
    assert!(all.model.ndcg.mean > 1.5 * all.popularity.ndcg.mean, "{all:?}");
}

#[test]
fn records_are_the_same_for_every_number_of_threads() {
    let data = blocks();
    let control = Control::unlimited();
    let split = split(&data, Holdout::Hash, 3, 10_000, &control).unwrap();
    let item_users = transpose(&split.train, data.items.len(), 1, &control).unwrap();
    let factors = fitted(&split.train, &item_users);
    let learned = Learned::Factors { factors: &factors, fold: PARAMS };
    let run = |threads| {
        let plan = Plan { ks: &[1, 10], auc: true, held_out: true, threads };
        record(&split, &item_users, learned, plan, &control).unwrap()
    };
    let records = run(1);
    assert_eq!(records, run(3));
    let all = records.all();
    let draw =
        |threads, seed| records.bootstrap(all, None, 1, (1000, seed), threads, &control).unwrap().unwrap();
    assert_eq!(draw(1, 5), draw(3, 5));
    assert_ne!(draw(1, 5), draw(1, 6));
    // Of a mean over 200 users the normal interval is nearly right.
    let figures = records.figures(all, None, &control).unwrap()[1].model;
    let found = draw(2, 5);
    for (estimate, (low, high)) in
        [(figures.ndcg, found.ndcg), (figures.mrr, found.mrr), (figures.novelty, found.novelty)]
    {
        let width = 2.0 * 1.96 * estimate.standard_error.unwrap();
        assert!(low < estimate.mean && estimate.mean < high);
        assert!(((high - low) / width - 1.0).abs() < 0.1, "{low} {high} {width}");
    }
}

/// What recommends by popularity is as good as popularity, where items are equal, too.
#[test]
fn popularity_has_the_figures_of_its_baseline() {
    let (split, _) = small();
    let popular = popularity::plain(&split.train.transpose(ITEMS), &Control::unlimited()).unwrap();
    let records = measured(&split, Learned::Popular(&popular), &[1, 3], 2);
    for figures in records.figures(&[0, 1, 3], None, &Control::unlimited()).unwrap() {
        assert_eq!(figures.model, figures.popularity);
    }
}

#[test]
fn a_bootstrap_has_the_percentiles_of_all_draws() {
    let (split, factors) = small();
    let records = measured(&split, Learned::Factors { factors: &factors, fold: (0.0, 0.0) }, &[3], 1);
    let ndcg = [0.38685280723454163, 0.0, 0.30657359638272924];
    let mut means = Vec::new();
    for draw in 0..27 {
        let draw = [draw % 3, draw / 3 % 3, draw / 9];
        means.push(draw.iter().map(|&user: &usize| ndcg[user]).sum::<f64>() / 3.0);
    }
    let found =
        records.bootstrap(&[0, 1, 3], None, 0, (10_000, 1), 2, &Control::unlimited()).unwrap().unwrap();
    // One draw in 27 has one user three times: more than 2.5 % lie at either end.
    let (low, high) = found.ndcg;
    close(low, means.iter().copied().fold(f64::INFINITY, f64::min));
    close(high, means.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    assert_eq!(records.bootstrap(&[2], None, 0, (100, 1), 1, &Control::unlimited()), Ok(None));
}

#[test]
fn summaries_carry_novelty_and_auc() {
    let mut summary = Summary::new(2);
    summary.add(&Ranking { novelty: 10.0, auc: Some(0.75), ..Ranking::default() }, &[0]);
    summary.add(&Ranking { novelty: 20.0, auc: None, ..Ranking::default() }, &[0]);
    let found = summary.estimates().unwrap();
    close(found.novelty.mean, 15.0);
    close(found.novelty.standard_error.unwrap(), 5.0);
    close(found.auc.unwrap().mean, 0.75);
    assert_eq!((found.users, found.coverage, found.gini), (2, 0.5, 0.5));
}
