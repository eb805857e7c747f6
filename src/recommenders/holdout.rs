//! The holdout: which rows a first fit does not see, and how well it ranks them.

use base::{Control, Csr, Error};
use recommenders::als::explicit;
use recommenders::evaluate::{self, Records};
use recommenders::interactions::{Holdout, Interactions, Split, split, train_times, transpose};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Data, Learned};
use super::by_segment::{SegmentModels, Segments, WithSegments};
use super::evaluate_options::{EvaluateOptions, Group};
use super::figures::{Scored, figures};
use crate::models::registry::Metric;
use crate::models::train::guard::GUARD_CUTOFF;
use crate::models::train::running::Training;
use crate::pg::error::{Code, OrReport, Result, fail};
use crate::pg::settings;

/// Users that a holdout samples at most.
pub(crate) const HOLDOUT_USERS: usize = 10_000;

/// Which rows score a first fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldoutChoice {
    Auto,
    Time,
    Hash,
    None,
}

/// The words of `holdout`.
pub(crate) const HOLDOUTS: [(&str, HoldoutChoice); 4] = [
    ("auto", HoldoutChoice::Auto),
    ("time", HoldoutChoice::Time),
    ("hash", HoldoutChoice::Hash),
    ("none", HoldoutChoice::None),
];

/// The holdout that a word means for this data.
pub(crate) fn holdout(choice: HoldoutChoice, has_time: bool) -> Result<Option<Holdout>> {
    match choice {
        HoldoutChoice::None => Ok(None),
        HoldoutChoice::Hash => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Auto if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Auto => Ok(Some(Holdout::Hash)),
        HoldoutChoice::Time if has_time => Ok(Some(Holdout::Time)),
        HoldoutChoice::Time => {
            Err(fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, "holdout \"time\" needs a time column")
                .set_hint("Name it in \"time_column\", or use holdout \"hash\"."))
        }
    }
}

/// Times of entries.
#[derive(Clone, Copy)]
pub(crate) struct Times<'a> {
    pub(crate) values: &'a [i64],
    /// Units of a day; 1 where the times are whole numbers of an unknown unit.
    pub(crate) day: f64,
}

/// Rows of which a part is held out, ready to be fitted and measured by any number of algorithms.
pub(crate) struct Prepared<'c> {
    split: Split,
    item_users: Csr,
    times: Option<Vec<i64>>,
    day: f64,
    threads: usize,
    control: &'c Control,
}

impl<'c> Prepared<'c> {
    /// Holds rows out; nothing where no user has two items. `times` says whether an algorithm will ask for them.
    pub(crate) fn new(
        training: &mut Training<'c>,
        interactions: &Interactions,
        holdout: Holdout,
        seed: i64,
        (times, day): (bool, f64),
    ) -> Result<Option<Prepared<'c>>> {
        let control = training.control;
        let threads = settings::max_threads();
        let (split, item_users, times) = training.phase("split", 0, || {
            let split = split(interactions, holdout, seed as u64, HOLDOUT_USERS, control)?;
            let item_users = transpose(&split.train, interactions.items.len(), threads, control)?;
            let times = if times { train_times(interactions, &split, control)? } else { None };
            Ok((split, item_users, times))
        })?;
        let prepared = Prepared { split, item_users, times, day, threads, control };
        Ok((!prepared.split.users.is_empty()).then_some(prepared))
    }

    /// Memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let times = self.times.as_ref().map_or(0, |times| times.len() as u64 * 8);
        self.split.bytes() + self.item_users.bytes() + times
    }

    /// Fits on all but the held-out rows and measures on those: the figures and the settings that were used, or what kept the
    /// algorithm from fitting these rows.
    pub(crate) fn measure(
        &self,
        training: &mut Training<'_>,
        algorithm: &dyn Algorithm,
        cutoffs: &[usize],
    ) -> Result<base::Result<(Scored, Map<String, Value>)>> {
        let (control, times) = (self.control, self.times.as_deref());
        let times = times.map(|values| Times { values, day: self.day });
        let data = Data { user_items: &self.split.train, item_users: &self.item_users, times };
        let held = control.used();
        let fitted = training.phase("holdout fit", algorithm.iterations(), || {
            match algorithm.fit(&data, control) {
                Err(unfit @ (Error::Diverged { .. } | Error::Memory { .. } | Error::NoMemory { .. })) => {
                    Ok(Err(unfit))
                }
                fitted => fitted.map(Ok),
            }
        })?;
        let fitted = match fitted {
            Ok(fitted) => fitted,
            Err(unfit) => {
                // What it began with is freed, whoever took it.
                control.give(control.used().saturating_sub(held));
                return Ok(Err(unfit));
            }
        };
        let scored = training.phase("evaluate", 0, || self.score(&fitted.learned, cutoffs))?;
        control.give(fitted.learned.bytes());
        Ok(Ok((scored, algorithm.hyperparameters(&fitted))))
    }

    /// As `measure`, with the slices and intervals that were asked for.
    pub(crate) fn ask(
        &self,
        training: &mut Training<'_>,
        algorithm: &dyn Algorithm,
        ask: &EvaluateOptions,
        groups: &[Group],
        seed: i64,
    ) -> Result<Vec<Metric>> {
        let control = self.control;
        let times = self.times.as_deref().map(|values| Times { values, day: self.day });
        let data = Data { user_items: &self.split.train, item_users: &self.item_users, times };
        let fitted =
            training.phase("holdout fit", algorithm.iterations(), || algorithm.fit(&data, control))?;
        let rows = training.phase("evaluate", 0, || {
            // Slices and intervals of ratings were refused before.
            if let Learned::Ratings(_) = &fitted.learned {
                return Ok(self.score(&fitted.learned, &[ask.k])?.metrics());
            }
            let plan =
                evaluate::Plan { ks: &[ask.k], auc: true, held_out: ask.popularity, threads: self.threads };
            let fold = (fitted.regularization, fitted.alpha);
            let records = self.record(&fitted.learned, fold, plan)?;
            let rows = ask.rows(&records, &self.split, groups, seed, self.threads, control);
            control.give(records.bytes());
            rows
        })?;
        control.give(fitted.learned.bytes());
        Ok(rows)
    }

    /// The measured users, rising.
    pub(crate) fn users(&self) -> &[u32] {
        &self.split.users
    }

    /// What is measured of each user.
    fn record(&self, learned: &Learned, fold: (f64, f64), plan: evaluate::Plan<'_>) -> base::Result<Records> {
        fn record(
            of: &Prepared<'_>,
            learned: evaluate::Learned<'_>,
            plan: evaluate::Plan<'_>,
        ) -> base::Result<Records> {
            evaluate::record(&of.split, &of.item_users, learned, plan, of.control)
        }
        match learned {
            Learned::BySegment(learned) => learned.measured(fold, |learned| record(self, learned, plan)),
            one => one.ranks(fold).map_or(Err(Error::NoData), |learned| record(self, learned, plan)),
        }
    }

    fn score(&self, learned: &Learned, cutoffs: &[usize]) -> base::Result<Scored> {
        let Prepared { split, item_users, control, .. } = self;
        let (mut ranking, mut ratings) = (Vec::new(), None);
        if let Learned::Ratings(model) = learned {
            let errors = explicit::errors(model, &split.users, &split.held_out, control)?;
            ratings = Some((errors, explicit::item_mean_errors(item_users, &split.held_out, control)?));
        } else {
            let plan = evaluate::Plan { ks: cutoffs, auc: false, held_out: false, threads: self.threads };
            let records = self.record(learned, (0.0, 0.0), plan)?;
            ranking = records.figures(records.all(), None, control)?;
            control.give(records.bytes());
        }
        Ok(Scored { ranking, ratings, users: split.users.len(), slices: Vec::new() })
    }

    /// Measures the model of all and those of segments side by side: the algorithm with the segments whose own model ranks
    /// better, the figures of that, and how it came to be.
    pub(super) fn choose_segments(
        &self,
        training: &mut Training<'_>,
        algorithm: WithSegments,
        segments: &Segments,
        own: SegmentModels,
        cutoffs: &[usize],
    ) -> Result<(WithSegments, Scored, String)> {
        let (control, split) = (self.control, &self.split);
        let times = self.times.as_deref().map(|values| Times { values, day: self.day });
        let data = Data { user_items: &split.train, item_users: &self.item_users, times };
        let fitted =
            training.phase("holdout fit", algorithm.iterations(), || algorithm.fit(&data, control))?;
        let Learned::BySegment(learned) = &fitted.learned else {
            return Err(Err::<(), _>(Error::NoData).or_report().unwrap_err());
        };
        let popular = matches!(learned.whole, Learned::Popular(_));
        let guard = cutoffs.iter().position(|&k| k == GUARD_CUTOFF).unwrap_or(0);
        let (chosen, scored, before) = training.phase("evaluate", 0, || {
            let plan = evaluate::Plan { ks: cutoffs, auc: false, held_out: false, threads: self.threads };
            let mut records = self.record(&learned.whole, (0.0, 0.0), plan)?;
            let before = records.figures(records.all(), None, control)?;
            let with_own = self.record(&fitted.learned, (0.0, 0.0), plan)?;
            let mut chosen = learned.own();
            let mut slices = Vec::new();
            for (segment, chosen) in chosen.iter_mut().enumerate() {
                let users = segments.positions(segment, &split.users);
                if own == SegmentModels::Auto && !popular {
                    let gain = records.gain(&with_own, &users, guard);
                    *chosen &= gain.is_some_and(|(mean, error)| mean > error);
                }
                if *chosen {
                    records.take(&with_own, &users, control)?;
                }
                let slice = format!("segment={}", segments.name(segment));
                for each in
                    records.figures(&users, None, control)?.iter().filter(|each| each.k == GUARD_CUTOFF)
                {
                    slices.extend(figures(&slice, each, None, true));
                }
            }
            let ranking = records.figures(records.all(), None, control)?;
            control.give(records.bytes() + with_own.bytes());
            Ok((chosen, Scored { ranking, ratings: None, users: split.users.len(), slices }, before))
        })?;
        control.give(fitted.learned.bytes());
        let of_all = Scored { ranking: before, ratings: None, users: split.users.len(), slices: Vec::new() };
        let count = chosen.iter().filter(|own| **own).count();
        let mut reason = format!("{count} of {} segments have a model of their own", segments.len());
        if let (Some((metric, with, _)), Some((_, without, _))) = (scored.guard(), of_all.guard()) {
            reason += &format!(": {metric} {with:.4}, of one model for all {without:.4}");
        }
        Ok((algorithm.of(chosen), scored, reason))
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        self.control.give(self.bytes());
    }
}
