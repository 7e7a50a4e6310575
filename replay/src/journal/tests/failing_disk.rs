//! Disks that are full, slow or broken: nothing is acknowledged that is not durable, and who waits is told why.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use common::config::Sync;

use super::support::*;
use crate::journal::home::Home;

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until the journal says that it has a failure, or none.
async fn until_failing(home: &Home, fails: bool) -> String {
    let wait = async {
        loop {
            let failure = home.info().failure;
            if failure.is_empty() != fails {
                return failure;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_acknowledgements_back_says_so_and_loses_nothing_when_there_is_room_again() {
    for sync in [Sync::Disk, Sync::System] {
        for room in [0, 7, 333] {
            let home_dir = tempfile::tempdir().unwrap();
            let disk = FailingDisk::default();
            let fate = disk.fate.clone();
            let (home, mut shard, _) = open_with(home_dir.path(), Arc::new(disk), &small(), sync).unwrap();
            let mut history = History::new(8);
            let (before, _) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
            home.durable(before).await.unwrap();
            fate.lock().unwrap().room = Some(room);
            let (after, expected) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
            let failure = until_failing(&home, true).await;
            assert!(failure.contains("cannot write") && failure.contains("journal-"), "{failure}");
            let early = tokio::time::timeout(Duration::from_millis(30), home.durable(after)).await;
            assert!(early.is_err(), "acknowledged on a full disk");
            fate.lock().unwrap().room = None;
            tokio::time::timeout(DEADLINE, home.durable(after)).await.unwrap().unwrap();
            until_failing(&home, false).await;
            drop(home);
            let (found, recovered) = read_back(&folder(home_dir.path()), &small());
            assert!(found == expected, "room for {room} bytes");
            assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_ends_on_a_full_disk_leaves_what_was_acknowledged() {
    let home_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let fate = disk.fate.clone();
    let (home, mut shard, _) = open(home_dir.path(), Arc::new(disk), &small()).unwrap();
    let mut history = History::new(9);
    let (before, expected) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
    home.durable(before).await.unwrap();
    fate.lock().unwrap().room = Some(50);
    go_on(&mut history, &home, &mut shard, 10);
    until_failing(&home, true).await;
    drop(home);
    let (found, recovered) = read_back(&folder(home_dir.path()), &small());
    assert!(found == expected);
    assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_fsync_nothing_is_acknowledged_until_a_restart_and_no_memory_gathers() {
    let home_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let (fate, syncs) = (disk.fate.clone(), disk.syncs.clone());
    let (home, mut shard, _) = open(home_dir.path(), Arc::new(disk), &small()).unwrap();
    let mut history = History::new(10);
    let states = go_on(&mut history, &home, &mut shard, 10);
    let (acknowledged, _) = *states.last().unwrap();
    home.durable(acknowledged).await.unwrap();
    fate.lock().unwrap().sync_fails = true;
    let mut after = go_on(&mut history, &home, &mut shard, 1);
    let failure = home.durable(after[0].0).await.unwrap_err();
    assert!(failure.contains("cannot sync") && failure.contains("input/output error"), "{failure}");
    assert!(home.info().failure.contains("until a restart"));
    // The disk is well again, but which pages it has is not known: it is not asked again.
    fate.lock().unwrap().sync_fails = false;
    let tried = syncs.load(Relaxed);
    after.extend(go_on(&mut history, &home, &mut shard, 200));
    assert!(home.durable(after[200].0).await.is_err());
    home.room().await;
    assert_eq!((home.pending(), syncs.load(Relaxed)), (0, tried));
    assert_eq!(home.info().durable, acknowledged);
    drop(home);
    let (found, recovered) = read_back(&folder(home_dir.path()), &small());
    // A prefix that contains all that was acknowledged.
    assert!(recovered.position >= acknowledged);
    assert!(states.iter().chain(&after).any(|(_, state)| *state == found));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_for_another_reason_than_room_is_not_tried_again_and_nothing_is_acknowledged() {
    let home_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let fate = disk.fate.clone();
    let (home, mut shard, _) = open(home_dir.path(), Arc::new(disk), &small()).unwrap();
    let mut history = History::new(12);
    let (acknowledged, expected) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
    home.durable(acknowledged).await.unwrap();
    fate.lock().unwrap().write_fails = true;
    let (after, _) = go_on(&mut history, &home, &mut shard, 1).pop().unwrap();
    let failure = home.durable(after).await.unwrap_err();
    assert!(failure.contains("cannot write") && failure.contains("until a restart"), "{failure}");
    fate.lock().unwrap().write_fails = false;
    let (later, _) = go_on(&mut history, &home, &mut shard, 50).pop().unwrap();
    assert!(home.durable(later).await.is_err());
    assert_eq!((home.pending(), home.info().durable), (0, acknowledged));
    drop(home);
    let (found, recovered) = read_back(&folder(home_dir.path()), &small());
    assert!(found == expected, "all that was acknowledged, and no more");
    assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_journals_thread_is_told_and_nothing_is_acknowledged() {
    let home_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let fate = disk.fate.clone();
    let (home, mut shard, _) = open(home_dir.path(), Arc::new(disk), &small()).unwrap();
    let mut history = History::new(13);
    let (acknowledged, expected) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
    home.durable(acknowledged).await.unwrap();
    assert!(!home.progress().has_panicked);
    fate.lock().unwrap().write_panics = true;
    let (after, _) = go_on(&mut history, &home, &mut shard, 1).pop().unwrap();
    let failure = tokio::time::timeout(DEADLINE, home.durable(after)).await.unwrap().unwrap_err();
    assert!(failure.contains("panicked"), "{failure}");
    assert!(home.progress().has_panicked);
    drop(home);
    assert!(read_back(&folder(home_dir.path()), &small()).0 == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_fsync_serves_all_who_wait_for_it() {
    let home_dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::default();
    let (fate, syncs) = (disk.fate.clone(), disk.syncs.clone());
    let (home, mut shard, _) = open(home_dir.path(), Arc::new(disk), &small()).unwrap();
    fate.lock().unwrap().sync_takes = Duration::from_millis(50);
    let before = syncs.load(Relaxed);
    let (position, _) = go_on(&mut History::new(11), &home, &mut shard, 60).pop().unwrap();
    home.durable(position).await.unwrap();
    let groups = syncs.load(Relaxed) - before;
    assert!(groups < 30, "{groups} fsyncs for 60 operations");
}
