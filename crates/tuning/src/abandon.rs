//! The median stopping rule (Golovin et al., Google Vizier, KDD 2017): a trial that is worse so far than half of the
//! others were at the same step is given up.

/// Trials that must have come as far before one is given up: fewer say little, as in optuna.
const FEWEST: usize = 5;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether the mean of what a trial has reached, a value a step, lies below the median of the means of the others over
/// as many steps. Others that did not come as far do not count; they were given up themselves.
pub fn below_median<'a>(reached: &[f64], others: impl IntoIterator<Item = &'a [f64]>) -> bool {
    let steps = reached.len();
    if steps == 0 {
        return false;
    }
    let mut means: Vec<f64> =
        others.into_iter().filter(|other| other.len() >= steps).map(|other| mean(&other[..steps])).collect();
    if means.len() < FEWEST {
        return false;
    }
    means.sort_by(f64::total_cmp);
    let middle = means.len() / 2;
    let median = if means.len() % 2 == 1 { means[middle] } else { (means[middle - 1] + means[middle]) / 2.0 };
    mean(reached) < median
}
