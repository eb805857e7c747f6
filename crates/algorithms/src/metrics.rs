//! Ranking metrics of held-out items, and their means over users with intervals.

/// The metrics of one ranking, each in 0..=1.
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
}

/// The metrics of the first `k` of `ranked` (best first) against `relevant` (rising, each once).
///
/// All are 0 for `k` = 0 and without relevant items: such users say nothing and belong in no mean.
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
    /// Users behind the means.
    pub users: u64,
    /// Distinct recommended items by items.
    pub coverage: f64,
}

/// Collects the rankings of up to 2^32 users over a catalogue of items.
///
/// Sums are integers, so the order of users and of merges changes no bit of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    items: usize,
    /// A bit for each recommended item.
    seen: Vec<u64>,
    users: u64,
    /// In the order of [`parts`].
    sums: [Sum; METRICS],
}

const METRICS: usize = 6;

fn parts(ranking: &Ranking) -> [f64; METRICS] {
    let Ranking { precision, recall, ndcg, map, hit_rate, mrr } = *ranking;
    [precision, recall, ndcg, map, hit_rate, mrr]
}

impl Summary {
    /// No users yet; items are numbered from 0 to `items` - 1.
    pub fn new(items: usize) -> Self {
        Self::with(items, vec![0; Self::words(items)])
    }

    /// Words of the bits of so many items.
    pub(crate) fn words(items: usize) -> usize {
        items.div_ceil(64)
    }

    /// As `new`, with `words(items)` zeros.
    pub(crate) fn with(items: usize, seen: Vec<u64>) -> Self {
        Self { items, seen, users: 0, sums: Default::default() }
    }

    /// Adds a user with the metrics `ranking`, to whom `recommended` was shown: the first k of the ranked
    /// items. Items that do not exist are not counted.
    pub fn add(&mut self, ranking: &Ranking, recommended: &[u32]) {
        self.users += 1;
        for (sum, value) in self.sums.iter_mut().zip(parts(ranking)) {
            sum.add(value);
        }
        for &item in recommended {
            let item = item as usize;
            if item < self.items {
                self.seen[item / 64] |= 1 << (item % 64);
            }
        }
    }

    /// Adds the users of `other`, which has the same items.
    pub fn merge(&mut self, other: &Summary) {
        self.users += other.users;
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.first += other.first;
            sum.second += other.second;
        }
        for (seen, other) in self.seen.iter_mut().zip(&other.seen) {
            *seen |= other;
        }
    }

    /// The figures; nothing without users.
    pub fn estimates(&self) -> Option<Estimates> {
        if self.users == 0 {
            return None;
        }
        let [precision, recall, ndcg, map, hit_rate, mrr] = self.sums.map(|sum| sum.estimate(self.users));
        let seen: u64 = self.seen.iter().map(|word| u64::from(word.count_ones())).sum();
        let coverage = if self.items == 0 { 0.0 } else { seen as f64 / self.items as f64 };
        Some(Estimates { precision, recall, ndcg, map, hit_rate, mrr, users: self.users, coverage })
    }
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
