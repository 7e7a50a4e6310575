//! Ids to tensors. In: columnar batches, every value checked; out: packed windows and real-valued columns.

use common::{
    Feedback, ItemId,
    history::{self, Kind as WindowKind, N_WINDOWS},
    transition::{HighBatch, LowBatch, NO_STEP},
};
use tch::Tensor;

use super::Core;
use crate::{
    algorithm::{
        settings::LevelKind,
        state::ActiveGoals,
        window::{Packing, Windows},
    },
    engine::{Error, LowStates, ahead::Ahead},
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
    /// Decodes a batch of at least one row.
    pub fn decode(batch: &HighBatch, core: &Core) -> Result<Self, Error> {
        let (n_rows, c) = (batch.len(), core.settings().model.period_steps);
        if !core.settings().model.has_high_level() {
            return Err(Error::Length { column: "high".into(), found: n_rows, expected: 0 });
        }
        check_length("high.feedback", batch.feedback.len(), n_rows * c)?;
        let reward = |(i, &code): (usize, &u8)| match code {
            NO_STEP => Ok(0.0),
            code => reward("high.feedback", i / c, code),
        };
        let rewards: Vec<f32> = batch.feedback.iter().enumerate().map(reward).collect::<Result<_, _>>()?;
        Ok(Self {
            now: rows_of_windows("high.windows", &batch.windows, n_rows, LevelKind::High, core)?,
            next: rows_of_windows("high.next_windows", &batch.next_windows, n_rows, LevelKind::High, core)?,
            goals: goals("high.goals", &batch.goals, n_rows, core)?,
            rewards: column(&rewards, core).view([n_rows as i64, c as i64]),
            terminated: flags("high.terminated", &batch.terminated, n_rows, core)?,
            weights: weights("high.weights", &batch.weights, n_rows, core)?,
        })
    }
}

impl LowTensors {
    /// `[B]` position of the last step that a row's return takes in.
    pub fn last_positions(&self) -> &[usize] {
        self.ahead.as_ref().map_or(&self.positions, |ahead| &ahead.last_positions)
    }

    /// Decodes a batch of at least one row.
    pub fn decode(batch: &LowBatch, core: &Core) -> Result<Self, Error> {
        let n_rows = batch.len();
        check_length("low.feedback", batch.feedback.len(), n_rows)?;
        check_items("low.items", &batch.items, 1, core.n_items())?;
        let reward = |(row, &code): (usize, &u8)| reward("low.feedback", row, code);
        let external: Vec<f32> = batch.feedback.iter().enumerate().map(reward).collect::<Result<_, _>>()?;
        let positions = positions("low.positions", &batch.positions, n_rows, core)?;
        let next = rows_of_windows("low.next_windows", &batch.next_windows, n_rows, LevelKind::Low, core)?;
        let in_state = core.settings().model.goal_conditioning.in_state();
        let ahead = Ahead::of(batch, core.settings().model.period_steps, core.n_items())?;
        let last = ahead.as_ref().map_or(&positions, |ahead| &ahead.last_positions);
        Ok(Self {
            now: rows_of_windows("low.windows", &batch.windows, n_rows, LevelKind::Low, core)?,
            next,
            next_period: if in_state { next_period(last, &batch.next_windows, core) } else { None },
            goals: goals("low.goals", &batch.goals, n_rows, core)?,
            action: rows(&batch.items, core),
            positions,
            reward_external: column(&external, core),
            terminated: flags("low.terminated", &batch.terminated, n_rows, core)?,
            weights: weights("low.weights", &batch.weights, n_rows, core)?,
            ahead,
        })
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
    Some((Tensor::from_slice(&index).to_device(core.options().1), windows))
}

/// The windows of decisions `[B, 3, N]`, whatever their number.
pub(super) fn windows(
    column: &str,
    windows: &[ItemId],
    level: LevelKind,
    core: &Core,
) -> Result<Windows, Error> {
    rows_of_windows(column, windows, windows.len() / (N_WINDOWS * core.settings().model.window), level, core)
}

/// The windows and, where goals are in the state, the features of low-level decisions.
pub(super) fn low_states(states: LowStates<'_>, core: &Core) -> Result<(Windows, Option<Tensor>), Error> {
    let n_rows = states.positions.len();
    let windows = rows_of_windows("windows", states.windows, n_rows, LevelKind::Low, core)?;
    let goals = goals("goals", states.goals, n_rows, core)?;
    let positions = positions("positions", states.positions, n_rows, core)?;
    let features = core
        .settings()
        .model
        .goal_conditioning
        .in_state()
        .then(|| ActiveGoals::new(&core.settings().period_layout(), &positions, &goals).features(&goals));
    Ok((windows, features))
}

fn rows_of_windows(
    column: &str,
    windows: &[ItemId],
    n_rows: usize,
    level: LevelKind,
    core: &Core,
) -> Result<Windows, Error> {
    let n = core.settings().model.window;
    check_length(column, windows.len(), n_rows * N_WINDOWS * n)?;
    for (i, window) in windows.chunks_exact(n).enumerate() {
        let row = i / N_WINDOWS;
        let (padding, items) = window.split_at(n - history::length(window));
        if padding.iter().any(|item| !item.is_padding()) {
            let problem = "an item stands before padding; windows are padded on the left".into();
            return Err(value(column, row, problem));
        }
        if let Some(item) = items.iter().find(|item| item.row() >= core.n_items()) {
            return Err(value(column, row, format!("item {item} is none of the {} items", core.n_items())));
        }
    }
    Ok(pack(windows, level, core))
}

/// Packs the windows that a level reads out of checked `[B, 3, N]` windows.
fn pack(windows: &[ItemId], level: LevelKind, core: &Core) -> Windows {
    let n = core.settings().model.window;
    let one = |kind: WindowKind| {
        let rows = windows.chunks_exact(N_WINDOWS * n).map(move |row| history::window(row, kind));
        Packing::new(n, rows).gather(core.items())
    };
    // Eq 3: clicks and orders; Eq 6: skips and clicks
    Windows(core.settings().windows(level).iter().map(|&kind| one(kind)).collect())
}

/// The embeddings `[len, n]` of checked items.
pub(super) fn rows(items: &[ItemId], core: &Core) -> Tensor {
    let index: Vec<i64> = items.iter().map(|item| i64::from(item.0)).collect();
    core.items().index_select(0, &Tensor::from_slice(&index).to_device(core.options().1))
}

/// Goals `[B, M, n]`.
pub(super) fn goals(name: &str, goals: &[f32], n_rows: usize, core: &Core) -> Result<Tensor, Error> {
    let (m, n) = (core.settings().model.n_goals, core.settings().model.n_dims);
    check_length(name, goals.len(), n_rows * m * n)?;
    if let Some(i) = goals.iter().position(|g| !g.is_finite()) {
        let problem = format!("{} is not a finite number", goals[i]);
        return Err(Error::Value { column: name.to_owned(), row: i / (m * n), problem });
    }
    Ok(column(goals, core).view([n_rows as i64, m as i64, n as i64]))
}

fn positions(name: &str, positions: &[u8], n_rows: usize, core: &Core) -> Result<Vec<usize>, Error> {
    check_length(name, positions.len(), n_rows)?;
    let c = core.settings().model.period_steps;
    let check = |(row, &position): (usize, &u8)| {
        let problem = || format!("{position} lies outside a period of {c} steps");
        let ok = usize::from(position) < c;
        if ok { Ok(position.into()) } else { Err(value(name, row, problem())) }
    };
    positions.iter().enumerate().map(check).collect()
}

fn flags(name: &str, flags: &[u8], n_rows: usize, core: &Core) -> Result<Tensor, Error> {
    check_length(name, flags.len(), n_rows)?;
    if let Some(row) = flags.iter().position(|&flag| flag > 1) {
        return Err(value(name, row, format!("{} is neither 0 nor 1", flags[row])));
    }
    Ok(column(&flags.iter().map(|&flag| f32::from(flag)).collect::<Vec<_>>(), core))
}

fn weights(name: &str, weights: &[f32], n_rows: usize, core: &Core) -> Result<Option<Tensor>, Error> {
    if weights.is_empty() {
        return Ok(None);
    }
    check_length(name, weights.len(), n_rows)?;
    if let Some(row) = weights.iter().position(|&weight| !(weight.is_finite() && weight >= 0.0)) {
        return Err(value(name, row, format!("{} is no importance weight", weights[row])));
    }
    Ok(Some(column(weights, core)))
}

fn reward(name: &str, row: usize, code: u8) -> Result<f32, Error> {
    let feedback = Feedback::from_code(code);
    feedback.map(Feedback::reward).ok_or_else(|| value(name, row, format!("{code} is no feedback")))
}

/// Refuses ids that are no rows of the item table; a row of the batch has `per_row` of them.
pub(super) fn check_items(
    column: &str,
    items: &[ItemId],
    per_row: usize,
    n_items: usize,
) -> Result<(), Error> {
    match items.iter().position(|item| item.row() >= n_items) {
        Some(i) => {
            Err(value(column, i / per_row, format!("item {} is none of the {n_items} items", items[i])))
        }
        None => Ok(()),
    }
}

fn check_length(column: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::Length { column: column.to_owned(), found, expected }) }
}

fn value(column: &str, row: usize, problem: String) -> Error {
    Error::Value { column: column.to_owned(), row, problem }
}

pub(super) fn column(values: &[f32], core: &Core) -> Tensor {
    let (kind, device) = core.options();
    Tensor::from_slice(values).to_device(device).to_kind(kind)
}
