//! The flat file format of a model version, served in place.
//!
//! All numbers are little-endian. A header of 64 bytes, the section table with 32 bytes per section, then the
//! sections in the order of the table. Each starts at the next multiple of 64 after the one before; the gaps and
//! the end up to a multiple of 64 are zeros. So bounds, alignment and overlap are one comparison per section.
//!
//! | Header | bytes | |
//! |---|---|---|
//! | magic | 0..8 | `89 50 45 52 53 4f 4e 41` |
//! | version | 8..12 | 1 |
//! | crc | 12..16 | CRC-32C of the header, with zeros here, and the table |
//! | uuid | 16..32 | identity of the image |
//! | length | 32..40 | of the whole image |
//! | sections | 40..44 | number of sections, at most 256 |
//! | reserved | 44..64 | zeros |
//!
//! A section of the table: kind (4 bytes), CRC-32C (4), offset (8), length (8) in bytes, 8 zeros.

mod aligned;
mod dictionaries;
pub mod files;
pub mod kinds;
mod layout;
mod texts;
mod writer;

pub use aligned::AlignedBytes;
pub use dictionaries::Dictionary;
pub use layout::Layout;
pub use texts::Texts;
pub use texts::pack;
pub use writer::{Writer, estimate};

use bytemuck::{AnyBitPattern, Pod, Zeroable};

use crate::control::Control;
use crate::error::{Error, Result};

#[cfg(target_endian = "big")]
compile_error!("images are served in place, so the machine must be little-endian as they are");

/// The version of the format that is written; all versions up to it are read.
pub const VERSION: u32 = 1;
/// Images and their sections start at multiples of this.
pub const ALIGNMENT: usize = 64;

const MAGIC: [u8; 8] = *b"\x89PERSONA";
const MAX_SECTIONS: usize = 256;
/// Bytes checked between two looks at the control: 1.1 ms.
const PIECE: usize = 16 << 20;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    crc: u32,
    uuid: [u8; 16],
    length: u64,
    sections: u32,
    reserved: [u32; 5],
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Section {
    kind: u32,
    crc: u32,
    offset: u64,
    length: u64,
    reserved: u64,
}

fn header_crc(header: Header, table: &[Section]) -> u32 {
    let header = crc32c::crc32c(bytemuck::bytes_of(&Header { crc: 0, ..header }));
    crc32c::crc32c_append(header, bytemuck::cast_slice(table))
}

/// An image whose header and section table are right. The sections are not read before they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    uuid: [u8; 16],
    table: &'a [Section],
}

impl<'a> Image<'a> {
    /// Checks everything but the contents of the sections, in microseconds. `bytes` start at a multiple of 64 and
    /// are the whole image.
    ///
    /// `Error::Format` for a newer version, otherwise `Error::Corrupted`.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(Error::Corrupted("not aligned"));
        }
        let head = bytes.get(..size_of::<Header>()).ok_or(Error::Corrupted("too short"))?;
        let header = bytemuck::pod_read_unaligned::<Header>(head);
        if header.magic != MAGIC {
            return Err(Error::Corrupted("not a model"));
        }
        // Before the checksum: a newer version may compute it differently.
        match header.version {
            VERSION => {}
            0 => return Err(Error::Corrupted("version zero")),
            newer => return Err(Error::Format(newer)),
        }
        if header.reserved != [0; 5] {
            return Err(Error::Corrupted("reserved bytes of the header"));
        }
        if header.length != bytes.len() as u64 {
            return Err(Error::Corrupted("wrong length"));
        }
        let sections = header.sections as usize;
        if sections > MAX_SECTIONS {
            return Err(Error::Corrupted("too many sections"));
        }
        let end = size_of::<Header>() + sections * size_of::<Section>();
        let table = bytes.get(size_of::<Header>()..end).ok_or(Error::Corrupted("too short"))?;
        let table: &[Section] =
            bytemuck::try_cast_slice(table).map_err(|_| Error::Corrupted("section table"))?;
        if header_crc(header, table) != header.crc {
            return Err(Error::Corrupted("checksum of the header"));
        }
        let image = Self { bytes, uuid: header.uuid, table };
        image.check_table(end)?;
        Ok(image)
    }

    fn check_table(&self, end: usize) -> Result<()> {
        let damaged = Error::Corrupted("section table");
        let mut expected = next_boundary(end as u64).ok_or(damaged.clone())?;
        for (n, section) in self.table.iter().enumerate() {
            if section.offset != expected || section.reserved != 0 {
                return Err(damaged);
            }
            if self.table[..n].iter().any(|other| other.kind == section.kind) {
                return Err(Error::Corrupted("a section is there twice"));
            }
            let end = section.offset.checked_add(section.length);
            expected = end.and_then(next_boundary).ok_or(damaged.clone())?;
        }
        // The last one ends within the image, so all do.
        if expected == self.bytes.len() as u64 { Ok(()) } else { Err(damaged) }
    }

    /// Identity of the image.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The values of a section; `Error::Corrupted` where it is missing or no whole number of values.
    pub fn section<T: AnyBitPattern>(&self, kind: u32) -> Result<&'a [T]> {
        self.optional_section(kind)?.ok_or(Error::Corrupted("a section is missing"))
    }

    /// The values of a section, `None` where it is missing; `Error::Corrupted` for no whole number of values.
    pub fn optional_section<T: AnyBitPattern>(&self, kind: u32) -> Result<Option<&'a [T]>> {
        let Some(section) = self.table.iter().find(|section| section.kind == kind) else { return Ok(None) };
        let values = bytemuck::try_cast_slice(self.bytes_of(section)?);
        values.map(Some).map_err(|_| Error::Corrupted("size of a section"))
    }

    fn bytes_of(&self, section: &Section) -> Result<&'a [u8]> {
        let start = section.offset as usize;
        let range = start..start.saturating_add(section.length as usize);
        self.bytes.get(range).ok_or(Error::Corrupted("section table"))
    }

    /// Checks every byte: the checksums of all sections, and zeros in between. What the sections mean is for
    /// their readers to check. `Error::Corrupted`, `Error::Cancelled`.
    pub fn verify(&self, control: &Control) -> Result<()> {
        let mut end = size_of::<Header>() + size_of_val(self.table);
        for section in self.table {
            let bytes = self.bytes_of(section)?;
            self.check_zeros(end, section.offset as usize)?;
            end = section.offset as usize + bytes.len();
            let mut crc = 0;
            for piece in bytes.chunks(PIECE) {
                control.check()?;
                crc = crc32c::crc32c_append(crc, piece);
            }
            if crc != section.crc {
                return Err(Error::Corrupted("checksum of a section"));
            }
        }
        self.check_zeros(end, self.bytes.len())
    }

    fn check_zeros(&self, start: usize, end: usize) -> Result<()> {
        match self.bytes.get(start..end) {
            Some(gap) if gap.iter().all(|&byte| byte == 0) => Ok(()),
            _ => Err(Error::Corrupted("no zeros between sections")),
        }
    }
}

fn next_boundary(position: u64) -> Option<u64> {
    position.checked_next_multiple_of(ALIGNMENT as u64)
}
