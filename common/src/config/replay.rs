//! `[replay]`: the replay service.

use serde::{Deserialize, Serialize};

use super::{Error, require, within};

/// `[replay.low]`, `[replay.high]`: one table over all shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Transitions held, over all shards.
    pub capacity: usize,
    /// Rows of a minibatch, `{ rows = 512 }` or `{ share = 0.1 }`.
    pub batch: Batch,
    /// Transitions before the first sample, over all shards.
    pub min_size: usize,
}

/// Rows of a minibatch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "BatchKeys")]
pub enum Batch {
    /// So many.
    Rows(usize),
    /// This share of what the table holds, at least 1 row (10% in the paper).
    Share(f64),
}

/// [`Batch`] as it is read: of two keys serde would take the first, and drop the other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchKeys {
    rows: Option<usize>,
    share: Option<f64>,
}

impl TryFrom<BatchKeys> for Batch {
    type Error = &'static str;

    fn try_from(keys: BatchKeys) -> Result<Self, Self::Error> {
        match keys {
            BatchKeys { rows: Some(rows), share: None } => Ok(Self::Rows(rows)),
            BatchKeys { rows: None, share: Some(share) } => Ok(Self::Share(share)),
            _ => Err("expected either `rows` or `share`"),
        }
    }
}

impl Batch {
    /// Rows to sample from a table that holds `size`.
    pub fn rows(self, size: usize) -> usize {
        match self {
            Self::Rows(rows) => rows,
            Self::Share(share) => ((size as f64 * share).round() as usize).max(1),
        }
    }
}

/// How rows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// All alike (Algorithm 1, lines 24-25; D20).
    Uniform,
    /// In proportion to |TD error|^`priority_exponent`, with importance weights (Schaul et al. 2016).
    Prioritised,
    /// The oldest first, again and again from the start.
    Fifo,
}

/// When an appended batch counts as stored, in a shard with a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// Once it is on the disk (one fdatasync for all batches that wait): it survives the machine.
    Disk,
    /// Once the system has it: it survives the process. The disk follows within a second.
    System,
}

/// `[replay]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayConfig {
    /// Shards of the service.
    pub shards: usize,
    /// The low-level table.
    pub low: TableConfig,
    /// The high-level table.
    pub high: TableConfig,
    /// How both tables are sampled.
    pub sampling: Sampling,
    /// Prioritised sampling: the power of |TD error|, alpha of Schaul et al.
    pub priority_exponent: f64,
    /// Prioritised sampling: the power of the importance weights, beta of Schaul et al.
    pub importance_exponent: f64,
    /// Memory of a shard's records and tables in MiB, beyond which the oldest give way; 0: the capacities alone hold.
    pub memory_mib: u64,
    /// Where the shards of a cluster keep what they acknowledged, one folder a shard; empty: in memory only.
    pub data_dir: String,
    /// When an appended batch counts as stored.
    pub sync: Sync,
}

impl ReplayConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        require((1..=1024).contains(&self.shards), "replay.shards", self.shards, "1 to 1024")?;
        within("replay.priority_exponent", self.priority_exponent, 0.0, 10.0)?;
        within("replay.importance_exponent", self.importance_exponent, 0.0, 1.0)?;
        require(self.memory_mib <= 1 << 24, "replay.memory_mib", self.memory_mib, "0 to 16777216 MiB")?;
        let tables = [
            (&self.low, "replay.low.capacity", "replay.low.min_size", "replay.low.batch"),
            (&self.high, "replay.high.capacity", "replay.high.min_size", "replay.high.batch"),
        ];
        for (table, capacity, min_size, batch) in tables {
            require(
                table.capacity >= self.shards,
                capacity,
                table.capacity,
                "at least one transition a shard",
            )?;
            require(
                (1..=table.capacity).contains(&table.min_size),
                min_size,
                table.min_size,
                format!(
                    "1 to the capacity, {}: a table that never fills would block for ever",
                    table.capacity
                ),
            )?;
            match table.batch {
                Batch::Rows(rows) => {
                    require((1..=1 << 20).contains(&rows), batch, rows, "1 to 1048576 rows")?
                }
                Batch::Share(share) => {
                    require(share > 0.0 && share <= 1.0, batch, share, "a share in (0, 1]")?
                }
            }
        }
        Ok(())
    }
}
