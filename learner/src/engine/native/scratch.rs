//! Working memory of a part of a batch, and the passes that fill it. In: a chunk of the part; out: states, actions.

use std::ops::Range;

use super::{
    encoder, heads, mapping,
    network::{Network, Trained},
    plan::Plan,
    window::{CHUNK, Window, Windows, chunks},
};

/// Working memory of a part of a batch: a chunk's, and what is kept of all b of its rows. One thread at a time.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The part's chunks of the batch.
    pub chunks: Range<usize>,
    /// The part's rows of the batch.
    pub rows: Range<usize>,
    /// What the part adds to the gradient of the network that moves.
    pub gradient: Vec<f32>,
    /// `[H]` what the part adds to the loss.
    pub loss: Vec<f64>,
    /// Saturated numbers of the part's actions.
    pub saturated: usize,
    /// Of the mapping.
    pub mapping: mapping::Scratch,
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
    /// `[b, H n]` actions of the targets, of all rows.
    pub next_action: Vec<f32>,
    /// `[b, H n]` gradient of the actions, then of the pre-activations.
    pub d_action: Vec<f32>,
    /// `[b]` values of a head.
    pub q: Vec<f32>,
    /// `[b]` slope of their activation.
    pub slope: Vec<f32>,
    /// `[b]` their gradient.
    pub d_q: Vec<f32>,
    /// `[H, b]` targets.
    pub y: Vec<f32>,
    /// `[H, b]` values before the step.
    pub first_q: Vec<f32>,
    /// `[b, D]` the critic's states at the actor's step.
    pub critic_state: Vec<f32>,
}

impl Scratch {
    /// Memory for chunks, and for gradients of networks of at most so many parameters; that for batches grows when they come.
    pub fn new(plan: &Plan, n_parameters: usize) -> Self {
        let rows = |columns: usize| vec![0.0; CHUNK * columns];
        let actions = || rows(plan.actions());
        Self {
            gradient: vec![0.0; n_parameters],
            loss: vec![0.0; plan.heads],
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

    /// Takes over a part of a batch of so many rows.
    pub fn begin(&mut self, plan: &Plan, n_rows: usize, of_part: Range<usize>) {
        let first = |chunk: usize| chunks(n_rows).nth(chunk).map_or(n_rows, |rows| rows.start);
        (self.rows, self.chunks) = (first(of_part.start)..first(of_part.end), of_part);
        let n_rows = self.rows.len();
        self.y.resize(plan.heads * n_rows, 0.0);
        self.next_action.resize(plan.actions() * n_rows, 0.0);
        self.first_q.resize(plan.heads * n_rows, 0.0);
        self.critic_state.resize(n_rows * plan.d, 0.0);
    }

    /// The part's chunks of a batch of so many rows, with their windows.
    pub fn chunks_of<'a>(
        &self,
        n_rows: usize,
        windows: &'a Windows,
    ) -> impl Iterator<Item = (Range<usize>, &'a [Window])> + use<'a> {
        let Range { start, end } = self.chunks;
        chunks(n_rows).zip(windows.chunks()).skip(start).take(end - start)
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
    pub fn encoder_backward(&mut self, plan: &Plan, network: &Trained, windows: &[Window]) {
        let back = network.back(&mut self.gradient);
        encoder::backward(plan, back, windows, &mut self.encoder, &self.d_s);
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
