//! Getting an image that this backend does not have: from a mapped file, which the first backend that needs it
//! writes, or into private memory.

use base::Control;
use base::image::files::{Mapped, Name};
use base::image::{AlignedBytes, Image};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{Uuid, pg_sys};

use super::Bytes;
use super::files::{Obtained, Sink, obtain};
use super::slots::Kept;
use crate::models::identity::{Named, Served};
use crate::models::registry::scan::Seen;
use crate::models::{kind, registry};
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::names::{literal, shown};
use crate::pg::{notice, settings, work};

/// Images below this size lie in private memory: a copy costs less than a file.
pub(super) const MAPPED_FROM: u64 = 8 << 20;

/// What helps where no file can be had.
const NO_ROOM: &str = "Free space in the data directory, or have a superuser raise \"persona.max_image_cache\" or \"persona.max_memory\".";

/// An image that is stored in the registry.
pub(super) struct Wanted<'a> {
    named: &'a Named,
    version: i32,
    image_id: Uuid,
    bytes: u64,
    /// What trained it.
    pub(super) algorithm: String,
    seen: Seen,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(model: &'a Served, image_id: Uuid, version: i32) -> Result<Wanted<'a>> {
        let (named, seen) = (&model.named, model.seen);
        let facts = registry::version(model.model_id, Some(version), seen)?;
        let facts = facts.ok_or_else(|| missing(named, version))?;
        Ok(Wanted { named, version, image_id, bytes: facts.bytes as u64, algorithm: facts.algorithm, seen })
    }

    /// The image. `check` reads all of a file that is there already, and replaces it if it is damaged.
    pub(super) fn load(&self, check: bool) -> Result<Bytes> {
        match self.map(check)? {
            Some(Obtained::Mapped(mapped)) => Ok(Bytes::Mapped(Kept::new(mapped))),
            Some(Obtained::NoRoom(reason)) => self.private(Some(reason)),
            None => self.private(None),
        }
    }

    /// Its file; `None` for an image that needs none.
    pub(super) fn map(&self, check: bool) -> Result<Option<Obtained>> {
        if self.bytes < MAPPED_FROM || settings::max_image_cache() == 0 {
            return Ok(None);
        }
        let head = registry::image_head(self.image_id, self.seen)?.ok_or_else(|| self.missing())?;
        // SAFETY: set in every backend.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        let named = Name::of(database, &head);
        let Some((name, _)) =
            named.filter(|(name, length)| (name.uuid, *length) == (*self.image_id.as_bytes(), self.bytes))
        else {
            return Err(base::Error::Corrupted("not the header of this version")).or_report();
        };
        obtain(&name, self.bytes, check, |sink| self.read(sink)).map(Some)
    }

    /// Loads into private memory. `reason` says why not into a file.
    fn private(&self, reason: Option<String>) -> Result<Bytes> {
        let limit = settings::max_memory();
        if self.bytes > limit {
            return Err(self.too_large(reason, limit));
        }
        if let Some(reason) = reason {
            // Serving goes on, but each connection now takes this much: whoever runs the server should know.
            notice::log(
                &format!(
                    "model {} is served from private memory, {} MB in this connection: {reason}",
                    shown(&self.named.name),
                    self.bytes.div_ceil(1 << 20)
                ),
                NO_ROOM,
            );
        }
        let mut bytes = AlignedBytes::with_capacity(self.bytes as usize).or_report()?;
        self.read(&mut |piece| bytes.extend(piece).or_report())?;
        verify(&bytes)?;
        Ok(Bytes::Private(bytes))
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        if registry::read_image(self.image_id, self.seen, sink)? { Ok(()) } else { Err(self.missing()) }
    }

    fn missing(&self) -> ErrorReport {
        missing(self.named, self.version)
    }

    fn too_large(&self, reason: Option<String>, limit: u64) -> ErrorReport {
        let needed = format!("{} MB", self.bytes.div_ceil(1 << 20));
        let name = shown(&self.named.name);
        match reason {
            Some(reason) => fail(
                Code::ERRCODE_DISK_FULL,
                format!("could not write the shared image of model {name}, which needs {needed}"),
            )
            .set_detail(format!("{reason} Private memory is limited to {} MB.", limit >> 20))
            .set_hint(NO_ROOM),
            None => fail(
                Code::ERRCODE_OUT_OF_MEMORY,
                format!("model {name} needs {needed}, more than the {} MB allowed", limit >> 20),
            )
            .set_hint("Have a superuser raise \"persona.max_memory\" or \"persona.max_image_cache\", or train with fewer factors."),
        }
    }
}

fn missing(named: &Named, version: i32) -> ErrorReport {
    fail(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the data of model {}, version {version}, are not stored here", shown(&named.name)),
    )
    .set_detail("A dump without the tables of schema persona_internal leaves them out.")
    .set_hint(format!("Train it again: SELECT persona.retrain({});", literal(&named.name)))
}

/// Checks every byte of an image.
pub(super) fn whole(bytes: &[u8], control: &Control) -> base::Result<()> {
    let image = Image::open(bytes)?;
    image.verify(control)?;
    kind::of_image(&image)?.check(&image, control)
}

/// Checks every byte, away from the main thread, which answers interrupts meanwhile.
pub(super) fn verify(bytes: &[u8]) -> Result<()> {
    work::run_or_here(|control| whole(bytes, control))
}

/// The same for a file that is there already: false where it is damaged.
pub(super) fn is_sound(mapped: &Mapped) -> Result<bool> {
    work::run_or_here(|control| match whole(mapped, control) {
        Err(base::Error::Cancelled) => Err(base::Error::Cancelled),
        checked => Ok(checked.is_ok()),
    })
}
