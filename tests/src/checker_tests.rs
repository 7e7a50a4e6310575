//! The checker finds what was planted.

use super::*;
use crate::ledger::Session;

const C: u64 = SHAPE.n_steps as u64;

/// Two sessions of one writer, of 9 and 5 steps at least, all acknowledged and on shard 1.
fn right() -> (Ledger, Found) {
    let (mut ledger, mut found) = (Ledger::default(), Found::default());
    let longer = |least: u64| (0..).filter(move |session| identity::length(*session) > least);
    let mut place = 0;
    for (number, steps) in [(longer(9).next(), 9), (longer(9).nth(1), 5)] {
        let number = number.unwrap();
        let places = (place..place + steps).collect();
        place += steps;
        let session = Session { writer: 3, places, acknowledged: steps, lost: false };
        ledger.sessions.insert(number, session);
        found.low.extend((0..steps).map(|t| ((number, t), 1)));
        found.high.extend((0..steps / C).map(|period| ((number, period), 1)));
    }
    count(&mut found, 0);
    (ledger, found)
}

fn count(found: &mut Found, evicted: u64) {
    let table = |rows: usize, evicted: u64| {
        let size = rows as u64;
        Some(v1::TableInfo { size, inserted: size + evicted, evicted, ..v1::TableInfo::default() })
    };
    let info = v1::InfoResponse {
        low: table(found.low.len(), evicted),
        high: table(found.high.len(), 0),
        ..v1::InfoResponse::default()
    };
    found.infos.insert(1, info);
}

fn violations(ledger: &Ledger, found: Found) -> String {
    check(ledger, found).expect_err("something was planted").to_string()
}

#[test]
fn what_is_right_passes() {
    let (ledger, found) = right();
    let report = check(&ledger, found).unwrap();
    assert_eq!(report, Report { acknowledged: 14, inserted: 14, low: 14, high: 3, evicted: 0 });
}

#[test]
fn a_lost_step_is_found() {
    // Also of a session that its writer gave up later.
    for lost in [false, true] {
        let (mut ledger, mut found) = right();
        let last = *found.low.keys().last().unwrap();
        ledger.sessions.get_mut(&last.0).unwrap().lost = lost;
        found.low.remove(&last);
        count(&mut found, 0);
        let told = violations(&ledger, found);
        assert!(told.contains("5 steps were acknowledged, 4 are stored"), "{told}");
    }
}

#[test]
fn a_doubled_row_is_found_by_the_counts() {
    let (ledger, mut found) = right();
    found.infos.get_mut(&1).unwrap().low.as_mut().unwrap().size += 1;
    assert!(violations(&ledger, found).contains("14 distinct rows seen, 15 held"));
}

#[test]
fn a_hole_and_a_row_that_nobody_wrote_are_found() {
    let (ledger, mut found) = right();
    let first = *found.low.keys().next().unwrap();
    found.low.remove(&(first.0, 2));
    found.low.insert((99_999, 0), 1);
    count(&mut found, 0);
    let told = violations(&ledger, found);
    assert!(told.contains("has holes") && told.contains("99999 was written by nobody"), "{told}");
}

#[test]
fn a_period_without_its_steps_and_steps_without_their_period_are_found() {
    let (ledger, mut found) = right();
    let last = *found.high.keys().last().unwrap();
    found.high.remove(&last);
    count(&mut found, 0);
    assert!(violations(&ledger, found).contains("and the periods {}"));
    let (ledger, mut found) = right();
    found.high.insert((last.0, last.1 + 1), 1);
    count(&mut found, 0);
    assert!(violations(&ledger, found).contains("has 5 steps, and the periods {0, 1}"));
}

#[test]
fn eviction_out_of_order_is_found() {
    let (ledger, mut found) = right();
    let (first, last) = (*found.low.keys().next().unwrap(), *found.low.keys().last().unwrap());
    // The oldest went: right.
    found.low.remove(&first);
    count(&mut found, 1);
    check(&ledger, found).unwrap();
    // The newest went, older ones stayed.
    let (ledger, mut found) = right();
    found.low.remove(&last);
    count(&mut found, 1);
    assert!(violations(&ledger, found).contains("is missing, an older one (0) is there"));
}

#[test]
fn a_session_on_two_shards_is_found() {
    let (ledger, mut found) = right();
    let last = *found.low.keys().last().unwrap();
    found.low.insert(last, 2);
    assert!(violations(&ledger, found).contains("is on several shards: {1, 2}"));
}

#[test]
fn a_row_with_one_value_of_another_is_torn() {
    let session = (0..).find(|session| identity::length(*session) > 9).unwrap();
    let mut row = identity::low(session, 6);
    assert_eq!(client::wrong_low_row(&row), None);
    row.next_windows = identity::windows(session + 1, 7);
    assert!(client::wrong_low_row(&row).unwrap().contains("torn or mixed"));
    let mut row = identity::high(session, 1);
    assert_eq!(client::wrong_high_row(&row), None);
    row.goals[3] = 0.5;
    assert!(client::wrong_high_row(&row).is_some());
}
