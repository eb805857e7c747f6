//! Features of rows in any order, the map from them to factors, and rows that training never saw.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use base::ids::{IdKind, IdRef, Ids};
use base::image::Image;
use base::{Control, Csr, Error, Result};
use features::{Features, Kind, RowsBuilder};
use recommenders::answers::{Filter, Source};
use recommenders::content::{Extended, Mapping, Side, extend, fit, place, spread};
use recommenders::factors::Factors;
use recommenders::interactions::Interactions;
use recommenders::recommender::{Learned, Parts, Recommender, encode_with};

/// A number, a category and tags of an id.
type Row = (i64, Option<f64>, Option<&'static str>, &'static [&'static str]);

fn features(rows: &[Row], control: &Control) -> Result<Features> {
    let mut builder = RowsBuilder::new(IdKind::Integer, &[Kind::Number, Kind::Category, Kind::Tags], control);
    for &(id, number, category, tags) in rows {
        assert!(builder.start(IdRef::Integer(id))?);
        if let Some(number) = number {
            builder.number(0, number);
        }
        for (column, word) in
            category.map(|word| (1, word)).into_iter().chain(tags.iter().map(|tag| (2, *tag)))
        {
            builder.word(column, word.as_bytes())?;
        }
    }
    builder.finish()
}

const ROWS: [Row; 6] = [
    (30, Some(1.0), Some("drama"), &["a", "b", "a"]),
    (10, Some(3.0), Some("drama"), &["a", "once"]),
    (20, None, Some("rare"), &["b"]),
    (60, Some(f64::NAN), Some("seldom"), &["drama"]),
    (50, Some(5.0), None, &["drama", "a"]),
    (40, Some(3.0), Some("comedy"), &[]),
];

#[test]
fn features_are_the_known_ones() {
    let control = Control::unlimited();
    let found = features(&ROWS, &control).unwrap();
    assert_eq!(found.ids, Ids::Integer(vec![10, 20, 30, 40, 50, 60]));
    // number; drama; a, b, drama as tags; rare, seldom and comedy together.
    assert_eq!(found.columns, 6);
    assert_eq!(control.used(), found.bytes());
    let close = |row: usize, expected: &[(u32, f64)]| {
        let (features, values) = found.matrix.row(row);
        assert_eq!(features, expected.iter().map(|each| each.0).collect::<Vec<_>>(), "row {row}");
        for (value, (_, expected)) in values.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "row {row}: {values:?}");
        }
    };
    // Of 1, 3, 5 and 3: mean 3, deviation the root of 2.
    let idf = |with: f64| (7.0 / (1.0 + with)).ln() + 1.0;
    let (a, b) = (idf(3.0), idf(2.0));
    let norm = (a * a + b * b).sqrt();
    close(0, &[(0, 0.0), (1, 1.0), (2, 1.0)]);
    close(1, &[(3, 1.0), (5, 1.0)]);
    close(2, &[(0, -2.0f64.sqrt()), (1, 1.0), (2, a / norm), (3, b / norm)]);
    close(3, &[(0, 0.0), (5, 1.0)]);
    close(4, &[(0, 2.0f64.sqrt()), (2, a / norm), (4, b / norm)]);
    close(5, &[(4, 1.0), (5, 1.0)]);
}

#[test]
fn rows_in_another_order_give_the_same_bits() {
    let control = Control::unlimited();
    let first = features(&ROWS, &control).unwrap();
    for turn in 1..ROWS.len() {
        let mut rows = ROWS;
        rows.rotate_left(turn);
        rows.swap(0, 3);
        assert_eq!(features(&rows, &control).unwrap(), first);
    }
}

#[test]
fn an_id_has_one_row() {
    let control = Control::unlimited();
    let mut builder = RowsBuilder::new(IdKind::Integer, &[], &control);
    assert_eq!(builder.start(IdRef::Integer(1)), Ok(true));
    assert_eq!(builder.start(IdRef::Integer(1)), Ok(false));
    drop(builder);
    assert_eq!(control.used(), 0);
}

/// Factors that follow from a number and a category, and how many interactions a row has.
fn numbers(n: u32) -> f32 {
    (n.wrapping_mul(0x9e37_79b9) >> 8) as f32 / 16_777_216.0 - 0.5
}

struct World {
    rows: Vec<Row>,
    ids: Ids,
    factors: Vec<f32>,
    interactions: Csr,
}

/// Every third id is not trained. `noise` is what the features do not tell.
fn world(count: u32, noise: f32) -> World {
    const WORDS: [&str; 4] = ["red", "green", "blue", "grey"];
    let mut rows: Vec<Row> = Vec::new();
    let (mut ids, mut factors, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
    for n in 0..count {
        let (number, word) = (numbers(n), n as usize * 7 % 11 % 4);
        rows.push((i64::from(n), Some(f64::from(number)), Some(WORDS[word]), &[]));
        if n % 3 > 0 {
            ids.push(i64::from(n));
            let row = truth(number, word);
            factors.extend([row[0] + noise * numbers(n + 7777), row[1] + noise * numbers(n + 8888)]);
            offsets.push(offsets[offsets.len() - 1] + 1 + u64::from(n % 5));
        }
    }
    let entries = offsets[offsets.len() - 1] as usize;
    let interactions = Csr { offsets, indices: vec![0; entries], values: vec![1.0; entries] };
    World { rows, ids: Ids::Integer(ids), factors, interactions }
}

fn truth(number: f32, word: usize) -> [f32; 2] {
    [0.3 + 2.0 * number, [1.0, -1.0, 0.5, 0.0][word] - number]
}

impl World {
    fn extend(&self, control: &Control) -> Result<Extended> {
        let features = features(&self.rows, control)?;
        let side = Side { ids: &self.ids, rows: &self.factors, width: 2, interactions: &self.interactions };
        let extended = extend(&side, &features, control);
        control.give(features.bytes());
        extended
    }
}

#[test]
fn what_features_tell_is_learned_and_trained_rows_stay() {
    let control = Control::unlimited();
    let world = world(600, 0.0);
    let all = world.extend(&control).unwrap();
    assert_eq!(control.used(), all.bytes());
    assert_eq!(all.ids, Ids::Integer((0..600).collect()));
    assert_eq!(all.content, (0..600).filter(|n| n % 3 == 0).collect::<Vec<u32>>());
    let mapping = all.mapping.as_ref().unwrap();
    assert!(mapping.unexplained < 1e-6, "{}", mapping.unexplained);
    for (at, &row) in all.trained.iter().enumerate() {
        assert_eq!(all.rows[row as usize * 2..][..2], world.factors[at * 2..][..2]);
    }
    for &row in &all.content {
        let expected = truth(numbers(row), row as usize * 7 % 11 % 4);
        for (found, expected) in all.rows[row as usize * 2..][..2].iter().zip(expected) {
            assert!((found - expected).abs() < 2e-3, "row {row}: {found} for {expected}");
        }
    }
}

/// Even numbers that follow from nothing that the factors follow from.
fn noise(n: u32, column: u32) -> f64 {
    let mixed = (u64::from(n) << 32 | u64::from(column)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ mixed >> 32) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

/// The world with columns of noise behind the columns that tell, or in their place: its map, and the mean squared error of the
/// rows that were not trained.
fn with_noise(world: &World, tells: bool, columns: u32) -> (Mapping, f64) {
    let control = Control::unlimited();
    let mut kinds = vec![Kind::Number; columns as usize];
    if tells {
        kinds.extend([Kind::Number, Kind::Category]);
    }
    let mut builder = RowsBuilder::new(IdKind::Integer, &kinds, &control);
    for &(id, number, word, _) in &world.rows {
        assert!(builder.start(IdRef::Integer(id)).unwrap());
        (0..columns).for_each(|column| builder.number(column as usize, noise(id as u32, column)));
        if tells {
            builder.number(columns as usize, number.unwrap());
            builder.word(columns as usize + 1, word.unwrap().as_bytes()).unwrap();
        }
    }
    let side = Side { ids: &world.ids, rows: &world.factors, width: 2, interactions: &world.interactions };
    let all = extend(&side, &builder.finish().unwrap(), &control).unwrap();
    let error = |&row: &u32| {
        let found = &all.rows[row as usize * 2..][..2];
        let expected = truth(numbers(row), row as usize * 7 % 11 % 4);
        found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    let error = all.content.iter().map(error).sum::<f64>() / all.content.len() as f64;
    (all.mapping.unwrap(), error)
}

#[test]
fn features_that_tell_nothing_do_not_hurt() {
    let world = world(900, 0.3);
    let (plain, alone) = with_noise(&world, true, 0);
    let (mapping, beside) = with_noise(&world, true, 40);
    println!("alone {alone:.5}, {plain:?}; beside noise {beside:.5}, {}", mapping.unexplained);
    // What the rows say is known to a few thousandths, with forty columns of noise beside it to a few hundredths.
    assert!(alone < 0.01 && beside < 0.05, "{alone} {beside}");
    // Where nothing tells, everybody is near the mean, and the map says that it explains nothing.
    let (mapping, nothing) = with_noise(&world, false, 40);
    let mean: Vec<f64> = (0..2)
        .map(|at| world.factors.iter().skip(at).step_by(2).map(|&each| f64::from(each)).sum::<f64>())
        .map(|sum| sum / (world.factors.len() / 2) as f64)
        .collect();
    let of_mean = |n: u32| {
        let expected = truth(numbers(n), n as usize * 7 % 11 % 4);
        mean.iter().zip(expected).map(|(a, b)| (a - f64::from(b)).powi(2)).sum::<f64>()
    };
    let of_mean = (0..900).step_by(3).map(of_mean).sum::<f64>() / 300.0;
    assert!(nothing < 1.1 * of_mean, "{nothing}, the mean {of_mean}");
    assert!((0.95..1.15).contains(&mapping.unexplained) && mapping.lambda >= 1.0, "{}", mapping.unexplained);
}

#[test]
fn a_map_solves_the_weighted_normal_equations() {
    let control = Control::unlimited();
    let world = world(90, 3.0);
    let found = features(&world.rows, &control).unwrap();
    let pairs: Vec<(u32, u32)> = (0..90).filter(|n| n % 3 > 0).zip(0..).collect();
    let weights: Vec<f64> = (0..pairs.len()).map(|n| 1.0 + (n % 4) as f64).collect();
    let mapping = fit(&found, &pairs, &world.factors, 2, &weights, &control).unwrap();
    assert_eq!(control.used(), found.bytes() + mapping.bytes());
    let size = found.columns + 1;
    let dense = |row: u32| {
        let mut line = vec![0.0; size];
        let (columns, values) = found.matrix.row(row as usize);
        columns.iter().zip(values).for_each(|(&at, &value)| line[at as usize] = f64::from(value));
        line[size - 1] = 1.0;
        line
    };
    let (mut gradient, mut diagonal) = (vec![0.0; size * 2], 0.0);
    for (&(row, target), weight) in pairs.iter().zip(&weights) {
        let line = dense(row);
        diagonal += line[..size - 1].iter().map(|each| weight * each * each).sum::<f64>();
        for factor in 0..2 {
            let weights = |at: usize| f64::from(mapping.weights[at * 2 + factor]);
            let mapped: f64 = line.iter().enumerate().map(|(at, each)| each * weights(at)).sum();
            let error = mapped - f64::from(world.factors[target as usize * 2 + factor]);
            line.iter().enumerate().for_each(|(at, each)| gradient[at * 2 + factor] += weight * error * each);
        }
    }
    let lambda = mapping.lambda * diagonal / (size - 1) as f64;
    for (at, gradient) in gradient.iter().enumerate() {
        let share = if at / 2 + 1 < size { lambda * f64::from(mapping.weights[at]) } else { 0.0 };
        assert!((gradient + share).abs() < 1e-3, "{at}: {gradient} + {share}");
    }
}

#[test]
fn without_a_trained_row_that_has_features_nothing_is_added() {
    let control = Control::unlimited();
    let mut world = world(90, 0.0);
    world.rows.retain(|row| row.0 % 3 == 0);
    let all = world.extend(&control).unwrap();
    assert_eq!((all.ids, all.rows, all.mapping), (world.ids, world.factors, None));
}

#[test]
fn ids_of_another_kind_are_an_error() {
    let control = Control::unlimited();
    let found = features(&ROWS, &control).unwrap();
    let ids = Ids::Bytes { offsets: vec![0, 1], bytes: vec![1] };
    let interactions = Csr { offsets: vec![0, 0], ..Csr::default() };
    let side = Side { ids: &ids, rows: &[0.0], width: 1, interactions: &interactions };
    assert!(matches!(extend(&side, &found, &control), Err(Error::Parameter { name: "ids", .. })));
    assert_eq!(control.used(), found.bytes());
}

#[test]
fn a_matrix_is_spread() {
    let control = Control::unlimited();
    let mut matrix = Csr { offsets: vec![0, 2, 3], indices: vec![0, 2, 1], values: vec![1.0, 2.0, 3.0] };
    control.take(matrix.bytes(), "", "").unwrap();
    spread(&mut matrix, Some((&[1, 3], 5)), Some(&[0, 4, 9]), &control).unwrap();
    assert_eq!(matrix.offsets, [0, 0, 2, 2, 3, 3]);
    assert_eq!(matrix.indices, [0, 9, 4]);
    assert_eq!(control.used(), matrix.bytes());
}

#[test]
fn limits_and_cancels_leave_nothing_taken() {
    let world = world(6000, 0.5);
    let control = Control::unlimited();
    let needed = {
        world.extend(&control).unwrap();
        control.peak()
    };
    for tenths in 0..10 {
        let control = Control::new(needed * tenths / 10);
        assert!(matches!(world.extend(&control), Err(Error::Memory { .. })), "{tenths}");
        // What `features` keeps is given back by this test, not where `features` itself fails.
        assert_eq!(control.used(), 0);
    }
    let control = Control::unlimited();
    control.cancel();
    assert_eq!(world.extend(&control), Err(Error::Cancelled));
    assert_eq!(control.used(), 0);
}

/// Two users and two items, both of one kind each; an item before them all and a user behind them all are new.
#[test]
fn new_items_and_users_are_served_and_named() {
    let control = Control::unlimited();
    let user_items = Csr { offsets: vec![0, 1, 2], indices: vec![0, 1], values: vec![1.0; 2] };
    let mut data = Interactions {
        users: Ids::Integer(vec![1, 2]),
        items: Ids::Integer(vec![10, 20]),
        item_users: user_items.transpose(2),
        user_items,
        times: None,
        rows: 2,
    };
    let mut factors = Factors { factors: 1, users: vec![1.0, -1.0], items: vec![2.0, -2.0] };
    let words: [Row; 4] = [
        (5, None, Some("b"), &[]),
        (10, None, Some("a"), &[]),
        (20, None, Some("b"), &[]),
        (30, None, Some("a"), &[]),
    ];
    let profiles: [Row; 4] = [
        (1, None, Some("x"), &[]),
        (2, None, Some("y"), &[]),
        (8, None, Some("y"), &[]),
        (9, None, Some("x"), &[]),
    ];
    let both = [&profiles, &words].map(|rows| Some(features(rows, &control).unwrap()));
    let gram = [8.0];
    let placed = place(&mut data, &mut factors, both, 1, &control).unwrap();
    assert_eq!((placed.users.as_slice(), placed.items.as_slice()), (&[2, 3][..], &[0, 3][..]));
    assert_eq!(placed.gram.as_deref(), Some(&gram[..]));
    assert_eq!((factors.items[1], factors.items[2]), (2.0, -2.0));
    assert!(
        factors.items[0] < 0.0 && factors.items[3] > 0.0 && factors.users[2] < 0.0 && factors.users[3] > 0.0
    );
    assert_eq!(data.user_items.offsets, [0, 1, 2, 2, 2]);
    assert_eq!(data.user_items.indices, [1, 2]);
    assert_eq!(data.item_users, data.user_items.transpose(4));
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Factors(&factors),
        regularization: 0.1,
        alpha: 1.0,
        user_class: 3,
        item_class: 3,
    };
    let image = encode_with(&parts, placed.content(), None, [7; 16], 1, &control).unwrap();
    let model = Recommender::new(&Image::open(&image).unwrap()).unwrap();
    assert_eq!(model.check(&control), Ok(()));
    let answer = |user| -> Vec<(u32, Source)> {
        let found = model.recommend(user, 4, Filter { keep_seen: true, ..Filter::default() });
        found.iter().map(|each| (each.item, each.source)).collect()
    };
    let (model_, content) = (Source::Model, Source::Content);
    // A known user: the new items are content.
    let of_first = answer(Some(0));
    assert!(of_first.iter().all(|&(item, source)| source == if item % 3 == 0 { content } else { model_ }));
    assert_eq!(of_first.iter().take(2).map(|each| each.0).filter(|item| [1, 3].contains(item)).count(), 2);
    // A new one: everything is. Nobody: what is popular.
    assert!(answer(Some(3)).iter().all(|each| each.1 == content));
    assert_eq!(answer(None)[0], (1, Source::Popular));
    assert!(model.recommend_all(3..4, 2, 1, &control).unwrap()[0].iter().all(|each| each.source == content));
}
