//! The sharded replay service (being built).

mod error;
pub mod sink;

pub use error::Error;
pub use sink::TransitionSink;
