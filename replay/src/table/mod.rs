//! A table: rows that refer to periods, who is drawn, who gives way.
//!
//! In: a [`Row`] an insert; out: rows drawn by the sampler, the row evicted by the remover. The nouns are Reverb's: the
//! sampler is any [`Selector`], the remover always [`Fifo`]; when inserts and samples may happen is the [`limiter`]'s. Owner: one
//! shard, under its lock. Invariant: at most `capacity` rows; an insert into a full table replaces the oldest.

mod column;
mod cycle;
mod dealt;
mod fifo;
pub(crate) mod limiter;
mod prioritised;
mod selector;
mod state;
#[cfg(test)]
mod tests;
mod uniform;

use common::seed::Rng;
use serde::{Deserialize, Serialize};

pub(crate) use column::Column;
pub use cycle::Cycle;
pub(crate) use dealt::Dealt;
pub use fifo::Fifo;
pub use limiter::Level;
pub use prioritised::Prioritised;
pub use selector::{Selected, Selector, SelectorImage, SelectorState};
pub(crate) use state::{TableImage, TableRows, TableState};
pub use uniform::Uniform;

use crate::{settings::Sampling, storage::Slot};

/// A transition: a step of a period, or (in the high-level table, where the position is 0) the period itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) slot: Slot,
    /// Position of the step, `0..c`.
    pub(crate) position: u8,
}

/// What the table has seen, in transitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Without the rows that were dealt.
    pub(crate) inserted: u64,
    pub(crate) sampled: u64,
    pub(crate) evicted: u64,
}

/// Rows, a sampler, a remover.
pub(crate) struct Table {
    capacity: usize,
    /// By key; grows up to the capacity.
    rows: Column<Row>,
    /// Keys that no row has; the last is taken next.
    free: Vec<u32>,
    counts: Counts,
    /// See [`Table::dealt`].
    dealt: u64,
    sampler: Box<dyn Selector>,
    /// Whether the sampler draws by priority: asked with every row.
    is_prioritised: bool,
    remover: Fifo,
    /// By key, where rows have priorities: how often the key was given to a row, or taken back. Tells a row from
    /// the one that had its key before.
    generations: Column<u32>,
}

/// A row that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) row: Row,
    /// Names the row, where it has a priority; else 0.
    pub(crate) name: u64,
    /// With which it was drawn.
    pub(crate) probability: f64,
}

impl Table {
    /// An empty table from which rows are drawn so; the oldest gives way.
    pub(crate) fn new(capacity: usize, sampling: Sampling) -> Self {
        let sampler: Box<dyn Selector> = match sampling {
            Sampling::Uniform => Box::<Uniform>::default(),
            Sampling::Prioritised { exponent } => Box::new(Prioritised::new(exponent)),
            Sampling::Fifo => Box::<Cycle>::default(),
        };
        Self {
            capacity,
            rows: Column::default(),
            free: Vec::new(),
            counts: Counts::default(),
            dealt: 0,
            is_prioritised: sampler.is_prioritised(),
            sampler,
            remover: Fifo::default(),
            generations: Column::default(),
        }
    }

    /// Inserts a row; yields the one that had to give way.
    #[inline]
    pub(crate) fn insert(&mut self, row: Row) -> Option<Row> {
        if self.len() == self.capacity {
            return Some(self.replace_oldest(row));
        }
        let key = self.free.pop().unwrap_or(self.rows.len() as u32);
        match self.rows.get_mut(key as usize) {
            Some(place) => *place = row,
            None => self.rows.push(row),
        }
        self.sampler.insert(key);
        self.remover.insert(key);
        self.rename(key);
        self.counts.inserted += 1;
        None
    }

    /// Puts a row in the place of the oldest, which is not there any more.
    fn replace_oldest(&mut self, row: Row) -> Row {
        let key = self.remover.oldest().expect("a full table is not empty");
        self.sampler.renew(key);
        self.remover.renew(key);
        // Taken back and given anew, as where a row is evicted before: names in journals count so.
        self.rename(key);
        self.rename(key);
        self.counts.evicted += 1;
        self.counts.inserted += 1;
        std::mem::replace(&mut self.rows[key as usize], row)
    }

    fn evict(&mut self) -> Row {
        let key = self.remover.oldest().expect("a full table is not empty");
        self.sampler.remove(key);
        self.remover.remove(key);
        self.free.push(key);
        self.rename(key);
        self.counts.evicted += 1;
        self.rows[key as usize]
    }

    /// A key has got a row, or has none any more: names of before name nothing.
    #[inline]
    fn rename(&mut self, key: u32) {
        if !self.is_prioritised {
            return;
        }
        if self.generations.len() <= key as usize {
            self.generations.resize(key as usize + 1, 0);
        }
        let generation = &mut self.generations[key as usize];
        *generation = generation.wrapping_add(1);
    }

    /// Draws rows with replacement; `None` from an empty table.
    pub(crate) fn sample(&mut self, rows: usize, rng: &mut Rng) -> Option<Vec<Drawn>> {
        let selected = self.sampler.select_many(rows, rng)?;
        self.counts.sampled += rows as u64;
        let drawn = selected.into_iter().map(|Selected { key, probability }| {
            let name = match self.generations.get(key as usize) {
                Some(&generation) => u64::from(key) | u64::from(generation) << 32,
                None => 0,
            };
            Drawn { row: self.rows[key as usize], name, probability }
        });
        Some(drawn.collect())
    }

    /// Whether rows are drawn by priority.
    pub(crate) fn is_prioritised(&self) -> bool {
        self.is_prioritised
    }

    /// What the table is worth in the split of a minibatch over shards.
    pub(crate) fn mass(&self) -> f64 {
        if self.is_prioritised() { self.sampler.mass() } else { self.len() as f64 }
    }

    /// Sets the priority of a row, if it is still there.
    pub(crate) fn set_priority(&mut self, name: u64, priority: f64) -> bool {
        let (key, generation) = (name as u32, (name >> 32) as u32);
        let is_there = self.generations.get(key as usize) == Some(&generation);
        if is_there {
            self.sampler.set_priority(key, priority);
        }
        is_there
    }

    /// Rows held.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes another capacity; yields the rows that have to give way.
    pub(crate) fn resize(&mut self, capacity: usize) -> Vec<Row> {
        self.capacity = capacity;
        let too_many = self.len().saturating_sub(capacity);
        (0..too_many).map(|_| self.evict()).collect()
    }

    /// The next row to give way.
    pub(crate) fn oldest(&self) -> Option<Row> {
        Some(self.rows[self.remover.oldest()? as usize])
    }

    /// The next row to give way does.
    pub(crate) fn give_way(&mut self) -> Option<Row> {
        (self.len() > 0).then(|| self.evict())
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * self.row_bytes()
    }

    /// Memory of a row in bytes: the row, 8 of the FIFO remover; of the sampler 8, or with priorities a priority, a flag, a
    /// generation and up to 4 sums.
    pub(crate) fn row_bytes(&self) -> usize {
        size_of::<Row>() + 8 + if self.is_prioritised() { 8 + 1 + 4 + 32 } else { 8 }
    }

    /// The rows that are held, in no particular order.
    pub(crate) fn held(&self) -> impl Iterator<Item = Row> {
        let mut is_free = vec![false; if self.free.is_empty() { 0 } else { self.rows.len() }];
        self.free.iter().for_each(|&key| is_free[key as usize] = true);
        let rows = self.rows.iter().enumerate();
        rows.filter(move |(key, _)| is_free.get(*key) != Some(&true)).map(|(_, row)| *row)
    }

    /// Rows are drawn so from now on; what is known of them beyond their ages stays where it still means something.
    pub(crate) fn sample_by(&mut self, sampling: Sampling) {
        let saved = self.sampler.save();
        let old = match saved {
            SelectorState::Uniform { .. } => Sampling::Uniform,
            SelectorState::Prioritised { exponent, .. } => Sampling::Prioritised { exponent },
            SelectorState::Cycle { .. } | SelectorState::Fifo { .. } => Sampling::Fifo,
        };
        if old == sampling {
            return;
        }
        let mut sampler = Self::new(self.capacity, sampling).sampler;
        self.remover.keys().into_iter().for_each(|key| sampler.insert(key));
        if let SelectorState::Prioritised { keys, priorities, .. } = saved {
            keys.into_iter().zip(priorities).for_each(|(key, priority)| sampler.set_priority(key, priority));
        }
        (self.is_prioritised, self.sampler) = (sampler.is_prioritised(), sampler);
        self.generations.resize(if self.is_prioritised() { self.rows.len() } else { 0 }, 0);
    }
}
