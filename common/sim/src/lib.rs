//! Simulator shards: worlds that answer shown items with feedback.
//!
//! | module | what it holds |
//! |---|---|
//! | [`environment`] | the one trait of all worlds |

pub mod environment;

pub use environment::{Environment, Error, Outcome, Truth};
