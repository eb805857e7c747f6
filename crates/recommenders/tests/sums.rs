//! Models whose users are the sums of the rows of their items, written to an image and served from it, against plain
//! computations.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::ids::{IdKind, IdsRef};
use base::image::{AlignedBytes, Image, Writer, kinds};
use base::{Control, Error};
use recommenders::answers::{Filter, Recommendation, Source};
use recommenders::elsa::{self, Params};
use recommenders::evaluate::{self, Plan, evaluate, record};
use recommenders::factors::Factors;
use recommenders::interactions::{Holdout, Interactions, InteractionsBuilder, split, transpose};
use recommenders::metrics::rank_metrics;
use recommenders::recommender::{Learned, Parts, Recommender, encode};

const FACTORS: usize = 6;

/// Forty users with some of twenty-five items; the values are not all 1.
fn rows() -> Interactions {
    let control = Control::unlimited();
    let mut builder = InteractionsBuilder::new(IdKind::Integer, IdKind::Integer, false, &control);
    for user in 0..40i64 {
        for item in
            (0..25i64).filter(|item| user % 25 == *item || (user * 5 + item * 3 + user * item) % 7 < 3)
        {
            let value = 1.0 + (item % 3) as f32;
            builder.push(IdsRef::Integer(&[user]), IdsRef::Integer(&[item]), &[value], &[]).unwrap();
        }
    }
    builder.finish(1).unwrap()
}

fn learned(data: &Interactions) -> Factors {
    let params = Params { factors: FACTORS, iterations: 20, batch_size: Some(10), ..Params::default() };
    elsa::fit(&data.user_items, &data.item_users, &params, &Control::unlimited(), &mut |_, _| ()).unwrap()
}

fn image(data: &Interactions, model: &Factors) -> AlignedBytes {
    let parts = Parts {
        users: &data.users,
        items: &data.items,
        user_items: &data.user_items,
        item_users: &data.item_users,
        learned: Learned::Sums(model),
        regularization: 0.0,
        alpha: 0.0,
        user_class: 3,
        item_class: 3,
    };
    encode(&parts, [9; 16], 1, &Control::unlimited()).unwrap()
}

/// The score by definition: what the user's other items say about an item.
fn score(model: &Factors, own: &[u32], item: u32) -> f64 {
    let row = |item: u32| &model.items[item as usize * FACTORS..][..FACTORS];
    let product = |other: u32| -> f64 {
        row(other).iter().zip(row(item)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    own.iter().filter(|&&other| other != item && other < 25).map(|&other| product(other)).sum()
}

/// The best items by definition.
fn best(model: &Factors, own: &[u32], k: usize, may: impl Fn(u32) -> bool) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> =
        (0..25).filter(|&item| may(item)).map(|item| (item, score(model, own, item))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

#[track_caller]
fn same(found: &[Recommendation], expected: &[(u32, f64)], source: Source) {
    assert_eq!(found.len(), expected.len());
    for (found, &(item, score)) in found.iter().zip(expected) {
        assert!((found.score - score).abs() < 1e-5 && found.source == source, "{found:?} {item} {score}");
        assert_eq!(found.item, item);
    }
}

#[test]
fn every_way_to_ask_gives_the_score_by_definition() {
    let data = rows();
    let model = learned(&data);
    let bytes = image(&data, &model);
    let opened = Image::open(&bytes).unwrap();
    let served = Recommender::new(&opened).unwrap();
    let control = Control::unlimited();
    served.check(&control).unwrap();
    let all = served.recommend_all(0..40, 7, 2, &control).unwrap();
    let (exclude, candidates) = ([4, 9, 30], [24, 3, 9, 8, 15, 3, 2, 99]);
    for user in 0..40u32 {
        let (own, values) = data.user_items.row(user as usize);
        let plain = best(&model, own, 7, |item| !own.contains(&item));
        let found = served.recommend(Some(user), 7, Filter::default());
        same(&found, &plain, Source::Model);
        assert_eq!(all[user as usize], found);
        assert_eq!(served.recommend_for_items(own, 7, Filter::default()).unwrap(), found);
        same(&served.recommend_fresh(own, values, 7, Filter::default()).unwrap(), &plain, Source::Fresh);

        // The user's own items among the others, each by what the rest says.
        let keep = Filter { keep_seen: true, ..Filter::default() };
        let with_own = best(&model, own, 12, |_| true);
        same(&served.recommend(Some(user), 12, keep), &with_own, Source::Model);
        same(&served.recommend_fresh(own, values, 12, keep).unwrap(), &with_own, Source::Fresh);
        assert_eq!(served.recommend(Some(user), 99, keep).len(), 25);
        let few =
            Filter { keep_seen: true, exclude: &exclude, candidates: Some(&candidates), ..Filter::default() };
        let among = best(&model, own, 4, |item| candidates.contains(&item) && !exclude.contains(&item));
        same(&served.recommend(Some(user), 4, few), &among, Source::Model);

        for item in 0..25 {
            let expected = score(&model, own, item);
            let found = served.score(user, item).unwrap();
            assert!((found - expected).abs() < 1e-5, "{user} {item} {found} {expected}");
            let parts = served.explain(user, item, &control).unwrap();
            assert!((parts.iter().map(|part| part.contribution).sum::<f64>() - expected).abs() < 1e-9);
            assert!(parts.iter().all(|part| own.contains(&part.item) && part.item != item));
            assert!(parts.is_sorted_by(|a, b| a.contribution.abs() >= b.contribution.abs()));
        }
    }
    assert!(served.explains() && !served.rates());
    assert_eq!(served.recommend(None, 3, Filter::default())[0].source, Source::Popular);
    assert_eq!(served.recommend_for_items(&[], 3, Filter::default()).unwrap()[0].source, Source::Popular);
    // An item that is not held says nothing.
    same(
        &served.recommend_for_items(&[2, 77], 5, Filter::default()).unwrap(),
        &best(&model, &[2], 5, |item| item != 2),
        Source::Model,
    );
}

#[test]
fn measured_is_what_is_served() {
    let data = rows();
    let control = Control::unlimited();
    for holdout in [Holdout::Hash, Holdout::User] {
        let split = split(&data, holdout, 3, 12, &control).unwrap();
        let item_users = transpose(&split.train, 25, 1, &control).unwrap();
        let params = Params { factors: FACTORS, iterations: 20, batch_size: Some(10), ..Params::default() };
        let model = elsa::fit(&split.train, &item_users, &params, &control, &mut |_, _| ()).unwrap();
        let plan = Plan { ks: &[5], auc: true, held_out: false, threads: 2 };
        let records = record(&split, &item_users, evaluate::Learned::Sums(&model), plan, &control).unwrap();
        let found = records.figures(records.all(), None, &control).unwrap()[0].model.ndcg.mean;
        let mut expected = 0.0;
        for position in 0..split.users.len() {
            let own = split.known_of(position).0;
            let ranked = best(&model, own, 5, |item| !own.contains(&item));
            let ranked: Vec<u32> = ranked.iter().map(|each| each.0).collect();
            expected += rank_metrics(&ranked, split.held_out.row(position).0, 5).ndcg;
        }
        expected /= split.users.len() as f64;
        assert!((found - expected).abs() < 1e-12 && found > 0.0, "{holdout:?} {found} {expected}");
        if holdout == Holdout::Hash {
            let plain = evaluate(&split, &item_users, &model, &[5], 1, &control).unwrap();
            assert_eq!(plain[0].model.ndcg.mean, found);
        }
    }
}

#[test]
fn what_says_how_users_fold_is_checked() {
    let data = rows();
    let bytes = image(&data, &learned(&data));
    let opened = Image::open(&bytes).unwrap();
    assert!(opened.optional_section::<u8>(kinds::GRAM).unwrap().is_none());
    let sections: Vec<(u32, Vec<u8>)> = (0..60)
        .filter_map(|kind| Some((kind, opened.optional_section::<u8>(kind).unwrap()?.to_vec())))
        .collect();
    let with = |folding: Option<&[u32]>| {
        let mut writer = Writer::new([9; 16]);
        for (kind, bytes) in sections.iter().filter(|each| each.0 != kinds::FOLDING) {
            writer.section(*kind, bytes);
        }
        if let Some(folding) = folding {
            writer.section(kinds::FOLDING, folding);
        }
        let bytes = writer.finish().unwrap();
        let image = Image::open(&bytes).unwrap();
        Recommender::new(&image).and_then(|served| served.check(&Control::unlimited()))
    };
    assert_eq!(with(Some(&[1])), Ok(()));
    for wrong in [None, Some(&[][..]), Some(&[0][..]), Some(&[2][..]), Some(&[1, 1][..])] {
        assert!(matches!(with(wrong), Err(Error::Corrupted(_))), "{wrong:?}");
    }
}
