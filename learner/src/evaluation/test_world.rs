//! What the tests of this folder share: the actor's tiny world and two policies for it.

#[path = "../../../actor/src/test_world.rs"]
mod world;

use common::{ItemId, RecallSet, SessionId};
use sim::Environment;
pub(super) use world::*;

use super::{Error, EvaluatedPolicy, EvaluationSettings, Users};

/// An evaluation of `sessions` test users over 12 steps.
pub(super) fn settings(sessions: usize) -> EvaluationSettings {
    EvaluationSettings { users: Users::Test, sessions, length: 12, seed: 5, slots: 8, threads: 2 }
}

/// Worlds whose users leave with probability `hazard` a step.
pub(super) fn worlds(
    hazard: f32,
) -> impl Fn(&EvaluationSettings) -> Result<Box<dyn Environment>, sim::Error> + Sync {
    move |settings| Ok(Box::new(TestWorld::new(settings.slots, settings.length, hazard)))
}

/// Shows the `first` or the `last` (best) candidate that is left.
#[derive(Clone)]
pub(super) struct EndPolicy {
    name: &'static str,
}

impl EndPolicy {
    /// `first` or `last`.
    pub(super) fn named(name: &'static str) -> Self {
        Self { name }
    }
}

impl EvaluatedPolicy for EndPolicy {
    fn name(&self) -> &str {
        self.name
    }

    fn begin(&mut self, _slot: usize, _session: SessionId) {}

    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        let choose = |recall: &RecallSet| {
            let k = if self.name == "first" { 0 } else { recall.n_left() - 1 };
            recall.candidates()[recall.nth_left(k).expect("k < n_left")]
        };
        for (action, recall) in actions.iter_mut().zip(environment.recall()) {
            *action = choose(recall);
        }
        Ok(())
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}
