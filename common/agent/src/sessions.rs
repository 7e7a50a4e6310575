//! The rows of a batch. E sessions side by side, of which some or all are computed.
//!
//! Every input and output of a [`crate::Policy`] has a row for each of the E sessions; where only some are selected,
//! the other rows are neither read nor written.

use common::{ItemId, history::N_WINDOWS};

/// In [`Guidance::active`]: no goal guides this step (`remainder = drop`).
pub const NO_GOAL: u8 = u8::MAX;

/// The histories of E sessions.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a> {
    /// `[E, 3, N]`, see [`common::history`].
    pub windows: &'a [ItemId],
    /// `[R]` rows to compute, each in `0..E`; all E if `None`.
    pub selected: Option<&'a [usize]>,
}

impl<'a> Sessions<'a> {
    /// All sessions of `[E, 3, N]` windows.
    pub fn all(windows: &'a [ItemId]) -> Self {
        Self { windows, selected: None }
    }

    /// Number of sessions E, for windows of length N.
    pub(crate) fn n_sessions(&self, window: usize) -> usize {
        let size = N_WINDOWS * window;
        let len = self.windows.len();
        assert_eq!(len % size, 0, "{len} ids are no [E, {N_WINDOWS}, {window}] windows");
        len / size
    }

    /// Fills `rows` with the rows to compute.
    pub(crate) fn rows(&self, window: usize, rows: &mut Vec<usize>) {
        let n_sessions = self.n_sessions(window);
        rows.clear();
        match self.selected {
            None => rows.extend(0..n_sessions),
            Some(selected) => {
                let outside = selected.iter().find(|&&row| row >= n_sessions);
                assert!(outside.is_none(), "row {outside:?} of {n_sessions} sessions");
                rows.extend_from_slice(selected);
            }
        }
    }
}

/// The goals that guide E sessions now. Read only where the goal is part of the low-level state
/// (`goal_conditioning = state | both`); may be [`Guidance::NONE`] elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Guidance<'a> {
    /// `[E, M, n]` goals of the period.
    pub goals: &'a [f32],
    /// `[E]` number of the active goal, `0..M`, or [`NO_GOAL`]: then goal and one-hot are zero.
    pub active: &'a [u8],
}

impl Guidance<'_> {
    /// For models whose state does not hold the goal.
    pub const NONE: Self = Self { goals: &[], active: &[] };
}
