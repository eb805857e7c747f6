//! The algorithms, and what each cannot do and why. A further one is a line here, and where it learns something new, a
//! recipe that says how it is called.

use recommenders::als::Solver;
use recommenders::item_knn::Similarity;
use recommenders::sgd::{Loss, Params};

use crate::recipes::{Als, Ease, Elsa, ItemKnn, Popularity, Ratings, Recipe, Sgd};

/// How far two models of the same rows may be apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Agreement {
    /// Every score by so much of the largest one.
    Scores(f64),
    /// The share of the right items among those recommended, by so much.
    Quality(f64),
}

/// An algorithm and what does not apply to it. Every exception is a claim that the suite checks too.
pub(crate) struct Algorithm {
    pub(crate) name: &'static str,
    pub(crate) recipe: Box<dyn Recipe>,
    /// Where they came in another order, and so with other random numbers.
    pub(crate) agreement: Agreement,
    /// Why everybody is answered alike.
    pub(crate) impersonal: Option<&'static str>,
    /// Why there is no slow version to compare with.
    pub(crate) without_slow: Option<&'static str>,
    /// Why another unit of the values makes another model, whatever the settings.
    pub(crate) without_unit: Option<&'static str>,
}

const SAMPLES: &str =
    "the order of its samples is its own; src/sgd/tests.rs has each step against a plain one";

const STEPS: &str =
    "the order of its users is its own; src/elsa/tests.rs has its gradient against that of dense predictions";

impl Algorithm {
    fn new(name: &'static str, recipe: impl Recipe + 'static) -> Self {
        Self {
            name,
            recipe: Box::new(recipe),
            agreement: Agreement::Scores(1e-5),
            impersonal: None,
            without_slow: None,
            without_unit: None,
        }
    }

    /// One that starts from random factors and ends near the same scores.
    fn converging(name: &'static str, recipe: impl Recipe + 'static, apart: f64) -> Self {
        Self { agreement: Agreement::Scores(apart), ..Self::new(name, recipe) }
    }

    /// One by stochastic gradients.
    fn sampled(name: &'static str, params: Params) -> Self {
        Self {
            agreement: Agreement::Quality(0.05),
            without_slow: Some(SAMPLES),
            ..Self::new(name, Sgd(params))
        }
    }
}

/// All of them.
pub(crate) fn algorithms() -> Vec<Algorithm> {
    let weighs = "the values of entries weigh them against negatives, whose weight is 1";
    let predicts = "one learning rate cannot fit biases and factors, which grow by c and by its root";
    let everybody = "popularity is the same for everybody";
    let fewer = |loss| Params { factors: 8, ..Params::of(loss) };
    let negatives = Params {
        negatives: 4,
        iterations: 50,
        learning_rate: 0.05,
        regularization: 0.01,
        ..fewer(Loss::Squared)
    };
    vec![
        Algorithm::converging("als, conjugate gradients", Als::new(Solver::ConjugateGradient), 0.02),
        Algorithm::converging("als, cholesky", Als::new(Solver::Cholesky), 0.02),
        // Pairs that nothing was said of differ from start to start.
        Algorithm {
            agreement: Agreement::Quality(0.02),
            ..Algorithm::new("als of ratings", Ratings::default())
        },
        Algorithm::sampled("bpr", fewer(Loss::Bpr)),
        Algorithm::sampled("warp", fewer(Loss::Warp)),
        Algorithm { without_unit: Some(weighs), ..Algorithm::sampled("logistic", fewer(Loss::Logistic)) },
        Algorithm { without_unit: Some(predicts), ..Algorithm::sampled("squared", negatives) },
        Algorithm::new("ease", Ease),
        Algorithm {
            agreement: Agreement::Quality(0.05),
            without_slow: Some(STEPS),
            ..Algorithm::new("elsa", Elsa)
        },
        Algorithm::new("item_knn, cosine", ItemKnn(Similarity::Cosine)),
        Algorithm::new("item_knn, jaccard", ItemKnn(Similarity::Jaccard)),
        Algorithm::new("item_knn, tf_idf", ItemKnn(Similarity::TfIdf)),
        Algorithm::new("item_knn, bm25", ItemKnn(Similarity::Bm25 { k1: 1.2, b: 0.75 })),
        Algorithm { impersonal: Some(everybody), ..Algorithm::new("popularity", Popularity(None)) },
        Algorithm {
            impersonal: Some(everybody),
            ..Algorithm::new("popularity, half-life", Popularity(Some(40.0)))
        },
    ]
}
