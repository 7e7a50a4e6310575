//! Importing through the seam: a data set of a few records, all options, and what ends up on disk.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use common::Feedback::{self, Click, Order, Skip};
use logs::{
    Counts, Error, Log, Manifest, Split, Statistics,
    canonical::{Form, SessionRule},
    import::{self, Options, Progress},
    source::{Format, Impressions, Input, Record, Sink},
};
use support::{folder, message};

const MINUTE: i64 = 60_000;

/// A data set whose input file holds nothing that matters.
struct Handmade {
    impressions: Impressions,
    records: Vec<(&'static str, Option<&'static str>, i64, &'static str, Feedback)>,
    propensity: Option<f32>,
    price: Option<f32>,
}

impl Format for Handmade {
    fn name(&self) -> &'static str {
        "handmade"
    }
    fn about(&self) -> &'static str {
        "for tests"
    }
    fn impressions(&self) -> Impressions {
        self.impressions
    }
    fn mapping(&self) -> Vec<(String, String)> {
        vec![("buy".into(), "order".into())]
    }
    fn read(&self, _: &Input, counts: &mut Counts, sink: &mut dyn Sink) -> Result<(), Error> {
        sink.item("never shown", Some("x"), None)?;
        for &(user, session, time_ms, item, feedback) in &self.records {
            counts.read += 1;
            sink.record(Record {
                user,
                session,
                time_ms,
                position: None,
                item,
                category: None,
                price: None,
                feedback,
                propensity: self.propensity,
            })?;
            counts.kept += 1;
        }
        for (item, category) in [("a", "x"), ("b", "x"), ("c", "y")] {
            sink.item(item, Some(category), self.price)?;
        }
        Ok(())
    }
    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        Ok(vec![path.to_owned()])
    }
}

fn actions() -> Handmade {
    let records = vec![
        ("bob", None, 100 * MINUTE, "c", Click),
        ("ann", None, 0, "a", Click),
        ("ann", None, MINUTE, "b", Click),
        ("ann", None, 2 * MINUTE, "a", Order),
        ("ann", None, 40 * MINUTE, "c", Click),
    ];
    Handmade { impressions: Impressions::Sampled, records, propensity: None, price: Some(2.5) }
}

fn run(format: &Handmade, options: &Options) -> Result<(tempfile::TempDir, Manifest), String> {
    let folder = folder(&[("input.csv", "bytes\n")]);
    let input = Input { path: folder.path().join("input.csv"), lenient: false, click_map: None };
    let output = folder.path().join("log");
    import::import(format, &input, options, &output, &mut |_: Progress| ())
        .map(|manifest| (folder, manifest))
        .map_err(|error| error.to_string())
}

/// User, split, and (item, feedback) in order.
type Session = (u64, Split, Vec<(u64, Feedback)>);

fn sessions(folder: &Path) -> Vec<Session> {
    let log = Log::open(&folder.join("log")).unwrap();
    let ids = log.item_ids();
    log.sessions()
        .map(|session| {
            let shown = session.impressions.iter().map(|i| (ids[i.item.row()], i.feedback)).collect();
            (session.user, session.split, shown)
        })
        .collect()
}

#[test]
fn actions_become_sessions_with_repetitions_merged_and_the_latest_for_testing() {
    let options = Options { negatives: Some(0), ..Options::default() };
    let (folder, manifest) = run(&actions(), &options).unwrap();
    // bob came first in the file: user 0, and c is item 0.
    let expected = [
        (0, Split::Test, vec![(0, Click)]),
        (1, Split::Train, vec![(1, Order), (2, Click)]),
        (1, Split::Train, vec![(0, Click)]),
    ];
    assert_eq!(sessions(folder.path()), expected);
    let log = Log::open(&folder.path().join("log")).unwrap();
    assert_eq!(log.manifest(), &manifest);
    assert_eq!(log.item_keys().unwrap(), ["c", "a", "b"]);
    assert_eq!(log.categories()[1], log.categories()[2]);
    assert_ne!(log.categories()[0], log.categories()[1]);
    assert_eq!(
        (manifest.n_users, manifest.n_sessions, manifest.n_items, manifest.n_impressions),
        (2, 3, 3, 4)
    );
    assert_eq!((manifest.n_merged, manifest.n_items_never_shown), (1, 1));
    assert_eq!(manifest.sessions, SessionRule::GapSeconds(1800));
    assert_eq!(manifest.split.unwrap().first_test_ms, Some(100 * MINUTE));
    assert_eq!(manifest.inputs[0].name, "input.csv");
    // printf 'bytes\n' | sha256sum
    assert_eq!(manifest.inputs[0].sha256, "95cc8e8ec552664096b998c62dfd5dfd0a41c96154de6814d918d1ca34bfc225");
}

#[test]
fn sampled_impressions_are_noted_and_the_same_for_the_same_seed() {
    let options = Options { negatives: Some(9), form: Form::Csv, seed: 1, ..Options::default() };
    let (first, manifest) = run(&actions(), &options).unwrap();
    let (second, _) = run(&actions(), &options).unwrap();
    for file in ["log.csv", "items.csv", "manifest.json"] {
        let bytes = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("log").join(file)).unwrap();
        assert_eq!(bytes(&first), bytes(&second), "{file}");
    }
    let note = manifest.negatives.unwrap();
    assert_eq!(manifest.impressions, Impressions::Sampled);
    let sessions = sessions(first.path());
    let shown: Vec<_> = sessions.iter().flat_map(|(_, _, shown)| shown).collect();
    let n_skips = shown.iter().filter(|(_, feedback)| *feedback == Skip).count() as u64;
    assert!(n_skips > 0, "nothing is sampled");
    assert_eq!((note.n_wanted() - note.n_missing, manifest.n_impressions), (n_skips, n_skips + 4));
    for (_, _, shown) in &sessions {
        let (_, last) = shown.last().unwrap();
        assert!(last.clicked(), "skips stand before the interaction: {shown:?}");
    }
}

#[test]
fn logged_impressions_are_kept_as_they_are() {
    let records =
        vec![("u", Some("s"), 5, "a", Skip), ("u", Some("s"), 5, "b", Click), ("u", Some("s"), 9, "a", Skip)];
    let format = Handmade { impressions: Impressions::Logged, records, propensity: Some(0.25), price: None };
    let (folder, manifest) = run(&format, &Options::default()).unwrap();
    assert_eq!(sessions(folder.path()), [(0, Split::Train, vec![(0, Skip), (1, Click), (0, Skip)])]);
    assert_eq!((manifest.sessions, manifest.negatives, manifest.n_merged), (SessionRule::Native, None, 0));
    let log = Log::open(&folder.path().join("log")).unwrap();
    let session = log.sessions().next().unwrap();
    assert!(session.impressions.iter().all(|shown| shown.propensity == Some(0.25)));
}

#[test]
fn options_and_records_out_of_range_are_refused_and_nothing_is_written() {
    let refused = |format: &Handmade, options: Options| run(format, &options).err().unwrap();
    let logged = Handmade { impressions: Impressions::Logged, ..actions() };
    let defaults = Options::default;
    let cases = [
        (
            refused(&actions(), Options { session_gap_seconds: 0, ..defaults() }),
            "option `session-gap` is 0, expected 1 to 31536000 seconds",
        ),
        (
            refused(&actions(), Options { test_share: 1.0, ..defaults() }),
            "option `test-share` is 1, expected a number in [0, 1)",
        ),
        (
            refused(&actions(), Options { negatives: Some(1001), ..defaults() }),
            "option `negatives` is 1001, expected at most 1000",
        ),
        (
            refused(&logged, Options { negatives: Some(9), ..defaults() }),
            "option `negatives` is 9, expected none: handmade says what was shown, nothing is sampled beside it",
        ),
        (
            refused(&Handmade { price: Some(f32::NAN), ..actions() }, defaults()),
            "item `a`: price NaN, expected a finite number from 0",
        ),
        (
            refused(&Handmade { propensity: Some(0.0), ..actions() }, defaults()),
            "item `c`: propensity 0, expected a number in (0, 1]",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let empty = refused(&Handmade { records: Vec::new(), ..actions() }, defaults());
    assert!(empty.ends_with("input.csv: nothing to import: 0 rows read, dropped by reason: {}"), "{empty}");
}

#[test]
fn a_folder_that_holds_anything_is_never_imported_into() {
    let folder = folder(&[("input.csv", "x")]);
    let input = Input { path: folder.path().join("input.csv"), lenient: false, click_map: None };
    let error =
        import::import(&actions(), &input, &Options::default(), folder.path(), &mut |_| ()).unwrap_err();
    assert_eq!(message(&error, folder.path()), "LOG: the folder is not empty; name a new one");
}

#[test]
fn table_one_counts_before_and_after_sessions_without_a_click_are_dropped() {
    let records = vec![
        ("u", Some("1"), 0, "a", Skip),
        ("u", Some("1"), 1, "b", Skip),
        ("u", Some("2"), 2, "a", Order),
        ("u", Some("2"), 3, "c", Skip),
        ("v", Some("3"), 4, "a", Click),
        ("v", Some("3"), 5, "b", Skip),
    ];
    let format = Handmade { impressions: Impressions::Logged, records, propensity: None, price: None };
    let (folder, _) = run(&format, &Options { test_share: 0.4, ..Options::default() }).unwrap();
    let table = Statistics::of(&Log::open(&folder.path().join("log")).unwrap());
    let counts = |row: logs::statistics::Row| {
        (row.users, row.sessions, row.items, row.impressions, row.clicks, row.orders)
    };
    assert_eq!(counts(table.before.all), (2, 3, 3, 6, 2, 1));
    assert_eq!(counts(table.after.all), (2, 2, 3, 4, 2, 1));
    assert_eq!(counts(table.before.train), (1, 2, 3, 4, 1, 1));
    assert_eq!(counts(table.after.test), (1, 1, 2, 2, 1, 0));
    let row = table.after.all;
    assert_eq!(
        (row.impressions_per_session, row.clicks_per_impression, row.orders_per_click),
        (2.0, 0.5, 0.5)
    );
    assert_eq!(table.skips_lost(), None);
}

#[test]
fn table_one_knows_when_the_click_filter_leaves_single_clicks_only() {
    let records = vec![
        ("u", Some("1"), 0, "a", Skip),
        ("u", Some("2"), 1, "b", Click),
        ("u", Some("3"), 2, "c", Skip),
        ("v", Some("4"), 3, "a", Click),
    ];
    let format = Handmade { impressions: Impressions::Logged, records, propensity: None, price: None };
    let (folder, _) = run(&format, &Options::default()).unwrap();
    let table = Statistics::of(&Log::open(&folder.path().join("log")).unwrap());
    assert_eq!((table.before.all.clicks_per_impression, table.after.all.clicks_per_impression), (0.5, 1.0));
    assert_eq!(table.skips_lost(), Some(2));
}
