//! The Page-Hinkley test: raises an alarm where the mean of a stream changes.
//!
//! E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); D. V. Hinkley, "Inference about the change-point
//! from cumulative sum tests", Biometrika 58 (1971). Step by step as `drift.PageHinkley` of river 0.26 computes it, so
//! that alarms come at the same values.

use base::error::{Error, Result};
use bytemuck::{Pod, Zeroable};

/// The directions that can be watched.
pub const MODES: &[&str] = &["up", "down", "both"];

/// What to watch for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Values after the start or an alarm before the next alarm can come.
    pub min_instances: i32,
    /// Changes of the mean below this are tolerated, in units of the values.
    pub delta: f64,
    /// An alarm comes when the sum of deviations is this far from its extreme, in units of the values.
    pub threshold: f64,
    /// What a sum keeps of itself at each value.
    pub alpha: f64,
    /// Which of `MODES`, by position.
    pub mode: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters { min_instances: 30, delta: 0.005, threshold: 50.0, alpha: 1.0 - 0.0001, mode: 2 }
    }
}

impl Parameters {
    /// The parameters, checked.
    pub fn new(min_instances: i32, delta: f64, threshold: f64, alpha: f64, mode: &str) -> Result<Parameters> {
        let range = |name, good: bool, expected: &str, got: String| {
            if good { Ok(()) } else { Err(Error::Parameter { name, expected: expected.to_string(), got }) }
        };
        range("min_instances", min_instances >= 1, "at least 1", min_instances.to_string())?;
        let finite = |x: f64| x >= 0.0 && x.is_finite();
        range("delta", finite(delta), "finite and at least 0", delta.to_string())?;
        range("threshold", finite(threshold), "finite and at least 0", threshold.to_string())?;
        range("alpha", alpha > 0.0 && alpha <= 1.0, "above 0 and at most 1", alpha.to_string())?;
        let Some(mode) = MODES.iter().position(|known| *known == mode) else {
            return Err(Error::Word { what: "mode", got: mode.to_string(), allowed: MODES });
        };
        Ok(Parameters { min_instances, delta, threshold, alpha, mode })
    }
}

/// The state after some values; all zero before the first. Numbers only, so that it fits in an array of them.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct PageHinkley {
    /// Values seen.
    position: f64,
    /// Alarms raised.
    drifts: f64,
    /// The position of the last alarm; 0 without one.
    last_position: f64,
    /// The statistic after the last value.
    value: f64,
    /// Values since the start or the last alarm, and what they add up to.
    count: f64,
    mean: f64,
    sum_increase: f64,
    sum_decrease: f64,
    min_increase: f64,
    max_decrease: f64,
    min_instances: f64,
    delta: f64,
    threshold: f64,
    alpha: f64,
    mode: f64,
}

/// How many numbers a state has.
pub const STATE: usize = 15;

impl PageHinkley {
    /// Before the first value.
    pub fn new(parameters: Parameters) -> PageHinkley {
        let mut new = PageHinkley::zeroed();
        new.start(parameters);
        new
    }

    /// Whether there are no parameters yet.
    pub fn is_blank(&self) -> bool {
        self.min_instances == 0.0
    }

    /// Gives a blank state its parameters.
    pub fn start(&mut self, parameters: Parameters) {
        self.min_instances = f64::from(parameters.min_instances);
        (self.delta, self.threshold, self.alpha) = (parameters.delta, parameters.threshold, parameters.alpha);
        self.mode = parameters.mode as f64;
        self.restart();
    }

    fn restart(&mut self) {
        (self.count, self.mean, self.sum_increase, self.sum_decrease) = (0.0, 0.0, 0.0, 0.0);
        (self.min_increase, self.max_decrease) = (f64::INFINITY, -1.0);
    }

    /// Takes the next value.
    #[inline]
    pub fn push(&mut self, x: f64) {
        if self.drift() {
            self.restart();
        }
        self.position += 1.0;
        self.count += 1.0;
        self.mean += (1.0 / self.count) * (x - self.mean);
        let deviation = x - self.mean;
        self.sum_increase = self.alpha * self.sum_increase + deviation - self.delta;
        self.sum_decrease = self.alpha * self.sum_decrease + deviation + self.delta;
        if self.sum_increase < self.min_increase {
            self.min_increase = self.sum_increase;
        }
        if self.sum_decrease > self.max_decrease {
            self.max_decrease = self.sum_decrease;
        }
        let increase = self.sum_increase - self.min_increase;
        let decrease = self.max_decrease - self.sum_decrease;
        self.value = if self.mode == 0.0 {
            increase
        } else if self.mode == 1.0 {
            decrease
        } else {
            increase.max(decrease)
        };
        if self.count >= self.min_instances && self.value > self.threshold {
            self.drifts += 1.0;
            self.last_position = self.position;
        }
    }

    /// Whether the last value raised an alarm.
    pub fn drift(&self) -> bool {
        self.position > 0.0 && self.last_position == self.position
    }

    /// How many alarms there were.
    pub fn drifts(&self) -> i64 {
        self.drifts as i64
    }

    /// The position of the last alarm, from 1.
    pub fn last_position(&self) -> Option<i64> {
        (self.last_position > 0.0).then_some(self.last_position as i64)
    }

    /// What was compared with the threshold after the last value; None before the first.
    pub fn value(&self) -> Option<f64> {
        (self.position > 0.0).then_some(self.value)
    }
}
