//! Scoring models on held-out entries, beside popularity.
//!
//! Every sampled user's ranking is measured once and kept as a [`Records`]: means, slices and bootstrap intervals are
//! computed from those.

mod auc;
mod bootstrap;
mod parts;
mod ranker;
mod records;
mod slices;

use crate::factors::Factors;
use crate::interactions::Split;
use crate::metrics::{Estimates, rank_metrics};
use crate::neighbours::NeighboursRef;
use crate::popularity::Decayed;
use crate::tasks::{MEASURING, RECORDING};

use auc::Auc;
use base::budget::Budget;
use base::control::Control;
use base::csr::Csr;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;
use parts::{ByParts, Prepared};
use ranker::{Marks, Popularity, Ranker, Seen, User};

pub use bootstrap::{Interval, Intervals};
pub use parts::Part;
pub use records::Records;
pub use slices::{Activity, HeldOut, activity};

/// Users that a thread takes at a time.
const CHUNK: usize = 16;

/// The figures at one cutoff.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The cutoff: metrics are over the first `k` items.
    pub k: usize,
    /// Of the model.
    pub model: Estimates,
    /// Of the most popular items of the training part.
    pub popularity: Estimates,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Cutoffs.
    pub ks: &'a [usize],
    /// Whether the AUC is: it needs the scores of all items, several times the work of finding the best of them.
    pub auc: bool,
    /// Whether the held-out items are also measured by how popular they are: [`HeldOut`].
    pub held_out: bool,
    /// Threads.
    pub threads: usize,
}

/// What was learned.
#[derive(Debug, Clone, Copy)]
pub enum Learned<'a> {
    /// Factors, and what folds in the users whom a split kept out of them.
    Factors {
        /// The factors.
        factors: &'a Factors,
        /// `regularization` and `alpha` of [`crate::als::fold_in`].
        fold: (f64, f64),
    },
    /// Factors whose users are the sums of the rows of their items.
    Sums(&'a Factors),
    /// Neighbours; `weighted` says whether an item counts by the user's value instead of by 1.
    Neighbours {
        /// The neighbours.
        neighbours: NeighboursRef<'a>,
        /// See above.
        weighted: bool,
    },
    /// Weights of all items, the same for everybody.
    Popular(&'a Decayed),
    /// A model for all, and for the users of some parts one of their own.
    Parts {
        /// Of all.
        whole: &'a Learned<'a>,
        /// The part of each user, [`crate::partition::NONE`] for who is in none.
        of_user: &'a [u32],
        /// Of each part; nothing where its users have that of all.
        parts: &'a [Option<Part<'a>>],
    },
}

/// Ranks all items that a user does not have in the training part, for every sampled user of the split, and
/// measures the held-out ones at each cutoff of `ks`. Empty where the split holds no users.
///
/// `item_users`: the transpose of the training part. For users who were trained on: [`record`] has more choices.
/// Errors: `Cancelled`, `Memory`, `NoMemory`.
pub fn evaluate(
    split: &Split,
    item_users: &Csr,
    factors: &Factors,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    figures(split, item_users, Learned::Factors { factors, fold: (0.0, 0.0) }, ks, threads, control)
}

/// As [`evaluate`], for neighbours; `weighted` says whether an item counts by the user's value instead of by 1.
pub fn evaluate_neighbours(
    split: &Split,
    item_users: &Csr,
    neighbours: NeighboursRef<'_>,
    weighted: bool,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    figures(split, item_users, Learned::Neighbours { neighbours, weighted }, ks, threads, control)
}

fn figures(
    split: &Split,
    item_users: &Csr,
    learned: Learned<'_>,
    ks: &[usize],
    threads: usize,
    control: &Control,
) -> Result<Vec<Evaluation>> {
    let plan = Plan { ks, auc: false, held_out: false, threads };
    let records = record(split, item_users, learned, plan, control)?;
    let figures = records.figures(records.all(), None, control);
    control.give(records.bytes());
    figures
}

/// Measures every sampled user of a split. [`Records::bytes`] stay taken from the control. The same to the bit for every
/// number of threads. Errors: `Cancelled`, `Memory`, `NoMemory`.
pub fn record(
    split: &Split,
    item_users: &Csr,
    learned: Learned<'_>,
    plan: Plan<'_>,
    control: &Control,
) -> Result<Records> {
    let mut budget = Budget::new(control, MEASURING);
    let popularity = Popularity::new(item_users, &mut budget)?;
    let (learned, of_user, parts) = match learned {
        Learned::Parts { whole, of_user, parts } => (*whole, of_user, parts),
        one => (one, &[][..], &[][..]),
    };
    let whole = Prepared::new(learned, split, plan.threads, control)?;
    let mut of_parts = Vec::with_capacity(parts.len());
    for part in parts {
        of_parts.push(match part {
            Some(part) => Some(part.prepare(split, plan.threads, &mut budget)?),
            None => None,
        });
    }
    let ranker = |budget: &mut Budget<'_>| {
        let whole = whole.ranker(&popularity, control, budget)?;
        match parts {
            [] => Ok(whole),
            _ => Ok(ByParts::ranker(whole, of_user, &of_parts, &popularity, control, budget)?),
        }
    };
    measure(split, &popularity, plan, control, ranker)
}

/// Measures by a ranker of each thread.
fn measure<'r>(
    split: &Split,
    popularity: &Popularity,
    plan: Plan<'_>,
    control: &Control,
    ranker: impl Fn(&mut Budget<'_>) -> Result<Box<dyn Ranker + 'r>> + Sync,
) -> Result<Records> {
    let items = popularity.counts.len();
    let mut budget = Budget::new(control, RECORDING);
    let held_out = if plan.held_out { Some(slices::held_out(popularity, &mut budget)?) } else { None };
    let mut records = Records::new(split.users.len(), items, plan, &mut budget)?;
    let longest = records.longest();
    let users = split.users.len();
    control.start(users as u64);

    let jobs = split.users.chunks(CHUNK).zip((0..).step_by(CHUNK)).zip(records.parts(CHUNK));
    let threads = plan.threads.min(users.div_ceil(CHUNK)).max(1);
    share(jobs, threads, control, |jobs| {
        // Dropped after what it counts.
        let mut budget = Budget::new(control, MEASURING);
        let mut seen = Marks::new(items, &mut budget)?;
        let mut auc = if plan.auc { Some(Auc::new(items, &mut budget)?) } else { None };
        let mut ranker = ranker(&mut budget)?;
        let mut pace = Pace::new(control);
        let mut of_class = Vec::new();
        while let Some(((users, first), mut part)) = jobs.next()? {
            for (position, &user) in (first..).zip(users) {
                let user = User::of(split, position, user);
                let (relevant, _) = split.held_out.row(position);
                seen.flip(user.items)?;
                let marked = Seen::whole(&seen);
                let ranked = ranker.rank(&user, longest, &marked)?;
                let popular = marked.others(&popularity.order, longest, &mut pace)?;
                part.show(position - first, [&ranked, &popular]);
                let pairs = match &mut auc {
                    Some(auc) => auc.pairs(&mut *ranker, &user, relevant, popularity, &mut seen)?,
                    None => [None, None],
                };
                seen.flip(user.items)?;
                for view in 0..part.views() {
                    let relevant = match (view, &held_out) {
                        (1.., Some(class)) => {
                            of_class.clear();
                            let same = |&&item: &&u32| usize::from(class[item as usize]) + 1 == view;
                            of_class.extend(relevant.iter().filter(same));
                            &of_class[..]
                        }
                        _ => relevant,
                    };
                    if relevant.is_empty() {
                        continue;
                    }
                    for (cutoff, &k) in plan.ks.iter().enumerate() {
                        for (side, list) in [&ranked, &popular].into_iter().enumerate() {
                            let shown = &list[..k.min(list.len())];
                            let mut ranking = rank_metrics(shown, relevant, k);
                            ranking.novelty = popularity.novelty(shown);
                            ranking.auc = pairs[side].as_ref().and_then(|pairs| pairs.mean(relevant));
                            part.set(position - first, view, cutoff, side, ranking);
                        }
                    }
                }
            }
            control.advance(users.len() as u64);
        }
        Ok(())
    })?;
    if let Some(class) = held_out {
        budget.free(class);
    }
    budget.keep(records.bytes());
    Ok(records)
}
