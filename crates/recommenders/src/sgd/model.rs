//! What training makes.

use base::budget::{Budget, TRAINING};
use base::control::Control;
use base::error::Result;

use crate::content::Placed;
use crate::factors::{Factors, GLANCE};

/// Numbers that are added to the products of factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Biases {
    /// The mean of the values; 0 but for [`Loss::Squared`](super::Loss::Squared).
    pub mean: f32,
    /// One per user; empty where all items of a user are ranked and it could not matter.
    pub users: Vec<f32>,
    /// One per item.
    pub items: Vec<f32>,
}

/// A trained model: the score of a user for an item is the product of their rows, plus the biases.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Of users and items.
    pub factors: Factors,
    /// Where they were asked for.
    pub biases: Option<Biases>,
}

/// What an optimizer has summed up of the rows, or averaged: of each the mean of its columns' squared gradients. With it a
/// training can go on later.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Squares {
    /// One per user.
    pub users: Vec<f32>,
    /// One per item.
    pub items: Vec<f32>,
}

impl Squares {
    /// Memory of both.
    pub fn bytes(&self) -> u64 {
        (self.users.len() + self.items.len()) as u64 * 4
    }

    /// In the places that content gave them, zeros where there is nothing but content.
    /// [`Squares::bytes`] of the answer are taken from `control` in place of those of this. Errors: `Memory`, `NoMemory`; the
    /// bytes of this are given back then, too.
    pub fn spread(self, placed: &Placed, [users, items]: [usize; 2], control: &Control) -> Result<Squares> {
        let (mut old, mut budget) = (Budget::new(control, TRAINING), Budget::new(control, TRAINING));
        old.adopt(self.bytes());
        let mut side = |squares: Vec<f32>, trained: &Option<Vec<u32>>, rows: usize| -> Result<Vec<f32>> {
            let mut all = budget.zeroed(rows)?;
            match trained {
                Some(trained) => {
                    for (&row, square) in trained.iter().zip(squares) {
                        all[row as usize] = square;
                    }
                }
                None => all.copy_from_slice(&squares),
            }
            Ok(all)
        };
        let users = side(self.users, &placed.trained_users, users)?;
        let items = side(self.items, &placed.trained_items, items)?;
        let spread = Squares { users, items };
        budget.keep(spread.bytes());
        Ok(spread)
    }
}

/// A model and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// That of the best epoch, or of the last one where nothing validates.
    pub model: Model,
    /// After the last epoch; zeros for [`Optimizer::Sgd`](super::Optimizer::Sgd), which sums up nothing.
    pub squares: Squares,
    /// The mean loss of the samples of each epoch, without regularization.
    pub losses: Vec<f64>,
    /// The validation scores of the epochs; empty without validation.
    pub scores: Vec<f64>,
    /// Epochs that were run.
    pub epochs: usize,
    /// The epoch of the model.
    pub best_epoch: usize,
    /// Whether patience ended the training before the last epoch.
    pub converged: bool,
}

impl Fitted {
    /// Memory of the model and of what goes on from it.
    pub fn bytes(&self) -> u64 {
        self.model.bytes() + self.squares.bytes()
    }

    /// The model as [`Model::folded`], and what goes on from it. Their bytes are taken from `control` in place of those of this;
    /// after an error nothing stays taken.
    pub fn folded(self, control: &Control) -> Result<(Factors, Squares)> {
        let squares = self.squares;
        let factors = self.model.folded(control).inspect_err(|_| control.give(squares.bytes()))?;
        Ok((factors, squares))
    }
}

impl Model {
    /// Memory of all numbers.
    pub fn bytes(&self) -> u64 {
        let biases = self.biases.as_ref().map_or(0, |biases| biases.users.len() + biases.items.len());
        self.factors.bytes() + biases as u64 * 4
    }

    /// The score of a user for an item, both of which there must be: an estimate of the value for
    /// [`Loss::Squared`](super::Loss::Squared), of the log odds for [`Loss::Logistic`](super::Loss::Logistic).
    pub fn score(&self, user: u32, item: u32) -> f32 {
        let Factors { factors, users, items } = &self.factors;
        let (user, item) = (user as usize, item as usize);
        let rows = users[user * factors..][..*factors].iter().zip(&items[item * factors..][..*factors]);
        let product: f32 = rows.map(|(a, b)| a * b).sum();
        self.biases.as_ref().map_or(product, |biases| {
            product + biases.mean + biases.users.get(user).unwrap_or(&0.0) + biases.items[item]
        })
    }

    /// Factors whose products alone rank the items of each user as the scores do: the biases of the items become one
    /// more factor, which is 1 for every user. What is the same for all items of a user is left out.
    ///
    /// [`Factors::bytes`] of the answer are taken from `control` in place of those of the model. Errors: `Memory`,
    /// `NoMemory`, `Cancelled`; the bytes of the model are given back then, too.
    pub fn folded(self, control: &Control) -> Result<Factors> {
        let mut old = Budget::new(control, TRAINING);
        old.adopt(self.bytes());
        let Self { factors: Factors { factors, users, items }, biases } = self;
        let Some(biases) = biases else {
            let factors = Factors { factors, users, items };
            old.keep(factors.bytes());
            return Ok(factors);
        };
        let mut budget = Budget::new(control, TRAINING);
        let mut side = |rows: &[f32], last: &dyn Fn(usize) -> f32| -> Result<Vec<f32>> {
            let mut wide = budget.with_capacity(rows.len() / factors * (factors + 1))?;
            for (number, row) in rows.chunks_exact(factors).enumerate() {
                if number.is_multiple_of(GLANCE / super::MAX_FACTORS) {
                    control.check()?;
                }
                wide.extend_from_slice(row);
                wide.push(last(number));
            }
            Ok(wide)
        };
        let users = side(&users, &|_| 1.0)?;
        let items = side(&items, &|item| biases.items[item])?;
        let folded = Factors { factors: factors + 1, users, items };
        budget.keep(folded.bytes());
        Ok(folded)
    }
}
