//! How far predicted ratings are from held-out ones.

use crate::als::explicit::{Errors, Model, confine};
use crate::control::Control;
use crate::error::Result;
use crate::interactions::{Pace, Split};

/// Errors over the held-out ratings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratings {
    /// Of the model.
    pub model: Errors,
    /// Of its mean and biases alone, without factors.
    pub baseline: Errors,
    /// Users whose ratings were held out.
    pub users: u64,
}

/// Compares the predictions of a model with the held-out ratings of its split.
pub fn ratings(model: &Model, split: &Split, control: &Control) -> Result<Ratings> {
    let mut pace = Pace::new(control);
    let mut sums = [(0.0, 0.0); 2];
    let bias = |of: &[f32], at: u32| f64::from(of.get(at as usize).copied().unwrap_or(0.0));
    for (position, &user) in split.users.iter().enumerate() {
        let (items, values) = split.held_out.row(position);
        for (&item, &value) in items.iter().zip(values) {
            pace.step(1 + model.factors.factors / 8)?;
            let biases = &model.biases;
            let base = biases.mean + bias(&biases.users, user) + bias(&biases.items, item);
            let predicted = [model.predict(Some(user), Some(item)), confine(base, model.range)];
            for ((squares, sizes), predicted) in sums.iter_mut().zip(predicted) {
                let error = predicted - f64::from(value);
                *squares += error * error;
                *sizes += error.abs();
            }
        }
    }
    let count = split.held_out.entries() as u64;
    let [model, baseline] = sums.map(|(squares, sizes): (f64, f64)| {
        let of = count.max(1) as f64;
        Errors { count, rmse: (squares / of).sqrt(), mae: sizes / of }
    });
    Ok(Ratings { model, baseline, users: split.users.len() as u64 })
}
