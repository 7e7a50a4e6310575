//! Where a rollout puts its transitions.
//!
//! In: periods and steps of many sessions, in the order in which they happen; out: whatever stands behind the trait,
//! in production the client's writer, in tests the [`Recorder`]. Owner: one rollout thread.

use std::time::Duration;

use common::{
    SessionId,
    transition::{PeriodStart, Step},
};

use crate::Error;

/// Takes the transitions of a rollout thread. Calls may wait while the service holds writers back; a wait has a
/// deadline, and nothing is ever dropped silently.
pub trait TransitionSink: Send {
    /// Opens the next period of a session: its first, or the one after a period that has had its c steps.
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), Error>;

    /// The next step of the session's open period. A step with an ending closes the session.
    fn step(&mut self, session: SessionId, step: Step) -> Result<(), Error>;

    /// Hands over what was buffered so far without waiting until it is stored. Call it before a pause; full frames
    /// are handed over by themselves.
    fn submit(&mut self) -> Result<(), Error>;

    /// Hands over what was buffered and waits until all of it is stored and can be sampled. Where a shard was given up
    /// since the last flush, [`Error::NotStored`] names, once, the sessions that lost steps with it; all other steps are
    /// stored then.
    fn flush(&mut self) -> Result<(), Error>;

    /// Gives up what was buffered, for a run that was stopped: it will not be handed over.
    fn discard(&mut self) {}

    /// How long calls have waited for the service so far.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

/// One call to a sink.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// [`TransitionSink::begin_period`].
    Period(PeriodStart),
    /// [`TransitionSink::step`].
    Step(SessionId, Step),
}

/// A sink that keeps everything in the order of the calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorder {
    /// The calls so far.
    pub calls: Vec<Recorded>,
}

impl TransitionSink for Recorder {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), Error> {
        self.calls.push(Recorded::Period(start.clone()));
        Ok(())
    }

    fn step(&mut self, session: SessionId, step: Step) -> Result<(), Error> {
        self.calls.push(Recorded::Step(session, step));
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
