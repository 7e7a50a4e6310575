//! One supervised fit of the tower.
//!
//! In: interactions; out: the tower that minimises the Poisson loss `exp(z) - r z` of their rewards r (0, 1, 5), with
//! `z = gain * user . unit_item + offset`. The mean of a Poisson variable is what the loss asks for; that rewards are no
//! counts does not bias it. Minibatches come in an order fixed by the seed; a second thread, if there is one, shows in no bit.

use common::{ItemTable, seed::Streams};
use rand::seq::SliceRandom;

use super::{Settings, adam::Adam, gradient::Gradient, interactions::Interactions, tower::Tower};
use crate::threads::Threads;

/// Fits `tower` in place; `fit` numbers the shuffles. Returns the mean loss of the last epoch.
pub(super) fn fit(
    tower: &mut Tower,
    items: &ItemTable,
    data: &Interactions,
    settings: &Settings,
    fit: u64,
    threads: Option<&Threads>,
) -> f64 {
    let mut optimisers =
        tower.tensors.each_ref().map(|tensor| Adam::new(tensor.len(), settings.learning_rate));
    let mut gradient = Gradient::new(tower);
    let shuffles = Streams::new(settings.seed, "history-greedy/shuffle");
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut loss_sum = 0.0;
    for epoch in 0..settings.epochs {
        order.shuffle(&mut shuffles.long(fit, epoch as u64));
        loss_sum = 0.0;
        for rows in order.chunks(settings.batch) {
            let loss = gradient.compute(tower, rows, |chunk, rows| chunk.gather(items, data, rows), threads);
            let moved = optimisers.iter_mut().zip(&mut tower.tensors).zip(&gradient.tensors);
            moved.for_each(|((adam, tensor), gradient)| adam.step(tensor, gradient));
            loss_sum += loss * rows.len() as f64;
        }
    }
    loss_sum / data.len() as f64
}
