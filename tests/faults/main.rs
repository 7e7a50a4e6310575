//! Faults of real processes: kill -9, SIGSTOP, SIGTERM, damaged disks, hostile peers. docs/faults.md says which test covers
//! what; MAHRL_FAULT_ROUNDS and MAHRL_FAULT_SEED set how long and how.

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

mod borders;
mod bytes;
mod clock;
mod cluster;
mod crowd;
mod directory;
mod disk;
mod finish;
mod hostile;
mod load;
mod local;
mod replay;
mod scale;
mod secure;
mod table;
mod upgrade;
mod weights;

/// Not a test of its own: the process of a writer that others kill.
#[test]
fn writer_process() {
    system_tests::writers::child();
}
