//! Flipped bits: the healthy part is served, what is lost is said and kept for people, nothing is taken for whole.

use std::fs;

use super::{kill::ends, support::*};
use crate::journal::operation::Operation;

#[test]
fn a_flipped_bit_in_any_frame_loses_no_operation_before_it_and_says_so() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut states = vec![(0, state(&shard))];
    states.extend(go_on(&mut History::new(5), &home, &mut shard, 30));
    drop(home);
    let from = folder(home_dir.path());
    let journal = named(&from, "journal-").pop().unwrap();
    let bytes = fs::read(&journal).unwrap();
    let ends = ends(&bytes);
    for (k, frame) in ends.windows(2).enumerate() {
        // In the mark, the length, the checksum, the payload's first and last byte.
        for at in [frame[0], frame[0] + 5, frame[0] + 9, frame[0] + 12, frame[1] - 1] {
            let crashed = tempfile::tempdir().unwrap();
            copy(&from, crashed.path());
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            fs::write(crashed.path().join(journal.file_name().unwrap()), &flipped).unwrap();
            let (found, recovered) = read_back(crashed.path(), &small());
            assert!(found == states[k].1, "operation {k}, byte {at}");
            let is_last = k + 2 == ends.len();
            assert_eq!(recovered.damage.is_empty(), is_last, "{:?}", recovered.damage);
            if !is_last {
                let lost = bytes.len() - frame[0];
                assert!(recovered.damage[0].contains(&format!("the {lost} bytes")), "{:?}", recovered.damage);
                let kept = fs::read(named(crashed.path(), "journal-").pop().unwrap()).unwrap();
                assert!(kept == flipped[frame[0]..], "what was damaged is kept as it was");
            }
            // It is not found damaged again.
            let (again, recovered) = read_back(crashed.path(), &small());
            assert!(again == found && recovered.damage.is_empty());
        }
    }
}

#[test]
fn an_operation_that_cannot_be_ends_what_is_served_and_is_said_and_kept() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut history = History::new(8);
    let (position, before) = go_on(&mut history, &home, &mut shard, 10).pop().unwrap();
    // Its frame is whole, but its writer has sent nothing before.
    let Operation::Batch { records, .. } = History::new(9).batch() else { panic!("no batch") };
    home.append(&Operation::Batch { writer: 9, sequence: 5, records });
    go_on(&mut history, &home, &mut shard, 10);
    drop(home);
    let folder = folder(home_dir.path());
    let journal = named(&folder, "journal-").pop().unwrap();
    let bytes = fs::read(&journal).unwrap();
    let refused = ends(&bytes)[10];
    let (found, recovered) = read_back(&folder, &small());
    assert!(found == before, "what comes before it is served, and nothing behind it");
    assert_eq!((recovered.position, recovered.operations), (position, 10));
    let [said] = &recovered.damage[..] else { panic!("{:?}", recovered.damage) };
    assert!(said.contains(&format!("the operation at byte {refused} cannot be: ")), "{said}");
    assert!(said.contains("does not follow 0"), "{said}");
    assert!(fs::read(named(&folder, "journal-").pop().unwrap()).unwrap() == bytes[refused..]);
    let (again, recovered) = read_back(&folder, &small());
    assert!(again == before && recovered.damage.is_empty());
}

#[test]
fn a_journal_file_that_is_missing_is_told_and_what_stands_before_it_is_served() {
    for missing in [0, 1] {
        let home_dir = tempfile::tempdir().unwrap();
        let (mut history, mut states) = (History::new(6), vec![(0, state(&empty(&small())))]);
        // Each start begins a file.
        for _ in 0..3 {
            let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
            states.extend(go_on(&mut history, &home, &mut shard, 10).pop());
        }
        let from = folder(home_dir.path());
        let journals = named(&from, "journal-");
        assert_eq!(journals.len(), 3);
        fs::remove_file(&journals[missing]).unwrap();
        let (home, shard, recovered) = open(home_dir.path(), files(), &small()).unwrap();
        assert_eq!(recovered.position, states[missing].0);
        assert!(state(&shard) == states[missing].1, "file {missing}");
        // Every file behind it is named, kept, and not found damaged again.
        assert_eq!(recovered.damage.len(), 2 - missing, "{:?}", recovered.damage);
        for (said, journal) in recovered.damage.iter().zip(&journals[missing + 1..]) {
            let gap = format!("operations {} to ", states[missing].0);
            assert!(said.contains(&journal.display().to_string()) && said.contains(&gap), "{said}");
        }
        drop(home);
        let kept =
            named(&from, "journal-").iter().filter(|path| path.extension().unwrap() == "damaged").count();
        assert_eq!(kept, 2 - missing);
        let (again, recovered) = read_back(&from, &small());
        assert!(again == state(&shard) && recovered.damage.is_empty(), "{:?}", recovered.damage);
    }
}

#[test]
fn damage_is_passed_in_no_time_in_a_large_file() {
    use crate::journal::frame;

    // Small numbers everywhere: each could be a length.
    let records: Vec<u8> = (0..100_000_u32).flat_map(|k| (k % 1_000).to_le_bytes()).collect();
    let mut bytes = Vec::new();
    for sequence in 0..80 {
        frame::put(&mut bytes, &Operation::Batch { writer: 1, sequence, records: records.clone().into() })
            .unwrap();
    }
    bytes[2_000] ^= 1;
    let begun = std::time::Instant::now();
    assert!(frame::is_followed(&bytes, 0));
    assert!(!frame::is_followed(&bytes[..400_000], 0));
    // Seconds stand for the minutes that a search by lengths and checksums took.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_the_one_before_is_there() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut history = History::new(6);
    for _ in 0..3 {
        go_on(&mut history, &home, &mut shard, 20);
        home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    }
    let (position, expected) = go_on(&mut history, &home, &mut shard, 20).pop().unwrap();
    drop(home);
    let from = folder(home_dir.path());
    let snapshots = named(&from, "snapshot-");
    assert_eq!(snapshots.len(), 2, "the newest two are kept");
    let bytes = fs::read(&snapshots[1]).unwrap();
    for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let crashed = tempfile::tempdir().unwrap();
        copy(&from, crashed.path());
        let newest = crashed.path().join(snapshots[1].file_name().unwrap());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        // A torn one, too.
        fs::write(&newest, if at % 2 == 0 { &flipped[..] } else { &bytes[..at] }).unwrap();
        let (found, recovered) = read_back(crashed.path(), &small());
        assert!(found == expected, "byte {at}");
        assert_eq!((recovered.position, recovered.uid), (position, Some(77)));
        assert_eq!(recovered.damage.len(), 1, "{:?}", recovered.damage);
        assert!(!newest.exists());
    }
}

#[test]
fn a_shard_that_has_lost_everything_has_another_name() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut history = History::new(7);
    for _ in 0..3 {
        go_on(&mut history, &home, &mut shard, 20);
        home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    }
    go_on(&mut history, &home, &mut shard, 5);
    drop(home);
    let folder = folder(home_dir.path());
    for snapshot in named(&folder, "snapshot-") {
        let mut bytes = fs::read(&snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&snapshot, bytes).unwrap();
    }
    let (found, recovered) = read_back(&folder, &small());
    assert!(found == state(&empty(&small())));
    // Writers that were acknowledged must not take it for the shard that they left.
    assert_eq!((recovered.uid, recovered.position), (None, 0));
    assert!(recovered.damage.len() >= 3, "{:?}", recovered.damage);
}

#[test]
fn old_files_of_which_a_killed_shard_had_removed_a_part_are_no_damage() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let folder = folder(home_dir.path());
    let (mut history, mut old) = (History::new(7), Vec::new());
    for _ in 0..4 {
        go_on(&mut history, &home, &mut shard, 20);
        let files = named(&folder, "journal-").into_iter().chain(named(&folder, "snapshot-"));
        old.extend(files.map(|path| (fs::read(&path).unwrap(), path)));
        home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    }
    let expected = state(&shard);
    drop(home);
    old.retain(|(_, path)| !path.exists());
    assert!(old.len() >= 3, "too little was removed: this has tested nothing");
    for (bytes, path) in &old {
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let (found, recovered) = read_back(&folder, &small());
    assert!(found == expected);
    assert_eq!(recovered.damage, [""; 0]);
}
