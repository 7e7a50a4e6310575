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
    for window in period.windows.chunks_exact(4 * shape.window) {
        let mut begun = false;
        for bytes in window.chunks_exact(4) {
            let item = ItemId(u32::from_le_bytes(bytes.try_into().expect("the chunk is 4 bytes long")));
            if item.is_padding() && begun {
                return Err(Error::invalid("windows", "padding stands to the right of an item"));
            }
            if !item.is_padding() && item.row() >= n_items {
                return Err(record::unknown_item("windows", item, n_items));
            }
            begun |= !item.is_padding();
        }
    }
    for (component, bytes) in period.goals.chunks_exact(4).enumerate() {
        let value = f32::from_le_bytes(bytes.try_into().expect("the chunk is 4 bytes long"));
        if !value.is_finite() {
            let (goal, component) = (component / shape.n_dims, component % shape.n_dims);
            let problem = format!("goal {goal}, component {component}: {value} is not a finite number");
            return Err(Error::invalid("goals", problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SHAPE, arbitrary_records};

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000)) {
            let _ = Batch::check(bytes.into(), &SHAPE, 100, 1_000);
        }

        #[test]
        fn right_bytes_with_one_changed_never_panic(at: proptest::sample::Index, value: u8) {
            let mut bytes = arbitrary_records();
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(batch) = Batch::check(bytes.into(), &SHAPE, 100, 1_000) {
                assert!(batch.runs().count() > 0);
            }
        }
    }
}
