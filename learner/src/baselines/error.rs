//! Why there is no fitted method.

use super::history_greedy;

/// Why a method cannot be fitted, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting outside its range: correct it.
    #[error("{method}: `{key}` is {value}, expected {expected}")]
    Setting {
        /// Which method.
        method: &'static str,
        /// Which setting.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Interactions that the method cannot learn from: give it others, or more.
    #[error("{method} cannot learn from these interactions: {problem}")]
    Data {
        /// Which method.
        method: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A method that acts while it learns, without a world to act in.
    #[error("{method} learns by acting: it needs a world, a log alone is not enough")]
    NeedsWorld {
        /// Which method.
        method: &'static str,
    },
    /// The world refused a rollout.
    #[error("the world refused a rollout")]
    World(#[from] sim::Error),
    /// The progress callback asked to stop.
    #[error("{method}: the fit was interrupted")]
    Interrupted {
        /// Which method.
        method: &'static str,
    },
    /// The file cannot be read or written.
    #[error("cannot access {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds another method, or one for another catalogue: fit it again.
    #[error("{path} holds no {method} that fits: {problem}")]
    Format {
        /// Which file.
        path: String,
        /// Which method was expected.
        method: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// History-greedy has errors of its own.
    #[error(transparent)]
    HistoryGreedy(#[from] history_greedy::Error),
}
