//! The sharded replay service: what actors stream, kept once, sampled by learners.
//!
//! | module | what it holds |
//! |---|---|
//! | [`sink`] | where a rollout puts its transitions |
//! | [`client`] | all shards as one replay: writers, samplers, prefetch |
//! | [`local`] | the service of one process, over in-memory streams |
//! | [`server`] | one shard as a process of its own serves it: `ShardServer::in_memory(..)`, then `.routes()` into any
//! tonic server (in tests `local::serve`), `.uid()`, `.stop()` |
//! | [`settings`] | capacities, least sizes, the samples-per-insert ratio; refuses what must deadlock |
//! | [`table`] | table, selector (sampler and remover), rate limiter |
//! | [`journal`] | what a shard keeps on disk |
//! | `storage` | periods in flat columns, windows not repeated |
//! | `packed` | columns in records as the bytes that they are in memory |
//! | `piece` | a part of a shard that an image shares until either changes |
//! | `shard` | periods, tables and writers under one lock; minibatches; snapshots |
//! | `service` | `mahrl.v1.Replay` over a shard; who waits for what |
//! | [`wire`] | packed records, their limits and validation |
//!
//! No tensors and no tch in this crate.

mod agreement;
pub mod cli;
pub mod client;
mod error;
#[cfg(test)]
#[path = "../../tests/src/fuzz.rs"]
mod fuzz;
pub mod journal;
pub mod local;
mod packed;
mod piece;
pub mod server;
mod service;
pub mod settings;
mod shard;
pub mod sink;
mod storage;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wire;

pub use client::{Sampler, Shards, Writer, WriterSettings};
pub use error::Error;
pub use local::LocalReplay;
pub use server::{Recovery, ShardServer};
pub use settings::{Ratio, Sampling, Settings, TableSettings};
pub use shard::reshard::reshard;
pub use sink::TransitionSink;
pub use table::Level;
