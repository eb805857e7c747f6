//! What settles which algorithm a version is fitted by: the one that was asked for, or a choice on held-out rows.

use std::sync::Arc;

use base::Control;
use recommenders::interactions::Interactions;
use serde_json::Map;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::by_segment::{SegmentModels, Segments, WithSegments};
use super::figures::{CUTOFFS, Scored};
use super::holdout::Prepared;
use super::train::expect;
use crate::models::train::Training;
use crate::pg::error::{OrReport, Result};

/// What settles which algorithm a version is fitted by.
pub(crate) trait Selection {
    /// What a running training is called.
    fn name(&self) -> &'static str;
    fn wants_times(&self) -> bool;
    fn rates(&self) -> bool;
    /// How many times rows are held out, each time others, where they are so by hash.
    fn splits(&self, _users: usize) -> u32 {
        1
    }
    /// 53200 where there will not be memory enough.
    fn expect(&self, control: &Control, interactions: &Interactions, holdout: bool) -> Result<()>;
    /// Chooses, and measures the choice where rows are held out.
    fn choose(self: Box<Self>, scene: &mut SelectionContext<'_, '_>) -> Result<Selected>;
}

/// What a choice rests on.
pub(crate) struct SelectionContext<'a, 'c> {
    pub(crate) training: &'a mut Training<'c>,
    pub(crate) interactions: &'a Interactions,
    /// The rows with a part held out, once or several times; none where nothing can be held out.
    pub(crate) prepared: Vec<Prepared<'c>>,
    /// Units of the times that make a day.
    pub(crate) day: f64,
    /// The segments of the users, and which of them are to have a model.
    pub(super) segments: Option<(Arc<Segments>, SegmentModels)>,
}

impl SelectionContext<'_, '_> {
    /// A choice with the models of segments, measured again where rows are held out.
    pub(crate) fn by_segment(&mut self, chosen: Selected) -> Result<Selected> {
        let Some((segments, own)) = &self.segments else { return Ok(chosen) };
        let algorithm = WithSegments::new(chosen.algorithm.into(), segments, *own);
        let held = self.prepared.iter().map(Prepared::bytes).sum();
        let holdout = !self.prepared.is_empty();
        expect(self.training.control, self.interactions, &algorithm, holdout, held).or_report()?;
        let Some(prepared) = self.prepared.first() else {
            return Ok(Selected { algorithm: Box::new(algorithm), ..chosen });
        };
        let (algorithm, scored, reason) =
            prepared.choose_segments(self.training, algorithm, segments, *own, &CUTOFFS)?;
        let reason = match chosen.reason {
            Some(first) => format!("{first}; {reason}"),
            None => reason,
        };
        Ok(Selected { algorithm: Box::new(algorithm), scored: Some(scored), reason: Some(reason), ..chosen })
    }
}

/// What a version is fitted by.
pub(crate) struct Selected {
    pub(crate) algorithm: Box<dyn Algorithm>,
    pub(crate) scored: Option<Scored>,
    /// Why it was chosen, where others were tried.
    pub(crate) reason: Option<String>,
    /// What the version keeps of the choice.
    pub(crate) facts: Map<String, Value>,
}

/// The one algorithm that was asked for.
pub(crate) struct FixedSelection(pub(super) Box<dyn Algorithm>);

impl Selection for FixedSelection {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn wants_times(&self) -> bool {
        self.0.wants_times()
    }

    fn rates(&self) -> bool {
        self.0.rates()
    }

    fn expect(&self, control: &Control, interactions: &Interactions, holdout: bool) -> Result<()> {
        expect(control, interactions, &*self.0, holdout, 0).or_report()
    }

    fn choose(self: Box<Self>, scene: &mut SelectionContext<'_, '_>) -> Result<Selected> {
        let algorithm = self.0;
        if scene.segments.is_some() {
            return scene.by_segment(Selected { algorithm, scored: None, reason: None, facts: Map::new() });
        }
        let scored = match scene.prepared.first() {
            Some(prepared) => Some(prepared.measure(scene.training, &*algorithm, &CUTOFFS)?.or_report()?.0),
            None => None,
        };
        Ok(Selected { algorithm, scored, reason: None, facts: Map::new() })
    }
}
