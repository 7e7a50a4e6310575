//! What samplers and removers have in common.

use common::seed::Rng;
use serde::{Deserialize, Serialize};

use super::{Fifo, Uniform};

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

    /// Chooses a key; `None` when it holds none. Drawn from `rng` alone: the same state and generator, the same key.
    fn select(&self, rng: &mut Rng) -> Option<Selected>;

    /// The keys it holds, in its own order.
    fn keys(&self) -> Vec<u32>;

    /// All of its state.
    fn save(&self) -> SelectorState;
}

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
}

impl SelectorState {
    /// The selector that was saved, over keys `0..n`; says what is wrong with a state that cannot be one.
    pub fn restore(self, n: usize) -> Result<Box<dyn Selector>, String> {
        let (Self::Uniform { keys } | Self::Fifo { keys }) = &self;
        let mut seen = vec![false; n];
        for &key in keys {
            match seen.get_mut(key as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(format!("key {key} is held twice or is not below {n}")),
            }
        }
        Ok(match self {
            Self::Uniform { keys } => {
                let mut selector = Box::<Uniform>::default();
                keys.into_iter().for_each(|key| selector.insert(key));
                selector
            }
            Self::Fifo { keys } => {
                let mut selector = Box::<Fifo>::default();
                keys.into_iter().for_each(|key| selector.insert(key));
                selector
            }
        })
    }
}
