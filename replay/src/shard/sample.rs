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

/// The columns of whole periods.
#[derive(Default)]
struct Whole {
    items: Vec<u8>,
    feedback: Vec<u8>,
    terminated: Vec<u8>,
}

impl Whole {
    /// A period as far as it is known: at least the step of the row.
    fn push(&mut self, periods: &Periods, slot: Slot, n_steps: usize) {
        let length = periods.length(slot);
        for step in (0..length).map(|position| periods.step(slot, position)) {
            self.items.extend_from_slice(&step.item.0.to_le_bytes());
            self.feedback.push(step.feedback.code());
        }
        for _ in length..n_steps {
            self.items.extend_from_slice(&ItemId::PADDING.0.to_le_bytes());
            self.feedback.push(NO_STEP);
        }
        let left = periods.step(slot, length - 1).ending == Ending::Terminated;
        self.terminated.push(u8::from(left));
    }
}

impl Shard {
    /// Draws `rows` with replacement; `None` from an empty table. The key and the contents fix the rows. With
    /// `whole_periods` low-level rows come with the steps of their periods.
    pub(crate) fn sample(
        &mut self,
        level: Level,
        rows: usize,
        key: u64,
        whole_periods: bool,
    ) -> Option<SampleResponse> {
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
        let mut whole = Whole::default();
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
                    if whole_periods {
                        whole.push(periods, row.slot, n_steps);
                    }
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
            period_items: whole.items.into(),
            period_feedback: whole.feedback.into(),
            period_terminated: whole.terminated.into(),
        })
    }
}
