//! What is kept in the control plane.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The run and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name.
    pub run: String,
    /// Every setting, as [`common::config::Config::to_toml`] writes them.
    pub settings_toml: String,
    /// SHA-256 of `settings_toml`, in hexadecimal.
    pub sha256: String,
}

impl RunRecord {
    /// A record with its hash.
    pub fn new(run: &str, settings_toml: String) -> Self {
        let sha256 = Sha256::digest(&settings_toml).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { run: run.to_owned(), settings_toml, sha256 }
    }
}

/// A shard that serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Its name, never 0.
    pub uid: u64,
    /// `HOST:PORT`.
    pub address: String,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// `HOST:PORT`.
    pub address: String,
    /// Its fencing token; 0 where the address is a setting.
    pub fence: u64,
}

/// A checkpoint that is written in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointEntry {
    /// Environment steps.
    pub step: u64,
    /// Learner updates.
    pub updates: u64,
    /// The file, as its learner names it.
    pub path: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Token of the learner that wrote it.
    pub fence: u64,
}

/// A wish to lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bid<'a> {
    /// Name of this campaign, different from all others.
    pub(crate) holder: &'a str,
    /// `HOST:PORT`.
    pub(crate) address: &'a str,
    pub(crate) lease: Duration,
    /// Highest token known to the bidder.
    pub(crate) floor: u64,
    /// Whether a store that knows of no token as high as the bidder's floor has stayed so for a whole lease.
    pub(crate) settled: bool,
}

/// Answer to a [`Bid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The bidder leads.
    Won { fence: u64 },
    /// Another does; its lease ends then, if it is not renewed.
    Held { highest: u64, free_in: Duration },
    /// The store has lost its contents: whoever leads must have the time to say so.
    Blank,
}

/// Answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed,
    Superseded { by: u64 },
}

/// What a leader writes again with each renewal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) run: Option<RunRecord>,
    /// Ascending by step.
    pub(crate) checkpoints: Vec<CheckpointEntry>,
}

/// Adds a checkpoint to a catalogue that is ascending by step: one of the same step is replaced, later ones of earlier
/// leaders are gone (the run went back before them), and only the newest `keep` stay.
pub(crate) fn catalogue(entries: &mut Vec<CheckpointEntry>, entry: CheckpointEntry, keep: usize) {
    entries.retain(|other| other.step < entry.step || other.step > entry.step && other.fence >= entry.fence);
    entries.push(entry);
    entries.sort_by_key(|entry| entry.step);
    entries.drain(..entries.len().saturating_sub(keep.max(1)));
}
