//! Every decoder, on bytes that nobody wrote.

use common::codec;
use proptest::prelude::*;

use super::support::*;
use crate::{
    Settings,
    fuzz::fuzz,
    journal::{
        frame,
        operation::{FileHeader, Operation},
        recover,
    },
    shard::image::Sections,
    table::Level,
};

fn filled(n: usize) -> crate::shard::Shard {
    let mut shard = empty(&small());
    let mut history = History::new(30);
    for _ in 0..n {
        let operation = history.next(&mut shard);
        shard.apply(operation).unwrap();
    }
    shard
}

proptest! {
    #[test]
    fn random_operations_are_refused_or_applied_and_never_panic(bytes: Vec<u8>, tag in 0_u8..6) {
        let mut shard = filled(12);
        for bytes in [bytes.clone(), [vec![tag], bytes].concat()] {
            if let Ok(operation) = codec::decode::<Operation>(&bytes) {
                let _refused = shard.apply(operation);
                let _empty = shard.sample(Level::Low, 5, 1, false);
            }
        }
    }

    #[test]
    fn an_operation_with_one_changed_byte_never_panics(n in 1_usize..20, at: prop::sample::Index, value: u8) {
        let mut shard = empty(&small());
        let mut history = History::new(31);
        for _ in 0..n {
            let operation = history.next(&mut shard);
            shard.apply(operation).unwrap();
        }
        let mut bytes = codec::encode(&history.next(&mut shard)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(operation) = codec::decode::<Operation>(&bytes) {
            let _refused = shard.apply(operation);
        }
        if shard.n_items() == 100 {
            restored(&small(), &state(&shard));
        }
    }

    #[test]
    fn random_files_never_panic_and_are_never_taken_for_contents(bytes: Vec<u8>, framed: bool) {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Vec::new();
        match framed {
            true => drop(frame::put(&mut content, &bytes).unwrap()),
            false => content = bytes,
        }
        for name in ["journal-00000000000000000000.log", "snapshot-00000000000000000009.bin"] {
            std::fs::write(folder.path().join(name), &content).unwrap();
        }
        let mut shard = empty(&small());
        if recover::recover(folder.path(), "test", &mut shard).is_ok() {
            prop_assert_eq!(state(&shard), state(&empty(&small())));
        }
    }

    #[test]
    fn a_forged_section_never_panics(section: prop::sample::Index, at: prop::sample::Index, value: u8) {
        let mut sections: Vec<Vec<u8>> = Vec::new();
        let put = |record: &[u8]| -> Result<(), codec::Error> {
            sections.push(record.to_vec());
            Ok(())
        };
        filled(20).image().sections(put).unwrap();
        let forged = section.index(sections.len());
        let at = at.index(sections[forged].len());
        sections[forged][at] = value;
        let mut read = Sections::default();
        let mut shard = empty(&small());
        if sections.iter().all(|section| push(&mut read, section)) && shard.restore_sections(read).is_ok() {
            for key in 0..3 {
                shard.sample(Level::Low, 9, key, false);
                shard.sample(Level::High, 9, key, false);
            }
            let mut history = History::new(32);
            for _ in 0..5 {
                let _refused = shard.apply(history.batch());
            }
        }
    }
}

/// Whether a record was a section and taken.
fn push(read: &mut Sections, record: &[u8]) -> bool {
    codec::decode(record).is_ok_and(|section| read.push(section).is_ok())
}

#[test]
fn fuzz_operations_and_headers() {
    let mut shard = filled(12);
    let mut history = History::new(33);
    let mut examples: Vec<Vec<u8>> = Vec::new();
    for _ in 0..40 {
        let operation = history.next(&mut shard);
        examples.push(codec::encode(&operation).unwrap());
        let _refused = shard.apply(operation);
    }
    let identity = crate::journal::log::Identity { run_id: "test".into(), uid: 7 };
    examples.push(codec::encode(&identity.header(9)).unwrap());
    let (mut case, mut applied) = (0, 0);
    fuzz("operations", &examples, |bytes| {
        case += 1;
        if case % 10_000 == 0 {
            // Writers that nobody knows gather in it.
            shard = filled(12);
        }
        let _header = codec::decode::<FileHeader>(bytes);
        if let Ok(operation) = codec::decode::<Operation>(bytes) {
            applied += u32::from(shard.apply(operation).is_ok());
            shard.sample(Level::Low, 5, applied.into(), false);
        }
    });
    assert!(applied > 0, "no operation was right");
    restored(&small(), &state(&shard));
}

#[test]
fn fuzz_files_of_a_shard() {
    let home_dir = tempfile::tempdir().unwrap();
    let (home, mut shard, _) = open(home_dir.path(), files(), &small()).unwrap();
    let mut history = History::new(34);
    let mut held = vec![state(&empty(&small()))];
    held.extend(go_on(&mut history, &home, &mut shard, 10).into_iter().map(|(_, state)| state));
    home.snapshot(|| Some((home.begin_snapshot(), shard.image()))).unwrap();
    held.extend(go_on(&mut history, &home, &mut shard, 10).into_iter().map(|(_, state)| state));
    drop(home);
    let whole = folder(home_dir.path());
    let mut names: Vec<_> = [named(&whole, "journal-"), named(&whole, "snapshot-")].concat();
    names.retain(|path| std::fs::metadata(path).unwrap().len() > 0);
    let examples: Vec<Vec<u8>> = names.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(examples.len() >= 2, "{names:?}");
    let mut case = 0;
    fuzz("files", &examples, |bytes| {
        let copied = tempfile::tempdir().unwrap();
        copy(&whole, copied.path());
        // One of the files is another; now and then it is one of those it was made of.
        case += 1;
        let name = names[case % names.len()].file_name().unwrap();
        std::fs::write(copied.path().join(name), bytes).unwrap();
        let mut shard = empty(&small());
        if recover::recover(copied.path(), "test", &mut shard).is_ok() {
            assert!(held.contains(&state(&shard)), "contents that the shard never had");
        }
    });
}

#[test]
fn fuzz_a_snapshot() {
    let mut sections: Vec<Vec<u8>> = Vec::new();
    let put = |record: &[u8]| -> Result<(), codec::Error> {
        sections.push(record.to_vec());
        Ok(())
    };
    filled(20).image().sections(put).unwrap();
    let whole = state(&filled(20));
    let mut examples = sections.clone();
    examples.push(whole);
    let (mut case, mut restored) = (0, 0);
    fuzz("snapshot", &examples, |bytes| {
        let mut shard = empty(&Settings { n_items: 100, ..small() });
        let _refused = shard.restore(bytes);
        // Below the checksums: one section is another.
        case += 1;
        let mut read = Sections::default();
        let forged = case % sections.len();
        let all = sections.iter().enumerate().map(|(k, right)| if k == forged { bytes } else { &right[..] });
        let mut shard = empty(&small());
        if all.into_iter().all(|section| push(&mut read, section)) && shard.restore_sections(read).is_ok() {
            restored += 1;
            for level in [Level::Low, Level::High] {
                shard.sample(level, 9, case as u64, false);
            }
            let mut history = History::new(32);
            for _ in 0..5 {
                let _refused = shard.apply(history.batch());
            }
        }
    });
    assert!(restored > 0, "no snapshot was right");
}
