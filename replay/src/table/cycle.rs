//! The oldest key first, then the next, and from the start again.

use common::seed::Rng;

use super::{Fifo, Selected, Selector, SelectorImage, SelectorState};

/// FIFO as a sampler: every key once in the order of insertion, then again. Constant time for everything.
#[derive(Clone, Debug, Default)]
pub struct Cycle {
    order: Fifo,
    n_held: usize,
    /// The next key; `None`: the oldest.
    next: Option<u32>,
}

impl Cycle {
    pub(super) fn restore(keys: &[u32], next: Option<u32>) -> Result<Self, String> {
        if next.is_some_and(|next| !keys.contains(&next)) {
            return Err("its next key is not held".into());
        }
        Ok(Self { order: keys.into(), n_held: keys.len(), next })
    }
}

impl Selector for Cycle {
    fn insert(&mut self, key: u32) {
        self.order.insert(key);
        self.n_held += 1;
    }

    fn remove(&mut self, key: u32) {
        if self.next == Some(key) {
            self.next = self.order.newer(key);
        }
        self.order.remove(key);
        self.n_held -= 1;
    }

    fn select(&mut self, rng: &mut Rng) -> Option<Selected> {
        let key = match self.next {
            Some(key) => key,
            None => self.order.select(rng)?.key,
        };
        self.next = self.order.newer(key);
        Some(Selected { key, probability: 1.0 / self.n_held as f64 })
    }

    fn keys(&self) -> Vec<u32> {
        self.order.keys()
    }

    fn mass(&self) -> f64 {
        self.n_held as f64
    }

    fn save(&self) -> SelectorState {
        SelectorState::Cycle { keys: self.keys(), next: self.next }
    }

    fn image(&mut self) -> SelectorImage {
        let (order, next) = (self.order.share(), self.next);
        Box::new(move || SelectorState::Cycle { keys: order.keys(), next })
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    #[test]
    fn every_key_comes_once_in_order_and_then_again_whatever_leaves_meanwhile() {
        let mut selector = Cycle::default();
        let mut rng = Streams::new(1, "test").sequential();
        assert_eq!(selector.select(&mut rng), None);
        [3, 0, 7].into_iter().for_each(|key| selector.insert(key));
        let mut draw = |selector: &mut Cycle| selector.select(&mut rng).unwrap().key;
        assert_eq!([(); 4].map(|()| draw(&mut selector)), [3, 0, 7, 3]);
        selector.remove(0);
        assert_eq!(draw(&mut selector), 7);
        selector.insert(1);
        assert_eq!([(); 3].map(|()| draw(&mut selector)), [3, 7, 1]);
    }
}
