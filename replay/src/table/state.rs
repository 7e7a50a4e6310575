//! A table in the form of a snapshot, and back.
//!
//! In: a table; out: its state, as a whole or as what it is beside its columns and these in parts, so that no record grows with the
//! table. In: a state that may be damaged; out: a table that draws, evicts and goes on exactly as the one that was saved, or what is wrong.

use serde::{Deserialize, Serialize};

use super::{Column, Counts, Fifo, Row, Selector, SelectorImage, SelectorState, Table, dealt};
use crate::packed::Packed;

/// Most values of a column in one part.
const PART: usize = 1 << 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableState {
    pub(super) capacity: usize,
    pub(super) rows: Vec<Row>,
    pub(super) free: Vec<u32>,
    pub(super) counts: Counts,
    pub(super) sampler: SelectorState,
    pub(super) remover: SelectorState,
    /// See [`Table`].
    pub(super) generations: Vec<u32>,
}

/// Values of each column of a table, packed.
#[derive(Serialize, Deserialize)]
pub(crate) struct TableRows {
    slots: Packed<Vec<u32>>,
    positions: Packed<Vec<u8>>,
    free: Packed<Vec<u32>>,
    sampler_keys: Packed<Vec<u32>>,
    sampler_priorities: Packed<Vec<f64>>,
    remover_keys: Packed<Vec<u32>>,
    generations: Packed<Vec<u32>>,
}

impl TableState {
    /// Of the table that was saved.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The state without the values of its columns, and these in parts: [`Self::with_parts`] gives it back.
    pub(crate) fn into_parts(mut self) -> (Self, impl Iterator<Item = TableRows>) {
        fn taken<T>(column: &mut Vec<T>) -> std::vec::IntoIter<T> {
            std::mem::take(column).into_iter()
        }
        fn part<T>(column: &mut impl Iterator<Item = T>) -> Packed<Vec<T>> {
            Packed(column.take(PART).collect())
        }
        let (mut rows, mut free, mut generations) =
            (taken(&mut self.rows), taken(&mut self.free), taken(&mut self.generations));
        let (keys, priorities) = self.sampler.columns_mut();
        let (mut sampler_keys, mut sampler_priorities) =
            (taken(keys), priorities.map(taken).unwrap_or_default());
        let mut remover_keys = taken(self.remover.columns_mut().0);
        // Every key is a row's: no column is longer.
        let parts = std::iter::from_fn(move || {
            let (slots, positions): (Vec<_>, Vec<_>) =
                rows.by_ref().take(PART).map(|row| (row.slot, row.position)).unzip();
            (!slots.is_empty()).then(|| TableRows {
                slots: Packed(slots),
                positions: Packed(positions),
                free: part(&mut free),
                sampler_keys: part(&mut sampler_keys),
                sampler_priorities: part(&mut sampler_priorities),
                remover_keys: part(&mut remover_keys),
                generations: part(&mut generations),
            })
        });
        (self, parts)
    }

    /// Takes all parts, in order.
    pub(crate) fn with_parts(mut self, parts: Vec<TableRows>) -> Result<Self, String> {
        let (keys, priorities) = self.sampler.columns_mut();
        let ages = self.remover.columns_mut().0;
        let mut by_key = Vec::new();
        for part in parts {
            if part.slots.0.len() != part.positions.0.len() {
                return Err("some rows have no position".into());
            }
            let rows = part.slots.0.iter().zip(&part.positions.0);
            self.rows.extend(rows.map(|(&slot, &position)| Row { slot, position }));
            self.free.extend_from_slice(&part.free.0);
            self.generations.extend_from_slice(&part.generations.0);
            keys.extend_from_slice(&part.sampler_keys.0);
            by_key.extend_from_slice(&part.sampler_priorities.0);
            ages.extend_from_slice(&part.remover_keys.0);
        }
        match priorities {
            Some(priorities) => priorities.extend(by_key),
            None if by_key.is_empty() => {}
            None => return Err("rows have priorities by which none is drawn".into()),
        }
        Ok(self)
    }
}

/// A table as it was at some time.
pub(crate) struct TableImage {
    capacity: usize,
    rows: Column<Row>,
    free: Vec<u32>,
    counts: Counts,
    sampler: SelectorImage,
    remover: SelectorImage,
    generations: Column<u32>,
}

impl TableImage {
    /// In the form of a snapshot.
    pub(crate) fn into_state(self) -> TableState {
        TableState {
            capacity: self.capacity,
            rows: self.rows.to_vec(),
            free: self.free,
            counts: self.counts,
            sampler: (self.sampler)(),
            remover: (self.remover)(),
            generations: self.generations.to_vec(),
        }
    }
}

impl Table {
    /// The table as it is now, in microseconds; see [`Column`].
    pub(crate) fn image(&mut self) -> TableImage {
        TableImage {
            capacity: self.capacity,
            rows: self.rows.share(),
            free: self.free.clone(),
            counts: self.counts,
            sampler: self.sampler.image(),
            remover: self.remover.image(),
            generations: self.generations.share(),
        }
    }

    pub(crate) fn save(&self) -> TableState {
        TableState {
            capacity: self.capacity,
            rows: self.rows.to_vec(),
            free: self.free.clone(),
            counts: self.counts,
            sampler: self.sampler.save(),
            remover: self.remover.save(),
            generations: self.generations.to_vec(),
        }
    }

    /// The table that was saved; says what is wrong with a state that cannot be one.
    pub(crate) fn restore(state: TableState, capacity: usize) -> Result<Self, String> {
        let n = state.rows.len();
        if state.capacity != capacity || n.saturating_sub(state.free.len()) > capacity {
            return Err(format!("a table of capacity {} is not one of {capacity}", state.capacity));
        }
        let SelectorState::Fifo { keys: ages } = &state.remover else {
            return Err("its remover is not first in, first out".into());
        };
        let drawn = state.sampler.keys();
        // Held by the sampler, by the remover, free: the first two or the last.
        let mut owners = vec![0_u8; n];
        for (owner, keys) in [(1, drawn), (2, ages), (4, &state.free[..])] {
            for &key in keys {
                match owners.get_mut(key as usize) {
                    Some(owners) if *owners & owner == 0 => *owners |= owner,
                    _ => return Err(format!("key {key} is there twice or is not below {n}")),
                }
            }
        }
        if !owners.iter().all(|&owners| owners == 1 | 2 || owners == 4) {
            return Err("sampler, remover and free keys do not share out the rows".into());
        }
        let remover = Fifo::from(&ages[..]);
        let sampler = state.sampler.restore()?;
        let table = Self {
            capacity,
            dealt: dealt::dealt(n.saturating_sub(state.free.len()), &state.counts)?,
            rows: state.rows.into(),
            free: state.free,
            counts: state.counts,
            is_prioritised: sampler.is_prioritised(),
            sampler,
            remover,
            generations: state.generations.into(),
        };
        if table.is_prioritised() && table.generations.len() != n {
            return Err("its rows have no names".into());
        }
        Ok(table)
    }
}
