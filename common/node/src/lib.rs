//! What every process of a cluster has at its edges.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | `--config`, `--set`, `--log` |
//! | [`security`] | certificates, the run's token, and what is closed by default |
//! | [`server`] | sockets with limits, TLS, token check, health, reflection |
//! | [`connection`] | a channel that carries the run's token |
//! | [`dialer`] | others as a client reaches them, and why it does not |
//! | [`health`] | the question whether a process is ready |
//! | [`operate`] | what probes and set-ups ask of a program: `health`, `secrets` |
//! | [`shutdown`] | SIGTERM and SIGINT |
//! | [`metrics`] | every Prometheus metric of every role, and where they are served |

pub mod cli;
pub mod connection;
pub mod dialer;
mod error;
#[cfg(test)]
#[path = "../../../tests/src/fuzz.rs"]
mod fuzz;
pub mod health;
pub mod metrics;
pub mod operate;
pub mod security;
pub mod server;
pub mod shutdown;

pub use connection::{Bearer, Connection, connect};
pub use dialer::{Dialer, Peer};
pub use error::Error;
pub use security::Security;
pub use server::{Health, Limits, Server};
pub use shutdown::Shutdown;

/// Version and, in a release, commit: what `--version` prints.
pub const VERSION: &str = env!("MAHRL_VERSION");
