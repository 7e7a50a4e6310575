//! From virtual actions to items. In: a policy, the sessions of a step, a direction and a recall set; out: the item to show.
//!
//! Eq 9 takes the candidate nearest to the virtual action. With `model.rescored_items` = k above 1 it is the most valuable
//! of the k nearest by the low-level critic, Q^l(s, a) (Wolpertinger, Dulac-Arnold et al. 2015, Algorithm 2; D23): the
//! nearest of neighbours in an embedding is not always the best of them. Of equal values the nearer one wins.

use std::sync::Arc;

use common::{ItemId, ItemTable, RecallSet, config::ItemSearch, history::N_WINDOWS};
use kernels::Strided;

use crate::{Guidance, Mapping, MappingScratch, Network, Policy, Scratch, Sessions, scratch::sized};

/// The mapping with its working memory. Owner: one thread.
#[derive(Debug)]
pub struct Chooser {
    mapping: Mapping,
    mapping_scratch: MappingScratch,
    /// Holds the critic's states `[E, S]` of the last [`Self::begin`].
    scratch: Scratch,
    /// `[E, 3, N]` of the last [`Self::begin`], where the critic measures affinities.
    windows: Vec<ItemId>,
    /// `[k]` the nearest candidates, nearest first.
    nearest: Vec<ItemId>,
    /// `[k]` their values, where they are read off a table of projected items.
    values: Vec<f32>,
    /// `[k, S]` one state, k times, where they are not.
    states: Vec<f32>,
}

/// The candidate of the largest value so far, the first of equals.
#[derive(Default)]
struct Best(Option<(usize, f32)>);

impl Best {
    fn see(&mut self, candidate: usize, value: f32) {
        if self.0.is_none_or(|(_, most)| value > most) {
            self.0 = Some((candidate, value));
        }
    }
}

impl Chooser {
    /// For policies over this item table that look for items in this way (`model.item_search`).
    pub fn new(items: Arc<ItemTable>, search: ItemSearch) -> Self {
        Self {
            mapping: Mapping::new(items).with_search(search),
            mapping_scratch: MappingScratch::default(),
            scratch: Scratch::default(),
            windows: Vec::new(),
            nearest: Vec::new(),
            values: Vec::new(),
            states: Vec::new(),
        }
    }

    /// Begins a step of all of `sessions`: what the critic must know of them.
    pub fn begin(&mut self, policy: &Policy, sessions: Sessions<'_>, guidance: Guidance<'_>) {
        if let Some(critic) = policy.rescoring() {
            policy.states(critic.network, &critic.encoder, sessions, guidance, &mut self.scratch);
            if critic.affinity.is_some() {
                self.windows.clear();
                self.windows.extend_from_slice(sessions.windows);
            }
        }
    }

    /// The item to show for `action` `[n]` in session `row` of the last [`Self::begin`]; `None` if no candidate is left.
    pub fn choose(
        &mut self,
        policy: &Policy,
        row: usize,
        action: &[f32],
        recall: &RecallSet,
    ) -> Option<ItemId> {
        let Some(critic) = policy.rescoring() else {
            return self.mapping.choose_one(action, recall, &mut self.mapping_scratch);
        };
        let k = policy.model().rescored_items;
        self.mapping.nearest(action, recall, k, &mut self.mapping_scratch, &mut self.nearest);
        let size = Network::LowCritic.state_size(policy.model());
        let Scratch { state, heads, actions, affinity, met, .. } = &mut self.scratch;
        let state = &state[row * size..][..size];
        affinity.clear();
        if let Some(of_critic) = &critic.affinity {
            let (level, items, length) = (policy.level(), policy.items(), N_WINDOWS * policy.model().window);
            of_critic.meet(level, items, &self.windows[row * length..][..length], met);
            of_critic.of_items(level, (items, &self.nearest), met, affinity);
        }
        let affinity = Strided::transposed(affinity, self.nearest.len());
        let mut best = Best::default();
        if let Some(projected) = policy.projected() {
            let (level, k) = (policy.level(), policy.model().head_width);
            let q = sized(&mut self.values, self.nearest.len());
            if let Some(of_critic) = &critic.affinity {
                let (part, hidden) = sized(heads, k + critic.block_size()).split_at_mut(k);
                critic.state_part(level, state, part);
                let of_items = (projected, &self.nearest[..]);
                critic.values_by_affinity(level, of_items, (part, (of_critic, affinity)), hidden, q);
            } else {
                let part = sized(heads, k);
                critic.state_part(level, state, part);
                critic.values_of(level, (projected, &self.nearest), part, q);
            }
            q.iter().enumerate().for_each(|(candidate, &value)| best.see(candidate, value));
        } else {
            self.states.clear();
            actions.clear();
            for item in &self.nearest {
                self.states.extend_from_slice(state);
                actions.extend_from_slice(policy.items().embedding(*item));
            }
            critic.see(actions);
            let hidden = sized(heads, self.nearest.len() * critic.hidden_width());
            let level = policy.level();
            critic.heads(level, (&self.states, actions), affinity, hidden, |candidate, _, value| {
                best.see(candidate, value)
            });
        }
        best.0.map(|(candidate, _)| self.nearest[candidate])
    }
}
