//! Rollouts of frozen policies without exploration, and what may be concluded from them.
//!
//! In: an [`EvaluatedPolicy`] and a way to build worlds; out: an [`EvaluationResult`], with 95% intervals over sessions.
//! Every method plays the same sessions with the same random draws (common random numbers), so that differences are
//! paired by session.
//!
//! | module | what it holds |
//! |---|---|
//! | [`policy`] | the one trait of all compared methods |
//! | [`agreement`] | whether the critic ranks items as the truth does |
//! | [`agent_policy`] | MaHRL's agents behind it |
//! | `reference` | the worlds' references behind it |
//! | [`rollout`] | the sessions of a policy, over several threads |
//! | [`record`] | what is kept of a session |
//! | [`result`] | rewards, rates and curves of a method |
//! | [`statistics`] | bootstrap intervals over sessions, users and seeds; corrected p-values |
//! | [`comparison`] | paired differences, normalised scores, the table, JSON |
//! | [`offline`] | logged sessions ranked anew, and off-policy estimates (Table 2) |
//! | [`returns`] | Monte-Carlo returns of both levels, to hold beside Q |

pub mod agent_policy;
pub mod agreement;
pub mod comparison;
pub mod offline;
pub mod policy;
pub mod record;
mod reference;
pub mod result;
pub mod returns;
pub mod rollout;
pub mod statistics;

#[cfg(test)]
mod test_world;

pub use agent_policy::AgentPolicy;
pub use agreement::rank_agreement;
pub use comparison::{Anchors, Comparison};
pub use policy::{EvaluatedPolicy, Hierarchy};
pub use record::SessionRecord;
pub use result::EvaluationResult;
pub use returns::{LevelReturn, MonteCarloReturns};
pub use rollout::{
    EvaluationSettings, Played, Rollouts, Users, Worlds, evaluate, evaluate_watched, roll_out,
};
pub use statistics::Estimate;

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting outside its range.
    #[error("evaluation setting `{key}` is {value}: {expected}")]
    Setting {
        /// Which setting.
        key: &'static str,
        /// What it is set to.
        value: usize,
        /// What it may be.
        expected: &'static str,
    },
    /// A world that could not be built, or that refused a policy's choice.
    #[error("the world failed under policy `{policy}`")]
    World {
        /// The policy that was evaluated.
        policy: String,
        /// Why.
        #[source]
        source: sim::Error,
    },
    /// A world that does not cut sessions at the length asked for.
    #[error("session {session} goes on after {length} steps, where the world should have ended it")]
    Endless {
        /// The session.
        session: common::SessionId,
        /// Steps asked for.
        length: usize,
    },
    /// A policy that cannot choose.
    #[error("policy `{policy}` cannot choose: {problem}")]
    Policy {
        /// Its name.
        policy: String,
        /// Why.
        problem: String,
    },
    /// Results that cannot be compared session by session.
    #[error(
        "`{first}` and `{second}` were not evaluated on the same sessions: their differences are not paired"
    )]
    NotPaired {
        /// One result.
        first: String,
        /// The other.
        second: String,
    },
    /// A comparison that lacks a result it refers to.
    #[error("the comparison has no result of `{0}`")]
    Missing(String),
    /// A log on which no order is better than another.
    #[error("no session of {log} has a click: there is nothing to rank")]
    NoClick {
        /// The log.
        log: String,
    },
    /// A text that is no comparison.
    #[error("cannot read the comparison")]
    Json(#[source] serde_json::Error),
}
