//! The canonical log: what is read is what was written, and whatever is wrong is named.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use common::{Feedback, ItemId};
use logs::{Log, Split, canonical::Form};
use proptest::prelude::*;
use support::{ITEMS, ROWS, contents, folder, log, message};

#[test]
fn sessions_come_by_user_and_time_and_impressions_by_position() {
    let log = log(ROWS, ITEMS).unwrap();
    let sessions: Vec<_> = log.sessions().collect();
    let order: Vec<_> = sessions.iter().map(|session| (session.user, session.id, session.split)).collect();
    assert_eq!(order, [(2, 0, Split::Train), (5, 1, Split::Train), (5, 0, Split::Test)]);
    let shown: Vec<_> = sessions[1].impressions.iter().map(|i| (i.item, i.feedback, i.time_ms)).collect();
    assert_eq!(shown, [(ItemId(0), Feedback::Skip, 1000), (ItemId(1), Feedback::Click, 2000)]);
    assert!(sessions[2].has_click() && !sessions[0].has_click());
    assert_eq!((log.n_sessions(), log.n_impressions(), log.n_items()), (3, 4, 3));
}

#[test]
fn rows_of_the_item_table_follow_ascending_ids() {
    let shuffled = "price,item_id,e_1,category,e_0\n2,100,0.5,3,0.5\n1.5,7,0,0,1\n,9,-1,,0\n";
    let log = log(ROWS, shuffled).unwrap();
    assert_eq!(log.item_ids(), [7, 9, 100]);
    let items = log.items().unwrap();
    assert_eq!(items.embeddings(), [1.0, 0.0, 0.0, -1.0, 0.5, 0.5]);
    // The unknown category has a code of its own; an unknown price is 0.
    assert_eq!((items.categories(), items.prices()), (&[0, 4, 3][..], &[1.5, 0.0, 2.0][..]));
    assert_eq!(items.bound(), 1.94);
}

#[test]
fn a_log_without_embeddings_opens_and_says_what_to_run_once_they_are_asked_for() {
    let folder =
        folder(&[("log.csv", ROWS), ("items.csv", "item_id,category,price\n7,0,1\n9,0,1\n100,0,1\n")]);
    let log = Log::open(folder.path()).unwrap();
    assert_eq!(log.n_items(), 3);
    let error = message(&log.items().unwrap_err(), folder.path());
    assert_eq!(error, "LOG has no item embeddings; run: learner embed LOG");
}

#[test]
fn every_bad_row_is_named_by_file_and_line_with_what_is_wrong() {
    let row = |line: &str| ROWS.to_owned() + line + "\n";
    let item = |line: &str| ITEMS.to_owned() + line + "\n";
    let with_propensity = "user_id,session_id,position,timestamp,item_id,feedback,split,propensity\n";
    let propensity = |line: &str| with_propensity.to_owned() + line + "\n";
    let rows = [
        (row("5,2,0,1,8,0,train"), "log.csv, line 6: `item_id` 8 is not in the item table"),
        (
            row("5,2,0,1,9,3,train"),
            "log.csv, line 6: `feedback` is 3, expected 0 (skip), 1 (click) or 2 (order)",
        ),
        (row("5,2,0,1,9,click,train"), "log.csv, line 6: `feedback` is \"click\", expected an integer"),
        (row("5,2,0,1,9,1.0,train"), "log.csv, line 6: `feedback` is \"1.0\", expected an integer"),
        (row("5,2,0,1,9,1,valid"), "log.csv, line 6: `split` is \"valid\", expected train or test"),
        (row("5,2,0,1,9,1,"), "log.csv, line 6: `split` is empty"),
        (
            row("5,2,-1,1,9,1,train"),
            "log.csv, line 6: `position` is \"-1\", expected an integer from 0 to 4294967295",
        ),
        (row("bob,2,0,1,9,1,train"), "log.csv, line 6: `user_id` is \"bob\", expected an integer from 0"),
        (row("5,2,0,1.5,9,1,train"), "log.csv, line 6: `timestamp` is \"1.5\", expected an integer"),
        (row("5,2,0,1,,1,train"), "log.csv, line 6: `item_id` is empty"),
        (row("5,2,0,1,9,1"), "log.csv, line 6: 6 fields, the header has 7"),
        (
            row("5,1,0,1,9,1,train"),
            "log.csv, line 6: position 0 of session 1 of user 5 stands already in line 3",
        ),
        (
            row("5,1,2,1,9,1,test"),
            "log.csv, line 6: `split` of session 1 of user 5 is test here and train in line 2",
        ),
        (
            propensity("5,1,0,1,9,1,train,0"),
            "log.csv, line 2: `propensity` is 0, expected a number in (0, 1]",
        ),
        (
            propensity("5,1,0,1,9,1,train,1.5"),
            "log.csv, line 2: `propensity` is 1.5, expected a number in (0, 1]",
        ),
        (
            propensity("5,1,0,1,9,1,train,NaN"),
            "log.csv, line 2: `propensity` is NaN, expected a number in (0, 1]",
        ),
        (
            ROWS.replace("split", "part"),
            "log.csv: column `split` is missing; the columns are user_id, session_id, position, timestamp, item_id, feedback, part",
        ),
        (
            ROWS.replace("user_id", "user_id,propensty"),
            "log.csv: unknown column `propensty` beside user_id, session_id, position, timestamp, item_id, feedback, split",
        ),
        (ROWS.replace("session_id", "user_id"), "log.csv: column `user_id` stands twice"),
        (with_propensity.to_owned(), "log.csv: no rows"),
    ];
    for (text, expected) in rows {
        let folder = folder(&[("log.csv", &text), ("items.csv", ITEMS)]);
        assert_eq!(message(&Log::open(folder.path()).unwrap_err(), folder.path()), expected);
    }
    let items = [
        (item("101,0,1,NaN,0"), "items.csv, line 5: `e_0` is NaN, expected a finite number"),
        (item("101,0,1,0,inf"), "items.csv, line 5: `e_1` is inf, expected a finite number"),
        (item("101,0,1,0,1.94"), "items.csv, line 5: `e_1` is 1.94, expected a number inside (-1.94, 1.94)"),
        (item("101,0,1,0,0"), "items.csv, line 5: the embedding is all zero: it has no direction"),
        (item("101,0,1,0,"), "items.csv, line 5: `e_1` is empty"),
        (
            item("101,shoes,1,0,1"),
            "items.csv, line 5: `category` is \"shoes\", expected an integer from 0 to 4294967295",
        ),
        (item("101,0,-1,0,1"), "items.csv, line 5: `price` is -1, expected a finite number from 0"),
        (item("7,0,1,0,1"), "items.csv, line 5: `item_id` 7 stands already in line 2"),
        (ITEMS.replace("e_0", "e_2"), "items.csv: column `e_0` is missing among 2 columns e_0, e_1, ..."),
        (
            ITEMS.replace("category", "kind"),
            "items.csv: column `category` is missing; the columns are item_id, kind, price, e_0, e_1",
        ),
        ("item_id,category,price\n".to_owned(), "items.csv: no items"),
    ];
    for (text, expected) in items {
        let folder = folder(&[("log.csv", ROWS), ("items.csv", &text)]);
        assert_eq!(message(&Log::open(folder.path()).unwrap_err(), folder.path()), expected);
    }
}

#[test]
fn missing_ambiguous_and_damaged_files_are_named() {
    let refused = |files: &[(&str, &str)]| {
        let folder = folder(files);
        message(&Log::open(folder.path()).unwrap_err(), folder.path())
    };
    let (rows, items) = (("log.csv", ROWS), ("items.csv", ITEMS));
    assert_eq!(refused(&[items]), "LOG has no log.parquet or log.csv (what they hold: docs/logs.md)");
    assert_eq!(refused(&[rows]), "LOG has no items.parquet or items.csv (what they hold: docs/logs.md)");
    let both = refused(&[rows, items, ("log.parquet", "")]);
    assert_eq!(both, "LOG: both log.parquet and log.csv are there; remove the one that is out of date");
    let damaged = refused(&[items, ("log.parquet", "no parquet at all, however long")]);
    assert!(damaged.starts_with("log.parquet: no Parquet file: "), "{damaged}");
    let unknown = refused(&[rows, items, ("manifest.json", "{\"format\": \"own\", \"sessoins\": 3}")]);
    assert!(unknown.starts_with("manifest.json: unknown field `sessoins`"), "{unknown}");
    let later = refused(&[rows, items, ("manifest.json", "{\"schema_version\": 2}")]);
    assert_eq!(later, "manifest.json: `schema_version` is 2, this build reads 1");
    let absent = Log::open(std::path::Path::new("no/such/log")).unwrap_err().to_string();
    assert_eq!(absent, "cannot read the folder no/such/log");
}

#[test]
fn a_note_on_negatives_from_before_the_days_around_were_counted_is_read() {
    let manifest = r#"{"negatives": {"per_positive": 9, "seed": 0, "n_same_category": 5, "n_same_day": 2, "n_missing": 3}}"#;
    let folder = folder(&[("log.csv", ROWS), ("items.csv", ITEMS), ("manifest.json", manifest)]);
    let note = Log::open(folder.path()).unwrap().manifest().negatives.unwrap();
    assert_eq!((note.n_days_around, note.n_wanted(), note.missing_share()), (0, 10, 0.3));
}

#[test]
fn a_log_is_never_written_over_another() {
    let log = log(ROWS, ITEMS).unwrap();
    let folder = folder(&[("notes.txt", "mine")]);
    let error = message(&log.write(folder.path(), Form::Csv).unwrap_err(), folder.path());
    assert_eq!(error, "LOG: the folder is not empty; name a new one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_bad_row_of_a_parquet_file_is_named_by_its_number() {
    let folder = folder(&[]);
    let path = folder.path().join("log");
    log(ROWS, ITEMS).unwrap().write(&path, Form::Parquet).unwrap();
    std::fs::remove_file(path.join("items.parquet")).unwrap();
    std::fs::write(path.join("items.csv"), "item_id,category,price\n7,0,1\n100,0,1\n").unwrap();
    let error = message(&Log::open(&path).unwrap_err(), &path);
    assert_eq!(error, "log.parquet: row 3: `item_id` 9 is not in the item table");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn csv_and_parquet_hold_the_same_log(
        rows in proptest::collection::btree_map(
            (any::<u64>(), 0_u64..4, any::<u32>()),
            (any::<i64>(), 0_usize..5, 0_u8..3, proptest::option::of(1e-6_f32..1.0)),
            1..40,
        ),
        ids in proptest::collection::btree_set(any::<u64>(), 5),
        components in proptest::collection::vec(-1.9_f32..1.9, 15),
    ) {
        use std::fmt::Write;
        let ids: Vec<u64> = ids.into_iter().collect();
        let mut text =
            "user_id,session_id,position,timestamp,item_id,feedback,split,propensity\n".to_owned();
        for ((user, session, position), (time, item, feedback, propensity)) in rows {
            let split = if session == 3 { "test" } else { "train" };
            let propensity = propensity.map(|p| p.to_string()).unwrap_or_default();
            let item = ids[item];
            writeln!(text, "{user},{session},{position},{time},{item},{feedback},{split},{propensity}").unwrap();
        }
        let mut items = "item_id,category,price,key,e_0,e_1,e_2\n".to_owned();
        for (k, (id, e)) in ids.iter().zip(components.chunks(3)).enumerate() {
            prop_assume!(e.iter().any(|value| *value != 0.0));
            let category = if k == 2 { String::new() } else { (k % 3).to_string() };
            writeln!(items, "{id},{category},0.{k},\"a, {k}\",{},{},{}", e[0], e[1], e[2]).unwrap();
        }
        let first = log(&text, &items).unwrap();
        let folder = folder(&[]);
        let [parquet, csv] = ["parquet", "csv"].map(|name| folder.path().join(name));
        first.write(&parquet, Form::Parquet).unwrap();
        let second = Log::open(&parquet).unwrap();
        second.write(&csv, Form::Csv).unwrap();
        let third = Log::open(&csv).unwrap();
        prop_assert_eq!(contents(&first), contents(&second));
        prop_assert_eq!(contents(&first), contents(&third));
        prop_assert_eq!(first.manifest(), third.manifest());
    }
}
