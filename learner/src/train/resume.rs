//! What a checkpoint holds beside the networks and the optimisers, by name in [`Checkpoint::extra`].

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use common::codec;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::checkpoint::Checkpoint;

/// Where the loop itself stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LoopState {
    /// Version of the last broadcast.
    pub(super) version: u64,
    /// Updates that environment steps have earned and that are not done (lockstep).
    pub(super) earned: f64,
    /// Length of metrics.jsonl: what came behind it belongs to steps that will be done again.
    pub(super) metrics_bytes: u64,
}

/// Parts of a resumed run, taken out one by one.
#[derive(Debug)]
pub(super) struct Resumed {
    extra: BTreeMap<String, Vec<u8>>,
}

impl Resumed {
    pub(super) fn new(checkpoint: Checkpoint) -> Self {
        Self { extra: checkpoint.extra }
    }

    /// Raw bytes of a part.
    pub(super) fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        self.extra.remove(name).with_context(|| format!("the checkpoint lacks its part `{name}`"))
    }

    /// Raw bytes of a part that may be absent.
    pub(super) fn take_optional(&mut self, name: &str) -> Option<Vec<u8>> {
        self.extra.remove(name)
    }

    /// A part written by [`put`].
    pub(super) fn decode<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        codec::decode(&self.take(name)?).with_context(|| format!("the checkpoint's part `{name}` is damaged"))
    }
}

/// Adds a part.
pub(super) fn put(extra: &mut BTreeMap<String, Vec<u8>>, name: &str, value: &impl Serialize) {
    extra.insert(name.to_owned(), codec::encode(value).expect("plain values encode"));
}
