//! Table 1 of the paper for any log.
//!
//! In: a [`Log`]; out: its row of Table 1, before and after sessions without a click are dropped (as the paper does), of
//! the whole log and of each split. An order counts as a click too.

use std::collections::HashSet;

use serde::Serialize;

use crate::{Log, Session, Split};

/// One row of Table 1. Ratios are 0 where nothing is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Users with a session.
    pub users: u64,
    /// Sessions.
    pub sessions: u64,
    /// Items shown.
    pub items: u64,
    /// Items shown, each time counted.
    pub impressions: u64,
    /// Impressions clicked, ordered ones included.
    pub clicks: u64,
    /// Impressions ordered.
    pub orders: u64,
    /// Mean length of a session.
    pub impressions_per_session: f64,
    /// Click rate.
    pub clicks_per_impression: f64,
    /// Conversion rate.
    pub orders_per_click: f64,
}

/// A row for the whole log and for each split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rows {
    /// Both splits.
    pub all: Row,
    /// Training sessions.
    pub train: Row,
    /// Test sessions.
    pub test: Row,
}

/// Table 1 of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Every session.
    pub before: Rows,
    /// Sessions with a click: what training and evaluation use.
    pub after: Rows,
}

impl Statistics {
    /// Counts a log.
    pub fn of(log: &Log) -> Self {
        let rows = |clicked_only: bool| {
            let row = |split: Option<Split>| {
                let sessions =
                    log.sessions().filter(|session| split.is_none_or(|split| session.split == split));
                Row::of(sessions.filter(|session| !clicked_only || session.has_click()))
            };
            Rows { all: row(None), train: row(Some(Split::Train)), test: row(Some(Split::Test)) }
        };
        Self { before: rows(false), after: rows(true) }
    }

    /// Skips left out, where the click filter leaves nothing but single clicks: with sessions of one impression every click
    /// rate after it is 1, whatever the log's.
    pub fn skips_lost(&self) -> Option<u64> {
        let (before, after) = (&self.before.all, &self.after.all);
        let only_single_clicks = after.sessions > 0 && after.impressions == after.sessions;
        (only_single_clicks && before.impressions > after.impressions)
            .then(|| before.impressions - after.impressions)
    }
}

impl Row {
    /// Counts sessions; those of a user must follow one another.
    pub fn of<'a>(sessions: impl Iterator<Item = Session<'a>>) -> Self {
        let mut row = Self::default();
        let mut last_user = None;
        let mut items = HashSet::new();
        for session in sessions {
            row.sessions += 1;
            row.users += u64::from(last_user != Some(session.user));
            last_user = Some(session.user);
            for shown in session.impressions {
                row.impressions += 1;
                row.clicks += u64::from(shown.feedback.clicked());
                row.orders += u64::from(shown.feedback.ordered());
                items.insert(shown.item);
            }
        }
        row.items = items.len() as u64;
        let ratio = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        row.impressions_per_session = ratio(row.impressions, row.sessions);
        row.clicks_per_impression = ratio(row.clicks, row.impressions);
        row.orders_per_click = ratio(row.orders, row.clicks);
        row
    }
}
