//! Texts as two sections.

use super::Image;
use crate::error::{Error, Result};

/// Texts one after the other, and where each starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts<'a> {
    offsets: &'a [u64],
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Those of two sections of an image, by the kinds of the sections. `Corrupted`.
    pub fn read(image: &Image<'a>, bytes: u32, offsets: u32) -> Result<Self> {
        let texts = Self { offsets: image.section(offsets)?, bytes: image.section(bytes)? };
        if texts.offsets.is_empty() {
            Err(Error::Corrupted("offsets of texts are missing"))
        } else {
            Ok(texts)
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them; empty where it is damaged or does not exist.
    pub fn get(&self, at: usize) -> &'a str {
        self.text(at).unwrap_or("")
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        let (start, end) = (*self.offsets.get(at)?, *self.offsets.get(at.checked_add(1)?)?);
        let bytes = self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        std::str::from_utf8(bytes).ok()
    }

    /// None of them is empty: names of features and labels never are.
    pub fn check(&self) -> Result<()> {
        let covered =
            self.offsets.first() == Some(&0) && self.offsets.last() == Some(&(self.bytes.len() as u64));
        let whole = (0..self.len()).all(|at| self.text(at).is_some_and(|text| !text.is_empty()));
        if covered && whole { Ok(()) } else { Err(Error::Corrupted("texts")) }
    }
}

/// The two sections of some texts.
pub fn pack(texts: &[impl AsRef<str>]) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
    for text in texts {
        bytes.extend_from_slice(text.as_ref().as_bytes());
        offsets.push(bytes.len() as u64);
    }
    (bytes, offsets)
}
