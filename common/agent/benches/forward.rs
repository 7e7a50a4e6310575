//! Speed of an actor's step: the low-level forward pass and the mapping, at the paper's sizes.
//!
//! `cargo bench -p agent`; the throughput column is session-steps/s of one core. 10,000 items, 1,000 candidates a
//! session, N = 10, width 64, full windows, every one of them new at every step (the dearest case: a session's step changes
//! one or two).

use std::sync::Arc;

use agent::{Guidance, Mapping, MappingScratch, Policy, Scratch, Sessions};
use common::{
    Feedback, ItemId, ItemTable, RecallSet,
    config::{Config, Preset},
    history::{self, N_WINDOWS},
    seed::Streams,
};
use divan::{Bencher, counter::ItemsCount};
use rand::{RngExt, seq::index};

const N_ITEMS: usize = 10_000;
const N_CANDIDATES: usize = 1_000;
const WINDOW: usize = 10;
const BATCHES: [usize; 2] = [1, 256];

fn main() {
    divan::main();
}

struct Case {
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
    fn new(n_sessions: usize) -> Self {
        let model = Config::preset(Preset::Paper).model;
        let mut rng = Streams::new(0, "bench").sequential();
        let embeddings = (0..N_ITEMS * model.n_dims).map(|_| rng.random_range(-1.9..1.9)).collect();
        let (categories, prices) = (vec![0; N_ITEMS], vec![0.0; N_ITEMS]);
        let table = ItemTable::new(model.n_dims, model.bound, embeddings, categories, prices);
        let table = Arc::new(table.expect("random embeddings are valid"));
        let mut item = || ItemId(rng.random_range(0..N_ITEMS as u32));
        let windows = (0..n_sessions * N_WINDOWS * WINDOW).map(|_| item()).collect();
        let mut candidates = || {
            let drawn = index::sample(&mut rng, N_ITEMS, N_CANDIDATES);
            RecallSet::new(drawn.iter().map(|i| ItemId(i as u32)).collect())
        };
        Self {
            policy: Policy::random(&model, table.clone(), 0).expect("random weights fit"),
            mapping: Mapping::new(table),
            windows,
            n_steps: 0,
            recall: (0..n_sessions).map(|_| candidates()).collect(),
            scratch: Scratch::default(),
            mapping_scratch: MappingScratch::default(),
            actions: vec![0.0; n_sessions * model.n_dims],
            items: vec![ItemId::PADDING; n_sessions],
        }
    }

    fn forward(&mut self) {
        self.n_steps += 1;
        for (i, windows) in self.windows.chunks_exact_mut(N_WINDOWS * WINDOW).enumerate() {
            let item = ItemId(((self.n_steps * 7919 + i) % N_ITEMS) as u32);
            history::push(windows, item, Feedback::Skip);
            history::push(windows, item, Feedback::Click);
        }
        let sessions = Sessions::all(&self.windows);
        self.policy.virtual_actions(sessions, Guidance::NONE, &mut self.scratch, &mut self.actions);
    }

    fn map(&mut self) {
        let Self { mapping, recall, mapping_scratch, actions, items, .. } = self;
        mapping.choose(actions, recall, mapping_scratch, items).expect("candidates are left");
    }
}

/// Runs `step` warm: the projected item table is built before the clock starts.
fn run(bencher: Bencher<'_, '_>, n_sessions: usize, step: fn(&mut Case)) {
    let mut case = Case::new(n_sessions);
    for _ in 0..2 + N_ITEMS / (n_sessions * 10) {
        case.forward();
    }
    bencher.counter(ItemsCount::new(n_sessions)).bench_local(|| step(&mut case));
}

#[divan::bench(args = BATCHES)]
fn forward(bencher: Bencher<'_, '_>, n_sessions: usize) {
    run(bencher, n_sessions, Case::forward);
}

#[divan::bench(args = BATCHES)]
fn mapping(bencher: Bencher<'_, '_>, n_sessions: usize) {
    run(bencher, n_sessions, Case::map);
}

#[divan::bench(args = BATCHES)]
fn forward_and_mapping(bencher: Bencher<'_, '_>, n_sessions: usize) {
    run(bencher, n_sessions, |case| {
        case.forward();
        case.map();
    });
}
