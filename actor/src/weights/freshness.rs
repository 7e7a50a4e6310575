//! Up to when a version of the weights is known to have been the newest.
//!
//! In: what the subscription hears, on this machine's clock; out: instants, which rollout threads compare with
//! `actor.max_staleness_seconds` around every choice. A learner that is silent, unreachable or ahead lets the age grow, and
//! so does a process that was stopped: what had been on its way meanwhile counts from when it was sent. Shared by all
//! threads of an actor; a lock is held for a copy only.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::PolicyVersion;

/// What is known of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub version: PolicyVersion,
    /// It was the newest then, and perhaps is no more. Never later than it was in truth.
    pub newest_at: Instant,
    /// When it was published; never later than in truth.
    pub published_at: Instant,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Freshness(Arc<Mutex<Known>>);

impl Default for Freshness {
    /// Version 0, fresh now.
    fn default() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Known { version: 0, newest_at: now, published_at: now })))
    }
}

impl Freshness {
    /// Takes note of the newest version.
    pub fn renew(&self, known: Known) {
        let mut last = self.lock();
        let newest_at = known.newest_at.max(last.newest_at);
        *last = Known { newest_at, ..known };
    }

    /// What is known of a version, if no other is the newest.
    pub fn of(&self, version: PolicyVersion) -> Option<Known> {
        Some(*self.lock()).filter(|known| known.version == version)
    }

    /// For how long the newest version here may not have been the newest.
    pub fn age(&self) -> Duration {
        self.lock().newest_at.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Held for a copy only, in which nothing can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
