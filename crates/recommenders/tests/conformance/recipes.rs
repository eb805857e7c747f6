//! How each kind of algorithm is called, as `src/` of the extension calls it: settings that depend on the data come from the
//! product's rules.

use base::need::Need;
use base::{Control, Csr, Result};
use recommenders::als::{self, Solver, explicit};
use recommenders::factors::Factors;
use recommenders::item_knn::{self, Similarity};
use recommenders::neighbours::Neighbours;
use recommenders::popularity::{self, Decayed};
use recommenders::recommender::Learned as View;
use recommenders::sgd::{self, Validation};
use recommenders::{defaults, ease, elsa};

use crate::slow::{self, Dense};

/// What a fit sees.
pub(crate) struct Data<'a> {
    pub(crate) user_items: &'a Csr,
    pub(crate) item_users: &'a Csr,
    pub(crate) times: &'a [i64],
}

/// What a caller chooses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) seed: u64,
    pub(crate) threads: usize,
}

pub(crate) const HOW: How = How { seed: 7, threads: 1 };

/// What was learned.
pub(crate) enum Learned {
    Factors(Factors),
    Stochastic(Factors, sgd::Squares),
    Sums(Factors),
    Ratings(explicit::Model),
    Neighbours(Neighbours),
    Popular(Decayed),
}

impl Learned {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Learned::Factors(factors) | Learned::Sums(factors) => factors.bytes(),
            Learned::Stochastic(factors, squares) => factors.bytes() + squares.bytes(),
            Learned::Ratings(model) => model.bytes(),
            Learned::Neighbours(neighbours) => neighbours.bytes(),
            Learned::Popular(popular) => popular.bytes(),
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Learned::Factors(factors) => View::Factors(factors),
            Learned::Stochastic(factors, squares) => View::Stochastic(factors, squares),
            Learned::Sums(factors) => View::Sums(factors),
            Learned::Ratings(model) => View::Ratings(model, explicit::Params::default().damping),
            Learned::Neighbours(neighbours) => View::Neighbours(neighbours),
            Learned::Popular(popular) => View::Popular(popular),
        }
    }
}

/// A fit and the settings that serving needs.
pub(crate) struct Fitted {
    pub(crate) learned: Learned,
    pub(crate) regularization: f64,
    pub(crate) alpha: f64,
}

impl Fitted {
    fn plain(learned: Learned) -> Fitted {
        Fitted { learned, regularization: 0.0, alpha: 0.0 }
    }
}

pub(crate) trait Recipe {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted>;

    /// Memory that a fit takes.
    fn need(&self, users: usize, items: usize, entries: usize) -> Need;

    /// Numbers per row of the image.
    fn factors(&self) -> usize {
        0
    }

    /// Whether values are ratings.
    fn rates(&self) -> bool {
        false
    }

    /// Whether the seed counts.
    fn draws(&self) -> bool {
        false
    }

    /// The recipe that makes of `by` times the values what this one makes of them, and `by` what the scores become of; nothing
    /// where there is none.
    fn in_unit(&self, by: f64) -> Option<(Box<dyn Recipe>, Unit)>;

    /// The score of every user for every item, by a plain computation in double precision.
    fn slow(&self, _: &Dense, _: How) -> Option<Vec<Vec<f64>>> {
        None
    }
}

/// What scores do when values are in another unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// They stay.
    Same,
    /// They are multiplied by something, the same for all.
    Multiplied,
}

/// Implicit feedback by alternating least squares.
pub(crate) struct Als {
    pub(crate) solver: Solver,
    alpha: f64,
}

impl Als {
    pub(crate) fn new(solver: Solver) -> Self {
        Self { solver, alpha: defaults::ALPHA }
    }

    pub(crate) fn params(&self, user_items: &Csr, item_users: &Csr, how: How) -> als::Params {
        als::Params {
            regularization: defaults::als_regularization(user_items, item_users, self.alpha),
            seed: how.seed,
            threads: how.threads,
            ..self.usual()
        }
    }

    fn usual(&self) -> als::Params {
        als::Params {
            factors: 8,
            iterations: 30,
            alpha: self.alpha,
            solver: self.solver,
            ..als::Params::default()
        }
    }
}

impl Recipe for Als {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        let params = self.params(data.user_items, data.item_users, how);
        let start = als::start(data.user_items.rows(), data.item_users.rows(), &params, control)?;
        let bytes = start.bytes();
        let fitted = als::fit(data.user_items, data.item_users, start, &params, control, &mut |_, _| ());
        let factors = fitted.inspect_err(|_| control.give(bytes))?;
        Ok(Fitted {
            learned: Learned::Factors(factors),
            regularization: params.regularization,
            alpha: self.alpha,
        })
    }

    fn need(&self, users: usize, items: usize, _: usize) -> Need {
        als::need(users, items, &self.usual())
    }

    fn factors(&self) -> usize {
        self.usual().factors
    }

    fn draws(&self) -> bool {
        true
    }

    /// Confidence is `1 + alpha value`.
    fn in_unit(&self, by: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        Some((Box::new(Als { alpha: self.alpha / by, ..*self }), Unit::Same))
    }

    fn slow(&self, dense: &Dense, how: How) -> Option<Vec<Vec<f64>>> {
        let params = self.params(&dense.matrix(), &dense.matrix().transpose(dense.items), how);
        Some(slow::als(dense, &params))
    }
}

/// Ratings by alternating least squares.
pub(crate) struct Ratings {
    regularization: f64,
    /// What start factors are multiplied by.
    start: f32,
}

impl Default for Ratings {
    fn default() -> Self {
        Self { regularization: explicit::Params::default().als.regularization, start: 1.0 }
    }
}

impl Ratings {
    fn params(&self, how: How) -> explicit::Params {
        let usual = explicit::Params::default();
        let als = als::Params {
            factors: 8,
            iterations: 30,
            regularization: self.regularization,
            seed: how.seed,
            threads: how.threads,
            ..usual.als
        };
        explicit::Params { als, ..usual }
    }
}

impl Recipe for Ratings {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        let params = self.params(how);
        let mut start = als::start(data.user_items.rows(), data.item_users.rows(), &params.als, control)?;
        start.users.iter_mut().chain(&mut start.items).for_each(|number| *number *= self.start);
        let bytes = start.bytes();
        let fitted = explicit::fit(data.user_items, data.item_users, start, &params, control, &mut |_, _| ());
        let model = fitted.inspect_err(|_| control.give(bytes))?;
        Ok(Fitted { learned: Learned::Ratings(model), regularization: params.als.regularization, alpha: 0.0 })
    }

    fn need(&self, users: usize, items: usize, _: usize) -> Need {
        // Factors and biases side by side while the image is written.
        let Need { peak, result } = explicit::need(users, items, &self.params(HOW));
        Need { peak, result: 2 * result }
    }

    fn factors(&self) -> usize {
        self.params(HOW).als.factors
    }

    fn rates(&self) -> bool {
        true
    }

    fn draws(&self) -> bool {
        true
    }

    /// Biases follow the ratings, factors the root of their unit.
    fn in_unit(&self, by: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        let start = self.start * by.sqrt() as f32;
        Some((Box::new(Ratings { regularization: self.regularization * by, start }), Unit::Multiplied))
    }

    fn slow(&self, dense: &Dense, how: How) -> Option<Vec<Vec<f64>>> {
        Some(slow::ratings(dense, &self.params(how)))
    }
}

/// Stochastic gradients.
pub(crate) struct Sgd(pub(crate) sgd::Params);

impl Recipe for Sgd {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        let params = sgd::Params { seed: how.seed, threads: how.threads, ..self.0.clone() };
        let start = sgd::start(data.user_items.rows(), data.item_users.rows(), &params, control)?;
        let bytes = start.bytes();
        let validation = Validation::None;
        let fitted =
            sgd::fit(data.user_items, data.item_users, start, &params, validation, control, &mut |_| ());
        let (factors, squares) = fitted.inspect_err(|_| control.give(bytes))?.folded(control)?;
        let alpha = defaults::ALPHA;
        let regularization = defaults::als_regularization(data.user_items, data.item_users, alpha);
        Ok(Fitted { learned: Learned::Stochastic(factors, squares), regularization, alpha })
    }

    fn need(&self, users: usize, items: usize, entries: usize) -> Need {
        sgd::need(users, items, entries, &self.0, false)
    }

    fn factors(&self) -> usize {
        self.0.factors + usize::from(self.0.biases)
    }

    fn draws(&self) -> bool {
        true
    }

    /// Rankings ask of an entry whether there is one.
    fn in_unit(&self, _: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        self.0.loss.ranks().then(|| (Box::new(Sgd(self.0.clone())) as Box<dyn Recipe>, Unit::Same))
    }
}

pub(crate) struct Ease;

impl Ease {
    fn params(how: How, user_items: &Csr, item_users: &Csr) -> ease::Params {
        let regularization = defaults::ease_regularization(user_items, item_users);
        ease::Params { regularization, threads: how.threads, ..ease::Params::default() }
    }
}

impl Recipe for Ease {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        let params = Self::params(how, data.user_items, data.item_users);
        ease::fit(data.user_items, data.item_users, &params, control)
            .map(|learned| Fitted::plain(Learned::Neighbours(learned)))
    }

    fn need(&self, _: usize, items: usize, _: usize) -> Need {
        ease::need(items, &ease::Params::default())
    }

    fn in_unit(&self, _: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        Some((Box::new(Ease), Unit::Same))
    }

    fn slow(&self, dense: &Dense, how: How) -> Option<Vec<Vec<f64>>> {
        let matrix = dense.matrix();
        Some(slow::ease(dense, Self::params(how, &matrix, &matrix.transpose(dense.items)).regularization))
    }
}

/// The low-rank form of EASE.
pub(crate) struct Elsa;

impl Elsa {
    fn params(how: How) -> elsa::Params {
        let usual = elsa::Params::default();
        elsa::Params { factors: 8, iterations: 60, seed: how.seed, threads: how.threads, ..usual }
    }
}

impl Recipe for Elsa {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        elsa::fit(data.user_items, data.item_users, &Self::params(how), control, &mut |_, _| ())
            .map(|learned| Fitted::plain(Learned::Sums(learned)))
    }

    fn need(&self, users: usize, items: usize, entries: usize) -> Need {
        elsa::need(users, items, entries, &Self::params(HOW))
    }

    fn factors(&self) -> usize {
        Self::params(HOW).factors
    }

    fn draws(&self) -> bool {
        true
    }

    fn in_unit(&self, _: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        Some((Box::new(Elsa), Unit::Same))
    }
}

pub(crate) struct ItemKnn(pub(crate) Similarity);

impl Recipe for ItemKnn {
    fn fit(&self, data: &Data<'_>, how: How, control: &Control) -> Result<Fitted> {
        let params =
            item_knn::Params { similarity: self.0, threads: how.threads, ..item_knn::Params::default() };
        item_knn::fit(data.user_items, data.item_users, &params, control)
            .map(|learned| Fitted::plain(Learned::Neighbours(learned)))
    }

    fn need(&self, users: usize, items: usize, _: usize) -> Need {
        item_knn::need(users, items, &item_knn::Params::default())
    }

    /// Of BM25, `k1` is in the unit of the values.
    fn in_unit(&self, by: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        Some(match self.0 {
            Similarity::Bm25 { k1, b } => {
                (Box::new(ItemKnn(Similarity::Bm25 { k1: k1 * by, b })), Unit::Multiplied)
            }
            other => (Box::new(ItemKnn(other)), Unit::Same),
        })
    }

    fn slow(&self, dense: &Dense, _: How) -> Option<Vec<Vec<f64>>> {
        Some(slow::item_knn(dense, self.0))
    }
}

/// With a half-life or none.
pub(crate) struct Popularity(pub(crate) Option<f64>);

impl Recipe for Popularity {
    fn fit(&self, data: &Data<'_>, _: How, control: &Control) -> Result<Fitted> {
        let popular = match self.0 {
            Some(half_life) => {
                let items = data.item_users.rows();
                popularity::decayed(data.user_items, items, data.times, None, half_life, control)?
            }
            None => popularity::plain(data.item_users, control)?,
        };
        Ok(Fitted::plain(Learned::Popular(popular)))
    }

    fn need(&self, _: usize, items: usize, _: usize) -> Need {
        popularity::need(items)
    }

    fn in_unit(&self, _: f64) -> Option<(Box<dyn Recipe>, Unit)> {
        Some((Box::new(Popularity(self.0)), Unit::Same))
    }

    fn slow(&self, dense: &Dense, _: How) -> Option<Vec<Vec<f64>>> {
        Some(slow::popularity(dense, self.0))
    }
}
