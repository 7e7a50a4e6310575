//! Keys in proportion to a power of their priority (Schaul et al. 2016, Eq 1).

use common::seed::Rng;
use rand::RngExt;

use super::{Column, Selected, Selector, SelectorImage, SelectorState};

/// Largest weight of a key: those of all keys that there can be have a finite sum.
const MOST: f64 = 1e290;

/// Prioritised selector: a sum tree over keys, logarithmic time for everything. Inner sums are always those of their
/// children as they are, so that nothing drifts. A new key has the highest priority that any has had.
#[derive(Clone, Debug)]
pub struct Prioritised {
    exponent: f64,
    /// Priority of a new key.
    highest: f64,
    /// By key.
    priorities: Column<f64>,
    /// By key.
    held: Column<bool>,
    n_held: usize,
    /// Node 1 is the root, node k has the children 2k and 2k + 1, key j is the leaf `leaves + j`.
    sums: Vec<f64>,
    /// A power of two, at least 1.
    leaves: usize,
}

impl Prioritised {
    /// Without keys. The power is finite and at least 0; 0 draws all keys of a positive priority alike.
    pub fn new(exponent: f64) -> Self {
        Self {
            exponent,
            highest: 1.0,
            priorities: Column::default(),
            held: Column::default(),
            n_held: 0,
            sums: vec![0.0; 2],
            leaves: 1,
        }
    }

    pub(super) fn restore(
        exponent: f64,
        highest: f64,
        keys: &[u32],
        priorities: &[f64],
    ) -> Result<Self, String> {
        let good = |priority: &f64| priority.is_finite() && *priority >= 0.0;
        if keys.len() != priorities.len()
            || !good(&exponent)
            || !good(&highest)
            || !priorities.iter().all(good)
        {
            return Err("its priorities are none".into());
        }
        let mut selector = Self { highest, n_held: keys.len(), ..Self::new(exponent) };
        let n = keys.iter().max().map_or(0, |&key| key as usize + 1);
        (selector.priorities, selector.held) = (Column::filled(n, 0.0), Column::filled(n, false));
        selector.leaves = n.next_power_of_two();
        selector.sums = vec![0.0; 2 * selector.leaves];
        for (&key, &priority) in keys.iter().zip(priorities) {
            (selector.priorities[key as usize], selector.held[key as usize]) = (priority, true);
            let leaf = selector.leaves + key as usize;
            selector.sums[leaf] = selector.weight(priority);
        }
        selector.add_up();
        Ok(selector)
    }

    fn set_weight(&mut self, key: u32, weight: f64) {
        let mut node = self.leaves + key as usize;
        self.sums[node] = weight;
        while node > 1 {
            node /= 2;
            self.sums[node] = self.sums[2 * node] + self.sums[2 * node + 1];
        }
    }

    /// From a node, with what is left over of the draw, to the child in which it falls.
    fn descend(&self, (node, left_over): (usize, f64)) -> (usize, f64) {
        let [left, right] = [self.sums[2 * node], self.sums[2 * node + 1]];
        // Rounding may leave more than there is on the left of a branch without a right.
        let is_right = left_over >= left && right > 0.0;
        (2 * node + usize::from(is_right), if is_right { left_over - left } else { left_over })
    }

    fn selected(&self, leaf: usize, total: f64) -> Selected {
        Selected { key: (leaf - self.leaves) as u32, probability: self.sums[leaf] / total }
    }

    fn weight(&self, priority: f64) -> f64 {
        // 0 to the power 0 is 1, but a row of priority 0 is never drawn.
        match priority {
            0.0 => 0.0,
            _ => priority.powf(self.exponent).clamp(f64::MIN_POSITIVE, MOST),
        }
    }

    fn grow(&mut self, key: u32) {
        let leaves = (key as usize + 1).next_power_of_two();
        let mut sums = vec![0.0; 2 * leaves];
        sums[leaves..leaves + self.leaves].copy_from_slice(&self.sums[self.leaves..]);
        (self.sums, self.leaves) = (sums, leaves);
        self.add_up();
    }

    /// All inner sums, from the leaves.
    fn add_up(&mut self) {
        for node in (1..self.leaves).rev() {
            self.sums[node] = self.sums[2 * node] + self.sums[2 * node + 1];
        }
    }
}

impl Selector for Prioritised {
    fn insert(&mut self, key: u32) {
        let at = key as usize;
        if at >= self.leaves {
            self.grow(key);
        }
        if at >= self.held.len() {
            self.held.resize(at + 1, false);
            self.priorities.resize(at + 1, 0.0);
        }
        (self.held[at], self.priorities[at]) = (true, self.highest);
        self.n_held += 1;
        self.set_weight(key, self.weight(self.highest));
    }

    fn remove(&mut self, key: u32) {
        assert!(self.held[key as usize], "key {key} is not held");
        self.held[key as usize] = false;
        self.n_held -= 1;
        self.set_weight(key, 0.0);
    }

    fn renew(&mut self, key: u32) {
        assert!(self.held[key as usize], "key {key} is not held");
        self.priorities[key as usize] = self.highest;
        self.set_weight(key, self.weight(self.highest));
    }

    fn select(&mut self, rng: &mut Rng) -> Option<Selected> {
        let total = self.sums[1];
        if total <= 0.0 {
            return None;
        }
        let mut place = (1, rng.random::<f64>() * total);
        while place.0 < self.leaves {
            place = self.descend(place);
        }
        Some(self.selected(place.0, total))
    }

    fn select_many(&mut self, n: usize, rng: &mut Rng) -> Option<Vec<Selected>> {
        let total = self.sums[1];
        if total <= 0.0 {
            return None;
        }
        // All of them a level deeper at a time: the memory of many nodes is on its way at once.
        let mut places: Vec<(usize, f64)> = (0..n).map(|_| (1, rng.random::<f64>() * total)).collect();
        for _ in 0..self.leaves.ilog2() {
            places.iter_mut().for_each(|place| *place = self.descend(*place));
        }
        Some(places.into_iter().map(|(node, _)| self.selected(node, total)).collect())
    }

    fn keys(&self) -> Vec<u32> {
        held(&self.held).collect()
    }

    fn mass(&self) -> f64 {
        self.sums[1]
    }

    fn is_prioritised(&self) -> bool {
        true
    }

    fn priorities(&self, key: u32) -> Option<(f64, f64)> {
        Some((self.priorities[key as usize], self.highest))
    }

    fn set_priority(&mut self, key: u32, priority: f64) {
        self.highest = self.highest.max(priority);
        self.priorities[key as usize] = priority;
        self.set_weight(key, self.weight(priority));
    }

    fn save(&self) -> SelectorState {
        state((self.exponent, self.highest), &self.held, &self.priorities)
    }

    fn image(&mut self) -> SelectorImage {
        // Not the tree, which follows from the rest.
        let (numbers, held, priorities) =
            ((self.exponent, self.highest), self.held.share(), self.priorities.share());
        Box::new(move || state(numbers, &held, &priorities))
    }
}

fn state((exponent, highest): (f64, f64), flags: &Column<bool>, priorities: &Column<f64>) -> SelectorState {
    let keys: Vec<u32> = held(flags).collect();
    let priorities = keys.iter().map(|&key| priorities[key as usize]).collect();
    SelectorState::Prioritised { exponent, highest, keys, priorities }
}

/// The keys that are held, ascending.
fn held(flags: &Column<bool>) -> impl Iterator<Item = u32> {
    flags.iter().zip(0..).filter(|(is_held, _)| **is_held).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_drawn_in_proportion_to_their_weights_and_priority_zero_is_never_drawn() {
        let mut selector = Prioritised::new(0.5);
        (0..6).for_each(|key| selector.insert(key));
        for (key, priority) in [(0, 1.0), (1, 4.0), (2, 0.0), (3, 9.0), (4, 16.0)] {
            selector.set_priority(key, priority);
        }
        selector.remove(5);
        // Weights 1, 2, 0, 3, 4.
        assert_eq!(selector.mass(), 10.0);
        let mut rng = Streams::new(5, "test").sequential();
        let mut counts = [0_f64; 6];
        for _ in 0..100_000 {
            let selected = selector.select(&mut rng).unwrap();
            counts[selected.key as usize] += 1.0;
            assert_eq!(selected.probability, [0.1, 0.2, 0.0, 0.3, 0.4, 0.0][selected.key as usize]);
        }
        assert_eq!((counts[2], counts[5]), (0.0, 0.0));
        let expected = [10_000.0, 20_000.0, 0.0, 30_000.0, 40_000.0];
        let chi_square: f64 =
            [0, 1, 3, 4].into_iter().map(|k: usize| (counts[k] - expected[k]).powi(2) / expected[k]).sum();
        // 3 degrees of freedom: 11.3 is passed by one in a hundred.
        assert!(chi_square < 11.3, "{chi_square}: {counts:?}");
    }

    #[test]
    fn a_new_key_has_the_highest_priority_that_any_has_had() {
        let mut selector = Prioritised::new(1.0);
        selector.insert(0);
        selector.set_priority(0, 7.0);
        selector.remove(0);
        selector.insert(1);
        assert_eq!(selector.mass(), 7.0);
    }

    #[test]
    fn the_largest_and_the_smallest_priorities_have_weights_that_can_be_drawn() {
        let mut selector = Prioritised::new(10.0);
        (0..3).for_each(|key| selector.insert(key));
        (0..3).for_each(|key| selector.set_priority(key, f64::MAX));
        assert!(selector.mass().is_finite());
        let mut rng = Streams::new(6, "test").sequential();
        // Rounding.
        assert!((selector.select(&mut rng).unwrap().probability - 1.0 / 3.0).abs() < 1e-12);
        (0..3).for_each(|key| selector.set_priority(key, f64::MIN_POSITIVE));
        assert!(selector.select(&mut rng).is_some());
    }

    proptest! {
        #[test]
        fn sums_stay_those_of_the_keys_whatever_happens(
            steps in prop::collection::vec((0_u32..40, 0.0_f64..1e6, any::<bool>()), 0..300),
        ) {
            let mut selector = Prioritised::new(0.6);
            let mut held = std::collections::BTreeMap::new();
            for (key, priority, removes) in steps {
                if held.contains_key(&key) && removes {
                    selector.remove(key);
                    held.remove(&key);
                } else {
                    if !held.contains_key(&key) {
                        selector.insert(key);
                    }
                    selector.set_priority(key, priority);
                    held.insert(key, priority);
                }
            }
            let sum: f64 = held.values().map(|p: &f64| p.powf(0.6)).sum();
            prop_assert!((selector.mass() - sum).abs() <= 1e-9 * sum.max(1.0));
            prop_assert_eq!(selector.keys(), held.keys().copied().collect::<Vec<_>>());
            let SelectorState::Prioritised { exponent, highest, keys, priorities } = selector.save() else {
                return Err(TestCaseError::fail("another state"));
            };
            let mut again = Prioritised::restore(exponent, highest, &keys, &priorities).unwrap();
            let streams = Streams::new(1, "test");
            for k in 0..20 {
                let (a, b) = (again.select(&mut streams.at(0, k)), selector.select(&mut streams.at(0, k)));
                prop_assert_eq!(a.map(|s| s.key), b.map(|s| s.key));
                let mut rng = streams.at(1, k);
                let one_by_one: Option<Vec<_>> = (0..5).map(|_| again.select(&mut rng)).collect();
                prop_assert_eq!(selector.select_many(5, &mut streams.at(1, k)), one_by_one);
            }
        }
    }
}
