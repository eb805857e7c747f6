//! Rankings under conditions, against slow, plain ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::convert::Infallible;

use base::Control;
use base::ids::{IdKind, IdsRef};
use base::image::{AlignedBytes, Image};
use recommenders::als::{Params, fit, start};
use recommenders::answers::{Filter, Recommendation};
use recommenders::interactions::{Interactions, InteractionsBuilder};
use recommenders::item_knn;
use recommenders::recommender::{Arrangement, Eligibility, Learned, Parts, Recommender, SHORTLIST, encode};

const ITEMS: u32 = 500;
type Look<'a> = dyn FnMut(&[u32]) -> Result<Vec<Eligibility>, Infallible> + 'a;

/// Users who have some of five hundred items.
fn some() -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..120i64 {
        for n in 0..40 {
            let item = (user * user + n * n * 7 + n * user * 3) % i64::from(ITEMS);
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[1.0], &[]).unwrap();
        }
    }
    for item in 0..i64::from(ITEMS) {
        builder.push(IdsRef::Integer(&[item % 120]), IdsRef::Integer(&[item]), &[1.0], &[]).unwrap();
    }
    builder.finish(1).unwrap()
}

fn image(data: &Interactions, learned: Learned<'_>) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned,
        regularization: 1.0,
        alpha: 10.0,
        user_class: 3,
        item_class: 3,
    };
    encode(&parts, [3; 16], 1, &Control::unlimited()).unwrap()
}

/// An image of factors and one of neighbours.
fn images() -> [AlignedBytes; 2] {
    let (data, control) = (some(), Control::unlimited());
    let params = Params { factors: 6, regularization: 1.0, alpha: 10.0, seed: 3, ..Params::default() };
    let begin = start(data.users.len(), data.items.len(), &params, &control).unwrap();
    let factors = fit(&data.user_items, &data.item_users, begin, &params, &control, &mut |_, _| ()).unwrap();
    let params = item_knn::Params::default();
    let neighbours = item_knn::fit(&data.user_items, &data.item_users, &params, &control).unwrap();
    [image(&data, Learned::Factors(&factors)), image(&data, Learned::Neighbours(&neighbours))]
}

fn on_both(mut body: impl FnMut(&Recommender<'_>)) {
    for bytes in images() {
        body(&Recommender::new(&Image::open(&bytes).unwrap()).unwrap());
    }
}

const PLAIN: Arrangement = Arrangement { offset: 0, k: 10, diversity: 0.0, most_per_category: usize::MAX };

/// Every third item is out of stock; its category is the hundred that its number is in, and none for a few.
fn standing(item: u32) -> Eligibility {
    let categories = if item.is_multiple_of(41) { Vec::new() } else { vec![item % 7] };
    Eligibility { admitted: !item.is_multiple_of(3), categories }
}

fn arranged(
    model: &Recommender<'_>,
    user: Option<u32>,
    arrangement: Arrangement,
    look: bool,
) -> Vec<Recommendation> {
    let mut ask = |items: &[u32]| Ok(items.iter().map(|&item| standing(item)).collect());
    let ask: Option<&mut Look<'_>> = if look { Some(&mut ask) } else { None };
    model.arrange(arrangement, |n| model.recommend(user, n, Filter::default()), ask, &mut || ()).unwrap()
}

/// The whole list, item by item: all that may come, in shortlists, each the one with the best value that has a place.
fn slowly(
    model: &Recommender<'_>,
    user: Option<u32>,
    diversity: f64,
    most: usize,
    look: bool,
) -> Vec<Recommendation> {
    let all = model.recommend(user, ITEMS as usize, Filter::default());
    let all: Vec<_> = all.into_iter().filter(|each| !look || standing(each.item).admitted).collect();
    let categories = |item: u32| if look { standing(item).categories } else { Vec::new() };
    let mut list = Vec::new();
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for shortlist in all.chunks(if diversity > 0.0 { SHORTLIST } else { 1 }) {
        let low = shortlist.iter().map(|each| each.score).fold(f64::MAX, f64::min);
        let high = shortlist.iter().map(|each| each.score).fold(f64::MIN, f64::max);
        let mut chosen: Vec<Recommendation> = Vec::new();
        loop {
            let mut best: Option<(f64, Recommendation)> = None;
            for each in shortlist {
                let full = categories(each.item).iter().any(|category| counts.get(category) >= Some(&most));
                if full || chosen.iter().any(|other| other.item == each.item) {
                    continue;
                }
                let score = if high > low { (each.score - low) / (high - low) } else { 1.0 };
                let alike = chosen.iter().map(|other| model.similarity(other.item, each.item));
                let alike = alike
                    .fold(None, |most: Option<f64>, each| Some(most.map_or(each, |most| most.max(each))));
                let value = (1.0 - diversity) * score - diversity * alike.unwrap_or(0.0);
                if best.is_none_or(|(best, _)| value > best) {
                    best = Some((value, *each));
                }
            }
            let Some((_, next)) = best else { break };
            categories(next.item).into_iter().for_each(|each| *counts.entry(each).or_default() += 1);
            chosen.push(next);
        }
        list.extend(chosen);
    }
    list
}

#[test]
fn the_list_is_that_of_the_slow_version() {
    on_both(|model| {
        for user in [Some(0), Some(77), None] {
            for (diversity, most) in [(0.0, usize::MAX), (0.0, 3), (0.3, usize::MAX), (0.3, 5), (1.0, 40)] {
                for look in [false, true] {
                    let expected = slowly(model, user, diversity, most, look);
                    let arrangement = Arrangement { k: 1000, diversity, most_per_category: most, ..PLAIN };
                    let found = arranged(model, user, arrangement, look);
                    assert_eq!(found, expected, "{user:?} {diversity} {most} {look}");
                    assert!(found.len() > 20);
                }
            }
        }
    });
}

#[test]
fn pages_neither_overlap_nor_leave_gaps() {
    on_both(|model| {
        for (diversity, most, look) in
            [(0.0, usize::MAX, false), (0.5, usize::MAX, false), (0.0, 4, true), (0.5, 60, true)]
        {
            let whole = slowly(model, Some(5), diversity, most, look);
            for k in [1, 7, 199, 200, 201] {
                let mut pages = Vec::new();
                for page in 0.. {
                    let arrangement = Arrangement { offset: page * k, k, diversity, most_per_category: most };
                    let found = arranged(model, Some(5), arrangement, look);
                    let last = found.len() < k;
                    pages.extend(found);
                    if last || pages.len() > 230 {
                        break;
                    }
                }
                assert_eq!(pages, whole[..pages.len()], "{k} {diversity} {most}");
            }
        }
    });
}

#[test]
fn without_conditions_it_is_the_ranking() {
    on_both(|model| {
        let ranking = model.recommend(Some(9), 30, Filter::default());
        assert_eq!(arranged(model, Some(9), PLAIN, false), ranking[..10]);
        assert_eq!(
            arranged(model, Some(9), Arrangement { offset: 10, k: 20, ..PLAIN }, false),
            ranking[10..]
        );
        assert_eq!(arranged(model, Some(9), Arrangement { k: 0, ..PLAIN }, true), []);
        let beyond = Arrangement { offset: usize::MAX, k: usize::MAX, ..PLAIN };
        assert_eq!(arranged(model, Some(9), beyond, true), []);
        let all = Arrangement { k: usize::MAX, diversity: 0.5, ..PLAIN };
        assert_eq!(arranged(model, Some(9), all, false).len(), ITEMS as usize - model.seen(9).len());
    });
}

#[test]
fn items_are_asked_about_once_and_no_more_than_needed() {
    on_both(|model| {
        let mut asked = Vec::new();
        // Only the last item of the ranking may come: all are asked about.
        let ranking = model.recommend(Some(9), 1000, Filter::default());
        let last = ranking.last().unwrap().item;
        let mut look = |items: &[u32]| -> Result<Vec<Eligibility>, Infallible> {
            asked.extend_from_slice(items);
            Ok(items
                .iter()
                .map(|&item| Eligibility { admitted: item == last, ..Eligibility::default() })
                .collect())
        };
        let found = model.arrange(
            PLAIN,
            |n| model.recommend(Some(9), n, Filter::default()),
            Some(&mut look),
            &mut || (),
        );
        assert_eq!(found.unwrap().iter().map(|each| each.item).collect::<Vec<_>>(), [last]);
        assert_eq!(asked, ranking.iter().map(|each| each.item).collect::<Vec<_>>());
        // All may come: the first hundred are asked about, in one go.
        let mut asked = Vec::new();
        let mut look = |items: &[u32]| -> Result<Vec<Eligibility>, Infallible> {
            asked.push(items.len());
            Ok(vec![Eligibility { admitted: true, ..Eligibility::default() }; items.len()])
        };
        model
            .arrange(PLAIN, |n| model.recommend(Some(9), n, Filter::default()), Some(&mut look), &mut || ())
            .unwrap();
        assert_eq!(asked, [100]);
        // An error of the caller is the caller's.
        let mut look = |_: &[u32]| Err("gone");
        let failed = model.arrange(
            PLAIN,
            |n| model.recommend(Some(9), n, Filter::default()),
            Some(&mut look),
            &mut || (),
        );
        assert_eq!(failed, Err("gone"));
    });
}

#[test]
fn similarity_is_what_it_says() {
    let [factors, neighbours] = images();
    let opened = Image::open(&factors).unwrap();
    let model = Recommender::new(&opened).unwrap();
    for hit in model.similar_items(7, 20) {
        assert!((model.similarity(7, hit.item) - hit.score).abs() < 1e-12);
    }
    assert_eq!(model.similarity(7, ITEMS), 0.0);
    let opened = Image::open(&neighbours).unwrap();
    let model = Recommender::new(&opened).unwrap();
    // The strongest neighbour of an item is as near as can be, and nobody nearer.
    let near = model.similar_items(7, 20);
    assert_eq!(model.similarity(7, near[0].item), 1.0);
    assert_eq!(model.similarity(near[0].item, 7), 1.0);
    assert!((0..ITEMS).all(|other| (0.0..=1.0).contains(&model.similarity(7, other))));
}
