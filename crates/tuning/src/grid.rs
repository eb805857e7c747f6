//! Every combination of values, numbered: the last parameter changes fastest.

use super::domain::{Domain, Value};

/// How many values a domain has in a grid; `None` for a range of reals without a number of levels.
fn values(domain: &Domain, levels: usize) -> Option<usize> {
    match *domain {
        Domain::Integer { low, high, .. } => {
            let all = usize::try_from(high.abs_diff(low)).unwrap_or(usize::MAX).saturating_add(1);
            Some(all.min(levels.max(1)))
        }
        Domain::Real { low, high, .. } if low == high => Some(1),
        Domain::Real { .. } if levels == usize::MAX => None,
        Domain::Real { .. } => Some(levels.max(1)),
        Domain::Choice(count) => Some(count),
    }
}

/// The points of a grid; `usize::MAX` levels are all values, which a range of reals does not have.
pub(super) fn count(space: &[Domain], levels: usize) -> Option<usize> {
    space.iter().try_fold(1usize, |product, domain| Some(product.saturating_mul(values(domain, levels)?)))
}

/// The point of this number.
pub(super) fn point(space: &[Domain], levels: usize, number: usize) -> Option<Vec<Value>> {
    if number >= count(space, levels)? {
        return None;
    }
    let mut rest = number;
    let mut point = Vec::with_capacity(space.len());
    for domain in space.iter().rev() {
        let many = values(domain, levels)?;
        point.push(value(domain, rest % many, many));
        rest /= many;
    }
    point.reverse();
    Some(point)
}

/// The value at a place of `many`, the ends of the range among them; the middle where there is but one.
fn value(domain: &Domain, place: usize, many: usize) -> Value {
    let share = if many == 1 { 0.5 } else { place as f64 / (many - 1) as f64 };
    match *domain {
        Domain::Choice(_) => Value::Choice(place),
        Domain::Integer { low, high, log } => {
            if high.abs_diff(low) == (many - 1) as u64 {
                return Value::Integer(low + place as i64);
            }
            // The ends themselves, not the half steps beyond them.
            let ends = Domain::Real { low: low as f64, high: high as f64, log };
            match ends.at(share) {
                Value::Real(number) => Value::Integer((number.round() as i64).clamp(low, high)),
                other => other,
            }
        }
        Domain::Real { .. } => domain.at(share),
    }
}
