//! Everything that can go wrong in this crate.

/// The result of a fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error whose text is the primary message that a user reads: one line, factual, no full stop.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The caller asked to stop.
    #[error("canceled")]
    Cancelled,
    /// A parameter is outside its range.
    #[error("\"{name}\" must be {expected}, got {got}")]
    Parameter {
        /// Name of the parameter as the user writes it.
        name: &'static str,
        /// The range in words: `between 1 and 2048`.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A word that is none of the known ones.
    #[error("unrecognized {what} \"{got}\"")]
    Word {
        /// What the word stands for: `holdout`.
        what: &'static str,
        /// What was given.
        got: String,
        /// The words that would have been right.
        allowed: &'static [&'static str],
    },
    /// The memory budget would be exceeded.
    #[error("{task} needs about {needed} MB, more than the {limit} MB allowed")]
    Memory {
        /// What was being built: `reading the interactions`.
        task: &'static str,
        /// Megabytes in use together with what was asked for.
        needed: u64,
        /// Megabytes allowed.
        limit: u64,
        /// What the user can do, as a sentence.
        advice: &'static str,
    },
    /// The system refused memory that the budget allowed.
    #[error("out of memory while {task}")]
    NoMemory {
        /// What was being built.
        task: &'static str,
    },
    /// The input holds nothing to learn from.
    #[error("no usable interactions")]
    NoData,
    /// The input exceeds what the representation can hold.
    #[error("too many {what}: at most {limit}")]
    TooMany {
        /// What there is too much of: `users`.
        what: &'static str,
        /// The most that fits.
        limit: u64,
    },
    /// Factors left the finite numbers.
    #[error("training diverged after {iterations} iterations")]
    Diverged {
        /// Completed iterations.
        iterations: usize,
    },
    /// Values whose distances are no numbers.
    #[error("the values of a feature are too far apart")]
    TooFar,
    /// The image was written by a newer version.
    #[error("model format {0} is not supported")]
    Format(u32),
    /// The image holds a kind of model that the library does not have.
    #[error("this pg_persona does not know the kind of the model")]
    UnknownKind,
    /// The image is damaged.
    #[error("invalid model data: {0}")]
    Corrupted(&'static str),
}

/// A sum or a count left the numbers that its type holds: what Postgres calls out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;
