//! Minibatches on the wire.
//!
//! In: the columns of a `SampleResponse`; out: appended to a [`LowBatch`] or [`HighBatch`] by copying, after their
//! lengths were checked. Windows after a step or a period are not sent: they are made here.

use bytemuck::Pod;
use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    transition::{HighBatch, LowBatch, NO_STEP, Shape, WholePeriods},
};
use proto::v1::SampleResponse;

use crate::Error;

/// Bytes of a sampled row, an upper bound for both tables.
pub(crate) fn row_bytes(shape: &Shape) -> usize {
    4 * (N_WINDOWS * shape.window + shape.n_goals * shape.n_dims) + 5 * shape.n_steps + 32
}

/// An empty minibatch with room for so many rows.
pub(crate) fn low_of(rows: usize, shape: &Shape) -> LowBatch {
    let windows = rows * N_WINDOWS * shape.window;
    LowBatch {
        windows: Vec::with_capacity(windows),
        next_windows: Vec::with_capacity(windows),
        goals: Vec::with_capacity(rows * shape.n_goals * shape.n_dims),
        items: Vec::with_capacity(rows),
        feedback: Vec::with_capacity(rows),
        positions: Vec::with_capacity(rows),
        terminated: Vec::with_capacity(rows),
        policy_versions: Vec::with_capacity(rows),
        ..LowBatch::default()
    }
}

/// An empty minibatch with room for so many rows.
pub(crate) fn high_of(rows: usize, shape: &Shape) -> HighBatch {
    let windows = rows * N_WINDOWS * shape.window;
    HighBatch {
        windows: Vec::with_capacity(windows),
        next_windows: Vec::with_capacity(windows),
        goals: Vec::with_capacity(rows * shape.n_goals * shape.n_dims),
        feedback: Vec::with_capacity(rows * shape.n_steps),
        terminated: Vec::with_capacity(rows),
        policy_versions: Vec::with_capacity(rows),
        ..HighBatch::default()
    }
}

/// Appends the rows of a response to a minibatch of low-level transitions.
pub(crate) fn extend_low(batch: &mut LowBatch, part: &SampleResponse, shape: &Shape) -> Result<(), Error> {
    let rows = part.rows as usize;
    for (field, bytes, row_bytes) in
        [("items", &part.items, 4), ("feedback", &part.feedback, 1), ("positions", &part.positions, 1)]
    {
        check_length(field, bytes.len(), rows, row_bytes)?;
    }
    check_shared(part, rows, shape)?;
    extend(&mut batch.windows, &part.windows);
    extend(&mut batch.goals, &part.goals);
    extend(&mut batch.items, &part.items);
    extend_next(&mut batch.next_windows, (&batch.windows, &batch.items, &part.feedback), shape.window)?;
    extend(&mut batch.feedback, &part.feedback);
    extend(&mut batch.positions, &part.positions);
    extend(&mut batch.terminated, &part.terminated);
    extend(&mut batch.policy_versions, &part.policy_versions);
    Ok(())
}

/// Appends the whole periods of a response that was asked for them.
pub(crate) fn extend_periods(
    periods: &mut WholePeriods,
    part: &SampleResponse,
    shape: &Shape,
) -> Result<(), Error> {
    let (rows, c) = (part.rows as usize, shape.n_steps);
    check_length("period_items", part.period_items.len(), rows, 4 * c)?;
    check_length("period_feedback", part.period_feedback.len(), rows, c)?;
    check_length("period_terminated", part.period_terminated.len(), rows, 1)?;
    extend(&mut periods.items, &part.period_items);
    extend(&mut periods.feedback, &part.period_feedback);
    extend(&mut periods.terminated, &part.period_terminated);
    Ok(())
}

/// Appends the rows of a response to a minibatch of high-level transitions.
pub(crate) fn extend_high(batch: &mut HighBatch, part: &SampleResponse, shape: &Shape) -> Result<(), Error> {
    let rows = part.rows as usize;
    check_length("feedback", part.feedback.len(), rows, shape.n_steps)?;
    check_length("items", part.items.len(), rows, 4 * shape.n_steps)?;
    check_shared(part, rows, shape)?;
    extend(&mut batch.windows, &part.windows);
    let items: Vec<ItemId> = column("items", &part.items, rows * shape.n_steps)?;
    extend_next(&mut batch.next_windows, (&batch.windows, &items, &part.feedback), shape.window)?;
    extend(&mut batch.goals, &part.goals);
    extend(&mut batch.feedback, &part.feedback);
    extend(&mut batch.terminated, &part.terminated);
    extend(&mut batch.policy_versions, &part.policy_versions);
    Ok(())
}

fn check_shared(part: &SampleResponse, rows: usize, shape: &Shape) -> Result<(), Error> {
    let windows = 4 * N_WINDOWS * shape.window;
    check_length("windows", part.windows.len(), rows, windows)?;
    check_length("goals", part.goals.len(), rows, 4 * shape.n_goals * shape.n_dims)?;
    check_length("terminated", part.terminated.len(), rows, 1)?;
    check_length("policy_versions", part.policy_versions.len(), rows, 8)
}

fn check_length(field: &'static str, found: usize, rows: usize, row_bytes: usize) -> Result<(), Error> {
    if rows.checked_mul(row_bytes) == Some(found) {
        return Ok(());
    }
    Err(Error::invalid(field, format!("{found} bytes are not {rows} rows of {row_bytes}")))
}

/// Appends the windows after the newest rows: `windows` ends with those before them, `items` with what was shown then, as
/// many to each, `feedback` is what was said.
fn extend_next(
    next: &mut Vec<ItemId>,
    (windows, items, feedback): (&[ItemId], &[ItemId], &[u8]),
    window: usize,
) -> Result<(), Error> {
    if let Some(code) = feedback.iter().find(|&&code| code != NO_STEP && Feedback::from_code(code).is_none())
    {
        return Err(Error::invalid("feedback", format!("code {code} is none of 0 skip, 1 click, 2 order")));
    }
    let windows = &windows[next.len()..];
    let rows = windows.chunks_exact(N_WINDOWS * window);
    let n_steps = feedback.len() / rows.len().max(1);
    let items = &items[items.len() - feedback.len()..];
    next.reserve(windows.len());
    for (k, windows) in rows.enumerate() {
        let steps = k * n_steps..(k + 1) * n_steps;
        let steps = items[steps.clone()].iter().zip(&feedback[steps]);
        let steps = steps.filter_map(|(item, code)| Some((*item, Feedback::from_code(*code)?)));
        history::extend_after(next, windows, steps);
    }
    Ok(())
}

/// A column of `rows` values.
pub(crate) fn column<T: Pod>(field: &'static str, bytes: &[u8], rows: usize) -> Result<Vec<T>, Error> {
    check_length(field, bytes.len(), rows, size_of::<T>())?;
    let mut column = Vec::new();
    extend(&mut column, bytes);
    Ok(column)
}

/// Appends a column; its length has been checked.
fn extend<T: Pod>(column: &mut Vec<T>, bytes: &[u8]) {
    let before = column.len();
    column.resize(before + bytes.len() / size_of::<T>(), T::zeroed());
    bytemuck::cast_slice_mut(&mut column[before..]).copy_from_slice(bytes);
}

/// Names and priorities of an update: as many of both, every priority a finite number of at least 0.
pub(crate) fn priorities(keys: &[u8], priorities: &[u8]) -> Result<(Vec<u64>, Vec<f64>), Error> {
    let n = keys.len() / 8;
    if !(1..=super::MAX_SAMPLE_ROWS).contains(&n) || !keys.len().is_multiple_of(8) {
        let problem = format!("{} bytes are not 1 to {} numbers", keys.len(), super::MAX_SAMPLE_ROWS);
        return Err(Error::invalid("keys", problem));
    }
    if priorities.len() != keys.len() {
        let problem = format!("{} bytes are not {}, a number a key", priorities.len(), keys.len());
        return Err(Error::invalid("priorities", problem));
    }
    let eight = |chunk: &[u8]| <[u8; 8]>::try_from(chunk).expect("the chunk is 8 bytes long");
    let priorities: Vec<f64> = priorities.chunks_exact(8).map(|c| f64::from_le_bytes(eight(c))).collect();
    if let Some(row) = priorities.iter().position(|p| !(p.is_finite() && *p >= 0.0)) {
        let problem = format!("row {row}: {} is not a finite number of at least 0", priorities[row]);
        return Err(Error::invalid("priorities", problem));
    }
    Ok((keys.chunks_exact(8).map(|c| u64::from_le_bytes(eight(c))).collect(), priorities))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::SHAPE;

    fn column() -> impl Strategy<Value = bytes::Bytes> {
        proptest::collection::vec(proptest::num::u8::ANY, 0..200).prop_map(Into::into)
    }

    proptest! {
        #[test]
        fn columns_of_random_lengths_never_panic(
            rows in proptest::num::u32::ANY,
            a in column(), b in column(), c in column(), d in column(),
        ) {
            let part = SampleResponse {
                rows: rows % 4, size: 1, windows: a, goals: b, items: c.clone(),
                period_items: c.clone(), period_feedback: d.clone(), period_terminated: d.clone(),
                feedback: c.clone(), positions: d.clone(), terminated: d.clone(), policy_versions: d,
                ..SampleResponse::default()
            };
            let _ = extend_low(&mut LowBatch::default(), &part, &SHAPE);
            let _ = extend_high(&mut HighBatch::default(), &part, &SHAPE);
            let _ = extend_periods(&mut WholePeriods::default(), &part, &SHAPE);
            let part = SampleResponse { rows, ..part };
            let _ = extend_low(&mut LowBatch::default(), &part, &SHAPE);
        }
    }
}
