//! The trained policy: the item of the recall set, minus what was shown, with the largest expected reward.
//!
//! Depends on the windows and the recall set of a session only, so that slots, threads and other sessions show in no
//! result.

use std::sync::Arc;

use agent::{Mapping, MappingScratch};
use common::{ItemId, ItemTable, RecallSet, SessionId, config::ItemSearch, history::N_WINDOWS};
use sim::Environment;

use super::{Error, Tower, features::window_means};
use crate::{
    evaluation::{self, EvaluatedPolicy},
    threads::{Threads, both},
};

/// What the tables call it.
pub const NAME: &str = "history-greedy";

/// History-greedy with frozen parameters.
#[derive(Clone, Debug)]
pub struct HistoryGreedy {
    tower: Tower,
    items: Arc<ItemTable>,
    mapping: Mapping,
    /// Of a thread each.
    scratch: [Scratch; 2],
}

/// Working memory for S of the slots.
#[derive(Clone, Debug, Default)]
struct Scratch {
    /// `[3, S, n]`.
    means: Vec<f32>,
    /// `[S, n]`.
    directions: Vec<f32>,
    mapping: MappingScratch,
}

impl HistoryGreedy {
    /// A policy over a catalogue of the tower's embedding size that looks for items in this way.
    pub(super) fn new(tower: Tower, items: Arc<ItemTable>, search: ItemSearch) -> Self {
        assert_eq!(tower.n_dims, items.n_dims(), "tower and catalogue have one embedding size");
        let mapping = Mapping::new(items.clone()).with_search(search);
        Self { mapping, tower, items, scratch: Default::default() }
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

    /// The greedy item `[E]` of every slot. With threads, each takes half of the slots.
    pub(super) fn choose_greedy(
        &mut self,
        world: &dyn Environment,
        threads: Option<&Threads>,
        actions: &mut [ItemId],
    ) -> Result<(), Error> {
        let n_slots = world.n_slots();
        assert_eq!(actions.len(), n_slots, "an action a slot");
        let Self { tower, items, mapping, scratch: [scratch_1, scratch_2] } = self;
        let chooser = Chooser { tower, items, mapping };
        let n_first = if threads.is_some() { n_slots.div_ceil(2) } else { n_slots };
        let (actions_1, actions_2) = actions.split_at_mut(n_first);
        let (recall_1, recall_2) = world.recall().split_at(n_first);
        let row = world.windows().len() / n_slots;
        let (windows_1, windows_2) = world.windows().split_at(n_first * row);
        let mut empty = [None; 2];
        let [empty_1, empty_2] = &mut empty;
        both(
            threads,
            || *empty_1 = chooser.choose(windows_1, recall_1, scratch_1, actions_1),
            || *empty_2 = chooser.choose(windows_2, recall_2, scratch_2, actions_2),
        );
        match empty[0].or(empty[1].map(|slot| n_first + slot)) {
            None => Ok(()),
            Some(slot) => Err(Error::NoCandidate { session: world.session(slot) }),
        }
    }
}

/// What a choice reads.
struct Chooser<'a> {
    tower: &'a Tower,
    items: &'a ItemTable,
    mapping: &'a Mapping,
}

impl Chooser<'_> {
    /// The greedy item `[S]` of slots, from their windows `[S, 3, N]` and recall sets `[S]`. The first slot with no candidate
    /// left, if there is one.
    fn choose(
        &self,
        windows: &[ItemId],
        recall: &[RecallSet],
        scratch: &mut Scratch,
        actions: &mut [ItemId],
    ) -> Option<usize> {
        let Scratch { means, directions, mapping } = scratch;
        let (n, n_slots) = (self.items.n_dims(), actions.len());
        if n_slots == 0 {
            return None;
        }
        means.resize(N_WINDOWS * n_slots * n, 0.0);
        directions.resize(n_slots * n, 0.0);
        window_means(self.items, windows.chunks_exact(windows.len() / n_slots), means);
        self.tower.directions(means, directions);
        // Eq 9 with the user vector in place of the virtual action.
        for (slot, (action, direction)) in actions.iter_mut().zip(directions.chunks_exact(n)).enumerate() {
            match self.mapping.choose_one(direction, &recall[slot], mapping) {
                Some(item) => *action = item,
                None => return Some(slot),
            }
        }
        None
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
        self.choose_greedy(environment, None, actions).map_err(|problem| evaluation::Error::Policy {
            policy: self.name().to_owned(),
            problem: problem.to_string(),
        })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}
