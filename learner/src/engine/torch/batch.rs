//! Ids to tensors. In: columnar batches that have been checked; out: packed windows and real-valued columns.

use common::{
    ItemId,
    history::{self, Kind as WindowKind, N_WINDOWS},
    transition::{HighBatch, LowBatch},
};
use tch::Tensor;

use super::Core;
use crate::{
    algorithm::{
        settings::LevelKind,
        state::ActiveGoals,
        upload::upload,
        window::{Packing, Windows},
    },
    engine::{LowStates, ahead::Ahead, checks},
};

/// A batch of high-level transitions. B rows.
#[derive(Debug)]
pub struct HighTensors {
    /// What the level reads at the start of the period: clicks and orders.
    pub now: Windows,
    /// The same at its end.
    pub next: Windows,
    /// `[B, M, n]`.
    pub goals: Tensor,
    /// `[B, c]` external rewards of the period.
    pub rewards: Tensor,
    /// `[B]` 1 where the user left.
    pub terminated: Tensor,
    /// `[B]` importance weights, if the rows were drawn by priority.
    pub weights: Option<Tensor>,
}

/// A batch of low-level transitions. B rows.
#[derive(Debug)]
pub struct LowTensors {
    /// What the level reads before the step: skips and clicks.
    pub now: Windows,
    /// The same after it, or after the last step ahead.
    pub next: Windows,
    /// `[R]` the rows whose last step was the last of its period, and their clicks and orders after it. Only read, and only
    /// decoded, where goals are in the state.
    pub next_period: Option<(Tensor, Windows)>,
    /// `[B, M, n]`.
    pub goals: Tensor,
    /// `[B, n]` embedding of the item shown.
    pub action: Tensor,
    /// `[B]` positions in the period.
    pub positions: Vec<usize>,
    /// `[B]` r_ex.
    pub reward_external: Tensor,
    /// `[B]` 1 where the user left.
    pub terminated: Tensor,
    /// `[B]` importance weights, if the rows were drawn by priority.
    pub weights: Option<Tensor>,
    /// The steps behind the row's own that count towards its return (D26).
    pub ahead: Option<Ahead>,
}

impl HighTensors {
    /// Decodes a checked batch of at least one row.
    pub fn decode(batch: &HighBatch, core: &Core) -> Self {
        let c = core.settings().model.period_steps as i64;
        let rewards: Vec<f32> = batch.feedback.iter().map(|&code| checks::reward(code)).collect();
        Self {
            now: pack(&batch.windows, LevelKind::High, core),
            next: pack(&batch.next_windows, LevelKind::High, core),
            goals: goals(&batch.goals, batch.len(), core),
            rewards: column(&rewards, core).view([-1, c]),
            terminated: flags(&batch.terminated, core),
            weights: weights(&batch.weights, core),
        }
    }
}

impl LowTensors {
    /// `[B]` position of the last step that a row's return takes in.
    pub fn last_positions(&self) -> &[usize] {
        self.ahead.as_ref().map_or(&self.positions, |ahead| &ahead.last_positions)
    }

    /// Decodes a checked batch of at least one row, with the steps ahead that the check found.
    pub fn decode(batch: &LowBatch, ahead: Option<Ahead>, core: &Core) -> Self {
        let external: Vec<f32> = batch.feedback.iter().map(|&code| checks::reward(code)).collect();
        let positions: Vec<usize> = batch.positions.iter().map(|&p| p.into()).collect();
        let in_state = core.settings().model.goal_conditioning.in_state();
        let last = ahead.as_ref().map_or(&positions, |ahead| &ahead.last_positions);
        Self {
            now: pack(&batch.windows, LevelKind::Low, core),
            next: pack(&batch.next_windows, LevelKind::Low, core),
            next_period: if in_state { next_period(last, &batch.next_windows, core) } else { None },
            goals: goals(&batch.goals, batch.len(), core),
            action: rows(&batch.items, core),
            positions,
            reward_external: column(&external, core),
            terminated: flags(&batch.terminated, core),
            weights: weights(&batch.weights, core),
            ahead,
        }
    }
}

/// The rows whose step was the last of its period, with the high level's windows after it.
fn next_period(positions: &[usize], next: &[ItemId], core: &Core) -> Option<(Tensor, Windows)> {
    let last = core.settings().model.period_steps - 1;
    let rows: Vec<usize> = (0..positions.len()).filter(|&row| positions[row] == last).collect();
    if rows.is_empty() {
        return None;
    }
    let stride = N_WINDOWS * core.settings().model.window;
    let of_rows: Vec<ItemId> =
        rows.iter().flat_map(|&row| &next[row * stride..][..stride]).copied().collect();
    let index: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let windows = pack(&of_rows, LevelKind::High, core);
    Some((upload(&index, core.options().1), windows))
}

/// The windows and, where goals are in the state, the features of checked low-level decisions.
pub(super) fn low_states(states: LowStates<'_>, core: &Core) -> (Windows, Option<Tensor>) {
    let windows = pack(states.windows, LevelKind::Low, core);
    let goals = goals(states.goals, states.positions.len(), core);
    let positions: Vec<usize> = states.positions.iter().map(|&p| p.into()).collect();
    let features = core
        .settings()
        .model
        .goal_conditioning
        .in_state()
        .then(|| ActiveGoals::new(&core.settings().period_layout(), &positions, &goals).features(&goals));
    (windows, features)
}

/// Packs the windows that a level reads out of checked `[B, 3, N]` windows.
pub(super) fn pack(windows: &[ItemId], level: LevelKind, core: &Core) -> Windows {
    let n = core.settings().model.window;
    let one = |kind: WindowKind| {
        let rows = windows.chunks_exact(N_WINDOWS * n).map(move |row| history::window(row, kind));
        let packing = Packing::new(n, rows);
        if core.is_side_by_side() {
            packing.gather_padded(n, core.items())
        } else {
            packing.gather(core.items())
        }
    };
    // Eq 3: clicks and orders; Eq 6: skips and clicks
    Windows(core.settings().windows(level).iter().map(|&kind| one(kind)).collect())
}

/// The embeddings `[len, n]` of checked items.
pub(super) fn rows(items: &[ItemId], core: &Core) -> Tensor {
    let index: Vec<i64> = items.iter().map(|item| i64::from(item.0)).collect();
    core.items().index_select(0, &upload(&index, core.options().1))
}

/// Checked goals `[B, M, n]`.
pub(super) fn goals(goals: &[f32], n_rows: usize, core: &Core) -> Tensor {
    let (m, n) = (core.settings().model.n_goals as i64, core.settings().model.n_dims as i64);
    column(goals, core).view([n_rows as i64, m, n])
}

fn flags(flags: &[u8], core: &Core) -> Tensor {
    column(&flags.iter().map(|&flag| f32::from(flag)).collect::<Vec<_>>(), core)
}

fn weights(weights: &[f32], core: &Core) -> Option<Tensor> {
    (!weights.is_empty()).then(|| column(weights, core))
}

pub(super) fn column(values: &[f32], core: &Core) -> Tensor {
    let (kind, device) = core.options();
    upload(values, device).to_kind(kind)
}
