//! Periods in flat columns: the start of a period and its steps, once, whichever tables refer to them.
//!
//! In: period starts and steps; out: a slot, and what lies in it. A slot counts who holds it (its writer while the
//! period is open, every row of a table) and is free again when nobody does. Memory comes in chunks of [`CHUNK`]
//! slots as it is first needed and is kept: nothing is allocated a step once the tables are full. Owner: one shard,
//! under its lock.

mod ahead;
mod chunk;

use self::ahead::ChunksAhead;
pub(crate) use chunk::{Chunk, PackedChunk};
use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    transition::{Ending, Shape, Step},
};
use serde::{Deserialize, Serialize};

use crate::{
    piece::Piece,
    wire::{PeriodRecord, feedback_of_code, step_code, step_of_code},
};

/// Slots of a chunk.
const CHUNK: usize = 256;

/// Values of 4 bytes in a cache line.
const LINE: usize = 16;

/// Index of a period.
pub(crate) type Slot = u32;

/// What lies in a slot.
#[derive(Clone, Copy)]
pub(crate) struct Period<'a> {
    /// `[3, N]` at the start.
    pub(crate) windows: &'a [ItemId],
    /// `[M, n]`.
    pub(crate) goals: &'a [f32],
    /// The items of the steps so far.
    pub(crate) items: &'a [ItemId],
    codes: &'a [u8],
    /// Of the weights that set the goals.
    pub(crate) policy_version: u64,
}

impl<'a> Period<'a> {
    /// Feedback of the steps so far.
    pub(crate) fn feedback(&self) -> impl Iterator<Item = Feedback> + Clone + use<'a> {
        self.codes.iter().map(|&code| feedback_of_code(code))
    }

    /// Feedback of the step at a position.
    pub(crate) fn feedback_at(&self, position: usize) -> Feedback {
        feedback_of_code(self.codes[position])
    }

    /// Whether the user left with the step at a position.
    pub(crate) fn terminates(&self, position: usize) -> bool {
        self.codes[position] >> 2 == Ending::Terminated as u8
    }

    /// Reads a value of every cache line of windows and goals, and the ends of items and codes; what comes out is of no use.
    pub(crate) fn touch(&self) -> u32 {
        let mut sum = 0;
        self.windows.chunks(LINE).for_each(|line| sum ^= line[0].0);
        self.goals.chunks(LINE).for_each(|line| sum ^= line[0].to_bits());
        // The columns do not begin with a line: their last value may be on one more.
        let ids = [self.windows.last(), self.items.first(), self.items.last()].into_iter().flatten();
        let ends = ids.map(|id| id.0).chain(self.goals.last().map(|goal| goal.to_bits()));
        ends.chain(self.codes.first().map(|&code| code.into())).fold(sum, |sum, value| sum ^ value)
    }

    /// Appends the `[3, N]` windows before the step at a position.
    pub(crate) fn windows_before(&self, position: usize, out: &mut Vec<ItemId>) {
        let steps = self.items[..position].iter().copied().zip(self.feedback());
        history::extend_after(out, self.windows, steps);
    }
}

/// Every period of a shard.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Periods {
    shape: Shape,
    /// Shared with images of the shard that are being written: a chunk is copied when it changes meanwhile.
    chunks: Vec<Piece<Chunk>>,
    /// Free slots; the last is taken next.
    free: Vec<Slot>,
    #[serde(skip)]
    ahead: ChunksAhead,
}

impl Periods {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, chunks: Vec::new(), free: Vec::new(), ahead: ChunksAhead::default() }
    }

    /// Chunks and free slots, in the order of [`Self::from_parts`].
    pub(crate) fn into_parts(self) -> (Vec<Piece<Chunk>>, Vec<Slot>) {
        (self.chunks, self.free)
    }

    /// What [`Self::into_parts`] gave. Unchecked: see [`Self::check`].
    pub(crate) fn from_parts(shape: Shape, chunks: Vec<Piece<Chunk>>, free: Vec<Slot>) -> Self {
        Self { shape, chunks, free, ahead: ChunksAhead::default() }
    }

    /// Whether chunks are made ahead: while the shard is filled as fast as it can be.
    pub(crate) fn make_ahead(&mut self, ahead: bool) {
        self.ahead = if ahead { ChunksAhead::start(self.shape) } else { ChunksAhead::default() };
    }

    /// The periods as they are now, in microseconds.
    pub(crate) fn share(&mut self) -> Self {
        let chunks = self.chunks.iter_mut().map(Piece::share).collect();
        Self::from_parts(self.shape, chunks, self.free.clone())
    }

    /// Whether a period can be opened without more memory.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// [`Self::n_slots`] once there is one chunk more.
    pub(crate) fn n_slots_after_next_chunk(&self) -> usize {
        self.n_slots() + CHUNK
    }

    /// Memory of a slot in bytes.
    pub(crate) fn slot_bytes(shape: &Shape) -> usize {
        4 * (N_WINDOWS * shape.window + shape.n_goals * shape.n_dims)
            + 5 * shape.n_steps
            + 23
            + size_of::<Slot>()
    }

    fn chunk(&self, slot: Slot) -> (&Chunk, usize) {
        (self.chunks[slot as usize / CHUNK].get(), slot as usize % CHUNK)
    }

    #[inline]
    fn chunk_mut(&mut self, slot: Slot) -> (&mut Chunk, usize) {
        (self.chunks[slot as usize / CHUNK].get_mut(), slot as usize % CHUNK)
    }

    /// Stores a period start, held once: by its writer.
    pub(crate) fn open(&mut self, record: &PeriodRecord<'_>) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let shape = self.shape;
        let (chunk, k) = self.chunk_mut(slot);
        let windows = N_WINDOWS * shape.window;
        bytemuck::cast_slice_mut(&mut chunk.windows[k * windows..][..windows])
            .copy_from_slice(record.windows);
        let goals = shape.n_goals * shape.n_dims;
        bytemuck::cast_slice_mut(&mut chunk.goals[k * goals..][..goals]).copy_from_slice(record.goals);
        chunk.lengths[k] = 0;
        chunk.holders[k] = 1;
        chunk.policy_versions[k] = record.policy_version;
        chunk.sessions[k] = record.session;
        chunk.periods[k] = record.period;
        slot
    }

    fn grow(&mut self) -> Slot {
        let first = self.n_slots() as Slot;
        let chunk = self.ahead.next().unwrap_or_else(|| Chunk::new(&self.shape));
        self.chunks.push(Piece::Own(chunk));
        self.free.extend((first + 1..first + CHUNK as Slot).rev());
        first
    }

    /// Appends a step to a period of fewer than c steps.
    #[inline]
    pub(crate) fn push(&mut self, slot: Slot, step: Step) {
        self.push_held(slot, step, 0);
    }

    /// The same, with so many holders more.
    #[inline]
    pub(crate) fn push_held(&mut self, slot: Slot, step: Step, holders: u16) {
        let c = self.shape.n_steps;
        let (chunk, k) = self.chunk_mut(slot);
        let position = usize::from(chunk.lengths[k]);
        assert!(position < c, "a period has at most {c} steps");
        chunk.holders[k] += holders;
        chunk.items[k * c + position] = step.item;
        chunk.codes[k * c + position] = step_code(step);
        chunk.lengths[k] += 1;
    }

    /// Copies a period of another shard with its steps, held once.
    pub(crate) fn copy(&mut self, from: &Self, slot: Slot) -> Slot {
        let copy = self.open(&PeriodRecord {
            lane: 0,
            period: from.period(slot),
            session: from.session(slot),
            policy_version: from.get(slot).policy_version,
            windows: bytemuck::cast_slice(from.get(slot).windows),
            goals: bytemuck::cast_slice(from.get(slot).goals),
        });
        (0..from.length(slot)).for_each(|position| self.push(copy, from.step(slot, position)));
        copy
    }

    /// How many hold a slot.
    pub(crate) fn n_holders(&self, slot: Slot) -> u16 {
        let (chunk, k) = self.chunk(slot);
        chunk.holders[k]
    }

    /// One more holder.
    #[inline]
    pub(crate) fn hold(&mut self, slot: Slot) {
        let (chunk, k) = self.chunk_mut(slot);
        chunk.holders[k] += 1;
    }

    /// One holder less; the last one frees the slot.
    #[inline]
    pub(crate) fn release(&mut self, slot: Slot) {
        let (chunk, k) = self.chunk_mut(slot);
        chunk.holders[k] -= 1;
        if chunk.holders[k] == 0 {
            self.free.push(slot);
        }
    }

    /// What lies in a slot that is held.
    pub(crate) fn get(&self, slot: Slot) -> Period<'_> {
        let (chunk, k) = self.chunk(slot);
        let windows = N_WINDOWS * self.shape.window;
        let goals = self.shape.n_goals * self.shape.n_dims;
        let (steps, length) = (k * self.shape.n_steps, usize::from(chunk.lengths[k]));
        Period {
            windows: &chunk.windows[k * windows..][..windows],
            goals: &chunk.goals[k * goals..][..goals],
            items: &chunk.items[steps..][..length],
            codes: &chunk.codes[steps..][..length],
            policy_version: chunk.policy_versions[k],
        }
    }

    /// The session it belongs to.
    pub(crate) fn session(&self, slot: Slot) -> u64 {
        let (chunk, k) = self.chunk(slot);
        chunk.sessions[k]
    }

    /// Its number in the session.
    pub(crate) fn period(&self, slot: Slot) -> u32 {
        let (chunk, k) = self.chunk(slot);
        chunk.periods[k]
    }

    /// Steps stored.
    pub(crate) fn length(&self, slot: Slot) -> usize {
        let (chunk, k) = self.chunk(slot);
        usize::from(chunk.lengths[k])
    }

    /// The step at a position below [`Self::length`].
    pub(crate) fn step(&self, slot: Slot, position: usize) -> Step {
        let (chunk, k) = self.chunk(slot);
        let at = k * self.shape.n_steps + position;
        step_of_code(chunk.codes[at], chunk.items[at]).expect("only codes of steps are stored")
    }

    /// Slots there is memory for.
    pub(crate) fn n_slots(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Slots that are held.
    pub(crate) fn n_held(&self) -> usize {
        self.n_slots() - self.free.len()
    }

    /// Memory of the columns in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.n_slots() * Self::slot_bytes(&self.shape)
    }

    /// Whether what was read back is whole: column lengths, codes, the free list, and `holders[slot]` as counted from
    /// everybody who refers to a slot. Says what is not.
    pub(crate) fn check(&self, shape: &Shape, holders: &[u16]) -> Result<(), String> {
        let (empty, c) = (Chunk::new(shape), shape.n_steps);
        if self.shape != *shape || holders.len() != self.n_slots() {
            return Err("the periods have another shape".into());
        }
        for (index, chunk) in self.chunks.iter().map(Piece::get).enumerate() {
            let sizes = |c: &Chunk| {
                let ids = [c.lengths.len(), c.holders.len(), c.policy_versions.len(), c.sessions.len()];
                (ids, [c.windows.len(), c.goals.len(), c.items.len(), c.codes.len(), c.periods.len()])
            };
            if sizes(chunk) != sizes(&empty) {
                return Err(format!("chunk {index} has columns of other lengths"));
            }
            if chunk.holders != holders[index * CHUNK..][..CHUNK] {
                return Err(format!("chunk {index} counts other holders than there are"));
            }
            for k in 0..CHUNK {
                let length = usize::from(chunk.lengths[k]);
                let codes = chunk.codes[k * c..][..c].iter().take(length);
                if length > c || codes.clone().any(|&code| step_of_code(code, ItemId(0)).is_err()) {
                    return Err(format!("slot {} is no period", index * CHUNK + k));
                }
            }
        }
        let mut free = self.free.clone();
        free.sort_unstable();
        let unheld = (0..holders.len()).filter(|&slot| holders[slot] == 0).map(|slot| slot as Slot);
        if free.into_iter().eq(unheld) { Ok(()) } else { Err("the free list is wrong".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{SHAPE, period_start, step},
        wire::{Run, put_period},
    };

    fn open(periods: &mut Periods, session: u64) -> Slot {
        let mut bytes = Vec::new();
        put_period(&mut bytes, 0, &period_start(session, 0));
        let batch = crate::wire::Batch::check(bytes.into(), &SHAPE, 100, 10).unwrap();
        let Some(Run::Period(record)) = batch.runs().next() else { panic!("not a period") };
        periods.open(&record)
    }

    #[test]
    fn a_slot_is_free_again_when_nobody_holds_it() {
        let mut periods = Periods::new(SHAPE);
        let slot = open(&mut periods, 1);
        periods.push(slot, step(4, Feedback::Click, Ending::None));
        periods.hold(slot);
        periods.release(slot);
        assert_eq!((periods.n_held(), periods.length(slot)), (1, 1));
        periods.release(slot);
        assert_eq!(periods.n_held(), 0);
        assert_eq!(open(&mut periods, 2), slot);
        assert_eq!(periods.length(slot), 0);
    }

    #[test]
    fn memory_does_not_grow_while_slots_are_given_back() {
        let mut periods = Periods::new(SHAPE);
        for session in 0..10 * CHUNK as u64 {
            let slot = open(&mut periods, session);
            periods.release(slot);
        }
        assert_eq!(periods.n_slots(), CHUNK);
    }
}
