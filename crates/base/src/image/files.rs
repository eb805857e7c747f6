//! Images as files that all processes of a machine map: one copy in memory, however many serve from it.
//!
//! A file is derived from the stored image and may vanish at any moment. One process writes it while the others
//! wait, under a temporary name that it holds locked; it is complete and checked before it gets its final name.
//! From then on it is never written, never truncated and never grown, only unlinked: who has it mapped keeps the
//! pages, whereas reading a mapped page that a file no longer has kills a process.
//!
//! Who maps a file holds a shared lock on it (flock), and who removes it an exclusive one: what is mapped keeps its
//! name, so that a listing of the folder shows all the space that is taken. The lock belongs to what was opened, which a
//! mapping keeps on Linux after the file is closed, so no descriptor is held. On a system where the lock goes with the
//! descriptor, files are unlinked while they are mapped.
//!
//! Names are `<prefix><database>.<uuid>.<crc>`, and `.new` behind it while it is written. The checksum is that of
//! the image's header and so of all contents: an image with other contents has another name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use mapped::Mapped;
pub use room::{Disk, Entry};

use super::{Header, Image};

mod mapped;
mod room;

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

/// What opening a file comes to.
#[derive(Debug)]
pub enum Opened {
    /// The image, whose file keeps its name for as long as it is mapped.
    Mapped(Mapped),
    /// There is no such file.
    Missing,
    /// Somebody is just giving it its name, or removing it: ask again later.
    Busy,
}

impl Folder {
    /// The folder at `path`, whose files begin with `prefix`.
    pub fn new(path: impl Into<PathBuf>, prefix: impl Into<String>) -> Folder {
        Folder { path: path.into(), prefix: prefix.into() }
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{}{name}", self.prefix))
    }

    /// Maps a file of `length` bytes. Only its header is checked: whoever wrote it checked all of it. One that cannot be
    /// this image is removed, whoever maps it, and missing.
    pub fn open(&self, name: &Name, length: u64) -> io::Result<Opened> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Opened::Missing),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Opened::Busy),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had the lock before may have removed it.
        if !is_at(&file, &path)? {
            return Ok(Opened::Missing);
        }
        if file.metadata()?.len() == length
            && let Some(mapped) = Mapped::of(&file)?
            && is(&mapped, name)
        {
            // Who makes room takes the file that was opened longest ago.
            let _ = file.set_modified(SystemTime::now());
            return Ok(Opened::Mapped(mapped));
        }
        room::remove(&path)?;
        Ok(Opened::Missing)
    }

    /// Opens the file, or makes the caller the one who writes it.
    pub fn claim(&self, name: &Name, length: u64) -> io::Result<Claim> {
        match self.open(name, length)? {
            Opened::Mapped(mapped) => return Ok(Claim::Ready(mapped)),
            Opened::Busy => return Ok(Claim::Busy),
            Opened::Missing => {}
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
            Opened::Mapped(mapped) => Ok(Claim::Ready(mapped)),
            Opened::Busy => Ok(Claim::Busy),
            Opened::Missing => Ok(Claim::Mine(pending)),
        }
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

    /// Maps what was written, to check it before it is published; `None` where it is not the announced image. What this
    /// maps may be removed meanwhile: whoever is to serve from it opens the file when it is published.
    pub fn map(&self) -> io::Result<Option<Mapped>> {
        if self.file.metadata()?.len() != self.length {
            return Ok(None);
        }
        // Not the file that is locked: its lock must end when it is published, not when this is unmapped.
        let file = File::open(&self.temporary)?;
        Ok(Mapped::of(&file)?.filter(|mapped| is(mapped, &self.name)))
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
