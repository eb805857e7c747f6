//! Damage, by name. What is promised: `Image::verify` or `Recommender::check` refuses each of it, also when all
//! checksums are right.

use base::image::kinds::*;
use bytemuck::Pod;
use recommenders::recommender::Facts;
use vectors::search::{BLOCK, Bounds};

use crate::choices::{Choices, extreme, extreme_float, one_of};
use crate::draft::{Draft, seal};

/// Damages something and says whether there was anything to damage.
pub(crate) type Damage<T> = fn(&mut T, &mut dyn Choices) -> bool;

const FACTORS: [u32; 2] = [USER_FACTORS, ITEM_FACTORS];
const QUANTIZED: [(u32, u32); 2] = [(USER_QUANTIZED, USER_BOUNDS), (ITEM_QUANTIZED, ITEM_BOUNDS)];
const BOUNDS: [u32; 2] = [USER_BOUNDS, ITEM_BOUNDS];

/// Damage of sections that is refused, on its own, whatever the image.
pub(crate) const REFUSED: [(&str, Damage<Draft>); 33] = [
    ("regularization out of range", |draft, choices| {
        let wrong = one_of(choices, &[f64::NAN, f64::INFINITY, -1.0, f64::NEG_INFINITY]);
        facts(draft, |facts| facts.regularization = wrong)
    }),
    ("alpha out of range", |draft, choices| {
        let wrong = one_of(choices, &[f64::NAN, f64::INFINITY, -1.0, f64::NEG_INFINITY]);
        facts(draft, |facts| facts.alpha = wrong)
    }),
    ("other number of entries", |draft, choices| {
        let other = 1 + choices.number() % u64::MAX;
        facts(draft, |facts| facts.entries = facts.entries.wrapping_add(other))
    }),
    ("other number of factors", |draft, choices| {
        let other = extreme(choices) as u32;
        facts(draft, |facts| facts.factors = if other == facts.factors { 0 } else { other })
    }),
    ("reserved facts", |draft, choices| {
        let (at, wrong) = (choices.below(2), 1 + choices.below(255) as u8);
        facts(draft, |facts| facts.reserved[at] = wrong)
    }),
    ("a section is missing", |draft, choices| {
        let at = choices.below(draft.sections.len());
        // Images of earlier versions do not have it.
        if draft.sections[at].0 == SEEN_VALUES {
            return false;
        }
        draft.sections.remove(at);
        true
    }),
    ("a section is cut or longer", |draft, choices| {
        let at = choices.below(draft.sections.len());
        let (kind, bytes) = &mut draft.sections[at];
        // No offset at all says the same as the one of an empty dictionary.
        if [USER_IDS_OFFSETS, ITEM_IDS_OFFSETS].contains(kind) && bytes.len() == 8 {
            return false;
        }
        // Zeros and repetitions are what looks most like contents, and 192 is a whole number of most of them.
        match choices.below(4) {
            0 if bytes.is_empty() => return false,
            0 => bytes.truncate(choices.below(bytes.len())),
            1 => bytes.resize(bytes.len() + 1 + choices.below(200), 0),
            2 => bytes.resize(bytes.len() + 192, 0),
            _ if bytes.is_empty() => return false,
            _ => bytes.extend_from_within(choices.below(bytes.len())..),
        }
        true
    }),
    ("rows of content that are none", |draft, choices| {
        let kind = one_of(choices, &[CONTENT_USERS, CONTENT_ITEMS]);
        let users = draft.values::<u64>(SEEN_OFFSETS);
        let popularity = draft.values::<u32>(POPULARITY);
        let busy = match kind {
            CONTENT_USERS => users.windows(2).position(|pair| pair[0] < pair[1]),
            _ => popularity.iter().position(|&count| count > 0),
        };
        // Out of range, with interactions, or not in order.
        let wrong = match (choices.below(3), busy) {
            (0, _) => vec![u32::MAX - 1],
            (1, Some(busy)) => vec![busy as u32],
            _ => vec![0, 0],
        };
        draft.sections.retain(|(each, _)| *each != kind);
        draft.sections.push((kind, bytemuck::cast_slice(&wrong).to_vec()));
        true
    }),
    ("ids in two forms", |draft, choices| {
        let (forms, bytes) =
            one_of(choices, &[([1, 2, 3], 0), ([5, 6, 7], 0), ([1, 2, 3], 32), ([5, 6, 7], 32)]);
        match forms.into_iter().find(|form| draft.sections.iter().all(|(kind, _)| kind != form)) {
            Some(form) => draft.sections.push((form, vec![1; bytes])),
            None => return false,
        }
        true
    }),
    ("equal ids", |draft, choices| {
        let kind = one_of(choices, &[USER_IDS_INTEGER, ITEM_IDS_INTEGER]);
        let fixed = one_of(choices, &[USER_IDS_FIXED, ITEM_IDS_FIXED]);
        draft.edit::<i64>(kind, |ids| repeat(ids, choices))
            || draft.edit::<[u8; 16]>(fixed, |ids| repeat(ids, choices))
    }),
    ("ids not in order", |draft, choices| {
        let kind = one_of(choices, &[USER_IDS_INTEGER, ITEM_IDS_INTEGER]);
        let fixed = one_of(choices, &[USER_IDS_FIXED, ITEM_IDS_FIXED]);
        draft.edit::<i64>(kind, |ids| swap(ids, choices))
            || draft.edit::<[u8; 16]>(fixed, |ids| swap(ids, choices))
    }),
    ("bytes of an id behind those of the next", |draft, choices| {
        let (kind, at) = one_of(choices, &[(USER_IDS_BYTES, 4), (ITEM_IDS_BYTES, 8)]);
        let offsets = draft.values::<u64>(at);
        // The first byte of an id that is neither empty nor the last.
        let starts: Vec<usize> = (0..offsets.len().saturating_sub(2))
            .filter(|&n| offsets[n] < offsets[n + 1])
            .map(|n| offsets[n] as usize)
            .collect();
        draft.edit::<u8>(kind, |bytes| match starts.get(choices.below(starts.len())) {
            Some(&start) if start < bytes.len() => {
                bytes[start] = 255;
                true
            }
            _ => false,
        })
    }),
    ("an empty id among others", |draft, choices| {
        let kind = one_of(choices, &[USER_IDS_OFFSETS, ITEM_IDS_OFFSETS]);
        draft.edit::<u64>(kind, |offsets| {
            if offsets.len() < 4 {
                return false;
            }
            let at = 1 + choices.below(offsets.len() - 3);
            offsets[at + 1] = offsets[at];
            true
        })
    }),
    ("offsets of ids do not rise", |draft, choices| {
        let kind = one_of(choices, &[USER_IDS_OFFSETS, ITEM_IDS_OFFSETS]);
        draft.edit::<u64>(kind, |offsets| fall(offsets, choices))
    }),
    ("offsets of ids begin or end elsewhere", |draft, choices| {
        let kind = one_of(choices, &[USER_IDS_OFFSETS, ITEM_IDS_OFFSETS]);
        draft.edit::<u64>(kind, |offsets| shift_end(offsets, choices))
    }),
    ("offsets of seen items do not rise", |draft, choices| {
        draft.edit::<u64>(SEEN_OFFSETS, |offsets| fall(offsets, choices))
    }),
    ("offsets of seen items begin or end elsewhere", |draft, choices| {
        draft.edit::<u64>(SEEN_OFFSETS, |offsets| shift_end(offsets, choices))
    }),
    ("a seen item out of range", |draft, choices| out_of_range(draft, SEEN_INDICES, choices)),
    ("a seen item twice", |draft, choices| {
        let pairs = seen_pairs(draft);
        draft.edit::<u32>(SEEN_INDICES, |seen| match pairs.get(choices.below(pairs.len())) {
            Some(&at) => {
                seen[at + 1] = seen[at];
                true
            }
            None => false,
        })
    }),
    ("seen items not in order", |draft, choices| {
        let pairs = seen_pairs(draft);
        draft.edit::<u32>(SEEN_INDICES, |seen| match pairs.get(choices.below(pairs.len())) {
            Some(&at) => {
                seen.swap(at, at + 1);
                true
            }
            None => false,
        })
    }),
    ("popularity counts something else", |draft, choices| {
        draft.edit::<u32>(POPULARITY, |counts| {
            let other = 1 + choices.below(u32::MAX as usize - 1) as u32;
            change(counts, choices, |count| count.wrapping_add(other))
        })
    }),
    ("an item of popularity out of range", |draft, choices| out_of_range(draft, BY_POPULARITY, choices)),
    ("an item of popularity twice", |draft, choices| {
        draft.edit::<u32>(BY_POPULARITY, |items| repeat(items, choices))
    }),
    ("items not in the order of popularity", |draft, choices| {
        draft.edit::<u32>(BY_POPULARITY, |items| swap(items, choices))
    }),
    ("a factor that is not finite", |draft, choices| {
        let wrong = one_of(choices, &[f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let kind = one_of(choices, &[USER_FACTORS, ITEM_FACTORS, GRAM]);
        draft.edit::<f32>(kind, |factors| change(factors, choices, |_| wrong))
    }),
    ("a factor beyond the bounds of its row", |draft, choices| {
        let kind = one_of(choices, &FACTORS);
        let norm: f32 = draft.values::<f32>(kind).iter().map(|factor| factor.abs()).sum();
        draft.edit::<f32>(kind, |factors| change(factors, choices, |factor| factor + 2.0 * norm + 1.0))
    }),
    ("a scale that is none", |draft, choices| {
        let wrong = one_of(choices, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0]);
        bounds(draft, choices, |bounds, lane| bounds.scale[lane] = wrong)
    }),
    ("a norm too small", |draft, choices| {
        let wrong = one_of(choices, &[f32::NAN, f32::NEG_INFINITY, -1.0, 0.0]);
        let part = choices.below(2);
        bounds(draft, choices, |bounds, lane| {
            // The norm was rounded up by less than 2^-22 of it.
            let less = bounds.norm[lane] * (1.0 - 1e-6);
            bounds.norm[lane] = if part == 0 { less } else { wrong };
        })
    }),
    ("a norm too large", |draft, choices| {
        let wrong = one_of(choices, &[f32::INFINITY, f32::MAX]);
        let part = choices.below(2);
        bounds(draft, choices, |bounds, lane| {
            let more = bounds.norm[lane] * (1.0 + 1e-6);
            bounds.norm[lane] = if part == 0 { more } else { wrong };
        })
    }),
    ("an error too small or too large", |draft, choices| {
        let wrong = one_of(choices, &[f32::NAN, f32::NEG_INFINITY, -1.0, f32::INFINITY, f32::MAX]);
        let part = choices.below(3);
        bounds(draft, choices, |bounds, lane| {
            bounds.error[lane] = match part {
                0 => bounds.error[lane] * (1.0 - 1e-6) - 1e-30,
                1 => bounds.norm[lane] * 1.02 + 1e-30,
                _ => wrong,
            };
        })
    }),
    ("a byte that does not stand for its factor", |draft, choices| {
        let (kind, bounds) = one_of(choices, &QUANTIZED);
        quantized(draft, kind, bounds, choices, |byte| byte.wrapping_add(if byte > 0 { -2 } else { 2 }))
    }),
    ("a byte without a negative, and an error that allows for it", |draft, choices| {
        let (kind, bound) = one_of(choices, &QUANTIZED);
        let damaged = quantized(draft, kind, bound, choices, |_| i8::MIN);
        draft.edit::<Bounds>(bound, |bounds| {
            bounds.iter_mut().for_each(|bounds| bounds.error = bounds.norm);
            damaged
        })
    }),
    ("an infinite factor, and bounds that allow for it", |draft, choices| {
        let (kind, bound) = one_of(choices, &[(USER_FACTORS, USER_BOUNDS), (ITEM_FACTORS, ITEM_BOUNDS)]);
        let damaged = draft.edit::<f32>(kind, |factors| change(factors, choices, |_| f32::INFINITY));
        draft.edit::<Bounds>(bound, |bounds| {
            let infinite = [f32::INFINITY; BLOCK];
            bounds.fill(Bounds { scale: [0.0; BLOCK], norm: infinite, error: infinite });
            damaged
        })
    }),
];

/// Damage of sections that may or may not be noticed, and do no harm then.
pub(crate) const TOLERATED: [(&str, Damage<Draft>); 11] = [
    ("bits of a section flipped", |draft, choices| {
        let at = choices.below(draft.sections.len());
        flip(&mut draft.sections[at].1, choices)
    }),
    ("extreme words", |draft, choices| {
        let at = choices.below(draft.sections.len());
        let bytes = &mut draft.sections[at].1;
        for _ in 0..=choices.below(4) {
            let size = one_of(choices, &[1, 2, 4, 8]);
            let at = choices.below(bytes.len() / size) * size;
            if let Some(to) = bytes.get_mut(at..at + size) {
                to.copy_from_slice(&extreme(choices).to_le_bytes()[..size]);
            }
        }
        true
    }),
    ("extreme floats", |draft, choices| {
        let kind = one_of(choices, &[USER_FACTORS, ITEM_FACTORS, GRAM, USER_BOUNDS, ITEM_BOUNDS]);
        let count = choices.below(5);
        draft.edit::<f32>(kind, |floats| {
            (0..=count).all(|_| {
                let wrong = extreme_float(choices);
                change(floats, choices, |_| wrong)
            })
        })
    }),
    ("two sections swapped", |draft, choices| {
        let (a, b) = (choices.below(draft.sections.len()), choices.below(draft.sections.len()));
        let kind = draft.sections[a].0;
        draft.sections[a].0 = draft.sections[b].0;
        draft.sections[b].0 = kind;
        a != b
    }),
    ("a section of another kind", |draft, choices| {
        let at = choices.below(draft.sections.len());
        draft.sections[at].0 = extreme(choices) as u32 % 24;
        true
    }),
    ("an unknown section more", |draft, choices| {
        draft.sections.push((1000 + choices.below(1000) as u32, vec![7; choices.below(300)]));
        true
    }),
    ("another order in the file", |draft, choices| {
        let at = choices.below(draft.sections.len());
        draft.sections.rotate_left(at);
        true
    }),
    ("noise in place of a section", |draft, choices| {
        let at = choices.below(draft.sections.len());
        let bytes = &mut draft.sections[at].1;
        if choices.below(4) == 0 {
            bytes.resize(choices.below(2000), 0);
        }
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&choices.number().to_le_bytes()[..part.len()]);
        }
        true
    }),
    ("a number of factors whose Gram matrix fits", |draft, choices| {
        let factors = choices.below(100);
        let gram = vec![0.5f32; factors * factors];
        let fits = facts(draft, |facts| facts.factors = factors as u32);
        draft.edit::<f32>(GRAM, |old| {
            *old = gram;
            fits
        })
    }),
    ("bounds that bound nothing", |draft, choices| {
        let wrong = extreme_float(choices);
        let kind = one_of(choices, &BOUNDS);
        draft.edit::<f32>(kind, |floats| {
            floats.fill(wrong);
            true
        })
    }),
    ("all bytes alike", |draft, choices| {
        let kind = one_of(choices, &[USER_QUANTIZED, ITEM_QUANTIZED]);
        let byte = choices.number() as u8;
        draft.edit::<u8>(kind, |bytes| {
            bytes.fill(byte);
            true
        })
    }),
];

/// Damage of header, table and gaps that is refused, with the checksums made right afterwards.
pub(crate) const REFUSED_BYTES: [(&str, Damage<Vec<u8>>); 9] = [
    ("another magic", |bytes, choices| {
        bytes[choices.below(8)] ^= 1 << choices.below(8);
        true
    }),
    ("another version", |bytes, choices| {
        bytes[8 + choices.below(4)] ^= 1 << choices.below(8);
        true
    }),
    ("reserved bytes of the header", |bytes, choices| {
        bytes[44 + choices.below(20)] = 1 + choices.below(255) as u8;
        true
    }),
    ("reserved bytes of the table", |bytes, choices| {
        let entry = entry(bytes, choices);
        bytes[entry + 24 + choices.below(8)] = 1 + choices.below(255) as u8;
        true
    }),
    ("a section elsewhere", |bytes, choices| {
        let entry = entry(bytes, choices);
        word(bytes, entry + 8, choices)
    }),
    ("a section of another length", |bytes, choices| {
        // Within the same multiple of 64 it is the gap that tells, or the readers of the section.
        let entry = entry(bytes, choices);
        word(bytes, entry + 16, choices)
    }),
    ("a section twice", |bytes, choices| {
        let (from, to) = (entry(bytes, choices), entry(bytes, choices));
        bytes.copy_within(from..from + 4, to);
        from != to
    }),
    ("more or fewer sections", |bytes, choices| {
        let count = u32::from_le_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]);
        let other = extreme(choices) as u32;
        bytes[40..44].copy_from_slice(&other.to_le_bytes());
        other != count
    }),
    ("a gap that is not zeros", |bytes, choices| {
        let gaps = gaps(bytes);
        match gaps.get(choices.below(gaps.len())) {
            Some(&at) => bytes[at] = 1 + choices.below(255) as u8,
            None => return false,
        }
        true
    }),
];

/// Damage of the whole image that is noticed where the checksums are left as they were.
pub(crate) const NOTICED_BYTES: [(&str, Damage<Vec<u8>>); 5] = [
    ("bits flipped", |bytes, choices| flip(bytes, choices)),
    ("cut", |bytes, choices| {
        bytes.truncate(choices.below(bytes.len()));
        true
    }),
    ("a part copied over another", |bytes, choices| {
        let before = bytes.clone();
        let (from, to) = (choices.below(bytes.len()), choices.below(bytes.len()));
        let length = (1 + choices.below(64)).min(bytes.len() - from).min(bytes.len() - to);
        bytes.copy_within(from..from + length, to);
        *bytes != before
    }),
    ("something inserted", |bytes, choices| {
        let at = choices.below(bytes.len());
        let inserted = vec![choices.number() as u8; 1 + choices.below(200)];
        bytes.splice(at..at, inserted);
        true
    }),
    ("an extreme word", |bytes, choices| {
        let at = choices.below(bytes.len().saturating_sub(8)) / 4 * 4;
        word(bytes, at, choices)
    }),
];

fn facts(draft: &mut Draft, change: impl FnOnce(&mut Facts)) -> bool {
    draft.edit::<Facts>(FACTS, |facts| match &mut facts[..] {
        [facts] => {
            change(facts);
            true
        }
        _ => false,
    })
}

/// Changes one value.
fn change<T: Pod>(values: &mut [T], choices: &mut dyn Choices, new: impl FnOnce(T) -> T) -> bool {
    let at = choices.below(values.len());
    match values.get_mut(at) {
        Some(value) => {
            *value = new(*value);
            true
        }
        None => false,
    }
}

/// Makes a value equal to the one before.
fn repeat<T: Pod>(values: &mut [T], choices: &mut dyn Choices) -> bool {
    if values.len() < 2 {
        return false;
    }
    let at = choices.below(values.len() - 1);
    values[at + 1] = values[at];
    true
}

/// Swaps two values, which are distinct in a valid section.
fn swap<T: Pod>(values: &mut [T], choices: &mut dyn Choices) -> bool {
    if values.len() < 2 {
        return false;
    }
    let (a, more) = (choices.below(values.len()), 1 + choices.below(values.len() - 1));
    values.swap(a, (a + more) % values.len());
    true
}

/// Makes an offset larger than the next, or the last one smaller than the one before.
fn fall(offsets: &mut [u64], choices: &mut dyn Choices) -> bool {
    if offsets.len() < 2 {
        return false;
    }
    let at = choices.below(offsets.len() - 1);
    let next = offsets[at + 1];
    offsets[at] = next.saturating_add(1 + extreme(choices) % (u64::MAX - next).max(1));
    offsets[at] > next
}

/// Moves the first or the last offset.
fn shift_end(offsets: &mut [u64], choices: &mut dyn Choices) -> bool {
    let at = if choices.coin() { 0 } else { offsets.len().saturating_sub(1) };
    let other = extreme(choices);
    match offsets.get_mut(at) {
        Some(offset) => {
            let before = *offset;
            *offset = other;
            before != other
        }
        None => false,
    }
}

fn out_of_range(draft: &mut Draft, kind: u32, choices: &mut dyn Choices) -> bool {
    let items = draft.values::<u32>(POPULARITY).len();
    let wrong = one_of(choices, &[items, items + 1, u32::MAX as usize]) as u32;
    draft.edit::<u32>(kind, |values| change(values, choices, |_| wrong))
}

/// Positions of seen items whose next one belongs to the same user.
fn seen_pairs(draft: &Draft) -> Vec<usize> {
    let offsets = draft.values::<u64>(SEEN_OFFSETS);
    let seen = draft.values::<u32>(SEEN_INDICES).len();
    let users = offsets.windows(2).filter(|pair| pair[0] < pair[1] && pair[1] <= seen as u64);
    users.flat_map(|pair| (pair[0] as usize + 1..pair[1] as usize).map(|next| next - 1)).collect()
}

/// Changes the bounds of a row that is not zeros.
fn bounds(draft: &mut Draft, choices: &mut dyn Choices, change: impl FnOnce(&mut Bounds, usize)) -> bool {
    let kind = one_of(choices, &BOUNDS);
    draft.edit::<Bounds>(kind, |bounds| {
        let rows: Vec<usize> =
            (0..bounds.len() * BLOCK).filter(|row| bounds[row / BLOCK].norm[row % BLOCK] > 0.0).collect();
        match rows.get(choices.below(rows.len())) {
            Some(&row) => {
                change(&mut bounds[row / BLOCK], row % BLOCK);
                true
            }
            None => false,
        }
    })
}

/// Changes a byte of a row that is not zeros.
fn quantized(
    draft: &mut Draft,
    kind: u32,
    bounds: u32,
    choices: &mut dyn Choices,
    new: impl FnOnce(i8) -> i8,
) -> bool {
    let factors = draft.values::<Facts>(FACTS).first().map_or(0, |facts| facts.factors as usize);
    let bounds = draft.values::<Bounds>(bounds);
    let rows: Vec<usize> =
        (0..bounds.len() * BLOCK).filter(|row| bounds[row / BLOCK].scale[row % BLOCK] > 0.0).collect();
    let Some(&row) = rows.get(choices.below(rows.len())) else { return false };
    let factor = choices.below(factors);
    let groups = factors.div_ceil(4);
    let at = ((row / BLOCK * groups + factor / 4) * BLOCK + row % BLOCK) * 4 + factor % 4;
    draft.edit::<i8>(kind, |bytes| change(bytes.get_mut(at..=at).unwrap_or_default(), choices, new))
}

fn flip(bytes: &mut [u8], choices: &mut dyn Choices) -> bool {
    if bytes.is_empty() {
        return false;
    }
    let before = bytes.to_vec();
    for _ in 0..=choices.below(8) {
        bytes[choices.below(before.len())] ^= 1 << choices.below(8);
    }
    bytes != before
}

/// Puts another 8 bytes somewhere; false where they do not fit in or are the same.
fn word(bytes: &mut [u8], at: usize, choices: &mut dyn Choices) -> bool {
    let Some(to) = bytes.get_mut(at..at + 8) else { return false };
    let word = extreme(choices).to_le_bytes();
    let same = to == word;
    to.copy_from_slice(&word);
    !same
}

/// Where an entry of the section table of a valid image is.
fn entry(bytes: &[u8], choices: &mut dyn Choices) -> usize {
    64 + 32 * choices.below(usize::from(bytes[40]))
}

/// Positions of all bytes of a valid image between sections.
fn gaps(bytes: &[u8]) -> Vec<usize> {
    let number =
        |at: usize| bytes[at..at + 8].iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
    let sections = usize::from(bytes[40]);
    let mut end = 64 + 32 * sections;
    let mut gaps = Vec::new();
    for entry in (64..end).step_by(32) {
        gaps.extend(end..number(entry + 8));
        end = number(entry + 8) + number(entry + 16);
    }
    gaps.extend(end..bytes.len());
    gaps
}

/// Applies `damage` to a copy of an image and makes the checksums right again.
pub(crate) fn sealed(image: &[u8], damage: Damage<Vec<u8>>, choices: &mut dyn Choices) -> Option<Vec<u8>> {
    let mut bytes = image.to_vec();
    let damaged = damage(&mut bytes, choices);
    seal(&mut bytes);
    damaged.then_some(bytes)
}
