//! An image whose bytes lie where they were made: stored without a copy of the whole.

use std::borrow::Cow;

use super::aligned::AlignedBytes;
use crate::control::Control;
use crate::error::{Error, Result};

/// Bytes handled between two looks at the control, well below 1 ms.
pub(super) const PIECE: usize = 1 << 20;

/// The pieces of an image, header first.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    pub(super) pieces: Vec<Cow<'a, [u8]>>,
    pub(super) length: u64,
}

impl<'a> Layout<'a> {
    /// Of an image that lies in one piece.
    pub fn of(image: &'a [u8]) -> Layout<'a> {
        Layout { pieces: vec![Cow::Borrowed(image)], length: image.len() as u64 }
    }

    /// Bytes of the image.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its first bytes, at least the header.
    pub fn head(&self) -> &[u8] {
        self.pieces.first().map_or(&[], |piece| piece)
    }

    /// All its bytes in order, in pieces of at most 1 MB.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().flat_map(|piece| piece.chunks(PIECE))
    }

    /// All its bytes in order, in chunks of `size`, the last one shorter.
    pub fn chunks<E>(
        &self,
        size: usize,
        mut each: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        // What a chunk has of pieces that ended within it.
        let mut begun = Vec::with_capacity(size);
        for piece in &self.pieces {
            let mut rest = &piece[..];
            if !begun.is_empty() {
                let (first, after) = rest.split_at(rest.len().min(size - begun.len()));
                begun.extend_from_slice(first);
                rest = after;
                if begun.len() < size {
                    continue;
                }
                each(&begun)?;
                begun.clear();
            }
            let chunks = rest.chunks_exact(size);
            begun.extend_from_slice(chunks.remainder());
            for chunk in chunks {
                each(chunk)?;
            }
        }
        if begun.is_empty() { Ok(()) } else { each(&begun) }
    }

    /// A copy in one piece, at a 64-byte boundary, in one allocation of `length()` bytes rounded up to 64, which the caller
    /// has taken. `Error::NoMemory`, `Error::Cancelled`.
    pub fn bytes(&self, control: &Control) -> Result<AlignedBytes> {
        let length = usize::try_from(self.length).map_err(|_| Error::Corrupted("too long"))?;
        let mut image = AlignedBytes::with_capacity(length)?;
        for piece in self.pieces() {
            control.check()?;
            image.extend(piece)?;
        }
        Ok(image)
    }
}
