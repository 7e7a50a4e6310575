//! The learned simulator as an environment: E sessions side by side.
//!
//! In: item ids `[E]`; out: outcomes `[E]`, sampled from the session's member of the ensemble. Windows start as those of a
//! session of the log: that is the warm-up here. Nobody leaves: sessions are truncated at their length.
//!
//! Random streams, addressed by session and step: `learned/session` (start, member), `learned/candidates`,
//! `learned/step`.

use std::sync::Arc;

use common::{
    Feedback, ItemId, ItemTable, RecallSet, SessionId, history::N_WINDOWS, seed::Streams, transition::Ending,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{
    LearnedModel, LogStatistics, Noise,
    forward::{Scratch, WindowRows},
    state,
};
use crate::{Environment, Error, Outcome, Truth, draw::Candidates, slots::Slots};

/// What is chosen when a learned simulator is built.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedSettings {
    /// Sessions side by side, E.
    pub n_slots: usize,
    /// Steps after which a session is truncated.
    pub session_length: usize,
    /// Candidates of a session, |I|, drawn from the catalogue without replacement; all items if it has fewer.
    pub candidates: usize,
    /// Noise of the feedback.
    pub noise: Noise,
    /// Seed of the sessions.
    pub seed: u64,
}

impl Default for LearnedSettings {
    /// One slot, sessions of 50 steps, 1,000 candidates, no noise, seed 0.
    fn default() -> Self {
        Self { n_slots: 1, session_length: 50, candidates: 1_000, noise: Noise::default(), seed: 0 }
    }
}

/// E simulated sessions.
#[derive(Clone, Debug)]
pub struct LearnedWorld {
    pub(super) model: Arc<LearnedModel>,
    pub(super) log: Arc<LogStatistics>,
    pub(super) settings: LearnedSettings,
    session_streams: Streams,
    candidate_streams: Streams,
    candidates: Candidates,
    step_streams: Streams,
    pub(super) slots: Slots,
    /// `[E]` the member each session keeps.
    members: Vec<usize>,
    /// `[E, H]` the half of the network that depends on the windows, up to date for every session that goes on.
    states: Vec<f32>,
    rows: Vec<usize>,
    scratch: Scratch,
}

impl LearnedWorld {
    /// A world; slot e starts with session e.
    pub fn new(
        model: Arc<LearnedModel>,
        log: Arc<LogStatistics>,
        settings: LearnedSettings,
    ) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::Build(format!("learned simulator: {problem}")));
        settings.noise.check()?;
        let n_items = model.items().n_items();
        if log.impressions().len() != n_items {
            return refuse(format!(
                "statistics of {} items, a catalogue of {n_items}",
                log.impressions().len()
            ));
        }
        if settings.n_slots == 0 || settings.session_length == 0 {
            return refuse("slots and session_length are at least 1".to_owned());
        }
        let candidates = settings.candidates.min(n_items);
        if candidates < settings.session_length {
            return refuse(format!(
                "{candidates} candidates (of {n_items} items): at least session_length = {}, no item is shown twice",
                settings.session_length
            ));
        }
        let streams = |purpose: &str| Streams::new(settings.seed, purpose);
        let mut world = Self {
            session_streams: streams("learned/session"),
            candidate_streams: streams("learned/candidates"),
            step_streams: streams("learned/step"),
            candidates: Candidates::new(n_items, candidates),
            slots: Slots::new(settings.n_slots, log.window(), settings.session_length),
            members: vec![0; settings.n_slots],
            states: vec![0.0; settings.n_slots * model.sizes().hidden_width],
            rows: Vec::with_capacity(settings.n_slots),
            scratch: Scratch::default(),
            model,
            log,
            settings,
        };
        (0..settings.n_slots).for_each(|slot| world.begin(slot, slot as SessionId));
        Ok(world)
    }

    /// The settings it was built from.
    pub fn settings(&self) -> &LearnedSettings {
        &self.settings
    }

    /// The networks.
    pub fn model(&self) -> &Arc<LearnedModel> {
        &self.model
    }

    /// (number of the start, member) of a session.
    fn draw_session(&self, session: SessionId) -> (usize, usize) {
        let mut rng = self.session_streams.at(session, 0);
        (rng.random_range(0..self.log.n_contexts()), rng.random_range(0..self.model.n_members()))
    }

    pub(super) fn candidates(&self, session: SessionId) -> RecallSet {
        self.candidates.draw(&mut self.candidate_streams.at(session, 0))
    }

    /// Recomputes the states of the slots in `rows`.
    fn refresh(&mut self) {
        let (windows, size) = (self.slots.windows(), N_WINDOWS * self.slots.window());
        for member in 0..self.model.n_members() {
            let first = self.rows.iter().position(|&slot| self.members[slot] == member);
            let Some(first) = first else { continue };
            // Slots of this member to the front of what is left: a partition without a second list.
            self.rows.swap(0, first);
            let mut end = 1;
            for k in 1..self.rows.len() {
                if self.members[self.rows[k]] == member {
                    self.rows.swap(end, k);
                    end += 1;
                }
            }
            let rows = WindowRows { windows, size, rows: &self.rows[..end] };
            self.model.states(member, rows, &mut self.scratch, &mut self.states);
            self.rows.drain(..end);
        }
    }

    /// Takes over restored slots.
    pub(super) fn resume(&mut self, slots: Slots) {
        self.slots = slots;
        for slot in 0..self.slots.n_slots() {
            (_, self.members[slot]) = self.draw_session(self.slots.session(slot));
        }
        self.rows.extend(0..self.slots.n_slots());
        self.refresh();
    }

    /// Probabilities of skip, click, order for each item, in order.
    fn classes(
        &self,
        slot: usize,
        items: &[ItemId],
        scratch: &mut Scratch,
    ) -> impl Iterator<Item = [f32; 3]> {
        let h = self.model.sizes().hidden_width;
        let state = std::iter::repeat_n(&self.states[slot * h..][..h], items.len());
        self.model.logits(self.members[slot], state, items, scratch);
        let (noise, base_rates) = (self.settings.noise, self.log.base_rates());
        scratch
            .logits()
            .chunks_exact(3)
            .map(move |logits| noise.probabilities([logits[0], logits[1], logits[2]], base_rates))
    }
}

/// (p_click, p_order|click) of class probabilities.
fn click_and_order([_, click, order]: [f32; 3]) -> (f32, f32) {
    let clicked = click + order;
    (clicked.min(1.0), if clicked > 0.0 { order / clicked } else { 0.0 })
}

impl Environment for LearnedWorld {
    fn items(&self) -> &Arc<ItemTable> {
        self.model.items()
    }

    fn n_slots(&self) -> usize {
        self.slots.n_slots()
    }

    fn window(&self) -> usize {
        self.slots.window()
    }

    fn begin(&mut self, slot: usize, session: SessionId) {
        let (context, member) = self.draw_session(session);
        self.slots.begin(slot, session, self.candidates(session));
        self.slots.session_windows_mut(slot).copy_from_slice(self.log.context(context));
        self.members[slot] = member;
        self.rows.push(slot);
        self.refresh();
    }

    fn session(&self, slot: usize) -> SessionId {
        self.slots.session(slot)
    }

    fn step_number(&self, slot: usize) -> u64 {
        self.slots.step_number(slot)
    }

    fn step(&mut self, actions: &[ItemId], outcomes: &mut [Outcome]) -> Result<(), Error> {
        self.slots.check(actions, outcomes)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        for (slot, (&item, outcome)) in actions.iter().zip(outcomes).enumerate() {
            let mut rng = self.step_streams.at(self.slots.session(slot), self.slots.step_number(slot));
            let classes = self.classes(slot, std::slice::from_ref(&item), &mut scratch).next();
            let [_, click, order] = classes.expect("one item has one row of logits");
            let u: f32 = rng.random();
            let feedback = match (u < order, u < order + click) {
                (true, _) => Feedback::Order,
                (false, true) => Feedback::Click,
                (false, false) => Feedback::Skip,
            };
            *outcome = self.slots.record(slot, item, feedback, false);
            if outcome.ending == Ending::None {
                self.rows.push(slot);
            }
        }
        self.scratch = scratch;
        self.refresh();
        Ok(())
    }

    fn windows(&self) -> &[ItemId] {
        self.slots.windows()
    }

    fn recall(&self) -> &[RecallSet] {
        self.slots.recall()
    }

    fn truth(&self) -> Option<&dyn Truth> {
        Some(self)
    }

    fn save(&self) -> Vec<u8> {
        state::save(self)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let slots = state::read(self, bytes)?;
        self.resume(slots);
        Ok(())
    }
}

/// The truth of a simulator is what it samples from.
impl Truth for LearnedWorld {
    fn probabilities(&self, slot: usize, p_click: &mut Vec<f32>, p_order: &mut Vec<f32>) {
        p_click.clear();
        p_order.clear();
        let mut scratch = Scratch::default();
        for classes in self.classes(slot, self.slots.recall()[slot].candidates(), &mut scratch) {
            let (click, order) = click_and_order(classes);
            p_click.push(click);
            p_order.push(order);
        }
    }

    fn probability(&self, slot: usize, item: ItemId) -> (f32, f32) {
        let mut scratch = Scratch::default();
        let classes = self.classes(slot, &[item], &mut scratch).next();
        click_and_order(classes.expect("one item has one row of logits"))
    }

    fn popularity(&self, slot: usize, scores: &mut Vec<f32>) -> bool {
        scores.clear();
        scores
            .extend(self.slots.recall()[slot].candidates().iter().map(|item| self.log.clicks()[item.row()]));
        true
    }

    fn logging_scores(&self, slot: usize, scores: &mut Vec<f32>) -> bool {
        // Half an impression more: the scores of items that were never shown are finite.
        let score = |item: &ItemId| (self.log.impressions()[item.row()] + 0.5).ln();
        scores.clear();
        scores.extend(self.slots.recall()[slot].candidates().iter().map(score));
        true
    }
}
