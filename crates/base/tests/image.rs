//! Images: known bytes, round trips and what is refused. Damage of every sort is in `damage/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use base::ids::{IdRef, IdsRef};
use base::image::{AlignedBytes, Dictionary, Image, Layout, Writer, estimate, kinds};
use base::{Control, Error};

const UUID: [u8; 16] = *b"0123456789abcdef";

fn sample() -> AlignedBytes {
    let mut writer = Writer::new(UUID);
    Dictionary::Users.write(&mut writer, IdsRef::Integer(&[-1, 5, 9]));
    let (offsets, bytes) = ([0, 1, 3], b"abc");
    Dictionary::Items.write(&mut writer, IdsRef::Bytes { offsets: &offsets, bytes });
    let factors: Vec<f32> = (0..50).map(|n| n as f32).collect();
    writer
        .section(kinds::USER_FACTORS, &factors)
        .section::<f32>(kinds::GRAM, &[])
        .section(4_000_000_000, b"new");
    let image = writer.finish().unwrap();
    assert_eq!(image.len() as u64, writer.length());
    image
}

#[test]
fn a_round_trip() {
    let bytes = sample();
    let image = Image::open(&bytes).unwrap();
    image.verify(&Control::unlimited()).unwrap();
    assert_eq!(image.uuid(), UUID);
    assert_eq!(Dictionary::Users.read(&image), Ok(IdsRef::Integer(&[-1, 5, 9])));
    let items = Dictionary::Items.read(&image).unwrap();
    assert_eq!((items.check(&Control::unlimited()), items.find(IdRef::Bytes(b"bc"))), (Ok(()), Some(1)));
    assert_eq!(image.section::<f32>(kinds::USER_FACTORS).unwrap()[49], 49.0);
    assert_eq!(image.section::<f32>(kinds::GRAM), Ok(&[][..]));
    assert_eq!(image.optional_section::<f32>(kinds::POPULARITY), Ok(None));
    assert!(matches!(image.section::<f32>(kinds::POPULARITY), Err(Error::Corrupted(_))));
    assert!(matches!(image.section::<i64>(4_000_000_000), Err(Error::Corrupted(_))));
    assert_eq!(image.section::<u8>(4_000_000_000), Ok(&b"new"[..]));
}

/// The format never changes unnoticed.
#[test]
fn known_bytes() {
    let mut writer = Writer::new(UUID);
    writer.section(kinds::FACTS, b"123456789");
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes.len(), 192);
    assert_eq!(estimate([9].into_iter()), 192);
    assert_eq!(bytes[..8], *b"\x89PERSONA");
    assert_eq!(bytes[8..12], 1u32.to_le_bytes());
    assert_eq!(bytes[16..32], UUID);
    assert_eq!(bytes[32..40], 192u64.to_le_bytes());
    assert_eq!(bytes[40..44], 1u32.to_le_bytes());
    assert!(bytes[44..64].iter().chain(&bytes[88..128]).chain(&bytes[137..]).all(|&byte| byte == 0));
    assert_eq!(bytes[64..68], 19u32.to_le_bytes());
    // The check value of CRC-32C.
    assert_eq!(bytes[68..72], 0xe306_9283u32.to_le_bytes());
    assert_eq!(bytes[72..80], 128u64.to_le_bytes());
    assert_eq!(bytes[80..88], 9u64.to_le_bytes());
    assert_eq!(bytes[128..137], *b"123456789");
    let mut zeroed = bytes[..96].to_vec();
    zeroed[12..16].fill(0);
    assert_eq!(bytes[12..16], crc32c::crc32c(&zeroed).to_le_bytes());
}

/// Whatever the size of a chunk, and wherever sections end: the bytes are those of the image in one piece.
#[test]
fn a_layout_in_chunks() {
    let control = Control::unlimited();
    let contents: Vec<u8> = (0..3 << 20).map(|n: u32| (n >> 7 ^ n) as u8).collect();
    let mut writer = Writer::new(UUID);
    writer.section(1, &contents[..1]).section::<u8>(2, &[]).section(3, &contents[..1000]);
    writer.pieces(4, vec![&contents[5..8], &[], &contents]).section(5, &contents[..64]);
    let layout = writer.layout(&control).unwrap();
    let image = writer.finish().unwrap();
    assert_eq!((layout.length(), layout.head()), (image.len() as u64, &image[..layout.head().len()]));
    assert!(layout.head().len() >= 64 && layout.pieces().all(|piece| piece.len() <= 1 << 20));
    assert_eq!(layout.pieces().collect::<Vec<_>>().concat(), image[..]);
    for size in [1, 64, 1000, 8000, image.len(), image.len() + 1] {
        for layout in [&layout, &Layout::of(&image)] {
            let (mut chunks, mut joined) = (Vec::new(), Vec::new());
            let put = layout.chunks(size, |chunk| {
                chunks.push(chunk.len());
                joined.extend_from_slice(chunk);
                Ok::<_, ()>(())
            });
            assert_eq!((put, &joined[..]), (Ok(()), &image[..]));
            let (last, before) = chunks.split_last().unwrap();
            assert!(*last <= size && before.iter().all(|&length| length == size), "{size}");
        }
        let mut left = 3;
        let stopped = layout.chunks(size, |_| {
            left -= 1;
            if left == 0 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(stopped.is_err(), image.len().div_ceil(size) >= 3);
    }
}

#[test]
fn what_a_writer_refuses() {
    let mut twice = Writer::new(UUID);
    twice.section(7, b"a").section(7, b"b");
    assert!(matches!(twice.finish(), Err(Error::Corrupted(_))));
    let mut many = Writer::new(UUID);
    (0..257).for_each(|kind| {
        many.section(kind, b"a");
    });
    assert!(matches!(many.finish(), Err(Error::Corrupted(_))));
    let empty = Writer::new(UUID).finish().unwrap();
    assert_eq!((empty.len(), Image::open(&empty).unwrap().verify(&Control::unlimited())), (64, Ok(())));
}

#[test]
fn what_opening_refuses() {
    let bytes = sample();
    let fails = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.to_vec();
        change(&mut changed);
        Image::open(&AlignedBytes::copy_of(&changed).unwrap()).map(|_| ()).unwrap_err()
    };
    assert_eq!(fails(&|b| b[8] = 2), Error::Format(2));
    assert_eq!(fails(&|b| b[8] = 0), Error::Corrupted("version zero"));
    assert_eq!(fails(&|b| b[0] = 0), Error::Corrupted("not a model"));
    assert_eq!(fails(&|b| b.push(0)), Error::Corrupted("wrong length"));
    assert_eq!(fails(&|b| b.truncate(63)), Error::Corrupted("too short"));
    assert_eq!(fails(&|b| b[16] ^= 1), Error::Corrupted("checksum of the header"));
    assert_eq!(fails(&|b| b[41] = 2), Error::Corrupted("too many sections"));
    // With the checksum that belongs to it.
    let twice = |b: &mut Vec<u8>| {
        b.copy_within(64..68, 96);
        b[12..16].fill(0);
        let end = 64 + 32 * b[40] as usize;
        let crc = crc32c::crc32c(&b[..end]).to_le_bytes();
        b[12..16].copy_from_slice(&crc);
    };
    assert_eq!(fails(&twice), Error::Corrupted("a section is there twice"));
    let shifted = AlignedBytes::copy_of(&[&[0], &bytes[..]].concat()).unwrap();
    assert_eq!(Image::open(&shifted[1..]).unwrap_err(), Error::Corrupted("not aligned"));
}

#[test]
fn bytes_come_in_chunks_and_never_more_than_announced() {
    let bytes = sample();
    let mut copy = AlignedBytes::with_capacity(bytes.len()).unwrap();
    bytes.chunks(37).for_each(|chunk| copy.extend(chunk).unwrap());
    assert_eq!(copy[..], bytes[..]);
    assert!(matches!(copy.extend(&[1]), Err(Error::Corrupted(_))));
    assert!(copy.as_ptr().addr().is_multiple_of(64));
    assert!(matches!(AlignedBytes::with_capacity(usize::MAX / 2), Err(Error::NoMemory { .. })));
    let control = Control::unlimited();
    control.cancel();
    assert_eq!(Image::open(&bytes).unwrap().verify(&control), Err(Error::Cancelled));
}
