//! Files as memory.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// An image mapped for reading. Dropped it is unmapped.
#[derive(Debug)]
pub struct Mapped {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the bytes are only ever read, by whatever thread, and belong to this value alone.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps a file; `None` for an empty one. Nobody truncates or writes a file after it is complete: that is the rule of
    /// the module above. The mapping keeps what is open, and so its lock, after `file` is closed.
    pub(super) fn of(file: &File) -> io::Result<Option<Mapped>> {
        let length = file.metadata()?.len();
        let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if length == 0 {
            return Ok(None);
        }
        // SAFETY: a new mapping where the system finds room, of a descriptor that is open for reading.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(NonNull::new(address.cast()).map(|address| Mapped { address, length }))
    }

    /// Address and length, for a caller who sees to it that they are unmapped, by `munmap` or `from_parts`.
    pub fn into_parts(self) -> (NonNull<u8>, usize) {
        let parts = (self.address, self.length);
        std::mem::forget(self);
        parts
    }

    /// What `into_parts` gave.
    ///
    /// # Safety
    /// It is still mapped, and nobody else will unmap it.
    pub unsafe fn from_parts(address: NonNull<u8>, length: usize) -> Mapped {
        Mapped { address, length }
    }
}

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped for as long as the value lives, and nobody writes the file.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping; nobody has a reference to it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}
