//! Noise of the rollouts (D3). In: goals, virtual actions, recall sets; out: noisy goals, items to show.
//!
//! Every draw is addressed by (session, step) in its own stream, so a session explores alike whatever the batch, the
//! thread or the process around it. Off in every evaluation: an evaluation uses [`crate::Chooser`] alone.

use common::{
    ItemId, RecallSet, SessionId,
    config::ExplorationConfig,
    seed::{Rng, Streams},
};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::Error;

/// One step in so many also asks what would have been shown without noise.
const SAMPLE_EVERY: u64 = 64;

/// Where in a session a draw belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The session.
    pub session: SessionId,
    /// Step of the session, from 0.
    pub step: u64,
}

/// How often exploration did something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoiseCounts {
    /// Steps taken.
    pub steps: u64,
    /// Steps that showed a random candidate.
    pub random: u64,
    /// Steps with action noise for which the item without noise was also determined, about one in 64.
    pub sampled: u64,
    /// Of those, steps where noise changed the item.
    pub changed: u64,
}

impl std::ops::AddAssign for NoiseCounts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.random += other.random;
        self.sampled += other.sampled;
        self.changed += other.changed;
    }
}

/// A step of E sessions.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Environment steps of the whole run so far; below `random_steps` all items are random.
    pub run_step: u64,
    /// `[E]`
    pub addresses: &'a [Address],
    /// `[E]`
    pub recall: &'a [RecallSet],
}

/// Applies the settings of `[exploration]`. Shared between threads.
#[derive(Clone, Debug)]
pub struct Explorer {
    config: ExplorationConfig,
    bound: f32,
    goals: Streams,
    actions: Streams,
    items: Streams,
}

impl Explorer {
    /// Exploration under the run's seed, with goals and actions in (-bound, bound).
    pub fn new(config: &ExplorationConfig, bound: f32, seed: u64) -> Self {
        Self {
            config: config.clone(),
            bound,
            goals: Streams::new(seed, "exploration/goals"),
            actions: Streams::new(seed, "exploration/actions"),
            items: Streams::new(seed, "exploration/items"),
        }
    }

    /// Adds noise to a session's goals `[M, n]`.
    pub fn perturb_goals(&self, at: Address, goals: &mut [f32]) {
        self.perturb(&self.goals, self.config.goal_noise, at, goals);
    }

    /// Adds noise to a session's virtual action `[n]`.
    pub fn perturb_action(&self, at: Address, action: &mut [f32]) {
        self.perturb(&self.actions, self.config.action_noise, at, action);
    }

    /// The random candidate to show instead of the policy's; `None` on a step that is the policy's, or if no candidate
    /// is left.
    pub fn random_item(&self, run_step: u64, at: Address, recall: &RecallSet) -> Option<ItemId> {
        let always = run_step < self.config.random_steps;
        if recall.n_left() == 0 || (!always && self.config.random_items == 0.0) {
            return None;
        }
        let mut rng = self.items.at(at.session, at.step);
        let chance: f32 = rng.random();
        if !always && chance >= self.config.random_items {
            return None;
        }
        let position = recall.nth_left(rng.random_range(0..recall.n_left()))?;
        Some(recall.candidates()[position])
    }

    /// The items `[E]` to show: a random candidate, or what `map` makes of the virtual actions `[E, n]` (Eq 9), to which
    /// noise is added in place. `map` is given the row, the action `[n]` and the recall set.
    ///
    /// # Errors
    /// [`Error::NoCandidate`] with the row of a session that has shown everything.
    pub fn choose(
        &self,
        turn: Turn<'_>,
        actions: &mut [f32],
        mut map: impl FnMut(usize, &[f32], &RecallSet) -> Option<ItemId>,
        items: &mut [ItemId],
    ) -> Result<NoiseCounts, Error> {
        let n_sessions = items.len();
        assert_eq!(turn.addresses.len(), n_sessions, "one address a session");
        assert_eq!(turn.recall.len(), n_sessions, "one recall set a session");
        let mut counts = NoiseCounts::default();
        if n_sessions == 0 {
            return Ok(counts);
        }
        let n = actions.len() / n_sessions;
        for (row, action) in actions.chunks_exact_mut(n).enumerate() {
            let (at, recall) = (turn.addresses[row], &turn.recall[row]);
            counts.steps += 1;
            if let Some(item) = self.random_item(turn.run_step, at, recall) {
                counts.random += 1;
                items[row] = item;
                continue;
            }
            let sampled = self.config.action_noise > 0.0 && is_sampled(at);
            let quiet = sampled.then(|| map(row, action, recall)).flatten();
            self.perturb_action(at, action);
            items[row] = map(row, action, recall).ok_or(Error::NoCandidate { row })?;
            if let Some(quiet) = quiet {
                counts.sampled += 1;
                counts.changed += u64::from(quiet != items[row]);
            }
        }
        Ok(counts)
    }

    /// `x += std B N(0, 1)`, kept strictly inside (-B, B).
    fn perturb(&self, streams: &Streams, std: f32, at: Address, values: &mut [f32]) {
        if std == 0.0 {
            return;
        }
        // A generator of its own: M n normals may need more words than an address holds.
        let mut rng = Rng::from_seed(streams.at(at.session, at.step).random());
        let limit = self.bound.next_down();
        for value in values {
            let normal: f32 = StandardNormal.sample(&mut rng);
            *value = (*value + std * self.bound * normal).clamp(-limit, limit);
        }
    }
}

/// Chosen by address alone, so that what is counted does not depend on the batch.
fn is_sampled(at: Address) -> bool {
    at.session.wrapping_add(at.step).is_multiple_of(SAMPLE_EVERY)
}
