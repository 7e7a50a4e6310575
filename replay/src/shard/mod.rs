//! A shard: periods, two tables over them, and where each writer stands.
//!
//! In: checked batches of writers; out: minibatches, snapshots. Owner: the service, behind one lock; every method is
//! one atomic step, so nobody sees half of a batch. Invariants: a batch is stored whole or not at all, and once;
//! a low-level row becomes visible with its step, a high-level row when its period closes; a period is kept while its
//! writer or a row refers to it.

mod apply;
pub(crate) mod image;
pub(crate) mod lane;
pub(crate) mod reshard;
mod sample;
pub(crate) mod snapshot;

use std::collections::BTreeMap;

use common::{
    Feedback,
    config::PartialPeriods,
    transition::{Ending, Shape, Step},
};
use serde::{Deserialize, Serialize};

pub(crate) use lane::Lane;

use crate::{
    Error,
    settings::{Sampling, Settings},
    storage::{Periods, Slot},
    table::{
        Row, Table,
        limiter::{Level, Totals},
    },
    wire::{Batch, Run},
};

/// Most writers of one shard.
const MAX_WRITERS: usize = 16_384;

/// Where a writer stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Writer {
    /// Highest stored sequence.
    stored: u64,
    /// By lane number.
    lanes: Vec<Lane>,
    /// By lane number: the slot of the open period; meaningless where none is open.
    slots: Vec<Slot>,
    /// Counts the streams of this writer; only the newest may store.
    #[serde(skip)]
    generation: u64,
    /// Lanes as they would be after the batch that is being looked at, by lane number, with the number of the look.
    #[serde(skip)]
    ahead: Vec<(u64, Lane)>,
    /// Number of the look.
    #[serde(skip)]
    look: u64,
}

/// What a batch would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored already.
    Duplicate,
    /// It may be stored.
    New,
}

/// What a writer's new stream goes on from.
pub(crate) struct Opened {
    /// Of the stream.
    pub(crate) generation: u64,
    /// The highest stored sequence.
    pub(crate) stored: u64,
    /// Those in use, by number.
    pub(crate) lanes: Vec<(u16, Lane)>,
}

/// What was stored, by what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Feedbacks {
    pub(crate) clicks: u64,
    pub(crate) orders: u64,
    /// Steps with an ending.
    pub(crate) sessions: u64,
    /// Of those, sessions that the user left.
    pub(crate) left: u64,
}

/// A shard.
pub(crate) struct Shard {
    /// Name of the contents, never 0.
    uid: u64,
    run_id: String,
    shape: Shape,
    n_items: usize,
    partial_periods: PartialPeriods,
    periods: Periods,
    low: Table,
    high: Table,
    writers: BTreeMap<u64, Writer>,
    feedbacks: Feedbacks,
    /// Highest fencing token seen.
    fence: u64,
    sampling: Sampling,
    /// See [`Settings::memory_bytes`].
    memory_bytes: usize,
    /// Streams opened so far, over restores: no generation is used twice.
    generations: u64,
}

impl Shard {
    /// An empty shard, the `shard`-th of `n_shards`. Its uid follows from its number.
    pub(crate) fn new(settings: &Settings, shard: usize, n_shards: usize) -> Self {
        let (low, high) = settings.share(shard, n_shards);
        Self {
            uid: shard as u64 + 1,
            run_id: settings.run_id.clone(),
            shape: settings.shape,
            n_items: settings.n_items,
            partial_periods: settings.partial_periods,
            periods: Periods::new(settings.shape),
            low: Table::new(low, settings.sampling),
            high: Table::new(high, settings.sampling),
            writers: BTreeMap::new(),
            feedbacks: Feedbacks::default(),
            fence: 0,
            sampling: settings.sampling,
            memory_bytes: settings.memory_bytes as usize,
            generations: 0,
        }
    }

    /// Memory of records and tables in bytes.
    pub(crate) fn bytes(&self) -> usize {
        bytes(&self.periods, &self.low, &self.high)
    }

    /// The same shard under another name.
    pub(crate) fn named(self, uid: u64) -> Self {
        Self { uid, ..self }
    }

    pub(crate) fn uid(&self) -> u64 {
        self.uid
    }

    /// Size of the catalogue; 0: not known yet.
    pub(crate) fn n_items(&self) -> usize {
        self.n_items
    }

    /// Fixes the size of the catalogue, once.
    pub(crate) fn set_n_items(&mut self, n_items: usize) {
        assert_eq!(self.n_items, 0, "the size of the catalogue is known already");
        self.n_items = n_items;
    }

    /// Highest fencing token seen.
    pub(crate) fn fence(&self) -> u64 {
        self.fence
    }

    /// A higher fencing token was seen.
    pub(crate) fn raise_fence(&mut self, fence: u64) {
        self.fence = self.fence.max(fence);
    }

    pub(crate) fn feedbacks(&self) -> Feedbacks {
        self.feedbacks
    }

    /// A writer opens a stream, its older ones end.
    pub(crate) fn open(&mut self, writer: u64) -> Result<Opened, Error> {
        if !self.writers.contains_key(&writer) && self.writers.len() >= MAX_WRITERS {
            return Err(Error::invalid("writer", format!("{writer} is one more than {MAX_WRITERS} writers")));
        }
        self.generations += 1;
        let state = self.writers.entry(writer).or_default();
        state.generation = self.generations;
        let lanes = state.lanes.iter().enumerate().filter(|(_, lane)| lane.busy);
        Ok(Opened {
            generation: state.generation,
            stored: state.stored,
            lanes: lanes.map(|(k, lane)| (k as u16, *lane)).collect(),
        })
    }

    /// The writer of a stream; `None` when a newer stream or a restore has ended it.
    fn writer(&mut self, writer: u64, generation: u64) -> Option<&mut Writer> {
        self.writers.get_mut(&writer).filter(|state| state.generation == generation)
    }

    /// Whether a batch may be stored, without storing anything. `None`: the stream was ended.
    pub(crate) fn look(
        &mut self,
        writer: u64,
        generation: u64,
        sequence: u64,
        batch: &Batch,
    ) -> Option<Result<Verdict, Error>> {
        let n_steps = self.shape.n_steps;
        let is_full = !self.periods.has_room()
            && self.low.len() + self.high.len() == 0
            && is_beyond(self.memory_bytes, &self.shape, (&self.periods, &self.low, &self.high));
        let verdict = self.writer(writer, generation)?.look(sequence, batch, n_steps);
        Some(match verdict {
            Ok(Verdict::New) if is_full => {
                let problem = format!(
                    "{} bytes of memory are full of open periods: raise replay.memory_mib, or take fewer sessions",
                    self.memory_bytes
                );
                Err(Error::Full(problem))
            }
            verdict => verdict,
        })
    }

    /// Stores a batch that [`Self::look`] found new, and which the same stream has followed by no other. Returns
    /// false, with nothing stored, if the stream was ended in the meantime.
    pub(crate) fn store(&mut self, writer: u64, generation: u64, sequence: u64, batch: &Batch) -> bool {
        let n_steps = self.shape.n_steps;
        let Self { periods, low, high, partial_periods, feedbacks, shape, memory_bytes, .. } = self;
        let Some(state) = self.writers.get_mut(&writer).filter(|state| state.generation == generation) else {
            return false;
        };
        for run in batch.runs() {
            let steps = match run {
                Run::Period(record) => {
                    let k = usize::from(record.lane);
                    if state.lanes.len() <= k {
                        state.lanes.resize(k + 1, Lane::default());
                        state.slots.resize(k + 1, 0);
                    }
                    state.lanes[k] = state.lanes[k].begin(&record, n_steps).expect("the batch was looked at");
                    make_room(*memory_bytes, shape, (periods, low, high));
                    state.slots[k] = periods.open(&record);
                    continue;
                }
                Run::Steps(steps) => steps,
            };
            for record in steps.iter() {
                let k = usize::from(record.lane);
                let closes = state.lanes[k].step(&record, n_steps).expect("the batch was looked at");
                let slot = state.slots[k];
                periods.push_held(slot, record.step, 1);
                feedbacks.count(record.step);
                if let Some(evicted) = low.insert(Row { slot, position: record.position }) {
                    periods.release(evicted.slot);
                }
                if closes {
                    let whole = usize::from(record.position) + 1 == n_steps;
                    // Without goals nobody learns from whole periods.
                    let kept = whole || *partial_periods == PartialPeriods::Keep;
                    if kept && shape.n_goals > 0 {
                        insert(periods, high, Row { slot, position: 0 });
                    }
                    periods.release(slot);
                }
            }
        }
        state.stored = sequence;
        true
    }

    /// Counts of both tables, for the limiter.
    pub(crate) fn totals(&self) -> [Totals; 2] {
        [&self.low, &self.high].map(|table| {
            let counts = table.counts();
            Totals { size: table.len() as u64, inserted: counts.inserted, sampled: counts.sampled }
        })
    }

    pub(crate) fn table(&self, level: Level) -> &Table {
        match level {
            Level::Low => &self.low,
            Level::High => &self.high,
        }
    }

    pub(crate) fn periods(&self) -> &Periods {
        &self.periods
    }

    /// Sets priorities of rows by their names; how many were still there.
    pub(crate) fn set_priorities(&mut self, level: Level, names: &[u64], priorities: &[f64]) -> u32 {
        let table = match level {
            Level::Low => &mut self.low,
            Level::High => &mut self.high,
        };
        let set = |(&name, &priority): (&u64, &f64)| u32::from(table.set_priority(name, priority));
        names.iter().zip(priorities).map(set).sum()
    }

    /// Highest stored sequence of a writer.
    pub(crate) fn stored(&self, writer: u64) -> u64 {
        self.writers.get(&writer).map_or(0, |state| state.stored)
    }

    pub(crate) fn n_writers(&self) -> usize {
        self.writers.len()
    }
}

fn bytes(periods: &Periods, low: &Table, high: &Table) -> usize {
    periods.bytes() + low.bytes() + high.bytes()
}

/// Whether one more chunk of periods, with all rows that they may have, is more than there is memory for; 0: there is no
/// end of it.
fn is_beyond(memory: usize, shape: &Shape, (periods, low, high): (&Periods, &Table, &Table)) -> bool {
    let slots = periods.n_slots_after_next_chunk();
    let rows = |table: &Table, a_slot: usize| table.capacity().min(slots * a_slot) * table.row_bytes();
    memory > 0 && slots * Periods::slot_bytes(shape) + rows(low, shape.n_steps) + rows(high, 1) > memory
}

/// Lets the oldest rows give way until a period can be opened within the memory: the low-level rows of the oldest period,
/// then its high-level row (all low-level rows first would empty that table before a single period was free). If all is
/// held by open periods it is opened beyond; the next batch is refused.
fn make_room(memory: usize, shape: &Shape, (periods, low, high): (&mut Periods, &mut Table, &mut Table)) {
    while !periods.has_room() && is_beyond(memory, shape, (periods, low, high)) {
        let is_last = high.oldest().is_some_and(|row| periods.n_holders(row.slot) == 1);
        let (first, second) = if is_last { (&mut *high, &mut *low) } else { (&mut *low, &mut *high) };
        let Some(row) = first.give_way().or_else(|| second.give_way()) else { return };
        periods.release(row.slot);
    }
}

/// Inserts a row; the row that gives way lets go of its period.
fn insert(periods: &mut Periods, table: &mut Table, row: Row) {
    periods.hold(row.slot);
    if let Some(evicted) = table.insert(row) {
        periods.release(evicted.slot);
    }
}

impl Feedbacks {
    fn count(&mut self, step: Step) {
        self.clicks += u64::from(step.feedback == Feedback::Click);
        self.orders += u64::from(step.feedback == Feedback::Order);
        self.sessions += u64::from(step.ending != Ending::None);
        self.left += u64::from(step.ending == Ending::Terminated);
    }
}

impl Writer {
    fn look(&mut self, sequence: u64, batch: &Batch, n_steps: usize) -> Result<Verdict, Error> {
        if sequence == 0 || sequence > self.stored + 1 {
            let problem = format!("{sequence} does not follow {}, the highest stored", self.stored);
            return Err(Error::invalid("sequence", problem));
        }
        if sequence <= self.stored {
            return Ok(Verdict::Duplicate);
        }
        self.look += 1;
        for run in batch.runs() {
            match run {
                Run::Period(record) => {
                    let lane = self.lane_ahead(record.lane);
                    *lane = lane.begin(&record, n_steps)?;
                }
                Run::Steps(steps) => {
                    for record in steps.iter() {
                        self.lane_ahead(record.lane).step(&record, n_steps)?;
                    }
                }
            }
        }
        Ok(Verdict::New)
    }

    /// A lane as it would be after the records that were looked at.
    #[inline]
    fn lane_ahead(&mut self, lane: u16) -> &mut Lane {
        let k = usize::from(lane);
        if self.ahead.len() <= k {
            self.ahead.resize(k + 1, (0, Lane::default()));
        }
        let (look, ahead) = &mut self.ahead[k];
        if *look != self.look {
            *look = self.look;
            *ahead = self.lanes.get(k).copied().unwrap_or_default();
        }
        ahead
    }
}
