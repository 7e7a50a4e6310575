//! The impressions of one split of a log, with everything that is kept of it.

use std::sync::Arc;

use common::{Feedback, ItemId, ItemTable, history::N_WINDOWS};

use super::{Error, metrics, samples::Samples};

/// Least impressions to learn anything from.
const LEAST_ROWS: usize = 100;

/// One logged session, in the order of (user, time).
#[derive(Clone, Debug)]
pub(super) struct LoggedSession {
    pub(super) user: u64,
    /// Whether it belongs to the split that is learned from; else it only fills the windows.
    pub(super) in_split: bool,
    pub(super) impressions: Vec<(ItemId, Feedback)>,
}

/// One split of a log.
pub(super) struct Dataset {
    pub(super) items: Arc<ItemTable>,
    pub(super) samples: Samples,
    /// `[n_items]` how often the split shows each item.
    pub(super) impressions: Vec<f32>,
    /// `[n_items]` how often it is clicked.
    pub(super) clicks: Vec<f32>,
    /// Shares of skip, click, order; positive, sum 1.
    pub(super) rates: [f64; 3],
    /// Sessions of the split left out because they hold no click.
    pub(super) clickless: usize,
    /// `train` or `test`.
    pub(super) split: &'static str,
    /// What a reader of the report should know of the data.
    pub(super) notes: Vec<String>,
}

impl Dataset {
    /// Reads the sessions of a log; those of a user must follow one another in time.
    pub(super) fn new(
        split: &'static str,
        items: Arc<ItemTable>,
        window: usize,
        drop_clickless: bool,
        sessions: impl IntoIterator<Item = LoggedSession>,
    ) -> Result<Self, Error> {
        let mut samples = Samples::new(window);
        let mut clickless = 0;
        for session in sessions {
            let has_click = session.impressions.iter().any(|(_, feedback)| feedback.clicked());
            if drop_clickless && !has_click {
                clickless += usize::from(session.in_split);
                continue;
            }
            samples.add_session(session.user, session.in_split, session.impressions);
        }
        let mut impressions = vec![0.0; items.n_items()];
        let mut clicks = vec![0.0; items.n_items()];
        for row in &samples.rows {
            impressions[row.item.row()] += 1.0;
            clicks[row.item.row()] += f32::from(u8::from(row.feedback.clicked()));
        }
        let mut notes = Vec::new();
        if clickless > 0 {
            notes.push(format!("{clickless} sessions without a click were left out, as in the paper"));
        }
        let rates = rates(&samples);
        let data = Self { items, samples, impressions, clicks, rates, clickless, split, notes };
        data.check()?;
        Ok(data)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Data { split: self.split, problem });
        let n_rows = self.samples.rows.len();
        if n_rows < LEAST_ROWS {
            let sessions = self.clickless;
            return refuse(format!(
                "{n_rows} impressions, at least {LEAST_ROWS} are needed ({sessions} sessions without a click left out)"
            ));
        }
        let clicked = |clicked: bool| self.samples.rows.iter().any(|row| row.feedback.clicked() == clicked);
        if !clicked(true) {
            return refuse("no impression was clicked".into());
        }
        if !clicked(false) {
            return refuse(
                "every impression was clicked: import with sampled negatives (`--negatives`)".into(),
            );
        }
        Ok(())
    }

    /// `[sessions, 3, N]` windows at the starts of the sessions.
    pub(super) fn contexts(&self) -> Vec<ItemId> {
        let samples = &self.samples;
        let mut windows = Vec::with_capacity(samples.sessions.len() * N_WINDOWS * samples.window);
        for session in &samples.sessions {
            samples.append_windows(&samples.rows[session.rows.start], &mut windows);
        }
        windows
    }
}

/// Shares of the classes; where one is absent, half an impression of each is added so that none is zero.
fn rates(samples: &Samples) -> [f64; 3] {
    let happened: Vec<Feedback> = samples.rows.iter().map(|row| row.feedback).collect();
    let rates = metrics::rates(&happened);
    if rates.iter().all(|&rate| rate > 0.0) {
        return rates;
    }
    let n = happened.len() as f64;
    rates.map(|rate| (rate * n + 0.5) / (n + 1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Arc<ItemTable> {
        Arc::new(ItemTable::new(1, 1.94, vec![1.0, -1.0], vec![0; 2], vec![0.0; 2]).unwrap())
    }

    fn session(user: u64, in_split: bool, feedback: Feedback) -> LoggedSession {
        let impressions = vec![(ItemId(0), feedback), (ItemId(1), Feedback::Skip)];
        LoggedSession { user, in_split, impressions }
    }

    #[test]
    fn sessions_without_a_click_are_left_out_and_counted() {
        let sessions = (0..100)
            .map(|user| session(user, true, if user % 4 == 0 { Feedback::Skip } else { Feedback::Click }));
        let data = Dataset::new("train", items(), 3, true, sessions).unwrap();
        assert_eq!((data.clickless, data.samples.sessions.len()), (25, 75));
        assert_eq!((data.impressions.as_slice(), data.clicks.as_slice()), (&[75.0; 2][..], &[75.0, 0.0][..]));
        assert_eq!(data.contexts().len(), 75 * 9);
        // No order in the log: its rate is small, not zero.
        assert!(data.rates[2] > 0.0 && data.rates[2] < 0.01);
        assert!((data.rates.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_log_without_clicks_or_without_skips_is_refused_with_the_reason() {
        let refused = |sessions: Vec<LoggedSession>| {
            Dataset::new("test", items(), 3, false, sessions).err().map(|error| error.to_string())
        };
        let few = refused(vec![session(0, true, Feedback::Click)]).unwrap();
        assert!(few.contains("the test days") && few.contains("2 impressions"), "{few}");
        let skips = refused((0..100).map(|user| session(user, true, Feedback::Skip)).collect()).unwrap();
        assert!(skips.contains("no impression was clicked"), "{skips}");
    }
}
