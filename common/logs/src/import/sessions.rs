//! From events to sessions: cut, order, split by time, merge repetitions.

use std::{collections::HashMap, ops::Range};

use super::collect::Event;
use crate::canonical::{Split, SplitNote};

/// A session: a range of the sorted events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) user: u32,
    pub(super) start_ms: i64,
    pub(super) split: Split,
    pub(super) events: Range<usize>,
}

/// Sorts the events and cuts them into sessions, by (user, start). Native sessions stay whole; other events of a user
/// belong together while no pause is longer than `gap_ms`. The latest `test_share` of the sessions are for testing.
pub(super) fn cut(events: &mut [Event], gap_ms: i64, test_share: f64) -> Vec<Visit> {
    // Stable: what a file says in one millisecond stays in the file's order.
    events.sort_by_key(|event| (event.user, event.session, event.time_ms, event.position));
    let together = |a: &Event, b: &Event| {
        (a.user, a.session) == (b.user, b.session)
            && (a.session.is_some() || b.time_ms.saturating_sub(a.time_ms) <= gap_ms)
    };
    let mut end = 0;
    let mut visits: Vec<Visit> = events
        .chunk_by(together)
        .map(|visit| {
            let start = end;
            end += visit.len();
            let Event { user, time_ms: start_ms, .. } = visit[0];
            Visit { user, start_ms, split: Split::Train, events: start..end }
        })
        .collect();
    visits.sort_by_key(|visit| (visit.user, visit.start_ms, visit.events.start));
    split(&mut visits, test_share);
    visits
}

/// The latest sessions by their start are for testing: at least one session on each side where there are two. Where all
/// start at once (no clock), the later users are.
fn split(visits: &mut [Visit], test_share: f64) {
    let n = visits.len();
    if test_share == 0.0 || n < 2 {
        return;
    }
    let n_test = ((n as f64 * test_share).round() as usize).clamp(1, n - 1);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&visit| (visits[visit].start_ms, visit));
    for &visit in &order[n - n_test..] {
        visits[visit].split = Split::Test;
    }
}

/// What the manifest says of the split.
pub(super) fn split_note(visits: &[Visit], test_share: f64) -> SplitNote {
    let test = || visits.iter().filter(|visit| visit.split == Split::Test);
    let n_test = test().count();
    SplitNote {
        test_share,
        first_test_ms: test().map(|visit| visit.start_ms).min(),
        n_train: (visits.len() - n_test) as u64,
        n_test: n_test as u64,
    }
}

/// One impression an item: at the place and time of its first event, with the most that happened to it
/// (order > click > skip).
pub(super) fn merge(events: &[Event], merged: &mut Vec<Event>) {
    merged.clear();
    let mut place: HashMap<u32, usize> = HashMap::new();
    for event in events {
        let at = *place.entry(event.item).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(first) => first.feedback = first.feedback.max(event.feedback),
            None => merged.push(*event),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::Feedback::{self, Click, Order, Skip};

    use super::*;

    fn event(user: u32, session: Option<u32>, time_ms: i64, item: u32, feedback: Feedback) -> Event {
        Event { user, session, time_ms, position: None, item, feedback, propensity: None }
    }

    #[test]
    fn a_pause_longer_than_the_gap_ends_a_session_and_one_as_long_does_not() {
        let mut events = [0, 1000, 2001, 1000].map(|time| event(0, None, time, 0, Click));
        let visits = cut(&mut events, 1000, 0.0);
        assert_eq!(visits.iter().map(|visit| visit.events.clone()).collect::<Vec<_>>(), [0..3, 3..4]);
    }

    #[test]
    fn native_sessions_stay_whole_and_follow_one_another_by_their_start() {
        let times = [(5, 9000), (3, 0), (5, 100_000_000), (3, 1)];
        let mut events = times.map(|(session, time)| event(0, Some(session), time, session, Click));
        let visits = cut(&mut events, 1000, 0.5);
        assert_eq!(visits.iter().map(|visit| visit.start_ms).collect::<Vec<_>>(), [0, 9000]);
        assert_eq!(visits[1].events.len(), 2);
        assert_eq!(visits.iter().map(|visit| visit.split).collect::<Vec<_>>(), Split::ALL);
    }

    #[test]
    fn test_sessions_start_no_earlier_than_any_training_session() {
        let mut events: Vec<Event> =
            (0..10).map(|k| event(k, None, i64::from(k * 7919 % 10), 0, Click)).collect();
        let visits = cut(&mut events, 1, 0.2);
        let note = split_note(&visits, 0.2);
        assert_eq!((note.n_train, note.n_test, note.first_test_ms), (8, 2, Some(8)));
        let is_late = |visit: &Visit| visit.start_ms >= 8;
        assert!(visits.iter().all(|visit| (visit.split == Split::Test) == is_late(visit)));
    }

    #[test]
    fn without_a_clock_the_split_still_has_two_sides() {
        let mut events: Vec<Event> = (0..5).map(|user| event(user, Some(user), 0, 0, Click)).collect();
        assert_eq!(split_note(&cut(&mut events, 1, 0.01), 0.01).n_test, 1);
        assert_eq!(split_note(&cut(&mut events, 1, 0.99), 0.99).n_train, 1);
    }

    #[test]
    fn repetitions_merge_into_the_first_with_the_most_that_happened() {
        let events = [(7, Skip), (8, Click), (7, Order), (8, Skip), (7, Click)];
        let events: Vec<Event> = (0_i64..)
            .zip(events)
            .map(|(time, (item, feedback))| event(0, None, time, item, feedback))
            .collect();
        let mut merged = Vec::new();
        merge(&events, &mut merged);
        assert_eq!(merged, [event(0, None, 0, 7, Order), event(0, None, 1, 8, Click)]);
    }
}
