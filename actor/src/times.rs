//! Where a rollout's time goes. In: the clock; out: wall time by part, never part of a result.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

/// Wall time of a rollout by part, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Goals, virtual actions, noise, action mapping.
    pub forward: Duration,
    /// The world: steps, and the beginnings of sessions.
    pub environment: Duration,
    /// Handing transitions over to the sink, without waits.
    pub write: Duration,
    /// Waiting for the sink: the replay holds whoever is ahead.
    pub wait: Duration,
}

impl Times {
    /// What has come since an earlier state of the same times.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            forward: self.forward.saturating_sub(earlier.forward),
            environment: self.environment.saturating_sub(earlier.environment),
            write: self.write.saturating_sub(earlier.write),
            wait: self.wait.saturating_sub(earlier.wait),
        }
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        self.forward += other.forward;
        self.environment += other.environment;
        self.write += other.write;
        self.wait += other.wait;
    }
}

/// A clock that is read at the end of every part.
#[derive(Debug)]
pub(crate) struct Lap(Instant);

impl Lap {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the last reading.
    pub(crate) fn read(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
