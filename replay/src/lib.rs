//! The sharded replay service (being built).

mod error;
mod service;
pub mod settings;
mod shard;
pub mod sink;
mod storage;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wire;

pub use error::Error;
pub use settings::{Ratio, Settings, TableSettings};
pub use sink::TransitionSink;
