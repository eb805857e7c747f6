//! Ranking metrics of held-out items, and their means over users with intervals.

/// The metrics of one ranking, each in 0..=1 but novelty.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ranking {
    /// Hits by k, also where fewer than k items are ranked.
    pub precision: f64,
    /// Hits by relevant items.
    pub recall: f64,
    /// Discounted gain of the hits by that of the best possible ranking of min(k, relevant) hits.
    pub ndcg: f64,
    /// Sum of the precisions at the hits by min(k, relevant).
    pub map: f64,
    /// 1 with any hit, else 0.
    pub hit_rate: f64,
    /// One by the position of the first hit, 0 without one.
    pub mrr: f64,
    /// Mean self-information of what is shown, in bits: see [`crate::evaluate`]. At most 64.
    pub novelty: f64,
    /// How often a relevant item ranks above one that the user has not; nothing where that was not asked or there is no
    /// such pair.
    pub auc: Option<f64>,
}

/// The metrics of the first `k` of `ranked` (best first) against `relevant` (rising, each once).
///
/// All are 0 for `k` = 0 and without relevant items: such users say nothing and belong in no mean. Novelty and AUC need
/// more than the list: who knows it adds them.
pub fn rank_metrics(ranked: &[u32], relevant: &[u32], k: usize) -> Ranking {
    let possible = k.min(relevant.len());
    if possible == 0 {
        return Ranking::default();
    }
    let discount = |position: usize| 1.0 / (position as f64 + 2.0).log2();
    let (mut hits, mut gain, mut precisions, mut first) = (0.0, 0.0, 0.0, 0.0);
    for (position, item) in ranked.iter().take(k).enumerate() {
        if relevant.binary_search(item).is_err() {
            continue;
        }
        let rank = position as f64 + 1.0;
        hits += 1.0;
        gain += discount(position);
        precisions += hits / rank;
        if first == 0.0 {
            first = 1.0 / rank;
        }
    }
    Ranking {
        precision: hits / k as f64,
        recall: hits / relevant.len() as f64,
        ndcg: gain / (0..possible).map(discount).sum::<f64>(),
        map: precisions / possible as f64,
        hit_rate: if hits > 0.0 { 1.0 } else { 0.0 },
        mrr: first,
        ..Ranking::default()
    }
}

/// A mean over users and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Standard error of the mean; nothing below two users.
    pub standard_error: Option<f64>,
}

impl Estimate {
    /// The normal 95 % interval, not cut at 0 and 1; nothing below two users.
    pub fn interval(&self) -> Option<(f64, f64)> {
        // The 0.975 quantile of the normal distribution.
        let reach = 1.959963984540054 * self.standard_error?;
        Some((self.mean - reach, self.mean + reach))
    }
}

/// Means over users of the metrics of [`Ranking`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "named as in Ranking")]
pub struct Estimates {
    pub precision: Estimate,
    pub recall: Estimate,
    pub ndcg: Estimate,
    pub map: Estimate,
    pub hit_rate: Estimate,
    pub mrr: Estimate,
    pub novelty: Estimate,
    /// Over the users who have one.
    pub auc: Option<Estimate>,
    /// Users behind the means.
    pub users: u64,
    /// Distinct recommended items by items.
    pub coverage: f64,
    /// How unequally items are recommended: see [`exposure`].
    pub gini: f64,
}

/// Collects the rankings of up to 2^32 users over a catalogue of items.
///
/// Sums are integers, so the order of users and of merges changes no bit of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How often each item was recommended.
    shown: Vec<u32>,
    users: u64,
    /// In the order of [`parts`].
    sums: [Sum; METRICS],
    /// Of the AUC, and how many users have one.
    auc: (Sum, u64),
}

const METRICS: usize = 7;

/// More bits than any novelty has.
const BITS: f64 = 64.0;

fn parts(ranking: &Ranking) -> [f64; METRICS] {
    let Ranking { precision, recall, ndcg, map, hit_rate, mrr, novelty, auc: _ } = *ranking;
    [precision, recall, ndcg, map, hit_rate, mrr, novelty / BITS]
}

impl Summary {
    /// No users yet; items are numbered from 0 to `items` - 1.
    pub fn new(items: usize) -> Self {
        Self::with(vec![0; items])
    }

    /// As `new`, with a zero for each item.
    pub(crate) fn with(shown: Vec<u32>) -> Self {
        Self { shown, users: 0, sums: Default::default(), auc: Default::default() }
    }

    /// Adds a user with the metrics `ranking`, to whom `recommended` was shown: the first k of the ranked
    /// items. Items that do not exist are not counted.
    pub fn add(&mut self, ranking: &Ranking, recommended: &[u32]) {
        self.users += 1;
        for (sum, value) in self.sums.iter_mut().zip(parts(ranking)) {
            sum.add(value);
        }
        if let Some(auc) = ranking.auc {
            self.auc.0.add(auc);
            self.auc.1 += 1;
        }
        for &item in recommended {
            if let Some(times) = self.shown.get_mut(item as usize) {
                *times += 1;
            }
        }
    }

    /// Adds the users of `other`, which has the same items.
    pub fn merge(&mut self, other: &Summary) {
        self.users += other.users;
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.merge(other);
        }
        self.auc.0.merge(&other.auc.0);
        self.auc.1 += other.auc.1;
        for (shown, other) in self.shown.iter_mut().zip(&other.shown) {
            *shown += other;
        }
    }

    /// The figures; nothing without users.
    pub fn estimates(&self) -> Option<Estimates> {
        if self.users == 0 {
            return None;
        }
        let [precision, recall, ndcg, map, hit_rate, mrr, novelty] =
            self.sums.map(|sum| sum.estimate(self.users));
        let novelty = Estimate {
            mean: novelty.mean * BITS,
            standard_error: novelty.standard_error.map(|error| error * BITS),
        };
        let auc = (self.auc.1 > 0).then(|| self.auc.0.estimate(self.auc.1));
        let (coverage, gini) = exposure(&self.shown, self.shown.len());
        let users = self.users;
        Some(Estimates { precision, recall, ndcg, map, hit_rate, mrr, novelty, auc, users, coverage, gini })
    }
}

/// Times shown that are counted in an array.
const USUAL: usize = 1024;

/// Coverage and Gini coefficient of how often items were shown, among `items` of which those that are not listed were
/// never shown: 0 where all were shown alike, 1 - 1 / `items` where one alone was. 0 and 0 where nothing was.
///
/// `sum (2 i - items - 1) x_i / (items sum x)` for the rising `x_1 ..`, in whole numbers: items that were shown equally
/// often take one step, so no list is sorted and it costs as much as reading the counts.
pub fn exposure(shown: &[u32], items: usize) -> (f64, f64) {
    let covered = shown.iter().filter(|&&times| times > 0).count();
    if covered == 0 {
        return (0.0, 0.0);
    }
    // How many items were shown so often: an array for what is usual, which takes no memory of its own.
    let mut equal = [0u64; USUAL];
    let mut more = std::collections::BTreeMap::<u32, u64>::new();
    for &times in shown {
        match equal.get_mut(times as usize) {
            Some(count) => *count += 1,
            None => *more.entry(times).or_default() += 1,
        }
    }
    let mut before = (items - covered) as i128;
    let (mut weighted, mut all) = (0i128, 0i128);
    for (times, count) in (0u32..).zip(equal).skip(1).chain(more) {
        let (times, count) = (i128::from(times), i128::from(count));
        // The ranks before + 1 ..= before + count, twice their sum, less (items + 1) each.
        let ranks = count * (2 * before + count + 1) - count * (items as i128 + 1);
        weighted += ranks * times;
        all += count * times;
        before += count;
    }
    (covered as f64 / items as f64, weighted as f64 / (items as f64 * all as f64))
}

/// Sums of values in 0..=1 and of their squares, in fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sum {
    first: i128,
    second: i128,
}

impl Sum {
    /// The unit is 2^-44: a value is off by less than 3e-14, and 2^32 squares take 120 bits.
    const ONE: f64 = (1u64 << 44) as f64;

    fn add(&mut self, value: f64) {
        let value = (value.clamp(0.0, 1.0) * Self::ONE).round() as i128;
        self.first += value;
        self.second += value * value;
    }

    fn merge(&mut self, other: &Sum) {
        self.first += other.first;
        self.second += other.second;
    }

    /// Mean and standard error of the mean of `users` values, at least one.
    fn estimate(self, users: u64) -> Estimate {
        let count = i128::from(users);
        // Squares around the whole part of the mean are summed without any rounding; what the fraction
        // `rest` / `count` of the mean takes off is below one user's unit.
        let (whole, rest) = (self.first / count, self.first % count);
        let around = self.second - 2 * whole * self.first + count * whole * whole;
        let squares = around as f64 - rest as f64 * (rest as f64 / users as f64);
        let variance = squares.max(0.0) / (Self::ONE * Self::ONE) / (users as f64 - 1.0);
        Estimate {
            mean: self.first as f64 / (users as f64 * Self::ONE),
            standard_error: (users > 1).then(|| (variance / users as f64).sqrt()),
        }
    }
}
