//! The one training. The order in which locks, identity and memory are taken and given back is a promise that stands here
//! and nowhere else: a job only says what is read, fitted and shown.

use base::Control;
use pgrx::Uuid;
use serde_json::{Map, Value};

use super::publish::{Deploy, Finished, Published};
use super::running::Training;
use super::target::{self, Outputs, Target};
use crate::models::identity::ModelRef;
use crate::models::registry::Version;
use crate::pg::access::Identity;
use crate::pg::call::{Answer, Call};
use crate::pg::error::Result;
use crate::pg::settings;
use crate::pg::work::GiveMemoryBack;
use crate::source::Source;

/// What a training does that others do not.
pub(crate) trait Job {
    /// What is read of the source, and what the kind of model has beside its view.
    type Opened: Outputs;

    /// What the training is called while it runs.
    fn algorithm(&self) -> &'static str;

    /// Opens the source and checks what is asked of it, before anything is made.
    fn open(&mut self) -> Result<(Source, Self::Opened)>;

    /// Reads, fits, measures and stores the image.
    fn fit(&mut self, training: &mut Training<'_>, from: &Opened<'_, Self::Opened>) -> Result<Fit>;

    /// Whether the version goes live, and how much is kept.
    fn deploy(&self) -> Result<Deploy>;

    /// Brings what stands beside the model in line with a version that goes live.
    fn goes_live(&mut self, _training: &mut Training<'_>, _model_id: Uuid, _version: i32) -> Result<()> {
        Ok(())
    }

    /// Says what the user should know of the result.
    fn tell(&self, _result: &Published) {}
}

/// What a job reads from, and the model that it is for.
pub(crate) struct Opened<'a, O> {
    pub(crate) target: &'a Target,
    pub(crate) source: &'a Source,
    pub(crate) columns: &'a O,
}

/// What a fit came to.
pub(crate) enum Fit {
    New(Finished),
    /// Nothing is to be learned: this version stays.
    Unchanged(Version),
}

/// Trains a version and answers `persona.training_result`. An existing model is trained as its owner, whoever has the right
/// to start it, until the version is written. `kept` is what the next `retrain` begins with.
pub(crate) fn train<J: Job>(call: &Call, model: &ModelRef, kept: &Map<String, Value>, mut job: J) -> Answer {
    // Dropped last, when everything else is freed.
    let _memory = GiveMemoryBack::from_now();
    let control = Control::new(settings::max_memory());
    let mut training = Training::start(model, job.algorithm(), &control);
    let (target, (source, columns), identity) = begin(model, kept, || job.open())?;
    let opened = Opened { target: &target, source: &source, columns: &columns };
    let finished = match job.fit(&mut training, &opened)? {
        Fit::New(finished) => finished,
        Fit::Unchanged(version) => {
            drop(identity);
            let seconds = training.started.elapsed().as_secs_f64();
            return Published::unchanged(target, &version, job.algorithm(), seconds)?.record(call);
        }
    };
    let (deploy, model_id) = (job.deploy()?, target.model_id);
    let result = finished.publish(training, target, deploy, &mut |training, version| {
        job.goes_live(training, model_id, version)
    })?;
    drop(identity);
    job.tell(&result);
    result.record(call)
}

/// Finds or makes the model and opens its source.
fn begin<C: Outputs>(
    model: &ModelRef,
    kept: &Map<String, Value>,
    open: impl FnOnce() -> Result<(Source, C)>,
) -> Result<(Target, (Source, C), Option<Identity>)> {
    let found = target::find(model)?;
    let identity = found.identity()?;
    let (source, columns) = open()?;
    source.take_locks()?;
    let mut spec = kept.clone();
    spec.insert("relation".into(), Value::String(source.name.clone()));
    let target = target::target(found, model, &columns, spec)?;
    Ok((target, (source, columns), identity))
}
