//! What every process of a cluster has at its edges.
//!
//! | module | what it holds |
//! |---|---|
//! | [`connection`] | a channel that carries the run's token |

pub mod connection;

pub use connection::{Bearer, Connection};
