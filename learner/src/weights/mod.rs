//! The weight broadcast: from the learner thread to every actor, latest wins.
//!
//! In: safetensors bytes of one version, serialised once; out: frames of at most 64 KiB to every subscriber. All of them
//! share the one copy. A subscriber that comes late gets the current version at once; one that is slow gets the newest
//! when it is ready for one, never a queue of old ones.
//!
//! | module | what it holds |
//! |---|---|
//! | [`publisher`] | the current version; owned by the learner thread |
//! | [`service`] | `mahrl.v1.Weights` |
//! | [`local`] | the service over in-memory pipes, for the single-node mode |

pub mod local;
pub mod publisher;
pub mod service;

pub use local::serve_in_memory;
pub use publisher::{Error, Publisher};
pub use service::WeightsService;

#[cfg(test)]
mod tests;
