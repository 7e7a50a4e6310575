//! What ends a rollout.

use common::SessionId;

/// An error of an actor. None of them is hidden: a thread that meets one ends the run with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or a part that does not fit the others.
    #[error("{what}: {problem}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Why it does not fit.
        problem: String,
    },
    /// The world refused an action.
    #[error("the world refused a step")]
    World(#[from] sim::Error),
    /// The replay client gave up.
    #[error("cannot hand transitions to the replay service")]
    Replay(#[from] replay::Error),
    /// A session without candidates that were not shown: sessions are longer than their candidate sets.
    #[error("session {session} has no candidate left to show")]
    NoCandidate {
        /// The session.
        session: SessionId,
    },
    /// The policy cannot be made or cannot act.
    #[error("policy")]
    Agent(#[from] agent::Error),
    /// A saved state of another rollout, version or size.
    #[error("the saved state of the rollout cannot be restored: {0}")]
    State(String),
    /// The weight broadcast failed.
    #[error("weight broadcast")]
    Weights(#[from] crate::weights::Error),
    /// No more weights will come while rollouts go on: stop the rollouts before the publisher.
    #[error("the weight broadcast ended while the rollouts were running")]
    BroadcastEnded,
    /// The weights became too old while a step was under way: the process was stopped, or the world took too long.
    #[error("a step took so long that its weights are {age:?} old, more than actor.max_staleness_seconds")]
    StalePolicy {
        /// For how long they may not have been the newest.
        age: std::time::Duration,
    },
    /// The run does not want this actor: its settings, its token or its schema are others.
    #[error("the run refused this actor: {reason} ({code:?})")]
    Refused {
        /// gRPC status code.
        code: tonic::Code,
        /// What the learner says.
        reason: String,
    },
    /// The system gives no thread.
    #[error("cannot start rollout thread {thread}")]
    Spawn {
        /// Its number, from 0.
        thread: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A rollout thread failed.
    #[error("rollout thread {thread} failed")]
    Thread {
        /// Its number, from 0.
        thread: usize,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A rollout thread panicked.
    #[error("rollout thread {thread} panicked: {message}")]
    Panic {
        /// Its number, from 0.
        thread: usize,
        /// What it said.
        message: String,
    },
}
