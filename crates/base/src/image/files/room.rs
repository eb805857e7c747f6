//! Removing files, for want of room or of anybody who needs them. What somebody maps stays: its space would be taken all
//! the same until the last one lets go, and no listing of the folder would show it.

use std::ffi::CString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Folder, Name, TEMPORARY, is_at};

/// A file of the folder.
#[derive(Debug)]
pub struct Entry {
    /// What it holds.
    pub name: Name,
    /// Its size in bytes.
    pub bytes: u64,
    used: SystemTime,
    path: PathBuf,
    temporary: bool,
}

/// The disk of the folder.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that may still be taken.
    pub free: u64,
}

/// What asking for a file in order to remove it comes to.
enum Seized {
    /// Nobody maps or writes it while this is open.
    Ours(File),
    /// It is not there any more.
    Gone,
    /// Somebody maps it or writes it.
    Held,
}

impl Folder {
    /// All files of the folder.
    pub fn entries(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        // The folder may be absent, and files may go while it is read.
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let (file, path) = (entry.file_name(), entry.path());
            let Some(text) = file.to_str().and_then(|text| text.strip_prefix(&self.prefix)) else { continue };
            let (text, temporary) = match text.strip_suffix(TEMPORARY) {
                Some(text) => (text, true),
                None => (text, false),
            };
            if let (Some(name), Ok(facts)) = (Name::parse(text), entry.metadata()) {
                let used = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Entry { name, bytes: facts.len(), used, path, temporary });
            }
        }
        found
    }

    /// Removes the files that are `dead`, then those that were opened longest ago, until `needed` more bytes stay
    /// within `limit`; false where they cannot, and then nothing is removed but what is dead. Files that somebody
    /// maps or writes stay and count.
    pub fn make_room(
        &self,
        needed: u64,
        limit: u64,
        dead: &mut dyn FnMut(&Name) -> bool,
    ) -> io::Result<bool> {
        let mut kept = Vec::new();
        for entry in self.entries() {
            if !(dead(&entry.name) && entry.remove()?) {
                kept.push(entry);
            }
        }
        kept.sort_by_key(|entry| entry.used);
        let mut bytes = kept.iter().fold(needed, |sum, entry| sum.saturating_add(entry.bytes));
        let mut seized = Vec::new();
        for entry in kept.into_iter().filter(|entry| !entry.temporary) {
            if bytes <= limit {
                break;
            }
            match entry.seize()? {
                Seized::Ours(file) => seized.push((entry.path, file)),
                Seized::Gone => {}
                Seized::Held => continue,
            }
            bytes = bytes.saturating_sub(entry.bytes);
        }
        if bytes > limit {
            return Ok(false);
        }
        for (path, _file) in &seized {
            remove(path)?;
        }
        Ok(true)
    }

    /// Removes files that are `dead` and that nobody maps.
    pub fn remove(&self, dead: &dyn Fn(&Name) -> bool) {
        for entry in self.entries() {
            if dead(&entry.name) {
                // What stays is removed by whoever makes room.
                let _ = entry.remove();
            }
        }
    }

    /// Removes a file that is damaged, whoever maps it: the next one to open it must get another.
    pub fn discard(&self, name: &Name) -> io::Result<()> {
        remove(&self.path_of(name))
    }

    /// The disk that the folder lies on.
    pub fn disk(&self) -> io::Result<Disk> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let mut found = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: a NUL-terminated path and room for the answer.
        if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has filled it.
        let found = unsafe { found.assume_init() };
        // Their types differ between systems.
        #[allow(clippy::unnecessary_cast)]
        let (block, size, free) = (found.f_frsize as u64, found.f_blocks as u64, found.f_bavail as u64);
        Ok(Disk { size: size.saturating_mul(block), free: free.saturating_mul(block) })
    }
}

impl Entry {
    fn seize(&self) -> io::Result<Seized> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Seized::Gone),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Seized::Held),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Another file may have taken its path before it was locked.
        Ok(if is_at(&file, &self.path)? { Seized::Ours(file) } else { Seized::Held })
    }

    /// Unlinks the file; false for one that somebody maps or writes.
    fn remove(&self) -> io::Result<bool> {
        match self.seize()? {
            // Removed under its lock: who opened it meanwhile finds that it has no name any more.
            Seized::Ours(_file) => remove(&self.path).map(|()| true),
            Seized::Gone => Ok(true),
            Seized::Held => Ok(false),
        }
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
