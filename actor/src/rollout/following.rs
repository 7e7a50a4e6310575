//! The newest weights, taken between two choices, and the bound on how old those in use may be.
//!
//! In: a feed of versions, what is known of them; out: a rollout whose goals and items are chosen by a policy that was
//! known to be the newest at most so long before the world has answered. Invariant: an age is never taken too low, whatever
//! stopped or delayed this process or what was sent to it.

use std::time::{Duration, Instant};

use node::metrics::{self, HistogramHandle};

use super::Rollout;
use crate::{
    Error, VersionedPolicy,
    weights::{Feed, Freshness},
};

/// Where newer weights come from.
#[derive(Clone, Debug)]
pub struct NewWeights {
    /// The newest version.
    pub feed: Feed<VersionedPolicy>,
    /// Nothing is chosen by weights that have not been known to be the newest for longer than this.
    pub max_staleness: Option<(Freshness, Duration)>,
}

impl NewWeights {
    /// Of a learner in the same process, which is never out of reach.
    pub fn local(feed: Feed<VersionedPolicy>) -> Self {
        Self { feed, max_staleness: None }
    }
}

/// The weights of a rollout and what is known of those in use.
pub(super) struct Following {
    weights: NewWeights,
    /// The version in use, or one before it, was the newest then; `None`: not known yet.
    newest_at: Option<Instant>,
    ages: HistogramHandle,
    delays: HistogramHandle,
}

impl Rollout {
    /// Takes the newest weights of a feed from now on.
    pub fn follow(&mut self, weights: NewWeights) {
        let ages = metrics::ACTOR_POLICY_AGE_SECONDS.with([]);
        let delays = metrics::ACTOR_WEIGHTS_DELAY_SECONDS.with([]);
        self.following = Some(Following { weights, newest_at: None, ages, delays });
    }

    /// Changes to the newest weights if there are newer ones.
    pub(crate) fn take_newest(&mut self) -> Result<(), Error> {
        let Some(Following { weights, delays, .. }) = &mut self.following else { return Ok(()) };
        if !weights.feed.has_changed().map_err(|_| Error::BroadcastEnded)? {
            return Ok(());
        }
        let newest = weights.feed.borrow_and_update().clone();
        let Some(newest) = newest.filter(|newest| newest.version > self.policy.version) else {
            return Ok(());
        };
        let known = weights.max_staleness.as_ref().and_then(|(freshness, _)| freshness.of(newest.version));
        if let Some(known) = known {
            delays.record(known.published_at.elapsed().as_secs_f64());
        }
        self.set_policy(newest)
    }

    /// For how long the weights in use may not have been the newest, and the longest time allowed.
    fn age(&mut self) -> Option<(Duration, Duration)> {
        let following = self.following.as_mut()?;
        let (freshness, most) = following.weights.max_staleness.as_ref()?;
        // Once another version is the newest this one only ages.
        if let Some(known) = freshness.of(self.policy.version) {
            following.newest_at = Some(known.newest_at);
        }
        Some((following.newest_at.map_or(Duration::MAX, |at| at.elapsed()), *most))
    }

    /// Whether nothing may be chosen by the weights in use.
    pub(crate) fn is_too_old(&mut self) -> bool {
        self.age().is_some_and(|(age, most)| age > most)
    }

    /// Whether a choice that has just been made is void: its weights became too old meanwhile.
    pub(super) fn is_void(&mut self) -> bool {
        let void = self.is_too_old();
        if void {
            metrics::ACTOR_STALE_CHOICES.increment(1, ["choice"]);
        }
        void
    }

    /// The world has answered: its answers are void if the weights became too old meanwhile.
    pub(super) fn check_answers(&mut self) -> Result<(), Error> {
        let Some((age, most)) = self.age() else { return Ok(()) };
        if age > most {
            metrics::ACTOR_STALE_CHOICES.increment(1, ["answer"]);
            return Err(Error::StalePolicy { age });
        }
        if let Some(following) = &self.following {
            following.ages.record(age.as_secs_f64());
        }
        Ok(())
    }
}
