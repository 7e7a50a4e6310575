//! The one trait of all worlds: E sessions side by side, stepped with E item ids.
//!
//! In: item ids `[E]`; out: [`Outcome`]s `[E]` and the history windows `[E, 3, N]`. A session's draws depend on
//! (seed, session, step) only, never on the slot, the batch size, the thread or the process, so that policies can be
//! compared under common random numbers. A *simulator shard* is a process's share of the sessions.

use std::sync::Arc;

use common::{Feedback, ItemId, ItemTable, RecallSet, SessionId, seed::Rng, transition::Ending};

use crate::shopworld::Belief;

/// Why a world refused a call. Nothing has changed in it then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An action that is no candidate of its session, or was shown before.
    #[error("session {session} in slot {slot}: item {item} is not a candidate that is left to show")]
    Action {
        /// Slot, `0..E`.
        slot: usize,
        /// The session in it.
        session: SessionId,
        /// The item chosen.
        item: ItemId,
    },
    /// A step of a session that has ended.
    #[error("session {session} in slot {slot} is over: begin another one first")]
    Over {
        /// Slot, `0..E`.
        slot: usize,
        /// The session in it.
        session: SessionId,
    },
    /// A slice of another length than E.
    #[error("got {found} actions or outcomes for {expected} sessions")]
    Length {
        /// Values given.
        found: usize,
        /// E.
        expected: usize,
    },
    /// A saved state that belongs to another world, size or seed.
    #[error("the saved state does not fit this world: {0}")]
    State(String),
    /// A world that cannot be built from its settings.
    #[error("{0}")]
    Build(String),
    /// A world's file that cannot be read or written.
    #[error("cannot access {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A reference policy that needs a truth this world does not know.
    #[error("the {reference} policy needs a truth that this world does not know")]
    Reference {
        /// Name of the policy.
        reference: &'static str,
    },
}

/// What one step of one session brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the user did with the item.
    pub feedback: Feedback,
    /// Whether the session goes on, was left (terminated) or cut at its length (truncated).
    pub ending: Ending,
}

/// E sessions, vectorised. Ended sessions stay as they are until [`Environment::begin`] replaces them.
pub trait Environment: Send {
    /// The catalogue.
    fn items(&self) -> &Arc<ItemTable>;

    /// Number of sessions side by side, E.
    fn n_slots(&self) -> usize;

    /// Length of a history window, N.
    fn window(&self) -> usize;

    /// Begins `session` in `slot`, in place of what was there: draws the user and the candidates, fills the windows.
    fn begin(&mut self, slot: usize, session: SessionId);

    /// The session in a slot.
    fn session(&self, slot: usize) -> SessionId;

    /// Steps of the session in a slot so far (warm-up not counted).
    fn step_number(&self, slot: usize) -> u64;

    /// Shows `actions[e]` in slot e, for all e in `0..E`; fills `outcomes` `[E]`. An error names the first bad slot;
    /// then no session has moved. Must not be called while a session is over ([`Error::Over`]).
    fn step(&mut self, actions: &[ItemId], outcomes: &mut [Outcome]) -> Result<(), Error>;

    /// History windows `[E, 3, N]`, contiguous, see [`common::history`].
    fn windows(&self) -> &[ItemId];

    /// Candidates of every slot and what was shown, `[E]`.
    fn recall(&self) -> &[RecallSet];

    /// The truth behind the feedback, where the world knows it. For evaluation only: no policy may read it, but the
    /// privileged oracles.
    fn truth(&self) -> Option<&dyn Truth>;

    /// Everything needed to go on later from exactly here (opaque bytes, versioned).
    fn save(&self) -> Vec<u8>;

    /// Goes back to what [`Environment::save`] gave. On an error nothing has changed.
    fn restore(&mut self, state: &[u8]) -> Result<(), Error>;
}

/// The hidden truth of a world.
pub trait Truth {
    /// For each candidate of the session in `slot`, in the order of its recall set: p_click and p_order|click if it
    /// were shown now.
    fn probabilities(&self, slot: usize, p_click: &mut Vec<f32>, p_order: &mut Vec<f32>);

    /// The same for one item.
    fn probability(&self, slot: usize, item: ItemId) -> (f32, f32);

    /// For each candidate, what showing it is worth beyond this step's reward, in rewards a click: the lookahead oracle
    /// ranks by `p_click (1 + 4 p_order + bonus)`. False, with nothing to rely on in `bonus`, where the world has no
    /// such knowledge.
    fn lookahead_bonus(&self, _slot: usize, _bonus: &mut Vec<f32>) -> bool {
        false
    }

    /// What can be known of a user who was not seen yet by whoever knows the world. `None` where unknown.
    fn belief(&self, _rng: Rng) -> Option<Belief> {
        None
    }

    /// For each candidate, how popular it is, whoever looks; constant during a session. False where unknown.
    fn popularity(&self, _slot: usize, _scores: &mut Vec<f32>) -> bool {
        false
    }

    /// For each candidate, the score of the policy that wrote the world's log: of those left, it shows one with
    /// probability proportional to `exp(score)`. Finite; constant during a session. False where unknown.
    fn logging_scores(&self, _slot: usize, _scores: &mut Vec<f32>) -> bool {
        false
    }
}
