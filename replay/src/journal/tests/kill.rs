//! Killed at every byte: what is read back is the shard after the operations whose frames were whole.

use std::fs;

use super::support::*;
use crate::journal::frame::{self, Found};

/// Ends of the frames of a file, the header's first.
pub(super) fn ends(bytes: &[u8]) -> Vec<usize> {
    let next = |&offset: &usize| match frame::at(bytes, offset) {
        Found::Frame { next, .. } => Some(next),
        _ => None,
    };
    std::iter::successors(next(&0), next).collect()
}

#[test]
fn a_journal_cut_at_any_byte_gives_the_shard_after_its_whole_operations() {
    for (seed, with_snapshot) in [(1, false), (2, true)] {
        let home_dir = tempfile::tempdir().unwrap();
        let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
        let mut history = History::new(seed);
        let mut states = vec![(0, state(&shard))];
        states.extend(go_on(&mut history, &home, &mut shard, 25));
        if with_snapshot {
            home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
            states.extend(go_on(&mut history, &home, &mut shard, 25));
        }
        drop(home);
        let from = folder(home_dir.path());
        let journal = named(&from, "journal-").pop().unwrap();
        let bytes = fs::read(&journal).unwrap();
        let base = states[if with_snapshot { 25 } else { 0 }].0;
        let header = ends(&bytes)[0] as u64;
        let crashed = tempfile::tempdir().unwrap();
        copy(&from, crashed.path());
        let cut = crashed.path().join(journal.file_name().unwrap());
        for length in 0..=bytes.len() {
            fs::write(&cut, &bytes[..length]).unwrap();
            let (found, recovered) = read_back(crashed.path(), &small());
            let whole = (length as u64).saturating_sub(header) + base;
            let (position, expected) = states.iter().rev().find(|(position, _)| *position <= whole).unwrap();
            assert!(found == *expected, "seed {seed}: other contents after a cut at byte {length}");
            assert_eq!(recovered.position, *position);
            assert_eq!(recovered.damage, Vec::<String>::new());
        }
    }
}

#[test]
fn a_shard_that_is_killed_again_and_again_goes_on_where_it_was() {
    let home_dir = tempfile::tempdir().unwrap();
    let mut history = History::new(3);
    let mut last = None;
    for round in 0..8 {
        let (home, mut shard, recovered) = open(home_dir.path(), files(), &small()).unwrap();
        let (position, before) = last.unwrap_or_else(|| (0, state(&empty(&small()))));
        assert!(state(&shard) == before, "round {round}");
        assert_eq!((recovered.position, shard.uid()), (position, 77));
        last = go_on(&mut history, &home, &mut shard, 25).pop();
        if round % 3 == 1 {
            home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
        }
    }
}

#[test]
fn equal_keys_draw_equal_minibatches_after_recovery() {
    use crate::table::Level;

    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut history = History::new(4);
    go_on(&mut history, &home, &mut shard, 30);
    home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    go_on(&mut history, &home, &mut shard, 30);
    drop(home);
    let (_home, mut again, _) = open(home_dir.path(), files(), &small()).unwrap();
    for key in 0..50 {
        for (level, rows) in [(Level::Low, 16), (Level::High, 4)] {
            assert_eq!(again.sample(level, rows, key, false), shard.sample(level, rows, key, false));
        }
    }
}
