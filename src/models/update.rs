//! `persona.update_model`: a version from the live one and the rows that changed, by kinds that can follow them.

use super::owned::owned_to_train;
use super::{kind, locks};
use crate::pg::call::{Answer, Call};

/// `persona.update_model(model, options)`.
pub(crate) fn update_model(call: &Call) -> Answer {
    locks::writable(c"persona.update_model()");
    let (named, model) = owned_to_train(call)?;
    kind::of(&model.kind)?.update(call, named, model)
}
