//! Policies to compare with, trained here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`history_greedy`] | the myopic bar: a supervised two-tower policy on the agents' own inputs |
//!
//! Random, popularity, logging and the privileged oracles need no training: they live beside their world in `sim`.

pub mod history_greedy;
