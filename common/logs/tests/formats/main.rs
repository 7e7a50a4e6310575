//! Every format reads what its data set publishes, on tiny files written by hand, and refuses the rest clearly.

#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod actions_only;
mod files;
mod lists_shown;
mod published;
mod refusals;
mod support;
