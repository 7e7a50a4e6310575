//! The rollout loop (Algorithm 1, lines 5-23): sessions in, transitions out, weights from the learner.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rollout`] | one thread's sessions: goals, actions, steps, the stream of periods; saved and restored |
//! | [`run`] | rollout threads that run freely, with a budget, a stop flag and hot-swapped weights |
//! | [`weights`] | the subscription to the learner's weights |
//! | [`sessions`] | which sessions an actor plays |
//! | [`process`] | the life of an actor process: it joins, rolls out, and joins again after whatever breaks |
//! | `join` | how an actor enters a run |
//! | [`cli`] | the command line of `actor` |
//! | [`counts`] | what rollouts bring, counted |
//! | [`times`] | where their time goes |
//!
//! In mode `lockstep` the learner calls [`Rollout::step`] itself; in mode `async` [`Actors`] do.

pub mod cli;
pub mod counts;
mod error;
#[cfg(test)]
#[path = "../../tests/src/fuzz.rs"]
mod fuzz;
mod join;
mod policy;
pub mod process;
pub mod rollout;
pub mod run;
pub mod sessions;
pub mod times;
pub mod weights;

#[cfg(test)]
mod test_rollout;
#[cfg(test)]
mod test_world;

pub use counts::Counts;
pub use error::Error;
pub use policy::VersionedPolicy;
pub use rollout::{NewWeights, Origin, Rollout, Share};
pub use run::{Actors, Progress, RolloutThread};
pub use times::Times;
