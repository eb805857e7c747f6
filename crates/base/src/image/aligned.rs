//! Bytes that start at a multiple of 64.

use bytemuck::{Pod, Zeroable};

use super::ALIGNMENT;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Block([u8; ALIGNMENT]);

/// Owned bytes at a 64-byte boundary: the home of an image in private memory. All memory is reserved at once;
/// the caller counts it.
#[derive(Debug)]
pub struct AlignedBytes {
    blocks: Vec<Block>,
    len: usize,
    capacity: usize,
}

impl AlignedBytes {
    /// No bytes yet, room for `capacity`; `Error::NoMemory` where the system refuses.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        let mut blocks = Vec::new();
        blocks
            .try_reserve_exact(capacity.div_ceil(ALIGNMENT))
            .map_err(|_| Error::NoMemory { task: "building an image" })?;
        Ok(Self { blocks, len: 0, capacity })
    }

    /// Appends a chunk; `Error::Corrupted` where it goes beyond the capacity.
    pub fn extend(&mut self, chunk: &[u8]) -> Result<()> {
        if chunk.len() > self.capacity - self.len {
            return Err(Error::Corrupted("longer than announced"));
        }
        let end = self.len + chunk.len();
        self.blocks.resize(end.div_ceil(ALIGNMENT), Block::zeroed());
        bytemuck::cast_slice_mut::<Block, u8>(&mut self.blocks)[self.len..end].copy_from_slice(chunk);
        self.len = end;
        Ok(())
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut copy = Self::with_capacity(bytes.len())?;
        copy.extend(bytes)?;
        Ok(copy)
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice::<Block, u8>(&self.blocks)[..self.len]
    }
}
