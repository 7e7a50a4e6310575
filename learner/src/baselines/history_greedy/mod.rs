//! History-greedy: what a supervised policy reaches on the agents' own inputs, without any look ahead.
//!
//! In: the three history windows of a session `[3, N]`; out: the item of the recall set, minus what was shown, whose
//! expected reward is largest now. Each window is summarised by its mean embedding; a small network makes a user vector
//! of the three means; the expected reward of an item is `exp(g * user . unit(item) + b)`, fitted with the Poisson loss on
//! mixed random and own interactions. For a fixed user the exponential is monotone, so the greedy item is Eq 9's: same
//! inputs, same candidates, same class of policies as the low-level agent. Reinforcement learning earns its keep by
//! beating it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | the budget and its ranges |
//! | [`features`] | windows to mean embeddings |
//! | [`tower`] | parameters and forward pass (plain Rust; plain data, any thread) |
//! | [`interactions`] | what was shown and what came of it, the last so many |
//! | [`collect`] | rollouts that fill them |
//! | [`fit`] | one supervised fit |
//! | [`chunk`] | some rows of a minibatch, forward and backward, by hand |
//! | [`gradient`] | the loss of a minibatch and its gradient, from its chunks |
//! | [`adam`] | the optimiser |
//! | [`mod@train`] | the rounds of collecting and fitting |
//! | [`policy`] | the trained policy |
//! | [`mod@file`] | save and load |
//! | [`method`] | behind the seam of all methods |

mod adam;
mod chunk;
mod collect;
pub(in crate::baselines) mod features;
mod file;
mod fit;
mod gradient;
mod interactions;
mod method;
mod policy;
mod settings;
mod tower;
mod train;

pub use method::HistoryGreedyMethod;
pub use policy::{HistoryGreedy, NAME};
pub use settings::Settings;
pub use tower::Tower;
pub use train::{Progress, train};

/// Why there is no history-greedy policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting outside its range: correct it.
    #[error("history-greedy: `{key}` is {value}, expected {expected}")]
    Setting {
        /// Which setting.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The world refused a step: report it, a greedy item is always a candidate.
    #[error("history-greedy: the world refused a rollout")]
    World(#[from] sim::Error),
    /// The session in a slot has shown all its candidates: give it more, or shorter sessions.
    #[error("history-greedy: session {session} has no candidate left to show")]
    NoCandidate {
        /// The session.
        session: common::SessionId,
    },
    /// The progress callback asked to stop.
    #[error("history-greedy: training was interrupted")]
    Interrupted,
    /// The file cannot be read or written.
    #[error("cannot access the history-greedy policy {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no policy, or one for another catalogue: train it again.
    #[error("{path} holds no history-greedy policy that fits: {problem}")]
    Format {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: String,
    },
}
