//! ShopWorld as an environment: E users side by side.
//!
//! In: item ids `[E]`; out: outcomes `[E]`. Random streams, each addressed by session and step: `shopworld/user`,
//! `shopworld/candidates`, `shopworld/warmup`, `shopworld/step`. A step touches the chosen items only and allocates
//! nothing.

use std::sync::Arc;

use common::{
    ItemId, ItemTable, RecallSet, SessionId,
    seed::{Rng, Streams},
};
use rand::RngExt;

use super::{Belief, Catalogue, Dynamics, ShopWorldSettings, factors::dot, state, user::User};
use crate::{
    Environment, Error, Outcome, Truth,
    draw::{Candidates, WeightedDraw},
    slots::Slots,
};

/// What the lookahead oracle pays for an item's quality, in rewards a click.
const LOOKAHEAD_QUALITY: f32 = 0.5;
/// The logging policy maximises `1.225 x_bar.c + .27 b + .5 Gumbel`; divided by .5, the scores of a softmax.
const LOGGING_INTEREST: f32 = 1.225 / 0.5;
const LOGGING_ATTRACTIVENESS: f32 = 0.27 / 0.5;

/// E users and what they have been shown.
#[derive(Clone, Debug)]
pub struct ShopWorld {
    catalogue: Arc<Catalogue>,
    settings: ShopWorldSettings,
    pub(super) dynamics: Dynamics,
    streams: UserStreams,
    candidates: Candidates,
    pub(super) slots: Slots,
    pub(super) users: Vec<User>,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct UserStreams {
    user: Streams,
    candidates: Streams,
    warmup: Streams,
    step: Streams,
}

/// Buffers of [`ShopWorld::begin`].
#[derive(Clone, Debug, Default)]
struct Scratch {
    scores: Vec<f32>,
    draw: WeightedDraw,
}

impl ShopWorld {
    /// A world of a preset; slot e starts with session e.
    pub fn new(catalogue: Arc<Catalogue>, settings: ShopWorldSettings) -> Result<Self, Error> {
        Self::with_dynamics(catalogue, settings, settings.variant.dynamics())
    }

    /// A world whose users follow `dynamics` instead of the preset's.
    pub fn with_dynamics(
        catalogue: Arc<Catalogue>,
        settings: ShopWorldSettings,
        dynamics: Dynamics,
    ) -> Result<Self, Error> {
        settings.check(&catalogue, &dynamics)?;
        let streams = |purpose: &str| Streams::new(settings.seed, purpose);
        let streams = UserStreams {
            user: streams("shopworld/user"),
            candidates: streams("shopworld/candidates"),
            warmup: streams("shopworld/warmup"),
            step: streams("shopworld/step"),
        };
        let stranger = User::new(&catalogue, &mut streams.user.at(0, 0));
        let mut world = Self {
            candidates: Candidates::new(catalogue.items().n_items(), settings.candidates),
            catalogue,
            settings,
            dynamics,
            streams,
            slots: Slots::new(settings.n_slots, settings.window, settings.session_length),
            users: vec![stranger; settings.n_slots],
            scratch: Scratch::default(),
        };
        (0..settings.n_slots).for_each(|slot| world.begin(slot, slot as SessionId));
        Ok(world)
    }

    /// The world of a preset with world seed 0: [`Self::new`] on a catalogue of its own.
    pub fn of_variant(settings: ShopWorldSettings) -> Result<Self, Error> {
        let catalogue = Catalogue::new(0, settings.variant.dynamics().rho)?;
        Self::new(Arc::new(catalogue), settings)
    }

    /// The settings it was built from.
    pub fn settings(&self) -> &ShopWorldSettings {
        &self.settings
    }

    /// The catalogue with its hidden side.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The candidates of a session.
    fn candidates(&self, session: SessionId) -> RecallSet {
        self.candidates.draw(&mut self.streams.candidates.at(session, 0))
    }

    /// Fills `draw` with the logging policy's weights for the session in a slot.
    pub(super) fn prepare_logging(&self, slot: usize, scores: &mut Vec<f32>, draw: &mut WeightedDraw) {
        self.logging_scores(slot, scores);
        draw.reset(&self.slots.recall()[slot], scores);
    }

    fn warm_up(&mut self, slot: usize) {
        if self.settings.warmup_steps == 0 {
            return;
        }
        let Scratch { mut scores, mut draw } = std::mem::take(&mut self.scratch);
        self.prepare_logging(slot, &mut scores, &mut draw);
        for step in 0..self.settings.warmup_steps {
            let mut rng = self.streams.warmup.at(self.slots.session(slot), step as u64);
            let position = draw
                .draw(rng.random())
                .expect("candidates outnumber the warm-up, as the settings were checked");
            draw.remove(position);
            let item = self.slots.recall()[slot].candidates()[position];
            let response = self.users[slot].respond(&self.catalogue, &self.dynamics, item, &mut rng);
            self.slots.warm_up(slot, item, response.feedback);
        }
        self.scratch = Scratch { scores, draw };
    }
}

impl Environment for ShopWorld {
    fn items(&self) -> &Arc<ItemTable> {
        self.catalogue.items()
    }

    fn n_slots(&self) -> usize {
        self.slots.n_slots()
    }

    fn window(&self) -> usize {
        self.slots.window()
    }

    fn begin(&mut self, slot: usize, session: SessionId) {
        self.slots.begin(slot, session, self.candidates(session));
        self.users[slot] = User::new(&self.catalogue, &mut self.streams.user.at(session, 0));
        self.warm_up(slot);
    }

    fn session(&self, slot: usize) -> SessionId {
        self.slots.session(slot)
    }

    fn step_number(&self, slot: usize) -> u64 {
        self.slots.step_number(slot)
    }

    fn step(&mut self, actions: &[ItemId], outcomes: &mut [Outcome]) -> Result<(), Error> {
        self.slots.check(actions, outcomes)?;
        for (slot, (&item, outcome)) in actions.iter().zip(outcomes).enumerate() {
            let mut rng = self.streams.step.at(self.slots.session(slot), self.slots.step_number(slot));
            let response = self.users[slot].respond(&self.catalogue, &self.dynamics, item, &mut rng);
            let leaves = self.settings.leave && response.leaves;
            *outcome = self.slots.record(slot, item, response.feedback, leaves);
        }
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
        let (slots, users) = state::read(self, bytes, |session| self.candidates(session))?;
        self.slots = slots;
        self.users = users;
        Ok(())
    }
}

impl Truth for ShopWorld {
    fn probabilities(&self, slot: usize, p_click: &mut Vec<f32>, p_order: &mut Vec<f32>) {
        let candidates = self.slots.recall()[slot].candidates();
        let mood = self.users[slot].mood(&self.dynamics);
        mood.probabilities(&self.catalogue, &self.dynamics, candidates, p_click, p_order);
    }

    fn probability(&self, slot: usize, item: ItemId) -> (f32, f32) {
        self.users[slot].mood(&self.dynamics).probability(&self.catalogue, &self.dynamics, item)
    }

    fn lookahead_bonus(&self, slot: usize, bonus: &mut Vec<f32>) -> bool {
        let quality = |item: &ItemId| LOOKAHEAD_QUALITY * self.catalogue.quality[item.row()];
        bonus.clear();
        bonus.extend(self.slots.recall()[slot].candidates().iter().map(quality));
        true
    }

    fn belief(&self, rng: Rng) -> Option<Belief> {
        Some(Belief::new(Arc::clone(&self.catalogue), self.dynamics, rng))
    }

    fn popularity(&self, slot: usize, scores: &mut Vec<f32>) -> bool {
        let attractiveness = |item: &ItemId| self.catalogue.attractiveness[item.row()];
        scores.clear();
        scores.extend(self.slots.recall()[slot].candidates().iter().map(attractiveness));
        true
    }

    fn logging_scores(&self, slot: usize, scores: &mut Vec<f32>) -> bool {
        let base = self.users[slot].base_interest();
        let score = |item: &ItemId| {
            LOGGING_INTEREST * dot(base, &self.catalogue.interest[item.row()])
                + LOGGING_ATTRACTIVENESS * self.catalogue.attractiveness[item.row()]
        };
        scores.clear();
        scores.extend(self.slots.recall()[slot].candidates().iter().map(score));
        true
    }
}
