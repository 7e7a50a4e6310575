//! Periods of neighbouring slots, a column for each of their parts.
//!
//! Two forms in records: number by number, as checkpoints of a process have it and snapshots had it, and packed.

use common::{ItemId, history::N_WINDOWS, transition::Shape};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CHUNK;
use crate::packed::Packed;

/// Columns of [`CHUNK`] slots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// `[CHUNK, 3, N]` at the start of the period.
    pub(super) windows: Vec<ItemId>,
    /// `[CHUNK, M, n]`.
    pub(super) goals: Vec<f32>,
    /// `[CHUNK, c]` items shown.
    pub(super) items: Vec<ItemId>,
    /// `[CHUNK, c]` feedback and ending, see [`crate::wire::step_code`].
    pub(super) codes: Vec<u8>,
    /// `[CHUNK]` steps so far.
    pub(super) lengths: Vec<u8>,
    /// `[CHUNK]` holders; 0: free.
    pub(super) holders: Vec<u16>,
    /// `[CHUNK]`.
    pub(super) policy_versions: Vec<u64>,
    /// `[CHUNK]` who it was: for people and checkers, not read by sampling.
    pub(super) sessions: Vec<u64>,
    /// `[CHUNK]`.
    pub(super) periods: Vec<u32>,
}

impl Chunk {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            windows: vec![ItemId::PADDING; CHUNK * N_WINDOWS * shape.window],
            goals: vec![0.0; CHUNK * shape.n_goals * shape.n_dims],
            items: vec![ItemId::PADDING; CHUNK * shape.n_steps],
            codes: vec![0; CHUNK * shape.n_steps],
            lengths: vec![0; CHUNK],
            holders: vec![0; CHUNK],
            policy_versions: vec![0; CHUNK],
            sessions: vec![0; CHUNK],
            periods: vec![0; CHUNK],
        }
    }
}

/// A chunk in packed form: `&Chunk` to be written or a `Chunk` that was read.
pub(crate) struct PackedChunk<C>(pub(crate) C);

impl Serialize for PackedChunk<&Chunk> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Chunk { windows, goals, items, codes, lengths, holders, policy_versions, sessions, periods } =
            self.0;
        let steps = (Packed(&items[..]), Packed(&codes[..]), Packed(&lengths[..]), Packed(&holders[..]));
        let origins = (Packed(&policy_versions[..]), Packed(&sessions[..]), Packed(&periods[..]));
        (Packed(&windows[..]), Packed(&goals[..]), steps, origins).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PackedChunk<Chunk> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (windows, goals, steps, origins) = Deserialize::deserialize(deserializer)?;
        let (Packed(windows), Packed(goals)) = (windows, goals);
        let (Packed(items), Packed(codes), Packed(lengths), Packed(holders)) = steps;
        let (Packed(policy_versions), Packed(sessions), Packed(periods)) = origins;
        let chunk =
            Chunk { windows, goals, items, codes, lengths, holders, policy_versions, sessions, periods };
        Ok(Self(chunk))
    }
}
