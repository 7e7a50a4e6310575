//! What a shard on disk survives.

mod crash;
mod damage;
mod deal;
mod failing_disk;
mod files;
mod fuzz;
mod kill;
mod snapshots;
pub(crate) mod support;
