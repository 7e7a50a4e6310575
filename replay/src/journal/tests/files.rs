//! Whose files they are, and what becomes of them under other settings.

use std::fs;

use super::support::*;
use crate::{
    Settings,
    journal::{
        Error, folder, frame,
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
    assert!(matches!(&error, Error::Settings { problem, .. } if problem.contains("n_dims")), "{error}");
    assert_eq!(named(&folder, "snapshot-").len(), 1);
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
    fs::create_dir(home_dir.path().join("shard-2")).unwrap();
    let error = folder::open(home_dir.path(), 0, 2).err().unwrap().to_string();
    assert!(
        error.contains("holds 3 shards, replay.shards is 2") && error.contains("replay reshard"),
        "{error}"
    );
    folder::open(home_dir.path(), 0, 3).unwrap();
    fs::create_dir(home_dir.path().join("reshard.partial")).unwrap();
    let error = folder::open(home_dir.path(), 0, 3).err().unwrap().to_string();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_refused_by_name() {
    let home_dir = tempfile::tempdir().unwrap();
    // A file where the folder should be fails for root, too.
    fs::write(home_dir.path().join("shard-0"), "").unwrap();
    let error = open(home_dir.path(), files(), &small()).err().unwrap().to_string();
    assert!(error.contains("cannot create") && error.contains("shard-0"), "{error}");
}
