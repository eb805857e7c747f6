//! Which images this backend has loaded, the one that was used last first.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::Uuid;

use super::{Bytes, Loaded, idle};
use crate::pg::settings;

/// Images that a backend keeps at most.
const MOST: usize = 16;

/// Images of one model that it keeps at most, and that within a transaction only: the live one, and the one before for a
/// rollback or an older snapshot.
const MOST_OF_A_MODEL: usize = 2;

thread_local! {
    static CACHE: RefCell<Vec<Rc<Loaded>>> = const { RefCell::new(Vec::new()) };
    /// Whether this transaction has loaded any: only then can one of them be stale.
    static LOADED: Cell<bool> = const { Cell::new(false) };
}

/// A loaded image that stays in memory for as long as the value lives, whatever the cache and the timer do.
pub(crate) struct Held(Rc<Loaded>);

impl Held {
    /// `None` if the timer has unmapped it.
    fn of(loaded: &Rc<Loaded>) -> Option<Held> {
        match &loaded.bytes {
            Bytes::Mapped(kept) if !kept.enter() => None,
            _ => Some(Held::entered(Rc::clone(loaded))),
        }
    }

    /// One that counts this user already.
    fn entered(loaded: Rc<Loaded>) -> Held {
        if let Bytes::Mapped(_) = loaded.bytes {
            idle::served();
        }
        loaded.used.set(true);
        Held(loaded)
    }
}

impl std::ops::Deref for Held {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Bytes::Mapped(kept) = &self.0.bytes {
            kept.leave();
        }
    }
}

/// An image that is in memory.
pub(super) fn find(image_id: Uuid) -> Option<Held> {
    CACHE.with_borrow_mut(|cache| {
        let found = cache.iter().position(|each| each.image_id == image_id)?;
        cache[..=found].rotate_right(1);
        cache.first().and_then(Held::of)
    })
}

/// Takes one in that was just loaded, and holds it.
pub(super) fn insert(loaded: Loaded) -> Held {
    let (model_id, image_id) = (loaded.model_id, loaded.image_id);
    let loaded = Rc::new(loaded);
    let held = Held::entered(Rc::clone(&loaded));
    LOADED.set(true);
    CACHE.with_borrow_mut(|cache| {
        cache.retain(|each| each.image_id != image_id);
        cache.insert(0, loaded);
        keep_of_a_model(cache, MOST_OF_A_MODEL, |each| each == model_id);
        cache.truncate(MOST);
        // The newest stays in any case; the others go while all together exceed the limit.
        while cache.len() > 1 && cache.iter().map(|each| each.private()).sum::<u64>() > settings::max_memory()
        {
            cache.pop();
        }
    });
    held
}

/// Drops all but the first `most` of each of the models that are `concerned`.
fn keep_of_a_model(cache: &mut Vec<Rc<Loaded>>, most: usize, concerned: impl Fn(Uuid) -> bool) {
    let models: Vec<Uuid> = cache.iter().map(|each| each.model_id).collect();
    let mut at = 0;
    cache.retain(|each| {
        let newer = models[..at].iter().filter(|&&model| model == each.model_id).count();
        at += 1;
        newer < most || !concerned(each.model_id)
    });
}

/// At the end of a transaction: of each model only what it was served from last stays.
pub(super) fn forget_stale() {
    if LOADED.replace(false) {
        CACHE.with_borrow_mut(|cache| keep_of_a_model(cache, 1, |_| true));
    }
}

/// Unmaps what nobody has used since the last call, and forgets what the timer has unmapped.
pub(super) fn forget_unused() {
    CACHE.with_borrow_mut(|cache| {
        cache.retain(|each| match &each.bytes {
            Bytes::Private(_) => true,
            Bytes::Mapped(kept) => each.used.replace(false) && kept.is_there(),
        });
    });
}

/// Unmaps all that no statement of this backend holds: it must not stand in the way of its own new file. False if there was
/// nothing.
pub(super) fn give_up_unheld() -> bool {
    CACHE.with_borrow_mut(|cache| {
        let before = cache.len();
        cache.retain(|each| matches!(each.bytes, Bytes::Private(_)) || Rc::strong_count(each) > 1);
        cache.len() < before
    })
}

/// Drops images that are deleted.
pub(super) fn forget(image_ids: &[Uuid]) {
    CACHE.with_borrow_mut(|cache| cache.retain(|each| !image_ids.contains(&each.image_id)));
}
