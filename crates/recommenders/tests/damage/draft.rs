//! An image taken apart, and put together again with a right table and right checksums.

use base::image::{AlignedBytes, Image, Writer};
use bytemuck::Pod;

/// Sections with their kinds.
pub(crate) struct Draft {
    pub(crate) sections: Vec<(u32, Vec<u8>)>,
}

impl Draft {
    /// The sections of a valid image.
    pub(crate) fn of(image: &[u8]) -> Self {
        let image = Image::open(image).unwrap();
        let section = |kind| Some((kind, image.optional_section::<u8>(kind).unwrap()?.to_vec()));
        Self { sections: (0..100).filter_map(section).collect() }
    }

    /// Edits the values of a section; false where there is none or it holds no whole number of them.
    pub(crate) fn edit<T: Pod>(&mut self, kind: u32, change: impl FnOnce(&mut Vec<T>) -> bool) -> bool {
        let Some((_, bytes)) = self.sections.iter_mut().find(|(each, _)| *each == kind) else { return false };
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return false;
        }
        let mut values = bytemuck::pod_collect_to_vec(bytes);
        let changed = change(&mut values);
        *bytes = bytemuck::cast_slice(&values).to_vec();
        changed
    }

    /// The values of a section; none where it is not there.
    pub(crate) fn values<T: Pod>(&self, kind: u32) -> Vec<T> {
        match self.sections.iter().find(|(each, _)| *each == kind) {
            Some((_, bytes)) if bytes.len().is_multiple_of(size_of::<T>()) => {
                bytemuck::pod_collect_to_vec(bytes)
            }
            _ => Vec::new(),
        }
    }

    /// The image; `None` where a kind is there twice, which a writer refuses.
    pub(crate) fn build(&self) -> Option<AlignedBytes> {
        let mut writer = Writer::new(*b"0123456789abcdef");
        for (kind, bytes) in &self.sections {
            writer.section(*kind, bytes);
        }
        writer.finish().ok()
    }
}

/// Makes length and checksums right again, as an attacker would: those of the sections where their places are
/// within the image, and that of the header.
pub(crate) fn seal(bytes: &mut [u8]) {
    if bytes.len() < 64 {
        return;
    }
    let length = bytes.len() as u64;
    bytes[32..40].copy_from_slice(&length.to_le_bytes());
    let number =
        |bytes: &[u8]| bytes.iter().rev().fold(0u64, |all, &byte| all << 8 | u64::from(byte)) as usize;
    let end = 64 + number(&bytes[40..44]).min(256) * 32;
    if bytes.len() < end {
        return;
    }
    for entry in (64..end).step_by(32) {
        let (start, length) = (number(&bytes[entry + 8..entry + 16]), number(&bytes[entry + 16..entry + 24]));
        if let Some(section) = bytes.get(start..start.saturating_add(length)) {
            let crc = crc32c::crc32c(section);
            bytes[entry + 4..entry + 8].copy_from_slice(&crc.to_le_bytes());
        }
    }
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}
