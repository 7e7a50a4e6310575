//! Low-level policy and mapping of E sessions: 1,000 candidates each of 10,000 items, full windows, width 64. Every window is
//! another one at every step, so that no state is there already.

use std::sync::Arc;

use agent::{Guidance, Mapping, MappingScratch, Policy, Scratch, Sessions};
use anyhow::Result;
use common::{
    Feedback, ItemId, ItemTable, RecallSet,
    config::{Config, Preset},
    history::{self, N_WINDOWS},
    seed::Streams,
};
use rand::{RngExt, seq::index};

use crate::{Reply, at, repeat};

const N_ITEMS: usize = 10_000;
const N_CANDIDATES: usize = 1_000;

/// E sessions that stay as they are.
pub(crate) struct Case {
    policy: Policy,
    mapping: Mapping,
    windows: Vec<ItemId>,
    n_steps: usize,
    recall: Vec<RecallSet>,
    scratch: Scratch,
    mapping_scratch: MappingScratch,
    actions: Vec<f32>,
    items: Vec<ItemId>,
}

impl Case {
    /// Warm: the projected item table is there.
    pub(crate) fn new(n_sessions: usize) -> Result<Self> {
        let model = Config::preset(Preset::Paper).model;
        let mut rng = Streams::new(0, "peers").sequential();
        let embeddings = (0..N_ITEMS * model.n_dims).map(|_| rng.random_range(-1.9..1.9)).collect();
        let table =
            ItemTable::new(model.n_dims, model.bound, embeddings, vec![0; N_ITEMS], vec![0.0; N_ITEMS])?;
        let table = Arc::new(table);
        let mut candidates = || {
            let drawn = index::sample(&mut rng, N_ITEMS, N_CANDIDATES);
            RecallSet::new(drawn.iter().map(|i| ItemId(i as u32)).collect())
        };
        let recall = (0..n_sessions).map(|_| candidates()).collect();
        let windows = 0..n_sessions * N_WINDOWS * model.window;
        let mut case = Self {
            policy: Policy::random(&model, table.clone(), 0)?,
            mapping: Mapping::new(table),
            windows: windows.map(|_| ItemId(rng.random_range(0..N_ITEMS as u32))).collect(),
            n_steps: 0,
            recall,
            scratch: Scratch::default(),
            mapping_scratch: MappingScratch::default(),
            actions: vec![0.0; n_sessions * model.n_dims],
            items: vec![ItemId::PADDING; n_sessions],
        };
        for _ in 0..2 + N_ITEMS / (n_sessions * model.window) {
            case.step()?;
        }
        Ok(case)
    }

    fn step(&mut self) -> Result<()> {
        self.n_steps += 1;
        let of_session = self.windows.len() / self.items.len();
        for (i, windows) in self.windows.chunks_exact_mut(of_session).enumerate() {
            let item = ItemId(((self.n_steps * 7919 + i) % N_ITEMS) as u32);
            history::push(windows, item, Feedback::Skip);
            history::push(windows, item, Feedback::Click);
        }
        let Self { mapping, recall, mapping_scratch, actions, items, .. } = self;
        let sessions = Sessions::all(&self.windows);
        self.policy.virtual_actions(sessions, Guidance::NONE, &mut self.scratch, actions);
        Ok(mapping.choose(actions, recall, mapping_scratch, items)?)
    }

    /// Microseconds of a step.
    pub(crate) fn measure(&mut self, seconds: f64) -> Result<Reply> {
        Ok(vec![("us", 1e6 * at(&repeat(seconds, || self.step())?, 0.5))])
    }
}
