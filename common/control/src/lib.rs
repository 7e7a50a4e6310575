//! The control plane: who is in the run, who leads, where things are.
//!
//! In: `[cluster]`; out: a [`Control`] a process. Kept in [`Memory`] (single node, tests) or in Redis, which may go away at
//! any time and come back empty: nobody stops for it, and each holder writes what is its own again with every heartbeat.
//! No training data passes here.
//!
//! | key, under `mahrl:RUN:` | type | holds | written by | lives |
//! |---|---|---|---|---|
//! | `run` | string | [`RunRecord`] as JSON | leader, each renewal | for ever |
//! | `leader` | hash | `holder` (the campaign), `fence`, `address` | leader, each renewal | the lease |
//! | `fence` | string | highest fencing token given | a claim (+1), each renewal | for ever |
//! | `shards` | set | uids that registered; those without a lease are taken out by readers | shards | for ever |
//! | `shard:UID` | string | address of the shard | the shard, each heartbeat | the lease |
//! | `counters` | hash | `NAME/PROCESS`: that process's total | anyone, each heartbeat | for ever |
//! | `checkpoints` | hash | step: [`CheckpointEntry`] as JSON, the newest few | leader, each renewal | for ever |
//!
//! Every write may be repeated: totals instead of increments, claims known by their campaign.
//!
//! - [`Control`]: records, counters, the catalogue of checkpoints
//! - [`Leadership`], [`LeaseView`], [`Standing`]: the learner's lease, and what its holder may believe
//! - [`Registration`]: a shard's entry
//! - [`Discovery`]: lists of addresses that follow the cluster
//! - [`settings_difference`]: whether two processes may be of one run

mod control;
mod discovery;
mod error;
#[cfg(test)]
#[path = "../../../tests/src/fuzz.rs"]
mod fuzz;
mod lease;
mod memory;
mod records;
mod redis;
mod registration;
mod settings;

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

pub use common::config::Difference;

pub use crate::{
    control::Control,
    discovery::Discovery,
    error::Error,
    lease::{Leadership, LeaseView, Standing},
    memory::Memory,
    records::{CheckpointEntry, Leader, RunRecord, ShardEntry},
    registration::Registration,
    settings::settings_difference,
};

/// Highest fencing token: Redis's scripts count in f64. Its clock in microseconds gets there in the year 2255.
pub const MAX_FENCE: u64 = 1 << 53;

/// A number that no other process or call has, for names; nothing is drawn by it.
fn unique() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Time between two heartbeats: three a lease, and sooner after a failure.
fn pause(lease: Duration, succeeded: bool) -> Duration {
    if succeeded { lease / 3 } else { (lease / 6).min(Duration::from_millis(250)) }
}
