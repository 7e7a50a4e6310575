//! The rollout loop (Algorithm 1, lines 5-23): sessions in, transitions out, weights from the learner.
//!
//! | module | what it holds |
//! |---|---|
//! | [`weights`] | the subscription to the learner's weights |

mod error;
pub mod weights;

pub use error::Error;
