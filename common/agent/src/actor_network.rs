//! An actor (Eqs 4, 7): B tanh(W_i s + b_i) for each head i. In: states `[R, S]`; out: `[R, heads, n]`.

use common::config::ModelConfig;
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, math, transpose};

use crate::{encoder::Encoder, layout::Network, weights::NetworkWeights};

pub(crate) struct ActorNetwork {
    pub(crate) network: Network,
    pub(crate) encoder: Encoder,
    state_size: usize,
    /// heads n
    width: usize,
    bound: f32,
    /// `[S, heads n]`: the heads side by side, so that one product serves them all.
    weight: Vec<f32>,
    /// `[heads n]`
    bias: Vec<f32>,
}

impl ActorNetwork {
    pub(crate) fn new(network: Network, weights: NetworkWeights<'_>, model: &ModelConfig) -> Self {
        let state_size = network.state_size(model);
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for i in 0..network.n_heads(model) {
            weight.extend_from_slice(weights.get(&format!("heads.{i}.weight")));
            bias.extend_from_slice(weights.get(&format!("heads.{i}.bias")));
        }
        Self {
            network,
            encoder: Encoder::new(network, weights, model),
            state_size,
            width: bias.len(),
            bound: model.bound,
            weight: transpose(&weight, state_size),
            bias,
        }
    }

    /// `[heads n]` of each state, strictly inside (-B, B).
    pub(crate) fn heads(&self, level: Level, states: &[f32], out: &mut [f32]) {
        let (n_rows, width) = (states.len() / self.state_size, self.width);
        let (a, b) = (Strided::rows(states, self.state_size), RowMajor { data: &self.weight, stride: width });
        let c = RowMajorMut { data: out, stride: width };
        gemm(level, (n_rows, width, self.state_size), a, b, c, Init::Bias(&self.bias));
        math::bounded_tanh(level, self.bound, out);
    }
}
