//! An algorithm that learns a recommender: what it is given, what it learned, what it needs. No Postgres in it.

use base::need::Need;
use base::{Control, Csr};
use recommenders::als::explicit;
use recommenders::evaluate;
use recommenders::factors::Factors;
use recommenders::neighbours::Neighbours;
use recommenders::popularity::Decayed;
use recommenders::sgd::Squares;
use serde_json::Map;
use serde_json::Value;

use super::by_segment::BySegment;
use super::holdout::Times;
use super::train::Fits;

/// What was learned of the interactions.
pub(crate) enum Learned {
    Factors(Factors),
    /// With what the optimizer has summed up.
    Stochastic(Factors, Squares),
    /// Users are the sums of the rows of their items.
    Sums(Factors),
    Neighbours(Neighbours),
    Popular(Decayed),
    Ratings(explicit::Model),
    BySegment(Box<BySegment>),
}

impl Learned {
    /// Its memory.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Learned::Factors(factors) | Learned::Sums(factors) => factors.bytes(),
            Learned::Stochastic(factors, squares) => factors.bytes() + squares.bytes(),
            Learned::Neighbours(neighbours) => neighbours.bytes(),
            Learned::Popular(popular) => popular.bytes(),
            Learned::Ratings(model) => model.bytes(),
            Learned::BySegment(learned) => learned.bytes(),
        }
    }

    /// A view for an image.
    pub(super) fn view(&self) -> recommenders::recommender::Learned<'_> {
        match self {
            Learned::Factors(factors) => recommenders::recommender::Learned::Factors(factors),
            Learned::Stochastic(factors, squares) => {
                recommenders::recommender::Learned::Stochastic(factors, squares)
            }
            Learned::Sums(factors) => recommenders::recommender::Learned::Sums(factors),
            Learned::Neighbours(neighbours) => recommenders::recommender::Learned::Neighbours(neighbours),
            Learned::Popular(popular) => recommenders::recommender::Learned::Popular(popular),
            Learned::Ratings(model) => {
                recommenders::recommender::Learned::Ratings(model, explicit::Params::default().damping)
            }
            Learned::BySegment(learned) => learned.whole.view(),
        }
    }

    /// A view that ranks items; nothing for ratings and for segments. `fold` is regularization and alpha.
    pub(super) fn ranks(&self, fold: (f64, f64)) -> Option<evaluate::Learned<'_>> {
        match self {
            Learned::Factors(factors) | Learned::Stochastic(factors, _) => {
                Some(evaluate::Learned::Factors { factors, fold })
            }
            Learned::Sums(factors) => Some(evaluate::Learned::Sums(factors)),
            Learned::Neighbours(neighbours) => {
                Some(evaluate::Learned::Neighbours { neighbours: neighbours.view(), weighted: false })
            }
            Learned::Popular(popular) => Some(evaluate::Learned::Popular(popular)),
            Learned::Ratings(_) | Learned::BySegment(_) => None,
        }
    }

    /// The factors of all, where they are learned, and what the optimizer has summed up of them.
    pub(crate) fn factors_mut(&mut self) -> Option<(&mut Factors, Option<&mut Squares>)> {
        match self {
            Learned::Factors(factors) => Some((factors, None)),
            Learned::Stochastic(factors, squares) => Some((factors, Some(squares))),
            Learned::BySegment(learned) => learned.whole.factors_mut(),
            _ => None,
        }
    }
}

/// What a fit answers.
pub(crate) struct Fitted {
    pub(crate) learned: Learned,
    pub(crate) iterations: usize,
    pub(crate) converged: bool,
    /// Loss after each iteration and the seconds until then.
    pub(crate) losses: Vec<(f64, f64)>,
    /// The settings that were really used.
    pub(crate) regularization: f64,
    pub(crate) alpha: f64,
}

/// An algorithm that learns from interactions. Runs away from the main thread: no Postgres in it.
pub(crate) trait Algorithm: Send + Sync {
    fn name(&self) -> &'static str;
    fn iterations(&self) -> usize;
    /// Numbers per user and per item; 0 where it learns none.
    fn factors(&self) -> usize;
    /// Memory that a fit of so many users and items takes.
    fn need(&self, users: usize, items: usize, entries: usize) -> Need;
    /// Whether it looks at the times of the rows.
    fn wants_times(&self) -> bool {
        false
    }
    /// Whether values are ratings: any number counts, 0 and below too, and of one user and item the newest.
    fn rates(&self) -> bool {
        false
    }
    fn fit(&self, data: &Data<'_>, control: &Control) -> base::Result<Fitted>;
    fn hyperparameters(&self, fitted: &Fitted) -> Map<String, Value>;
    /// Chooses between forms of the algorithm, once, before anything of it is asked: `fits` says whether a fit that takes so
    /// much, with so many numbers per user and per item, keeps the memory.
    fn settle(&self, _items: usize, _fits: Fits<'_>) {}
    /// What is to be told of that choice, and a detail.
    fn remark(&self) -> Option<(String, String)> {
        None
    }
    /// Whether a version can follow rows that changed, from what its image holds.
    fn updates(&self) -> bool {
        false
    }
    /// Whether it goes on from what its optimizer has summed up.
    fn resumes(&self) -> bool {
        false
    }
    /// Learns what changed. Where a fit is quick, it is one on all entries of now.
    fn update(&self, data: &Data<'_>, _warm: WarmStart<'_>, control: &Control) -> base::Result<Fitted> {
        self.fit(data, control)
    }
}

/// What an update begins with.
pub(crate) struct WarmStart<'a> {
    /// The factors of before, zeros where they are new.
    pub(crate) factors: Option<Factors>,
    /// What their optimizer had summed up, where it is known.
    pub(crate) squares: Option<Squares>,
    /// Iterations after which held-out rows had ended the training.
    pub(crate) best_epoch: Option<usize>,
    /// Users whose entries changed.
    pub(crate) users: &'a [u32],
    /// Items that they have or had.
    pub(crate) items: &'a [u32],
    /// Those of the version.
    pub(crate) regularization: f64,
    pub(crate) alpha: f64,
}

/// What an algorithm learns from.
pub(crate) struct Data<'a> {
    pub(crate) user_items: &'a Csr,
    pub(crate) item_users: &'a Csr,
    /// The time of each entry of `user_items`, for the algorithms that ask for it.
    pub(crate) times: Option<Times<'a>>,
}
