//! A critic (Eqs 5, 8): v_i = ReLU(W1_i s + W2_i a_i + b_i), q_i = f(w_i . v_i + b'_i), f by `critic_output`.
//! A critic with an affinity adds `W3 f` to its hidden layer ([`crate::affinity`]).
//!
//! With `head_norm` the numbers of v_i have mean 0 and variance 1 before the ReLU.
//!
//! In: states `[R, S]`, an action for each head `[R, heads, n]`; out: q `[R, heads]`. Head i sees only action i.

use common::{
    ItemId, ItemTable,
    config::{CriticAction, CriticOutput, ModelConfig},
};
use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm, search, transpose};

use crate::{affinity::Affinity, encoder::Encoder, layout::Network, weights::NetworkWeights};

/// Length a critic sees under `critic_action = direction`: that of a typical item (D8).
const DIRECTION_LENGTH: f32 = 7.0;

/// Items whose hidden layers are computed together, so that they are read again from the nearest cache.
const VALUED_AT_ONCE: usize = 32;

/// Added to the variance of a normalised layer.
const NORM_EPSILON: f64 = 1e-5;

/// Gives the numbers of a head's hidden layer mean 0 and variance 1 (D24).
fn normalise(hidden: &mut [f32]) {
    let n = hidden.len() as f64;
    let mean = hidden.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = hidden.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + NORM_EPSILON).sqrt();
    hidden.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
}

pub(crate) struct CriticNetwork {
    pub(crate) network: Network,
    pub(crate) encoder: Encoder,
    /// D30
    pub(crate) affinity: Option<Affinity>,
    n_dims: usize,
    state_size: usize,
    head_width: usize,
    output: CriticOutput,
    action: CriticAction,
    norm: bool,
    /// `[S, heads k]`, the heads side by side.
    state_weight: Vec<f32>,
    /// `[heads k]`
    state_bias: Vec<f32>,
    /// Of each head `[n, k]`.
    action_weight: Vec<Vec<f32>>,
    /// `[heads, k]`
    out_weight: Vec<f32>,
    /// `[heads]`
    out_bias: Vec<f32>,
}

impl CriticNetwork {
    pub(crate) fn new(network: Network, weights: NetworkWeights<'_>, model: &ModelConfig) -> Self {
        let n_heads = network.n_heads(model);
        let state_size = network.state_size(model);
        let join = |part: &str| -> Vec<f32> {
            (0..n_heads).flat_map(|i| weights.get(&format!("heads.{i}.{part}"))).copied().collect()
        };
        Self {
            network,
            encoder: Encoder::new(network, weights, model),
            affinity: Affinity::new(network, weights, model),
            n_dims: model.n_dims,
            state_size,
            head_width: model.head_width,
            output: model.critic_output,
            action: model.critic_action,
            norm: model.head_norm,
            state_weight: transpose(&join("state.weight"), state_size),
            state_bias: join("state.bias"),
            action_weight: (0..n_heads)
                .map(|i| transpose(weights.get(&format!("heads.{i}.action.weight")), model.n_dims))
                .collect(),
            out_weight: join("out.weight"),
            out_bias: join("out.bias"),
        }
    }

    /// Number of heads.
    pub(crate) fn n_heads(&self) -> usize {
        self.out_bias.len()
    }

    /// Width of the hidden layer of all heads.
    pub(crate) fn hidden_width(&self) -> usize {
        self.state_bias.len()
    }

    /// Turns actions `[R, heads, n]` into what the heads see. A zero vector stays zero.
    pub(crate) fn see(&self, actions: &mut [f32]) {
        if self.action == CriticAction::Raw {
            return;
        }
        for action in actions.chunks_exact_mut(self.n_dims) {
            let norm = action.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 {
                let factor = f64::from(DIRECTION_LENGTH) / norm;
                action.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
            }
        }
    }

    /// q of head i of row r into `q(r, i)`. `affinity` is f `[R, 4 windows]`, read by a critic that has it, which has one head.
    /// `hidden` is `[R, heads k]` working memory.
    pub(crate) fn heads(
        &self,
        level: Level,
        (states, actions): (&[f32], &[f32]),
        affinity: Strided<'_>,
        hidden: &mut [f32],
        mut q: impl FnMut(usize, usize, f32),
    ) {
        let (n, k) = (self.n_dims, self.head_width);
        let (n_rows, n_heads, width) = (states.len() / self.state_size, self.n_heads(), self.hidden_width());
        let (a, b) =
            (Strided::rows(states, self.state_size), RowMajor { data: &self.state_weight, stride: width });
        let c = RowMajorMut { data: &mut *hidden, stride: width };
        gemm(level, (n_rows, width, self.state_size), a, b, c, Init::Bias(&self.state_bias));
        for (i, weight) in self.action_weight.iter().enumerate() {
            // With no rows there is nothing to read or write.
            let a = Strided::rows(actions.get(i * n..).unwrap_or_default(), n_heads * n);
            let data = hidden.get_mut(i * k..).unwrap_or_default();
            let c = RowMajorMut { data, stride: width };
            gemm(level, (n_rows, k, n), a, RowMajor { data: weight, stride: k }, c, Init::Accumulate);
        }
        if let Some(of_critic) = &self.affinity {
            of_critic.hidden(level, affinity, Init::Accumulate, hidden);
        }
        if self.norm {
            hidden.chunks_exact_mut(k).for_each(normalise);
        }
        for (row, hidden) in hidden.chunks_exact(width).enumerate() {
            for (i, (hidden, weight)) in
                hidden.chunks_exact(k).zip(self.out_weight.chunks_exact(k)).enumerate()
            {
                let value = search::relu_dot(level, hidden, weight) + self.out_bias[i];
                q(row, i, self.squash(value));
            }
        }
    }

    /// `W2_0 a` of every item, `[items, k]`: what an item brings to the hidden layer of the first head, whatever the state.
    pub(crate) fn project(&self, level: Level, items: &ItemTable) -> Vec<f32> {
        let (n, k, n_items) = (self.n_dims, self.head_width, items.n_items());
        let mut seen: Vec<f32> =
            (0..n_items as u32).flat_map(|item| items.embedding(ItemId(item))).copied().collect();
        self.see(&mut seen);
        let mut projected = vec![0.0; n_items * k];
        let b = RowMajor { data: &self.action_weight[0], stride: k };
        let c = RowMajorMut { data: &mut projected, stride: k };
        gemm(level, (n_items, k, n), Strided::rows(&seen, n), b, c, Init::Zero);
        projected
    }

    /// `W1_0 s + b_0` of one state `[S]`: its part of the first head's hidden layer, `[k]`.
    pub(crate) fn state_part(&self, level: Level, state: &[f32], part: &mut [f32]) {
        let a = Strided::rows(state, self.state_size);
        let b = RowMajor { data: &self.state_weight, stride: self.hidden_width() };
        let c = RowMajorMut { data: &mut *part, stride: self.head_width };
        let bias = Init::Bias(&self.state_bias[..self.head_width]);
        gemm(level, (1, self.head_width, self.state_size), a, b, c, bias);
    }

    /// q `[C]` of the first head for items of a table that [`Self::project`] made, in the state of a [`Self::state_part`].
    /// Rounds otherwise than [`Self::heads`]; for critics without `head_norm`.
    pub(crate) fn values_of(
        &self,
        level: Level,
        (projected, items): (&[f32], &[ItemId]),
        state_part: &[f32],
        q: &mut [f32],
    ) {
        let (rows, weights) = (bytemuck::cast_slice(items), &self.out_weight[..self.head_width]);
        search::relu_dot_rows(level, projected, rows, (state_part, weights), q);
        q.iter_mut().for_each(|q| *q = self.squash(*q + self.out_bias[0]));
    }

    /// The same with f `[C, 4 windows]` of the items. `hidden` is working memory [`Self::block_size`].
    pub(crate) fn values_by_affinity(
        &self,
        level: Level,
        (projected, items): (&[f32], &[ItemId]),
        (state_part, (affinity, features)): (&[f32], (&Affinity, Strided<'_>)),
        hidden: &mut [f32],
        q: &mut [f32],
    ) {
        let k = self.head_width;
        let weights = &self.out_weight[..k];
        let blocks = items.chunks(VALUED_AT_ONCE).zip(q.chunks_mut(VALUED_AT_ONCE));
        for (block, (items, q)) in blocks.enumerate() {
            let data = &features.data[block * VALUED_AT_ONCE * features.row_stride..];
            let hidden = &mut hidden[..items.len() * k];
            affinity.hidden(level, Strided { data, ..features }, Init::Bias(state_part), hidden);
            search::relu_dot_rows(level, projected, bytemuck::cast_slice(items), (hidden, weights), q);
            q.iter_mut().for_each(|q| *q = self.squash(*q + self.out_bias[0]));
        }
    }

    /// Numbers of working memory of [`Self::values_by_affinity`].
    pub(crate) fn block_size(&self) -> usize {
        VALUED_AT_ONCE * self.head_width
    }

    /// Whether hidden layers are normalised, so that they are no sum of a state's part and an item's.
    pub(crate) fn is_normalised(&self) -> bool {
        self.norm
    }

    fn squash(&self, x: f32) -> f32 {
        match self.output {
            // In this form NaN stays NaN.
            CriticOutput::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            // ln(1 + e^x) without overflow.
            CriticOutput::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            CriticOutput::Linear => x,
            CriticOutput::Exponential => {
                let tangent = CriticOutput::TANGENT;
                if x > tangent { tangent.exp() * (1.0 + x - tangent) } else { x.exp() }
            }
        }
    }
}
