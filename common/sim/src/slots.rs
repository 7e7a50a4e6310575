//! What every world keeps of its E sessions: who, how far, what was shown, what the windows hold.
//!
//! In: an item shown and its feedback; out: windows `[E, 3, N]`, recall sets `[E]`, and how the session stands.

use common::{
    Feedback, ItemId, ItemTable, RecallSet, SessionId,
    history::{self, N_WINDOWS},
    transition::Ending,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Outcome};

/// The bookkeeping of E sessions.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    window: usize,
    session_length: u64,
    sessions: Vec<SessionId>,
    steps: Vec<u64>,
    endings: Vec<Ending>,
    windows: Vec<ItemId>,
    recall: Vec<RecallSet>,
}

/// [`Slots`] as they are saved. Candidates are left out: they follow from the session.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedSlots {
    pub(crate) sessions: Vec<SessionId>,
    steps: Vec<u64>,
    endings: Vec<Ending>,
    windows: Vec<ItemId>,
    shown: Vec<Vec<u64>>,
}

impl Slots {
    /// `n_slots` empty slots of windows of N = `window` items; sessions are cut after `session_length` steps.
    pub(crate) fn new(n_slots: usize, window: usize, session_length: usize) -> Self {
        Self {
            window,
            session_length: session_length as u64,
            sessions: vec![0; n_slots],
            steps: vec![0; n_slots],
            endings: vec![Ending::None; n_slots],
            windows: vec![ItemId::PADDING; n_slots * N_WINDOWS * window],
            recall: vec![RecallSet::new(Vec::new()); n_slots],
        }
    }

    pub(crate) fn n_slots(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    pub(crate) fn session(&self, slot: usize) -> SessionId {
        self.sessions[slot]
    }

    pub(crate) fn step_number(&self, slot: usize) -> u64 {
        self.steps[slot]
    }

    pub(crate) fn windows(&self) -> &[ItemId] {
        &self.windows
    }

    /// The windows `[3, N]` of a slot.
    pub(crate) fn session_windows_mut(&mut self, slot: usize) -> &mut [ItemId] {
        let size = N_WINDOWS * self.window;
        &mut self.windows[slot * size..][..size]
    }

    pub(crate) fn recall(&self) -> &[RecallSet] {
        &self.recall
    }

    /// Seats a session with empty windows and its candidates.
    pub(crate) fn begin(&mut self, slot: usize, session: SessionId, recall: RecallSet) {
        self.sessions[slot] = session;
        self.steps[slot] = 0;
        self.endings[slot] = Ending::None;
        self.session_windows_mut(slot).fill(ItemId::PADDING);
        self.recall[slot] = recall;
    }

    /// Whether `actions` may be shown now: the first reason why not.
    pub(crate) fn check(&self, actions: &[ItemId], outcomes: &[Outcome]) -> Result<(), Error> {
        for found in [actions.len(), outcomes.len()] {
            if found != self.n_slots() {
                return Err(Error::Length { found, expected: self.n_slots() });
            }
        }
        for (slot, (&item, recall)) in actions.iter().zip(&self.recall).enumerate() {
            let session = self.sessions[slot];
            if self.endings[slot] != Ending::None {
                return Err(Error::Over { slot, session });
            }
            if recall.position(item).is_none_or(|position| recall.is_shown(position)) {
                return Err(Error::Action { slot, session, item });
            }
        }
        Ok(())
    }

    /// Books a shown item without counting a step.
    pub(crate) fn warm_up(&mut self, slot: usize, item: ItemId, feedback: Feedback) {
        let new = self.recall[slot].show(item);
        debug_assert!(new, "slot {slot}: item {item} is shown twice or is no candidate");
        history::push(self.session_windows_mut(slot), item, feedback);
    }

    /// Books one step. A user who leaves with the last step of a session has left: terminated, not truncated.
    pub(crate) fn record(&mut self, slot: usize, item: ItemId, feedback: Feedback, leaves: bool) -> Outcome {
        self.warm_up(slot, item, feedback);
        self.steps[slot] += 1;
        let ending = match (leaves, self.steps[slot] >= self.session_length) {
            (true, _) => Ending::Terminated,
            (false, true) => Ending::Truncated,
            (false, false) => Ending::None,
        };
        self.endings[slot] = ending;
        Outcome { feedback, ending }
    }

    pub(crate) fn save(&self) -> SavedSlots {
        SavedSlots {
            sessions: self.sessions.clone(),
            steps: self.steps.clone(),
            endings: self.endings.clone(),
            windows: self.windows.clone(),
            shown: self.recall.iter().map(|recall| recall.shown_words().to_vec()).collect(),
        }
    }

    /// The slots that were saved, given the candidates of each session; every value is checked.
    pub(crate) fn restored(
        &self,
        saved: SavedSlots,
        items: &ItemTable,
        mut candidates: impl FnMut(SessionId) -> RecallSet,
    ) -> Result<Self, Error> {
        let refuse = |problem: &str| Err(Error::State(problem.to_owned()));
        let n_slots = self.n_slots();
        let counts = [saved.sessions.len(), saved.steps.len(), saved.endings.len(), saved.shown.len()];
        if counts != [n_slots; 4] || saved.windows.len() != self.windows.len() {
            return refuse("another number of slots or another window");
        }
        if saved.windows.iter().any(|&item| !item.is_padding() && !items.contains(item)) {
            return refuse("a window holds an unknown item");
        }
        let mut recall = Vec::with_capacity(n_slots);
        for (&session, shown) in saved.sessions.iter().zip(&saved.shown) {
            let mut set = candidates(session);
            for position in 0..set.candidates().len() {
                let word = shown.get(position / 64).copied().unwrap_or(0);
                if word >> (position % 64) & 1 == 1 {
                    set.show(set.candidates()[position]);
                }
            }
            if set.shown_words() != shown {
                return refuse("another number of candidates");
            }
            recall.push(set);
        }
        let SavedSlots { sessions, steps, endings, windows, .. } = saved;
        Ok(Self {
            window: self.window,
            session_length: self.session_length,
            sessions,
            steps,
            endings,
            windows,
            recall,
        })
    }
}
