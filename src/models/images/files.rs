//! Image files beside the server's temporary files: Postgres removes them when it starts and leaves them out of base
//! backups. One backend writes a file, the others wait and can be cancelled meanwhile; it works alike on a standby
//! and in a parallel worker, and a killed writer frees its lock.

use std::io;
use std::time::Duration;

use base::Control;
use base::image::Layout;
use base::image::files::{Claim, Folder, Mapped, Name, Pending};
use pgrx::{PgXactCallbackEvent, Uuid, pg_sys, register_xact_callback};

use super::cache;
use super::load::{MAPPED_FROM, is_sound, verify, whole};
use crate::models::registry;
use crate::models::registry::scan::Seen;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::settings;
use crate::pg::work::{self, AtExit};

/// How often a waiting backend looks whether the file is there.
const POLL: Duration = Duration::from_millis(5);

/// What is left free of a disk at the least; of a large one it is a twentieth.
const KEPT_FREE: u64 = 128 << 20;

/// Takes the next piece of a stored image.
pub(super) type Sink<'s> = dyn FnMut(&[u8]) -> Result<()> + 's;

fn folder() -> Folder {
    Folder::new("base/pgsql_tmp", "pgsql_tmp_persona.")
}

/// What asking for a file came to.
pub(super) enum Obtained {
    Mapped(Mapped),
    /// There is no room for it, for this reason.
    NoRoom(String),
}

/// Why a file was not written.
enum Failed {
    /// The disk, or the limit of all files.
    NoRoom(String),
    Error(pgrx::pg_sys::panic::ErrorReport),
}

impl From<pgrx::pg_sys::panic::ErrorReport> for Failed {
    fn from(error: pgrx::pg_sys::panic::ErrorReport) -> Failed {
        Failed::Error(error)
    }
}

/// No file can be had: the image is served from private memory, whatever the reason.
impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::NoRoom(format!("{error}."))
    }
}

/// The mapped file of an image; written by this backend where nobody has. `read` passes the stored image on.
pub(super) fn obtain(
    name: &Name,
    bytes: u64,
    check: bool,
    read: impl Fn(&mut Sink<'_>) -> Result<()>,
) -> Result<Obtained> {
    let folder = folder();
    let mut check = check;
    loop {
        let outcome = match folder.claim(name, bytes) {
            Ok(Claim::Ready(mapped)) if check && !is_sound(&mapped)? => {
                folder.discard(name).map_err(Failed::from).map(|()| None)
            }
            Ok(Claim::Ready(mapped)) => Ok(Some(mapped)),
            Ok(Claim::Mine(pending)) => {
                let _at_exit = removed_at_exit(&pending);
                write(&folder, pending, bytes, &read).map(|()| None)
            }
            Ok(Claim::Busy) => {
                crate::pg::memory::interrupts();
                std::thread::sleep(POLL);
                continue;
            }
            Err(error) => Err(error.into()),
        };
        return match outcome {
            Ok(Some(mapped)) => Ok(Obtained::Mapped(mapped)),
            // What this backend has just written and checked is opened like any other, and then keeps its name.
            Ok(None) => {
                check = false;
                continue;
            }
            Err(Failed::NoRoom(reason)) => Ok(Obtained::NoRoom(reason)),
            Err(Failed::Error(error)) => Err(error),
        };
    }
}

fn write(
    folder: &Folder,
    mut pending: Pending,
    bytes: u64,
    read: &dyn Fn(&mut Sink<'_>) -> Result<()>,
) -> std::result::Result<(), Failed> {
    allocate(folder, &pending, bytes)?;
    let mut full = None;
    let passed = read(&mut |piece| {
        pending.write(piece).map_err(|error| {
            full = Some(error);
            fail(Code::ERRCODE_DISK_FULL, "could not write the shared image")
        })
    });
    if let Some(error) = full {
        return Err(error.into());
    }
    passed?;
    crate::pg::fault::point("image written");
    let Some(mapped) = pending.map()? else {
        return Err(base::Error::Corrupted("not the stored length")).or_report().map_err(Failed::Error);
    };
    verify(&mapped)?;
    crate::pg::fault::point("image checked");
    Ok(pending.publish()?)
}

/// Takes the space of a file.
fn allocate(folder: &Folder, pending: &Pending, bytes: u64) -> std::result::Result<(), Failed> {
    let limit = settings::max_image_cache();
    let fits = || folder.make_room(bytes, limit, &mut is_dead);
    // What this backend keeps mapped and does not need must not be in its own way.
    let room = fits()? || cache::give_up_unheld() && fits()?;
    if !room {
        return Err(Failed::NoRoom(format!("\"persona.max_image_cache\" is {} MB.", limit >> 20)));
    }
    spare(folder, bytes)?;
    pending.allocate(&mut || {
        crate::pg::memory::interrupts();
    })?;
    // Others may have taken space at the same time.
    spare(folder, 0)?;
    crate::pg::fault::point("image allocated");
    Ok(())
}

/// Fails if `bytes` more would leave too little of the disk: a file can be done without, the server's log of writes cannot.
fn spare(folder: &Folder, bytes: u64) -> std::result::Result<(), Failed> {
    let disk = folder.disk()?;
    let kept = (disk.size / 20).max(KEPT_FREE);
    if disk.free >= kept.saturating_add(bytes) {
        return Ok(());
    }
    Err(Failed::NoRoom(format!(
        "The disk has {} MB free, and {} MB of it are not for shared images.",
        disk.free >> 20,
        kept >> 20
    )))
}

/// Where the process ends meanwhile, no destructor takes the unfinished file away.
fn removed_at_exit(pending: &Pending) -> AtExit {
    let unfinished = pending.temporary().to_path_buf();
    AtExit::run(move || {
        let _ = std::fs::remove_file(&unfinished);
    })
}

/// Whether a file holds an image that nobody is served from: its version is deleted, or its database. Where a
/// transaction elsewhere still sees it, it is written again.
fn is_dead(name: &Name) -> bool {
    // SAFETY: set in every backend; a system cache look-up that answers NULL for what is missing.
    unsafe {
        if name.database != pg_sys::MyDatabaseId.to_u32() {
            return pg_sys::get_database_name(name.database.into()).is_null();
        }
    }
    // An old snapshot would take the newest images for dead ones.
    matches!(registry::has_image(Uuid::from_bytes(name.uuid), Seen::Now), Ok(false))
}

/// The name and size of the file that an image is served from, if it is large enough for one.
fn mappable(image: &Layout<'_>) -> Option<(Name, u64)> {
    // SAFETY: set in every backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let large = image.length() >= MAPPED_FROM && settings::max_image_cache() > 0;
    Name::of(database, image.head()).filter(|_| large)
}

/// A file that is written and checked, and has no name yet by which anybody finds it; dropped it is removed.
pub(crate) struct Ready {
    pending: Pending,
    _at_exit: AtExit,
}

impl Ready {
    /// Gives it its name. Where that fails the first request writes it again.
    pub(crate) fn publish(self) {
        let _ = self.pending.publish();
    }
}

/// Runs `body`, which stores an image, while another thread writes its file, so that no request has to; after it where one
/// thread must do. No file where there is no room: the first request says so.
pub(crate) fn write_beside<T>(
    image: &Layout<'_>,
    body: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<Ready>)> {
    let folder = folder();
    let claimed = mappable(image).and_then(|(name, bytes)| Some((bytes, folder.claim(&name, bytes).ok()?)));
    let Some((bytes, Claim::Mine(pending))) = claimed else { return Ok((body()?, None)) };
    let at_exit = removed_at_exit(&pending);
    match allocate(&folder, &pending, bytes) {
        Ok(()) => {}
        Err(Failed::NoRoom(_)) => {
            drop(pending);
            return Ok((body()?, None));
        }
        Err(Failed::Error(error)) => return Err(error),
    }
    let control = Control::unlimited();
    let (answer, pending, sound) = if settings::max_threads() > 1 {
        let fill = |(pending, sound): &mut (Pending, bool), (): &mut ()| {
            *sound = fill(pending, image, &control);
            Ok(())
        };
        let (answer, (pending, sound)) = work::pipe(&control, (pending, false), vec![()], fill, |feeder| {
            feeder.exchange(());
            body()
        })?;
        (answer, pending, sound)
    } else {
        let (answer, mut pending) = (body()?, pending);
        let sound = work::run(&control, || {}, || Ok(fill(&mut pending, image, &control)))?;
        (answer, pending, sound)
    };
    crate::pg::fault::point("image written");
    crate::pg::fault::point("image checked");
    Ok((answer, sound.then_some(Ready { pending, _at_exit: at_exit })))
}

/// Writes a file and checks it; false where that fails.
fn fill(pending: &mut Pending, image: &Layout<'_>, control: &Control) -> bool {
    let written = image.pieces().all(|piece| control.check().is_ok() && pending.write(piece).is_ok());
    written && pending.map().ok().flatten().is_some_and(|mapped| whole(&mapped, control).is_ok())
}

/// Removes the files of images when the transaction that deletes them commits. What another backend maps stays, and is
/// removed by whoever makes room.
pub(crate) fn forget_at_commit(image_ids: Vec<Uuid>) {
    if image_ids.is_empty() {
        return;
    }
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        cache::forget(&image_ids);
        // SAFETY: set in every backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        folder().remove(&|name| {
            name.database == database && image_ids.iter().any(|id| *id.as_bytes() == name.uuid)
        });
    });
}
