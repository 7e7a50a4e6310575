//! Weighted means of many items at once. In: (item, weight, value); out: the mean of an item. Starting over costs what was
//! added, not the size of the catalogue.

/// Working memory; one a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct WeightedMeans {
    /// `[V]` sum of weight times value, sum of weights.
    sums: Vec<(f64, f64)>,
    /// Items that are not zero.
    touched: Vec<u32>,
}

impl WeightedMeans {
    /// Forgets everything; items are `0..n_items` from now on.
    pub(super) fn start(&mut self, n_items: usize) {
        self.touched.drain(..).for_each(|item| self.sums[item as usize] = (0.0, 0.0));
        self.sums.resize(n_items, (0.0, 0.0));
    }

    /// Adds a value with a weight above 0.
    pub(super) fn add(&mut self, item: u32, weight: f64, value: f64) {
        let (sum, total) = &mut self.sums[item as usize];
        if *total == 0.0 {
            self.touched.push(item);
        }
        *sum += weight * value;
        *total += weight;
    }

    /// The mean of an item; `None` where nothing was added.
    pub(super) fn mean(&self, item: u32) -> Option<f64> {
        let (sum, total) = self.sums[item as usize];
        (total > 0.0).then(|| sum / total)
    }
}
