//! Ids as canonical values. Users and items have ids of the caller's type; inside, they are the dense
//! positions of a sorted dictionary, so that equal data gives equal positions in whatever order it arrived.

mod builder;
mod finish;
mod hash;
mod integers;
mod sort;
mod table;

pub use builder::IdBuilder;
pub use finish::SortedIds;
pub use sort::{Key, sort_keys};

use std::ops::Range;

use crate::control::Control;
use crate::error::{Error, Result};

/// The most ids that a dictionary holds; `u32::MAX` itself stays free as a mark.
pub const MAX_IDS: u64 = u32::MAX as u64 - 1;

/// How the ids of a dictionary are kept. The numbers are stored in images and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum IdKind {
    /// Signed integers up to 64 bits.
    Integer = 1,
    /// Exactly 16 bytes: a uuid.
    Fixed16 = 2,
    /// Any bytes, none included.
    Bytes = 3,
}

impl IdKind {
    /// The kind that is stored as `number`; `Error::Corrupted` where there is none.
    pub fn from_number(number: u8) -> Result<Self> {
        match number {
            1 => Ok(Self::Integer),
            2 => Ok(Self::Fixed16),
            3 => Ok(Self::Bytes),
            _ => Err(Error::Corrupted("unknown kind of ids")),
        }
    }

    /// The kind in words, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integers",
            Self::Fixed16 => "16 bytes each",
            Self::Bytes => "bytes",
        }
    }
}

/// One id, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdRef<'a> {
    /// An integer.
    Integer(i64),
    /// Sixteen bytes.
    Fixed16(&'a [u8; 16]),
    /// Any bytes.
    Bytes(&'a [u8]),
}

impl IdRef<'_> {
    /// A hash of the canonical bytes (integers: 8 bytes, little-endian) and `seed`. The same on every machine
    /// and in every version, so that samples chosen by it are stable. Not for tables: it resists no attack.
    pub fn stable_hash(self, seed: u64) -> u64 {
        match self {
            Self::Integer(value) => hash::stable(&value.to_le_bytes(), seed),
            Self::Fixed16(bytes) => hash::stable(bytes, seed),
            Self::Bytes(bytes) => hash::stable(bytes, seed),
        }
    }
}

/// Ids in a row, borrowed: a dictionary served in place, or a batch of rows in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdsRef<'a> {
    /// Integers.
    Integer(&'a [i64]),
    /// Sixteen bytes each.
    Fixed16(&'a [[u8; 16]]),
    /// Id `n` is `bytes[offsets[n]..offsets[n + 1]]`; one more offset than ids, or none at all.
    Bytes {
        /// Where each id starts, and where the last one ends.
        offsets: &'a [u64],
        /// All ids, one after the other.
        bytes: &'a [u8],
    },
}

impl<'a> IdsRef<'a> {
    /// How the ids are kept.
    #[inline]
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Integer(_) => IdKind::Integer,
            Self::Fixed16(_) => IdKind::Fixed16,
            Self::Bytes { .. } => IdKind::Bytes,
        }
    }

    /// Number of ids.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Integer(values) => values.len(),
            Self::Fixed16(values) => values.len(),
            Self::Bytes { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at a position; `None` beyond the end and where offsets are damaged.
    #[inline]
    pub fn get(&self, position: u32) -> Option<IdRef<'a>> {
        self.at(position as usize)
    }

    fn at(&self, position: usize) -> Option<IdRef<'a>> {
        match *self {
            Self::Integer(values) => values.get(position).map(|&value| IdRef::Integer(value)),
            Self::Fixed16(values) => values.get(position).map(IdRef::Fixed16),
            Self::Bytes { offsets, bytes } => {
                let start = usize::try_from(*offsets.get(position)?).ok()?;
                let end = usize::try_from(*offsets.get(position + 1)?).ok()?;
                bytes.get(start..end).map(IdRef::Bytes)
            }
        }
    }

    /// The position of an id in a sorted dictionary, by binary search. `None` for an id that is not there,
    /// for one of another kind, and where damaged offsets end the search. Never panics, always ends.
    pub fn find(&self, id: IdRef<'_>) -> Option<u32> {
        let position = match (*self, id) {
            (Self::Integer(values), IdRef::Integer(id)) => values.binary_search(&id).ok()?,
            (Self::Fixed16(values), IdRef::Fixed16(id)) => values.binary_search(id).ok()?,
            (Self::Bytes { .. }, IdRef::Bytes(id)) => self.find_bytes(id)?,
            _ => return None,
        };
        u32::try_from(position).ok()
    }

    fn find_bytes(&self, id: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let IdRef::Bytes(there) = self.at(middle)? else { return None };
            match there.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// Full validation of a dictionary: at most `MAX_IDS` ids that rise strictly, offsets that cover the bytes
    /// exactly. Linear in the size; `Error::Corrupted` says what is wrong. `Error::Cancelled`.
    pub fn check(&self, control: &Control) -> Result<()> {
        /// Ids between two looks at the control: a few milliseconds.
        const PIECE: usize = 1 << 20;
        // Each piece ends with the first id of the next one.
        let pieces = || (0..self.len()).step_by(PIECE).map(|start| start..self.len().min(start + PIECE + 1));
        let all = |rising: &dyn Fn(Range<usize>) -> bool| {
            for piece in pieces() {
                control.check()?;
                if !rising(piece) {
                    return Err(Error::Corrupted("ids are not in order"));
                }
            }
            Ok(())
        };
        if self.len() as u64 > MAX_IDS {
            return Err(Error::Corrupted("too many ids"));
        }
        match *self {
            Self::Integer(values) => all(&|piece| values[piece].is_sorted_by(|a, b| a < b)),
            Self::Fixed16(values) => all(&|piece| values[piece].is_sorted_by(|a, b| a < b)),
            Self::Bytes { offsets, bytes } => {
                if offsets.first().is_some_and(|&first| first != 0) || !offsets.is_sorted() {
                    return Err(Error::Corrupted("offsets of the ids do not rise"));
                }
                if offsets.last().map_or(0, |&last| last) != bytes.len() as u64 {
                    return Err(Error::Corrupted("offsets of the ids do not cover them"));
                }
                // Offsets that rise and end with the bytes are all within them: every `at` is `Some`.
                let follows = |n: usize| match (self.at(n - 1), self.at(n)) {
                    (Some(IdRef::Bytes(a)), Some(IdRef::Bytes(b))) => a < b,
                    _ => false,
                };
                all(&|piece| piece.skip(1).all(follows))
            }
        }
    }

    /// The ids of a range, which must be within `0..len()`.
    pub fn slice(&self, range: Range<usize>) -> IdsRef<'a> {
        match *self {
            Self::Integer(values) => Self::Integer(&values[range]),
            Self::Fixed16(values) => Self::Fixed16(&values[range]),
            Self::Bytes { offsets, bytes } if range.is_empty() => {
                Self::Bytes { offsets: &offsets[..0], bytes }
            }
            Self::Bytes { offsets, bytes } => {
                Self::Bytes { offsets: &offsets[range.start..=range.end], bytes }
            }
        }
    }
}

/// A dictionary that owns its ids; see [`IdsRef`] for the shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// Integers.
    Integer(Vec<i64>),
    /// Sixteen bytes each.
    Fixed16(Vec<[u8; 16]>),
    /// Id `n` is `bytes[offsets[n]..offsets[n + 1]]`.
    Bytes {
        /// Where each id starts, and where the last one ends.
        offsets: Vec<u64>,
        /// All ids, one after the other.
        bytes: Vec<u8>,
    },
}

impl Ids {
    /// The ids as a borrowed view, which has all the methods.
    #[inline]
    pub fn view(&self) -> IdsRef<'_> {
        match self {
            Self::Integer(values) => IdsRef::Integer(values),
            Self::Fixed16(values) => IdsRef::Fixed16(values),
            Self::Bytes { offsets, bytes } => IdsRef::Bytes { offsets, bytes },
        }
    }

    /// Number of ids.
    #[inline]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of the ids.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Integer(values) => values.len() as u64 * 8,
            Self::Fixed16(values) => values.len() as u64 * 16,
            Self::Bytes { offsets, bytes } => offsets.len() as u64 * 8 + bytes.len() as u64,
        }
    }
}
