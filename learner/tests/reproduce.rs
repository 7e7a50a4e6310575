//! `learner reproduce` again with the same seeds: the same tables and figures, byte for byte.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{collections::BTreeMap, fs};

use support::Runs;

/// A reference, a policy with a log behind it, a training run: the least that the program takes.
const LEAST: &[&str] = &[
    "reproduce",
    "table1",
    "table2",
    "fig7",
    "--methods",
    "random,logging,tuned",
    "--steps",
    "5000",
    "--sessions",
    "2",
    "--seeds",
    "1",
];
/// What docs/reproduce.md leaves to the clock: the table of seconds, and the page that shows it.
const OF_THE_CLOCK: [&str; 2] = ["fig7-seconds.", "report.html"];

/// Names and contents of all tables and figures in a folder.
fn shown(runs: &Runs, out: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(runs.path(out)).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .filter(|(name, _)| !OF_THE_CLOCK.iter().any(|left_out| name.starts_with(left_out)))
        .collect()
}

#[test]
fn a_second_reproduction_has_the_same_tables_and_figures() {
    let runs = Runs::new();
    let reproduce = |out: &str| runs.spawn(&[LEAST, &["--out", out]].concat()).succeed().stderr;
    let said = reproduce("first");
    assert!(said.contains("3 cells, 3 of them to run"), "{said}");
    let first = shown(&runs, "first");
    for table in ["table1", "table1-paper", "table2-static", "fig7-50", "fig7-200"] {
        for form in ["csv", "json", "md"] {
            assert!(first.contains_key(&format!("{table}.{form}")), "{table}.{form}: {:?}", first.keys());
        }
    }
    assert!(first.contains_key("fig7-50.svg"), "{:?}", first.keys());
    // Something was trained: the last column counts updates.
    let trained = String::from_utf8_lossy(&first["fig7-50.csv"]).into_owned();
    let updates = trained.lines().last().unwrap().rsplit(',').next().unwrap();
    assert!(updates.parse::<u64>().unwrap() > 0, "{trained}");
    reproduce("second");
    assert_same(&first, &shown(&runs, "second"));
    // The same command goes on where it stopped: nothing is left to do, and the tables stay what they are.
    let said = reproduce("first");
    assert!(said.contains("3 cells, 0 of them to run"), "{said}");
    assert_same(&first, &shown(&runs, "first"));
}

fn assert_same(first: &BTreeMap<String, Vec<u8>>, second: &BTreeMap<String, Vec<u8>>) {
    assert!(first.keys().eq(second.keys()), "{:?} and {:?}", first.keys(), second.keys());
    for (name, bytes) in first {
        let [one, other] = [bytes, &second[name]].map(|bytes| String::from_utf8_lossy(bytes));
        assert_eq!(one, other, "{name}");
    }
}
