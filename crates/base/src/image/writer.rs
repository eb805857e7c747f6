//! Writing an image.

use std::borrow::Cow;

use bytemuck::NoUninit;

use super::aligned::AlignedBytes;
use super::layout::{Layout, PIECE};
use super::{ALIGNMENT, Header, MAGIC, MAX_SECTIONS, Section, VERSION, header_crc};
use crate::control::Control;
use crate::error::{Error, Result};

const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// Collects borrowed sections of an image.
#[derive(Debug)]
pub struct Writer<'a> {
    uuid: [u8; 16],
    /// The kind of each, and the pieces that it is made of.
    sections: Vec<(u32, Vec<&'a [u8]>)>,
}

impl<'a> Writer<'a> {
    /// An image without sections.
    pub fn new(uuid: [u8; 16]) -> Self {
        Self { uuid, sections: Vec::new() }
    }

    /// Adds a section of a kind that is not there yet.
    pub fn section<T: NoUninit>(&mut self, kind: u32, values: &'a [T]) -> &mut Self {
        self.pieces(kind, vec![bytemuck::cast_slice(values)])
    }

    /// Adds a section of bytes that lie in several places, one after the other.
    pub fn pieces(&mut self, kind: u32, pieces: Vec<&'a [u8]>) -> &mut Self {
        self.sections.push((kind, pieces));
        self
    }

    /// Exact length of the image.
    pub fn length(&self) -> u64 {
        estimate(self.sections.iter().map(|(_, pieces)| bytes_in(pieces)))
    }

    /// The image in one piece, without anybody who could cancel. As [`Writer::layout`], and `Error::NoMemory`.
    pub fn finish(&self) -> Result<AlignedBytes> {
        let control = Control::unlimited();
        self.layout(&control)?.bytes(&control)
    }

    /// The image, with its checksums, where its sections lie. `Error::Corrupted` for a kind that is there twice or more than
    /// 256 sections, `Error::Cancelled`.
    pub fn layout(&self, control: &Control) -> Result<Layout<'a>> {
        let count = self.sections.len();
        if count > MAX_SECTIONS {
            return Err(Error::Corrupted("too many sections"));
        }
        let mut table = Vec::with_capacity(count);
        let mut offset = start_of_sections(count as u64);
        for (n, (kind, pieces)) in self.sections.iter().enumerate() {
            let kind = *kind;
            if self.sections[..n].iter().any(|(other, _)| *other == kind) {
                return Err(Error::Corrupted("a section is there twice"));
            }
            let mut crc = 0;
            for piece in pieces.iter().flat_map(|bytes| bytes.chunks(PIECE)) {
                control.check()?;
                crc = crc32c::crc32c_append(crc, piece);
            }
            let length = bytes_in(pieces);
            table.push(Section { kind, crc, offset, length, reserved: 0 });
            offset += length.next_multiple_of(ALIGNMENT as u64);
        }
        let total = self.length();
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            crc: 0,
            uuid: self.uuid,
            length: total,
            sections: count as u32,
            reserved: [0; 5],
        };
        header.crc = header_crc(header, &table);
        let mut head = bytemuck::bytes_of(&header).to_vec();
        head.extend_from_slice(bytemuck::cast_slice(&table));
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        let mut pieces = vec![Cow::Owned(head)];
        for (_, section) in &self.sections {
            pieces.extend(section.iter().map(|&piece| Cow::Borrowed(piece)));
            let gap = bytes_in(section).next_multiple_of(ALIGNMENT as u64) - bytes_in(section);
            pieces.push(Cow::Borrowed(&ZEROS[..gap as usize]));
        }
        Ok(Layout { pieces, length: total })
    }
}

/// Bytes of some pieces.
fn bytes_in(pieces: &[&[u8]]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

fn start_of_sections(count: u64) -> u64 {
    (size_of::<Header>() as u64 + count * size_of::<Section>() as u64).next_multiple_of(ALIGNMENT as u64)
}

/// Length of an image with sections of these lengths in bytes.
pub fn estimate(lengths: impl ExactSizeIterator<Item = u64>) -> u64 {
    let start = start_of_sections(lengths.len() as u64);
    start + lengths.map(|length| length.next_multiple_of(ALIGNMENT as u64)).sum::<u64>()
}
