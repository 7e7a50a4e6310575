//! What can go wrong, sorted by what the caller does next.

use std::{sync::Arc, time::Duration};

use common::SessionId;

/// An error of the replay service or its client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Input that is wrong by itself: fix it. Nothing of it was stored. On the wire INVALID_ARGUMENT.
    #[error("{field}: {problem}")]
    Invalid {
        /// Field of the message, record or settings.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A wait that was longer than the caller allowed: try again, or look at who is waited for. On the wire
    /// DEADLINE_EXCEEDED.
    #[error("gave up after {waited:?}: {reason}")]
    Deadline {
        /// How long it waited.
        waited: Duration,
        /// On what, with numbers.
        reason: String,
    },
    /// The shard refused or failed a call. Its status says why.
    #[error("replay shard {shard}: {message} ({code:?})")]
    Shard {
        /// Its address; within a process its index.
        shard: String,
        /// gRPC status code.
        code: tonic::Code,
        /// What the shard says.
        message: String,
    },
    /// The connection or the task behind it has ended: open again.
    #[error("{0} has ended")]
    Closed(String),
    /// The shard that held a session in progress is gone, or has lost a part of it: the session cannot go on. Begin
    /// another one. Said once a session.
    #[error("session {session} was lost with its replay shard: begin another one")]
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// Replay shards are gone with steps that they had not acknowledged; everything else is stored. Said once a session, by
    /// the next flush, unless [`Error::SessionLost`] has said it. Those of the sessions that are in progress cannot go on:
    /// their next call says so too.
    #[error("steps of {} sessions, the first of them {}, were lost with their replay shard and are not stored",
        sessions.len(), sessions.first().copied().unwrap_or_default())]
    NotStored {
        /// The sessions, ascending.
        sessions: Vec<SessionId>,
    },
    /// The shard's data directory cannot be used. Says what to do.
    #[error("{0}")]
    Journal(Arc<crate::journal::Error>),
    /// A panic left the shard in a state that cannot be trusted. What it acknowledged is in its data directory: start it
    /// again.
    #[error("a panic has damaged the shard; what it acknowledged is in its data directory: start it again")]
    Panicked,
    /// The shard has no memory for more: give it more, or send less. On the wire RESOURCE_EXHAUSTED.
    #[error("{0}")]
    Full(String),
    /// A newer learner leads the run: this one must end.
    #[error("a newer learner leads the run: {0}")]
    Fenced(String),
    /// A snapshot that is damaged, or of another run, shape or size.
    #[error("the snapshot cannot be restored: {0}")]
    Snapshot(String),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}

impl From<crate::journal::Error> for Error {
    fn from(error: crate::journal::Error) -> Self {
        Self::Journal(Arc::new(error))
    }
}
