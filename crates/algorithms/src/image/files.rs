//! Images as files that all processes of a machine map: one copy in memory, however many serve from it.
//!
//! A file is derived from the stored image and may vanish at any moment. One process writes it while the others
//! wait, under a temporary name that it holds locked; it is complete and checked before it gets its final name.
//! From then on it is never written, never truncated and never grown, only unlinked: who has it mapped keeps the
//! pages, whereas reading a mapped page that a file no longer has kills a process.
//!
//! Names are `<prefix><database>.<uuid>.<crc>`, and `.new` behind it while it is written. The checksum is that of
//! the image's header and so of all contents: an image with other contents has another name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::Mmap;

use super::{Header, Image};

const TEMPORARY: &str = ".new";

/// Which image a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// The database that stores it.
    pub database: u32,
    /// The image's identity.
    pub uuid: [u8; 16],
    /// The checksum of its header.
    pub crc: u32,
}

impl Name {
    /// The name of an image, from its first 64 bytes, and its length in bytes; `None` where these are no header.
    pub fn of(database: u32, head: &[u8]) -> Option<(Name, u64)> {
        let header = bytemuck::pod_read_unaligned::<Header>(head.get(..size_of::<Header>())?);
        let name = Name { database, uuid: header.uuid, crc: header.crc };
        (header.magic == super::MAGIC).then_some((name, header.length))
    }

    fn parse(text: &str) -> Option<Name> {
        let mut parts = text.split('.');
        let (database, uuid, crc) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Name {
            database: database.parse().ok()?,
            uuid: u128::from_str_radix(uuid, 16).ok()?.to_be_bytes(),
            crc: u32::from_str_radix(crc, 16).ok()?,
        };
        // Only names that are written like ours.
        (parts.next().is_none() && name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:032x}.{:08x}", self.database, u128::from_be_bytes(self.uuid), self.crc)
    }
}

/// An image mapped for reading.
#[derive(Debug)]
pub struct Mapped(Mmap);

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// The folder of the files.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    prefix: String,
}

/// What asking for a file comes to.
#[derive(Debug)]
pub enum Claim {
    /// The file is there.
    Ready(Mapped),
    /// It is not, and the caller is the one who writes it.
    Mine(Pending),
    /// Another process writes it: ask again later.
    Busy,
}

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

impl Folder {
    /// The folder at `path`, whose files begin with `prefix`.
    pub fn new(path: impl Into<PathBuf>, prefix: impl Into<String>) -> Folder {
        Folder { path: path.into(), prefix: prefix.into() }
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{}{name}", self.prefix))
    }

    /// Maps a file of `length` bytes. Only its header is checked: whoever wrote it checked all of it. `None` where
    /// it is missing; one that cannot be this image is removed.
    pub fn open(&self, name: &Name, length: u64) -> io::Result<Option<Mapped>> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() == length
            && let Some(mapped) = map(&file)?
            && is(&mapped, name)
        {
            // Who makes room takes the file that was opened longest ago.
            let _ = file.set_modified(SystemTime::now());
            return Ok(Some(mapped));
        }
        remove(&path)?;
        Ok(None)
    }

    /// Opens the file, or makes the caller the one who writes it.
    pub fn claim(&self, name: &Name, length: u64) -> io::Result<Claim> {
        if let Some(mapped) = self.open(name, length)? {
            return Ok(Claim::Ready(mapped));
        }
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.path_of(name);
        let temporary = temporary(&path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&temporary)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Claim::Busy),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had the lock before may have renamed or removed the file that was opened.
        if !is_at(&file, &temporary)? {
            return Ok(Claim::Busy);
        }
        let pending = Pending { file, temporary, path, name: *name, length, published: false };
        match self.open(name, length)? {
            Some(mapped) => Ok(Claim::Ready(mapped)),
            None => Ok(Claim::Mine(pending)),
        }
    }

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
    /// writes stay and count.
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
        let mut bytes: u64 = kept.iter().map(|entry| entry.bytes).sum();
        let fixed: u64 = kept.iter().filter(|entry| entry.temporary).map(|entry| entry.bytes).sum();
        if needed.saturating_add(fixed) > limit {
            return Ok(false);
        }
        for entry in kept {
            if needed.saturating_add(bytes) <= limit {
                break;
            }
            if !entry.temporary {
                remove(&entry.path)?;
                bytes -= entry.bytes;
            }
        }
        Ok(needed.saturating_add(bytes) <= limit)
    }

    /// Removes files that are `dead`.
    pub fn remove(&self, dead: &dyn Fn(&Name) -> bool) {
        for entry in self.entries() {
            if dead(&entry.name) {
                // What stays is removed by whoever makes room.
                let _ = entry.remove();
            }
        }
    }
}

impl Entry {
    /// Unlinks the file; false for one that somebody writes.
    fn remove(&self) -> io::Result<bool> {
        if self.temporary {
            let Ok(file) = File::open(&self.path) else { return Ok(true) };
            if file.try_lock().is_err() {
                return Ok(false);
            }
            // Removed under its lock: who opened it meanwhile finds that it is at its path no more.
            remove(&self.path)?;
            return Ok(true);
        }
        remove(&self.path)?;
        Ok(true)
    }
}

/// A file that the caller writes; others wait. Dropped unfinished it is removed.
#[derive(Debug)]
pub struct Pending {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    name: Name,
    length: u64,
    published: bool,
}

impl Pending {
    /// Where the file is until it is published.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Takes all the space on disk before anything is written: a file with holes would fail when a full disk has to
    /// fill them. `between` is called every 64 MB.
    pub fn allocate(&self, between: &mut dyn FnMut()) -> io::Result<()> {
        const STEP: u64 = 64 << 20;
        let mut from = 0;
        while from < self.length {
            let step = STEP.min(self.length - from);
            // SAFETY: the descriptor is open for writing.
            match unsafe { libc::posix_fallocate(self.file.as_raw_fd(), from as i64, step as i64) } {
                0 => from += step,
                libc::EINTR => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
            between();
        }
        Ok(())
    }

    /// Writes the next bytes.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)
    }

    /// Maps what was written, to check it before it is published; `None` where it is not the announced image.
    pub fn map(&self) -> io::Result<Option<Mapped>> {
        if self.file.metadata()?.len() != self.length {
            return Ok(None);
        }
        Ok(map(&self.file)?.filter(|mapped| is(mapped, &self.name)))
    }

    /// Gives the file its final name.
    pub fn publish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Still locked, so what is at this path is ours. After `publish` it would be somebody else's.
        if !self.published {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Maps a file; `None` for an empty one.
fn map(file: &File) -> io::Result<Option<Mapped>> {
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    // SAFETY: nobody truncates or writes a file after it is complete: that is the rule of this module.
    unsafe { Mmap::map(file) }.map(|mapped| Some(Mapped(mapped)))
}

/// Whether a mapped file is the named image, by its header.
fn is(mapped: &Mapped, name: &Name) -> bool {
    let found = Name::of(name.database, mapped);
    found.is_some_and(|(found, _)| found == *name) && Image::open(mapped).is_ok()
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
