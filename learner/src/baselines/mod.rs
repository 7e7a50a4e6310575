//! Policies to compare with, behind one seam.
//!
//! In: interactions of a log or of a world ([`InteractionLog`]); out: a policy for rollouts and a ranker for logged lists.
//! docs/methods has a page for each method.
//!
//! | module | what it holds |
//! |---|---|
//! | [`method`] | the seam: what is fitted to what, and what comes of it |
//! | [`methods`] | the list of all methods, with their budgets |
//! | [`ranker`] | scores of candidates in a state of a session |
//! | [`greedy`] | the policy of a ranker: the best candidate that is left |
//! | [`interaction_log`] | sessions of an imported log, or of a world under its logging policy |
//! | [`references`] | random, popularity, logging |
//! | [`agents`] | trained agents of any preset: their policy, and a ranker by the low-level critic |
//! | [`cf`] | collaborative filtering, user-based and item-based |
//! | [`fm`] | a factorisation machine |
//! | [`wide_deep`] | Wide & Deep |
//! | [`gru`], [`gru4rec`] | recurrent networks: pointwise, and next click |
//! | [`deers`] | a Q-network over positive and negative feedback with competing items (Zhao et al. 2018) |
//! | [`history_greedy`] | the myopic bar: a supervised two-tower policy on the agents' own inputs |
//! | `rows` | the steps of a log, ready for minibatches |
//! | `network` | trainable parameters and their optimisers |
//! | `explore` | random items of methods that act while they learn |
//! | `file` | fitted methods on disk |
//!
//! The privileged oracles are no methods: they live beside their world in `sim`.

pub mod agents;
pub mod cf;
#[cfg(feature = "torch")]
pub mod deers;
mod error;
mod explore;
mod file;
pub mod fm;
pub mod greedy;
#[cfg(feature = "torch")]
pub mod gru;
#[cfg(feature = "torch")]
pub mod gru4rec;
pub mod history_greedy;
pub mod interaction_log;
pub mod method;
pub mod methods;
#[cfg(feature = "torch")]
mod network;
pub mod ranker;
pub mod references;
mod rows;
#[cfg(test)]
mod test_world;
#[cfg(feature = "torch")]
pub mod wide_deep;

pub use error::Error;
pub use greedy::GreedyRanker;
pub use interaction_log::{Clickless, InteractionLog, LoggedSession, Step};
pub use method::{Fitted, Method, OnProgress, Progress, TrainingData};
pub use methods::Budget;
pub use ranker::{Ranker, SessionState};
