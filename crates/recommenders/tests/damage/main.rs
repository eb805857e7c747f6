//! Damaged images: errors or wrong answers, and never a panic, a read elsewhere, a large allocation or an endless
//! loop, also with right checksums. The fuzzer in fuzz/ does the same without end; these are its modules.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod by_segment;
mod choices;
mod draft;
mod memory;
mod mutate;
mod sample;
mod segments;
mod serve;
mod shapes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::Once;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use base::Error;
use base::image::AlignedBytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use choices::Choices;
use draft::{Draft, seal};
use mutate::{NOTICED_BYTES, REFUSED, REFUSED_BYTES, TOLERATED, sealed};
use sample::Sample;
use serve::{Served, serve};
use shapes::shapes;

/// No question about a sample takes a millisecond: this is for a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(10);

/// All tests together take seconds. Who is not through by then never will be.
const END: Duration = Duration::from_secs(300);

/// The samples have at most 40 kB. Every single allocation stays below this.
const MOST_BYTES: usize = 1 << 20;

impl Choices for ChaCha8Rng {
    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.random_range(0..end) }
    }

    fn number(&mut self) -> u64 {
        self.next_u64()
    }
}

/// The samples. From the first call on, the clock runs: an endless loop fails the run, and does not hang it.
fn images() -> Vec<AlignedBytes> {
    static CLOCK: Once = Once::new();
    CLOCK.call_once(|| {
        spawn(|| {
            sleep(END);
            eprintln!("still not through after {END:?}: something loops endlessly");
            abort()
        });
    });
    shapes().into_iter().map(|shape| Sample::new(shape).image()).collect()
}

/// The samples, one that has models of segments inside, and those of segments, whose own promises the test `segments` has.
fn all_images() -> Vec<AlignedBytes> {
    let inside = by_segment::image(&Sample::new(shapes()[0]));
    images().into_iter().chain([inside]).chain(segments::images()).collect()
}

/// Serves an image and names the damage where that panics or takes long.
fn survive(name: &str, bytes: &[u8], random: &mut ChaCha8Rng) -> Served {
    let bytes = AlignedBytes::copy_of(bytes).unwrap();
    let start = Instant::now();
    let served = catch_unwind(AssertUnwindSafe(|| serve(&bytes, random)));
    assert!(start.elapsed() < PATIENCE, "{name}: {:?}", start.elapsed());
    served.unwrap_or_else(|_| panic!("{name}: serving the image panicked"))
}

fn refused(name: &str, served: &Served) {
    let refused = matches!(served.checked, Err(Error::Corrupted(_) | Error::Format(_)));
    assert!(refused, "{name}: {served:?}");
}

#[test]
fn the_samples_are_valid() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for image in all_images() {
        assert_eq!(serve(&image, &mut random), Served { opened: true, checked: Ok(()) });
        let again = Draft::of(&image).build().unwrap();
        assert_eq!(serve(&again, &mut random), Served { opened: true, checked: Ok(()) });
        assert_eq!(again.len(), image.len());
        let mut resealed = image.to_vec();
        seal(&mut resealed);
        assert!(resealed[..] == image[..], "a right checksum was changed");
    }
}

/// Each promise is tried on all samples many times; every kind of damage must find something to damage.
#[test]
fn whatever_is_promised_is_refused_with_right_checksums() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let images = images();
    for (name, damage) in REFUSED {
        let mut applied = 0;
        for _ in 0..60 {
            for image in &images {
                let mut draft = Draft::of(image);
                if damage(&mut draft, &mut random)
                    && let Some(bytes) = draft.build()
                {
                    refused(name, &survive(name, &bytes, &mut random));
                    applied += 1;
                }
            }
        }
        assert!(applied >= 60, "{name}: applied {applied} times");
    }
    for (name, damage) in REFUSED_BYTES {
        let mut applied = 0;
        for _ in 0..60 {
            for image in &images {
                if let Some(bytes) = sealed(image, damage, &mut random) {
                    refused(name, &survive(name, &bytes, &mut random));
                    applied += 1;
                }
            }
        }
        assert!(applied >= 60, "{name}: applied {applied} times");
    }
}

#[test]
fn every_change_is_noticed_by_the_checksums() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let images = all_images();
    for n in 0..10_000 {
        let image = &images[n % images.len()];
        let (name, damage) = NOTICED_BYTES[n / images.len() % NOTICED_BYTES.len()];
        let mut bytes = image.to_vec();
        if damage(&mut bytes, &mut random) {
            refused(name, &survive(name, &bytes, &mut random));
        }
    }
}

/// Several kinds of damage on top of each other, checksums right: most of it gets to the serving code.
#[test]
fn forty_thousand_damaged_images_panic_nowhere() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let images = all_images();
    let (mut opened, mut valid) = (0, 0);
    for n in 0..40_000 {
        let mut draft = Draft::of(&images[n % images.len()]);
        let mut name = format!("image {n}");
        for _ in 0..=random.below(4) {
            let at = random.below(REFUSED.len() + 2 * TOLERATED.len());
            let (damage_name, damage) = match REFUSED.get(at) {
                Some(&refused) => refused,
                None => TOLERATED[at % TOLERATED.len()],
            };
            if !draft.sections.is_empty() && damage(&mut draft, &mut random) {
                name = format!("{name}, {damage_name}");
            }
        }
        let Some(image) = draft.build() else { continue };
        let mut bytes = image.to_vec();
        if random.below(4) == 0 {
            NOTICED_BYTES[random.below(NOTICED_BYTES.len())].1(&mut bytes, &mut random);
            seal(&mut bytes);
        }
        let served = survive(&name, &bytes, &mut random);
        opened += u32::from(served.opened);
        valid += u32::from(served.checked.is_ok());
    }
    assert!(opened > 4_000 && valid > 200, "{opened} opened, {valid} of them valid");
    let largest = memory::largest();
    assert!(largest < MOST_BYTES, "{largest} bytes at once");
}
