//! The impressions of a log's split, ready to learn from.
//!
//! In: sessions in the order of time, user by user; out: one row an impression: the item shown, the feedback, and the
//! three windows before it. Windows start from the user's earlier sessions. A window changes only when something is
//! pushed into it, so that each is stored once and rows refer to it: consecutive rows share most of theirs, and a
//! minibatch encodes shared ones once.

use std::ops::Range;

use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
};

/// One impression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The item shown.
    pub(super) item: ItemId,
    /// What the user did.
    pub(super) feedback: Feedback,
    /// Numbers of the skipped, clicked and ordered window before it.
    pub(super) windows: [u32; N_WINDOWS],
}

/// One session of the split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The user's number.
    pub(super) user: u64,
    /// Its rows.
    pub(super) rows: Range<usize>,
}

/// Rows, sessions and distinct windows.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    /// Length of a window, N.
    pub(super) window: usize,
    /// In the order of the sessions.
    pub(super) rows: Vec<Row>,
    /// In the order they were added.
    pub(super) sessions: Vec<Session>,
    /// For each kind, `[n, N]` distinct windows; number 0 is the empty one.
    windows: [Vec<ItemId>; N_WINDOWS],
    /// Windows of the current user.
    current: Option<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    user: u64,
    /// `[3, N]`.
    windows: Vec<ItemId>,
    numbers: [u32; N_WINDOWS],
}

impl Samples {
    /// No rows yet, windows of length `window`.
    pub(super) fn new(window: usize) -> Self {
        let empty = vec![ItemId::PADDING; window];
        Self { window, windows: std::array::from_fn(|_| empty.clone()), ..Self::default() }
    }

    /// Adds a session, in order; those of a user must follow one another. With `record` false it only moves the user's
    /// windows (a session of an earlier split).
    pub(super) fn add_session(
        &mut self,
        user: u64,
        record: bool,
        impressions: impl IntoIterator<Item = (ItemId, Feedback)>,
    ) {
        let start = self.rows.len();
        if self.current.as_ref().is_none_or(|current| current.user != user) {
            let windows = vec![ItemId::PADDING; N_WINDOWS * self.window];
            self.current = Some(Current { user, windows, numbers: [0; N_WINDOWS] });
        }
        let current = self.current.as_mut().expect("set above");
        for (item, feedback) in impressions {
            if record {
                self.rows.push(Row { item, feedback, windows: current.numbers });
            }
            history::push(&mut current.windows, item, feedback);
            for kind in pushed_into(feedback) {
                let table = &mut self.windows[*kind];
                current.numbers[*kind] = (table.len() / self.window) as u32;
                table.extend_from_slice(&current.windows[kind * self.window..][..self.window]);
            }
        }
        if record && self.rows.len() > start {
            self.sessions.push(Session { user, rows: start..self.rows.len() });
        }
    }

    /// The window `[N]` of a kind (an index of [`history::Kind`]) and number.
    pub(super) fn window_of(&self, kind: usize, number: u32) -> &[ItemId] {
        &self.windows[kind][number as usize * self.window..][..self.window]
    }

    /// Appends the three windows `[3, N]` before a row to `out`.
    pub(super) fn append_windows(&self, row: &Row, out: &mut Vec<ItemId>) {
        for (kind, &number) in row.windows.iter().enumerate() {
            out.extend_from_slice(self.window_of(kind, number));
        }
    }

    /// Feedback of some rows.
    pub(super) fn feedback(&self, rows: &[usize]) -> Vec<Feedback> {
        rows.iter().map(|&row| self.rows[row].feedback).collect()
    }
}

/// Indices of the windows that feedback enters.
fn pushed_into(feedback: Feedback) -> &'static [usize] {
    const SKIPPED: usize = history::Kind::Skipped as usize;
    const CLICKED: usize = history::Kind::Clicked as usize;
    const ORDERED: usize = history::Kind::Ordered as usize;
    match feedback {
        Feedback::Skip => &[SKIPPED],
        Feedback::Click => &[CLICKED],
        Feedback::Order => &[CLICKED, ORDERED],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAD: ItemId = ItemId::PADDING;

    fn item(id: u32) -> ItemId {
        ItemId(id)
    }

    #[test]
    fn windows_before_a_row_are_those_of_pushing_one_by_one() {
        let impressions: Vec<_> =
            (0..40).map(|k| (item(k), Feedback::ALL[(k * 7 % 11 % 3) as usize])).collect();
        let mut samples = Samples::new(4);
        samples.add_session(5, true, impressions.iter().copied());
        let mut windows = vec![PAD; 12];
        for (row, &(item, feedback)) in samples.rows.iter().zip(&impressions) {
            let mut before = Vec::new();
            samples.append_windows(row, &mut before);
            assert_eq!(before, windows);
            history::push(&mut windows, item, feedback);
        }
    }

    #[test]
    fn histories_go_on_in_the_users_next_session_and_start_empty_for_another_user() {
        let mut samples = Samples::new(2);
        samples.add_session(1, false, [(item(3), Feedback::Order)]);
        samples.add_session(1, true, [(item(4), Feedback::Skip)]);
        samples.add_session(2, true, [(item(5), Feedback::Skip)]);
        assert_eq!(samples.rows.len(), 2);
        let windows = |row: usize| {
            let mut out = Vec::new();
            samples.append_windows(&samples.rows[row], &mut out);
            out
        };
        assert_eq!(windows(0), [PAD, PAD, PAD, item(3), PAD, item(3)]);
        assert_eq!(windows(1), [PAD; 6]);
        assert_eq!(samples.sessions[1], Session { user: 2, rows: 1..2 });
    }
}
