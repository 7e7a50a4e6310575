//! Minibatches: windows are materialised here, from the period's start and its steps.
//!
//! In: rows to draw and the key of the draw; out: packed columns. Windows after a step (or a period) are not among them:
//! they follow from those before it and the steps, which are (see [`crate::wire::columns`]). Columns are gathered one
//! after the other, so that the memory of many rows is on its way at once.

use bytemuck::NoUninit;
use bytes::Bytes;
use common::{ItemId, seed::Streams, transition::NO_STEP};
use proto::v1::SampleResponse;

use super::Shard;
use crate::{
    storage::Period,
    table::{Drawn, limiter::Level},
};

/// A column as the bytes of its values, without a copy.
fn bytes_of<T: NoUninit + Send>(column: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: NoUninit> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(column))
}

/// `[rows, width]` of `each` row's values, which are at most `width` and filled up with `rest`.
fn gather<'a, T: Copy, I: Iterator<Item = T>>(
    periods: &[Period<'a>],
    (width, rest): (usize, T),
    each: impl Fn(&Period<'a>) -> I,
) -> Vec<T> {
    let mut column = Vec::with_capacity(periods.len() * width);
    for (row, period) in periods.iter().enumerate() {
        column.extend(each(period).take(width));
        column.resize((row + 1) * width, rest);
    }
    column
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
        let periods: Vec<_> = drawn.iter().map(|drawn| self.periods.get(drawn.row.slot)).collect();
        // The transition begins before this step ...
        let first = |row: &Drawn| usize::from(row.row.position);
        let mut windows = Vec::with_capacity(rows * periods.first()?.windows.len());
        for (row, period) in drawn.iter().zip(&periods) {
            period.windows_before(first(row), &mut windows);
        }
        let mut goals = Vec::with_capacity(rows * periods.first()?.goals.len());
        periods.iter().for_each(|period| goals.extend_from_slice(period.goals));
        // ... and ends with this one.
        let last = |row: &Drawn, period: &Period<'_>| match level {
            Level::Low => first(row),
            Level::High => period.items.len() - 1,
        };
        let terminated = drawn.iter().zip(&periods).map(|(row, p)| u8::from(p.terminates(last(row, p))));
        let mut response = SampleResponse {
            rows: rows as u32,
            size: table.len() as u64,
            windows: bytes_of(windows),
            goals: bytes_of(goals),
            terminated: terminated.collect::<Vec<_>>().into(),
            policy_versions: bytes_of(periods.iter().map(|period| period.policy_version).collect()),
            mass: table.mass(),
            ..SampleResponse::default()
        };
        if table.is_prioritised() {
            response.keys = bytes_of(drawn.iter().map(|drawn| drawn.name).collect());
            response.probabilities = bytes_of(drawn.iter().map(|drawn| drawn.probability).collect());
        }
        let c = self.shape.n_steps;
        let all_items = || bytes_of(gather(&periods, (c, ItemId::PADDING), |p| p.items.iter().copied()));
        let all_feedback = || bytes_of(gather(&periods, (c, NO_STEP), |p| p.feedback().map(|f| f.code())));
        if level == Level::High {
            response.items = all_items();
            response.feedback = all_feedback();
            return Some(response);
        }
        let steps = || drawn.iter().zip(&periods).map(|(row, period)| (first(row), period));
        response.items = bytes_of(steps().map(|(position, period)| period.items[position]).collect());
        let feedback = steps().map(|(position, period)| period.feedback_at(position).code());
        response.feedback = feedback.collect::<Vec<_>>().into();
        response.positions = drawn.iter().map(|drawn| drawn.row.position).collect::<Vec<_>>().into();
        if whole_periods {
            response.period_items = all_items();
            response.period_feedback = all_feedback();
            let left = periods.iter().map(|period| u8::from(period.terminates(period.items.len() - 1)));
            response.period_terminated = left.collect::<Vec<_>>().into();
        }
        Some(response)
    }
}
