//! The oldest key.

use common::seed::Rng;

use super::{Column, Selected, Selector, SelectorImage, SelectorState};

/// No neighbour.
const NONE: u32 = u32::MAX;

/// FIFO selector: a doubly linked list over the keys, constant time for everything.
#[derive(Clone, Debug)]
pub struct Fifo {
    /// By key: (older, newer). Stale for keys that are not held.
    links: Column<(u32, u32)>,
    oldest: u32,
    newest: u32,
}

impl Default for Fifo {
    fn default() -> Self {
        Self { links: Column::default(), oldest: NONE, newest: NONE }
    }
}

impl From<&[u32]> for Fifo {
    /// Keys that were inserted in this order, each once.
    fn from(keys: &[u32]) -> Self {
        let n = keys.iter().max().map_or(0, |&key| key as usize + 1);
        let mut links = Column::filled(n, (NONE, NONE));
        for (k, &key) in keys.iter().enumerate() {
            let older = if k == 0 { NONE } else { keys[k - 1] };
            links[key as usize] = (older, keys.get(k + 1).copied().unwrap_or(NONE));
        }
        let ends = [keys.first(), keys.last()].map(|end| end.copied().unwrap_or(NONE));
        Self { links, oldest: ends[0], newest: ends[1] }
    }
}

impl Fifo {
    /// The key that was inserted before all others that are held.
    #[inline]
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The key that was inserted after all others that are held.
    pub(super) fn newest(&self) -> Option<u32> {
        (self.newest != NONE).then_some(self.newest)
    }

    /// The queue as it is now, in microseconds.
    pub(super) fn share(&mut self) -> Self {
        Self { links: self.links.share(), ..*self }
    }

    /// The key that was inserted next after one that is held.
    pub(super) fn newer(&self, key: u32) -> Option<u32> {
        Some(self.links[key as usize].1).filter(|&newer| newer != NONE)
    }
}

impl Selector for Fifo {
    #[inline]
    fn insert(&mut self, key: u32) {
        if self.links.len() <= key as usize {
            self.links.resize(key as usize + 1, (NONE, NONE));
        }
        self.links[key as usize] = (self.newest, NONE);
        match self.links.get_mut(self.newest as usize) {
            Some(newest) => newest.1 = key,
            None => self.oldest = key,
        }
        self.newest = key;
    }

    #[inline]
    fn remove(&mut self, key: u32) {
        let (older, newer) = self.links[key as usize];
        match self.links.get_mut(older as usize) {
            Some(link) => link.1 = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.0 = older,
            None => self.newest = older,
        }
    }

    fn select(&mut self, _: &mut Rng) -> Option<Selected> {
        self.oldest().map(|key| Selected { key, probability: 1.0 })
    }

    fn keys(&self) -> Vec<u32> {
        let next = |&key: &u32| self.newer(key);
        let mut keys = Vec::with_capacity(self.links.len());
        keys.extend(std::iter::successors(self.oldest(), next));
        keys
    }

    fn mass(&self) -> f64 {
        self.keys().len() as f64
    }

    fn save(&self) -> SelectorState {
        SelectorState::Fifo { keys: self.keys() }
    }

    fn image(&mut self) -> SelectorImage {
        let fifo = self.share();
        Box::new(move || fifo.save())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use common::seed::Streams;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_queue_from_which_any_key_can_be_taken(choices: Vec<(bool, u8)>) {
            let (mut fifo, mut model) = (Fifo::default(), VecDeque::new());
            let mut rng = Streams::new(0, "test").sequential();
            for (insert, choice) in choices {
                let key = u32::from(choice % 32);
                match model.iter().position(|&k| k == key) {
                    None if insert => {
                        fifo.insert(key);
                        model.push_back(key);
                    }
                    Some(at) if !insert => {
                        fifo.remove(key);
                        model.remove(at);
                    }
                    _ => {}
                }
                if choice % 16 == 0 {
                    fifo = Fifo::from(&fifo.keys()[..]);
                }
                proptest::prop_assert_eq!(fifo.keys(), Vec::from(model.clone()));
                proptest::prop_assert_eq!(fifo.select(&mut rng).map(|s| s.key), model.front().copied());
            }
        }
    }
}
