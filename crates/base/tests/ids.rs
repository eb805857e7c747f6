//! Dictionaries against a sorted map.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use base::ids::{IdBuilder, IdKind, IdRef, Ids, IdsRef, SortedIds};
use base::{Control, Error};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() }
}

fn joined(ids: &[Vec<u8>]) -> Ids {
    let mut offsets = vec![0];
    let mut bytes = Vec::new();
    for id in ids {
        bytes.extend_from_slice(id);
        offsets.push(bytes.len() as u64);
    }
    Ids::Bytes { offsets, bytes }
}

/// Inserts in batches, checks the provisional positions, sorts, and checks that the control is balanced.
fn read(ids: &Ids, batch: usize) -> SortedIds {
    let control = Control::unlimited();
    let view = ids.view();
    let mut builder = IdBuilder::new(view.kind(), "ids", &control);
    let mut positions = Vec::new();
    let all: Vec<IdRef> = (0..view.len() as u32).map(|n| view.get(n).unwrap()).collect();
    for part in all.chunks(batch) {
        let mut out = vec![0; part.len()];
        match ids {
            Ids::Integer(values) => {
                let part = &values[positions.len()..positions.len() + part.len()];
                builder.insert(IdsRef::Integer(part), &mut out).unwrap();
            }
            _ => part.iter().zip(&mut out).for_each(|(&id, to)| *to = builder.insert_one(id).unwrap()),
        }
        positions.extend(out);
    }
    assert_eq!(builder.bytes(), control.used());
    let count = builder.len();
    let sorted = builder.finish().unwrap();
    assert_eq!(control.used(), sorted.bytes());
    assert_eq!((sorted.ids.len(), sorted.permutation.len()), (count, count));
    sorted.ids.view().check(&Control::unlimited()).unwrap();
    let mut seen = 0;
    for (n, &position) in positions.iter().enumerate() {
        assert!(position <= seen, "a new id gets the next position");
        seen = seen.max(position + 1);
        let rank = sorted.permutation[position as usize];
        assert_eq!(sorted.ids.view().get(rank), view.get(n as u32));
        assert_eq!(sorted.ids.view().find(all[n]), Some(rank));
    }
    sorted
}

#[test]
fn integers_at_the_ends() {
    let sorted = read(&Ids::Integer(vec![0, i64::MAX, -1, i64::MIN, 0, 1, i64::MAX]), 3);
    assert_eq!(sorted.ids, Ids::Integer(vec![i64::MIN, -1, 0, 1, i64::MAX]));
    assert_eq!(sorted.permutation, [2, 4, 1, 0, 3]);
    assert_eq!(sorted.ids.view().find(IdRef::Integer(2)), None);
    assert_eq!(sorted.ids.view().find(IdRef::Bytes(b"0")), None);
}

#[test]
fn bytes_of_every_sort() {
    let ids: Vec<Vec<u8>> = [
        &b"b"[..],
        b"",
        b"\xff",
        b"\xff\xff",
        b"\0",
        b"\0\0",
        "Größe".as_bytes(),
        "日本".as_bytes(),
        b"12345678",
        b"12345678\0",
        b"123456789",
        b"",
    ]
    .iter()
    .map(|id| id.to_vec())
    .collect();
    let sorted = read(&joined(&ids), 1);
    let expected: BTreeSet<Vec<u8>> = ids.into_iter().collect();
    assert_eq!(sorted.ids, joined(&expected.into_iter().collect::<Vec<_>>()));
}

#[test]
fn nothing() {
    for ids in [Ids::Integer(vec![]), Ids::Fixed16(vec![]), joined(&[])] {
        let sorted = read(&ids, 1);
        assert_eq!(sorted.ids, ids);
        assert_eq!(sorted.ids.view().get(0), None);
    }
    let without_offsets = IdsRef::Bytes { offsets: &[], bytes: &[] };
    assert_eq!(without_offsets.check(&Control::unlimited()), Ok(()));
    assert_eq!((without_offsets.len(), without_offsets.find(IdRef::Bytes(b""))), (0, None));
}

/// More ids than one sorted run holds, so that runs are merged.
#[test]
fn many_ids() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let integers: Vec<i64> = (0..300_000).map(|_| random.random_range(-200_000..200_000)).collect();
    let sorted = read(&Ids::Integer(integers.clone()), 1000);
    let expected: BTreeSet<i64> = integers.iter().copied().collect();
    assert_eq!(sorted.ids, Ids::Integer(expected.into_iter().collect()));
    let words: Vec<Vec<u8>> = integers.iter().map(|n| format!("customer-{n}").into_bytes()).collect();
    let sorted = read(&joined(&words), 1);
    let expected: BTreeSet<Vec<u8>> = words.into_iter().collect();
    assert_eq!(sorted.ids, joined(&expected.into_iter().collect::<Vec<_>>()));
    let uuids: Vec<[u8; 16]> = integers.iter().map(|&n| ((n as u128) << 40 | 77).to_be_bytes()).collect();
    let sorted = read(&Ids::Fixed16(uuids.clone()), 1);
    let expected: BTreeSet<[u8; 16]> = uuids.into_iter().collect();
    assert_eq!(sorted.ids, Ids::Fixed16(expected.into_iter().collect()));
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn integers_are_a_sorted_set(ids in prop::collection::vec(prop_oneof![-20i64..20, any::<i64>()], 0..300)) {
        let expected: BTreeSet<i64> = ids.iter().copied().collect();
        prop_assert_eq!(read(&Ids::Integer(ids), 100).ids, Ids::Integer(expected.into_iter().collect()));
    }

    #[test]
    fn bytes_are_a_sorted_set(ids in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 0..300)) {
        let expected: Vec<Vec<u8>> = ids.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(read(&joined(&ids), 1).ids, joined(&expected));
    }

    /// Whatever offsets say, searching ends, and says nothing wrong.
    #[test]
    fn damaged_offsets_are_survived(
        offsets in prop::collection::vec(prop_oneof![0u64..20, any::<u64>()], 0..20),
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        id in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        let ids = IdsRef::Bytes { offsets: &offsets, bytes: &bytes };
        if let Some(found) = ids.find(IdRef::Bytes(&id)) {
            prop_assert_eq!(ids.get(found), Some(IdRef::Bytes(&id)));
        }
        for n in 0..25 {
            let _ = ids.get(n);
        }
        let _ = (ids.get(u32::MAX), ids.check(&Control::unlimited()));
    }
}

#[test]
fn validation_sees_every_fault() {
    let fails = |ids: IdsRef| {
        assert!(matches!(ids.check(&Control::unlimited()), Err(Error::Corrupted(_))), "{ids:?}")
    };
    fails(IdsRef::Integer(&[1, 1]));
    fails(IdsRef::Integer(&[2, 1]));
    fails(IdsRef::Fixed16(&[[1; 16], [0; 16]]));
    fails(IdsRef::Bytes { offsets: &[0, 1, 2], bytes: b"ba" });
    fails(IdsRef::Bytes { offsets: &[0, 0, 0], bytes: b"" });
    fails(IdsRef::Bytes { offsets: &[1, 2], bytes: b"ab" });
    fails(IdsRef::Bytes { offsets: &[0, 1], bytes: b"ab" });
    fails(IdsRef::Bytes { offsets: &[0, 3], bytes: b"ab" });
    fails(IdsRef::Bytes { offsets: &[0, 2, 1, 2], bytes: b"ab" });
    fails(IdsRef::Bytes { offsets: &[], bytes: b"ab" });
    assert_eq!(IdsRef::Bytes { offsets: &[0, 0, 1, 2], bytes: b"ab" }.check(&Control::unlimited()), Ok(()));
}

#[test]
fn errors_leave_nothing_taken() {
    let control = Control::new(100_000);
    let mut builder = IdBuilder::new(IdKind::Integer, "users", &control);
    let values: Vec<i64> = (0..100_000).collect();
    let mut out = vec![0; values.len()];
    let result = builder.insert(IdsRef::Integer(&values), &mut out);
    assert!(matches!(result, Err(Error::Memory { .. })));
    let before = builder.len();
    assert_eq!(builder.insert_one(IdRef::Integer(3)), Ok(3));
    assert!(matches!(builder.insert_one(IdRef::Bytes(b"3")), Err(Error::Parameter { .. })));
    assert!(matches!(builder.insert(IdsRef::Integer(&[1]), &mut []), Err(Error::Parameter { .. })));
    assert_eq!(builder.len(), before);
    assert!(matches!(builder.finish(), Err(Error::Memory { .. })));
    assert_eq!(control.used(), 0);
    let mut builder = IdBuilder::new(IdKind::Integer, "users", &control);
    builder.insert_one(IdRef::Integer(3)).unwrap();
    control.cancel();
    assert_eq!(builder.finish().unwrap_err(), Error::Cancelled);
    assert_eq!(control.used(), 0);
}

#[test]
fn kinds_keep_their_numbers() {
    let numbers: BTreeMap<u8, IdKind> =
        [(1, IdKind::Integer), (2, IdKind::Fixed16), (3, IdKind::Bytes)].into_iter().collect();
    for number in 0..=u8::MAX {
        assert_eq!(IdKind::from_number(number).ok(), numbers.get(&number).copied());
    }
}
