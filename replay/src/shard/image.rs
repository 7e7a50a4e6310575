//! An image of a shard: what a snapshot on disk is written from, while the shard goes on.
//!
//! In: a shard, under its lock, for the time it takes to copy pointers to chunks; out: sections, one after
//! the other, none larger than a table. In: sections that may be damaged or another shard's; out: the shard, or what is
//! wrong, with nothing changed. Every index is checked before the contents are taken.

use std::collections::BTreeMap;

use common::codec;
use serde::{Deserialize, Serialize};

use super::{Feedbacks, Shard, Writer, snapshot::Identity};
use crate::{
    piece::Piece,
    storage::{Chunk, Periods, Slot},
    table::{Table, TableImage, TableState},
};

/// See the module.
pub(crate) struct Image {
    identity: Identity,
    periods: Periods,
    low: TableImage,
    high: TableImage,
    writers: BTreeMap<u64, Writer>,
    feedbacks: Feedbacks,
    fence: u64,
}

/// A part of an image. The variants of [`Section`], by reference.
#[derive(Serialize)]
enum Part<'a> {
    Shard { identity: &'a Identity, feedbacks: Feedbacks, fence: u64 },
    Chunk(&'a Chunk),
    Free(&'a [Slot]),
    Low(&'a TableState),
    High(&'a TableState),
    Writers(&'a BTreeMap<u64, Writer>),
    End { sections: u64 },
}

#[derive(Deserialize)]
enum Section {
    Shard { identity: Identity, feedbacks: Feedbacks, fence: u64 },
    Chunk(Chunk),
    Free(Vec<Slot>),
    Low(TableState),
    High(TableState),
    Writers(BTreeMap<u64, Writer>),
    End { sections: u64 },
}

impl Image {
    /// Hands over the sections, as bytes of records. What was handed over is let go of: the shard need not copy it any
    /// more when it changes.
    pub(crate) fn sections<E: From<codec::Error>>(
        self,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { identity, periods, low, high, writers, feedbacks, fence } = self;
        let mut sections = 0;
        let mut part = |part: &Part<'_>| {
            sections += 1;
            put(&codec::encode(part)?)
        };
        part(&Part::Shard { identity: &identity, feedbacks, fence })?;
        let (chunks, free) = periods.into_parts();
        for chunk in chunks {
            part(&Part::Chunk(chunk.get()))?;
        }
        part(&Part::Free(&free))?;
        part(&Part::Low(&low.into_state()))?;
        part(&Part::High(&high.into_state()))?;
        part(&Part::Writers(&writers))?;
        put(&codec::encode(&Part::End { sections })?)
    }
}

/// Sections that are read back.
#[derive(Default)]
pub(crate) struct Sections {
    shard: Option<(Identity, Feedbacks, u64)>,
    chunks: Vec<Piece<Chunk>>,
    free: Vec<Slot>,
    low: Option<TableState>,
    high: Option<TableState>,
    writers: BTreeMap<u64, Writer>,
    read: u64,
    is_whole: bool,
}

impl Sections {
    /// Takes the next record.
    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), String> {
        match codec::decode(record).map_err(|error| error.to_string())? {
            Section::Shard { identity, feedbacks, fence } => self.shard = Some((identity, feedbacks, fence)),
            Section::Chunk(chunk) => self.chunks.push(Piece::Own(chunk)),
            Section::Free(free) => self.free = free,
            Section::Low(state) => self.low = Some(state),
            Section::High(state) => self.high = Some(state),
            Section::Writers(writers) => self.writers = writers,
            Section::End { sections } => self.is_whole = sections == self.read,
        }
        self.read += 1;
        Ok(())
    }
}

impl Shard {
    /// What the shard holds now, to be written later.
    pub(crate) fn image(&mut self) -> Image {
        Image {
            identity: self.identity(),
            periods: self.periods.share(),
            low: self.low.image(),
            high: self.high.image(),
            writers: self.writers.clone(),
            feedbacks: self.feedbacks,
            fence: self.fence,
        }
    }

    /// Takes the contents of an image in place of what is here. The capacities and the way of sampling stay: rows beyond give way. A catalogue whose
    /// size is not known here is taken over.
    pub(crate) fn restore_sections(&mut self, sections: Sections) -> Result<(), String> {
        let Sections { shard, chunks, free, low, high, writers, is_whole, .. } = sections;
        let (Some((identity, feedbacks, fence)), Some(low), Some(high), true) = (shard, low, high, is_whole)
        else {
            return Err("it is not whole".into());
        };
        let mut ours = self.identity();
        if ours.n_items == 0 {
            ours.n_items = identity.n_items;
        }
        if identity != ours {
            return Err(format!("it is of {identity:?}, not of {ours:?}"));
        }
        let n_items = identity.n_items;
        let (capacity_low, capacity_high) = (self.low.capacity(), self.high.capacity());
        let table = |name, state: TableState| {
            let capacity = state.capacity();
            Table::restore(state, capacity).map_err(|error| format!("{name}: {error}"))
        };
        let (low, high) = (table("low", low)?, table("high", high)?);
        let periods = Periods::from_parts(self.shape, chunks, free);
        self.check(&periods, &low, &high, &writers)?;
        (self.periods, self.low, self.high, self.writers) = (periods, low, high, writers);
        (self.n_items, self.feedbacks, self.fence) = (n_items, feedbacks, fence);
        for table in [&mut self.low, &mut self.high] {
            table.sample_by(self.sampling);
        }
        for row in self.low.resize(capacity_low) {
            self.periods.release(row.slot);
        }
        for row in self.high.resize(capacity_high) {
            self.periods.release(row.slot);
        }
        Ok(())
    }
}
