//! What samplers and removers have in common.

use common::seed::Rng;
use serde::{Deserialize, Serialize};

use super::{Cycle, Fifo, Prioritised, Uniform};

/// A key that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selected {
    /// The key.
    pub key: u32,
    /// Probability with which this selector chose it.
    pub probability: f64,
}

/// Chooses one of the keys it was given. Keys are small numbers that are used again: memory is by the largest.
pub trait Selector: Send {
    /// Adds a key that it does not hold.
    fn insert(&mut self, key: u32);

    /// Forgets a key that it holds.
    fn remove(&mut self, key: u32);

    /// Forgets a key that it holds and takes it again, as a new one.
    fn renew(&mut self, key: u32) {
        self.remove(key);
        self.insert(key);
    }

    /// Chooses a key; `None` when it holds none that can be chosen. Drawn from `rng` alone: the same state and generator,
    /// the same key.
    fn select(&mut self, rng: &mut Rng) -> Option<Selected>;

    /// Chooses keys one after the other, as [`Self::select`] would; `None` when it holds none that can be chosen.
    fn select_many(&mut self, n: usize, rng: &mut Rng) -> Option<Vec<Selected>> {
        (0..n).map(|_| self.select(rng)).collect()
    }

    /// The keys it holds, in its own order.
    fn keys(&self) -> Vec<u32>;

    /// What its keys are worth together, beside those of other selectors.
    fn mass(&self) -> f64;

    /// Whether keys have priorities.
    fn is_prioritised(&self) -> bool {
        false
    }

    /// The priority of a key that it holds, and that of a new one; `None` without priorities.
    fn priorities(&self, _key: u32) -> Option<(f64, f64)> {
        None
    }

    /// Sets the priority of a key that it holds: finite, at least 0. Without priorities nothing happens.
    fn set_priority(&mut self, _key: u32, _priority: f64) {}

    /// All of its state.
    fn save(&self) -> SelectorState;

    /// All of its state as it is now, to be had later: taking it is a matter of microseconds.
    fn image(&mut self) -> SelectorImage;
}

/// Gives the state that a selector had.
pub type SelectorImage = Box<dyn FnOnce() -> SelectorState + Send>;

/// A selector in the form of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SelectorState {
    /// [`Uniform`].
    Uniform {
        /// In its own order.
        keys: Vec<u32>,
    },
    /// [`Fifo`].
    Fifo {
        /// Oldest first.
        keys: Vec<u32>,
    },
    /// [`Cycle`].
    Cycle {
        /// Oldest first.
        keys: Vec<u32>,
        /// The next to be chosen.
        next: Option<u32>,
    },
    /// [`Prioritised`].
    Prioritised {
        /// Power of the priorities.
        exponent: f64,
        /// Priority of a new key.
        highest: f64,
        /// Ascending.
        keys: Vec<u32>,
        /// One a key.
        priorities: Vec<f64>,
    },
}

impl SelectorState {
    /// The keys, in its own order.
    pub(super) fn keys(&self) -> &[u32] {
        let (Self::Uniform { keys }
        | Self::Fifo { keys }
        | Self::Cycle { keys, .. }
        | Self::Prioritised { keys, .. }) = self;
        keys
    }

    /// The keys, and where they have them their priorities.
    pub(super) fn columns_mut(&mut self) -> (&mut Vec<u32>, Option<&mut Vec<f64>>) {
        match self {
            Self::Uniform { keys } | Self::Fifo { keys } | Self::Cycle { keys, .. } => (keys, None),
            Self::Prioritised { keys, priorities, .. } => (keys, Some(priorities)),
        }
    }

    /// The selector that was saved, whose keys were checked: each is there once. Says what is wrong with the rest.
    pub(super) fn restore(self) -> Result<Box<dyn Selector>, String> {
        Ok(match self {
            Self::Uniform { keys } => Box::new(Uniform::from(keys)),
            Self::Fifo { keys } => Box::new(Fifo::from(&keys[..])),
            Self::Cycle { keys, next } => Box::new(Cycle::restore(&keys, next)?),
            Self::Prioritised { exponent, highest, keys, priorities } => {
                Box::new(Prioritised::restore(exponent, highest, &keys, &priorities)?)
            }
        })
    }
}
