//! Votes: what users think of items, by user and by item.
//!
//! In: sessions; out: one vote a (user, item), the largest the user gave it: 0 skipped, 1 clicked, 5 ordered.

use std::collections::BTreeMap;

use common::{
    Feedback, ItemId,
    history::{self, Kind},
};

use crate::baselines::{InteractionLog, SessionState, Step};

/// A sparse matrix, row by row; columns ascend within a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sparse {
    /// `[rows + 1]` where each row begins.
    pub(super) starts: Vec<usize>,
    /// Columns of the entries.
    pub(super) columns: Vec<u32>,
    /// Values of the entries; zeros count.
    pub(super) values: Vec<f32>,
}

impl Sparse {
    /// From rows of (column, value), columns ascending.
    pub(super) fn from_rows(rows: impl IntoIterator<Item = impl IntoIterator<Item = (u32, f32)>>) -> Self {
        let mut found = Self { starts: vec![0], ..Self::default() };
        for row in rows {
            for (column, value) in row {
                found.columns.push(column);
                found.values.push(value);
            }
            found.starts.push(found.columns.len());
        }
        found
    }

    /// Number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Entries (column, value) of a row.
    pub(super) fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (u32, f32)> + '_ {
        let entries = self.starts[row]..self.starts[row + 1];
        let values = self.values[entries.clone()].iter().copied();
        self.columns[entries].iter().copied().zip(values)
    }

    /// Rows and columns exchanged.
    pub(super) fn transposed(&self, n_columns: usize) -> Self {
        let mut starts = vec![0; n_columns + 1];
        self.columns.iter().for_each(|&column| starts[column as usize + 1] += 1);
        (0..n_columns).for_each(|column| starts[column + 1] += starts[column]);
        let mut next = starts.clone();
        let (mut columns, mut values) = (vec![0; self.columns.len()], vec![0.0; self.columns.len()]);
        for row in 0..self.n_rows() {
            for (column, value) in self.row(row) {
                let place = &mut next[column as usize];
                (columns[*place], values[*place]) = (row as u32, value);
                *place += 1;
            }
        }
        Self { starts, columns, values }
    }
}

/// Votes of a user, by item.
pub(super) type Ballot = BTreeMap<u32, f32>;

/// Keeps the larger of two votes.
fn vote(ballot: &mut Ballot, item: ItemId, vote: f32) {
    let kept = ballot.entry(item.0).or_insert(vote);
    *kept = kept.max(vote);
}

/// Adds what the windows `[3, N]` and the steps of a session say.
pub(super) fn add_votes(ballot: &mut Ballot, windows: &[ItemId], steps: &[Step]) {
    for (kind, feedback) in
        [(Kind::Skipped, Feedback::Skip), (Kind::Clicked, Feedback::Click), (Kind::Ordered, Feedback::Order)]
    {
        for &item in history::window(windows, kind).iter().filter(|item| !item.is_padding()) {
            vote(ballot, item, feedback.reward());
        }
    }
    steps.iter().for_each(|step| vote(ballot, step.item, step.feedback.reward()));
}

/// All votes of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Votes {
    /// `[U]` ids of the users, ascending.
    pub(super) users: Vec<u64>,
    /// `[U, V]`.
    pub(super) by_user: Sparse,
    /// `[V, U]`.
    pub(super) by_item: Sparse,
    /// `[U]` mean vote of a user.
    pub(super) user_means: Vec<f32>,
    /// `[V]` mean vote of an item, with one vote of the overall mean added.
    pub(super) popularity: Vec<f32>,
}

impl Votes {
    /// Counts the votes of a log over `n_items` items.
    pub(super) fn of_log(log: &InteractionLog, n_items: usize) -> Self {
        let mut ballots: BTreeMap<u64, Ballot> = BTreeMap::new();
        for session in log.sessions() {
            add_votes(ballots.entry(session.user).or_default(), session.start_windows, session.steps);
        }
        Self::new(ballots.keys().copied().collect(), Sparse::from_rows(ballots.into_values()), n_items)
    }

    /// From the votes of each user.
    pub(super) fn new(users: Vec<u64>, by_user: Sparse, n_items: usize) -> Self {
        let mean = |sum: f32, count: usize| sum / count.max(1) as f32;
        let user_means = (0..by_user.n_rows())
            .map(|user| mean(by_user.row(user).map(|(_, vote)| vote).sum(), by_user.row(user).len()))
            .collect();
        let by_item = by_user.transposed(n_items);
        let overall = mean(by_user.values.iter().sum(), by_user.values.len());
        let popularity = (0..n_items)
            .map(|item| {
                let votes = by_item.row(item);
                let count = votes.len() + 1;
                (votes.map(|(_, vote)| vote).sum::<f32>() + overall) / count as f32
            })
            .collect();
        Self { users, by_user, by_item, user_means, popularity }
    }

    /// Number of users.
    pub(super) fn n_users(&self) -> usize {
        self.users.len()
    }

    /// Number of items.
    pub(super) fn n_items(&self) -> usize {
        self.popularity.len()
    }

    /// Row of a user, if it has voted.
    pub(super) fn row_of(&self, user: Option<u64>) -> Option<usize> {
        self.users.binary_search(&user?).ok()
    }

    /// What is known of the user of a session: its votes in the log, the windows, the session so far.
    pub(super) fn active(&self, state: &SessionState<'_>) -> Ballot {
        let mut ballot: Ballot =
            self.row_of(state.user).map_or_else(Ballot::new, |row| self.by_user.row(row).collect());
        add_votes(&mut ballot, state.windows, state.shown);
        ballot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_votes_once_an_item_with_the_best_of_its_feedback() {
        let step = |item, feedback| Step { item: ItemId(item), feedback, propensity: None };
        let pad = ItemId::PADDING;
        let mut log = InteractionLog::new(1);
        log.push(7, &[ItemId(2), pad, pad], [step(0, Feedback::Click), step(1, Feedback::Skip)]);
        log.push(7, &[pad; 3], [step(1, Feedback::Order), step(0, Feedback::Skip)]);
        log.push(9, &[pad; 3], [step(1, Feedback::Click)]);
        let votes = Votes::of_log(&log, 4);
        assert_eq!(votes.users, [7, 9]);
        assert_eq!(votes.by_user.row(0).collect::<Vec<_>>(), [(0, 1.0), (1, 5.0), (2, 0.0)]);
        assert_eq!(votes.by_item.row(1).collect::<Vec<_>>(), [(0, 5.0), (1, 1.0)]);
        assert_eq!(votes.user_means, [2.0, 1.0]);
        // Seven votes' worth of 4 entries: 1.75.
        assert_eq!(votes.popularity, [2.75 / 2.0, 7.75 / 3.0, 1.75 / 2.0, 1.75]);
        let state = SessionState {
            user: Some(9),
            windows: &[pad, pad, ItemId(3)],
            shown: &[step(1, Feedback::Skip)],
        };
        assert_eq!(votes.active(&state), Ballot::from([(1, 1.0), (3, 5.0)]));
        assert_eq!(votes.active(&SessionState { user: None, ..state }), Ballot::from([(1, 0.0), (3, 5.0)]));
    }
}
