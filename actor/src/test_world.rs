//! A tiny deterministic world for tests: 40 items of 4 dimensions, 24 candidates a session, no user state. The higher an
//! item's id, the more it is clicked. Also used by the tests of the learner's evaluation.

use std::{sync::Arc, time::Duration};

use common::{
    Feedback, ItemId, ItemTable, RecallSet, SessionId, codec,
    history::{self, N_WINDOWS},
    seed::Streams,
    transition::Ending,
};
use rand::RngExt;
use sim::{Environment, Error, Outcome, Truth};

/// Number of items.
pub(crate) const N_ITEMS: usize = 40;
/// Embedding size.
pub(crate) const N_DIMS: usize = 4;
/// History window.
pub(crate) const WINDOW: usize = 3;
const N_CANDIDATES: usize = 24;
const P_ORDER: f32 = 0.3;

/// The world; its users are those of seed 1.
pub(crate) struct TestWorld {
    items: Arc<ItemTable>,
    streams: Streams,
    length: u64,
    hazard: f32,
    /// How long a step takes.
    pub(crate) answers_after: Duration,
    sessions: Vec<(SessionId, u64, Ending)>,
    windows: Vec<ItemId>,
    recall: Vec<RecallSet>,
}

impl TestWorld {
    /// `slots` sessions that are cut after `length` steps and left with probability `hazard` a step.
    pub(crate) fn new(slots: usize, length: usize, hazard: f32) -> Self {
        let streams = Streams::new(1, "test-world");
        let mut rng = streams.at(u64::MAX, 0);
        let embeddings = (0..N_ITEMS * N_DIMS).map(|_| rng.random_range(-1.5..1.5)).collect();
        let items = ItemTable::new(N_DIMS, 1.94, embeddings, vec![0; N_ITEMS], vec![0.0; N_ITEMS]);
        let mut world = Self {
            items: Arc::new(items.expect("random embeddings are inside the bound")),
            streams,
            length: length as u64,
            hazard,
            answers_after: Duration::ZERO,
            sessions: vec![(0, 0, Ending::None); slots],
            windows: vec![ItemId::PADDING; slots * N_WINDOWS * WINDOW],
            recall: vec![RecallSet::new(Vec::new()); slots],
        };
        (0..slots).for_each(|slot| world.begin(slot, 0));
        world
    }

    fn p_click(item: ItemId) -> f32 {
        0.1 + 0.8 * item.0 as f32 / N_ITEMS as f32
    }

    fn session_windows(&mut self, slot: usize) -> &mut [ItemId] {
        &mut self.windows[slot * N_WINDOWS * WINDOW..][..N_WINDOWS * WINDOW]
    }
}

impl Environment for TestWorld {
    fn items(&self) -> &Arc<ItemTable> {
        &self.items
    }

    fn n_slots(&self) -> usize {
        self.sessions.len()
    }

    fn window(&self) -> usize {
        WINDOW
    }

    fn begin(&mut self, slot: usize, session: SessionId) {
        let mut rng = self.streams.at(session, 0);
        let mut ids: Vec<ItemId> = (0..N_ITEMS as u32).map(ItemId).collect();
        for k in 0..N_CANDIDATES {
            ids.swap(k, rng.random_range(k..N_ITEMS));
        }
        self.recall[slot] = RecallSet::new(ids[..N_CANDIDATES].to_vec());
        self.sessions[slot] = (session, 0, Ending::None);
        let windows = self.session_windows(slot);
        windows.fill(ItemId::PADDING);
        history::push(windows, ids[N_CANDIDATES], Feedback::Skip);
        history::push(windows, ids[N_CANDIDATES + 1], Feedback::Click);
    }

    fn session(&self, slot: usize) -> SessionId {
        self.sessions[slot].0
    }

    fn step_number(&self, slot: usize) -> u64 {
        self.sessions[slot].1
    }

    fn step(&mut self, actions: &[ItemId], outcomes: &mut [Outcome]) -> Result<(), Error> {
        std::thread::sleep(self.answers_after);
        if actions.len() != self.n_slots() {
            return Err(Error::Length { found: actions.len(), expected: self.n_slots() });
        }
        for (slot, &item) in actions.iter().enumerate() {
            let (session, _, ending) = self.sessions[slot];
            assert_eq!(ending, Ending::None, "session {session} is over");
            let left = self.recall[slot].position(item).is_some_and(|p| !self.recall[slot].is_shown(p));
            if !left {
                return Err(Error::Action { slot, session, item });
            }
        }
        for (slot, &item) in actions.iter().enumerate() {
            let (session, step, _) = self.sessions[slot];
            let mut rng = self.streams.at(session, step + 1);
            let clicked = rng.random::<f32>() < Self::p_click(item);
            let ordered = rng.random::<f32>() < P_ORDER;
            let leaves = rng.random::<f32>() < self.hazard;
            let feedback = match (clicked, ordered) {
                (false, _) => Feedback::Skip,
                (true, false) => Feedback::Click,
                (true, true) => Feedback::Order,
            };
            let ending = match (leaves, step + 1 == self.length) {
                (true, _) => Ending::Terminated,
                (false, true) => Ending::Truncated,
                (false, false) => Ending::None,
            };
            self.recall[slot].show(item);
            history::push(self.session_windows(slot), item, feedback);
            self.sessions[slot] = (session, step + 1, ending);
            outcomes[slot] = Outcome { feedback, ending };
        }
        Ok(())
    }

    fn windows(&self) -> &[ItemId] {
        &self.windows
    }

    fn recall(&self) -> &[RecallSet] {
        &self.recall
    }

    fn truth(&self) -> Option<&dyn Truth> {
        Some(self)
    }

    fn save(&self) -> Vec<u8> {
        let shown: Vec<&[u64]> = self.recall.iter().map(RecallSet::shown_words).collect();
        codec::encode(&(&self.sessions, &self.windows, shown)).expect("plain values encode")
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Error> {
        type State = (Vec<(SessionId, u64, Ending)>, Vec<ItemId>, Vec<Vec<u64>>);
        let refused = |problem: &str| Error::State(problem.to_owned());
        let (sessions, windows, shown): State = codec::decode(state).map_err(|e| refused(&e.to_string()))?;
        if sessions.len() != self.n_slots() {
            return Err(refused("another number of slots"));
        }
        for (slot, &(session, ..)) in sessions.iter().enumerate() {
            self.begin(slot, session);
            for position in (0..N_CANDIDATES).filter(|p| shown[slot][p / 64] >> (p % 64) & 1 == 1) {
                let item = self.recall[slot].candidates()[position];
                self.recall[slot].show(item);
            }
        }
        self.sessions = sessions;
        self.windows = windows;
        Ok(())
    }
}

impl Truth for TestWorld {
    fn probabilities(&self, slot: usize, p_click: &mut Vec<f32>, p_order: &mut Vec<f32>) {
        p_click.clear();
        p_click.extend(self.recall[slot].candidates().iter().map(|&item| Self::p_click(item)));
        p_order.clear();
        p_order.resize(N_CANDIDATES, P_ORDER);
    }

    fn probability(&self, _slot: usize, item: ItemId) -> (f32, f32) {
        (Self::p_click(item), P_ORDER)
    }
}
