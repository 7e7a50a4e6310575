//! Simulator shards: worlds that answer shown items with feedback.
//!
//! | module | what it holds |
//! |---|---|
//! | [`environment`] | the one trait of all worlds |
//! | [`learned`] | the simulator fitted to a log: the network and its files |

pub mod environment;
pub mod learned;

pub use environment::{Environment, Error, Outcome, Truth};
