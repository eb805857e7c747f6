//! Memory that is refused, by the budget or by the system, ends a training with an error: an abort would restart the
//! customer's whole server. And what the budget says is what the system really gives.
//!
//! The allocator of this program counts, and refuses a large allocation of our choice.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use base::ids::{IdKind, Ids};
use base::image::Image;
use base::rows::in_order;
use base::{Control, Error, Result};
use features::columns::{self, Scaling};
use features::{Features, Kind, RowsBuilder};
use recommenders::als::{self, Params, Solver, explicit};
use recommenders::answers::Filter;
use recommenders::content::{Content, place};
use recommenders::estimate::{Plan, estimate};
use recommenders::evaluate::{evaluate, evaluate_neighbours};
use recommenders::factors::Factors;
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, split, transpose};
use recommenders::item_knn::{self, Similarity};
use recommenders::partition::{PartitionBuilder, cut};
use recommenders::popularity::decayed;
use recommenders::recommender::{Arrangement, Eligibility, Encoded, Learned, Parts, Recommender, encode};
use recommenders::update::{merge, moved, moved_with_squares};
use recommenders::{ease, elsa, sgd};
use segments::kmeans::{self, Points};
use segments::profile::profile;
use segments::{KMeansParts, encode_kmeans};

/// Smaller ones may abort: buffers of a fixed size. What grows with the rows, users or items of the test is larger, but
/// for a bit an item.
const LARGE: usize = 1 << 14;

/// From this size on the system grows memory by moving its pages, not its contents.
const MAPPED: usize = 128 << 10;

struct Counting;

static HELD: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
/// How many large allocations succeed before one is refused; negative: all.
static LEFT: AtomicI64 = AtomicI64::new(-1);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn refuses(size: usize) -> bool {
        if size < LARGE || LEFT.load(Relaxed) < 0 {
            return false;
        }
        let last = LEFT.fetch_sub(1, Relaxed) == 0;
        if last {
            REFUSED.fetch_add(1, Relaxed);
        }
        last
    }

    fn hold(size: i64) {
        let held = HELD.fetch_add(size, Relaxed) + size;
        PEAK.fetch_max(held, Relaxed);
    }
}

// SAFETY: the system allocator does the work; null is an allowed answer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::hold(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::hold(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Nobody is refused who gives memory back.
        if size > layout.size() && Self::refuses(size) {
            return std::ptr::null_mut();
        }
        let more = size as i64 - layout.size() as i64;
        if layout.size() < MAPPED {
            // While the contents move, both homes may be held.
            Self::hold(size as i64);
            Self::hold(-(layout.size() as i64));
        } else {
            Self::hold(more);
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::hold(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counters are the program's: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A size of input, and its options.
#[derive(Debug, Clone, Copy)]
struct Case {
    users: u64,
    items: u64,
    rows: u64,
    kind: IdKind,
    time: bool,
    factors: usize,
    solver: Solver,
    threads: usize,
}

const CASE: Case = Case {
    users: 12_000,
    items: 10_000,
    rows: 100_000,
    kind: IdKind::Integer,
    time: true,
    factors: 8,
    solver: Solver::ConjugateGradient,
    threads: 2,
};

/// Users that the holdouts sample, and their cutoffs.
const SAMPLE: usize = 3000;
const CUTOFFS: [usize; 2] = [1, 10];

impl Case {
    fn ids(&self, numbers: impl Iterator<Item = u64>) -> Ids {
        match self.kind {
            IdKind::Integer => Ids::Integer(numbers.map(|n| n as i64).collect()),
            IdKind::Fixed16 => Ids::Fixed16(numbers.map(|n| u128::from(n).to_le_bytes()).collect()),
            IdKind::Bytes => {
                let (mut offsets, mut bytes) = (vec![0], Vec::new());
                for number in numbers {
                    bytes.extend_from_slice(format!("number {number}").as_bytes());
                    offsets.push(bytes.len() as u64);
                }
                Ids::Bytes { offsets, bytes }
            }
        }
    }

    /// Reads and sorts. A third of the rows is the first user's; some pairs come twice, and one very often.
    fn read(&self, control: &Control) -> Result<Interactions> {
        let mixed = |n: u64| (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let user = |n: u64| if n.is_multiple_of(3) { 0 } else { mixed(n) % self.users };
        let item = |n: u64| if n.is_multiple_of(7) { 5 } else { mixed(n + self.rows) % self.items };
        let mut builder = InteractionsBuilder::new(self.kind, self.kind, self.time, control);
        // Batches below the size of what is refused.
        for from in (0..self.rows).step_by(512) {
            let rows = from..self.rows.min(from + 512);
            let (users, items) = (self.ids(rows.clone().map(user)), self.ids(rows.clone().map(item)));
            let times: Vec<i64> = rows.filter(|_| self.time).map(|n| mixed(n) as i64).collect();
            builder.push(users.view(), items.view(), &vec![1.0; users.len()], &times)?;
        }
        builder.finish(self.threads)
    }

    fn params(&self) -> Params {
        let Self { factors, solver, threads, .. } = *self;
        Params { factors, solver, iterations: 1, threads, ..Params::default() }
    }

    fn rating_params(&self) -> explicit::Params {
        explicit::Params { als: self.params(), ..explicit::Params::default() }
    }

    /// A model of ratings, which is given back.
    fn rate(&self, data: &Interactions, control: &Control) -> Result<()> {
        let (params, users, items) = (self.rating_params(), &data.user_items, &data.item_users);
        let begin = als::start(users.rows(), items.rows(), &params.als, control)?;
        let model = explicit::fit(users, items, begin, &params, control, &mut |_, _| ())?;
        control.give(model.bytes());
        Ok(())
    }

    fn fit(&self, from: &base::Csr, transposed: &base::Csr, control: &Control) -> Result<Factors> {
        let begin = als::start(from.rows(), transposed.rows(), &self.params(), control)?;
        als::fit(from, transposed, begin, &self.params(), control, &mut |_, _| ())
    }

    /// All phases, as a trainer runs them.
    fn train(&self, control: &Control) -> Result<()> {
        let data = self.read(control)?;
        self.rate(&data, control)?;
        self.train_from(&data, control)
    }

    fn train_from(&self, data: &Interactions, control: &Control) -> Result<()> {
        let holdout = if self.time { Holdout::Time } else { Holdout::Hash };
        let split = split(data, holdout, 1, SAMPLE, control)?;
        let item_users = transpose(&split.train, data.items.len(), self.threads, control)?;
        let factors = self.fit(&split.train, &item_users, control)?;
        evaluate(&split, &item_users, &factors, &CUTOFFS, self.threads, control)?;
        control.give(split.bytes() + item_users.bytes() + factors.bytes());
        drop((split, item_users, factors));
        let factors = self.fit(&data.user_items, &data.item_users, control)?;
        let parts = Parts {
            users: &data.users,
            items: &data.items,
            user_items: &data.user_items,
            item_users: &data.item_users,
            learned: Learned::Factors(&factors),
            regularization: 0.1,
            alpha: 1.0,
            user_class: 1,
            item_class: 1,
        };
        Encoded::new(parts, Content::default(), None, self.threads, control)?.layout([7; 16], control)?;
        Ok(())
    }
}

#[test]
fn every_refused_allocation_is_an_error() {
    let _turn = turn();
    let cases = [(IdKind::Integer, true, 1), (IdKind::Fixed16, false, 2), (IdKind::Bytes, true, 2)];
    for (kind, time, threads) in cases {
        // So many users that even a number for each 32 of them is large.
        let case = Case { users: 200_000, items: 12_000, rows: 200_000, kind, time, threads, ..CASE };
        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            LEFT.store(points, Relaxed);
            let outcome = case.train(&Control::unlimited());
            LEFT.store(-1, Relaxed);
            if REFUSED.load(Relaxed) == 0 {
                assert_eq!(outcome, Ok(()));
                break;
            }
            assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{case:?} {points}: {outcome:?}");
            points += 1;
        }
        println!("{kind:?}, {threads} threads: {points} allocations of {LARGE} bytes and more");
        assert!(points > 100, "{points}");
    }
}

#[test]
fn a_limit_is_kept_or_refused() {
    let _turn = turn();
    let large = Case { rows: 1_000_000, users: 50_000, items: 30_000, factors: 40, ..CASE };
    let exact = Case { solver: Solver::Cholesky, factors: 64, ..CASE };
    for case in [CASE, exact, large, Case { kind: IdKind::Bytes, time: false, threads: 4, ..large }] {
        let free = Control::unlimited();
        case.train(&free).unwrap();
        let enough = free.peak();
        let mut successes = 0;
        for step in 0..=24 {
            let limit = enough * step / 22;
            let control = Control::new(limit);
            let before = HELD.load(Relaxed);
            PEAK.store(before, Relaxed);
            let outcome = case.train(&control);
            let really = (PEAK.load(Relaxed) - before) as u64;
            assert!(control.peak() <= limit, "{case:?} {limit}");
            assert!(really <= limit + limit / 10 + (2 << 20), "{case:?}: {really} of {limit}");
            assert_eq!(HELD.load(Relaxed) / 4096, before / 4096);
            match outcome {
                Ok(()) => successes += 1,
                Err(error) => assert!(matches!(error, Error::Memory { .. }), "{case:?}: {error:?}"),
            }
        }
        println!("{case:?}: {} MB, {successes} of 25 limits are enough", enough >> 20);
        assert!((3..=5).contains(&successes), "{successes}");
    }
}

/// Rows of three features: half of them different, a quarter one and the same.
fn rows(count: usize) -> Vec<f64> {
    let mixed = |n: u64| ((n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as f64;
    (0..count as u64 * 3).map(|n| if n / 3 % 4 == 0 { 1.0 } else { mixed(n) }).collect()
}

/// What forms segments, as the trainer runs it: rows in their order, scaled, parted, compared, described.
fn form_segments(count: usize, scaling: Scaling, threads: usize, control: &Control) -> Result<()> {
    let values = rows(count);
    let bytes = (values.capacity() * 8) as u64;
    control.take(bytes, "reading the features", "")?;
    let values = in_order(values, 3, control)?;
    let columns = columns::fit(&values, 3, scaling, control)?;
    let points = Points::new(&values, &columns, control)?;
    let kept = points.rows() as u64 * 16;
    control.take(kept, "forming the segments", "")?;
    let params = kmeans::Params { clusters: 8, starts: 2, max_iterations: 3, threads, ..Default::default() };
    let clusters = kmeans::fit(&points, &params, &mut |_, _, _| ())?;
    kmeans::silhouette(&points, &clusters.labels, 8, 2000, 1, threads)?;
    profile(&values, 3, &clusters.labels, &clusters.distances, 8, control)?;
    drop(points);
    control.give(kept);
    let parts = KMeansParts {
        features: &["a", "b", "c"],
        columns: &columns,
        scaling,
        clusters: &clusters,
        ids: &[1, 2, 3, 4, 5, 6, 7, 8],
        labels: &["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_string),
        silhouette: None,
        id_class: 0,
    };
    encode_kmeans(&parts, [7; 16], control)?;
    Ok(())
}

#[test]
fn every_refused_allocation_of_segments_is_an_error() {
    let _turn = turn();
    for (scaling, threads) in [(Scaling::Standard, 1), (Scaling::Robust, 2)] {
        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            // The rows themselves come from the glue.
            LEFT.store(points + 1, Relaxed);
            let outcome = form_segments(40_000, scaling, threads, &Control::unlimited());
            LEFT.store(-1, Relaxed);
            if REFUSED.load(Relaxed) == 0 {
                assert_eq!(outcome, Ok(()));
                break;
            }
            assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{scaling:?} {points}: {outcome:?}");
            points += 1;
        }
        println!("{scaling:?}, {threads} threads: {points} allocations of {LARGE} bytes and more");
        assert!(points >= 6, "{points}");
    }
}

#[test]
fn a_limit_of_segments_is_kept_or_refused() {
    let _turn = turn();
    for (count, scaling, threads) in [(400_000, Scaling::Standard, 1), (400_000, Scaling::Robust, 2)] {
        let free = Control::unlimited();
        form_segments(count, scaling, threads, &free).unwrap();
        let enough = free.peak();
        let mut successes = 0;
        for step in 8..=24 {
            let limit = enough * step / 22;
            let control = Control::new(limit);
            let before = HELD.load(Relaxed);
            PEAK.store(before, Relaxed);
            let outcome = form_segments(count, scaling, threads, &control);
            let really = (PEAK.load(Relaxed) - before) as u64;
            assert!(control.peak() <= limit, "{scaling:?} {limit}");
            assert!(really <= limit + limit / 10 + (2 << 20), "{scaling:?}: {really} of {limit}");
            assert_eq!(HELD.load(Relaxed) / 4096, before / 4096);
            match outcome {
                Ok(()) => successes += 1,
                Err(error) => assert!(matches!(error, Error::Memory { .. }), "{scaling:?}: {error:?}"),
            }
        }
        println!("{scaling:?}: {} MB, {successes} of 17 limits are enough", enough >> 20);
        assert_eq!(successes, 3);
    }
}

#[test]
fn the_estimate_is_just_above_what_is_taken() {
    let _turn = turn();
    let large = Case { rows: 1_000_000, users: 50_000, items: 30_000, ..CASE };
    let wide = Case { users: 100_000, items: 2000, rows: 300_000, factors: 100, ..CASE };
    let long = Case { users: 500, items: 200_000, rows: 900_000, factors: 3, time: false, ..CASE };
    let exact = Case { threads: 4, factors: 64, solver: Solver::Cholesky, ..large };
    for case in [
        large,
        Case { threads: 4, factors: 64, ..large },
        exact,
        wide,
        Case { solver: Solver::Cholesky, factors: 300, users: 10_000, ..wide },
        long,
        Case { kind: IdKind::Bytes, ..long },
    ] {
        let control = Control::unlimited();
        let data = case.read(&control).unwrap();
        let ratings = Control::unlimited();
        case.rate(&data, &ratings).unwrap();
        let (taken, params) = (ratings.peak(), case.rating_params());
        let all = explicit::need(data.users.len(), data.items.len(), &params).peak;
        assert!(all >= taken && all <= taken + taken / 4 + (1 << 20), "{case:?}: {all}, {taken} for ratings");
        // The budget's peak of what follows alone.
        let rest = Control::unlimited();
        case.train_from(&data, &rest).unwrap();
        let fit = als::need(data.users.len(), data.items.len(), &case.params());
        let (factors, threads) = (case.factors, case.threads);
        let holdout = Some((SAMPLE, &CUTOFFS[..]));
        let expected = estimate(&data, &Plan { factors, fit, threads, holdout });
        let (all, peak) = (expected.holdout.max(expected.training), rest.peak());
        println!("{case:?}: {expected:?}, {peak} taken");
        assert!(all >= peak && all <= peak + peak / 4 + (1 << 20), "{case:?}: {all} expected, {peak} taken");
    }
}

/// Factorization by stochastic gradients, with everything that takes memory.
fn stochastic(
    data: &Interactions,
    params: &sgd::Params,
    validated: bool,
    control: &Control,
) -> Result<sgd::Fitted> {
    let (users, items) = (data.users.len(), data.items.len());
    let start = sgd::start(users, items, params, control)?;
    let bytes = start.bytes();
    let some: Vec<u32> = (0..100).collect();
    let held = base::Csr {
        offsets: (0..=100).collect(),
        indices: (0..100).map(|n| n * 31).collect(),
        values: vec![1.0; 100],
    };
    let validation = if validated {
        sgd::Validation::HeldOut { users: &some, entries: &held }
    } else {
        sgd::Validation::None
    };
    let (user_items, item_users) = (&data.user_items, &data.item_users);
    let fitted = sgd::fit(user_items, item_users, start, params, validation, control, &mut |_| ());
    if fitted.is_err() {
        control.give(bytes);
    }
    fitted
}

/// With batches of Adam, which keep the most, and without anything.
fn stochastic_cases() -> [(sgd::Params, bool); 3] {
    use sgd::{Loss, Optimizer};
    let of = |loss| sgd::Params { factors: 20, iterations: 2, threads: 2, ..sgd::Params::of(loss) };
    [
        (sgd::Params { optimizer: Optimizer::Adam, batch_size: 64, ..of(Loss::Logistic) }, true),
        (sgd::Params { threads: 1, ..of(Loss::Warp) }, true),
        (sgd::Params { optimizer: Optimizer::Sgd, biases: false, ..of(Loss::Bpr) }, false),
    ]
}

#[test]
fn stochastic_gradients_take_what_they_say_and_no_refusal_is_fatal() {
    let _turn = turn();
    let unlimited = Control::unlimited();
    let data = Case { time: false, ..CASE }.read(&unlimited).unwrap();
    for (params, validated) in stochastic_cases() {
        let control = Control::unlimited();
        let before = HELD.load(Relaxed);
        PEAK.store(before, Relaxed);
        let fitted = stochastic(&data, &params, validated, &control).unwrap();
        let (really, peak) = ((PEAK.load(Relaxed) - before) as u64, control.peak());
        let need =
            sgd::need(data.users.len(), data.items.len(), data.user_items.entries(), &params, validated);
        println!("{params:?}: {need:?}, {peak} taken, {really} held");
        assert_eq!((need.result, control.used()), (fitted.bytes(), fitted.bytes()));
        assert!(need.peak >= peak && need.peak <= peak + peak / 4 + (1 << 18));
        assert!(really <= peak + (1 << 18));
        // Folding holds both, and then only the new.
        let folded = fitted.model.folded(&control).unwrap();
        assert_eq!(control.used(), folded.bytes() + fitted.squares.bytes());
        assert_eq!(folded.factors, params.factors + usize::from(params.biases));
        drop(folded);

        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            LEFT.store(points, Relaxed);
            let control = Control::unlimited();
            let outcome = stochastic(&data, &params, validated, &control).map(|fitted| fitted.bytes());
            LEFT.store(-1, Relaxed);
            if REFUSED.load(Relaxed) == 0 {
                assert_eq!(outcome, Ok(control.used()));
                break;
            }
            assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{params:?} {points}: {outcome:?}");
            assert!(control.used() <= need.result, "{}", control.used());
            points += 1;
        }
        assert!(points >= 6, "{points}");
        for limit in [0, peak / 4, peak / 2, peak - 1] {
            let control = Control::new(limit);
            let outcome = stochastic(&data, &params, validated, &control);
            assert!(matches!(outcome, Err(Error::Memory { .. })), "{limit}: {outcome:?}");
            assert_eq!(control.used(), 0);
        }
    }
}

/// The phases of an item-based trainer, with a holdout.
fn train_neighbours(
    data: &Interactions,
    by_inversion: bool,
    threads: usize,
    control: &Control,
) -> Result<()> {
    let split = split(data, Holdout::Time, 1, SAMPLE, control)?;
    let items = data.items.len();
    let item_users = transpose(&split.train, items, threads, control)?;
    if by_inversion {
        let params = ease::Params { threads, ..ease::Params::default() };
        let model = ease::fit(&split.train, &item_users, &params, control)?;
        evaluate_neighbours(&split, &item_users, model.view(), false, &CUTOFFS, threads, control)?;
        control.give(model.bytes());
        let params = elsa::Params {
            threads,
            factors: 20,
            iterations: 2,
            batch_size: Some(500),
            ..elsa::Params::default()
        };
        let model = elsa::fit(&split.train, &item_users, &params, control, &mut |_, _| ())?;
        evaluate(&split, &item_users, &model, &CUTOFFS, threads, control)?;
        control.give(model.bytes());
    } else {
        for similarity in [Similarity::Cosine, Similarity::TfIdf, Similarity::Bm25 { k1: 1.2, b: 0.75 }] {
            let params = item_knn::Params { similarity, threads, ..item_knn::Params::default() };
            let model = item_knn::fit(&split.train, &item_users, &params, control)?;
            control.give(model.bytes());
        }
    }
    let times = data.times.as_deref().unwrap_or_default();
    let popular = decayed(&data.user_items, items, times, None, 1e6, control)?;
    control.give(popular.bytes() + split.bytes() + item_users.bytes());
    Ok(())
}

#[test]
fn every_refused_allocation_of_item_based_trainers_is_an_error() {
    let _turn = turn();
    // So many items that a number for each of them is large; for the inversion, whose time is their cube, a double.
    for (items, by_inversion, threads) in [(2100, true, 1), (2100, true, 2), (4500, false, 2)] {
        let case = Case { users: 9000, items, rows: 30_000, ..CASE };
        let data = case.read(&Control::unlimited()).unwrap();
        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            LEFT.store(points, Relaxed);
            let outcome = train_neighbours(&data, by_inversion, threads, &Control::unlimited());
            LEFT.store(-1, Relaxed);
            if REFUSED.load(Relaxed) == 0 {
                assert_eq!(outcome, Ok(()));
                break;
            }
            assert!(
                matches!(outcome, Err(Error::NoMemory { .. })),
                "{items} {threads} {points}: {outcome:?}"
            );
            points += 1;
        }
        println!("{items} items, {threads} threads: {points} allocations of {LARGE} bytes and more");
        assert!(points > 15, "{points}");
    }
}

#[test]
fn item_based_trainers_keep_a_limit_and_their_estimates() {
    let _turn = turn();
    let case = Case { users: 9000, items: 1500, rows: 60_000, ..CASE };
    let data = case.read(&Control::unlimited()).unwrap();
    let (users, items) = (data.users.len(), data.items.len());
    for threads in [1, 3] {
        let train = |name: &str, need: base::need::Need, fit: &dyn Fn(&Control) -> Result<u64>| {
            let free = Control::unlimited();
            let result = fit(&free).unwrap();
            let peak = free.peak();
            println!("{name}, {threads} threads: {need:?}, {peak} taken, {result} kept");
            assert!(need.peak >= peak && need.peak <= peak + peak / 4 + (1 << 20), "{need:?} {peak}");
            assert!(need.result >= result);
            for step in 1..=9 {
                let limit = need.peak * step / 8;
                let control = Control::new(limit);
                let before = HELD.load(Relaxed);
                PEAK.store(before, Relaxed);
                let outcome = fit(&control);
                let really = (PEAK.load(Relaxed) - before) as u64;
                assert!(
                    control.peak() <= limit && really <= limit + limit / 10 + (1 << 20),
                    "{really} of {limit}"
                );
                match outcome {
                    Ok(_) => assert!(limit >= peak),
                    Err(error) => {
                        assert!(matches!(error, Error::Memory { .. }) && limit < need.peak, "{error:?}")
                    }
                }
            }
        };
        let params = ease::Params { threads, ..ease::Params::default() };
        train("EASE", ease::need(items, &params), &|control| {
            Ok(ease::fit(&data.user_items, &data.item_users, &params, control)?.bytes())
        });
        let params = elsa::Params { threads, factors: 50, iterations: 2, ..elsa::Params::default() };
        train("ELSA", elsa::need(users, items, data.user_items.entries(), &params), &|control| {
            Ok(elsa::fit(&data.user_items, &data.item_users, &params, control, &mut |_, _| ())?.bytes())
        });
        let params = item_knn::Params { threads, ..item_knn::Params::default() };
        train("item-kNN", item_knn::need(users, items, &params), &|control| {
            Ok(item_knn::fit(&data.user_items, &data.item_users, &params, control)?.bytes())
        });
    }
}

#[test]
fn every_refused_allocation_of_an_exact_fit_is_an_error() {
    let _turn = turn();
    let case = Case { users: 3000, items: 1000, rows: 20_000, factors: 64, solver: Solver::Cholesky, ..CASE };
    let data = case.read(&Control::unlimited()).unwrap();
    let fits: [fn(&Case, &Interactions) -> Result<()>; 2] = [
        |case, data| case.fit(&data.user_items, &data.item_users, &Control::unlimited()).map(|_| ()),
        |case, data| case.rate(data, &Control::unlimited()),
    ];
    for fit in fits {
        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            LEFT.store(points, Relaxed);
            let outcome = fit(&case, &data);
            LEFT.store(-1, Relaxed);
            if REFUSED.load(Relaxed) == 0 {
                assert_eq!(outcome, Ok(()));
                break;
            }
            assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{points}: {outcome:?}");
            points += 1;
        }
        println!("{points} allocations of {LARGE} bytes and more");
        assert!(points >= 10, "{points}");
    }
}

#[test]
fn an_update_keeps_a_limit_and_no_refusal_is_fatal() {
    let _turn = turn();
    for kind in [IdKind::Integer, IdKind::Bytes] {
        let case = Case { users: 40_000, items: 12_000, kind, time: false, ..CASE };
        let control = Control::unlimited();
        let data = case.read(&control).unwrap();
        let factors = case.fit(&data.user_items, &data.item_users, &control).unwrap();
        let parts = Parts {
            users: &data.users,
            items: &data.items,
            user_items: &data.user_items,
            item_users: &data.item_users,
            learned: Learned::Factors(&factors),
            regularization: 0.1,
            alpha: 1.0,
            user_class: 1,
            item_class: 1,
        };
        let image = encode(&parts, [7; 16], 1, &control).unwrap();
        let opened = Image::open(&image).unwrap();
        let model = Recommender::new(&opened).unwrap();
        // Every user is read again, and has twice as much of everything.
        let mut fresh = data.clone();
        fresh.user_items.values.iter_mut().for_each(|value| *value *= 2.0);
        let update = |control: &Control| -> Result<()> {
            let merged = merge(&model, data.users.view(), &fresh, case.threads, control)?;
            let Some(warm) = moved(&model, &merged, control)? else { return Ok(()) };
            let all = &merged.interactions;
            let changed = (&merged.users[..], &merged.items[..]);
            als::refine(&all.user_items, &all.item_users, warm, changed, &case.params(), control)?;
            let (params, Some(warm)) = (case.rating_params(), moved(&model, &merged, control)?) else {
                return Ok(());
            };
            explicit::refine(&all.user_items, &all.item_users, warm, changed, &params, control)?;
            Ok(())
        };
        keeps_limits(&format!("{kind:?}"), 30, &update);
    }
}

#[test]
fn an_update_by_stochastic_gradients_keeps_a_limit_and_no_refusal_is_fatal() {
    let _turn = turn();
    let case = Case { users: 40_000, items: 12_000, time: false, ..CASE };
    let control = Control::unlimited();
    let data = case.read(&control).unwrap();
    for (params, _) in stochastic_cases() {
        let fitted = stochastic(&data, &params, false, &control).unwrap();
        let (factors, squares) = fitted.folded(&control).unwrap();
        let parts = Parts {
            users: &data.users,
            items: &data.items,
            user_items: &data.user_items,
            item_users: &data.item_users,
            learned: Learned::Stochastic(&factors, &squares),
            regularization: 0.1,
            alpha: 1.0,
            user_class: 1,
            item_class: 1,
        };
        let image = encode(&parts, [7; 16], 1, &control).unwrap();
        let opened = Image::open(&image).unwrap();
        let model = Recommender::new(&opened).unwrap();
        let mut fresh = data.clone();
        fresh.user_items.values.iter_mut().for_each(|value| *value *= 2.0);
        let update = |control: &Control| -> Result<()> {
            let merged = merge(&model, data.users.view(), &fresh, case.threads, control)?;
            let warm = moved_with_squares(&model, &merged, control)?.unwrap();
            let all = &merged.interactions;
            let users = &merged.users[..1000];
            sgd::refine(&all.user_items, &all.item_users, warm, users, &params, control, &mut |_| ())?;
            Ok(())
        };
        keeps_limits(params.optimizer.word(), 20, &update);
    }
}

/// Every large allocation may be refused, and a limit holds.
fn keeps_limits(what: &str, least: i64, update: &dyn Fn(&Control) -> Result<()>) {
    let mut points = 0;
    loop {
        REFUSED.store(0, Relaxed);
        LEFT.store(points, Relaxed);
        let outcome = update(&Control::unlimited());
        LEFT.store(-1, Relaxed);
        if REFUSED.load(Relaxed) == 0 {
            assert_eq!(outcome, Ok(()));
            break;
        }
        assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{what} {points}: {outcome:?}");
        points += 1;
    }
    println!("{what}: {points} allocations of {LARGE} bytes and more");
    assert!(points > least, "{points}");
    let free = Control::unlimited();
    update(&free).unwrap();
    for step in 1..=11 {
        let limit = free.peak() * step / 10;
        let control = Control::new(limit);
        let before = HELD.load(Relaxed);
        PEAK.store(before, Relaxed);
        let outcome = update(&control);
        let really = (PEAK.load(Relaxed) - before) as u64;
        assert!(really <= limit + limit / 10 + (2 << 20), "{what}: {really} of {limit}");
        match outcome {
            Ok(()) => assert!(step >= 10),
            Err(error) => assert!(step < 10 && matches!(error, Error::Memory { .. }), "{error:?}"),
        }
    }
}

/// Images by factors and by neighbours, of which the first user has nearly all items.
fn images(data: &Interactions) -> [base::image::AlignedBytes; 2] {
    let control = Control::unlimited();
    let factors = CASE.fit(&data.user_items, &data.item_users, &control).unwrap();
    let params = item_knn::Params::default();
    let neighbours = item_knn::fit(&data.user_items, &data.item_users, &params, &control).unwrap();
    [Learned::Factors(&factors), Learned::Neighbours(&neighbours)].map(|learned| {
        let parts = Parts {
            users: &data.users,
            items: &data.items,
            user_items: &data.user_items,
            item_users: &data.item_users,
            learned,
            regularization: 0.1,
            alpha: 1.0,
            user_class: 1,
            item_class: 1,
        };
        encode(&parts, [7; 16], 2, &control).unwrap()
    })
}

#[test]
fn an_explanation_keeps_a_limit_and_no_refusal_is_fatal() {
    let _turn = turn();
    let data = CASE.read(&Control::unlimited()).unwrap();
    for image in images(&data) {
        let model = Recommender::new(&Image::open(&image).unwrap()).unwrap();
        let own = model.seen(0).len();
        assert!(own > 5000, "{own}");
        let mut points = 0;
        loop {
            REFUSED.store(0, Relaxed);
            let control = Control::unlimited();
            LEFT.store(points, Relaxed);
            let outcome = model.explain(0, 7, &control).map(|parts| parts.len());
            LEFT.store(-1, Relaxed);
            assert_eq!(control.used(), 0, "{points}");
            if REFUSED.load(Relaxed) == 0 {
                assert!(outcome.is_ok());
                break;
            }
            assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{points}: {outcome:?}");
            points += 1;
        }
        println!("{points} allocations of {LARGE} bytes and more");
        assert!(points >= 1, "{points}");
        let free = Control::unlimited();
        let before = HELD.load(Relaxed);
        PEAK.store(before, Relaxed);
        let parts = model.explain(0, 7, &free).unwrap();
        let really = (PEAK.load(Relaxed) - before) as u64;
        assert!(really <= free.peak() + (1 << 14), "{really} of {}", free.peak());
        assert!(parts.is_sorted_by(|a, b| a.contribution.abs() >= b.contribution.abs()));
        for limit in [0, free.peak() / 2, free.peak() - 1] {
            let control = Control::new(limit);
            let outcome = model.explain(0, 7, &control);
            assert!(matches!(outcome, Err(Error::Memory { .. })), "{limit}");
            assert_eq!(control.used(), 0);
        }
    }
}

/// No budget: what a request arranges is bounded by how far it reads the ranking, and that by what it asks for.
#[test]
fn arranging_holds_little_beside_the_ranking() {
    let _turn = turn();
    let data = CASE.read(&Control::unlimited()).unwrap();
    for image in images(&data) {
        let model = Recommender::new(&Image::open(&image).unwrap()).unwrap();
        for diversity in [0.0, 0.5] {
            let mut deepest = 0;
            let ranking = |n: usize| {
                let list = model.recommend(Some(1), n, Filter::default());
                deepest = deepest.max(list.len());
                list
            };
            let mut look = |items: &[u32]| -> std::result::Result<Vec<Eligibility>, ()> {
                let stand = |&item: &u32| Eligibility { admitted: true, categories: vec![item % 40] };
                Ok(items.iter().map(stand).collect())
            };
            // Of forty categories one item each: the ranking is read to its end.
            let arrangement = Arrangement { offset: 0, k: 50, diversity, most_per_category: 1 };
            let before = HELD.load(Relaxed);
            PEAK.store(before, Relaxed);
            let list = model.arrange(arrangement, ranking, Some(&mut look), &mut || ()).unwrap();
            let really = (PEAK.load(Relaxed) - before) as usize;
            assert_eq!(list.len(), 40);
            assert!(deepest > 6000, "{deepest}");
            assert!(really <= 250 * deepest, "{really} bytes for {deepest} items");
        }
    }
}

/// Features of items, half of which are trained: a number, a category and a tag each.
fn known_of_items(control: &Control) -> Result<Features> {
    let kinds = [Kind::Number, Kind::Category, Kind::Tags];
    let mut builder = RowsBuilder::new(IdKind::Integer, &kinds, control);
    for n in 0..9000u64 {
        builder.start(base::ids::IdRef::Integer(n as i64))?;
        builder.number(0, n as f64);
        builder.word(1, format!("category {}", n % 50).as_bytes())?;
        builder.word(2, format!("tag {}", n * n % 4000).as_bytes())?;
    }
    builder.finish()
}

/// Reads features and places items that were not trained beside those that were.
fn join(control: &Control) -> Result<()> {
    let case = Case { users: 4500, items: 4500, rows: 20_000, ..CASE };
    let mut data = case.read(&Control::unlimited())?;
    let numbers = |rows: usize| (0..rows * 8).map(|n| (n % 13) as f32).collect::<Vec<f32>>();
    let (users, items) = (numbers(data.users.len()), numbers(data.items.len()));
    let mut factors = Factors { factors: 8, users, items };
    let features = known_of_items(control)?;
    let placed = place(&mut data, &mut factors, [None, Some(features)], 2, control)?;
    assert!(placed.items.len() > 4000 && data.items.len() == 9000);
    Ok(())
}

#[test]
fn every_refused_allocation_of_features_is_an_error() {
    let _turn = turn();
    // Reading the interactions has a test of its own: its allocations come first.
    let mut points = 0;
    loop {
        REFUSED.store(0, Relaxed);
        let control = Control::unlimited();
        LEFT.store(points, Relaxed);
        let outcome = known_of_items(&control);
        LEFT.store(-1, Relaxed);
        if REFUSED.load(Relaxed) == 0 {
            assert_eq!(outcome.map(|features| features.bytes()), Ok(control.used()));
            break;
        }
        assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{points}");
        assert_eq!(control.used(), 0, "{points}");
        points += 1;
    }
    println!("{points} allocations of {LARGE} bytes and more");
    assert!(points >= 15, "{points}");
    let free = Control::unlimited();
    assert_eq!(join(&free), Ok(()));
    let peak = free.peak();
    for limit in [0, peak / 4, peak / 2, peak - 1] {
        assert!(matches!(join(&Control::new(limit)), Err(Error::Memory { .. })), "{limit}");
    }
}

/// Divides users into parts, and makes the image of one.
fn divide(data: &Interactions, control: &Control) -> Result<u64> {
    let mut builder = PartitionBuilder::new(data.users.view(), control)?;
    for id in 0..200_000 {
        builder.put(base::ids::IdRef::Integer(id), (id % 2) as u32)?;
    }
    let (partition, others) = builder.finish(vec!["a".into(), "b".into()])?;
    let slices = partition.slices(&data.item_users, control)?;
    let mut held = (partition.of_user.len() + others.parts.len()) as u64 * 4 + others.ids.bytes();
    held += slices.iter().map(recommenders::partition::Slice::bytes).sum::<u64>();
    let (user_items, _) = cut(&data.user_items, None, &slices[0], data.items.len(), control)?;
    held += user_items.bytes();
    assert_eq!(control.used(), held);
    Ok(held)
}

#[test]
fn every_refused_allocation_of_parts_is_an_error() {
    let _turn = turn();
    let case = Case { users: 100_000, items: 50_000, rows: 300_000, ..CASE };
    let data = case.read(&Control::unlimited()).unwrap();
    let mut points = 0;
    loop {
        REFUSED.store(0, Relaxed);
        let control = Control::unlimited();
        LEFT.store(points, Relaxed);
        let outcome = divide(&data, &control);
        LEFT.store(-1, Relaxed);
        if REFUSED.load(Relaxed) == 0 {
            assert_eq!(outcome, Ok(control.used()));
            break;
        }
        assert!(matches!(outcome, Err(Error::NoMemory { .. })), "{points}: {outcome:?}");
        points += 1;
    }
    assert!(points >= 10, "{points}");
    let free = Control::unlimited();
    divide(&data, &free).unwrap();
    let peak = free.peak();
    for limit in [0, peak / 4, peak / 2, peak - 1] {
        assert!(matches!(divide(&data, &Control::new(limit)), Err(Error::Memory { .. })), "{limit}");
    }
}
