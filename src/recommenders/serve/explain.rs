//! `persona.explain`: which of the user's items the score of an item rests on.

use base::Control;

use super::Answer;
use super::served::by_name;
use crate::pg::call::{Call, datum};
use crate::pg::error::{Code, fail};
use crate::pg::options::Options;
use crate::pg::{settings, work};

/// Rows where `options` does not say how many.
const ROWS: usize = 10;

/// What trains factors of users that their items determine.
const EXPLAINED: [&str; 2] = ["als", "elsa"];

/// `persona.explain(model, user_id, item_id, options)`; no rows where either id is NULL or not known. Ratings have one more,
/// of what they are without the user's items.
pub(crate) fn explain(call: &Call) -> Answer {
    by_name(call, |served| {
        let options = Options::new(call.object(3, "options")?, &["k"])?;
        let k = options.integer("k", 0, i32::MAX.into())?.map_or(ROWS, |k| k as usize);
        let sampled = served.model.facts.factors > 0 && !EXPLAINED.contains(&served.algorithm);
        if !sampled && served.model.rates() && !served.model.explains() {
            return Err(without_values());
        }
        if sampled || !served.model.explains() {
            return Err(not_explained(served.algorithm));
        }
        let mut rows = call.rows()?;
        let (Some(user), Some(item)) = (served.user(call, 1)?, served.item(call, 2)?) else { return Ok(()) };
        // No item, and before all of them: the rank of a reason counts from 1.
        if let Some(base) = served.model.base(user, item) {
            rows.push(&[None, datum(base as f32), datum(0)])?;
        }
        let control = Control::new(settings::max_memory());
        let parts = work::run(&control, || {}, || served.model.explain(user, item, &control))?;
        for (position, part) in parts.iter().take(k).enumerate() {
            rows.push(&[
                datum(served.item_text(part.item)),
                datum(part.contribution as f32),
                datum(position as i32 + 1),
            ])?;
        }
        Ok(())
    })?;
    Ok(None)
}

fn not_explained(algorithm: &str) -> pgrx::pg_sys::panic::ErrorReport {
    fail(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("scores of a model trained by {algorithm} cannot be explained"),
    )
    .set_detail("They are no sums over the items of the user.")
    .set_hint(
        "Explained are those of persona.train_ease(), persona.train_item_knn() and persona.train_als().",
    )
}

/// 55000 for a version that was written before images had values.
fn without_values() -> pgrx::pg_sys::panic::ErrorReport {
    fail(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the version of the model does not hold the ratings that it was trained on",
    )
    .set_detail("It was trained by an earlier version of pg_persona.")
    .set_hint("Train it once more by persona.retrain().")
}
