//! A server and its clients over real sockets: who is let in, what a bad peer costs, how it ends.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod limits;
mod shutdown;
mod support;
mod tls;
mod token;
