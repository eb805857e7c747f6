//! The images that this backend serves from. Small ones lie in private memory, larger ones in files that all
//! backends map. Keyed by the image's own id: which image a statement serves is resolved anew under its snapshot,
//! so a deploy or a rollback is seen exactly as MVCC says, and nothing here can be stale.

mod files;
mod load;

use std::cell::RefCell;
use std::rc::Rc;

use algorithms::image::files::Mapped;
use algorithms::image::{AlignedBytes, Image};
use algorithms::model::Model as Contents;
use algorithms::recommender::Recommender;
use algorithms::segments::Segments;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{Uuid, pg_sys};

use crate::call::{Call, datum};
use crate::error::{Code, OrReport, Result, fail};
use crate::identity::{self, Named, Served};
use crate::registry;
use crate::registry::scan::Seen;
use crate::{access, deploy, settings};
pub(crate) use files::{Ready, forget_at_commit, write_beside};
use load::Wanted;

/// Images that a backend keeps at most.
const MOST: usize = 16;

/// Images of one model that it keeps at most: the live one, and the one before for a rollback or an older snapshot.
/// More would pin the space of deleted versions for as long as a connection lives.
const MOST_OF_A_MODEL: usize = 2;

/// Where the bytes of an image are.
enum Bytes {
    Private(AlignedBytes),
    Mapped(Mapped),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Private(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

/// A loaded image and the model it belongs to.
pub(crate) struct Loaded {
    model_id: Uuid,
    image_id: Uuid,
    algorithm: String,
    bytes: Bytes,
}

impl Loaded {
    /// The recommender in it; opening looks at lengths only and takes about a microsecond. 42809 for another kind.
    pub(crate) fn recommender(&self) -> Result<Recommender<'_>> {
        match self.contents()? {
            Contents::Recommender(model) => Ok(model),
            Contents::Segments(_) => Err(wrong_kind("this model forms segments and recommends nothing")
                .set_hint("Ask it with persona.assign() or persona.segment_distances().")),
        }
    }

    /// The segments in it, as above.
    pub(crate) fn segments(&self) -> Result<Segments<'_>> {
        match self.contents()? {
            Contents::Segments(model) => Ok(model),
            Contents::Recommender(_) => Err(wrong_kind("this model recommends and has no segments")
                .set_hint("Segments are formed by persona.train_kmeans() and persona.train_rfm().")),
        }
    }

    fn contents(&self) -> Result<Contents<'_>> {
        Contents::new(&Image::open(&self.bytes).or_report()?).or_report()
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

fn wrong_kind(message: &str) -> ErrorReport {
    fail(Code::ERRCODE_WRONG_OBJECT_TYPE, message)
}

thread_local! {
    static CACHE: RefCell<Vec<Rc<Loaded>>> = const { RefCell::new(Vec::new()) };
}

/// The live image of a model that the current user may be served by, by name.
pub(crate) fn serve_name(name: &str) -> Result<Rc<Loaded>> {
    serve(&identity::served_by_name(name)?)
}

/// The same by the oid of the model's view.
pub(crate) fn serve_relation(relation: pg_sys::Oid) -> Result<Rc<Loaded>> {
    serve(&identity::served_by_relation(relation)?)
}

fn serve(model: &Served) -> Result<Rc<Loaded>> {
    let (image_id, version) = live(model)?;
    match cached(image_id) {
        Some(loaded) => Ok(loaded),
        None => load(model, image_id, version, false),
    }
}

/// The image and number of the version to serve, after the check of the right to it.
fn live(model: &Served) -> Result<(Uuid, i32)> {
    access::require_select(model.named.relation, &model.named.name)?;
    match registry::live(model.model_id, model.seen)? {
        Some(live) => Ok((live.image_id, live.version)),
        None => Err(deploy::not_deployed(&model.named)),
    }
}

fn cached(image_id: Uuid) -> Option<Rc<Loaded>> {
    CACHE.with_borrow_mut(|cache| {
        let found = cache.iter().position(|each| each.image_id == image_id)?;
        cache[..=found].rotate_right(1);
        cache.first().cloned()
    })
}

fn load(model: &Served, image_id: Uuid, version: i32, check: bool) -> Result<Rc<Loaded>> {
    let wanted = Wanted::new(model, image_id, version)?;
    let bytes = wanted.load(check)?;
    let loaded = Rc::new(Loaded { model_id: model.model_id, image_id, algorithm: wanted.algorithm, bytes });
    CACHE.with_borrow_mut(|cache| {
        cache.retain(|each| each.image_id != image_id);
        cache.insert(0, Rc::clone(&loaded));
        let mut of_this_model = 0;
        cache.retain(|each| {
            of_this_model += usize::from(each.model_id == model.model_id);
            each.model_id != model.model_id || of_this_model <= MOST_OF_A_MODEL
        });
        cache.truncate(MOST);
        // The newest stays in any case; the others go while all together exceed the limit.
        while cache.len() > 1 && cache.iter().map(|each| each.private()).sum::<u64>() > settings::max_memory()
        {
            cache.pop();
        }
    });
    Ok(loaded)
}

/// Loads a version that is about to go live: no request has to, and damaged data never go live.
pub(crate) fn prepare(named: &Named, model_id: Uuid, image_id: Uuid, version: i32) -> Result<Rc<Loaded>> {
    let served = Served { named: named.clone(), model_id, seen: Seen::Latest };
    match cached(image_id) {
        Some(loaded) => Ok(loaded),
        None => load(&served, image_id, version, false),
    }
}

/// `persona.prewarm(model)`: loads the live version, checks all of it, and answers its bytes.
pub(crate) fn prewarm(call: &Call) -> Result<Option<pg_sys::Datum>> {
    let name = call.required_text(0, "model")?;
    let model = identity::served_by_name(&name)?;
    let (image_id, version) = live(&model)?;
    let loaded = load(&model, image_id, version, true)?;
    Ok(datum(loaded.bytes.len() as i64))
}
