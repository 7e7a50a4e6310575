//! Every key with the same probability.

use common::seed::Rng;
use rand::RngExt;

use super::{Column, Selected, Selector, SelectorImage, SelectorState};

/// Uniform selector: constant time for everything.
#[derive(Clone, Debug, Default)]
pub struct Uniform {
    keys: Column<u32>,
    /// By key: its place in `keys`. Stale for keys that are not held.
    places: Column<u32>,
}

impl From<Vec<u32>> for Uniform {
    /// Keys that were inserted in this order, each once.
    fn from(keys: Vec<u32>) -> Self {
        let n = keys.iter().max().map_or(0, |&key| key as usize + 1);
        let mut places = Column::filled(n, 0);
        keys.iter().zip(0..).for_each(|(&key, place)| places[key as usize] = place);
        Self { keys: keys.into(), places }
    }
}

impl Selector for Uniform {
    fn insert(&mut self, key: u32) {
        if self.places.len() <= key as usize {
            self.places.resize(key as usize + 1, 0);
        }
        self.places[key as usize] = self.keys.len() as u32;
        self.keys.push(key);
    }

    fn remove(&mut self, key: u32) {
        let place = self.places[key as usize];
        assert_eq!(self.keys[place as usize], key, "key {key} is not held");
        self.keys.swap_remove(place as usize);
        if let Some(&moved) = self.keys.get(place as usize) {
            self.places[moved as usize] = place;
        }
    }

    fn renew(&mut self, _: u32) {
        // Whatever its place, it is drawn like all others.
    }

    fn select(&mut self, rng: &mut Rng) -> Option<Selected> {
        if self.keys.is_empty() {
            return None;
        }
        let key = self.keys[rng.random_range(0..self.keys.len())];
        Some(Selected { key, probability: 1.0 / self.keys.len() as f64 })
    }

    fn keys(&self) -> Vec<u32> {
        self.keys.to_vec()
    }

    fn mass(&self) -> f64 {
        self.keys.len() as f64
    }

    fn save(&self) -> SelectorState {
        SelectorState::Uniform { keys: self.keys() }
    }

    fn image(&mut self) -> SelectorImage {
        let keys = self.keys.share();
        Box::new(move || SelectorState::Uniform { keys: keys.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    #[test]
    fn only_held_keys_are_drawn_all_of_them_alike() {
        let mut selector = Uniform::default();
        (0..10).for_each(|key| selector.insert(key));
        [0, 9, 4].into_iter().for_each(|key| selector.remove(key));
        selector.insert(4);
        let mut rng = Streams::new(5, "test").sequential();
        let mut counts = [0_u32; 10];
        for _ in 0..8_000 {
            let selected = selector.select(&mut rng).unwrap();
            assert_eq!(selected.probability, 1.0 / 8.0);
            counts[selected.key as usize] += 1;
        }
        assert_eq!((counts[0], counts[9]), (0, 0));
        // 1,000 expected each, standard deviation 30.
        assert!(counts[1..9].iter().all(|&count| (850..1_150).contains(&count)), "{counts:?}");
    }
}
