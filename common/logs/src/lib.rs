//! Logs of impressions, clicks and orders: importers, the canonical log, Table 1's statistics, item embeddings.

pub mod counts;
pub mod error;
pub mod source;

pub use counts::Counts;
pub use error::Error;
