//! One supervised fit of the tower, on tch.
//!
//! In: interactions; out: the tower that minimises the Poisson loss `exp(z) - r z` of their rewards r (0, 1, 5), with
//! `z = gain * user . unit_item + offset`. The mean of a Poisson variable is what the loss asks for; that rewards are no
//! counts does not bias it. One thread, minibatches in an order fixed by the seed.

use common::{ItemTable, history::N_WINDOWS, seed::Streams};
use rand::seq::SliceRandom;
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig},
};

use super::{
    Settings,
    features::window_means,
    interactions::Interactions,
    tower::{GAIN, MIX_BIAS, NAMES, PER_WINDOW, Tower, USER, shapes},
};

/// Largest z whose exponential enters the loss: a predicted reward of 20, four orders at once.
const LARGEST_LOG_REWARD: f64 = 3.0;

/// Fits `tower` in place; `fit` numbers the shuffles. Returns the mean loss of the last epoch.
pub(super) fn fit(
    tower: &mut Tower,
    items: &ItemTable,
    data: &Interactions,
    settings: &Settings,
    fit: u64,
) -> f64 {
    let store = nn::VarStore::new(Device::Cpu);
    let parameters = to_tensors(tower, &store);
    let mut adam =
        nn::Adam::default().build(&store, settings.learning_rate).expect("the store holds parameters");
    let shuffles = Streams::new(settings.seed, "history-greedy/shuffle");
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut batch = Batch::new(items, settings.batch.min(data.len()));
    let mut loss_sum = 0.0;
    for epoch in 0..settings.epochs {
        order.shuffle(&mut shuffles.at(fit, epoch as u64));
        loss_sum = 0.0;
        for rows in order.chunks(settings.batch) {
            let (means, directions, rewards) = batch.gather(items, data, rows);
            let z = log_reward(&parameters, &means, &directions);
            let loss = (z.clamp_max(LARGEST_LOG_REWARD).exp() - rewards * z).mean(Kind::Float);
            adam.backward_step(&loss);
            loss_sum += loss.double_value(&[]) * rows.len() as f64;
        }
    }
    for (values, tensor) in tower.tensors.iter_mut().zip(&parameters) {
        let size = values.len();
        tensor.detach().copy_data(values, size);
    }
    loss_sum / data.len() as f64
}

/// The tower's parameters as trainable tensors.
fn to_tensors(tower: &Tower, store: &nn::VarStore) -> Vec<Tensor> {
    let shapes = shapes(tower.n_dims, tower.width);
    NAMES
        .iter()
        .zip(shapes)
        .zip(&tower.tensors)
        .map(|((name, shape), values)| {
            let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
            // A variable's name may hold no dot.
            let mut variable = store.root().zeros(&name.replace('.', "_"), &shape);
            tch::no_grad(|| variable.copy_(&Tensor::from_slice(values).view_(&shape)));
            variable
        })
        .collect()
}

/// z `[B]` of means `[3, B, n]` and the shown items' directions `[B, n]`; the formulas of [`super::tower`].
fn log_reward(parameters: &[Tensor], means: &Tensor, directions: &Tensor) -> Tensor {
    let mut mixed = parameters[MIX_BIAS].shallow_clone();
    for kind in 0..N_WINDOWS {
        let [weight, bias, mix] = [0, 1, 2].map(|k| &parameters[PER_WINDOW * kind + k]);
        let hidden = (means.get(kind as i64).matmul(weight) + bias).relu();
        mixed = &mixed + hidden.matmul(mix);
    }
    let user = mixed.relu().matmul(&parameters[USER]) + &parameters[USER + 1];
    (user * directions).sum_dim_intlist(-1, false, Kind::Float) * &parameters[GAIN] + &parameters[GAIN + 1]
}

/// Buffers of a minibatch.
struct Batch {
    means: Vec<f32>,
    directions: Vec<f32>,
    rewards: Vec<f32>,
}

impl Batch {
    fn new(items: &ItemTable, rows: usize) -> Self {
        let n = items.n_dims();
        Self {
            means: Vec::with_capacity(N_WINDOWS * rows * n),
            directions: Vec::with_capacity(rows * n),
            rewards: Vec::with_capacity(rows),
        }
    }

    /// Means `[3, B, n]`, directions `[B, n]`, rewards `[B]` of some rows.
    fn gather(&mut self, items: &ItemTable, data: &Interactions, rows: &[usize]) -> (Tensor, Tensor, Tensor) {
        let n = items.n_dims();
        self.means.resize(N_WINDOWS * rows.len() * n, 0.0);
        window_means(items, rows.iter().map(|&row| data.windows(row)), &mut self.means);
        self.directions.clear();
        self.rewards.clear();
        for &row in rows {
            self.directions.extend_from_slice(items.unit_embedding(data.item(row)));
            self.rewards.push(data.feedback(row).reward());
        }
        let (b, n) = (rows.len() as i64, n as i64);
        (
            Tensor::from_slice(&self.means).view_([N_WINDOWS as i64, b, n]),
            Tensor::from_slice(&self.directions).view_([b, n]),
            Tensor::from_slice(&self.rewards),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_and_plain_rust_compute_the_same_log_reward() {
        let (n, width, rows) = (5, 7, 4);
        let tower = Tower::new(n, width, &Streams::new(1, "test"), 0);
        let means: Vec<f32> = (0..3 * rows * n).map(|i| ((i * 37 % 19) as f32 - 9.0) / 5.0).collect();
        let directions: Vec<f32> = (0..rows * n).map(|i| ((i * 23 % 11) as f32 - 5.0) / 8.0).collect();
        let store = nn::VarStore::new(Device::Cpu);
        let z = log_reward(
            &to_tensors(&tower, &store),
            &Tensor::from_slice(&means).view_([3, rows as i64, n as i64]),
            &Tensor::from_slice(&directions).view_([rows as i64, n as i64]),
        );
        let mut users = vec![0.0; rows * n];
        tower.directions(&means, &mut users);
        for row in 0..rows {
            let dot: f32 = users[row * n..][..n].iter().zip(&directions[row * n..]).map(|(u, d)| u * d).sum();
            let expected = dot + tower.tensors[GAIN + 1][0];
            assert!((z.double_value(&[row as i64]) - f64::from(expected)).abs() < 1e-5);
        }
    }
}
