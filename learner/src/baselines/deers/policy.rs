//! The trained policy: the item of the recall set, minus what was shown, with the largest Q; ties go to the lowest id.
//!
//! Depends on the windows and the recall set of a session only, so that slots, threads and other sessions show in no
//! result. Clones share the network.

use std::sync::Arc;

use common::{ItemId, ItemTable, SessionId, history::N_WINDOWS};
use sim::Environment;

use super::{
    Parameters,
    network::{Network, Scratch},
};
use crate::{
    baselines::Error,
    evaluation::{self, EvaluatedPolicy},
};

/// What the tables call it.
pub const NAME: &str = "deers";
/// The same with the pairwise term of its paper. Files of both are alike.
pub const SQUARED: &str = "deers-squared";

/// DEERS with frozen parameters.
#[derive(Clone, Debug)]
pub struct Deers {
    name: &'static str,
    parameters: Arc<Parameters>,
    network: Arc<Network>,
    items: Arc<ItemTable>,
    scratch: Scratch,
    left: Vec<ItemId>,
    q: Vec<f32>,
}

impl Deers {
    /// A policy over a catalogue of the network's embedding size.
    pub(super) fn new(parameters: Parameters, items: Arc<ItemTable>) -> Self {
        Self {
            name: NAME,
            network: Arc::new(Network::new(&parameters, &items)),
            parameters: Arc::new(parameters),
            items,
            scratch: Scratch::default(),
            left: Vec::new(),
            q: Vec::new(),
        }
    }

    /// The same under the name of the method that fitted it.
    #[must_use]
    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Q of `candidates` after the history `windows` `[3, N]`, into `scores`, in their order.
    ///
    /// # Panics
    /// If the lengths of `candidates` and `scores` differ, or one names an item outside the catalogue.
    pub fn values(&mut self, windows: &[ItemId], candidates: &[ItemId], scores: &mut [f32]) {
        assert_eq!(windows.len() % N_WINDOWS, 0, "windows are [3, N]");
        self.network.encode(&self.items, windows, 1, &mut self.scratch);
        self.network.values(0, candidates, &mut self.scratch, &mut self.q);
        scores.copy_from_slice(&self.q);
    }

    /// The greedy item `[E]` of every slot.
    pub(super) fn choose_greedy(
        &mut self,
        world: &dyn Environment,
        actions: &mut [ItemId],
    ) -> Result<(), Error> {
        assert_eq!(actions.len(), world.n_slots(), "an action a slot");
        self.network.encode(&self.items, world.windows(), world.n_slots(), &mut self.scratch);
        for (slot, (action, recall)) in actions.iter_mut().zip(world.recall()).enumerate() {
            self.left.clear();
            let candidates = recall.candidates().iter().enumerate();
            self.left.extend(candidates.filter(|(k, _)| !recall.is_shown(*k)).map(|(_, item)| *item));
            self.network.values(slot, &self.left, &mut self.scratch, &mut self.q);
            // Candidates ascend by id: the first of equals is the lowest.
            let best =
                self.q.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
            let none = || no_candidate(world.session(slot));
            *action = self.left[best.ok_or_else(none)?.0];
        }
        Ok(())
    }
}

/// A session that has shown all its candidates.
pub(super) fn no_candidate(session: SessionId) -> Error {
    let problem =
        format!("session {session} has no candidate left to show: give it more, or shorter sessions");
    Error::Data { method: NAME, problem }
}

impl EvaluatedPolicy for Deers {
    fn name(&self) -> &str {
        self.name
    }

    fn begin(&mut self, _slot: usize, _session: SessionId) {
        // Nothing is remembered of a session but what the world's windows hold.
    }

    fn choose(
        &mut self,
        environment: &dyn Environment,
        actions: &mut [ItemId],
    ) -> Result<(), evaluation::Error> {
        self.choose_greedy(environment, actions).map_err(|problem| evaluation::Error::Policy {
            policy: self.name.to_owned(),
            problem: problem.to_string(),
        })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}
