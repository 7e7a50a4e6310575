//! The trained policy: the item of the recall set, minus what was shown, with the largest expected reward.
//!
//! Depends on the windows and the recall set of a session only, so that slots, threads and other sessions show in no
//! result.

use std::sync::Arc;

use agent::{Mapping, MappingScratch};
use common::{ItemId, ItemTable, SessionId};
use sim::Environment;

use super::{Error, Tower, features::window_means};
use crate::evaluation::{self, EvaluatedPolicy};

/// What the tables call it.
pub const NAME: &str = "history-greedy";

/// History-greedy with frozen parameters.
#[derive(Clone, Debug)]
pub struct HistoryGreedy {
    tower: Tower,
    items: Arc<ItemTable>,
    mapping: Mapping,
    /// `[3, E, n]`.
    means: Vec<f32>,
    /// `[E, n]`.
    directions: Vec<f32>,
    scratch: MappingScratch,
}

impl HistoryGreedy {
    /// A policy over a catalogue of the tower's embedding size.
    pub(super) fn new(tower: Tower, items: Arc<ItemTable>) -> Self {
        assert_eq!(tower.n_dims, items.n_dims(), "tower and catalogue have one embedding size");
        Self {
            mapping: Mapping::new(items.clone()),
            tower,
            items,
            means: Vec::new(),
            directions: Vec::new(),
            scratch: MappingScratch::default(),
        }
    }

    /// The parameters.
    pub fn tower(&self) -> &Tower {
        &self.tower
    }

    /// The catalogue.
    pub(super) fn items(&self) -> &ItemTable {
        &self.items
    }

    pub(super) fn set_tower(&mut self, tower: Tower) {
        self.tower = tower;
    }

    /// The greedy item `[E]` of every slot.
    pub(super) fn choose_greedy(
        &mut self,
        world: &dyn Environment,
        actions: &mut [ItemId],
    ) -> Result<(), Error> {
        let (n, n_slots) = (self.items.n_dims(), world.n_slots());
        assert_eq!(actions.len(), n_slots, "an action a slot");
        self.means.resize(common::history::N_WINDOWS * n_slots * n, 0.0);
        self.directions.resize(n_slots * n, 0.0);
        let row = world.windows().len() / n_slots;
        window_means(&self.items, world.windows().chunks_exact(row), &mut self.means);
        self.tower.directions(&self.means, &mut self.directions);
        // Eq 9 with the user vector in place of the virtual action.
        for (slot, action) in actions.iter_mut().enumerate() {
            let direction = &self.directions[slot * n..][..n];
            *action = self
                .mapping
                .choose_one(direction, &world.recall()[slot], &mut self.scratch)
                .ok_or_else(|| Error::NoCandidate { session: world.session(slot) })?;
        }
        Ok(())
    }
}

impl EvaluatedPolicy for HistoryGreedy {
    fn name(&self) -> &str {
        NAME
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
            policy: self.name().to_owned(),
            problem: problem.to_string(),
        })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}
