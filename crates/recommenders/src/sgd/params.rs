//! How to train, and what is allowed.

use base::error::{Error, Result};

/// The most factors: two of the 2048 columns that a model can have remain for the biases.
pub const MAX_FACTORS: usize = crate::als::MAX_FACTORS - 2;
/// The most passes over the entries.
pub const MAX_ITERATIONS: usize = 10_000;
/// The most updates of a batch.
pub const MAX_BATCH: usize = 4096;
/// The most negatives per entry.
pub const MAX_NEGATIVES: usize = 1000;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// `1/2 (value - score)^2`, of entries and of sampled negatives, whose value is 0 (Funk, 2006; with biases
    /// Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems, Computer 2009).
    Squared,
    /// Binary cross-entropy: an entry counts as liked with weight `value`, with `-value` as disliked where that is
    /// negative; sampled negatives as disliked with weight 1.
    Logistic,
    /// `ln(1 + exp(score(negative) - score(positive)))` (Rendle et al., BPR: Bayesian Personalized Ranking from
    /// Implicit Feedback, UAI 2009).
    Bpr,
    /// Weighted approximate-rank pairwise loss: negatives are drawn until one scores above the positive minus 1; the
    /// fewer draws it took, the heavier that counts, as the logarithm of the rank that they suggest (Weston, Bengio
    /// and Usunier, WSABIE: Scaling Up To Large Vocabulary Image Annotation, IJCAI 2011; the weight as in LightFM
    /// 1.17, at most 10).
    Warp,
}

/// How a row follows its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimizer {
    /// By the learning rate.
    Sgd,
    /// By the learning rate over the root of 1 plus the sum of the squared gradients of each number (Duchi, Hazan and
    /// Singer, JMLR 2011; the 1 as in LightFM).
    Adagrad,
    /// By moments that decay with 0.9 and 0.999, epsilon 1e-8 (Kingma and Ba, ICLR 2015). Lazy: the moments and the
    /// steps that correct their start are of each row and move only with it, since a step of every row after every
    /// batch would cost the whole model.
    Adam,
}

/// Where negatives come from. Entries of the user are no negatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Every item alike.
    Uniform,
    /// Items by their number of entries, as implicit 0.7.3 draws them: takes popularity out of the scores.
    Popularity,
}

/// How to train. The names are those of SQL, except `iterations`, which counts epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// What is minimised.
    pub loss: Loss,
    /// How a row follows its gradient.
    pub optimizer: Optimizer,
    /// Numbers per user and per item, 1 to 2046; 32.
    pub factors: usize,
    /// Above 0, at most 100. Defaults: [`Params::of`].
    pub learning_rate: f64,
    /// Lambda: each update takes off the learning rate times lambda of the rows (and biases) that it touches, the
    /// gradient of half their square; at least 0.
    pub regularization: f64,
    /// Epochs, 1 to 10000. An epoch takes every entry once.
    pub iterations: usize,
    /// Updates whose gradients are computed from the same factors and applied together, added up, 1 to 4096; 1. Larger
    /// ones are for [`Optimizer::Adam`]: each costs further passes over the gradients and learns no faster.
    pub batch_size: usize,
    /// Negatives per entry, 0 to 1000, at least 1 for rankings; the most draws of [`Loss::Warp`].
    pub negatives: usize,
    /// Where negatives come from.
    pub sampling: Sampling,
    /// Whether items, and for [`Loss::Squared`] and [`Loss::Logistic`] users, have a number that is added to the score;
    /// for [`Loss::Squared`] there is the mean of the values, too.
    pub biases: bool,
    /// The part of the factors that is left out of each update, at least 0 and below 1; 0. The others count
    /// `1 / (1 - dropout)` (Srivastava et al., JMLR 2014).
    pub dropout: f64,
    /// Epochs without a better validation score after which training ends, at least 1; 10. Without validation all epochs
    /// are run.
    pub patience: usize,
    /// What the learning rate is multiplied with after each epoch without a better validation score, above 0, at most 1;
    /// 1. Scores of few users are noisy: 0.7 stopped trainings early that 1 brought 10 % further (MovieLens).
    pub decay: f64,
    /// Of the start factors, and of the order and the negatives of every epoch.
    pub seed: u64,
    /// Threads that compute, the caller's among them, at least 1; 1. The result does not depend on it.
    pub threads: usize,
}

impl Loss {
    const ALL: [Loss; 4] = [Self::Squared, Self::Logistic, Self::Bpr, Self::Warp];
    const WORDS: &[&str] = &["squared", "logistic", "bpr", "warp"];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// That of a word; `Error::Word` for any other.
    pub fn parse(word: &str) -> Result<Self> {
        parse("loss", word, Self::ALL, Self::WORDS)
    }

    /// Whether it compares two items of a user: what all items of a user have in common cannot matter.
    pub fn ranks(self) -> bool {
        matches!(self, Self::Bpr | Self::Warp)
    }
}

impl Optimizer {
    const ALL: [Optimizer; 3] = [Self::Sgd, Self::Adagrad, Self::Adam];
    const WORDS: &[&str] = &["sgd", "adagrad", "adam"];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// That of a word; `Error::Word` for any other.
    pub fn parse(word: &str) -> Result<Self> {
        parse("optimizer", word, Self::ALL, Self::WORDS)
    }
}

impl Sampling {
    const ALL: [Sampling; 2] = [Self::Uniform, Self::Popularity];
    const WORDS: &[&str] = &["uniform", "popularity"];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// That of a word; `Error::Word` for any other.
    pub fn parse(word: &str) -> Result<Self> {
        parse("sampling", word, Self::ALL, Self::WORDS)
    }
}

fn parse<T, const N: usize>(
    what: &'static str,
    word: &str,
    all: [T; N],
    allowed: &'static [&'static str],
) -> Result<T> {
    let found = all.into_iter().zip(allowed).find(|(_, known)| **known == word);
    found.map(|(each, _)| each).ok_or_else(|| Error::Word { what, got: word.into(), allowed })
}

impl Params {
    /// The defaults of a loss, chosen by validation on slices of training data only, MovieLens and msweb
    /// (`tests/sgd_reference.rs`); the figures are of these slices.
    ///
    /// * [`Loss::Warp`]: nDCG at 10 of 0.122 and 0.445, against 0.105 and 0.413 with no regularization and 10 draws, as
    ///   LightFM is used, and 0.114 and 0.431 with a fifth of the regularization. Biases are worth 0.025 on msweb and
    ///   nothing on MovieLens. At less regularization, 64 factors won nothing and 16 lost; Adam and plain steps lost.
    /// * [`Loss::Squared`]: the learning rate and the regularization of the tuned SVD of Surprise, with twice the factors
    ///   and epochs: a root mean squared error of 0.847 against 0.851 with 32 factors.
    /// * [`Loss::Bpr`], [`Loss::Logistic`]: learning rate and optimizer of LightFM; for the former twice the rate, without
    ///   which it stays at popularity for long.
    pub fn of(loss: Loss) -> Self {
        let pairs = Self {
            loss,
            optimizer: Optimizer::Adagrad,
            factors: 32,
            learning_rate: 0.05,
            regularization: 0.01,
            iterations: 50,
            batch_size: 1,
            negatives: 1,
            sampling: Sampling::Uniform,
            biases: true,
            dropout: 0.0,
            patience: 10,
            decay: 1.0,
            seed: 0,
            threads: 1,
        };
        match loss {
            Loss::Bpr => Self { learning_rate: 0.1, regularization: 0.005, ..pairs },
            Loss::Warp => Self { regularization: 0.7, negatives: 30, ..pairs },
            Loss::Logistic => Self { negatives: 4, ..pairs },
            Loss::Squared => Self {
                optimizer: Optimizer::Sgd,
                factors: 64,
                learning_rate: 0.005,
                regularization: 0.1,
                iterations: 100,
                negatives: 0,
                ..pairs
            },
        }
    }

    /// `Error::Parameter` for the first parameter outside its range.
    pub fn check(&self) -> Result<()> {
        let error = |name, expected: &str, got: String| {
            Err(Error::Parameter { name, expected: expected.into(), got })
        };
        if !(1..=MAX_FACTORS).contains(&self.factors) {
            return error("factors", "between 1 and 2046", self.factors.to_string());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 100.0) {
            return error("learning_rate", "above 0 and at most 100", self.learning_rate.to_string());
        }
        if !(self.regularization >= 0.0 && self.regularization.is_finite()) {
            return error("regularization", "a finite number, at least 0", self.regularization.to_string());
        }
        if !(1..=MAX_ITERATIONS).contains(&self.iterations) {
            return error("iterations", "between 1 and 10000", self.iterations.to_string());
        }
        if !(1..=MAX_BATCH).contains(&self.batch_size) {
            return error("batch_size", "between 1 and 4096", self.batch_size.to_string());
        }
        if self.loss.ranks() && !(1..=MAX_NEGATIVES).contains(&self.negatives) {
            return error("negatives", "between 1 and 1000", self.negatives.to_string());
        }
        if self.negatives > MAX_NEGATIVES {
            return error("negatives", "between 0 and 1000", self.negatives.to_string());
        }
        if !(self.dropout >= 0.0 && self.dropout < 1.0) {
            return error("dropout", "at least 0 and below 1", self.dropout.to_string());
        }
        if self.patience == 0 {
            return error("patience", "at least 1", self.patience.to_string());
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return error("decay", "above 0 and at most 1", self.decay.to_string());
        }
        if self.threads == 0 {
            return error("threads", "at least 1", self.threads.to_string());
        }
        Ok(())
    }
}
