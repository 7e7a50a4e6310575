//! Minibatches: windows are materialised here, from the period's start and its steps.
//!
//! In: rows to draw and the key of the draw; out: packed columns. The next windows of a step are its own windows and
//! one more step of the same period, so that they never cross the end of a session.

use bytes::Bytes;
use common::{
    ItemId,
    seed::Streams,
    transition::{Ending, NO_STEP},
};
use proto::v1::SampleResponse;

use super::Shard;
use crate::{
    storage::{Periods, Slot},
    table::{Drawn, limiter::Level},
};

/// Columns that both tables share.
struct Columns {
    windows: Vec<u8>,
    next_windows: Vec<u8>,
    goals: Vec<u8>,
    terminated: Vec<u8>,
    policy_versions: Vec<u8>,
    /// `[3, N]`.
    scratch: Vec<ItemId>,
}

impl Columns {
    fn new(periods: &Periods, slot: Slot, rows: usize) -> Self {
        let windows = rows * size_of_val(periods.windows(slot));
        Self {
            windows: Vec::with_capacity(windows),
            next_windows: Vec::with_capacity(windows),
            goals: Vec::with_capacity(rows * size_of_val(periods.goals(slot))),
            terminated: Vec::with_capacity(rows),
            policy_versions: Vec::with_capacity(rows * 8),
            scratch: Vec::with_capacity(periods.windows(slot).len()),
        }
    }

    /// A transition from before step `from` to before step `to` of a period.
    fn push(&mut self, periods: &Periods, slot: Slot, from: usize, to: usize) {
        self.scratch.clear();
        self.scratch.extend_from_slice(periods.windows(slot));
        periods.advance(&mut self.scratch, slot, 0..from);
        self.windows.extend_from_slice(bytemuck::cast_slice(&self.scratch));
        periods.advance(&mut self.scratch, slot, from..to);
        self.next_windows.extend_from_slice(bytemuck::cast_slice(&self.scratch));
        self.goals.extend_from_slice(bytemuck::cast_slice(periods.goals(slot)));
        self.terminated.push(u8::from(periods.step(slot, to - 1).ending == Ending::Terminated));
        self.policy_versions.extend_from_slice(&periods.policy_version(slot).to_le_bytes());
    }
}

impl Shard {
    /// Draws `rows` with replacement; `None` from an empty table. The key and the contents fix the rows.
    pub(crate) fn sample(&mut self, level: Level, rows: usize, key: u64) -> Option<SampleResponse> {
        let (table, purpose) = match level {
            Level::Low => (&mut self.low, "replay/low"),
            Level::High => (&mut self.high, "replay/high"),
        };
        let mut rng = Streams::new(key, purpose).sequential();
        let drawn = (0..rows).map(|_| table.sample(&mut rng)).collect::<Option<Vec<_>>>()?;
        let (periods, n_steps, size) = (&self.periods, self.shape.n_steps, table.len() as u64);
        let (is_prioritised, mass) = (table.is_prioritised(), table.mass());
        let mut columns = Columns::new(periods, drawn.first()?.row.slot, rows);
        let (mut keys, mut probabilities) = (Vec::new(), Vec::new());
        let (mut items, mut feedback, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for Drawn { row, name, probability } in drawn {
            if is_prioritised {
                keys.extend_from_slice(&name.to_le_bytes());
                probabilities.extend_from_slice(&probability.to_le_bytes());
            }
            match level {
                Level::Low => {
                    let position = usize::from(row.position);
                    columns.push(periods, row.slot, position, position + 1);
                    let step = periods.step(row.slot, position);
                    items.extend_from_slice(&step.item.0.to_le_bytes());
                    feedback.push(step.feedback.code());
                    positions.push(row.position);
                }
                Level::High => {
                    let length = periods.length(row.slot);
                    columns.push(periods, row.slot, 0, length);
                    feedback.extend((0..length).map(|p| periods.step(row.slot, p).feedback.code()));
                    feedback.extend((length..n_steps).map(|_| NO_STEP));
                }
            }
        }
        Some(SampleResponse {
            rows: rows as u32,
            size,
            windows: columns.windows.into(),
            next_windows: columns.next_windows.into(),
            goals: columns.goals.into(),
            items: items.into(),
            feedback: feedback.into(),
            positions: Bytes::from(positions),
            terminated: columns.terminated.into(),
            policy_versions: columns.policy_versions.into(),
            keys: keys.into(),
            probabilities: probabilities.into(),
            mass,
        })
    }
}
