//! Whose files they are, and what becomes of them under other settings.

use std::fs;

use common::config::Sync;

use super::support::*;
use crate::{
    Settings,
    journal::{
        Error, folder, frame,
        home::{Address, Home},
        operation::{FORM, FileHeader, MAGIC},
        recover,
    },
    settings::Sampling,
    shard::Shard,
    table::Level,
};

/// A folder with some history, and the shard.
fn filled(settings: &Settings, with_snapshot: bool) -> (tempfile::TempDir, Shard) {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), settings).unwrap();
    go_on(&mut History::new(20), &home, &mut shard, 60);
    if with_snapshot {
        home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    }
    drop(home);
    (home_dir, shard)
}

/// Names of the rows of a table, oldest first.
fn rows(shard: &Shard, level: Level) -> Vec<(u64, u32, u8)> {
    let name = |row: crate::table::Row| {
        (shard.periods().session(row.slot), shard.periods().period(row.slot), row.position)
    };
    shard.table(level).to_deal().map(|dealt| name(dealt.row)).collect()
}

#[test]
fn a_shard_is_served_by_one_process_at_a_time() {
    let home_dir = tempfile::tempdir().unwrap();
    let first = open(home_dir.path(), files(), &small()).unwrap();
    assert!(matches!(open(home_dir.path(), files(), &small()), Err(Error::InUse(_))));
    drop(first);
    open(home_dir.path(), files(), &small()).unwrap();
}

#[test]
fn files_of_another_run_form_or_schema_are_refused_by_name_and_left_alone() {
    let (home_dir, _) = filled(&small(), true);
    let folder = folder(home_dir.path());
    let error = recover::recover(&folder, "other", &mut empty(&small())).err().unwrap().to_string();
    assert!(error.contains("belongs to run `test`, not to `other`"), "{error}");
    for (form, schema_version) in [(FORM + 1, proto::SCHEMA_VERSION), (FORM, proto::SCHEMA_VERSION + 1)] {
        let header = FileHeader {
            magic: MAGIC,
            form,
            schema_version,
            run_id: "test".into(),
            shard_uid: 7,
            position: 1 << 40,
        };
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &header).unwrap();
        let newer = folder.join(format!("snapshot-{:020}.bin", 1_u64 << 40));
        fs::write(&newer, &bytes).unwrap();
        let error = recover::recover(&folder, "test", &mut empty(&small())).err().unwrap().to_string();
        let theirs = format!("has form {form} and schema version {schema_version}");
        assert!(
            error.contains(&theirs) && error.contains("this build reads forms up to 2 and schema version 1"),
            "{error}"
        );
        assert_eq!(fs::read(&newer).unwrap(), bytes);
    }
}

#[test]
fn a_snapshot_of_another_shape_is_refused_and_left_alone() {
    let (home_dir, _) = filled(&small(), true);
    let mut other = small();
    other.shape.n_dims += 1;
    let folder = folder(home_dir.path());
    let error = recover::recover(&folder, "test", &mut empty(&other)).err().unwrap();
    let says = format!(
        "settings: `model.n_dims` is {}, the folder's is {}. Set what it was made with, or take another replay.data_dir",
        other.shape.n_dims,
        small().shape.n_dims
    );
    assert!(matches!(&error, Error::Settings { .. }) && error.to_string().ends_with(&says), "{error}");
    assert_eq!(named(&folder, "snapshot-").len(), 1);
}

#[test]
fn a_journal_without_a_snapshot_is_not_taken_for_damaged_under_another_shape() {
    type Change = fn(&mut Settings);
    let others: [(&str, Change); 5] = [
        ("`model.window`", |other| other.shape.window += 1),
        ("`model.period_steps`", |other| other.shape.n_steps += 1),
        ("`model.n_goals`", |other| other.shape.n_goals += 1),
        ("`model.n_dims`", |other| other.shape.n_dims += 1),
        ("`algorithm.partial_periods` is drop, the folder's is keep", |other| {
            other.partial_periods = common::config::PartialPeriods::Drop;
        }),
    ];
    let (home_dir, shard) = filled(&small(), false);
    let journal = named(&folder(home_dir.path()), "journal-").remove(0);
    let before = fs::read(&journal).unwrap();
    for (name, change) in others {
        let mut other = small();
        change(&mut other);
        let error = open(home_dir.path(), files(), &other).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("Set what it was made with"), "{error}");
        assert_eq!(error.matches("the folder's").count(), 1, "{error}");
    }
    assert_eq!(fs::read(&journal).unwrap(), before);
    assert!(read_back(&folder(home_dir.path()), &small()).0 == state(&shard));
    // Where there is nothing yet, they are what they are now.
    let fresh = tempfile::tempdir().unwrap();
    drop(open(fresh.path(), files(), &small()).unwrap());
    let mut other = small();
    other.shape.window += 1;
    drop(open(fresh.path(), files(), &other).unwrap());
    let settings = fs::read_to_string(folder(fresh.path()).join("settings.toml")).unwrap();
    assert!(settings.contains(&format!("window = {}", other.shape.window)), "{settings}");
}

#[test]
fn another_capacity_keeps_the_newest_rows() {
    for with_snapshot in [false, true] {
        let (home_dir, shard) = filled(&small(), with_snapshot);
        for (low, high) in [(25, 5), (500, 100), (60, 12)] {
            let mut settings = small();
            (settings.low.capacity, settings.high.capacity) = (low, high);
            let mut found = empty(&settings);
            recover::recover(&folder(home_dir.path()), "test", &mut found).unwrap();
            for (level, capacity) in [(Level::Low, low), (Level::High, high)] {
                let (old, new) = (rows(&shard, level), rows(&found, level));
                let n = old.len().min(capacity);
                assert!(new.len() >= n && new.len() <= capacity);
                assert_eq!(new[new.len() - n..], old[old.len() - n..], "{low}, {with_snapshot}");
            }
        }
    }
}

#[test]
fn another_way_of_sampling_holds_from_the_restart_on() {
    let ways = [Sampling::Uniform, Sampling::Fifo, Sampling::Prioritised { exponent: 0.6 }];
    for before in ways {
        let (home_dir, shard) = filled(&Settings { sampling: before, ..small() }, true);
        for after in ways.into_iter().chain([Sampling::Prioritised { exponent: 1.0 }]) {
            let settings = Settings { sampling: after, ..small() };
            let mut found = empty(&settings);
            recover::recover(&folder(home_dir.path()), "test", &mut found).unwrap();
            assert_eq!(rows(&found, Level::Low), rows(&shard, Level::Low));
            if after == before {
                assert_eq!(state(&found), state(&shard));
            }
            let sampled = found.sample(Level::Low, 4, 1, false).unwrap();
            let is_prioritised = matches!(after, Sampling::Prioritised { .. });
            assert_eq!(sampled.keys.is_empty(), !is_prioritised, "{before:?} to {after:?}");
            // It goes on, and is read back.
            let bytes = state(&found);
            assert_eq!(state(&restored(&settings, &bytes)), bytes);
        }
    }
}

#[test]
fn folders_of_more_shards_than_there_are_are_refused_with_the_command_to_run() {
    let (home_dir, _) = filled(&small(), false);
    let third = home_dir.path().join("shard-2");
    copy(&folder(home_dir.path()), &third);
    let error = || folder::open(home_dir.path(), 0, 2).err().unwrap().to_string();
    let said = error();
    for part in
        ["holds 3 shards, replay.shards is 2", "shard-1 back, or make it an empty folder", "replay reshard"]
    {
        assert!(said.contains(part), "`{said}` lacks `{part}`");
    }
    assert!(!said.contains("removed"), "{said}");
    fs::create_dir(home_dir.path().join("shard-1")).unwrap();
    let said = error();
    assert!(said.contains("replay reshard") && !said.contains("shard-1"), "{said}");
    fs::remove_dir_all(&third).unwrap();
    folder::open(home_dir.path(), 0, 2).unwrap();
    folder::open(home_dir.path(), 0, 3).unwrap();
    fs::create_dir(home_dir.path().join("reshard.partial")).unwrap();
    let error = folder::open(home_dir.path(), 0, 3).err().unwrap().to_string();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn a_folder_beyond_the_number_that_holds_nothing_is_named_as_one_that_can_be_removed() {
    let (home_dir, _) = filled(&small(), false);
    let third = home_dir.path().join("shard-2");
    fs::create_dir(&third).unwrap();
    // As builds left it that did not look at the number, and with a journal without operations.
    fs::remove_file(folder(home_dir.path()).join("shards")).unwrap();
    let address = Address { data_dir: home_dir.path(), shard: 2, n_shards: 3 };
    drop(Home::open(address, files(), ("test", 78, Sync::Disk), empty(&small())).unwrap());
    assert!(named(&third, "journal-").len() == 1);
    let error = || folder::open(home_dir.path(), 0, 2).err().unwrap().to_string();
    let said = error();
    assert!(said.contains("shard-2 holds nothing") && said.contains("can be removed"), "{said}");
    assert!(said.contains("holds 3 shards, replay.shards is 2") && !said.contains("reshard"), "{said}");
    for held in ["snapshot-00000000000000000001.bin", "journal-00000000000000000000.log.1.damaged", "unknown"]
    {
        fs::write(third.join(held), "something").unwrap();
        let said = error();
        assert!(!said.contains("removed") && said.contains("replay reshard"), "{held}: {said}");
        fs::remove_file(third.join(held)).unwrap();
    }
    assert!(error().contains("can be removed"));
}

#[test]
fn a_new_shard_beside_those_of_another_number_is_refused_before_it_leaves_anything() {
    let data_dir = tempfile::tempdir().unwrap();
    let open = |shard, n_shards| folder::open(data_dir.path(), shard, n_shards).map(drop);
    open(0, 2).unwrap();
    for shard in [1, 2] {
        let said = open(shard, 3).unwrap_err().to_string();
        for part in ["shard-0 is one of 2 shards, replay.shards is 3", "Set it to 2", "replay reshard"] {
            assert!(said.contains(part), "`{said}` lacks `{part}`");
        }
    }
    assert_eq!(named(data_dir.path(), "").len(), 1);
    // The right ones are as they were, and one that a build made that did not say the number.
    open(1, 2).unwrap();
    fs::remove_file(data_dir.path().join("shard-0").join("shards")).unwrap();
    open(0, 2).unwrap();
    assert_eq!(fs::read_to_string(data_dir.path().join("shard-0").join("shards")).unwrap(), "2\n");
}

#[test]
fn shards_that_begin_a_data_directory_at_the_same_moment_in_any_order_are_all_let_in() {
    for _ in 0..20 {
        let data_dir = tempfile::tempdir().unwrap();
        let at_once = std::sync::Barrier::new(8);
        let open = |shard| {
            at_once.wait();
            folder::open(data_dir.path(), shard, 8).map(drop)
        };
        let open = &open;
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8).rev().map(|shard| scope.spawn(move || open(shard))).collect();
            opened.into_iter().for_each(|opened| opened.join().unwrap().unwrap());
        });
    }
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused_by_name() {
    let home_dir = tempfile::tempdir().unwrap();
    // A file where the folder should be fails for root, too.
    fs::write(home_dir.path().join("shard-0"), "").unwrap();
    let error = open(home_dir.path(), files(), &small()).err().unwrap().to_string();
    assert!(error.contains("cannot create") && error.contains("shard-0"), "{error}");
}
