//! An appended batch whose records are right by themselves.
//!
//! In: the `records` field; out: [`Batch`], which can be walked without errors. Checked here: structure, codes, item
//! ids, left padding, finite goals, counts. Not here: lanes and positions, which need the writer's state.

use bytes::Bytes;
use common::{ItemId, transition::Shape};

use super::{MAX_BATCH_BYTES, PeriodRecord, Run, record};
use crate::Error;

/// Checked records.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    bytes: Bytes,
    shape: Shape,
    n_steps: usize,
    oldest_version: Option<u64>,
}

impl Batch {
    /// Checks records for a catalogue of `n_items`; at most `most_steps` steps.
    pub(crate) fn check(
        bytes: Bytes,
        shape: &Shape,
        n_items: usize,
        most_steps: usize,
    ) -> Result<Self, Error> {
        if bytes.is_empty() || bytes.len() > MAX_BATCH_BYTES {
            let problem = format!("{} bytes are outside 1 to {MAX_BATCH_BYTES}", bytes.len());
            return Err(Error::invalid("records", problem));
        }
        let (mut rest, mut n_steps, mut oldest_version) = (&bytes[..], 0, None);
        while let Some(run) = record::take(&mut rest, shape)? {
            match run {
                Run::Period(period) => {
                    check_period(&period, shape, n_items)?;
                    let version = period.policy_version;
                    oldest_version = Some(oldest_version.map_or(version, |oldest: u64| oldest.min(version)));
                }
                Run::Steps(steps) => {
                    steps.check(n_items)?;
                    n_steps += steps.len();
                }
            }
        }
        if n_steps > most_steps {
            let problem = format!("{n_steps} steps are over the limit of {most_steps} a batch");
            return Err(Error::invalid("records", problem));
        }
        Ok(Self { bytes, shape: *shape, n_steps, oldest_version })
    }

    /// As they came.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Number of steps.
    pub(crate) fn n_steps(&self) -> usize {
        self.n_steps
    }

    /// Oldest version of the weights that chose goals of a period that begins here; `None`: none begins.
    pub(crate) fn oldest_version(&self) -> Option<u64> {
        self.oldest_version
    }

    /// The records in order.
    #[inline]
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        record::runs(&self.bytes, &self.shape)
    }
}

fn check_period(period: &PeriodRecord<'_>, shape: &Shape, n_items: usize) -> Result<(), Error> {
    // All of them first: without a branch a value they are looked at several at once.
    let (windows, _) = period.windows.as_chunks();
    let (goals, _) = period.goals.as_chunks();
    let is_right = windows.chunks_exact(shape.window).all(|window| is_window(window, n_items));
    if is_right && goals.iter().fold(true, |all, &bytes| all & f32::from_le_bytes(bytes).is_finite()) {
        return Ok(());
    }
    for window in windows.chunks_exact(shape.window) {
        let mut begun = false;
        for item in window.iter().map(|&bytes| ItemId(u32::from_le_bytes(bytes))) {
            if item.is_padding() && begun {
                return Err(Error::invalid("windows", "padding stands to the right of an item"));
            }
            if !item.is_padding() && item.row() >= n_items {
                return Err(record::unknown_item("windows", item, n_items));
            }
            begun |= !item.is_padding();
        }
    }
    for (component, &bytes) in goals.iter().enumerate() {
        let value = f32::from_le_bytes(bytes);
        if !value.is_finite() {
            let (goal, component) = (component / shape.n_dims, component % shape.n_dims);
            let problem = format!("goal {goal}, component {component}: {value} is not a finite number");
            return Err(Error::invalid("goals", problem));
        }
    }
    Ok(())
}

/// Whether a window holds items of the catalogue, and padding only to the left of them.
fn is_window(window: &[[u8; 4]], n_items: usize) -> bool {
    let item = |bytes: &[u8; 4]| ItemId(u32::from_le_bytes(*bytes));
    let is_known = |item: ItemId| item.is_padding() | (item.row() < n_items);
    let known = window.iter().fold(true, |all, bytes| all & is_known(item(bytes)));
    let pairs = window.iter().zip(window.iter().skip(1));
    let padded = |(left, right): (&[u8; 4], &[u8; 4])| item(left).is_padding() | !item(right).is_padding();
    pairs.fold(known, |all, pair| all & padded(pair))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::testing::{SHAPE, arbitrary_records, period_start};

    proptest! {
        #[test]
        fn a_period_is_right_if_a_walk_over_it_finds_nothing(
            padding in [0..=SHAPE.window, 0..=SHAPE.window, 0..=SHAPE.window],
            other in (any::<Index>(), prop_oneof![Just(u32::MAX), 0_u32..12]),
            odd_goal in prop::option::of((any::<Index>(), prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(-0.0)])),
        ) {
            let mut start = period_start(1, 0);
            for (window, &padding) in start.windows.chunks_mut(SHAPE.window).zip(&padding) {
                window.fill(ItemId(9));
                window[..padding].fill(ItemId::PADDING);
            }
            let at = other.0.index(start.windows.len());
            start.windows[at] = ItemId(other.1);
            if let Some((at, value)) = odd_goal {
                let at = at.index(start.goals.len());
                start.goals[at] = value;
            }
            let mut windows = start.windows.chunks(SHAPE.window);
            let is_right = start.goals.iter().all(|goal| goal.is_finite())
                && windows.all(|window| window.iter().skip_while(|item| item.is_padding()).all(|item| item.0 < 10));
            let mut bytes = Vec::new();
            crate::wire::put_period(&mut bytes, 0, &start);
            let checked = Batch::check(bytes.into(), &SHAPE, 10, 1_000);
            prop_assert_eq!(checked.is_ok(), is_right, "{:?}", checked.err());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = Batch::check(bytes.into(), &SHAPE, 100, 1_000);
        }

        #[test]
        fn right_bytes_with_one_changed_never_panic(at: Index, value: u8) {
            let mut bytes = arbitrary_records();
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(batch) = Batch::check(bytes.into(), &SHAPE, 100, 1_000) {
                assert!(batch.runs().count() > 0);
            }
        }
    }
}
