//! How long ago the weights in use were last known to be the newest.
//!
//! In: the subscription's news; out: an age, which rollout threads compare with `actor.max_staleness_seconds` before every
//! step. A learner that is silent, unreachable or ahead lets the age grow. Shared by all threads of an actor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Freshness {
    started: Instant,
    /// Milliseconds from the start to when the weights were last known to be the newest.
    last: Arc<AtomicU64>,
}

impl Default for Freshness {
    /// Fresh now.
    fn default() -> Self {
        Self { started: Instant::now(), last: Arc::default() }
    }
}

impl Freshness {
    /// The weights are the newest now.
    pub fn renew(&self) {
        // Relaxed: it guards no other memory.
        self.last.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// Since when they may not be.
    pub fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)))
    }
}
