//! Every decoder, on bytes that nobody wrote.

use common::codec;
use proptest::prelude::*;

use super::support::*;
use crate::{
    journal::{frame, operation::Operation, recover},
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
                let _empty = shard.sample(Level::Low, 5, 1);
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
        let mut read = crate::shard::image::Sections::default();
        let mut shard = empty(&small());
        if sections.iter().all(|section| read.push(section).is_ok()) && shard.restore_sections(read).is_ok() {
            for key in 0..3 {
                shard.sample(Level::Low, 9, key);
                shard.sample(Level::High, 9, key);
            }
            let mut history = History::new(32);
            for _ in 0..5 {
                let _refused = shard.apply(history.batch());
            }
        }
    }
}
