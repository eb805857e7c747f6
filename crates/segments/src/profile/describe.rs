//! Names for groups, made from what is special about them.

use std::collections::HashSet;

/// The distance from everybody's mean, in deviations, from which on a feature is worth a word.
pub const THRESHOLD: f64 = 0.5;

/// Words in a name.
const MOST: usize = 2;

/// A name for each group: its features farthest from the mean, as in `high orders, recent`, or `average`
/// where none is. `z` holds a row per group with one number per name of `features`. Groups of the same features get a
/// number, the first of them excepted, so that no two names are equal.
pub fn describe(z: &[f64], features: &[&str]) -> Vec<String> {
    let mut taken = HashSet::new();
    let groups = z.chunks_exact(features.len().max(1));
    groups
        .map(|z| {
            let name = name(z, features);
            let unique = if taken.contains(&name) {
                // A feature may itself be called so: look on until it is not.
                (2u64..).map(|number| format!("{name} {number}")).find(|name| !taken.contains(name))
            } else {
                None
            };
            let name = unique.unwrap_or(name);
            taken.insert(name.clone());
            name
        })
        .collect()
}

fn name(z: &[f64], features: &[&str]) -> String {
    let mut special: Vec<(f64, &str)> = z.iter().copied().zip(features.iter().copied()).collect();
    special.retain(|(z, _)| z.abs() >= THRESHOLD);
    // The order of the features decides between equal ones.
    special.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    special.truncate(MOST);
    let words =
        special.iter().map(|(z, feature)| match (feature.to_lowercase().contains("recency"), *z > 0.0) {
            // Nobody says "low recency", and some would mean the opposite by it.
            (true, false) => "recent".to_owned(),
            (true, true) => "long ago".to_owned(),
            (false, high) => format!("{} {}", if high { "high" } else { "low" }, feature.replace('_', " ")),
        });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "average".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_names() {
        let features = ["recency_days", "orders", "amount"];
        let z = [
            [-1.2, 0.4, 2.0],
            [0.1, -0.2, 0.49],
            [-0.7, 0.0, 0.0],
            [1.0, -1.0, 0.9],
            [-0.8, 0.2, 0.1],
            [0.0, 0.0, 0.0],
            [f64::NAN, 0.0, -0.5],
        ];
        let expected = [
            "high amount, recent",
            "average",
            "recent",
            "long ago, low orders",
            "recent 2",
            "average 2",
            "low amount",
        ];
        assert_eq!(describe(&z.concat(), &features), expected);
    }

    #[test]
    fn a_feature_with_a_number_in_its_name() {
        let names = describe(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], &["x", "x 2"]);
        assert_eq!(names, ["high x", "high x 2", "high x 3"]);
    }

    proptest! {
        #[test]
        fn names_are_unique(z in prop::collection::vec(-2f64..2.0, 0..60)) {
            let whole = z.len() / 2 * 2;
            let names = describe(&z[..whole], &["a", "a 2"]);
            prop_assert_eq!(names.len(), whole / 2);
            prop_assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        }
    }
}
