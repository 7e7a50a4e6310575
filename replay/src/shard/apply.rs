//! Operations of a journal, applied to a shard: the same as when they were made, in the same order.

use super::{Lane, Shard};
use crate::{
    journal::operation::Operation,
    wire::{Batch, MAX_BATCH_STEPS},
};

impl Shard {
    /// Whether memory for periods is made ready ahead: while operations come as fast as they are read.
    pub(crate) fn make_chunks_ahead(&mut self, ahead: bool) {
        self.periods.make_ahead(ahead);
    }

    /// Applies an operation that was applied before the journal was read back; says what is wrong with one that cannot
    /// have been.
    pub(crate) fn apply(&mut self, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::Catalogue { n_items } => {
                let n_items = usize::try_from(n_items).map_err(|error| error.to_string())?;
                match self.n_items {
                    0 => self.set_n_items(n_items),
                    known if known == n_items => {}
                    known => return Err(format!("a catalogue of {n_items} items, the shard's has {known}")),
                }
                Ok(())
            }
            Operation::Batch { writer, sequence, records } => {
                let batch = Batch::check(records, &self.shape, self.n_items, MAX_BATCH_STEPS)
                    .map_err(|error| error.to_string())?;
                let is_new = !self.writers.contains_key(&writer);
                // One stream of its own: those of the process before are gone.
                let generation = match self.writers.get(&writer) {
                    Some(state) => state.generation,
                    None => self.open(writer).map_err(|error| error.to_string())?.generation,
                };
                let n_steps = self.shape.n_steps;
                let state = self.writer(writer, generation).ok_or("its writer has another stream")?;
                // It was accepted once, also if there is less memory today.
                let verdict = state.look(sequence, &batch, n_steps).map_err(|error| error.to_string());
                match verdict {
                    Ok(super::Verdict::New) => drop(self.store(writer, generation, sequence, &batch)),
                    Ok(super::Verdict::Duplicate) => {}
                    // Nobody is known for a batch that cannot have been.
                    Err(_) if is_new => drop(self.writers.remove(&writer)),
                    Err(_) => {}
                }
                verdict.map(drop)
            }
            Operation::Forget { writer } => {
                self.forget(writer);
                Ok(())
            }
            Operation::Fence { fence } => {
                self.raise_fence(fence);
                Ok(())
            }
            Operation::Priorities { table, keys, priorities } => {
                let good = |priority: &f64| priority.is_finite() && *priority >= 0.0;
                if keys.len() != priorities.len() || !priorities.iter().all(good) {
                    return Err("priorities that are none".into());
                }
                self.set_priorities(table.into(), &keys, &priorities);
                Ok(())
            }
        }
    }

    /// Forgets a writer: the periods that it left open are let go. Rows stay.
    pub(crate) fn forget(&mut self, writer: u64) {
        let Some(state) = self.writers.remove(&writer) else { return };
        let c = self.shape.n_steps;
        for (lane, slot) in state.lanes.iter().zip(&state.slots) {
            if Lane::is_open(lane, c) {
                self.periods.release(*slot);
            }
        }
    }

    /// Numbers of the writers known.
    pub(crate) fn writers(&self) -> impl Iterator<Item = u64> {
        self.writers.keys().copied()
    }
}
