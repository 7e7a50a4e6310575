//! The Poisson loss of a tower on a minibatch, and its gradient, by hand.
//!
//! In: window means `[3, B, n]`, directions of the shown items `[B, n]`, rewards `[B]`; out: the mean loss, and its
//! gradient in the order of [`super::tower::NAMES`]. The formulas are those of [`super::tower`]; buffers are kept from one
//! minibatch to the next.

use common::history::N_WINDOWS;
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, transpose};

use super::tower::{GAIN, MIX_BIAS, N_TENSORS, PER_WINDOW, Tower, USER, product, relu};

/// Largest z whose exponential enters the loss: a predicted reward of 20, four orders at once.
const LARGEST_LOG_REWARD: f32 = 3.0;

/// What a minibatch is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minibatch<'a> {
    /// `[3, B, n]`.
    pub(super) means: &'a [f32],
    /// `[B, n]`, unit vectors.
    pub(super) directions: &'a [f32],
    /// `[B]`.
    pub(super) rewards: &'a [f32],
}

/// The gradient of the last minibatch, and what was computed on the way.
#[derive(Debug, Default)]
pub(super) struct Gradient {
    /// In the order and the shapes of the tower's tensors.
    pub(super) tensors: [Vec<f32>; N_TENSORS],
    /// h_k `[B, H]`.
    hidden: [Vec<f32>; N_WINDOWS],
    /// m `[B, H]`.
    mixed: Vec<f32>,
    /// user `[B, n]`, then the loss's gradient there.
    user: Vec<f32>,
    /// The gradient at m, before its ReLU `[B, H]`.
    at_mixed: Vec<f32>,
    /// The gradient at h_k, before its ReLU `[B, H]`.
    at_hidden: Vec<f32>,
}

impl Gradient {
    /// Computes the gradient of the mean of `exp(z) - r z` over the rows, and returns that mean.
    pub(super) fn compute(&mut self, tower: &Tower, batch: Minibatch<'_>) -> f64 {
        let loss = self.forward(tower, batch);
        self.backward(tower, batch);
        loss
    }

    /// Leaves the loss's gradient at the user vectors, at the gain and at the offset.
    fn forward(&mut self, tower: &Tower, batch: Minibatch<'_>) -> f64 {
        let (n, width, rows) = (tower.n_dims, tower.width, batch.rewards.len());
        self.mixed.clear();
        for _ in 0..rows {
            self.mixed.extend_from_slice(&tower.tensors[MIX_BIAS]);
        }
        for (kind, mean) in batch.means.chunks_exact(rows * n).enumerate() {
            let [weight, bias, mix] = [0, 1, 2].map(|k| &tower.tensors[PER_WINDOW * kind + k]);
            let hidden = &mut self.hidden[kind];
            hidden.resize(rows * width, 0.0);
            product(mean, weight, Init::Bias(bias), width, hidden);
            relu(hidden);
            product(hidden, mix, Init::Accumulate, width, &mut self.mixed);
        }
        relu(&mut self.mixed);
        self.user.resize(rows * n, 0.0);
        let user_bias = Init::Bias(&tower.tensors[USER + 1]);
        product(&self.mixed, &tower.tensors[USER], user_bias, n, &mut self.user);

        let (gain, offset) = (tower.tensors[GAIN][0], tower.tensors[GAIN + 1][0]);
        let (mut loss, mut at_gain, mut at_offset) = (0.0_f64, 0.0, 0.0);
        let of_user = self.user.chunks_exact_mut(n).zip(batch.directions.chunks_exact(n));
        for ((user, direction), &reward) in of_user.zip(batch.rewards) {
            let dot: f32 = user.iter().zip(direction).map(|(u, d)| u * d).sum();
            let z = gain * dot + offset;
            let expected = z.min(LARGEST_LOG_REWARD).exp();
            loss += f64::from(expected - reward * z);
            // Beyond the limit the exponential is a constant.
            let slope = if z <= LARGEST_LOG_REWARD { expected } else { 0.0 };
            let at_z = (slope - reward) / rows as f32;
            at_gain += at_z * dot;
            at_offset += at_z;
            for (user, direction) in user.iter_mut().zip(direction) {
                *user = at_z * gain * direction;
            }
        }
        self.tensors[GAIN] = vec![at_gain];
        self.tensors[GAIN + 1] = vec![at_offset];
        loss / rows as f64
    }

    fn backward(&mut self, tower: &Tower, batch: Minibatch<'_>) {
        let (n, width, rows) = (tower.n_dims, tower.width, batch.rewards.len());
        weights(&self.mixed, &self.user, (width, n), &mut self.tensors[USER]);
        column_sums(&self.user, n, &mut self.tensors[USER + 1]);
        inputs(&self.user, &tower.tensors[USER], (width, n), &self.mixed, &mut self.at_mixed);
        column_sums(&self.at_mixed, width, &mut self.tensors[MIX_BIAS]);
        for (kind, mean) in batch.means.chunks_exact(rows * n).enumerate() {
            let first = PER_WINDOW * kind;
            let hidden = &self.hidden[kind];
            weights(hidden, &self.at_mixed, (width, width), &mut self.tensors[first + 2]);
            let mix = &tower.tensors[first + 2];
            inputs(&self.at_mixed, mix, (width, width), hidden, &mut self.at_hidden);
            column_sums(&self.at_hidden, width, &mut self.tensors[first + 1]);
            weights(mean, &self.at_hidden, (n, width), &mut self.tensors[first]);
        }
    }
}

/// The gradient at a weight `[I, O]`: xᵀ g, of inputs x `[B, I]` and the gradient g `[B, O]` at the outputs.
fn weights(x: &[f32], gradient: &[f32], (n_in, n_out): (usize, usize), out: &mut Vec<f32>) {
    out.resize(n_in * n_out, 0.0);
    let size = (n_in, n_out, x.len() / n_in);
    let gradient = RowMajor { data: gradient, stride: n_out };
    let out = RowMajorMut { data: out, stride: n_out };
    gemm(Level::best(), size, Strided::transposed(x, n_in), gradient, out, Init::Zero);
}

/// The gradient at a layer's inputs `[B, I]`, before the ReLU they came out of: g Wᵀ where the input is positive.
fn inputs(
    gradient: &[f32],
    weight: &[f32],
    (n_in, n_out): (usize, usize),
    activations: &[f32],
    out: &mut Vec<f32>,
) {
    out.resize(gradient.len() / n_out * n_in, 0.0);
    product(gradient, &transpose(weight, n_out), Init::Zero, n_in, out);
    for (gradient, &activation) in out.iter_mut().zip(activations) {
        if activation <= 0.0 {
            *gradient = 0.0;
        }
    }
}

/// Sums over the rows: the gradient at a bias `[O]`.
fn column_sums(gradient: &[f32], n_out: usize, out: &mut Vec<f32>) {
    out.clear();
    out.resize(n_out, 0.0);
    for row in gradient.chunks_exact(n_out) {
        out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    const N: usize = 5;
    const ROWS: usize = 4;

    struct Case {
        tower: Tower,
        means: Vec<f32>,
        directions: Vec<f32>,
        rewards: Vec<f32>,
    }

    impl Case {
        fn new() -> Self {
            Self {
                tower: Tower::new(N, 7, &Streams::new(1, "test"), 0),
                means: (0..3 * ROWS * N).map(|i| ((i * 37 % 19) as f32 - 9.0) / 5.0).collect(),
                directions: (0..ROWS * N).map(|i| ((i * 23 % 11) as f32 - 5.0) / 8.0).collect(),
                rewards: vec![0.0, 1.0, 5.0, 0.0],
            }
        }

        fn batch(&self) -> Minibatch<'_> {
            Minibatch { means: &self.means, directions: &self.directions, rewards: &self.rewards }
        }

        /// The loss as [`super::super::tower`] prints it, in f64, with one number of a tensor moved.
        fn loss(&self, (tensor, index): (usize, usize), by: f64) -> f64 {
            let mut tower: Vec<Vec<f64>> =
                self.tower.tensors.iter().map(|t| t.iter().map(|&x| f64::from(x)).collect()).collect();
            tower[tensor][index] += by;
            let dense = |x: &[f64], weight: &[f64], out: &mut [f64]| {
                let width = out.len();
                for (x, row) in x.iter().zip(weight.chunks_exact(width)) {
                    out.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
                }
            };
            let relu = |x: &mut [f64]| x.iter_mut().for_each(|x| *x = x.max(0.0));
            let losses = (0..ROWS).map(|row| {
                let mut mixed = tower[MIX_BIAS].clone();
                for kind in 0..N_WINDOWS {
                    let mean = &self.means[(kind * ROWS + row) * N..][..N];
                    let mean: Vec<f64> = mean.iter().map(|&x| f64::from(x)).collect();
                    let mut hidden = tower[PER_WINDOW * kind + 1].clone();
                    dense(&mean, &tower[PER_WINDOW * kind], &mut hidden);
                    relu(&mut hidden);
                    dense(&hidden, &tower[PER_WINDOW * kind + 2], &mut mixed);
                }
                relu(&mut mixed);
                let mut user = tower[USER + 1].clone();
                dense(&mixed, &tower[USER], &mut user);
                let direction = &self.directions[row * N..][..N];
                let dot: f64 = user.iter().zip(direction).map(|(u, &d)| u * f64::from(d)).sum();
                let z = tower[GAIN][0] * dot + tower[GAIN + 1][0];
                z.min(3.0).exp() - f64::from(self.rewards[row]) * z
            });
            losses.sum::<f64>() / ROWS as f64
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_printed_loss() {
        let case = Case::new();
        let mut gradient = Gradient::default();
        let loss = gradient.compute(&case.tower, case.batch());
        assert!((loss - case.loss((GAIN, 0), 0.0)).abs() < 1e-5);
        let step = 1e-6;
        for (tensor, values) in gradient.tensors.iter().enumerate() {
            assert_eq!(values.len(), case.tower.tensors[tensor].len());
            for (i, &found) in values.iter().enumerate() {
                let expected = (case.loss((tensor, i), step) - case.loss((tensor, i), -step)) / (2.0 * step);
                assert!(
                    (f64::from(found) - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "tensor {tensor}, {i}: {found}, by differences {expected}"
                );
            }
        }
    }

    #[test]
    fn beyond_the_largest_reward_the_exponential_has_no_slope() {
        let mut case = Case::new();
        case.tower.tensors[GAIN + 1] = vec![50.0];
        let mut gradient = Gradient::default();
        gradient.compute(&case.tower, case.batch());
        let rewards: f32 = case.rewards.iter().sum();
        assert!((gradient.tensors[GAIN + 1][0] + rewards / ROWS as f32).abs() < 1e-6);
    }
}
