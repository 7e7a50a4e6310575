//! The whole shard as bytes, and back.
//!
//! Layout: one record of [`common::codec`], then its CRC-32C as 4 little-endian bytes. In: bytes that may be damaged
//! or another shard's; out: a shard that draws, evicts and goes on exactly as the one that was saved, or an error with
//! nothing changed. Every index is checked before the contents are taken.

use std::{collections::BTreeMap, fmt};

use common::{codec, config::PartialPeriods, transition::Shape};
use proto::SCHEMA_VERSION;
use serde::{Deserialize, Serialize};

use super::{Feedbacks, Shard, Writer};
use crate::{
    Error, agreement,
    storage::Periods,
    table::{Table, TableState},
};

/// What a snapshot must agree with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    schema_version: u32,
    run_id: String,
    shape: Shape,
    pub(super) n_items: usize,
    partial_periods: PartialPeriods,
}

impl Identity {
    /// What differs, by the name of its setting: `` `model.window` is 5, the snapshot's is 10 ``, where `whose` is "the
    /// snapshot's". `None`: they agree.
    pub(super) fn differences(&self, ours: &Self, whose: &str) -> Option<String> {
        // By parts, so that none is forgotten.
        let Self { schema_version, run_id, shape, n_items, partial_periods } = self;
        let mut differences = Vec::new();
        let mut compare = |name: &str, ours: &dyn fmt::Display, theirs: &dyn fmt::Display| {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            if ours != theirs {
                differences.push(format!("{name} is {ours}, {whose} is {theirs}"));
            }
        };
        compare("`cluster.run`", &ours.run_id, run_id);
        let theirs = agreement::of_contents(shape, *partial_periods);
        let contents = agreement::of_contents(&ours.shape, ours.partial_periods);
        for ((key, ours), (_, theirs)) in contents.into_iter().zip(theirs) {
            compare(&format!("`{key}`"), &ours, &theirs);
        }
        compare("the number of items", &ours.n_items, n_items);
        compare("the schema version", &ours.schema_version, schema_version);
        (!differences.is_empty()).then(|| differences.join("; "))
    }

    /// [`Self::differences`] in shape and short periods alone: what a journal cannot be read without.
    pub(crate) fn settings_differ(&self, ours: &Self, whose: &str) -> Option<String> {
        let (shape, partial_periods) = (self.shape, self.partial_periods);
        Self { shape, partial_periods, ..ours.clone() }.differences(ours, whose)
    }
}

/// Why contents cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// They are whole, and of other settings: which.
    Other(String),
    /// They are damaged, or none: how.
    Damaged(String),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Damaged(problem)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Other(problem) | Self::Damaged(problem)) = self;
        f.write_str(problem)
    }
}

#[derive(Serialize)]
struct Saved<'a> {
    identity: Identity,
    periods: &'a Periods,
    low: TableState,
    high: TableState,
    writers: &'a BTreeMap<u64, Writer>,
    feedbacks: Feedbacks,
    fence: u64,
}

#[derive(Deserialize)]
struct Restored {
    identity: Identity,
    periods: Periods,
    low: TableState,
    high: TableState,
    writers: BTreeMap<u64, Writer>,
    feedbacks: Feedbacks,
    fence: u64,
}

impl Shard {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            schema_version: SCHEMA_VERSION,
            run_id: self.run_id.clone(),
            shape: self.shape,
            n_items: self.n_items,
            partial_periods: self.partial_periods,
        }
    }

    /// Everything in the shard.
    pub(crate) fn save(&self) -> Result<Vec<u8>, Error> {
        let saved = Saved {
            identity: self.identity(),
            periods: &self.periods,
            low: self.low.save(),
            high: self.high.save(),
            writers: &self.writers,
            feedbacks: self.feedbacks,
            fence: self.fence,
        };
        let mut bytes = codec::encode(&saved).map_err(|error| Error::Snapshot(error.to_string()))?;
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Takes the contents that [`Self::save`] gave, in place of what is here; open streams of writers end.
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let restored = self.decode(bytes).map_err(Error::Snapshot)?;
        let (low, high) = (restored.low, restored.high);
        let low =
            Table::restore(low, self.low.capacity()).map_err(|e| Error::Snapshot(format!("low: {e}")))?;
        let high =
            Table::restore(high, self.high.capacity()).map_err(|e| Error::Snapshot(format!("high: {e}")))?;
        self.check(&restored.periods, &low, &high, &restored.writers).map_err(Error::Snapshot)?;
        (self.periods, self.low, self.high, self.writers) = (restored.periods, low, high, restored.writers);
        for table in [&mut self.low, &mut self.high] {
            table.sample_by(self.sampling);
        }
        self.feedbacks = restored.feedbacks;
        self.fence = self.fence.max(restored.fence);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Restored, String> {
        let (record, crc) = bytes.split_last_chunk::<4>().ok_or("it is shorter than its checksum")?;
        let (found, expected) = (crc32c::crc32c(record), u32::from_le_bytes(*crc));
        if found != expected {
            return Err(format!("its checksum is {found:08x}, not {expected:08x}"));
        }
        let restored: Restored = codec::decode(record).map_err(|error| error.to_string())?;
        match restored.identity.differences(&self.identity(), "the snapshot's") {
            Some(differences) => Err(format!("{differences}; take the settings that it was made with")),
            None => Ok(restored),
        }
    }

    /// Whether all parts fit together.
    pub(super) fn check(
        &self,
        periods: &Periods,
        low: &Table,
        high: &Table,
        writers: &BTreeMap<u64, Writer>,
    ) -> Result<(), String> {
        let c = self.shape.n_steps;
        // Who refers to each slot, and how many steps it must have at least.
        let mut holders = vec![0_u16; periods.n_slots()];
        let mut least = vec![0_usize; periods.n_slots()];
        let mut hold = |slot: u32, steps: usize| {
            let slot = slot as usize;
            let holder = holders.get_mut(slot).ok_or_else(|| format!("there is no slot {slot}"))?;
            *holder = holder.checked_add(1).ok_or_else(|| format!("slot {slot} has too many holders"))?;
            least[slot] = least[slot].max(steps);
            Ok::<_, String>(())
        };
        low.held().try_for_each(|row| hold(row.slot, usize::from(row.position) + 1))?;
        high.held().try_for_each(|row| hold(row.slot, 1))?;
        for (id, writer) in writers {
            if writer.lanes.len() != writer.slots.len() || writer.lanes.len() > 1 << 16 {
                return Err(format!("writer {id} has {} lanes", writer.lanes.len()));
            }
            let open = writer.lanes.iter().zip(&writer.slots).filter(|(lane, _)| lane.is_open(c));
            open.clone().try_for_each(|(lane, slot)| hold(*slot, usize::from(lane.n_steps)))?;
        }
        periods.check(&self.shape, &holders)?;
        if let Some(slot) = (0..least.len()).find(|&slot| periods.length(slot as u32) < least[slot]) {
            return Err(format!("slot {slot} has fewer steps than are referred to"));
        }
        for writer in writers.values() {
            let mut open = writer.lanes.iter().zip(&writer.slots).filter(|(lane, _)| lane.is_open(c));
            if open.any(|(lane, slot)| periods.length(*slot) != usize::from(lane.n_steps)) {
                return Err("an open period has another number of steps than its lane".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        shard::Opened,
        table::limiter::Level,
        testing::{SHAPE, arbitrary_records, settings},
        wire::Batch,
    };

    fn filled() -> Shard {
        let mut shard = Shard::new(&settings(), 0, 1);
        let Opened { generation, .. } = shard.open(1).unwrap();
        let records = arbitrary_records();
        // Without the last two steps: periods are open in the snapshot.
        let records = bytes::Bytes::from(records).slice(..arbitrary_records().len() - 16);
        let batch = Batch::check(records, &SHAPE, 100, 1_000).unwrap();
        assert!(shard.store(1, generation, 1, &batch));
        shard
    }

    #[test]
    fn a_restored_shard_is_the_same_to_the_byte_and_draws_the_same() {
        let mut shard = filled();
        let mut other = Shard::new(&settings(), 0, 1);
        other.restore(&shard.save().unwrap()).unwrap();
        assert_eq!(other.save().unwrap(), shard.save().unwrap());
        for key in 0..20 {
            assert_eq!(other.sample(Level::Low, 7, key, false), shard.sample(Level::Low, 7, key, false));
            assert_eq!(other.sample(Level::High, 3, key, false), shard.sample(Level::High, 3, key, false));
        }
        assert_eq!(other.save().unwrap(), shard.save().unwrap());
    }

    #[test]
    fn a_snapshot_of_another_run_shape_or_size_is_refused_by_what_differs_alone() {
        let bytes = filled().save().unwrap();
        let shaped = |shape| crate::Settings { shape, ..settings() };
        let Shape { window, n_steps, n_goals, n_dims } = SHAPE;
        let window_is =
            format!("restored: `model.window` is 5, the snapshot's is {window}; take the settings");
        let n_steps_is = format!("restored: `model.period_steps` is 7, the snapshot's is {n_steps}; take");
        let both_are = format!(
            "restored: `model.n_goals` is 9, the snapshot's is {n_goals}; `model.n_dims` is 20, the snapshot's is {n_dims}; take"
        );
        for (part, settings) in [
            ("restored: `cluster.run` is other, the snapshot's is test; take the settings", {
                crate::Settings { run_id: "other".into(), ..settings() }
            }),
            (&window_is, shaped(Shape { window: 5, ..SHAPE })),
            (&n_steps_is, shaped(Shape { n_steps: 7, ..SHAPE })),
            (&both_are, shaped(Shape { n_goals: 9, n_dims: 20, ..SHAPE })),
            ("restored: the number of items is 50, the snapshot's is 100; take", {
                crate::Settings { n_items: 50, ..settings() }
            }),
            ("restored: `algorithm.partial_periods` is drop, the snapshot's is keep; take", {
                crate::Settings { partial_periods: PartialPeriods::Drop, ..settings() }
            }),
            ("low: a table of capacity", {
                let mut settings = settings();
                settings.low.capacity = 999;
                settings
            }),
        ] {
            let message = Shard::new(&settings, 0, 1).restore(&bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_snapshot_is_refused_and_changes_nothing(at: proptest::sample::Index, flip in 1_u8..) {
            let mut shard = filled();
            let before = shard.save().unwrap();
            let mut bytes = before.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            proptest::prop_assert!(shard.restore(&bytes).is_err());
            proptest::prop_assert!(shard.restore(&before[..at]).is_err());
            proptest::prop_assert_eq!(shard.save().unwrap(), before);
        }

        #[test]
        fn a_forged_snapshot_never_panics(at: proptest::sample::Index, value: u8, deep: bool) {
            let mut shard = filled();
            let mut bytes = shard.save().unwrap();
            let end = bytes.len() - 4;
            // Half of the changes go to the tables and writers at the end.
            let at = if deep { end - 1 - at.index(200.min(end)) } else { at.index(end) };
            bytes[at] = value;
            let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&crc);
            if shard.restore(&bytes).is_ok() {
                for key in 0..4 {
                    shard.sample(Level::Low, 9, key, false);
                    shard.sample(Level::High, 9, key, false);
                }
                let Opened { generation, stored, .. } = shard.open(2).unwrap();
                let batch = Batch::check(arbitrary_records().into(), &SHAPE, 100, 1_000).unwrap();
                if let Some(Ok(crate::shard::Verdict::New)) = shard.look(2, generation, stored + 1, &batch) {
                    proptest::prop_assert!(shard.store(2, generation, stored + 1, &batch));
                }
            }
        }
    }
}
