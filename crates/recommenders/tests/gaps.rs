//! How long threads compute between two looks at the control: a cancelled training ends when the last of its threads
//! has looked. Measured in processor time, so that other work on the machine counts for nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use base::control::Control;
use base::csr::Csr;
use base::gaps::processor_time;
use base::ids::{IdKind, IdRef, Ids};
use base::image::Image;
use recommenders::als::{Params, Solver, explicit, fit, refine, start};
use recommenders::answers::Filter;
use recommenders::content::Content;
use recommenders::elsa;
use recommenders::evaluate::evaluate;
use recommenders::interactions::{Holdout, InteractionsBuilder, split, transpose};
use recommenders::partition::{PartitionBuilder, cut};
use recommenders::recommender::{Arrangement, Eligibility, Encoded, Learned, Parts, Recommender};
use recommenders::sgd::{self, Loss, Squares, WarmStart};
use recommenders::update::{merge, moved};

/// What no stretch may exceed on this input: half of what is promised, for less than half of the 10 million rows.
/// Measured are up to 12 ms where one transpose of this input without a look takes [`WITHOUT`].
const LIMIT: Duration = Duration::from_millis(25);
const WITHOUT: Duration = Duration::from_millis(43);

/// What is promised.
const PROMISED: Duration = Duration::from_millis(50);

/// The limit on this machine: a slower one takes longer for every stretch, and for the transpose. What is promised is
/// promised of any.
fn limit() -> Duration {
    static FOUND: OnceLock<Duration> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let indices: Vec<u32> = (0..ROWS).map(|n| row(n).1 as u32).collect();
        let matrix = Csr { offsets: vec![0, ROWS], values: vec![1.0; indices.len()], indices };
        let transpose = || {
            let before = processor_time();
            std::hint::black_box(matrix.transpose(ITEMS as usize));
            processor_time() - before
        };
        let least = (0..3).map(|_| transpose()).min().unwrap();
        let slower = Duration::from_nanos(least).div_duration_f64(WITHOUT).max(1.0);
        let limit = LIMIT.mul_f64(slower).min(PROMISED);
        println!("a transpose takes {:.1?}, so the limit is {limit:.1?}", Duration::from_nanos(least));
        limit
    })
}
const USERS: u64 = 200_000;
/// All of them are the first user's.
const ITEMS: u64 = 1 << 21;
const ROWS: u64 = 2 * ITEMS;
const SAMPLE: u64 = 300;
const THREADS: usize = 2;

fn mixed(n: u64) -> u64 {
    (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

/// The user and the item of a row. An odd factor shuffles the numbers below a power of two.
fn row(n: u64) -> (u64, u64) {
    if n.is_multiple_of(2) {
        (0, n / 2 * 0x9e37_79b1 % ITEMS)
    } else {
        (mixed(n) % USERS, mixed(n + ROWS) % ITEMS)
    }
}

fn ids(kind: IdKind, numbers: impl Iterator<Item = u64>) -> Ids {
    match kind {
        IdKind::Integer => Ids::Integer(numbers.map(|n| n as i64).collect()),
        IdKind::Fixed16 => Ids::Fixed16(
            numbers.map(|n| u128::from(n) << 64 | u128::from(n)).map(u128::to_be_bytes).collect(),
        ),
        IdKind::Bytes => {
            let (mut offsets, mut bytes) = (vec![0], Vec::new());
            for number in numbers {
                bytes.extend_from_slice(format!("item number {number:032}").as_bytes());
                offsets.push(bytes.len() as u64);
            }
            Ids::Bytes { offsets, bytes }
        }
    }
}

/// Runs a phase; notes it if a thread computed too long without a look.
fn phase<T>(name: &str, control: &Control, body: impl FnOnce() -> T) -> T {
    control.gaps.restart();
    let answer = body();
    let (longest, place) = control.gaps.longest();
    println!("{name:<12} {longest:>10.1?} {place}");
    if longest >= limit() {
        LATE.with_borrow_mut(|late| late.insert(name.to_string(), format!("{longest:.1?} {place}")));
    }
    answer
}

/// Large pieces of memory come from the system and go back to it, as in a backend: zeros of a piece that was used
/// before would have to be written, in one go.
fn map_large_pieces() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, for allocations to come.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
    }
}

fn read(item_kind: IdKind, with_time: bool, control: &Control) -> recommenders::interactions::Interactions {
    map_large_pieces();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, item_kind, with_time, control);
    for from in (0..ROWS).step_by(8192) {
        let rows = || (from..ROWS.min(from + 8192)).map(row);
        let users = ids(IdKind::Integer, rows().map(|(user, _)| user));
        let items = ids(item_kind, rows().map(|(_, item)| item));
        let values = vec![1.0; users.len()];
        let times = if with_time { vec![5; users.len()] } else { Vec::new() };
        phase_quietly(control, || builder.push(users.view(), items.view(), &values, &times)).unwrap();
    }
    let (longest, place) = control.gaps.longest();
    println!("read         {longest:>10.1?} {place}");
    if longest >= limit() {
        LATE.with_borrow_mut(|late| late.insert("read".into(), format!("{longest:.1?} {place}")));
    }
    phase("sort", control, || builder.finish(THREADS)).unwrap()
}

/// Counts the body in, and what comes before it not.
fn phase_quietly<T>(control: &Control, body: impl FnOnce() -> T) -> T {
    control.gaps.forget();
    let answer = body();
    control.gaps.look();
    answer
}

thread_local! {
    /// Phases with a stretch that was too long, and where it was.
    static LATE: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// A stretch without a look is long every time; one that the system drew out, by moving memory, is not.
fn never_late(test: fn()) {
    limit();
    let run = || {
        test();
        LATE.take()
    };
    let mut late = run();
    for _ in 0..3 {
        if late.is_empty() {
            return;
        }
        let again = run();
        late.retain(|name, _| again.contains_key(name));
    }
    assert!(late.is_empty(), "too long without a look at the control: {late:#?}");
}

#[test]
fn no_phase_computes_long_without_a_look() {
    never_late(phases_of_a_recommender);
}

fn phases_of_a_recommender() {
    let control = Control::unlimited();
    let data = read(IdKind::Integer, true, &control);
    // A seed by which the user with most items is sampled.
    let first = |seed: &u64| IdRef::Integer(0).stable_hash(*seed) < u64::MAX / USERS * SAMPLE / 4;
    let seed = (0..).find(first).unwrap();
    let divide = |holdout| split(&data, holdout, seed, SAMPLE as usize, &control).unwrap();
    phase("split", &control, || divide(Holdout::Time));
    let split = phase("split", &control, || divide(Holdout::Hash));
    assert_eq!(split.users[0], 0);
    let items = data.items.len();
    let item_users =
        phase("transpose", &control, || transpose(&split.train, items, THREADS, &control)).unwrap();
    let params = Params { factors: 16, iterations: 1, threads: THREADS, ..Params::default() };
    let begin = phase("start", &control, || start(data.users.len(), items, &params, &control)).unwrap();
    let factors =
        phase("fit", &control, || fit(&split.train, &item_users, begin, &params, &control, &mut |_, _| {}))
            .unwrap();
    let exact = Params { solver: Solver::Cholesky, ..params.clone() };
    let begin = start(data.users.len(), items, &exact, &control).unwrap();
    phase("fit exactly", &control, || {
        fit(&split.train, &item_users, begin, &exact, &control, &mut |_, _| {})
    })
    .unwrap();
    let shallow = elsa::Params {
        factors: 16,
        iterations: 1,
        batch_size: Some(elsa::MAX_BATCH),
        threads: THREADS,
        ..elsa::Params::default()
    };
    phase("ELSA", &control, || elsa::fit(&split.train, &item_users, &shallow, &control, &mut |_, _| ()))
        .unwrap();
    let rated = explicit::Params { als: exact, ..explicit::Params::default() };
    let begin = start(data.users.len(), items, &rated.als, &control).unwrap();
    let model = phase("fit ratings", &control, || {
        explicit::fit(&split.train, &item_users, begin, &rated, &control, &mut |_, _| {})
    })
    .unwrap();
    phase("errors", &control, || explicit::errors(&model, &split.users, &split.held_out, &control)).unwrap();
    let ks = [1, 5, 10, 20, 50];
    let figures =
        phase("evaluate", &control, || evaluate(&split, &item_users, &factors, &ks, THREADS, &control));
    assert_eq!(figures.unwrap().len(), ks.len());
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Factors(&factors),
        regularization: 0.01,
        alpha: 1.0,
        user_class: 0,
        item_class: 0,
    };
    let content = Content::default();
    let encoded =
        phase("encode", &control, || Encoded::new(parts, content, None, THREADS, &control)).unwrap();
    let layout = phase("lay out", &control, || encoded.layout([0; 16], &control)).unwrap();
    let image = phase("copy", &control, || layout.bytes(&control)).unwrap();
    let opened = Image::open(&image).unwrap();
    let model = Recommender::new(&opened).unwrap();
    let mut builder = PartitionBuilder::new(data.users.view(), &control).unwrap();
    control.gaps.restart();
    for id in 0..2 * USERS {
        phase_quietly(&control, || builder.put(IdRef::Integer(id as i64), (id % 3) as u32)).unwrap();
    }
    let names = ["a", "b", "c"].map(String::from).to_vec();
    let (partition, _) = phase("divide", &control, || builder.finish(names)).unwrap();
    let slices = phase("slices", &control, || partition.slices(&data.item_users, &control)).unwrap();
    phase("cut", &control, || cut(&data.user_items, None, &slices[0], items, &control)).unwrap();
    let explained = phase("explain", &control, || model.explain(0, 1, &control)).unwrap();
    assert!(explained.len() > items / 2, "{}", explained.len());
    arrange_with_looks(&model, &control);
    // Everybody is read again and has other values.
    let mut fresh = data.clone();
    fresh.user_items.values.iter_mut().for_each(|value| *value += 1.0);
    let users = data.users.view();
    let merged = phase("merge", &control, || merge(&model, users, &fresh, THREADS, &control)).unwrap();
    assert_eq!(merged.users.len(), data.users.len());
    let warm = phase("move", &control, || moved(&model, &merged, &control)).unwrap().unwrap();
    let (all, changed) = (&merged.interactions, (&merged.users[..], &merged.items[..]));
    let of_ratings = warm.clone();
    let squares = Squares { users: vec![1.0; all.users.len()], items: vec![1.0; all.items.len()] };
    let summed = WarmStart { factors: warm.clone(), squares };
    let of_pairs = sgd::Params {
        factors: params.factors,
        biases: false,
        iterations: 1,
        threads: THREADS,
        ..sgd::Params::of(Loss::Bpr)
    };
    phase("go on", &control, || {
        sgd::refine(&all.user_items, &all.item_users, summed, changed.0, &of_pairs, &control, &mut |_| ())
    })
    .unwrap();
    phase("refine", &control, || refine(&all.user_items, &all.item_users, warm, changed, &params, &control))
        .unwrap();
    let params = explicit::Params { als: params, ..explicit::Params::default() };
    phase("refine ratings", &control, || {
        explicit::refine(&all.user_items, &all.item_users, of_ratings, changed, &params, &control)
    })
    .unwrap();
}

/// Half of a ranking may come, in categories of which each soon has enough: it is read to its end.
fn arrange_with_looks(model: &Recommender<'_>, control: &Control) {
    let ranked = model.recommend(Some(1), 200_000, Filter::default());
    for diversity in [0.0, 0.5] {
        let arrangement = Arrangement { offset: 10, k: 3000, diversity, most_per_category: 3 };
        let stand =
            |&item: &u32| Eligibility { admitted: item.is_multiple_of(2), categories: vec![item % 700] };
        let mut look = |items: &[u32]| -> Result<Vec<Eligibility>, ()> {
            // Not the list's own time.
            let standings = items.iter().map(stand).collect();
            control.gaps.forget();
            Ok(standings)
        };
        let ranking = |n: usize| {
            let first = ranked[..n.min(ranked.len())].to_vec();
            control.gaps.forget();
            first
        };
        let mut pause = || control.check().unwrap();
        let list =
            phase("arrange", control, || model.arrange(arrangement, ranking, Some(&mut look), &mut pause));
        assert_eq!(list.unwrap().len(), 3 * 350 - 10);
    }
}

#[test]
fn features_are_read_and_mapped_with_looks() {
    never_late(phases_of_content);
}

/// As many items as the interactions have, and some that they do not.
fn phases_of_content() {
    use features::{Kind, RowsBuilder};
    use recommenders::content::place;

    let control = Control::unlimited();
    let mut data = read(IdKind::Integer, false, &control);
    let kinds = [Kind::Number, Kind::Category, Kind::Tags];
    let mut builder = RowsBuilder::new(IdKind::Integer, &kinds, &control);
    let mut add = |n: u64| {
        builder.start(IdRef::Integer(n as i64))?;
        builder.number(0, mixed(n) as f64);
        builder.word(1, format!("category {}", mixed(n) % 50).as_bytes())?;
        for tag in 0..2 {
            builder.word(2, format!("tag {}", mixed(n + tag) % 150).as_bytes())?;
        }
        base::Result::Ok(())
    };
    phase("features", &control, || (0..ITEMS + 5000).try_for_each(&mut add)).unwrap();
    let features = phase("in order", &control, || builder.finish()).unwrap();
    let numbers = |rows: usize| (0..rows as u64 * 4).map(|n| (mixed(n) % 100) as f32).collect();
    let (users, items) = (numbers(data.users.len()), numbers(data.items.len()));
    let mut factors = recommenders::factors::Factors { factors: 4, users, items };
    let placed = phase("place", &control, || {
        place(&mut data, &mut factors, [None, Some(features)], THREADS, &control)
    });
    assert_eq!(placed.unwrap().items.len(), 5000);
}

#[test]
fn stochastic_gradients_look() {
    never_late(phases_of_stochastic_gradients);
}

fn phases_of_stochastic_gradients() {
    use recommenders::sgd::{Optimizer, Sampling, Validation};

    let control = Control::unlimited();
    let data = read(IdKind::Integer, false, &control);
    let split = split(&data, Holdout::Hash, 1, 4, &control).unwrap();
    let [users, items] = [data.users.len(), data.items.len()];
    let item_users = transpose(&split.train, items, THREADS, &control).unwrap();
    // One try for each negative: the first user has about everything.
    let params = sgd::Params {
        optimizer: Optimizer::Adam,
        sampling: Sampling::Popularity,
        batch_size: 500,
        factors: 10,
        iterations: 1,
        threads: THREADS,
        ..sgd::Params::of(Loss::Bpr)
    };
    let begin = phase("sgd: start", &control, || sgd::start(users, items, &params, &control)).unwrap();
    let validation = Validation::HeldOut { users: &split.users, entries: &split.held_out };
    let fitted = phase("sgd: fit", &control, || {
        sgd::fit(&split.train, &item_users, begin, &params, validation, &control, &mut |_| ())
    });
    let model = fitted.unwrap().model;
    phase("sgd: fold", &control, || model.folded(&control)).unwrap();
}

#[test]
fn ids_of_any_kind_are_read_and_sorted_with_looks() {
    never_late(ids_of_any_kind);
}

fn ids_of_any_kind() {
    for kind in [IdKind::Fixed16, IdKind::Bytes] {
        read(kind, false, &Control::unlimited());
    }
}

#[test]
fn one_pair_of_millions_of_rows_is_summed_with_looks() {
    never_late(one_pair_of_millions_of_rows);
}

fn one_pair_of_millions_of_rows() {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, true, &control);
    for _ in 0..ROWS / 8192 {
        let (same, values, times) = ([7; 8192], [1.0; 8192], [3; 8192]);
        builder
            .push(Ids::Integer(same.to_vec()).view(), Ids::Integer(same.to_vec()).view(), &values, &times)
            .unwrap();
    }
    phase("sort", &control, || builder.finish(THREADS)).unwrap();
}

#[test]
fn item_based_trainers_compute_with_looks() {
    never_late(phases_of_item_based_trainers);
}

/// Few items, because these take time by the square of a user's items and by the cube of all; one has them all.
fn phases_of_item_based_trainers() {
    use base::Csr;
    use recommenders::evaluate::evaluate_neighbours;
    use recommenders::interactions::Split;
    use recommenders::{ease, item_knn, popularity};

    const ITEMS: u64 = 3000;
    map_large_pieces();
    let control = Control::unlimited();
    let mut user_items = Csr { offsets: vec![0], ..Csr::default() };
    for user in 0..USERS {
        let mut row: Vec<u32> = match user {
            0 => (0..ITEMS as u32).collect(),
            // Every user has the first item.
            _ => (0..6).map(|n| (mixed(user * 8 + n) % ITEMS) as u32 * u32::from(n > 0)).collect(),
        };
        row.sort_unstable();
        row.dedup();
        user_items.indices.extend(row);
        user_items.offsets.push(user_items.indices.len() as u64);
    }
    user_items.values = vec![1.0; user_items.entries()];
    let item_users = user_items.transpose(ITEMS as usize);
    let params = ease::Params { threads: THREADS, kept: 1000, ..ease::Params::default() };
    let model = phase("EASE", &control, || ease::fit(&user_items, &item_users, &params, &control)).unwrap();
    // The most factors and users a step: 150 MB are passed for each of the first.
    let shallow = elsa::Params {
        factors: elsa::MAX_FACTORS,
        iterations: 1,
        batch_size: Some(elsa::MAX_BATCH),
        threads: THREADS,
        ..elsa::Params::default()
    };
    let few = Csr {
        offsets: user_items.offsets[..10_001].to_vec(),
        indices: user_items.indices[..user_items.offsets[10_000] as usize].to_vec(),
        values: user_items.values[..user_items.offsets[10_000] as usize].to_vec(),
    };
    let few_users = few.transpose(ITEMS as usize);
    phase("ELSA", &control, || elsa::fit(&few, &few_users, &shallow, &control, &mut |_, _| ())).unwrap();
    let params = item_knn::Params { threads: THREADS, neighbours: 1000, ..item_knn::Params::default() };
    phase("item-kNN", &control, || item_knn::fit(&user_items, &item_users, &params, &control)).unwrap();
    let times = vec![7; user_items.entries()];
    let decayed =
        || popularity::decayed(&user_items, ITEMS as usize, &times, Some(9), 3.0, &control).unwrap();
    phase("decay", &control, decayed);
    phase("check", &control, || model.view().check(&control)).unwrap();
    let users: Vec<u32> = (0..SAMPLE as u32).collect();
    let held_out = Csr {
        offsets: (0..=SAMPLE).collect(),
        indices: vec![5; SAMPLE as usize],
        values: vec![1.0; SAMPLE as usize],
    };
    let split = Split { train: user_items, users, held_out, known: None };
    phase("evaluate", &control, || {
        evaluate_neighbours(&split, &item_users, model.view(), true, &[1, 50], THREADS, &control)
    })
    .unwrap();
}

#[test]
fn segments_are_formed_with_looks() {
    never_late(phases_of_segments);
}

fn phases_of_segments() {
    use features::columns::{self, Scaling};
    use segments::kmeans::{self, Points};
    use segments::profile::profile;

    map_large_pieces();
    let control = Control::unlimited();
    let rows: Vec<f64> = (0..ROWS).map(|n| mixed(n) as f64 % 1e6).collect();
    // Rows that are all different, and rows of which a third is one and the same.
    let few: Vec<f64> = (0..ROWS).map(|n| mixed(n / 4) as f64 % 3.0 * (n / 4 % 3) as f64).collect();
    for rows in [rows.clone(), few] {
        control.take((rows.capacity() * 8) as u64, "", "").unwrap();
        let sorted = phase("in order", &control, || base::rows::in_order(rows, 4, &control)).unwrap();
        control.give((sorted.len() * 8) as u64);
    }
    let robust = || columns::fit(&rows, 4, Scaling::Robust, &control);
    let found = phase("columns", &control, robust).unwrap();
    let points = phase("points", &control, || Points::new(&rows, &found, &control)).unwrap();
    let params = kmeans::Params {
        clusters: 20,
        starts: 1,
        max_iterations: 3,
        threads: THREADS,
        ..kmeans::Params::default()
    };
    let groups = phase("k-means", &control, || kmeans::fit(&points, &params, &mut |_, _, _| ())).unwrap();
    // More clusters than distinct rows: all rows are looked at.
    let few: Vec<f64> = rows.iter().map(|number| number % 3.0).collect();
    let columns = columns::fit(&few, 4, Scaling::None, &control).unwrap();
    let same = Points::new(&few, &columns, &control).unwrap();
    assert!(phase("distinct", &control, || same.distinct(1000)).unwrap() <= 81);
    let labels = &groups.labels;
    let value =
        phase("silhouette", &control, || kmeans::silhouette(&points, labels, 20, kmeans::SAMPLE, 1, THREADS));
    assert!(value.unwrap().is_some());
    let of_all = || profile(&rows, found.len(), labels, &groups.distances, 20, &control);
    assert_eq!(phase("profile", &control, of_all).unwrap().len(), 20);
}
