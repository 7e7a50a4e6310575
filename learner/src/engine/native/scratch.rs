//! Working memory of a level, and the passes that fill it. In: a chunk of a batch; out: states, actions.

use std::ops::Range;

use super::{
    encoder, heads,
    network::{Network, Trained},
    plan::Plan,
    window::{CHUNK, Window},
};

/// Working memory of a level: a chunk's, and what is kept of the whole batch.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Of the encoders.
    pub encoder: encoder::Scratch,
    /// Of the critics' heads.
    pub head: heads::Scratch,
    /// `[b, D]`
    pub state: Vec<f32>,
    /// `[b, w]` gradient of s.
    pub d_s: Vec<f32>,
    /// `[b, H n]` pre-activations of an actor.
    pub u: Vec<f32>,
    /// `[b, H n]` their tanh.
    pub tanh: Vec<f32>,
    /// `[b, H n]` actions.
    pub action: Vec<f32>,
    /// `[b, H n]` as critics see them.
    pub seen: Vec<f32>,
    /// `[b, H n]` gradient of the actions, then of the pre-activations.
    pub d_action: Vec<f32>,
    /// `[b]` values of a head.
    pub q: Vec<f32>,
    /// `[b]` slope of their activation.
    pub slope: Vec<f32>,
    /// `[b]` their gradient.
    pub d_q: Vec<f32>,
    /// `[H, B]` targets.
    pub y: Vec<f32>,
    /// `[H, B]` values before the step.
    pub first_q: Vec<f32>,
    /// `[B, D]` the critic's states at the actor's step.
    pub critic_state: Vec<f32>,
}

impl Scratch {
    /// Memory for chunks; that for batches grows when they come.
    pub fn new(plan: &Plan) -> Self {
        let rows = |columns: usize| vec![0.0; CHUNK * columns];
        let actions = || rows(plan.actions());
        Self {
            encoder: encoder::Scratch::new(plan),
            head: heads::Scratch::new(plan),
            state: rows(plan.d),
            d_s: rows(plan.w),
            u: actions(),
            tanh: actions(),
            action: actions(),
            seen: actions(),
            d_action: actions(),
            q: rows(1),
            slope: rows(1),
            d_q: rows(1),
            ..Self::default()
        }
    }

    /// The state of a chunk by one network, its features behind s.
    pub fn state(
        &mut self,
        plan: &Plan,
        network: &Network,
        windows: &[Window],
        features: &[f32],
        keep: bool,
    ) {
        encoder::forward(plan, network, windows, keep, &mut self.encoder, &mut self.state);
        join(plan, features, &mut self.state);
    }

    /// An actor's actions of `n_rows` rows in the state, of some heads.
    pub fn act(&mut self, plan: &Plan, actor: &Network, of: Range<usize>, n_rows: usize) {
        for head in of {
            heads::pre_activation(plan, actor, head, n_rows, &self.state, &mut self.u);
        }
        let len = n_rows * plan.actions();
        self.tanh[..len].copy_from_slice(&self.u[..len]);
        kernels::math::tanh(plan.level, &mut self.tanh[..len]);
        for (action, tanh) in self.action[..len].iter_mut().zip(&self.tanh) {
            // Eq 4: g^i = B tanh(W_i s + b_i); Eq 7: a^ = B tanh(W s + b)
            *action = plan.bound * tanh;
        }
    }

    /// The way back of a kept chunk through the encoder of the network that gave the state.
    pub fn encoder_backward(&mut self, plan: &Plan, network: &mut Trained, windows: &[Window]) {
        encoder::backward(plan, network.back(), windows, &mut self.encoder, &self.d_s);
    }
}

/// Puts the features `[b, D - w]` behind s in rows of D numbers.
pub fn join(plan: &Plan, features: &[f32], state: &mut [f32]) {
    let n_features = plan.d - plan.w;
    if n_features > 0 {
        for (row, features) in state.chunks_exact_mut(plan.d).zip(features.chunks_exact(n_features)) {
            row[plan.w..].copy_from_slice(features);
        }
    }
}
