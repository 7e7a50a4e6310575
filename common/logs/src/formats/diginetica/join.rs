//! Clicks by query and purchases by session, waiting for the lists they were made on.

use std::cell::Cell;
use std::collections::HashMap;

use super::Shown;
use crate::formats::reading::Reading;

/// The clicks: query to items, and whether the item was on the query's list. Looked up only, so that the order of the
/// map never shows.
#[derive(Default)]
pub(super) struct Clicks(HashMap<String, Vec<(String, Cell<bool>)>>);

impl Clicks {
    pub(super) fn add(&mut self, query: &str, item: &str) {
        self.0.entry(query.to_owned()).or_default().push((item.to_owned(), Cell::new(false)));
    }

    pub(super) fn has(&self, query: &str, item: &str) -> bool {
        self.0.get(query).is_some_and(|clicks| clicks.iter().any(|(clicked, _)| clicked == item))
    }

    /// Marks the clicks on a list that became records.
    pub(super) fn used(&self, query: &str, items: &[&str]) {
        for (clicked, used) in self.0.get(query).into_iter().flatten() {
            used.set(used.get() || items.contains(&clicked.as_str()));
        }
    }

    /// Counts every click as read and, as it became no record of its own, as dropped.
    pub(super) fn count(&self, reading: &mut Reading<'_>) {
        let all = self.0.values().map(Vec::len).sum::<usize>() as u64;
        let used = self.0.values().flatten().filter(|(_, used)| used.get()).count() as u64;
        reading.drop_rows(used, "merged: click on an item of a list");
        reading.drop_rows(all - used, "click on an item that is on no list of its query");
    }
}

/// The purchases: session to items and the list each one joins.
#[derive(Default)]
pub(super) struct Purchases(HashMap<String, Vec<Purchase>>);

struct Purchase {
    item: String,
    frame_ms: i64,
    list: Option<List>,
}

/// The list a purchase joins: a later offer replaces it if it is better.
struct List {
    query: String,
    clicked: bool,
    frame_ms: i64,
}

impl Purchases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, session: &str, item: &str, frame_ms: i64) {
        let purchase = Purchase { item: item.to_owned(), frame_ms, list: None };
        self.0.entry(session.to_owned()).or_default().push(purchase);
    }

    /// Offers a list to the purchases of its session: best one on which the item was clicked, else the latest.
    pub(super) fn offer(&mut self, shown: &Shown<'_>, clicked: impl Fn(&str) -> bool) {
        for purchase in self.0.get_mut(shown.session).into_iter().flatten() {
            if shown.frame_ms > purchase.frame_ms || !shown.items.contains(&purchase.item.as_str()) {
                continue;
            }
            let clicked = clicked(&purchase.item);
            let known = purchase.list.as_ref().map(|list| (list.clicked, list.frame_ms));
            if known.is_none_or(|known| known <= (clicked, shown.frame_ms)) {
                let query = shown.query.to_owned();
                purchase.list = Some(List { query, clicked, frame_ms: shown.frame_ms });
            }
        }
    }

    /// Whether a purchase of the item joins the list of this query.
    pub(super) fn joined(&self, session: &str, item: &str, query: &str) -> bool {
        self.0.get(session).is_some_and(|purchases| {
            purchases.iter().any(|purchase| {
                purchase.item == item && purchase.list.as_ref().is_some_and(|list| list.query == query)
            })
        })
    }

    /// Counts every purchase as read and, as it became no record of its own, as dropped.
    pub(super) fn count(&self, reading: &mut Reading<'_>) {
        let all = self.0.values().map(Vec::len).sum::<usize>() as u64;
        let joined = self.0.values().flatten().filter(|purchase| purchase.list.is_some()).count() as u64;
        reading.drop_rows(joined, "merged: purchase of an item of a list");
        reading.drop_rows(all - joined, "purchase of an item on no earlier list of its session");
    }
}
