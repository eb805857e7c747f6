//! What memory is for in this crate, and what the user can do if it is not enough.

use base::budget::{Task, task};

pub(crate) const HOLDOUT: Task = task("holding rows out", "Train with holdout \"none\".");
pub(crate) const MEASURING: Task = task("measuring the model", "Train with holdout \"none\".");
pub(crate) const RECORDING: Task = task("keeping what was measured", "Use a smaller cutoff \"k\".");
pub(crate) const EASE: Task = task("training EASE", "Use fewer items or another trainer.");
pub(crate) const ITEM_KNN: Task = task("comparing the items", "Use fewer \"neighbours\" or fewer items.");
pub(crate) const POPULARITY: Task = task("counting the interactions", "Read fewer rows.");
pub(crate) const EXPLAINING: Task = task("explaining a score", "Raise \"persona.max_memory\".");
pub(crate) const WRITING: Task = task("writing the model", "Use fewer \"factors\".");
