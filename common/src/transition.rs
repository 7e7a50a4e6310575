//! What an actor streams into the replay service, and the columnar minibatches a learner samples from it.
//!
//! A session streams *periods*: the windows and the goals at the start, then one small [`Step`] a step. Windows are
//! never stored per step: those after `p` steps follow from the start by [`history::push`]. A low-level transition
//! can be sampled once its step is acknowledged, a high-level one once its period has closed (c steps, or the end of
//! the session where partial periods are kept).

use serde::{Deserialize, Serialize};

use crate::{Feedback, ItemId, PolicyVersion, SessionId, history};

/// Sizes that every record and batch of a run shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Length of a history window, N.
    pub window: usize,
    /// Steps per period, c.
    pub n_steps: usize,
    /// Goals per period, M; 0 without a high-level agent: then there are no high-level transitions.
    pub n_goals: usize,
    /// Item embedding size, n.
    pub n_dims: usize,
}

/// The start of a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeriodStart {
    /// The session.
    pub session: SessionId,
    /// Number of the period in its session, from 0.
    pub period: u32,
    /// Version of the weights that chose the goals; those of the steps may be newer.
    pub policy_version: PolicyVersion,
    /// `[3, N]`, see [`history`].
    pub windows: Vec<ItemId>,
    /// `[M, n]`, in (-B, B).
    pub goals: Vec<f32>,
}

/// How a session stands after a step. Termination and truncation are never folded into one flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Ending {
    /// The session goes on.
    None = 0,
    /// The user left: no bootstrap.
    Terminated = 1,
    /// The session was cut at its fixed length: bootstrap.
    Truncated = 2,
}

/// One step of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The item shown.
    pub item: ItemId,
    /// What the user did.
    pub feedback: Feedback,
    /// Whether the session ended with it.
    pub ending: Ending,
}

/// Name of a stored row, to set its priority by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The shard that holds it, by the name of its contents.
    pub shard: u64,
    /// The row in the shard.
    pub key: u64,
}

/// The steps of whole periods as far as they are known, columnar. B rows; empty where nobody asked for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WholePeriods {
    /// `[B, c]` the items shown; padding behind the last step.
    pub items: Vec<ItemId>,
    /// `[B, c]` codes of [`Feedback`]; [`NO_STEP`] behind the last step.
    pub feedback: Vec<u8>,
    /// `[B]` 1 where the user left with the last step.
    pub terminated: Vec<u8>,
}

/// A minibatch of low-level transitions, columnar. B rows.
///
/// With steps ahead (D26), `next_windows` and `terminated` are those after the last of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LowBatch {
    /// `[B, 3, N]` windows before the step.
    pub windows: Vec<ItemId>,
    /// `[B, 3, N]` windows after the step.
    pub next_windows: Vec<ItemId>,
    /// `[B, M, n]` goals of the period.
    pub goals: Vec<f32>,
    /// `[B]` the item shown.
    pub items: Vec<ItemId>,
    /// `[B]` codes of [`Feedback`].
    pub feedback: Vec<u8>,
    /// `[B]` position in the period, `0..c`.
    pub positions: Vec<u8>,
    /// `[B]` 1 where the user left.
    pub terminated: Vec<u8>,
    /// `[B]` version of the weights that set the goals.
    pub policy_versions: Vec<PolicyVersion>,
    /// `[B]` names of the rows; empty unless they were drawn by priority.
    pub keys: Vec<RowKey>,
    /// `[B]` importance weights in (0, 1], the largest of the minibatch 1; empty: all are 1.
    pub weights: Vec<f32>,
    /// The rows' periods, where they were asked for.
    pub periods: WholePeriods,
    /// `[B, K]` the items of the steps behind the row's own that count towards its return; padding where there are fewer.
    pub ahead_items: Vec<ItemId>,
    /// `[B, K]` codes of [`Feedback`]; [`NO_STEP`] where there are fewer.
    pub ahead_feedback: Vec<u8>,
}

/// A minibatch of high-level transitions, columnar. B rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HighBatch {
    /// `[B, 3, N]` windows at the start of the period.
    pub windows: Vec<ItemId>,
    /// `[B, 3, N]` windows at its end.
    pub next_windows: Vec<ItemId>,
    /// `[B, M, n]` goals of the period.
    pub goals: Vec<f32>,
    /// `[B, c]` codes of [`Feedback`]; [`NO_STEP`] behind the end of a partial period (worth 0).
    pub feedback: Vec<u8>,
    /// `[B]` 1 where the user left.
    pub terminated: Vec<u8>,
    /// `[B]` version of the weights that set the goals.
    pub policy_versions: Vec<PolicyVersion>,
    /// `[B]` names of the rows; empty unless they were drawn by priority.
    pub keys: Vec<RowKey>,
    /// `[B]` importance weights in (0, 1], the largest of the minibatch 1; empty: all are 1.
    pub weights: Vec<f32>,
}

/// Stands in columns of feedback where the period had ended before.
pub const NO_STEP: u8 = u8::MAX;

impl LowBatch {
    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl HighBatch {
    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.terminated.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.terminated.is_empty()
    }
}

/// Advances `[3, N]` windows over the given steps.
pub fn advance(windows: &mut [ItemId], steps: impl IntoIterator<Item = Step>) {
    for step in steps {
        history::push(windows, step.item, step.feedback);
    }
}
