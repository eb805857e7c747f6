//! What was measured of each user, and means over some of them.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::pace::Pace;

use crate::metrics::{Estimates, Ranking, Summary};
use crate::tasks::RECORDING;

use super::{Evaluation, HeldOut, Plan};

/// In place of an item, after the last one of a list.
const END: u32 = u32::MAX;

/// The rankings of the measured users, by the model and by popularity.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    items: usize,
    /// All positions.
    users: Vec<u32>,
    ks: Vec<usize>,
    /// 1, and one more for each class of held-out items.
    views: usize,
    /// Items of the longest list.
    longest: usize,
    /// By user, view, cutoff and side. Nothing where a user has no held-out item of a class.
    rankings: Vec<Option<Ranking>>,
    /// By user and side, `longest` items each.
    shown: Vec<u32>,
}

/// The records of some users, for the thread that measures them.
pub(super) struct Part<'a> {
    rankings: &'a mut [Option<Ranking>],
    shown: &'a mut [u32],
    views: usize,
    cutoffs: usize,
    longest: usize,
}

impl Records {
    pub(super) fn new(users: usize, items: usize, plan: Plan<'_>, budget: &mut Budget<'_>) -> Result<Self> {
        let longest = plan.ks.iter().copied().max().unwrap_or(0).min(items);
        let views = if plan.held_out { 1 + HeldOut::NAMES.len() } else { 1 };
        let mut rankings = budget.with_capacity(users * views * plan.ks.len() * 2)?;
        let mut shown = budget.with_capacity(users * 2 * longest)?;
        let mut pace = Pace::new(budget.control());
        for _ in 0..users {
            pace.step(2 * longest)?;
            rankings.resize(rankings.len() + views * plan.ks.len() * 2, None);
            shown.resize(shown.len() + 2 * longest, END);
        }
        let mut all = budget.with_capacity(users)?;
        all.extend(0..users as u32);
        Ok(Self { items, users: all, ks: plan.ks.to_vec(), views, longest, rankings, shown })
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Memory held.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.users.len(), self.views, self.ks.len(), self.longest)
    }

    /// Memory for so many users.
    pub(crate) fn bytes_of(users: usize, views: usize, cutoffs: usize, longest: usize) -> u64 {
        (users * (4 + 2 * (views * cutoffs * size_of::<Option<Ranking>>() + longest * 4))) as u64
    }

    /// The records of `chunk` users each.
    pub(super) fn parts(&mut self, chunk: usize) -> impl Iterator<Item = Part<'_>> + Send {
        let (views, cutoffs, longest) = (self.views, self.ks.len(), self.longest);
        let rankings = self.rankings.chunks_mut((chunk * views * cutoffs * 2).max(1));
        // Without items nothing is shown: an empty slice for each part all the same.
        let mut shown = &mut self.shown[..];
        rankings.map(move |rankings| {
            let users = rankings.len() / (views * cutoffs * 2).max(1);
            let (mine, rest) = std::mem::take(&mut shown).split_at_mut(users * 2 * longest);
            shown = rest;
            Part { rankings, shown: mine, views, cutoffs, longest }
        })
    }

    /// Positions of all measured users.
    pub fn all(&self) -> &[u32] {
        &self.users
    }

    /// What was measured of a user.
    pub(super) fn ranking(&self, user: u32, view: usize, cutoff: usize, side: usize) -> Option<&Ranking> {
        let at = ((user as usize * self.views + view) * self.ks.len() + cutoff) * 2 + side;
        self.rankings.get(at).and_then(Option::as_ref)
    }

    /// What was shown to a user.
    pub(super) fn shown(&self, user: u32, cutoff: usize, side: usize) -> &[u32] {
        let list =
            &self.shown[(user as usize * 2 + side) * self.longest..][..self.longest.min(self.ks[cutoff])];
        &list[..list.iter().position(|&item| item == END).unwrap_or(list.len())]
    }

    /// The cutoffs.
    pub fn ks(&self) -> &[usize] {
        &self.ks
    }

    /// The figures over some users, at each cutoff; empty where none of them was measured. With a class of
    /// [`HeldOut::NAMES`], over the users who have a held-out item of it, of those items; what was shown is the same.
    pub fn figures(&self, users: &[u32], class: Option<usize>, control: &Control) -> Result<Vec<Evaluation>> {
        let view = class.map_or(0, |class| class + 1);
        let mut figures = Vec::new();
        for (cutoff, &k) in self.ks.iter().enumerate() {
            let model = self.estimates(users, view, cutoff, 0, control)?;
            let popularity = self.estimates(users, view, cutoff, 1, control)?;
            if let (Some(model), Some(popularity)) = (model, popularity) {
                figures.push(Evaluation { k, model, popularity });
            }
        }
        Ok(figures)
    }

    /// By how much another model's nDCG of the same users is better: the mean of the differences and its standard error.
    /// Nothing for fewer than two users. `cutoff` is the place of a cutoff in [`Records::ks`].
    pub fn gain(&self, other: &Records, users: &[u32], cutoff: usize) -> Option<(f64, f64)> {
        let ndcg = |records: &Records, user| Some(records.ranking(user, 0, cutoff, 0)?.ndcg);
        let gains: Vec<f64> =
            users.iter().filter_map(|&user| Some(ndcg(other, user)? - ndcg(self, user)?)).collect();
        let count = gains.len() as f64;
        if count < 2.0 {
            return None;
        }
        let mean = gains.iter().sum::<f64>() / count;
        let squares = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>();
        Some((mean, (squares / (count - 1.0) / count).sqrt()))
    }

    /// Takes what was measured of some users from the records of another model on the same split and plan.
    pub fn take(&mut self, other: &Records, users: &[u32], control: &Control) -> Result<()> {
        let mut pace = Pace::new(control);
        let (rankings, shown) = (self.views * self.ks.len() * 2, 2 * self.longest);
        for &user in users {
            pace.step(rankings + shown)?;
            let at = user as usize;
            let range = at * rankings..(at + 1) * rankings;
            self.rankings[range.clone()].copy_from_slice(&other.rankings[range]);
            let range = at * shown..(at + 1) * shown;
            self.shown[range.clone()].copy_from_slice(&other.shown[range]);
        }
        Ok(())
    }

    fn estimates(
        &self,
        users: &[u32],
        view: usize,
        cutoff: usize,
        side: usize,
        control: &Control,
    ) -> Result<Option<Estimates>> {
        let mut budget = Budget::new(control, RECORDING);
        let mut pace = Pace::new(control);
        let mut summary = Summary::with(budget.zeroed(self.items)?);
        for &user in users {
            let Some(ranking) = self.ranking(user, view, cutoff, side) else { continue };
            let shown = self.shown(user, cutoff, side);
            pace.step(shown.len() + 8)?;
            summary.add(ranking, shown);
        }
        // What follows reads the counts of all items.
        control.check()?;
        let estimates = summary.estimates();
        control.check()?;
        Ok(estimates)
    }
}

impl Part<'_> {
    pub(super) fn views(&self) -> usize {
        self.views
    }

    /// Notes what was shown to a user of this part.
    pub(super) fn show(&mut self, user: usize, lists: [&[u32]; 2]) {
        for (side, list) in lists.into_iter().enumerate() {
            self.shown[(user * 2 + side) * self.longest..][..list.len()].copy_from_slice(list);
        }
    }

    pub(super) fn set(&mut self, user: usize, view: usize, cutoff: usize, side: usize, ranking: Ranking) {
        self.rankings[((user * self.views + view) * self.cutoffs + cutoff) * 2 + side] = Some(ranking);
    }
}
