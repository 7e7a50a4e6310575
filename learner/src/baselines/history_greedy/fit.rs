//! One supervised fit of the tower.
//!
//! In: interactions; out: the tower that minimises the Poisson loss `exp(z) - r z` of their rewards r (0, 1, 5), with
//! `z = gain * user . unit_item + offset`. The mean of a Poisson variable is what the loss asks for; that rewards are no
//! counts does not bias it. One thread, minibatches in an order fixed by the seed.

use common::{ItemTable, history::N_WINDOWS, seed::Streams};
use rand::seq::SliceRandom;

use super::{
    Settings,
    adam::Adam,
    features::window_means,
    gradient::{Gradient, Minibatch},
    interactions::Interactions,
    tower::Tower,
};

/// Fits `tower` in place; `fit` numbers the shuffles. Returns the mean loss of the last epoch.
pub(super) fn fit(
    tower: &mut Tower,
    items: &ItemTable,
    data: &Interactions,
    settings: &Settings,
    fit: u64,
) -> f64 {
    let mut optimisers =
        tower.tensors.each_ref().map(|tensor| Adam::new(tensor.len(), settings.learning_rate));
    let mut gradient = Gradient::default();
    let shuffles = Streams::new(settings.seed, "history-greedy/shuffle");
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut buffers = Buffers::default();
    let mut loss_sum = 0.0;
    for epoch in 0..settings.epochs {
        order.shuffle(&mut shuffles.at(fit, epoch as u64));
        loss_sum = 0.0;
        for rows in order.chunks(settings.batch) {
            let loss = gradient.compute(tower, buffers.gather(items, data, rows));
            let moved = optimisers.iter_mut().zip(&mut tower.tensors).zip(&gradient.tensors);
            moved.for_each(|((adam, tensor), gradient)| adam.step(tensor, gradient));
            loss_sum += loss * rows.len() as f64;
        }
    }
    loss_sum / data.len() as f64
}

/// Rows of a minibatch, gathered.
#[derive(Debug, Default)]
struct Buffers {
    means: Vec<f32>,
    directions: Vec<f32>,
    rewards: Vec<f32>,
}

impl Buffers {
    fn gather(&mut self, items: &ItemTable, data: &Interactions, rows: &[usize]) -> Minibatch<'_> {
        self.means.resize(N_WINDOWS * rows.len() * items.n_dims(), 0.0);
        window_means(items, rows.iter().map(|&row| data.windows(row)), &mut self.means);
        self.directions.clear();
        self.rewards.clear();
        for &row in rows {
            self.directions.extend_from_slice(items.unit_embedding(data.item(row)));
            self.rewards.push(data.feedback(row).reward());
        }
        Minibatch { means: &self.means, directions: &self.directions, rewards: &self.rewards }
    }
}
