//! An image of a shard: what a snapshot on disk is written from, while the shard goes on.
//!
//! In: a shard, under its lock, for the time it takes to copy pointers to chunks; out: sections, one after
//! the other, none of which grows with the rows. In: sections that may be damaged or another shard's; out: the shard, or what is
//! wrong, with nothing changed. Every index is checked before the contents are taken.

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use common::codec;
use serde::{Deserialize, Serialize};

use super::{
    Feedbacks, Shard, Writer,
    snapshot::{Identity, Refusal},
};
use crate::{
    piece::Piece,
    storage::{Chunk, PackedChunk, Periods, Slot},
    table::{Table, TableImage, TableRows, TableState},
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
    Shard {
        identity: &'a Identity,
        feedbacks: Feedbacks,
        fence: u64,
    },
    #[cfg_attr(not(test), expect(dead_code, reason = "snapshots of form 1 have it"))]
    Chunk(&'a Chunk),
    Free(&'a [Slot]),
    Low(&'a TableState),
    High(&'a TableState),
    Writers(&'a BTreeMap<u64, Writer>),
    End {
        sections: u64,
    },
    PackedChunk(PackedChunk<&'a Chunk>),
    Rows(&'a TableRows),
}

/// A part that was read.
#[derive(Deserialize)]
pub(crate) enum Section {
    Shard {
        identity: Identity,
        feedbacks: Feedbacks,
        fence: u64,
    },
    /// In form 1, where tables are whole, too.
    Chunk(Chunk),
    Free(Vec<Slot>),
    Low(TableState),
    High(TableState),
    Writers(BTreeMap<u64, Writer>),
    End {
        sections: u64,
    },
    PackedChunk(PackedChunk<Chunk>),
    /// Of the table before it.
    Rows(TableRows),
}

impl Image {
    /// Hands over the sections, as bytes of records. What was handed over is let go of: the shard need not copy it any
    /// more when it changes.
    pub(crate) fn sections<E: From<codec::Error>>(
        self,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { identity, periods, low, high, writers, feedbacks, fence } = self;
        let (mut sections, mut record) = (0, Vec::new());
        let mut part = |part: &Part<'_>| {
            sections += 1;
            record.clear();
            codec::append(&mut record, part)?;
            put(&record)
        };
        part(&Part::Shard { identity: &identity, feedbacks, fence })?;
        // Before the periods: whoever reads them builds the tables meanwhile.
        put_table(low, |state| Part::Low(state), &mut part)?;
        put_table(high, |state| Part::High(state), &mut part)?;
        let (chunks, free) = periods.into_parts();
        for chunk in chunks {
            part(&Part::PackedChunk(PackedChunk(chunk.get())))?;
        }
        part(&Part::Free(&free))?;
        part(&Part::Writers(&writers))?;
        put(&codec::encode(&Part::End { sections })?)
    }
}

/// Hands over a table: its state without its rows, and these in parts.
fn put_table<E>(
    table: TableImage,
    head: impl Fn(&TableState) -> Part<'_>,
    part: &mut impl FnMut(&Part<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (state, mut rows) = table.into_state().into_parts();
    part(&head(&state))?;
    rows.try_for_each(|rows| part(&Part::Rows(&rows)))
}

/// A table's state, and the parts of its columns.
type TableParts = (TableState, Vec<TableRows>);

/// Sections that are read back.
#[derive(Default)]
pub(crate) struct Sections {
    shard: Option<(Identity, Feedbacks, u64)>,
    chunks: Vec<Piece<Chunk>>,
    free: Vec<Slot>,
    /// The table whose rows are being read.
    begun: Option<TableParts>,
    /// Those whose rows were read, low, then high: each is built on a thread of its own while the periods are read.
    tables: Vec<Building>,
    writers: BTreeMap<u64, Writer>,
    read: u64,
    is_whole: bool,
}

impl Sections {
    /// Takes the next one.
    pub(crate) fn push(&mut self, section: Section) -> Result<(), String> {
        if self.is_whole {
            return Err("there are sections behind the last one".into());
        }
        if !matches!(section, Section::Rows(_)) {
            self.end_table();
        }
        match section {
            Section::Shard { identity, feedbacks, fence } => self.shard = Some((identity, feedbacks, fence)),
            Section::Chunk(chunk) | Section::PackedChunk(PackedChunk(chunk)) => {
                self.chunks.push(Piece::Own(chunk));
            }
            Section::Free(free) => self.free = free,
            Section::Low(state) if self.tables.is_empty() => self.begun = Some((state, Vec::new())),
            Section::High(state) if self.tables.len() == 1 => self.begun = Some((state, Vec::new())),
            Section::Low(_) | Section::High(_) => return Err("its tables are out of order".into()),
            Section::Rows(rows) => self.begun.as_mut().ok_or("rows are of no table")?.1.push(rows),
            Section::Writers(writers) => self.writers = writers,
            Section::End { sections } => self.is_whole = sections == self.read,
        }
        self.read += 1;
        Ok(())
    }

    /// All rows of the table that was begun are there.
    fn end_table(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.tables.push(Building::begin(begun));
        }
    }
}

/// A table that is being built.
struct Building {
    /// What it is built of, until somebody begins.
    parts: Arc<Mutex<Option<TableParts>>>,
    /// None where the system had no thread.
    thread: Option<JoinHandle<Result<Table, String>>>,
}

impl Building {
    fn begin(parts: TableParts) -> Self {
        let parts = Arc::new(Mutex::new(Some(parts)));
        let shared = Arc::clone(&parts);
        let thread = thread::Builder::new().name("table".into()).spawn(move || build(&shared));
        Self { parts, thread: thread.ok() }
    }

    fn end(self) -> Result<Table, String> {
        match self.thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => build(&self.parts),
        }
    }
}

fn build(parts: &Mutex<Option<TableParts>>) -> Result<Table, String> {
    let parts = parts.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (state, rows) = parts.expect("it is built once");
    let capacity = state.capacity();
    Table::restore(state.with_parts(rows)?, capacity)
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
    pub(crate) fn restore_sections(&mut self, sections: Sections) -> Result<(), Refusal> {
        let Sections { shard, chunks, free, tables, writers, is_whole, .. } = sections;
        let (Some((identity, feedbacks, fence)), Ok(tables), true) =
            (shard, <[_; 2]>::try_from(tables), is_whole)
        else {
            return Err(Refusal::Damaged("it is not whole".into()));
        };
        let [low, high] = tables.map(Building::end);
        let low = low.map_err(|error| format!("low: {error}"))?;
        let high = high.map_err(|error| format!("high: {error}"))?;
        let mut ours = self.identity();
        if ours.n_items == 0 {
            ours.n_items = identity.n_items;
        }
        if let Some(differences) = identity.differences(&ours, "the folder's") {
            return Err(Refusal::Other(differences));
        }
        let n_items = identity.n_items;
        let (capacity_low, capacity_high) = (self.low.capacity(), self.high.capacity());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Sampling, Settings,
        table::Level,
        testing::{SHAPE, arbitrary_records, settings},
        wire::Batch,
    };

    fn filled(sampling: Sampling) -> Shard {
        let mut shard = Shard::new(&Settings { sampling, ..settings() }, 0, 1);
        let generation = shard.open(1).unwrap().generation;
        let batch = Batch::check(arbitrary_records().into(), &SHAPE, 100, 1_000).unwrap();
        assert!(shard.store(1, generation, 1, &batch));
        shard
    }

    /// A shard of the sections that were written.
    fn read(sampling: Sampling, records: &[Vec<u8>]) -> Result<Shard, String> {
        let (mut shard, mut sections) =
            (Shard::new(&Settings { sampling, ..settings() }, 0, 1), Sections::default());
        for record in records {
            sections.push(codec::decode(record).map_err(|error| error.to_string())?)?;
        }
        shard.restore_sections(sections).map(|()| shard).map_err(|refusal| refusal.to_string())
    }

    fn written(image: Image) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let put = |record: &[u8]| -> Result<(), codec::Error> {
            records.push(record.to_vec());
            Ok(())
        };
        image.sections(put).unwrap();
        records
    }

    /// As builds before 28 November 2026 wrote it.
    fn form_1(image: Image) -> Vec<Vec<u8>> {
        let Image { identity, periods, low, high, writers, feedbacks, fence } = image;
        let (low, high, (chunks, free)) = (low.into_state(), high.into_state(), periods.into_parts());
        let mut parts = vec![Part::Shard { identity: &identity, feedbacks, fence }];
        parts.extend(chunks.iter().map(|chunk| Part::Chunk(chunk.get())));
        parts.extend([Part::Free(&free), Part::Low(&low), Part::High(&high), Part::Writers(&writers)]);
        parts.push(Part::End { sections: parts.len() as u64 });
        parts.iter().map(|part| codec::encode(part).unwrap()).collect()
    }

    #[test]
    fn either_form_gives_the_shard_back_however_it_samples() {
        for sampling in [Sampling::Uniform, Sampling::Fifo, Sampling::Prioritised { exponent: 0.6 }] {
            let mut shard = filled(sampling);
            let names =
                bytemuck::pod_collect_to_vec::<u8, u64>(&shard.sample(Level::Low, 4, 1, false).unwrap().keys);
            shard.set_priorities(Level::Low, &names, &vec![3.5; names.len()]);
            let expected = shard.save().unwrap();
            for records in [written(shard.image()), form_1(shard.image())] {
                assert_eq!(read(sampling, &records).unwrap().save().unwrap(), expected, "{sampling:?}");
            }
        }
    }

    #[test]
    fn sections_that_are_missing_or_of_no_table_are_refused() {
        let mut shard = filled(Sampling::Uniform);
        let records = written(shard.image());
        assert!(read(Sampling::Uniform, &records).is_ok());
        for k in 0..records.len() {
            let but_one = [&records[..k], &records[k + 1..]].concat();
            assert!(read(Sampling::Uniform, &but_one).is_err(), "without section {k}");
        }
        let (low, rows) = shard.image().low.into_state().into_parts();
        let rows: Vec<_> = rows.map(|rows| codec::encode(&Part::Rows(&rows)).unwrap()).collect();
        assert_eq!(rows.len(), 1);
        let problem = read(Sampling::Uniform, &rows).err().unwrap();
        assert!(problem.contains("of no table"), "{problem}");
        // Tables in each other's place, and what comes behind the end.
        let table = |part: Part<'_>| codec::encode(&part).unwrap();
        let (high, _) = shard.image().high.into_state().into_parts();
        let swapped = [records[0].clone(), table(Part::High(&high)), table(Part::Low(&low))];
        let problem = read(Sampling::Uniform, &swapped).err().unwrap();
        assert!(problem.contains("out of order"), "{problem}");
        let longer = [&records[..], &[table(Part::Free(&[]))]].concat();
        let problem = read(Sampling::Uniform, &longer).err().unwrap();
        assert!(problem.contains("behind the last one"), "{problem}");
        // Keys that are there twice, though the number of sections is right.
        let head = codec::encode(&Part::Low(&low)).unwrap();
        let mut twice = [&records[..1], &[head], &rows, &records[2..]].concat();
        twice.pop();
        twice.push(codec::encode(&Part::End { sections: twice.len() as u64 }).unwrap());
        let problem = read(Sampling::Uniform, &twice).err().unwrap();
        assert!(problem.contains("low: key 0 is there twice"), "{problem}");
    }
}
