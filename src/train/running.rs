//! A running training: its phases, its log, and reading the interactions.

use std::time::Instant;

use algorithms::Control;
use algorithms::estimate::{Plan, estimate};
use algorithms::interactions::{Interactions, InteractionsBuilder};

use super::Factorizer;
use crate::error::{OrReport, Result};
use crate::fault::{Within, point};
use crate::progress::Progress;
use crate::registry::write::LogLine;
use crate::source::{Counts, InteractionColumns, Source};
use crate::{notice, settings, work};

/// A running training.
pub(super) struct Training<'a> {
    pub(super) control: &'a Control,
    pub(super) progress: Progress,
    pub(super) started: Instant,
    pub(super) log: Vec<LogLine>,
}

impl<'a> Training<'a> {
    pub(super) fn start(model: &str, algorithm: &'static str, control: &'a Control) -> Training<'a> {
        let progress = Progress::start(model, algorithm);
        Training { control, progress, started: Instant::now(), log: Vec::new() }
    }

    /// Runs a phase of long work away from the main thread and logs its time.
    pub(super) fn phase<T: Send>(
        &mut self,
        phase: &'static str,
        iterations: usize,
        body: impl FnOnce() -> algorithms::Result<T> + Send,
    ) -> Result<T> {
        let from = Instant::now();
        self.progress.begin(phase, iterations);
        self.control.start(0);
        let control = self.control;
        let progress = &self.progress;
        let fault = Within::of(phase);
        let tick = || {
            fault.tick();
            let (done, total) = control.progress();
            progress.write(done, total, control.used());
        };
        let answer = work::run(control, tick, || {
            fault.work(control);
            body()
        })?;
        self.logged(phase, from);
        Ok(answer)
    }

    /// 53200 where what follows on the interactions will need more memory than is allowed, and what to lower.
    pub(super) fn expect(
        &self,
        interactions: &Interactions,
        factorizer: &dyn Factorizer,
        holdout: Option<(usize, usize)>,
    ) -> Result<()> {
        let fit = factorizer.need(interactions.users.len(), interactions.items.len());
        let (factors, threads) = (factorizer.factors(), settings::max_threads());
        let need = estimate(interactions, &Plan { factors, fit, threads, holdout });
        let task = "the training";
        let advice = "Use fewer \"factors\" or read fewer rows.";
        self.control.expect(need.training, task, advice).or_report()?;
        let advice = "Use fewer \"factors\", read fewer rows, or train with holdout \"none\".";
        self.control.expect(need.holdout, task, advice).or_report()
    }

    pub(super) fn logged(&mut self, phase: &'static str, from: Instant) {
        let seconds = from.elapsed().as_secs_f64();
        notice::verbose(&format!("{phase}: {seconds:.3} s, {} MB", self.control.used() >> 20));
        self.log.push(LogLine { iteration: None, phase, loss: None, validation: None, seconds });
    }
}

/// Reads the interactions and sorts them; 02000 where nothing is left to learn from.
pub(super) fn read(
    training: &mut Training<'_>,
    source: &Source,
    columns: &InteractionColumns,
) -> Result<(Counts, Interactions)> {
    let from = Instant::now();
    let control = training.control;
    let progress = &mut training.progress;
    progress.begin("read", 0);
    progress.write(0, 0, 0);
    let builder = InteractionsBuilder::new(
        columns.user_class.kind(),
        columns.item_class.kind(),
        columns.time.is_some(),
        control,
    );
    let mut last = Instant::now();
    let (counts, builder) = source.read(columns, builder, control, settings::max_threads(), &mut |rows| {
        // The clock is read once in a batch.
        if last.elapsed().as_millis() >= 100 {
            last = Instant::now();
            progress.rows_read = rows;
            progress.write(0, 0, control.used());
        }
    })?;
    progress.rows_read = counts.rows_read;
    training.logged("read", from);
    point("read");
    let threads = settings::max_threads();
    let interactions = training.phase("sort", 0, || builder.finish(threads))?;
    point("sorted");
    if interactions.user_items.entries() == 0 {
        let skipped = counts.skipped;
        return Err(Err::<(), _>(algorithms::Error::NoData).or_report().unwrap_err().set_detail(format!(
            "{} rows were read from {}; skipped were {} with NULL, {} not finite and {} not above 0.",
            counts.rows_read, source.name, skipped.null, skipped.not_finite, skipped.not_positive
        )));
    }
    notice::verbose(&format!(
        "{} rows, {} users, {} items, peak {} MB",
        counts.rows_read,
        interactions.users.len(),
        interactions.items.len(),
        control.peak() >> 20
    ));
    Ok((counts, interactions))
}
