//! MaHRL as a ranker: the low-level critic's value of each item (Eq 8).
//!
//! In: a session's windows and how many steps it has; out: Q^l(s, item), or Q^l([s; g; i], item) where goals are part of
//! the state. The goals are those that the high-level actor sets for these windows, the active one is that of the step's
//! place in its period. (In a rollout goals are c steps old at most; a logged session does not say what they were.)

use std::sync::Arc;

use agent::{Guidance, NO_GOAL, Network, Policy, Scratch, Sessions};
use common::{ItemId, PeriodLayout};

use crate::{
    baselines::{Ranker, SessionState},
    evaluation::Error,
};

/// Frozen agents with critics.
pub struct AgentRanker {
    name: String,
    policy: Arc<Policy>,
    layout: PeriodLayout,
    /// `[M, n]`
    goals: Vec<f32>,
    /// `[C, n]`
    embeddings: Vec<f32>,
    scratch: Scratch,
}

impl AgentRanker {
    /// The agents under a name; `layout` is the run's.
    ///
    /// # Errors
    /// [`Error::Policy`] if the weights hold no low-level critic.
    pub fn new(name: &str, policy: Arc<Policy>, layout: PeriodLayout) -> Result<Self, Error> {
        if !policy.has(Network::LowCritic) {
            let problem = agent::Error::NoCritic(Network::LowCritic).to_string();
            return Err(Error::Policy { policy: name.to_owned(), problem });
        }
        let goals = vec![0.0; layout.n_goals * policy.model().n_dims];
        let (name, embeddings, scratch) = (name.to_owned(), Vec::new(), Scratch::default());
        Ok(Self { name, policy, layout, goals, embeddings, scratch })
    }
}

impl Ranker for AgentRanker {
    fn name(&self) -> &str {
        &self.name
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        // Eq 4; nothing without a high-level agent.
        self.policy.goals(Sessions::all(state.windows), &mut self.scratch, &mut self.goals);
        let active = self.layout.sub_period(state.step() % self.layout.n_steps);
        let active = [active.map_or(NO_GOAL, |i| i as u8)];
        self.embeddings.clear();
        let items = self.policy.items();
        candidates.iter().for_each(|&item| self.embeddings.extend_from_slice(items.embedding(item)));
        // Eq 8
        let guidance = Guidance { goals: &self.goals, active: &active };
        self.policy
            .low_q_of_actions(state.windows, guidance, &self.embeddings, &mut self.scratch, scores)
            .expect("the critic was found when the ranker was made");
    }

    fn fork(&self) -> Box<dyn Ranker> {
        let fork = Self::new(&self.name, Arc::clone(&self.policy), self.layout);
        Box::new(fork.expect("the critic was found when the ranker was made"))
    }
}
