//! What was shown to whom, and what came of it.
//!
//! In: an imported log, or a world under a reference policy; out: sessions in flat arrays, each with the windows it
//! starts from. Windows before later steps follow by pushing steps ([`LoggedSession::replay`]).
//!
//! | module | what it holds |
//! |---|---|
//! | `imported` | from the days of an imported log |
//! | `rollout` | from a world under a reference |
//! | `world` | from whatever world a run names |

mod imported;
mod rollout;
mod world;

use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
};

pub use self::imported::Clickless;
use super::SessionState;

/// One item shown to one user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Row of the item table.
    pub item: ItemId,
    /// What the user did.
    pub feedback: Feedback,
    /// Probability with which the logging policy showed it, in (0, 1], where known.
    pub propensity: Option<f32>,
}

/// S sessions, R steps.
#[derive(Clone, Debug, PartialEq)]
pub struct InteractionLog {
    /// N.
    window: usize,
    /// `[S]`.
    users: Vec<u64>,
    /// `[S, 3, N]`.
    start_windows: Vec<ItemId>,
    /// `[S]` where the steps of a session end.
    ends: Vec<usize>,
    /// `[R]`.
    steps: Vec<Step>,
}

/// One session of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoggedSession<'a> {
    /// The user.
    pub user: u64,
    /// `[3, N]` before the first step.
    pub start_windows: &'a [ItemId],
    /// Oldest first, never empty.
    pub steps: &'a [Step],
}

impl InteractionLog {
    /// No sessions yet; windows of N = `window` items, at least 1.
    pub fn new(window: usize) -> Self {
        assert!(window > 0, "windows hold at least one item");
        Self { window, users: Vec::new(), start_windows: Vec::new(), ends: Vec::new(), steps: Vec::new() }
    }

    /// Adds a session that starts from windows `[3, N]`; one without steps is left out.
    pub fn push(&mut self, user: u64, start_windows: &[ItemId], steps: impl IntoIterator<Item = Step>) {
        assert_eq!(start_windows.len(), N_WINDOWS * self.window, "windows are [3, N]");
        let before = self.steps.len();
        self.steps.extend(steps);
        if self.steps.len() > before {
            self.users.push(user);
            self.start_windows.extend_from_slice(start_windows);
            self.ends.push(self.steps.len());
        }
    }

    /// `n` of its sessions at equal distances, or all: sessions stand by user, and the first are those of the oldest users.
    pub fn evenly(&self, n: usize) -> Self {
        let all = self.n_sessions();
        let mut some = Self::new(self.window);
        for k in 0..n.min(all) {
            let session = self.session(k * all / n.min(all));
            some.push(session.user, session.start_windows, session.steps.iter().copied());
        }
        some
    }

    /// Length of a window, N.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Number of sessions, S.
    pub fn n_sessions(&self) -> usize {
        self.users.len()
    }

    /// Number of steps of all sessions, R.
    pub fn n_steps(&self) -> usize {
        self.steps.len()
    }

    /// `[R]` the steps of all sessions, one session after the other.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Session `s`, `0..S`.
    pub fn session(&self, s: usize) -> LoggedSession<'_> {
        let row = N_WINDOWS * self.window;
        let start = if s == 0 { 0 } else { self.ends[s - 1] };
        LoggedSession {
            user: self.users[s],
            start_windows: &self.start_windows[s * row..][..row],
            steps: &self.steps[start..self.ends[s]],
        }
    }

    /// All sessions.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = LoggedSession<'_>> + Clone {
        (0..self.n_sessions()).map(|s| self.session(s))
    }
}

impl<'a> LoggedSession<'a> {
    /// The state before the first step.
    pub fn initial_state(&self) -> SessionState<'a> {
        SessionState { user: Some(self.user), windows: self.start_windows, shown: &[] }
    }

    /// Visits every step with the state before it.
    pub fn replay(&self, mut visit: impl FnMut(&SessionState<'_>, &Step)) {
        let mut windows = self.start_windows.to_vec();
        for (k, step) in self.steps.iter().enumerate() {
            let state = SessionState { user: Some(self.user), windows: &windows, shown: &self.steps[..k] };
            visit(&state, step);
            history::push(&mut windows, step.item, step.feedback);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::history::{Kind, window};

    use super::*;

    #[test]
    fn some_sessions_are_taken_from_all_of_the_log() {
        let mut log = InteractionLog::new(1);
        let step = Step { item: ItemId(1), feedback: Feedback::Skip, propensity: None };
        (0..10).for_each(|user| log.push(user, &[ItemId::PADDING; 3], [step]));
        let users = |n| log.evenly(n).sessions().map(|session| session.user).collect::<Vec<_>>();
        assert_eq!(users(4), [0, 2, 5, 7]);
        assert_eq!((users(10), users(99), users(0)), ((0..10).collect(), (0..10).collect(), vec![]));
    }

    #[test]
    fn a_replay_shows_the_windows_before_each_step() {
        let mut log = InteractionLog::new(2);
        let step = |item, feedback| Step { item: ItemId(item), feedback, propensity: None };
        let pad = ItemId::PADDING;
        let start = [pad, ItemId(9), pad, pad, pad, pad];
        log.push(3, &start, []);
        log.push(4, &start, [step(1, Feedback::Order), step(2, Feedback::Skip), step(5, Feedback::Click)]);
        assert_eq!((log.n_sessions(), log.n_steps()), (1, 3));
        let mut seen = Vec::new();
        log.session(0).replay(|state, step| {
            let of = |kind| window(state.windows, kind).to_vec();
            seen.push((state.step(), of(Kind::Skipped), of(Kind::Ordered), step.item));
            assert_eq!(state.user, Some(4));
        });
        let (one, two, nine) = (ItemId(1), ItemId(2), ItemId(9));
        assert_eq!(seen[0], (0, vec![pad, nine], vec![pad, pad], one));
        assert_eq!(seen[1], (1, vec![pad, nine], vec![pad, one], two));
        assert_eq!(seen[2], (2, vec![nine, two], vec![pad, one], ItemId(5)));
    }
}
