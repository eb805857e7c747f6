//! Image files beside the server's temporary files: Postgres removes them when it starts and leaves them out of base
//! backups. One backend writes a file, the others wait and can be cancelled meanwhile; it works alike on a standby
//! and in a parallel worker, and a killed writer frees its lock.

use std::io;
use std::time::Duration;

use algorithms::Control;
use algorithms::image::files::{Claim, Folder, Mapped, Name, Pending};
use pgrx::{PgXactCallbackEvent, Uuid, pg_sys, register_xact_callback};

use super::load::{MAPPED_FROM, is_sound, verify, whole};
use crate::error::{Code, OrReport, Result, fail};
use crate::registry::scan::Seen;
use crate::work::{self, AtExit};
use crate::{registry, settings};

/// How often a waiting backend looks whether the file is there.
const POLL: Duration = Duration::from_millis(5);

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
                folder.remove(&|each| each == name);
                check = false;
                continue;
            }
            Ok(Claim::Ready(mapped)) => Ok(mapped),
            Ok(Claim::Mine(pending)) => {
                let _at_exit = removed_at_exit(&pending);
                write(&folder, pending, bytes, &read)
            }
            Ok(Claim::Busy) => {
                pgrx::check_for_interrupts!();
                std::thread::sleep(POLL);
                continue;
            }
            Err(error) => Err(error.into()),
        };
        return match outcome {
            Ok(mapped) => Ok(Obtained::Mapped(mapped)),
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
) -> std::result::Result<Mapped, Failed> {
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
    crate::fault::point("image written");
    let Some(mapped) = pending.map()? else {
        return Err(algorithms::Error::Corrupted("not the stored length")).or_report().map_err(Failed::Error);
    };
    verify(&mapped)?;
    crate::fault::point("image checked");
    pending.publish()?;
    Ok(mapped)
}

/// Takes the space of a file.
fn allocate(folder: &Folder, pending: &Pending, bytes: u64) -> std::result::Result<(), Failed> {
    let limit = settings::max_image_cache();
    if !folder.make_room(bytes, limit, &mut is_dead)? {
        return Err(Failed::NoRoom(format!("\"persona.max_image_cache\" is {} MB.", limit >> 20)));
    }
    pending.allocate(&mut || {
        pgrx::check_for_interrupts!();
    })?;
    crate::fault::point("image allocated");
    Ok(())
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

/// Writes the file of an image that this backend has just stored, so that no request has to. Where there is no room the
/// first request says so.
pub(crate) fn write_through(image: &[u8]) -> Result<()> {
    if let Some((name, bytes)) = mappable(image) {
        obtain(&name, bytes, false, |sink| {
            image.chunks(1 << 20).try_for_each(|piece| {
                pgrx::check_for_interrupts!();
                sink(piece)
            })
        })?;
    }
    Ok(())
}

/// The name and size of the file that an image is served from, if it is large enough for one.
fn mappable(image: &[u8]) -> Option<(Name, u64)> {
    // SAFETY: set in every backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    Name::of(database, image).filter(|&(_, bytes)| bytes >= MAPPED_FROM && settings::max_image_cache() > 0)
}

/// A file that is written and checked, and has no name yet by which anybody finds it; dropped it is removed.
pub(crate) struct Ready {
    pending: Pending,
    name: Name,
    _at_exit: AtExit,
}

impl Ready {
    /// Whether it is the file of this image.
    pub(crate) fn holds(&self, image: &[u8]) -> bool {
        mappable(image).is_some_and(|(name, _)| name == self.name)
    }

    /// Gives it its name. Where that fails the first request writes it again.
    pub(crate) fn publish(self) {
        let _ = self.pending.publish();
    }
}

/// Runs `body`, which stores an image, while another thread writes its file. No file where there is no room, and where
/// one thread must do.
pub(crate) fn write_beside<T>(image: &[u8], body: impl FnOnce() -> Result<T>) -> Result<(T, Option<Ready>)> {
    let folder = folder();
    let claimed = mappable(image).filter(|_| settings::max_threads() > 1);
    let claimed = claimed.and_then(|(name, bytes)| Some((name, bytes, folder.claim(&name, bytes).ok()?)));
    let Some((name, bytes, Claim::Mine(pending))) = claimed else { return Ok((body()?, None)) };
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
    let fill = |(pending, sound): &mut (Pending, bool), (): &mut ()| {
        *sound = fill(pending, image, &control);
        Ok(())
    };
    let (answer, (pending, sound)) = work::pipe(&control, (pending, false), vec![()], fill, |feeder| {
        feeder.exchange(());
        body()
    })?;
    crate::fault::point("image written");
    crate::fault::point("image checked");
    Ok((answer, sound.then_some(Ready { pending, name, _at_exit: at_exit })))
}

/// Writes a file and checks it; false where that fails.
fn fill(pending: &mut Pending, image: &[u8], control: &Control) -> bool {
    let written = image.chunks(1 << 20).all(|piece| control.check().is_ok() && pending.write(piece).is_ok());
    written && pending.map().ok().flatten().is_some_and(|mapped| whole(&mapped, control).is_ok())
}

/// Removes the files of images when the transaction that deletes them commits.
pub(crate) fn forget_at_commit(image_ids: Vec<Uuid>) {
    if image_ids.is_empty() {
        return;
    }
    register_xact_callback(PgXactCallbackEvent::Commit, move || {
        // SAFETY: set in every backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        folder().remove(&|name| {
            name.database == database && image_ids.iter().any(|id| *id.as_bytes() == name.uuid)
        });
    });
}
