//! Rollouts that fill the interactions.
//!
//! In: a world, a policy or none; out: interactions. Sessions that end are replaced by the next; those that go on are
//! taken up by the next call. Exploration draws from the stream (session, step), like everything in the world.

use common::{Feedback, ItemId, SessionId, seed::Streams, transition::Ending};
use sim::{Environment, Outcome};

use super::{Error, HistoryGreedy, interactions::Interactions};
use crate::{baselines::explore::explore, threads::Threads};

/// What a collection came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collected {
    /// Interactions added.
    pub(super) interactions: usize,
    /// Their mean reward.
    pub(super) mean_reward: f64,
}

/// The rollouts of one training.
pub(super) struct Collector<'a> {
    world: &'a mut dyn Environment,
    threads: Option<&'a Threads>,
    explore: Streams,
    next_session: SessionId,
    actions: Vec<ItemId>,
    outcomes: Vec<Outcome>,
    windows: Vec<ItemId>,
}

impl<'a> Collector<'a> {
    /// Begins a session in every slot.
    pub(super) fn new(
        world: &'a mut dyn Environment,
        threads: Option<&'a Threads>,
        first_session: SessionId,
        seed: u64,
    ) -> Self {
        let n_slots = world.n_slots();
        let mut collector = Self {
            explore: Streams::new(seed, "history-greedy/explore"),
            next_session: first_session,
            actions: vec![ItemId::PADDING; n_slots],
            outcomes: vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots],
            windows: Vec::new(),
            world,
            threads,
        };
        (0..n_slots).for_each(|slot| collector.begin(slot));
        collector
    }

    /// Adds at least `n` interactions, whole steps of all slots. Each shows a random item with probability `epsilon`,
    /// always without a policy.
    pub(super) fn collect(
        &mut self,
        mut policy: Option<&mut HistoryGreedy>,
        epsilon: f32,
        n: usize,
        data: &mut Interactions,
    ) -> Result<Collected, Error> {
        let n_slots = self.world.n_slots();
        let row = common::history::N_WINDOWS * self.world.window();
        let epsilon = if policy.is_some() { epsilon } else { 1.0 };
        let mut reward = 0.0;
        let n_steps = n.div_ceil(n_slots);
        for _ in 0..n_steps {
            if let Some(policy) = &mut policy {
                policy.choose_greedy(&*self.world, self.threads, &mut self.actions)?;
            }
            for slot in 0..n_slots {
                explore(&*self.world, &self.explore, (slot, epsilon), &mut self.actions[slot])
                    .map_err(|session| Error::NoCandidate { session })?;
            }
            // A step shifts the windows; what the policy saw is what is learned from.
            self.windows.clear();
            self.windows.extend_from_slice(self.world.windows());
            self.world.step(&self.actions, &mut self.outcomes)?;
            for slot in 0..n_slots {
                let Outcome { feedback, ending } = self.outcomes[slot];
                data.push(&self.windows[slot * row..][..row], self.actions[slot], feedback);
                reward += f64::from(feedback.reward());
                if ending != Ending::None {
                    self.begin(slot);
                }
            }
        }
        let interactions = n_steps * n_slots;
        Ok(Collected { interactions, mean_reward: reward / interactions as f64 })
    }

    fn begin(&mut self, slot: usize) {
        self.world.begin(slot, self.next_session);
        self.next_session += 1;
    }
}
