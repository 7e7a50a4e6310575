//! What rollouts bring, counted. All counts are exact; the reward follows from them.

use std::ops::AddAssign;

use agent::NoiseCounts;
use common::{Feedback, transition::Ending};
use serde::{Deserialize, Serialize};

/// Counts over some steps of some sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Environment steps: one item shown in one session.
    pub steps: u64,
    /// Clicks without an order.
    pub clicks_only: u64,
    /// Orders.
    pub orders: u64,
    /// Sessions that ended, in either way.
    pub sessions: u64,
    /// Sessions that the user left.
    pub left: u64,
    /// Steps that showed a random candidate.
    pub random_items: u64,
    /// Steps for which the item without action noise was determined too, about one in 64.
    pub noise_sampled: u64,
    /// Of those, steps where noise changed the item.
    pub noise_changed: u64,
}

impl Counts {
    pub(crate) fn of_noise(noise: NoiseCounts) -> Self {
        Self {
            random_items: noise.random,
            noise_sampled: noise.sampled,
            noise_changed: noise.changed,
            ..Self::default()
        }
    }

    /// Adds one step.
    pub(crate) fn add_step(&mut self, feedback: Feedback, ending: Ending) {
        self.steps += 1;
        self.clicks_only += u64::from(feedback == Feedback::Click);
        self.orders += u64::from(feedback == Feedback::Order);
        self.sessions += u64::from(ending != Ending::None);
        self.left += u64::from(ending == Ending::Terminated);
    }

    /// What has come since an earlier state of the same counts.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            steps: self.steps - earlier.steps,
            clicks_only: self.clicks_only - earlier.clicks_only,
            orders: self.orders - earlier.orders,
            sessions: self.sessions - earlier.sessions,
            left: self.left - earlier.left,
            random_items: self.random_items - earlier.random_items,
            noise_sampled: self.noise_sampled - earlier.noise_sampled,
            noise_changed: self.noise_changed - earlier.noise_changed,
        }
    }

    /// Field by field the larger: what was counted once is not taken back, though a part of the sum may be out of reach.
    #[must_use]
    pub fn at_least(self, earlier: Self) -> Self {
        Self {
            steps: self.steps.max(earlier.steps),
            clicks_only: self.clicks_only.max(earlier.clicks_only),
            orders: self.orders.max(earlier.orders),
            sessions: self.sessions.max(earlier.sessions),
            left: self.left.max(earlier.left),
            random_items: self.random_items.max(earlier.random_items),
            noise_sampled: self.noise_sampled.max(earlier.noise_sampled),
            noise_changed: self.noise_changed.max(earlier.noise_changed),
        }
    }

    /// Σ r_ex.
    pub fn reward(&self) -> f64 {
        self.clicks_only as f64 * f64::from(Feedback::Click.reward())
            + self.orders as f64 * f64::from(Feedback::Order.reward())
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.clicks_only += other.clicks_only;
        self.orders += other.orders;
        self.sessions += other.sessions;
        self.left += other.left;
        self.random_items += other.random_items;
        self.noise_sampled += other.noise_sampled;
        self.noise_changed += other.noise_changed;
    }
}
