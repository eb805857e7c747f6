//! The images that this backend serves from, in private memory, most recently used first. Keyed by the image's
//! own id: which image a statement serves is resolved anew under its snapshot, so a deploy or a rollback is
//! seen exactly as MVCC says, and nothing here can be stale.

use std::cell::RefCell;
use std::rc::Rc;

use algorithms::Control;
use algorithms::image::{AlignedBytes, Image};
use algorithms::recommender::Recommender;
use pgrx::{Uuid, pg_sys};

use crate::access;
use crate::deploy;
use crate::error::{Code, OrReport, Result, fail};
use crate::identity::{self, Served};
use crate::registry;
use crate::settings;

/// Images that a backend keeps at most.
const MOST: usize = 16;

/// A loaded image and the version it belongs to.
pub(crate) struct Loaded {
    image_id: Uuid,
    bytes: AlignedBytes,
}

impl Loaded {
    /// The recommender in it; opening looks at lengths only and takes about a microsecond.
    pub(crate) fn recommender(&self) -> Result<Recommender<'_>> {
        let image = Image::open(&self.bytes).or_report()?;
        Recommender::new(&image).or_report()
    }
}

thread_local! {
    static CACHE: RefCell<Vec<Rc<Loaded>>> = const { RefCell::new(Vec::new()) };
}

/// The live image of a model that the current user may be served by, by name.
pub(crate) fn serve_name(name: &str) -> Result<Rc<Loaded>> {
    serve(identity::served_by_name(name)?)
}

/// The same by the oid of the model's view.
pub(crate) fn serve_relation(relation: pg_sys::Oid) -> Result<Rc<Loaded>> {
    serve(identity::served_by_relation(relation)?)
}

fn serve(model: Served) -> Result<Rc<Loaded>> {
    access::require_select(model.named.relation, &model.named.name)?;
    match registry::live(model.model_id, model.seen)? {
        Some(live) => load(&model, live.image_id, live.version),
        None => Err(deploy::not_deployed(&model.named)),
    }
}

fn load(model: &Served, image_id: Uuid, version: i32) -> Result<Rc<Loaded>> {
    let cached = CACHE.with_borrow_mut(|cache| {
        let found = cache.iter().position(|each| each.image_id == image_id)?;
        cache[..=found].rotate_right(1);
        cache.first().cloned()
    });
    if let Some(loaded) = cached {
        return Ok(loaded);
    }
    let named = &model.named;
    let missing = || {
        fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the data of model \"{}\", version {version}, are not stored here", named.name),
        )
        .set_detail("A dump without the tables of schema persona_internal leaves them out.")
        .set_hint(format!("Train it again: SELECT persona.retrain('{}');", named.name))
    };
    let facts = registry::version(model.model_id, Some(version), model.seen)?.ok_or_else(missing)?;
    let limit = settings::max_memory();
    if facts.bytes as u64 > limit {
        return Err(fail(
            Code::ERRCODE_OUT_OF_MEMORY,
            format!(
                "model \"{}\" needs {} MB, more than the {} MB allowed",
                named.name,
                (facts.bytes as u64).div_ceil(1 << 20),
                limit >> 20
            ),
        )
        .set_hint("Have a superuser raise \"persona.max_memory\", or train with fewer factors."));
    }
    let bytes = registry::load_image(image_id, facts.bytes as usize, model.seen)?.ok_or_else(missing)?;
    let image = Image::open(&bytes).or_report()?;
    image.verify(&Control::unlimited()).or_report()?;
    Recommender::new(&image).or_report()?.check().or_report()?;
    let loaded = Rc::new(Loaded { image_id, bytes });
    CACHE.with_borrow_mut(|cache| {
        cache.insert(0, Rc::clone(&loaded));
        cache.truncate(MOST);
        // The newest stays in any case; the others go while all together exceed the limit.
        while cache.len() > 1 && cache.iter().map(|each| each.bytes.len() as u64).sum::<u64>() > limit {
            cache.pop();
        }
    });
    Ok(loaded)
}
