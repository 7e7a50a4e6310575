//! Minibatches: windows are materialised here, from the period's start and its steps.
//!
//! In: rows to draw and the key of the draw; out: packed columns. Windows after a step (or a period) are not among them:
//! they follow from those before it and the steps, which are (see [`crate::wire::columns`]). What is dear is waiting for
//! memory: rows lie anywhere. So a block of rows is touched first, all of whose memory is then on its way at once.

use bytemuck::NoUninit;
use bytes::Bytes;
use common::{
    ItemId,
    seed::Streams,
    transition::{NO_STEP, Shape},
};
use proto::v1::SampleResponse;

use super::Shard;
use crate::{
    storage::{Period, Periods},
    table::{Drawn, limiter::Level},
};

/// Rows of a block: they fit into a core's own cache with their columns.
const BLOCK: usize = 128;

/// A column as the bytes of its values, without a copy.
fn bytes_of<T: NoUninit + Send>(column: Vec<T>) -> Bytes {
    if column.is_empty() {
        return Bytes::new();
    }
    struct Owner<T>(Vec<T>);
    impl<T: NoUninit> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(column))
}

/// `[rows, c]` items and feedback of whole periods, filled up behind the last step.
#[derive(Default)]
struct Steps {
    items: Vec<ItemId>,
    feedback: Vec<u8>,
}

impl Steps {
    fn push(&mut self, period: &Period<'_>, c: usize) {
        let length = self.items.len() + c;
        self.items.extend_from_slice(period.items);
        self.items.resize(length, ItemId::PADDING);
        self.feedback.extend(period.feedback().map(|feedback| feedback.code()));
        self.feedback.resize(length, NO_STEP);
    }
}

/// Columns of a minibatch; see [`SampleResponse`].
struct Columns {
    windows: Vec<ItemId>,
    goals: Vec<f32>,
    steps: Steps,
    positions: Vec<u8>,
    terminated: Vec<u8>,
    policy_versions: Vec<u64>,
    whole: Steps,
    whole_terminated: Vec<u8>,
}

impl Columns {
    fn new(rows: usize, shape: &Shape) -> Self {
        Self {
            windows: Vec::with_capacity(rows * common::history::N_WINDOWS * shape.window),
            goals: Vec::with_capacity(rows * shape.n_goals * shape.n_dims),
            steps: Steps { items: Vec::with_capacity(rows), feedback: Vec::with_capacity(rows) },
            positions: Vec::with_capacity(rows),
            terminated: Vec::with_capacity(rows),
            policy_versions: Vec::with_capacity(rows),
            whole: Steps::default(),
            whole_terminated: Vec::new(),
        }
    }

    /// Rows with their periods.
    fn push(&mut self, rows: &[(u8, Period<'_>)], level: Level, (c, whole): (usize, bool)) {
        for (position, period) in rows {
            let first = if level == Level::Low { usize::from(*position) } else { 0 };
            period.windows_before(first, &mut self.windows);
        }
        rows.iter().for_each(|(_, period)| self.goals.extend_from_slice(period.goals));
        self.policy_versions.extend(rows.iter().map(|(_, period)| period.policy_version));
        for (position, period) in rows {
            let last = period.items.len() - 1;
            match level {
                Level::Low => {
                    let at = usize::from(*position);
                    self.steps.items.push(period.items[at]);
                    self.steps.feedback.push(period.feedback_at(at).code());
                    self.positions.push(*position);
                    self.terminated.push(u8::from(period.terminates(at)));
                }
                Level::High => {
                    self.steps.push(period, c);
                    self.terminated.push(u8::from(period.terminates(last)));
                }
            }
            if whole && level == Level::Low {
                self.whole.push(period, c);
                self.whole_terminated.push(u8::from(period.terminates(last)));
            }
        }
    }
}

/// Reads rows in blocks.
fn gather(drawn: &[Drawn], periods: &Periods, mut take: impl FnMut(&[(u8, Period<'_>)])) {
    let mut block = Vec::with_capacity(BLOCK);
    for rows in drawn.chunks(BLOCK) {
        block.clear();
        block.extend(rows.iter().map(|Drawn { row, .. }| (row.position, periods.get(row.slot))));
        std::hint::black_box(block.iter().fold(0, |sum, (_, period)| sum ^ period.touch()));
        take(&block);
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
        let drawn = table.sample(rows, &mut Streams::new(key, purpose).sequential())?;
        let mut columns = Columns::new(rows, &self.shape);
        let whole = (self.shape.n_steps, whole_periods);
        gather(&drawn, &self.periods, |block| columns.push(block, level, whole));
        let (mut keys, mut probabilities) = (Vec::new(), Vec::new());
        if table.is_prioritised() {
            keys.extend(drawn.iter().map(|drawn| drawn.name));
            probabilities.extend(drawn.iter().map(|drawn| drawn.probability));
        }
        Some(SampleResponse {
            rows: rows as u32,
            size: table.len() as u64,
            windows: bytes_of(columns.windows),
            goals: bytes_of(columns.goals),
            items: bytes_of(columns.steps.items),
            feedback: columns.steps.feedback.into(),
            positions: columns.positions.into(),
            terminated: columns.terminated.into(),
            policy_versions: bytes_of(columns.policy_versions),
            keys: bytes_of(keys),
            probabilities: bytes_of(probabilities),
            mass: table.mass(),
            period_items: bytes_of(columns.whole.items),
            period_feedback: columns.whole.feedback.into(),
            period_terminated: columns.whole_terminated.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use common::{
        history,
        transition::{Ending, HighBatch, LowBatch},
    };

    use super::*;
    use crate::{
        Sampling, Settings,
        shard::Opened,
        testing::{SHAPE, arbitrary_records, nth_step, period_start, settings},
        wire::{Batch, columns},
    };

    /// Windows of a session before its step `t`, one step pushed after the other.
    fn windows_before(session: u64, t: u64) -> Vec<ItemId> {
        let c = SHAPE.n_steps as u64;
        let mut windows = period_start(session, (t / c) as u32).windows;
        for step in (t / c * c..t).map(|t| nth_step(session, t, 8)) {
            history::push(&mut windows, step.item, step.feedback);
        }
        windows
    }

    fn windows_after(session: u64, t: u64) -> Vec<ItemId> {
        let (mut windows, step) = (windows_before(session, t), nth_step(session, t, 8));
        history::push(&mut windows, step.item, step.feedback);
        windows
    }

    #[test]
    fn a_minibatch_is_what_one_step_after_the_other_makes_of_the_rows_that_one_draw_after_the_other_yields() {
        let c = SHAPE.n_steps as u64;
        for sampling in [Sampling::Uniform, Sampling::Prioritised { exponent: 0.6 }, Sampling::Fifo] {
            let mut shard = Shard::new(&Settings { sampling, ..settings() }, 0, 1);
            let Opened { generation, .. } = shard.open(1).unwrap();
            let batch = Batch::check(arbitrary_records().into(), &SHAPE, 100, 1_000).unwrap();
            assert!(shard.store(1, generation, 1, &batch));
            let mut same = Shard::new(&Settings { sampling, ..settings() }, 0, 1);
            same.restore(&shard.save().unwrap()).unwrap();

            let (mut low, mut high) = (LowBatch::default(), HighBatch::default());
            columns::extend_low(&mut low, &shard.sample(Level::Low, 50, 9, false).unwrap(), &SHAPE).unwrap();
            columns::extend_high(&mut high, &shard.sample(Level::High, 50, 9, false).unwrap(), &SHAPE)
                .unwrap();
            let mut expected = (LowBatch::default(), HighBatch::default());
            let mut rng = Streams::new(9, "replay/low").sequential();
            for _ in 0..50 {
                let row = same.low.sample(1, &mut rng).unwrap()[0].row;
                let (session, period) = (same.periods.session(row.slot), same.periods.period(row.slot));
                let t = u64::from(period) * c + u64::from(row.position);
                let (start, step) = (period_start(session, period), nth_step(session, t, 8));
                expected.0.windows.extend(windows_before(session, t));
                expected.0.next_windows.extend(windows_after(session, t));
                expected.0.goals.extend(&start.goals);
                expected.0.items.push(step.item);
                expected.0.feedback.push(step.feedback.code());
                expected.0.positions.push(row.position);
                expected.0.terminated.push(u8::from(step.ending == Ending::Terminated));
                expected.0.policy_versions.push(start.policy_version);
            }
            let mut rng = Streams::new(9, "replay/high").sequential();
            for _ in 0..50 {
                let row = same.high.sample(1, &mut rng).unwrap()[0].row;
                let (session, period) = (same.periods.session(row.slot), same.periods.period(row.slot));
                let steps: Vec<_> = (u64::from(period) * c..8).take(SHAPE.n_steps).collect();
                let start = period_start(session, period);
                let last = steps.last().copied().unwrap();
                expected.1.windows.extend(&start.windows);
                expected.1.next_windows.extend(windows_after(session, last));
                expected.1.goals.extend(&start.goals);
                expected.1.feedback.extend(steps.iter().map(|t| nth_step(session, *t, 8).feedback.code()));
                expected.1.feedback.extend(vec![NO_STEP; SHAPE.n_steps - steps.len()]);
                let left = nth_step(session, last, 8).ending == Ending::Terminated;
                expected.1.terminated.push(u8::from(left));
                expected.1.policy_versions.push(start.policy_version);
            }
            assert_eq!((low, high), expected, "{sampling:?}");
        }
    }
}
