//! `persona._place(features)`: the segment of a row, for the statement that writes the members of a version. The model
//! and the counts are this backend's own while that statement runs; at any other time there is nothing to ask.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr;

use pgrx::IntoDatum;
use segments::Segments;
use segments::profile::{Profile, Tally};

use crate::pg::arrays;
use crate::pg::call::{Answer, Call};
use crate::pg::error::{Code, Result, fail};

/// The model of a statement that runs, and what it has placed so far.
pub(super) struct Placing<'a> {
    segments: &'a Segments<'a>,
    tally: RefCell<Tally>,
    rows: Cell<u64>,
}

thread_local! {
    /// What `Active` points to; null while nothing is placed.
    static ACTIVE: Cell<*const Placing<'static>> = const { Cell::new(ptr::null()) };
}

/// While it lives, `persona._place` answers from a `Placing`.
struct Active<'a> {
    /// A trigger of the tables may deploy another model meanwhile.
    before: *const Placing<'static>,
    placing: PhantomData<&'a Placing<'a>>,
}

impl<'a> Active<'a> {
    fn new(placing: &'a Placing<'a>) -> Active<'a> {
        let before = ACTIVE.replace(ptr::from_ref(placing).cast());
        Active { before, placing: PhantomData }
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        ACTIVE.set(self.before);
    }
}

impl<'a> Placing<'a> {
    pub(super) fn new(segments: &'a Segments<'a>) -> Placing<'a> {
        // The means of the training: whatever the order of the rows is now, they are the same.
        let origins = match segments.columns() {
            Some(columns) => columns.iter().map(|column| column.mean).collect(),
            None => vec![0.0; segments.features.len()],
        };
        let tally = Tally::new(segments.ids.len(), origins);
        Placing { segments, tally: RefCell::new(tally), rows: Cell::new(0) }
    }

    /// Runs statements that call `persona._place`.
    pub(super) fn run<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let _active = Active::new(self);
        body()
    }

    /// Rows that were asked for, those without a segment too.
    pub(super) fn rows(&self) -> u64 {
        self.rows.get()
    }

    /// What was placed in each segment.
    pub(super) fn profiles(&self) -> Vec<Profile> {
        self.tally.borrow().profiles()
    }

    /// The id of the segment, then the distance or the scores; `0` and the number of a reason for a row that has no
    /// segment: from 1 for a feature that is NULL, above the number of features for one that is not finite.
    fn place(&self, features: &[Option<f64>]) -> Vec<f64> {
        self.rows.set(self.rows.get() + 1);
        if let Some(at) = features.iter().position(Option::is_none) {
            return vec![0.0, at as f64 + 1.0];
        }
        let row: Vec<f64> = features.iter().flatten().copied().collect();
        let Some(found) = self.segments.assign(&row) else {
            let at = row.iter().position(|value| !value.is_finite()).unwrap_or(0);
            return vec![0.0, (row.len() + at) as f64 + 1.0];
        };
        self.tally.borrow_mut().push(found.segment, &row, found.distance.unwrap_or(0.0));
        let mut answer = vec![f64::from(self.segments.ids[found.segment])];
        answer.extend(found.distance);
        answer.extend(self.segments.scores(&row).into_iter().flatten().map(f64::from));
        answer
    }
}

/// Reasons by their numbers.
pub(super) fn reasons(segments: &Segments<'_>) -> Vec<String> {
    let names = || (0..segments.features.len()).map(|at| segments.features.get(at));
    if segments.facts.bins > 0 {
        // Without a purchase there is no last one, and the other measures are NULL with it.
        let missing = names().map(|_| "no purchase up to the reference time".to_string());
        return missing.chain(names().map(|name| format!("{name} is not finite"))).collect();
    }
    let missing = names().map(|name| format!("column \"{name}\" is NULL"));
    missing.chain(names().map(|name| format!("column \"{name}\" is not finite"))).collect()
}

/// `persona._place(features)`.
pub(crate) fn place(call: &Call) -> Answer {
    let Some(array) = call.datum(0) else { return Ok(None) };
    let active = ACTIVE.get();
    // SAFETY: not null only while an `Active` lives, which borrows the `Placing`; backends have one thread that calls
    // functions of SQL.
    let Some(placing) = (unsafe { active.as_ref() }) else {
        return Err(fail(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "persona._place() answers only while a version goes live",
        )
        .set_hint("Ask a model with persona.assign()."));
    };
    Ok(placing.place(&arrays::floats(array)?).into_datum())
}
