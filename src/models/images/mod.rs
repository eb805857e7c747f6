//! The images that this backend serves from. Small ones lie in private memory, larger ones in files that all
//! backends map. Keyed by the image's own id: which image a statement serves is resolved anew under its snapshot,
//! so a deploy or a rollback is seen exactly as MVCC says, and nobody is served from what is stale.

mod cache;
mod files;
mod idle;
mod load;
mod slots;
mod timer;

use std::cell::Cell;
use std::time::{Duration, Instant};

use base::image::{AlignedBytes, Image};
use pgrx::{Uuid, pg_sys};

use super::identity::{self, Named, Served};
use super::registry;
use super::registry::scan::Seen;
use crate::pg::access;
use crate::pg::call::{Answer, Call, datum};
use crate::pg::error::{OrReport, Result};
pub(crate) use cache::Held;
use files::Obtained;
pub(crate) use files::{Ready, forget_at_commit, write_beside};
use load::{MAPPED_FROM, Wanted};
use slots::Kept;

/// How long a backend keeps its own copy of an image that there was no room for before it asks for room again: else a pool
/// would keep a hundred copies of it for good.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Where the bytes of an image are.
enum Bytes {
    Private(AlignedBytes),
    Mapped(Kept),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Private(bytes) => bytes,
            // Whoever is served has it by way of a `Held`, which counts as a user.
            Bytes::Mapped(kept) => kept.bytes(),
        }
    }
}

/// A loaded image and the model it belongs to.
pub(crate) struct Loaded {
    model_id: Uuid,
    image_id: Uuid,
    algorithm: String,
    bytes: Bytes,
    /// When it came into private memory, or room for a file was asked for last.
    since: Cell<Instant>,
    /// Whether anybody has used it lately.
    used: Cell<bool>,
}

impl Loaded {
    fn new(model_id: Uuid, image_id: Uuid, algorithm: String, bytes: Bytes) -> Loaded {
        Loaded {
            model_id,
            image_id,
            algorithm,
            bytes,
            since: Cell::new(Instant::now()),
            used: Cell::new(true),
        }
    }

    /// Whether it is time to ask again for a file instead of private memory. Asking begins a new time.
    fn asks_again(&self) -> bool {
        let due = self.private() >= MAPPED_FROM && self.since.get().elapsed() >= ASK_AGAIN;
        if due {
            self.since.set(Instant::now());
        }
        due
    }

    /// Its bytes as an image; opening looks at lengths only and takes about a microsecond.
    pub(crate) fn image(&self) -> Result<Image<'_>> {
        Image::open(&self.bytes).or_report()
    }

    /// The model that it is a version of.
    pub(crate) fn model_id(&self) -> Uuid {
        self.model_id
    }

    /// What trained it, such as `als`.
    pub(crate) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Bytes of private memory.
    fn private(&self) -> u64 {
        match &self.bytes {
            Bytes::Private(bytes) => bytes.len() as u64,
            Bytes::Mapped(_) => 0,
        }
    }
}

/// The live image of a model that the current user may be served by, by name.
pub(crate) fn serve_name(name: &str) -> Result<Held> {
    serve(&identity::served_by_name(name)?)
}

/// The same by the oid of the model's view.
pub(crate) fn serve_relation(relation: pg_sys::Oid) -> Result<Held> {
    serve(&identity::served_by_relation(relation)?)
}

fn serve(model: &Served) -> Result<Held> {
    let (image_id, version) = live(model)?;
    get(model, image_id, version)
}

fn get(model: &Served, image_id: Uuid, version: i32) -> Result<Held> {
    match cache::find(image_id) {
        Some(held) if held.asks_again() => Ok(mapped_instead(model, image_id, version).unwrap_or(held)),
        Some(held) => Ok(held),
        None => load(model, image_id, version, false),
    }
}

/// An image that is in private memory, from a file if there is one to be had by now.
fn mapped_instead(model: &Served, image_id: Uuid, version: i32) -> Option<Held> {
    let wanted = Wanted::new(model, image_id, version).ok()?;
    match wanted.map(false).ok()? {
        Some(Obtained::Mapped(mapped)) => {
            let bytes = Bytes::Mapped(Kept::new(mapped));
            Some(cache::insert(Loaded::new(model.model_id, image_id, wanted.algorithm, bytes)))
        }
        _ => None,
    }
}

/// The image and number of the version to serve, after the check of the right to it.
fn live(model: &Served) -> Result<(Uuid, i32)> {
    access::require_select(model.named.relation, &model.named.name)?;
    match registry::live(model.model_id, model.seen)? {
        Some(live) => Ok((live.image_id, live.version)),
        None => Err(identity::not_deployed(&model.named)),
    }
}

fn load(model: &Served, image_id: Uuid, version: i32, check: bool) -> Result<Held> {
    let wanted = Wanted::new(model, image_id, version)?;
    let bytes = wanted.load(check)?;
    Ok(cache::insert(Loaded::new(model.model_id, image_id, wanted.algorithm, bytes)))
}

/// Loads a version that is about to go live: no request has to, and damaged data never go live.
pub(crate) fn prepare(named: &Named, model_id: Uuid, image_id: Uuid, version: i32) -> Result<Held> {
    let served = Served { named: named.clone(), model_id, seen: Seen::Latest };
    get(&served, image_id, version)
}

/// `persona.prewarm(model)`: loads the live version, checks all of it, and answers its bytes.
pub(crate) fn prewarm(call: &Call) -> Answer {
    let name = call.required_text(0, "model")?;
    let model = identity::served_by_name(&name)?;
    let (image_id, version) = live(&model)?;
    let loaded = load(&model, image_id, version, true)?;
    Ok(datum(loaded.bytes.len() as i64))
}
