//! What changes a shard, as it stands in the journal. Applied in the order of the journal they give the same shard.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{packed, table::Level};

/// Version of the files' form. In form 1, snapshots were not packed and had tables as one record each.
pub(crate) const FORM: u32 = 2;
/// The oldest form that is read.
pub(crate) const OLDEST_FORM: u32 = 1;
/// First field of every file.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"mahrl-jn");

/// What files of a shard begin with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileHeader {
    pub(crate) magic: u64,
    pub(crate) form: u32,
    /// Of messages and packed records.
    pub(crate) schema_version: u32,
    pub(crate) run_id: String,
    pub(crate) shard_uid: u64,
    /// Bytes of operations that came before, since the shard began.
    pub(crate) position: u64,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// The size of the catalogue is known.
    Catalogue { n_items: u64 },
    /// A batch was stored.
    Batch {
        writer: u64,
        sequence: u64,
        #[serde(with = "packed")]
        records: Bytes,
    },
    /// A writer that was silent for long was forgotten, with its open periods.
    Forget { writer: u64 },
    /// A higher fencing token was seen.
    Fence { fence: u64 },
    /// Priorities were set.
    Priorities { table: TableName, keys: Vec<u64>, priorities: Vec<f64> },
}

/// [`Level`] on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TableName {
    Low,
    High,
}

impl From<Level> for TableName {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::High => Self::High,
        }
    }
}

impl From<TableName> for Level {
    fn from(name: TableName) -> Self {
        match name {
            TableName::Low => Self::Low,
            TableName::High => Self::High,
        }
    }
}
