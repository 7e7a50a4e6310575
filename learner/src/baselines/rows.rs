//! The steps of a log, ready for minibatches.
//!
//! In: a log; out: one row a step: the windows before it, the item, the feedback. Rows of a session follow one another.

use common::{Feedback, ItemId, history::N_WINDOWS, seed::Streams};
use rand::seq::SliceRandom;

use super::{Error, InteractionLog};

/// R rows, S sessions.
pub(super) struct Rows {
    /// 3 N.
    width: usize,
    /// `[R, 3, N]`.
    windows: Vec<ItemId>,
    /// `[R]` items shown.
    pub(super) items: Vec<ItemId>,
    /// `[R]` what the user did.
    pub(super) feedback: Vec<Feedback>,
    /// `[R]` users.
    pub(super) users: Vec<u64>,
    /// `[S]` where the rows of a session end.
    ends: Vec<usize>,
}

impl Rows {
    /// At most `most` rows of a log: whole sessions, drawn by the seed where there are more.
    ///
    /// # Errors
    /// A log without a click, or with clicks only: nothing can be told apart in it.
    pub(super) fn new(
        log: &InteractionLog,
        most: usize,
        seed: u64,
        method: &'static str,
    ) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..log.n_sessions()).collect();
        if log.n_steps() > most {
            order.shuffle(&mut Streams::new(seed, "baselines/rows").sequential());
        }
        let width = N_WINDOWS * log.window();
        let mut rows = Self {
            width,
            windows: Vec::with_capacity(most.min(log.n_steps()) * width),
            items: Vec::new(),
            feedback: Vec::new(),
            users: Vec::new(),
            ends: Vec::new(),
        };
        for s in order {
            let session = log.session(s);
            if rows.len() + session.steps.len() > most && rows.len() > 0 {
                break;
            }
            session.replay(|state, step| {
                rows.windows.extend_from_slice(state.windows);
                rows.items.push(step.item);
                rows.feedback.push(step.feedback);
                rows.users.push(session.user);
            });
            rows.ends.push(rows.len());
        }
        for (clicked, problem) in [(true, "nothing was clicked"), (false, "everything was clicked")] {
            if !rows.feedback.iter().any(|feedback| feedback.clicked() == clicked) {
                return Err(Error::Data { method, problem: problem.into() });
            }
        }
        Ok(rows)
    }

    /// R.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// `[3, N]` windows before a row.
    pub(super) fn windows(&self, row: usize) -> &[ItemId] {
        &self.windows[row * self.width..][..self.width]
    }

    /// All rows in a new order.
    pub(super) fn shuffled(&self, streams: &Streams, pass: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut streams.long(0, pass as u64));
        order
    }

    /// All rows with the sessions in a new order; those of a session stay together.
    #[cfg(any(test, feature = "torch"))]
    pub(super) fn by_shuffled_session(&self, streams: &Streams, pass: usize) -> Vec<usize> {
        let mut sessions: Vec<usize> = (0..self.ends.len()).collect();
        sessions.shuffle(&mut streams.long(0, pass as u64));
        let start = |s: usize| if s == 0 { 0 } else { self.ends[s - 1] };
        sessions.into_iter().flat_map(|s| start(s)..self.ends[s]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::Step;

    fn log(feedback: impl Fn(u32) -> Feedback) -> InteractionLog {
        let mut log = InteractionLog::new(1);
        for user in 0..10 {
            let step = |k| Step { item: ItemId(k), feedback: feedback(k), propensity: None };
            log.push(user, &[ItemId::PADDING; 3], (0..3).map(step));
        }
        log
    }

    #[test]
    fn whole_sessions_are_drawn_and_stay_together() {
        let log = log(|k| if k == 1 { Feedback::Click } else { Feedback::Skip });
        let rows = Rows::new(&log, 14, 0, "test").unwrap();
        assert_eq!(rows.len(), 12);
        assert_eq!(rows.windows(2), [ItemId(0), ItemId(1), ItemId::PADDING]);
        assert_ne!(rows.users, Rows::new(&log, 14, 1, "test").unwrap().users);
        let streams = Streams::new(0, "test");
        let order = rows.by_shuffled_session(&streams, 1);
        assert!(order.chunks(3).all(|rows| rows[0] + 2 == rows[2] && rows[0] % 3 == 0), "{order:?}");
        for mut order in [order, rows.shuffled(&streams, 1)] {
            order.sort_unstable();
            assert_eq!(order, (0..12).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_log_that_tells_nothing_apart_is_refused() {
        let refused = |feedback| Rows::new(&log(|_| feedback), 99, 0, "fm").err().unwrap().to_string();
        assert_eq!(refused(Feedback::Skip), "fm cannot learn from these interactions: nothing was clicked");
        assert!(refused(Feedback::Order).ends_with("everything was clicked"));
    }
}
