//! The impressions of one split of a log, with everything that is kept of it.

use std::sync::Arc;

use common::{Feedback, ItemId, ItemTable, history::N_WINDOWS};
use logs::source::Impressions;

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

/// How a split is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// `train` or `test`.
    pub(super) split: &'static str,
    /// Length of a history window, N.
    pub(super) window: usize,
    /// Whether sessions without a click are left out.
    pub(super) drop_clickless: bool,
    /// What an impression of the log is.
    pub(super) impressions: Impressions,
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
    /// How it was read.
    pub(super) reading: Reading,
    /// SHA-256 of the log's item table in hex; empty where there is no log.
    pub(super) items_sha256: String,
    /// What a reader of the report should know of the data.
    pub(super) notes: Vec<String>,
}

impl Dataset {
    /// Reads the sessions of a log; those of a user must follow one another in time.
    pub(super) fn new(
        reading: Reading,
        items: Arc<ItemTable>,
        sessions: impl IntoIterator<Item = LoggedSession>,
    ) -> Result<Self, Error> {
        let mut samples = Samples::new(reading.window);
        let mut clickless = 0;
        for session in sessions {
            let has_click = session.impressions.iter().any(|(_, feedback)| feedback.clicked());
            if reading.drop_clickless && !has_click {
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
        let happened: Vec<Feedback> = samples.rows.iter().map(|row| row.feedback).collect();
        let rates = positive_rates(&happened);
        let items_sha256 = String::new();
        let data =
            Self { items, samples, impressions, clicks, rates, clickless, reading, items_sha256, notes };
        data.check()?;
        Ok(data)
    }

    /// There is too little of something, or too much.
    pub(super) fn refuse(&self, problem: String) -> Error {
        Error::Data { split: self.reading.split, problem: problem + &self.advice() }
    }

    /// What to do about too few sessions, where something can be done; empty or in brackets.
    fn advice(&self) -> String {
        match self.clickless {
            0 => String::new(),
            n => format!(" ({n} sessions without a click are left out; --keep-clickless keeps them)"),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let n_rows = self.samples.rows.len();
        let clicked = |clicked: bool| self.samples.rows.iter().any(|row| row.feedback.clicked() == clicked);
        if !clicked(true) && n_rows + self.clickless > 0 {
            // Keeping sessions without a click would not help.
            let problem = "no impression was clicked".to_owned();
            return Err(Error::Data { split: self.reading.split, problem });
        }
        if n_rows < LEAST_ROWS {
            return Err(self.refuse(format!("{n_rows} impressions, at least {LEAST_ROWS} are needed")));
        }
        if !clicked(false) {
            let advice = match self.reading.impressions {
                Impressions::Sampled => "; import it again with more sampled skips (--negatives)",
                Impressions::Logged | Impressions::Proxy => "",
            };
            return Err(self.refuse(format!("every impression was clicked{advice}")));
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
pub(super) fn positive_rates(happened: &[Feedback]) -> [f64; 3] {
    let rates = metrics::rates(happened);
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

    fn reading(drop_clickless: bool, impressions: Impressions) -> Reading {
        Reading { split: "test", window: 3, drop_clickless, impressions }
    }

    fn session(user: u64, in_split: bool, feedback: Feedback) -> LoggedSession {
        let impressions = vec![(ItemId(0), feedback), (ItemId(1), Feedback::Skip)];
        LoggedSession { user, in_split, impressions }
    }

    #[test]
    fn sessions_without_a_click_are_left_out_and_counted() {
        let sessions = (0..100)
            .map(|user| session(user, true, if user % 4 == 0 { Feedback::Skip } else { Feedback::Click }));
        let data = Dataset::new(reading(true, Impressions::Logged), items(), sessions).unwrap();
        assert_eq!((data.clickless, data.samples.sessions.len()), (25, 75));
        assert_eq!((data.impressions.as_slice(), data.clicks.as_slice()), (&[75.0; 2][..], &[75.0, 0.0][..]));
        assert_eq!(data.contexts().len(), 75 * 9);
        // No order in the log: its rate is small, not zero.
        assert!(data.rates[2] > 0.0 && data.rates[2] < 0.01);
        assert!((data.rates.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_log_without_clicks_or_without_skips_is_refused_with_the_reason() {
        let start = "the test days of the log cannot be learned from: ";
        let refused = |drop_clickless, impressions, sessions: Vec<LoggedSession>| {
            let error = Dataset::new(reading(drop_clickless, impressions), items(), sessions).err().unwrap();
            error.to_string().strip_prefix(start).unwrap().to_owned()
        };
        let sessions = |feedback| (0..100).map(|user| session(user, true, feedback)).collect::<Vec<_>>();
        let few = refused(false, Impressions::Logged, vec![session(0, true, Feedback::Click)]);
        assert_eq!(few, "2 impressions, at least 100 are needed");
        for drop_clickless in [false, true] {
            let skips = refused(drop_clickless, Impressions::Logged, sessions(Feedback::Skip));
            assert_eq!(skips, "no impression was clicked");
        }
        let clicks = |impressions| {
            let mut sessions = sessions(Feedback::Click);
            sessions.iter_mut().flat_map(|s| &mut s.impressions).for_each(|shown| shown.1 = Feedback::Click);
            refused(true, impressions, sessions)
        };
        assert_eq!(clicks(Impressions::Logged), "every impression was clicked");
        assert!(clicks(Impressions::Sampled).ends_with("more sampled skips (--negatives)"));
    }

    #[test]
    fn too_few_sessions_with_a_click_name_the_option_that_keeps_the_others() {
        let mut sessions: Vec<_> = (0..100).map(|user| session(user, true, Feedback::Skip)).collect();
        sessions.push(session(100, true, Feedback::Click));
        let error = Dataset::new(reading(true, Impressions::Logged), items(), sessions).err().unwrap();
        let expected = "2 impressions, at least 100 are needed (100 sessions without a click are left out; \
                        --keep-clickless keeps them)";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}
