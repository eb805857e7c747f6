//! Images of any bytes: opened, checked, and served from whatever the checks say.
//!
//! An input is decisions. Most make a valid image, damage it by name and repair the checksums half of the time, so
//! that damage gets to the serving code; the others are followed by the bytes of an image themselves.
#![no_main]

#[path = "../../crates/recommenders/tests/damage/by_segment.rs"]
mod by_segment;
#[path = "../../crates/recommenders/tests/damage/choices.rs"]
mod choices;
#[path = "../../crates/recommenders/tests/damage/draft.rs"]
mod draft;
#[path = "../../crates/recommenders/tests/damage/mutate.rs"]
mod mutate;
#[path = "../../crates/recommenders/tests/damage/sample.rs"]
mod sample;
#[path = "../../crates/recommenders/tests/damage/segments.rs"]
mod segments;
#[path = "../../crates/recommenders/tests/damage/serve.rs"]
mod serve;
#[path = "../../crates/recommenders/tests/damage/shapes.rs"]
mod shapes;

use std::sync::LazyLock;

use arbitrary::Unstructured;
use base::image::AlignedBytes;
use libfuzzer_sys::fuzz_target;

use choices::Choices;
use draft::{Draft, seal};
use mutate::{NOTICED_BYTES, REFUSED, REFUSED_BYTES, TOLERATED, sealed};
use sample::Sample;
use serve::serve;

static IMAGES: LazyLock<Vec<AlignedBytes>> =
    LazyLock::new(|| shapes::shapes().into_iter().map(|shape| Sample::new(shape).image()).collect());

/// The same, one with models of segments inside, and those of segments: what is promised of recommenders is not promised of them.
static ALL_IMAGES: LazyLock<Vec<AlignedBytes>> = LazyLock::new(|| {
    let copy = |image: &AlignedBytes| AlignedBytes::copy_of(image).unwrap();
    let inside = by_segment::image(&Sample::new(shapes::shapes()[0]));
    IMAGES.iter().map(copy).chain([inside]).chain(segments::images()).collect()
});

/// Zeros, once the input is used up.
impl Choices for Unstructured<'_> {
    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.int_in_range(0..=end - 1).unwrap_or(0) }
    }

    fn number(&mut self) -> u64 {
        self.arbitrary().unwrap_or(0)
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Unstructured::new(input);
    let image = choices.below(ALL_IMAGES.len());
    match choices.below(5) {
        0 => one_promise(&IMAGES[image % IMAGES.len()], &mut choices),
        1 => plain_bytes(choices),
        _ => anything(&ALL_IMAGES[image], &mut choices),
    }
});

/// One kind of damage that the checks promise to refuse, with right checksums.
fn one_promise(image: &[u8], choices: &mut Unstructured<'_>) {
    let at = choices.below(REFUSED.len() + REFUSED_BYTES.len());
    let damaged = match REFUSED.get(at) {
        Some((_, damage)) => {
            let mut draft = Draft::of(image);
            if damage(&mut draft, choices) { draft.build() } else { None }
        }
        None => {
            let (_, damage) = REFUSED_BYTES[at - REFUSED.len()];
            sealed(image, damage, choices).map(|bytes| AlignedBytes::copy_of(&bytes).unwrap())
        }
    };
    if let Some(bytes) = damaged {
        let served = serve(&bytes, choices);
        assert!(served.checked.is_err(), "damage {at} is not refused");
    }
}

/// The rest of the input is the image.
fn plain_bytes(mut choices: Unstructured<'_>) {
    let repair = choices.coin();
    let mut bytes = choices.take_rest().to_vec();
    if repair {
        seal(&mut bytes);
    }
    let bytes = AlignedBytes::copy_of(&bytes).unwrap();
    serve(&bytes, &mut Unstructured::new(&bytes));
}

/// Several kinds of damage on top of each other, of sections and then of the whole.
fn anything(image: &[u8], choices: &mut Unstructured<'_>) {
    let mut draft = Draft::of(image);
    for _ in 0..choices.below(6) {
        let at = choices.below(REFUSED.len() + TOLERATED.len());
        let (_, damage) = REFUSED.get(at).unwrap_or_else(|| &TOLERATED[at - REFUSED.len()]);
        if !draft.sections.is_empty() {
            damage(&mut draft, choices);
        }
    }
    let Some(built) = draft.build() else { return };
    let mut bytes = built.to_vec();
    for _ in 0..choices.below(3) {
        let (_, damage) = NOTICED_BYTES[choices.below(NOTICED_BYTES.len())];
        if !bytes.is_empty() {
            damage(&mut bytes, choices);
        }
    }
    if choices.coin() {
        seal(&mut bytes);
    }
    serve(&AlignedBytes::copy_of(&bytes).unwrap(), choices);
}
