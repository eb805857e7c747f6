//! Models of segments inside one image, served as one, against each of them served alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::ids::{IdKind, IdRef, Ids, IdsRef};
use base::image::{AlignedBytes, Image};
use base::{Control, Csr};
use recommenders::als::{Params, fit, start};
use recommenders::answers::{Filter, Recommendation, Source};
use recommenders::content::Content;
use recommenders::evaluate::{self, Part, Plan, Records, record};
use recommenders::factors::Factors;
use recommenders::interactions::{Interactions, InteractionsBuilder, Split, transpose};
use recommenders::metrics::rank_metrics;
use recommenders::neighbours::Neighbours;
use recommenders::partition::{NONE, Partition, Slice, cut};
use recommenders::recommender::{
    Learned, OfSegments, Parts, Recommender, encode, encode_segment, encode_with,
};
use recommenders::{ease, popularity};

/// Users 0..40 in four segments by their number modulo 4, the last of which has no model; those from 36 on in none. Those of
/// the first two segments choose among the same twenty items and differ in what goes with what; the third has ten of its own.
fn rows() -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..40i64 {
        for n in 0..20i64 {
            let item = match user % 4 {
                0 if (n + user / 4) % 2 == 0 => n,
                1 if (n / 10 + user / 4) % 2 == 0 => n,
                2 if (n + user) % 3 == 0 => 20 + n % 10,
                3 if (n * 3 + user) % 5 < 2 => n,
                _ => continue,
            };
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[1.0], &[]).unwrap();
        }
    }
    builder.finish(1).unwrap()
}

fn partition(users: usize) -> Partition {
    let names = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
    let of = |user: u32| if user < 36 { user % 4 } else { NONE };
    Partition { names, of_user: (0..users as u32).map(of).collect() }
}

#[derive(Clone, Copy)]
enum Kind {
    Als,
    Ease,
}

enum Fitted {
    Factors(Factors),
    Neighbours(Neighbours),
}

impl Fitted {
    fn new(kind: Kind, user_items: &Csr, item_users: &Csr) -> Self {
        let control = Control::unlimited();
        match kind {
            Kind::Als => {
                let params = Params { factors: 4, iterations: 5, ..Params::default() };
                let begin = start(user_items.rows(), item_users.rows(), &params, &control).unwrap();
                let fitted = fit(user_items, item_users, begin, &params, &control, &mut |_, _| ());
                Self::Factors(fitted.unwrap())
            }
            Kind::Ease => {
                let params = ease::Params { regularization: 1.0, ..ease::Params::default() };
                Self::Neighbours(ease::fit(user_items, item_users, &params, &control).unwrap())
            }
        }
    }

    fn learned(&self) -> Learned<'_> {
        match self {
            Self::Factors(factors) => Learned::Factors(factors),
            Self::Neighbours(neighbours) => Learned::Neighbours(neighbours),
        }
    }

    fn measured(&self) -> evaluate::Learned<'_> {
        match self {
            Self::Factors(factors) => evaluate::Learned::Factors { factors, fold: params() },
            Self::Neighbours(neighbours) => {
                evaluate::Learned::Neighbours { neighbours: neighbours.view(), weighted: false }
            }
        }
    }
}

fn params() -> (f64, f64) {
    let params = Params::default();
    (params.regularization, params.alpha)
}

/// The image of a segment, with a model of its own or without.
fn segment(kind: Option<Kind>, data: &Interactions, slice: &Slice) -> AlignedBytes {
    let control = Control::unlimited();
    let (user_items, _) = cut(&data.user_items, None, slice, data.items.len(), &control).unwrap();
    let item_users = transpose(&user_items, slice.items.len(), 1, &control).unwrap();
    match kind {
        Some(kind) => {
            let fitted = Fitted::new(kind, &user_items, &item_users);
            let sides = (&user_items, &item_users);
            encode_segment(slice, sides, fitted.learned(), params(), 1, &control).unwrap()
        }
        None => {
            let popular = popularity::plain(&item_users, &control).unwrap();
            let nobody = Csr { offsets: vec![0], ..Csr::default() };
            let nothing = Csr { offsets: vec![0; slice.items.len() + 1], ..Csr::default() };
            let learned = Learned::Popular(&popular);
            encode_segment(slice, (&nobody, &nothing), learned, (0.0, 0.0), 1, &control).unwrap()
        }
    }
}

struct Built {
    data: Interactions,
    slices: Vec<Slice>,
    images: Vec<AlignedBytes>,
    whole: AlignedBytes,
    alone: AlignedBytes,
}

fn build(kind: Kind) -> Built {
    let data = rows();
    let control = Control::unlimited();
    let partition = partition(data.users.len());
    let slices = partition.slices(&data.item_users, &control).unwrap();
    let images: Vec<_> = slices
        .iter()
        .enumerate()
        .map(|(at, slice)| segment((at < 3).then_some(kind), &data, slice))
        .collect();
    let fitted = Fitted::new(kind, &data.user_items, &data.item_users);
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: fitted.learned(),
        regularization: params().0,
        alpha: params().1,
        user_class: 3,
        item_class: 3,
    };
    let alone = encode(&parts, [1; 16], 1, &control).unwrap();
    let (members, of_member) = (Ids::Integer(vec![100, 101, 102]), [2, 4, NONE]);
    let segments =
        OfSegments { partition: &partition, images: &images, members: &members, of_member: &of_member };
    let whole = encode_with(&parts, Content::default(), Some(segments), [2; 16], 1, &control).unwrap();
    Built { data, slices, images, whole, alone }
}

impl Built {
    fn with<'a>(
        &'a self,
        body: impl FnOnce(&Recommender<'_>, &Recommender<'_>, &dyn Fn(usize) -> Recommender<'a>),
    ) {
        let (whole, alone) = (Image::open(&self.whole).unwrap(), Image::open(&self.alone).unwrap());
        let (whole, alone) = (Recommender::new(&whole).unwrap(), Recommender::new(&alone).unwrap());
        let of = |segment: usize| Recommender::new(&Image::open(&self.images[segment]).unwrap()).unwrap();
        whole.check(&Control::unlimited()).unwrap();
        body(&whole, &alone, &of);
    }

    /// The answer of a segment alone, as rows of the whole.
    fn expected(&self, segment: usize, found: Vec<Recommendation>) -> Vec<Recommendation> {
        let out = |each: Recommendation| Recommendation {
            item: self.slices[segment].items[each.item as usize],
            source: if each.source == Source::Popular { Source::Segment } else { each.source },
            ..each
        };
        found.into_iter().map(out).collect()
    }

    fn local(&self, segment: usize, items: &[u32]) -> Vec<u32> {
        self.slices[segment].local(items).map(|(_, row)| row).collect()
    }
}

#[test]
fn each_user_is_served_by_the_model_of_the_segment() {
    for kind in [Kind::Als, Kind::Ease] {
        let built = build(kind);
        built.with(|whole, alone, of| {
            assert_eq!(whole.segments(), (5, 3));
            let all = whole.recommend_all(0..40, 5, 2, &Control::unlimited()).unwrap();
            for user in 0..40u32 {
                let (found, segment) = (whole.recommend(Some(user), 5, Filter::default()), user as usize % 4);
                let expected = if user < 36 && segment < 3 {
                    let row = built.slices[segment].users.binary_search(&user).unwrap() as u32;
                    built.expected(segment, of(segment).recommend(Some(row), 5, Filter::default()))
                } else {
                    alone.recommend(Some(user), 5, Filter::default())
                };
                assert_eq!(found[..expected.len()], expected, "user {user}");
                assert_eq!(found.len(), 5);
                // What a segment does not know comes by the popularity of all.
                let rest = &found[expected.len()..];
                assert!(rest.iter().all(|each| each.source == Source::Popular), "user {user}");
                assert_eq!(found, all[user as usize]);
                for each in &expected {
                    if each.source == Source::Model {
                        assert_eq!(whole.score(user, each.item), Some(each.score));
                    }
                }
                let mut items: Vec<u32> = found.iter().map(|each| each.item).collect();
                items.sort_unstable();
                items.dedup();
                assert_eq!(items.len(), 5);
                assert!(items.iter().all(|item| !whole.seen(user).contains(item)));
            }
        });
    }
}

#[test]
fn filters_reach_the_model_of_a_segment_and_what_comes_after() {
    let built = build(Kind::Als);
    built.with(|whole, _, of| {
        let user = 2;
        let row = built.slices[2].users.binary_search(&user).unwrap() as u32;
        let candidates = [3, 22, 24, 25, 28, 1];
        let filter =
            Filter { exclude: &[24], candidates: Some(&candidates), keep_seen: true, ..Filter::default() };
        let found = whole.recommend(Some(user), 5, filter);
        let (exclude, within) = (built.local(2, &[24]), built.local(2, &[22, 24, 25, 28]));
        let filter =
            Filter { exclude: &exclude, candidates: Some(&within), keep_seen: true, ..Filter::default() };
        let expected = built.expected(2, of(2).recommend(Some(row), 5, filter));
        assert_eq!(found[..3], expected);
        let mut rest: Vec<u32> = found[3..].iter().map(|each| each.item).collect();
        rest.sort_unstable();
        assert_eq!(rest, [1, 3]);
    });
}

#[test]
fn another_segment_folds_the_users_items_in() {
    for kind in [Kind::Als, Kind::Ease] {
        let built = build(kind);
        built.with(|whole, _, of| {
            let (user, segment) = (4, whole.segment_named("b"));
            assert_eq!((segment, whole.segment_named("x")), (Some(1), None));
            let filter = Filter { segment, ..Filter::default() };
            let own = built.local(1, whole.seen(user));
            let expected = built.expected(1, of(1).recommend_for_items(&own, 5, Filter::default()).unwrap());
            assert_eq!(whole.recommend(Some(user), 5, filter), expected);
            assert_eq!(whole.recommend_for_items(whole.seen(user), 5, filter).unwrap(), expected);
            let ones = vec![1.0; whole.seen(user).len()];
            let fresh = whole.recommend_fresh(whole.seen(user), &ones, 5, filter).unwrap();
            let pairs = |found: &[Recommendation]| -> Vec<_> {
                found.iter().map(|each| (each.item, each.score)).collect()
            };
            assert_eq!(pairs(&fresh), pairs(&expected));
            assert!(fresh.iter().all(|each| each.source == Source::Fresh));
        });
    }
}

#[test]
fn who_is_not_known_gets_what_is_popular_in_the_segment() {
    let built = build(Kind::Als);
    built.with(|whole, alone, _| {
        let id = |id| IdRef::Integer(id);
        assert_eq!(whole.segment_of(Some(2), id(2)), Some(2));
        assert_eq!(whole.segment_of(Some(37), id(37)), None);
        assert_eq!(
            [100, 101, 102, 103].map(|of| whole.segment_of(None, id(of))),
            [Some(2), Some(4), None, None]
        );
        for segment in 0..4u32 {
            let filter = Filter { segment: Some(segment), ..Filter::default() };
            let found = whole.recommend(None, 30, filter);
            assert_eq!(found.len(), 30);
            // Counted by hand.
            let mut counts = [0u32; 30];
            let users = (0..36).filter(|user| user % 4 == segment);
            users.flat_map(|user| whole.seen(user)).for_each(|&item| counts[item as usize] += 1);
            let mut expected: Vec<u32> = (0..30).filter(|&item| counts[item as usize] > 0).collect();
            expected.sort_by_key(|&item| (std::cmp::Reverse(counts[item as usize]), item));
            let all = f64::from(counts.iter().sum::<u32>());
            for (each, &item) in found.iter().zip(&expected) {
                assert_eq!((each.item, each.source), (item, Source::Segment));
                assert!((each.score - f64::from(counts[item as usize]) / all).abs() < 1e-12);
            }
            assert!(found[expected.len()..].iter().all(|each| each.source == Source::Popular));
        }
        // A segment of nobody, and none at all.
        let nobody = whole.recommend(None, 5, Filter { segment: Some(4), ..Filter::default() });
        let popular = alone.recommend(None, 5, Filter::default());
        assert_eq!(nobody, popular);
        assert_eq!(whole.recommend(None, 5, Filter { segment: Some(99), ..Filter::default() }), popular);
    });
}

#[test]
fn contributions_are_those_of_the_segment() {
    let built = build(Kind::Ease);
    built.with(|whole, _, _| {
        let control = Control::unlimited();
        for user in 0..36u32 {
            for each in whole.recommend(Some(user), 3, Filter::default()) {
                if each.source == Source::Model {
                    let parts = whole.explain(user, each.item, &control).unwrap();
                    let sum: f64 = parts.iter().map(|part| part.contribution).sum();
                    assert!((sum - each.score).abs() < 1e-9);
                    assert!(parts.iter().all(|part| whole.seen(user).contains(&part.item)));
                }
            }
        }
    });
}

#[test]
fn damaged_segments_are_found_and_serve_nothing() {
    let built = build(Kind::Als);
    let control = Control::unlimited();
    let partition = partition(built.data.users.len());
    let fitted = Fitted::new(Kind::Als, &built.data.user_items, &built.data.item_users);
    let parts = Parts {
        users: &built.data.users,
        items: &built.data.items,
        user_items: &built.data.user_items,
        item_users: &built.data.item_users,
        learned: fitted.learned(),
        regularization: 0.1,
        alpha: 1.0,
        user_class: 3,
        item_class: 3,
    };
    let (members, of_member) = (Ids::Integer(vec![]), []);
    let encoded = |partition: &Partition, images: &[AlignedBytes]| {
        let segments = OfSegments { partition, images, members: &members, of_member: &of_member };
        encode_with(&parts, Content::default(), Some(segments), [2; 16], 1, &control).unwrap()
    };
    let checked = |bytes: &[u8]| {
        let image = Image::open(bytes).unwrap();
        let model = Recommender::new(&image)?;
        // Whatever it holds, it answers.
        (0..40).for_each(|user| assert_eq!(model.recommend(Some(user), 3, Filter::default()).len(), 3));
        model.check(&control)
    };
    checked(&encoded(&partition, &built.images)).unwrap();
    // Two segments changed places.
    let mut images: Vec<AlignedBytes> =
        built.images.iter().map(|image| AlignedBytes::copy_of(image).unwrap()).collect();
    images.swap(0, 1);
    checked(&encoded(&partition, &images)).unwrap_err();
    // One is no image, or one that has segments.
    images.swap(0, 1);
    images[1] = AlignedBytes::copy_of(&[7; 128]).unwrap();
    checked(&encoded(&partition, &images)).unwrap_err();
    images[1] = AlignedBytes::copy_of(&built.whole).unwrap();
    checked(&encoded(&partition, &images)).unwrap_err();
    images[1] = AlignedBytes::copy_of(&built.images[1]).unwrap();
    checked(&encoded(&partition, &images)).unwrap();
    // A segment that does not exist, and names out of order.
    let mut wrong = partition.clone();
    wrong.of_user[0] = 5;
    checked(&encoded(&wrong, &images)).unwrap_err();
    let mut wrong = partition.clone();
    wrong.names.swap(0, 1);
    checked(&encoded(&wrong, &images)).unwrap_err();
}

#[test]
fn what_is_measured_is_what_is_served() {
    for kind in [Kind::Als, Kind::Ease] {
        let built = build(kind);
        let (data, control) = (&built.data, Control::unlimited());
        let partition = partition(data.users.len());
        // Every user is to find some items that they do not have, known to their segment or not.
        let held_out: Vec<Vec<u32>> = (0..40usize)
            .map(|user| {
                let seen = data.user_items.row(user).0;
                (0..30u32)
                    .filter(|item| !seen.contains(item) && (item * 7 + user as u32).is_multiple_of(6))
                    .collect()
            })
            .collect();
        let mut rows = Csr { offsets: vec![0], ..Csr::default() };
        for items in &held_out {
            rows.indices.extend(items);
            rows.values.extend(items.iter().map(|_| 1.0));
            rows.offsets.push(rows.indices.len() as u64);
        }
        let split =
            Split { train: data.user_items.clone(), users: (0..40).collect(), held_out: rows, known: None };
        let whole = Fitted::new(kind, &data.user_items, &data.item_users);
        let local: Vec<_> = built.slices[..3]
            .iter()
            .map(|slice| {
                let (user_items, _) = cut(&data.user_items, None, slice, data.items.len(), &control).unwrap();
                let item_users = transpose(&user_items, slice.items.len(), 1, &control).unwrap();
                let counts: Vec<u32> =
                    item_users.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as u32).collect();
                (Fitted::new(kind, &user_items, &item_users), counts)
            })
            .collect();
        let mut parts: Vec<_> = local
            .iter()
            .zip(&built.slices)
            .map(|((fitted, counts), slice)| Some(Part { slice, learned: fitted.measured(), counts }))
            .collect();
        parts.extend([None, None]);
        let of_all = whole.measured();
        let learned = evaluate::Learned::Parts { whole: &of_all, of_user: &partition.of_user, parts: &parts };
        let plan = Plan { ks: &[3, 30], auc: true, held_out: false, threads: 2 };
        let records = record(&split, &data.item_users, learned, plan, &control).unwrap();
        built.with(|served, _, _| {
            for user in 0..40u32 {
                let figures = records.figures(&[user], None, &control).unwrap();
                let found = served.recommend(Some(user), 30, Filter::default());
                let ranked: Vec<u32> = found.iter().map(|each| each.item).collect();
                for each in &figures {
                    let expected =
                        rank_metrics(&ranked[..each.k.min(ranked.len())], &held_out[user as usize], each.k);
                    let difference = (each.model.ndcg.mean - expected.ndcg).abs();
                    assert!(difference < 1e-12, "user {user}, {}", each.k);
                }
                // The area says how the held-out items rank among all others: as the list does, but that items which the
                // segment does not know are equal where they are equally popular. (Neighbours have more that is equal.)
                if matches!(kind, Kind::Ease) {
                    continue;
                }
                let segment = if user < 36 { user as usize % 4 } else { 3 };
                let rank = |item: u32| {
                    let place = ranked.iter().position(|&other| other == item).unwrap();
                    let known = segment == 3 || built.slices[segment].items.contains(&item);
                    if known { 1000 - place } else { data.item_users.row(item as usize).0.len() }
                };
                let (relevant, others): (Vec<u32>, Vec<u32>) =
                    ranked.iter().partition(|item| held_out[user as usize].contains(item));
                let mut won = 0.0;
                for (&a, &b) in relevant.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
                    won += match rank(a).cmp(&rank(b)) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
                let auc = figures[0].model.auc.unwrap().mean;
                let expected = won / (relevant.len() * others.len()) as f64;
                assert!((auc - expected).abs() < 1e-9, "user {user}: {auc} {expected}");
            }
        });
        // Some users' figures from one model, the others' from another.
        let alone = record(&split, &data.item_users, of_all, plan, &control).unwrap();
        let (mut mixed, some) = (alone.clone(), [0, 1, 2, 5]);
        mixed.take(&records, &some, &control).unwrap();
        for user in 0..40 {
            let from = if some.contains(&user) { &records } else { &alone };
            assert_eq!(mixed.figures(&[user], None, &control), from.figures(&[user], None, &control));
        }
        let gains: Vec<f64> = some
            .iter()
            .map(|&user| {
                let ndcg = |of: &Records| of.figures(&[user], None, &control).unwrap()[0].model.ndcg.mean;
                ndcg(&records) - ndcg(&alone)
            })
            .collect();
        let mean = gains.iter().sum::<f64>() / 4.0;
        let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / 3.0;
        let (gain, error) = alone.gain(&records, &some, 0).unwrap();
        assert!((gain - mean).abs() < 1e-12 && (error - (variance / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(alone.gain(&records, &[3], 0), None);
    }
}
