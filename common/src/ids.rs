//! Ids. Everything on the wire and in the replay is an id; embeddings live once in each process.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// Row of the item table, `0..n_items`; [`ItemId::PADDING`] stands where a history has no item yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable, Serialize, Deserialize)]
#[repr(transparent)]
#[serde(transparent)]
pub struct ItemId(pub u32);

impl ItemId {
    /// "No item": fills the left of a window that is not full. -1 in the oracle's files.
    pub const PADDING: Self = Self(u32::MAX);

    /// Whether this is no item at all.
    pub fn is_padding(self) -> bool {
        self == Self::PADDING
    }

    /// Row of the item table. Meaningless for padding.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for ItemId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_padding() { f.write_str("padding") } else { write!(f, "{}", self.0) }
    }
}

/// A session: one user's visit. Unique within a run; also the key of the session's random stream.
pub type SessionId = u64;

/// Number of a weight broadcast, from 1; 0 is "before the first broadcast" (a scripted policy).
pub type PolicyVersion = u64;
