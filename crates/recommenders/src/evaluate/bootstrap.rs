//! Bootstrap intervals: the users are drawn again and again, with replacement, and the figures computed from each draw
//! (Efron and Tibshirani 1993). Their 2.5 and 97.5 percentiles are the interval.

use base::budget::Budget;
use base::control::Control;
use base::error::Result;
use base::jobs::share;
use base::pace::Pace;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tasks::RECORDING;

use super::Records;

/// Draws that a thread takes at a time.
const CHUNK: usize = 8;

/// Figures of a draw: seven means and the AUC.
const FIGURES: usize = 8;

/// The lower and the upper end.
pub type Interval = (f64, f64);

/// The interval of each figure of the model, at one cutoff. Coverage and Gini have none: a draw has fewer different users
/// than there are, so that less is shown in it, and its percentiles lie beside the figure.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "named as in Estimates")]
pub struct Intervals {
    pub precision: Interval,
    pub recall: Interval,
    pub ndcg: Interval,
    pub map: Interval,
    pub hit_rate: Interval,
    pub mrr: Interval,
    pub novelty: Interval,
    pub auc: Option<Interval>,
}

impl Records {
    /// Intervals of [`Records::figures`] at the cutoff of that number, from `resamples` draws of as many users as there
    /// are. Nothing below two users. The same for every number of threads.
    pub fn bootstrap(
        &self,
        users: &[u32],
        class: Option<usize>,
        cutoff: usize,
        (resamples, seed): (usize, u64),
        threads: usize,
        control: &Control,
    ) -> Result<Option<Intervals>> {
        let mut budget = Budget::new(control, RECORDING);
        let view = class.map_or(0, |class| class + 1);
        let mut drawn_from = budget.with_capacity(users.len())?;
        let measured = |&&user: &&u32| self.ranking(user, view, cutoff, 0).is_some();
        drawn_from.extend(users.iter().filter(measured).copied());
        if drawn_from.len() < 2 || resamples == 0 {
            return Ok(None);
        }
        let mut draws = budget.zeroed::<[f64; FIGURES]>(resamples)?;
        control.start(resamples as u64);
        let jobs = draws.chunks_mut(CHUNK).zip((0..).step_by(CHUNK));
        share(jobs, threads.clamp(1, resamples), control, |jobs| {
            let mut budget = Budget::new(control, RECORDING);
            let mut pace = Pace::new(control);
            let mut times = budget.zeroed::<u32>(drawn_from.len())?;
            while let Some((draws, first)) = jobs.next()? {
                for (draw, number) in draws.iter_mut().zip(first..) {
                    // A stream of its own for each draw, so that no thread needs to know of another.
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    random.set_stream(number);
                    times.fill(0);
                    for _ in 0..times.len() {
                        pace.step(1)?;
                        times[random.random_range(0..drawn_from.len())] += 1;
                    }
                    let (mut sums, mut with_auc) = ([0.0; FIGURES], 0.0);
                    for (&user, &times) in drawn_from.iter().zip(&times) {
                        let ranking = self.ranking(user, view, cutoff, 0).filter(|_| times > 0);
                        let Some(ranking) = ranking else { continue };
                        pace.step(4)?;
                        let weight = f64::from(times);
                        let values = [
                            ranking.precision,
                            ranking.recall,
                            ranking.ndcg,
                            ranking.map,
                            ranking.hit_rate,
                            ranking.mrr,
                            ranking.novelty,
                            ranking.auc.unwrap_or(0.0),
                        ];
                        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
                        with_auc += if ranking.auc.is_some() { weight } else { 0.0 };
                    }
                    let count = drawn_from.len() as f64;
                    let means = draw.iter_mut().zip(sums);
                    means.for_each(|(mean, sum)| *mean = sum / count);
                    draw[7] = if with_auc > 0.0 { sums[7] / with_auc } else { f64::NAN };
                }
                control.advance(draws.len() as u64);
            }
            Ok(())
        })?;
        let mut values = budget.with_capacity::<f64>(resamples)?;
        let mut interval = |figure: usize| {
            values.clear();
            values.extend(draws.iter().map(|draw| draw[figure]).filter(|value| !value.is_nan()));
            values.sort_unstable_by(f64::total_cmp);
            (percentile(&values, 0.025), percentile(&values, 0.975))
        };
        let auc = interval(7);
        Ok(Some(Intervals {
            precision: interval(0),
            recall: interval(1),
            ndcg: interval(2),
            map: interval(3),
            hit_rate: interval(4),
            mrr: interval(5),
            novelty: interval(6),
            auc: (!auc.0.is_nan()).then_some(auc),
        }))
    }
}

/// Of rising values, between the two nearest ones; NaN without values.
fn percentile(values: &[f64], part: f64) -> f64 {
    let at = part * values.len().saturating_sub(1) as f64;
    let value = |at: f64| values.get(at as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (value(at.floor()), value(at.ceil()));
    low + (high - low) * at.fract()
}
