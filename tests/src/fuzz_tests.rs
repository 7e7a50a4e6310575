//! The fuzzing of decoders finds what is wrong, and can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fuzz::{FEW, run};

#[test]
fn a_decoder_that_trusts_a_length_is_found_out() {
    let trusting = |bytes: &[u8]| {
        if let [b'm', length, rest @ ..] = bytes {
            assert!(rest.len() >= usize::from(*length), "reads beyond the end");
        }
    };
    let found = catch_unwind(AssertUnwindSafe(|| run("planted", &[b"m\x03abc".to_vec()], None, trusting)));
    assert!(found.is_err());
}

#[test]
fn the_same_seed_gives_the_same_cases_and_time_ends_them() {
    let cases = |time| {
        let mut cases = Vec::new();
        run("same", &[vec![7; 30], vec![9; 3], vec![]], time, |bytes| cases.push(bytes.to_vec()));
        cases
    };
    let few = cases(None);
    assert_eq!(few.len() as u64, FEW);
    let distinct: std::collections::BTreeSet<_> = few.iter().collect();
    assert!(distinct.len() as u64 > FEW / 2, "{} distinct cases", distinct.len());
    let many = cases(Some(std::time::Duration::from_millis(100)));
    assert!(many.len() as u64 >= FEW && many.starts_with(&few));
}
