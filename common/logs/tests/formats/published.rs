//! Real pieces of the data sets, where `MAHRL_PUBLISHED_LOGS` says they are; without it these tests say so and check nothing.

use std::io::Write;
use std::path::PathBuf;

use crate::support::{Outcome, input, read_input};

/// Reads `folder` of the data directory leniently, as the pieces may be cut short.
fn published(format: &str, folder: &str) -> Option<Outcome> {
    let Some(root) = std::env::var_os("MAHRL_PUBLISHED_LOGS").map(PathBuf::from) else {
        shout(&format!("NOT TESTED: {format} on published data, as MAHRL_PUBLISHED_LOGS is not set"));
        return None;
    };
    let path = root.join(folder);
    if !path.exists() {
        shout(&format!("NOT TESTED: {format} on published data, as {} is not there", path.display()));
        return None;
    }
    let mut input = input(&path);
    input.lenient = true;
    Some(read_input(format, &input).unwrap())
}

/// To the standard error itself: what `eprintln!` prints is not shown when a test passes.
fn shout(words: &str) {
    std::io::stderr().write_all(format!("{words}\n").as_bytes()).unwrap();
}

/// (rows read, kept, malformed, users, sessions, clicks, orders)
fn totals(outcome: &Outcome) -> [usize; 7] {
    let distinct = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    };
    let records = &outcome.records;
    let feedback = |code| records.iter().filter(|record| record.feedback.code() == code).count();
    let number = |n| usize::try_from(n).unwrap();
    [
        number(outcome.counts.read),
        number(outcome.counts.kept),
        number(outcome.dropped("malformed")),
        distinct(records.iter().map(|record| record.user.as_str()).collect()),
        distinct(records.iter().filter_map(|record| record.session.as_deref()).collect()),
        feedback(1),
        feedback(2),
    ]
}

#[test]
fn published_taobao_reads_in_full() {
    let Some(outcome) = published("taobao", "taobao") else { return };
    assert_eq!(totals(&outcome), [84_476, 84_475, 1, 815, 0, 82_725, 1_750]);
}

#[test]
fn published_jdata_demo_reads_in_full() {
    let Some(outcome) = published("jdata-demo", "jdata-demo") else { return };
    let [read, kept, malformed, _, sessions, clicks, orders] = totals(&outcome);
    assert_eq!([read, kept, malformed, sessions, clicks, orders], [27_183, 27_183, 0, 5_052, 25_277, 1_906]);
}

#[test]
fn published_jdsearch_reads_in_full() {
    let Some(outcome) = published("jdsearch", "jdsearch") else { return };
    assert_eq!(totals(&outcome), [492, 262, 0, 3, 3, 5, 0]);
    assert_eq!((outcome.dropped("history"), outcome.items.len()), (230, 409));
}

#[test]
fn published_otto_reads_in_full() {
    let Some(outcome) = published("otto", "otto") else { return };
    assert_eq!(totals(&outcome), [862, 862, 0, 20, 0, 852, 10]);
}

#[test]
fn published_obd_reads_in_full_under_both_policies() {
    let Some(outcome) = published("obd", "obd") else { return };
    let [read, kept, malformed, users, sessions, clicks, orders] = totals(&outcome);
    assert_eq!([read, kept, malformed, users, sessions, orders], [20_000, 20_000, 0, 20_000, 20_000, 0]);
    // About half a click in a hundred impressions.
    assert!((60..160).contains(&clicks), "{clicks}");
    assert!(outcome.records.iter().all(|record| record.propensity.is_some()));
}
