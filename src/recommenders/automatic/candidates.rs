//! What an automatic choice tries: first each algorithm as it is by default, then neighbours of the best.

use recommenders::elsa;
use recommenders::interactions::Interactions;
use serde_json::{Map, Value, json};

use crate::models::spec::object;
use crate::pg::error::{Code, Result, fail, words};
use crate::pg::options::choose;

/// Algorithms in the order in which they are tried, the quick ones first, with their trainers.
const ALGORITHMS: [(&str, &str); 6] = [
    ("popularity", "train_popularity"),
    ("item_knn", "train_item_knn"),
    ("ease", "train_ease"),
    ("elsa", "train_ease"),
    ("warp", "train_sgd"),
    ("als", "train_als"),
];

/// Those that learn factors, which features of items and users can be mapped to.
const OF_FACTORS: [&str; 2] = ["warp", "als"];

/// Settings that are the same in every try.
const HIDDEN: [&str; 2] = ["feedback", "loss"];

/// Settings of one algorithm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) algorithm: &'static str,
    /// What is asked for; what is not there is left to the rules of the algorithm.
    pub(super) settings: Map<String, Value>,
    /// What the rules made of it on held-out rows.
    used: Map<String, Value>,
}

/// The algorithms that may be tried: those that were named, or all; with features only those that learn from them. 22023
/// for a word that is no algorithm, or is one that does not.
pub(super) fn allowed(named: &[String], features: bool) -> Result<Vec<&'static str>> {
    let all = ALGORITHMS.map(|(name, _)| name);
    let mut named = named
        .iter()
        .map(|word| choose("algorithm", word, &all.map(|name| (name, name))))
        .collect::<Result<Vec<_>>>()?;
    if features {
        if let Some(other) = named.iter().find(|name| !OF_FACTORS.contains(name)) {
            return Err(fail(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("algorithm \"{other}\" does not learn from features"),
            )
            .set_detail("Options \"item_features\" and \"user_features\" ask for one that does.")
            .set_hint(format!("Those that do are {}.", words(&OF_FACTORS))));
        }
        if named.is_empty() {
            named = OF_FACTORS.into();
        }
    }
    Ok(all.into_iter().filter(|name| named.is_empty() || named.contains(name)).collect())
}

/// The candidates that are tried in any case. `span` is how many days the times cover, where there are times: popularity
/// is then tried with what is new counting more.
pub(super) fn first(allowed: &[&'static str], span: Option<f64>) -> Vec<Candidate> {
    let mut list = Vec::new();
    for algorithm in allowed {
        let plain = Candidate::new(algorithm);
        if let ("popularity", Some(span)) = (*algorithm, span) {
            for part in [4.0, 32.0, 256.0] {
                list.push(plain.with("half_life", Value::from(rounded(span / part))));
            }
        }
        list.push(plain);
    }
    list
}

/// The next candidate: a step from the leading one that was not taken yet, in the order of what it promises. As a step that
/// is better leads, a good direction is followed.
pub(super) fn next(leader: &Candidate, tried: &[&Candidate]) -> Option<Candidate> {
    leader.steps().into_iter().find(|step| !tried.iter().any(|other| other.is_near(step)))
}

/// Three digits: enough for a setting that was found by steps of a factor.
fn rounded(value: f64) -> f64 {
    let scale = 10f64.powi(2 - value.abs().max(f64::MIN_POSITIVE).log10().floor() as i32);
    (value * scale).round() / scale
}

impl Candidate {
    /// An algorithm with the defaults of its call.
    fn new(algorithm: &'static str) -> Candidate {
        let settings = match algorithm {
            "als" => json!({ "feedback": "implicit", "factors": 64, "iterations": 15 }),
            "warp" => json!({ "loss": "warp" }),
            _ => json!({}),
        };
        Candidate { algorithm, settings: object(settings), used: Map::new() }
    }

    /// Whether two are the same but for rounding: a step back meets where it came from.
    fn is_near(&self, other: &Candidate) -> bool {
        let near = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 0.05 * a.abs(),
            _ => a == b,
        };
        let own = |key: &String| self.value(key).zip(other.value(key)).is_some_and(|(a, b)| near(a, b));
        self.algorithm == other.algorithm && self.settings.keys().chain(other.settings.keys()).all(own)
    }

    fn with(&self, key: &str, value: Value) -> Candidate {
        let mut candidate = Candidate { used: Map::new(), ..self.clone() };
        candidate.settings.insert(key.into(), value);
        candidate
    }

    pub(super) fn trainer(&self) -> &'static str {
        ALGORITHMS.iter().find(|(name, _)| *name == self.algorithm).map_or("", |(_, trainer)| trainer)
    }

    /// The option `form` of `train_ease`.
    pub(super) fn form(&self) -> Option<&'static str> {
        match self.algorithm {
            "ease" => Some("full"),
            "elsa" => Some("low_rank"),
            _ => None,
        }
    }

    /// Whether it is the full form of EASE, whose memory grows with the square of the items.
    pub(super) fn is_full(&self) -> bool {
        self.form() == Some("full")
    }

    /// Whether it stands in for the full form.
    pub(super) fn stands_in(&self) -> bool {
        self.form() == Some("low_rank")
    }

    pub(super) fn takes_threads(&self) -> bool {
        self.algorithm != "popularity"
    }

    /// Whether it is tried however little time there is.
    pub(super) fn is_cheap(&self) -> bool {
        self.algorithm == "popularity"
    }

    /// Notes what a rule made of settings that were left open: steps start from there.
    pub(super) fn used(&mut self, facts: &Map<String, Value>) {
        let keys: &[&str] = match self.algorithm {
            "ease" => &["regularization"],
            "als" => &["regularization", "alpha", "factors"],
            "item_knn" => &["neighbours", "similarity"],
            "warp" => &["factors", "iterations"],
            _ => &[],
        };
        for key in keys {
            if let Some(value) = facts.get(*key) {
                let value = value
                    .as_f64()
                    .filter(|_| value.is_f64())
                    .map_or(value.clone(), |real| rounded(real).into());
                self.used.insert((*key).to_string(), value);
            }
        }
    }

    /// A setting that was asked for or used.
    fn value(&self, key: &str) -> Option<&Value> {
        self.settings.get(key).or_else(|| self.used.get(key))
    }

    fn real(&self, key: &str, usual: f64) -> f64 {
        self.value(key).and_then(Value::as_f64).unwrap_or(usual)
    }

    fn times(&self, key: &str, by: f64) -> Candidate {
        self.with(key, Value::from(rounded(self.real(key, 1.0) * by)))
    }

    fn sized(&self, key: &str, by: f64) -> Candidate {
        self.with(key, Value::from((self.real(key, 1.0) * by).round() as i64))
    }

    /// The steps from here.
    fn steps(&self) -> Vec<Candidate> {
        match self.algorithm {
            "ease" => [0.4, 2.5].map(|by| self.times("regularization", by)).into(),
            "als" => {
                let mut steps: Vec<Candidate> = [2.0, 0.5].map(|by| self.times("regularization", by)).into();
                steps.push(self.times("alpha", 0.3));
                let factors = self.real("factors", 64.0);
                steps.extend((factors < 256.0).then(|| self.sized("factors", 2.0)));
                steps.extend((factors > 16.0).then(|| self.sized("factors", 0.5)));
                steps
            }
            "item_knn" => {
                let mut steps: Vec<Candidate> = ["tf_idf", "bm25", "jaccard", "cosine"]
                    .map(|word| self.with("similarity", word.into()))
                    .into();
                let neighbours = self.real("neighbours", 20.0);
                steps.extend((neighbours < 500.0).then(|| self.sized("neighbours", 2.5)));
                steps
            }
            "warp" => {
                (self.real("factors", 32.0) < 128.0).then(|| self.sized("factors", 2.0)).into_iter().collect()
            }
            _ => {
                let half_life = self.settings.get("half_life").and_then(Value::as_f64);
                half_life.map_or(Vec::new(), |_| [0.5, 2.0].map(|by| self.times("half_life", by)).into())
            }
        }
    }

    /// How it is called: the algorithm and its settings.
    pub(super) fn title(&self) -> String {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let settings: Vec<String> = self
            .settings
            .iter()
            .chain(self.used.iter().filter(|(key, _)| !self.settings.contains_key(*key)))
            .filter(|(key, value)| !HIDDEN.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| format!("{key} {}", word(value)))
            .collect();
        match settings.as_slice() {
            [] => self.algorithm.to_string(),
            _ => format!("{} ({})", self.algorithm, settings.join(", ")),
        }
    }

    /// How much longer it takes than others of its algorithm, in any unit.
    pub(super) fn work(&self) -> f64 {
        match self.algorithm {
            "als" => self.real("factors", 64.0),
            "warp" => self.real("factors", 32.0) * self.real("iterations", 30.0),
            _ => 1.0,
        }
    }
}

/// The size of the data, to know how long a first fit takes before it is tried.
pub(super) struct Scale {
    entries: f64,
    users: f64,
    items: f64,
    /// Pairs of items that a user has.
    pairs: f64,
    threads: f64,
    span: Option<f64>,
}

impl Scale {
    pub(super) fn of(interactions: &Interactions, threads: usize) -> Scale {
        let rows = interactions.user_items.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
        let span = interactions.times.as_ref().and_then(|times| {
            let (first, last) = (times.iter().min()?, times.iter().max()?);
            Some((i128::from(*last) - i128::from(*first)) as f64)
        });
        Scale {
            entries: interactions.user_items.entries() as f64,
            users: interactions.users.len() as f64,
            items: interactions.items.len() as f64,
            pairs: rows.map(|items| items * items).sum(),
            threads: threads as f64,
            span,
        }
    }

    /// The time that the rows cover, in the unit of the times; nothing where it is none.
    pub(super) fn span(&self) -> Option<f64> {
        self.span.filter(|span| *span > 0.0)
    }

    /// Seconds of a fit and its measuring, from what was measured of each algorithm on two threads; rather too many.
    pub(super) fn seconds(&self, candidate: &Candidate) -> f64 {
        let one_thread = match candidate.algorithm {
            "ease" => 2.5e-11 * self.items.powi(3) + 1e-8 * self.pairs,
            "elsa" => {
                let usual = elsa::Params::default();
                let steps = (self.users / usual.batch_of(self.users as usize) as f64).ceil();
                usual.iterations as f64 * (4e-6 * self.items * steps + 1e-5 * self.users)
            }
            "item_knn" => 2e-8 * self.pairs,
            "als" => 5e-6 * self.entries * candidate.work() / 64.0,
            "warp" => 6e-5 * self.entries * candidate.work() / 960.0,
            _ => 1e-7 * self.entries,
        };
        0.05 + one_thread / self.threads
    }
}
