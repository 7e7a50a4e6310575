//! Rollouts that fill the memory.
//!
//! In: a world, the policy of the moment; out: whole sessions in the memory. Sessions that end are replaced by the next;
//! those that go on are taken up by the next step. Exploration draws from the stream (session, step), like everything in
//! the world.

use common::{
    Feedback, ItemId, SessionId,
    history::N_WINDOWS,
    seed::Streams,
    transition::{Ending, Step},
};
use sim::{Environment, Outcome};

use super::{
    Deers,
    memory::{Episode, Memory},
    policy::no_candidate,
};
use crate::baselines::{Error, explore::explore};

/// The rollouts of one training.
pub(super) struct Collector<'a> {
    world: &'a mut dyn Environment,
    explore: Streams,
    next_session: SessionId,
    /// `[E]` the sessions in progress.
    episodes: Vec<Episode>,
    actions: Vec<ItemId>,
    outcomes: Vec<Outcome>,
}

impl<'a> Collector<'a> {
    /// Begins a session in every slot.
    pub(super) fn new(world: &'a mut dyn Environment, first_session: SessionId, seed: u64) -> Self {
        let n_slots = world.n_slots();
        let mut collector = Self {
            explore: Streams::new(seed, "deers/explore"),
            next_session: first_session,
            episodes: Vec::with_capacity(n_slots),
            actions: vec![ItemId::PADDING; n_slots],
            outcomes: vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; n_slots],
            world,
        };
        for slot in 0..n_slots {
            let episode = collector.begin(slot);
            collector.episodes.push(episode);
        }
        collector
    }

    /// Sessions side by side, steps of a call of [`Self::step`].
    pub(super) fn n_slots(&self) -> usize {
        self.world.n_slots()
    }

    /// One step of all sessions; each shows a random item with probability `epsilon`. Sessions that end with it go into the
    /// memory. Returns the sum of the rewards.
    pub(super) fn step(
        &mut self,
        policy: &mut Deers,
        epsilon: f32,
        memory: &mut Memory,
    ) -> Result<f64, Error> {
        // Nobody's own choice is seen where all items are random.
        if epsilon < 1.0 {
            policy.choose_greedy(&*self.world, &mut self.actions)?;
        }
        for slot in 0..self.n_slots() {
            explore(&*self.world, &self.explore, (slot, epsilon), &mut self.actions[slot])
                .map_err(no_candidate)?;
        }
        self.world.step(&self.actions, &mut self.outcomes)?;
        let mut reward = 0.0;
        for slot in 0..self.n_slots() {
            let Outcome { feedback, ending } = self.outcomes[slot];
            reward += f64::from(feedback.reward());
            self.episodes[slot].steps.push(Step { item: self.actions[slot], feedback, ending });
            if ending != Ending::None {
                let next = self.begin(slot);
                memory.push(std::mem::replace(&mut self.episodes[slot], next));
            }
        }
        Ok(reward)
    }

    fn begin(&mut self, slot: usize) -> Episode {
        self.world.begin(slot, self.next_session);
        self.next_session += 1;
        let row = N_WINDOWS * self.world.window();
        Episode {
            windows: self.world.windows()[slot * row..][..row].to_vec(),
            recall: self.world.recall()[slot].clone(),
            steps: Vec::new(),
        }
    }
}
