//! The two-sample Kolmogorov-Smirnov test: the greatest distance of two cumulative distributions, and how probable one as
//! great is when both samples come from one distribution.

use crate::quantiles::Distribution;

/// Largest product of sample sizes whose probability is counted out.
const EXACT: u64 = 1 << 24;

/// The statistic of two distributions and its two-sided p-value. The p-value is exact where both distributions are and
/// the product of their sizes is at most 2^24; else it is the limit of Kolmogorov (1933) with the first correction for
/// finite samples of Pelz and Good (1976).
pub fn ks_test(a: &Distribution, b: &Distribution) -> (f64, f64) {
    let (n, m) = (a.count(), b.count());
    let statistic = statistic(a, b);
    let p = if a.is_exact() && b.is_exact() && n.saturating_mul(m) <= EXACT {
        exact(statistic, n as usize, m as usize)
    } else {
        limit(statistic, n as f64 * m as f64 / (n as f64 + m as f64))
    };
    (statistic, p.clamp(0.0, 1.0))
}

fn statistic(a: &Distribution, b: &Distribution) -> f64 {
    let (a_values, b_values) = (a.values(), b.values());
    let (mut i, mut j, mut below_a, mut below_b) = (0, 0, 0, 0);
    let mut greatest: f64 = 0.0;
    while i < a_values.len() && j < b_values.len() {
        // Both pass all numbers equal to the lower one before they are compared.
        let x = if a_values[i].0.total_cmp(&b_values[j].0).is_le() { a_values[i].0 } else { b_values[j].0 };
        while i < a_values.len() && a_values[i].0.total_cmp(&x).is_le() {
            below_a += a_values[i].1;
            i += 1;
        }
        while j < b_values.len() && b_values[j].0.total_cmp(&x).is_le() {
            below_b += b_values[j].1;
            j += 1;
        }
        greatest =
            greatest.max((below_a as f64 / a.count() as f64 - below_b as f64 / b.count() as f64).abs());
    }
    greatest
}

/// The probability that a random path from (0, 0) to (n, m) reaches the distance: step by step over all places, the
/// probability of being there without having reached it (Hodges 1957).
fn exact(statistic: f64, n: usize, m: usize) -> f64 {
    let (n, m) = if n < m { (m, n) } else { (n, m) };
    // Distances are multiples of 1 / (n m): half of one keeps rounding out.
    let bound = statistic - 0.5 / (n as f64 * m as f64);
    let outside = |i: usize, j: usize| (i as f64 / n as f64 - j as f64 / m as f64).abs() >= bound;
    if outside(0, 0) {
        return 1.0;
    }
    // Of all paths to (i, j): the share that stayed inside. It comes from the left with i / (i + j).
    let mut inside = vec![0.0f64; m + 1];
    for (j, slot) in inside.iter_mut().enumerate() {
        *slot = f64::from(u8::from((1..=j).all(|j| !outside(0, j))));
        if *slot == 0.0 {
            break;
        }
    }
    for i in 1..=n {
        let mut left = 0.0;
        for (j, slot) in inside.iter_mut().enumerate() {
            let total = (i + j) as f64;
            let share = *slot * (i as f64 / total) + left * (j as f64 / total);
            left = if outside(i, j) { 0.0 } else { share };
            *slot = left;
        }
    }
    1.0 - inside[m]
}

fn limit(statistic: f64, effective: f64) -> f64 {
    let root = effective.sqrt();
    let z = root * statistic + 1.0 / (6.0 * root);
    if z < 0.2 {
        return 1.0;
    }
    if z < 1.0 {
        // The other form of the series: it converges where this one does not.
        let factor = -std::f64::consts::PI.powi(2) / (8.0 * z * z);
        let sum: f64 = (0..20).map(|k| (f64::from(2 * k + 1).powi(2) * factor).exp()).sum();
        return 1.0 - (2.0 * std::f64::consts::PI).sqrt() / z * sum;
    }
    let terms = (1..=20).map(|k| {
        let term = (-2.0 * f64::from(k * k) * z * z).exp();
        if k % 2 == 1 { term } else { -term }
    });
    2.0 * terms.sum::<f64>()
}
