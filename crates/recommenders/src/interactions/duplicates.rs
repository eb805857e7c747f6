//! Sums and means that do not depend on the order of their terms.

use base::control::Control;
use base::error::Result;

/// Up to so many values are sorted and summed in f64; more are summed by exponent, in linear time.
const FEW: usize = 64;
/// Values summed between two looks at the control.
const PIECE: usize = 1 << 16;

/// The sum of the values of one pair: the same bits for the same values in any order.
/// Values should be finite; otherwise the sum is infinite or NaN.
pub(super) fn sum(values: &[f32], control: &Control) -> Result<f32> {
    match values {
        // Its sign stays, were it a zero.
        [one] => Ok(*one),
        _ => total(values, control).map(narrow),
    }
}

/// The mean, likewise; at least one value.
pub(super) fn mean(values: &[f32], control: &Control) -> Result<f32> {
    match values {
        [one] => Ok(*one),
        _ => total(values, control).map(|total| narrow(total / values.len() as f64)),
    }
}

fn total(values: &[f32], control: &Control) -> Result<f64> {
    match values {
        // Addition commutes; only from three terms on does the order matter.
        [a, b] => Ok(f64::from(*a) + f64::from(*b)),
        _ if values.len() <= FEW => {
            let mut sorted = [0.0; FEW];
            let sorted = &mut sorted[..values.len()];
            sorted.copy_from_slice(values);
            sorted.sort_unstable_by(f32::total_cmp);
            Ok(sorted.iter().map(|&value| f64::from(value)).sum())
        }
        _ => by_exponent(values, control),
    }
}

/// Adds the mantissas of each exponent as integers, which is exact, then the exponents in a fixed order.
/// No overflow below 2^39 values.
fn by_exponent(values: &[f32], control: &Control) -> Result<f64> {
    let mut mantissas = [0i64; 255];
    let mut special = 0.0;
    for piece in values.chunks(PIECE) {
        control.check()?;
        for &value in piece {
            let bits = value.to_bits();
            let exponent = (bits >> 23 & 0xff) as usize;
            let Some(bin) = mantissas.get_mut(exponent) else {
                special += f64::from(value);
                continue;
            };
            let mantissa = i64::from(bits & 0x7f_ffff) | i64::from(exponent > 0) << 23;
            *bin += if value.is_sign_negative() { -mantissa } else { mantissa };
        }
    }
    let total: f64 = mantissas
        .iter()
        .enumerate()
        .map(|(exponent, &mantissa)| mantissa as f64 * 2f64.powi(exponent.max(1) as i32 - 150))
        .sum();
    Ok(total + special)
}

/// One NaN for all, because its sign would depend on the order.
fn narrow(sum: f64) -> f32 {
    // A sum beyond the range of f32 stays finite: the largest is as good as any.
    if sum.is_nan() { f32::NAN } else { sum.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, seq::SliceRandom};

    fn summed(values: &[f32]) -> f32 {
        sum(values, &Control::unlimited()).unwrap_or(f32::NAN)
    }

    #[test]
    fn order_never_matters() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for len in [1, 2, 3, 10, 64, 65, 500] {
            for _ in 0..50 {
                let scale = random.random_range(-30..30);
                let mut values: Vec<f32> =
                    (0..len).map(|_| random.random_range(-1.0..1.0f32) * 2f32.powi(scale)).collect();
                let expected = summed(&values);
                let plain: f64 = values.iter().map(|&value| f64::from(value)).sum();
                assert!((f64::from(expected) - plain).abs() <= plain.abs() * 1e-6 + 1e-12 * 2f64.powi(scale));
                values.shuffle(&mut random);
                assert_eq!(summed(&values).to_bits(), expected.to_bits());
            }
        }
    }

    #[test]
    fn known_sums() {
        assert_eq!(summed(&[1e30, 1.0, -1e30]), 0.0);
        assert_eq!(summed(&[0.5; 1000]), 500.0);
        assert_eq!(summed(&[f32::MIN_POSITIVE / 4.0; 100]), f32::MIN_POSITIVE * 25.0);
        assert_eq!(summed(&[-3.0; 65]), -195.0);
        assert_eq!(summed(&[f32::MAX; 70]), f32::MAX);
        let mut mixed = [f32::INFINITY; 70];
        mixed[3] = f32::NEG_INFINITY;
        assert_eq!(summed(&mixed).to_bits(), f32::NAN.to_bits());
        assert_eq!(summed(&[-0.0]).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn known_means() {
        let mean = |values: &[f32]| mean(values, &Control::unlimited());
        assert_eq!(mean(&[4.5, 3.0]), Ok(3.75));
        assert_eq!(mean(&[-1.0, 0.0, 4.0]), Ok(1.0));
        assert_eq!(mean(&[f32::MAX; 70]), Ok(f32::MAX));
        assert_eq!(mean(&[2.5; 1000]), Ok(2.5));
        assert_eq!(mean(&[-0.0]).map(f32::to_bits), Ok((-0.0f32).to_bits()));
    }
}
