//! Parts of users and of held-out items.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::pace::Pace;

use crate::interactions::Split;

use super::ranker::Popularity;

/// How much is known of users: terciles of the number of their training entries, over the measured users.
///
/// Users of equal number stay together. Where two thirds end with the same number there is one class for both, which has
/// both names: `cold+medium`. So there are fewer classes, never an empty one, and none that is called what it is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// The name of each class and the positions of its users, rising. None without users.
    pub classes: Vec<(&'static str, Vec<u32>)>,
    /// The most entries of a cold user, and of a medium one.
    pub bounds: (usize, usize),
}

/// The classes of the measured users.
pub fn activity(split: &Split, control: &Control) -> Result<Activity> {
    let mut pace = Pace::new(control);
    let count = |position: usize| split.known_of(position).0.len();
    let mut counts = Vec::with_capacity(split.users.len());
    for position in 0..split.users.len() {
        pace.step(1)?;
        counts.push(count(position));
    }
    counts.sort_unstable();
    let third = |n: usize| counts.get((n * counts.len()).div_ceil(3).max(1) - 1).copied().unwrap_or(0);
    let bounds = (third(1), third(2));
    let names: &[(usize, &'static str)] = match (bounds.0 == bounds.1, bounds.1 == third(3)) {
        (false, false) => &[(bounds.0, "cold"), (bounds.1, "medium"), (usize::MAX, "heavy")],
        (true, false) => &[(bounds.0, "cold+medium"), (usize::MAX, "heavy")],
        (false, true) => &[(bounds.0, "cold"), (usize::MAX, "medium+heavy")],
        (true, true) => &[(usize::MAX, "cold+medium+heavy")],
    };
    let mut classes: Vec<(&'static str, Vec<u32>)> =
        names.iter().map(|&(_, name)| (name, Vec::new())).collect();
    for position in 0..split.users.len() {
        let class = names.partition_point(|&(most, _)| most < count(position));
        classes[class].1.push(position as u32);
    }
    classes.retain(|(_, users)| !users.is_empty());
    Ok(Activity { classes, bounds })
}

/// How popular held-out items are: the head are the most popular items that have a third of the training entries, the
/// torso those that have the next third, the tail the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldOut;

impl HeldOut {
    /// The names of the classes.
    pub const NAMES: [&'static str; 3] = ["head", "torso", "tail"];
}

/// The class of each item. An item belongs to the third that its first entry falls into, counted from the most popular
/// one on; without any, it is of the tail.
pub(super) fn held_out(popularity: &Popularity, budget: &mut Budget<'_>) -> Result<Vec<u8>> {
    let mut class = budget.zeroed::<u8>(popularity.counts.len())?;
    let mut pace = Pace::new(budget.control());
    let mut before = 0u64;
    for &item in &popularity.order {
        pace.step(1)?;
        let count = popularity.counts[item as usize];
        let third = if count == 0 { 2 } else { 3 * before / popularity.entries };
        class[item as usize] = third.min(2) as u8;
        before += u64::from(count);
    }
    Ok(class)
}
