//! A running training: its phases and its log.

use std::time::Instant;

use base::Control;
use base::image::Layout;
use pgrx::Uuid;

use crate::models::images::{self, Ready};
use crate::models::progress::Progress;
use crate::models::registry::pieces;
use crate::models::registry::write::LogLine;
use crate::pg::error::Result;
use crate::pg::fault::{Within, point};
use crate::pg::{notice, work};

/// An image that is stored.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    pub(crate) bytes: i64,
}

/// A running training.
pub(crate) struct Training<'a> {
    pub(crate) control: &'a Control,
    pub(crate) progress: Progress,
    pub(crate) started: Instant,
    pub(crate) log: Vec<LogLine>,
    /// The file of the image that was stored.
    pub(crate) file: Option<Ready>,
}

impl<'a> Training<'a> {
    pub(crate) fn start(model: &str, algorithm: &'static str, control: &'a Control) -> Training<'a> {
        let progress = Progress::start(model, algorithm);
        Training { control, progress, started: Instant::now(), log: Vec::new(), file: None }
    }

    /// Runs a phase of long work away from the main thread and logs its time.
    pub(crate) fn phase<T: Send>(
        &mut self,
        phase: &'static str,
        iterations: usize,
        body: impl FnOnce() -> base::Result<T> + Send,
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

    pub(crate) fn logged(&mut self, phase: &'static str, from: Instant) {
        let seconds = from.elapsed().as_secs_f64();
        notice::verbose(&format!("{phase}: {seconds:.3} s, {} MB", self.control.used() >> 20));
        self.log.push(LogLine {
            iteration: None,
            phase: phase.into(),
            loss: None,
            validation: None,
            seconds,
        });
    }

    /// Runs a phase that Postgres itself works in, on the main thread, and logs its time.
    pub(crate) fn phase_here<T>(
        &mut self,
        phase: &'static str,
        body: impl FnOnce(&mut Progress) -> Result<T>,
    ) -> Result<T> {
        let from = Instant::now();
        self.progress.begin(phase, 0);
        self.progress.write(0, 0, self.control.used());
        let answer = body(&mut self.progress)?;
        self.logged(phase, from);
        Ok(answer)
    }

    /// Runs what writes tables in several phases, each of which it begins by its name.
    pub(crate) fn tables(
        &mut self,
        body: impl FnOnce(&mut dyn FnMut(&'static str)) -> Result<()>,
    ) -> Result<()> {
        let mut open: Option<(&'static str, Instant)> = None;
        let answer = body(&mut |phase| {
            if let Some((phase, from)) = open.replace((phase, Instant::now())) {
                self.logged(phase, from);
            }
            self.progress.begin(phase, 0);
            self.progress.write(0, 0, self.control.used());
        });
        if let Some((phase, from)) = open {
            self.logged(phase, from);
        }
        answer
    }

    /// Stores an image, and writes its file meanwhile.
    pub(crate) fn store(&mut self, id: Uuid, image: &Layout<'_>) -> Result<Stored> {
        point("encoded");
        let store = |_: &mut Progress| images::write_beside(image, || pieces::insert_image(id, image));
        let ((), file) = self.phase_here("write", store)?;
        self.file = file;
        point("written");
        Ok(Stored { id, bytes: image.length() as i64 })
    }
}
