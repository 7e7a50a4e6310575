//! Logs of impressions, clicks and orders: importers, the canonical log, Table 1's statistics, item embeddings.
//!
//! | module | what it holds |
//! |---|---|
//! | [`canonical`] | the log that all other parts read, checked row by row |
//! | [`source`] | the seam between a data set's own files and the canonical log |
//! | [`formats`] | readers of public data sets |
//! | [`import`] | sessions, merged repetitions, sampled negatives, the split by time |
//! | [`statistics`] | Table 1 of the paper for any log |
//! | [`embed`] | item embeddings of a log |
//! | [`counts`] | rows read, kept, dropped and why |

pub mod canonical;
pub mod counts;
pub mod embed;
pub mod error;
pub mod formats;
pub mod import;
pub mod source;
pub mod statistics;

pub use canonical::{Impression, Log, Manifest, Session, Split};
pub use counts::Counts;
pub use error::Error;
pub use statistics::Statistics;

/// Bound B of the embeddings where a log's manifest names none: every component lies in (-B, B).
pub const DEFAULT_BOUND: f32 = 1.94;
