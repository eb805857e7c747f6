//! `persona.explain`: which of the user's items the score of an item rests on.

use algorithms::Control;

use super::Answer;
use super::served::by_name;
use crate::call::{Call, datum};
use crate::error::{Code, fail};
use crate::options::Options;
use crate::work;

/// Rows where `options` does not say how many.
const ROWS: usize = 10;

/// What trains factors of users that their items determine.
const EXPLAINED: [&str; 2] = [ALS, "elsa"];
const ALS: &str = "als";

/// `persona.explain(model, user_id, item_id, options)`; no rows where either id is NULL or not known.
pub(crate) fn explain(call: &Call) -> Answer {
    let options = Options::new(call.object(3, "options")?, &["k"])?;
    let k = options.integer("k", 0, i32::MAX.into())?.map_or(ROWS, |k| k as usize);
    by_name(call, |served| {
        let sampled = served.model.facts.factors > 0 && !EXPLAINED.contains(&served.algorithm);
        if sampled || !served.model.explains() {
            return Err(not_explained(served.algorithm));
        }
        let mut rows = call.rows()?;
        let (Some(user), Some(item)) = (served.user(call, 1)?, served.item(call, 2)?) else { return Ok(()) };
        let control = Control::unlimited();
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
    let trained = if algorithm == ALS { "on ratings".to_string() } else { format!("by {algorithm}") };
    fail(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("scores of a model trained {trained} cannot be explained"),
    )
    .set_detail("They are no sums over the items of the user.")
    .set_hint("Explained are those of persona.train_ease(), persona.train_item_knn(), and persona.train_als() with implicit feedback.")
}
