//! One suite over both stores, and what only a real Redis can do wrong.
//!
//! Redis's tests start `redis-server` processes of their own. Without that program they say so and count as passed, unless
//! `MAHRL_REQUIRE_REDIS=1`.

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

mod conformance;
mod discovery;
mod redis;
mod server;
mod world;
