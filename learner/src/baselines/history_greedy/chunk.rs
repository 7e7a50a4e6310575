//! Some rows of a minibatch on their way through the tower and back. Buffers are kept from one minibatch to the next.
//!
//! In: window means `[3, C, n]`, directions of the shown items `[C, n]`, rewards `[C]`; out: what the layers put out, and the
//! gradient of the minibatch's mean loss at what they put out. A row's numbers depend on that row only. The formulas are those
//! of [`super::tower`].

use common::{ItemId, ItemTable, history::N_WINDOWS};
use kernels::{Init, Level, reduce::transpose_into};

use super::{
    features::window_means,
    interactions::Interactions,
    tower::{GAIN, MIX_BIAS, PER_WINDOW, Tower, USER, product, relu},
};

/// Largest z whose exponential enters the loss: a predicted reward of 20, four orders at once.
const LARGEST_LOG_REWARD: f32 = 3.0;

/// What the loss comes to in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLoss {
    /// `exp(z) - r z`.
    pub(super) loss: f32,
    /// The gradient of the minibatch's mean loss at z.
    pub(super) at_z: f32,
    /// user . unit_item.
    pub(super) dot: f32,
}

/// C rows, and what was computed of them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// `[C, 3, N]`.
    windows: Vec<ItemId>,
    /// `[3, C, n]`.
    pub(super) means: Vec<f32>,
    /// `[C, n]`, unit vectors.
    pub(super) directions: Vec<f32>,
    /// `[C]`.
    pub(super) rewards: Vec<f32>,
    /// h_k `[C, H]`.
    pub(super) hidden: [Vec<f32>; N_WINDOWS],
    /// m `[C, H]`.
    pub(super) mixed: Vec<f32>,
    /// The gradient at the user vectors `[C, n]`, in whose place it is put.
    pub(super) at_user: Vec<f32>,
    /// The gradient at m, before its ReLU `[C, H]`.
    pub(super) at_mixed: Vec<f32>,
    /// The gradient at h_k, before its ReLU `[C, H]`.
    pub(super) at_hidden: [Vec<f32>; N_WINDOWS],
    /// `[C]`.
    pub(super) losses: Vec<RowLoss>,
}

/// The weights that gradients go back through, turned over once a minibatch.
#[derive(Debug)]
pub(super) struct Transposed {
    /// V_k^T `[H, H]`.
    mix: [Vec<f32>; N_WINDOWS],
    /// W_user^T `[n, H]`.
    user: Vec<f32>,
}

impl Transposed {
    /// Room for those of `tower`.
    pub(super) fn new(tower: &Tower) -> Self {
        let room = |index: usize| vec![0.0; tower.tensors[index].len()];
        Self { mix: std::array::from_fn(|kind| room(PER_WINDOW * kind + 2)), user: room(USER) }
    }

    /// Those of `tower`.
    pub(super) fn update(&mut self, tower: &Tower) {
        let (n, width) = (tower.n_dims, tower.width);
        for (kind, mix) in self.mix.iter_mut().enumerate() {
            transpose_into(Level::best(), (width, width), &tower.tensors[PER_WINDOW * kind + 2], mix);
        }
        transpose_into(Level::best(), (width, n), &tower.tensors[USER], &mut self.user);
    }
}

impl Chunk {
    /// Takes these rows of the data.
    pub(super) fn gather(&mut self, items: &ItemTable, data: &Interactions, rows: &[usize]) {
        self.means.resize(N_WINDOWS * rows.len() * items.n_dims(), 0.0);
        // Copied first: rows lie far apart, and many are under way from memory at the same time.
        self.windows.clear();
        rows.iter().for_each(|&row| self.windows.extend_from_slice(data.windows(row)));
        let windows = self.windows.chunks_exact(self.windows.len() / rows.len());
        window_means(items, windows, &mut self.means);
        self.directions.clear();
        self.rewards.clear();
        for &row in rows {
            self.directions.extend_from_slice(items.unit_embedding(data.item(row)));
            self.rewards.push(data.feedback(row).reward());
        }
    }

    /// Mean embeddings `[C, n]` of the windows of a kind.
    pub(super) fn mean(&self, kind: usize) -> &[f32] {
        let size = self.directions.len();
        &self.means[kind * size..][..size]
    }

    /// Forward, the loss, and back, as part of a minibatch of `n_rows`.
    pub(super) fn compute(&mut self, tower: &Tower, transposed: &Transposed, n_rows: usize) {
        self.forward(tower);
        self.loss(tower, n_rows);
        self.backward(tower, transposed);
    }

    /// Leaves the user vectors where their gradient belongs.
    fn forward(&mut self, tower: &Tower) {
        let (n, width, rows) = (tower.n_dims, tower.width, self.rewards.len());
        self.mixed.resize(rows * width, 0.0);
        for kind in 0..N_WINDOWS {
            let [weight, bias, mix] = [0, 1, 2].map(|k| &tower.tensors[PER_WINDOW * kind + k]);
            self.hidden[kind].resize(rows * width, 0.0);
            let mean = &self.means[kind * rows * n..][..rows * n];
            product(mean, weight, Init::Bias(bias), width, &mut self.hidden[kind]);
            relu(&mut self.hidden[kind]);
            let init = if kind == 0 { Init::Bias(&tower.tensors[MIX_BIAS]) } else { Init::Accumulate };
            product(&self.hidden[kind], mix, init, width, &mut self.mixed);
        }
        relu(&mut self.mixed);
        self.at_user.resize(rows * n, 0.0);
        let user_bias = Init::Bias(&tower.tensors[USER + 1]);
        product(&self.mixed, &tower.tensors[USER], user_bias, n, &mut self.at_user);
    }

    /// Puts the loss's gradient in the place of the user vectors.
    fn loss(&mut self, tower: &Tower, n_rows: usize) {
        let (n, gain, offset) = (tower.n_dims, tower.tensors[GAIN][0], tower.tensors[GAIN + 1][0]);
        self.losses.clear();
        let of_user = self.at_user.chunks_exact_mut(n).zip(self.directions.chunks_exact(n));
        for ((user, direction), &reward) in of_user.zip(&self.rewards) {
            let dot: f32 = user.iter().zip(direction).map(|(u, d)| u * d).sum();
            let z = gain * dot + offset;
            let expected = z.min(LARGEST_LOG_REWARD).exp();
            // Beyond the limit the exponential is a constant.
            let slope = if z <= LARGEST_LOG_REWARD { expected } else { 0.0 };
            let at_z = (slope - reward) / n_rows as f32;
            self.losses.push(RowLoss { loss: expected - reward * z, at_z, dot });
            for (user, direction) in user.iter_mut().zip(direction) {
                *user = at_z * gain * direction;
            }
        }
    }

    fn backward(&mut self, tower: &Tower, transposed: &Transposed) {
        let n_hidden = self.mixed.len();
        self.at_mixed.resize(n_hidden, 0.0);
        inputs(&self.at_user, &transposed.user, (tower.width, &self.mixed), &mut self.at_mixed);
        for (kind, mix) in transposed.mix.iter().enumerate() {
            let out = &mut self.at_hidden[kind];
            out.resize(n_hidden, 0.0);
            inputs(&self.at_mixed, mix, (tower.width, &self.hidden[kind]), out);
        }
    }
}

/// The gradient at a layer's I inputs `[C, I]`, before the ReLU they came out of: g Wᵀ where the input is positive.
fn inputs(gradient: &[f32], transposed: &[f32], (n_in, activations): (usize, &[f32]), out: &mut [f32]) {
    product(gradient, transposed, Init::Zero, n_in, out);
    // Chosen, not branched to: half of the activations are zero, in no order that a CPU could foresee.
    for (gradient, &activation) in out.iter_mut().zip(activations) {
        *gradient = if activation <= 0.0 { 0.0 } else { *gradient };
    }
}
