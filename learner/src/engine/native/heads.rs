//! Actors and critics on the state of a chunk of rows (Eqs 4, 5, 7, 8), forward and backward. In: states `[B, D]`; out:
//! actions `[B, H n]`, values `[B]` a head, gradients.
//!
//! One head at a time: head i sees action i only.

use common::config::{CriticAction, CriticOutput};
use kernels::{Init, RowMajor, RowMajorMut, Strided, critic, gemm, reduce, row_stride};

use super::{
    affinity,
    network::{Back, Network, Trained},
    plan::Plan,
    window::{CHUNK, Window},
};
use crate::algorithm::settings::{DIRECTION_LENGTH, NORM_EPSILON};

/// Working memory of a critic's head.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[B, k]` the hidden layer; on the way back its gradient.
    hidden: Vec<f32>,
    /// `[B, k]` the hidden layer before its ReLU, where it is normalised.
    normalised: Vec<f32>,
    /// `[B]` what it was divided by, inverted.
    inverse_deviation: Vec<f32>,
    affinity: affinity::Scratch,
}

/// What a critic's head reads of some rows.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[B, D]`
    pub state: &'a [f32],
    /// `[B, H n]` in the form that critics see.
    pub action: &'a [f32],
    /// Those that the state was made of.
    pub windows: &'a [Window],
}

impl Scratch {
    /// Memory for chunks of a level's critics.
    pub fn new(plan: &Plan) -> Self {
        let layer = vec![0.0; CHUNK * row_stride(plan.k)];
        Self {
            normalised: if plan.norm { layer.clone() } else { Vec::new() },
            inverse_deviation: vec![0.0; CHUNK],
            affinity: affinity::Scratch::new(plan),
            hidden: layer,
        }
    }
}

fn to(data: &mut [f32], stride: usize) -> RowMajorMut<'_> {
    RowMajorMut { data, stride }
}

/// `W_i s + b_i` of a head for the rows of `state` `[B, D]`, into its columns of `u` `[B, H n]`.
pub fn pre_activation(
    plan: &Plan,
    actor: &Network,
    head: usize,
    n_rows: usize,
    state: &[f32],
    u: &mut [f32],
) {
    let Plan { n, d, .. } = *plan;
    let places = &actor.places().actor[head];
    let b = RowMajor { data: actor.part(&places.weight), stride: n };
    let bias = Init::Bias(actor.part(&places.bias));
    gemm(
        plan.level,
        (n_rows, n, d),
        Strided::rows(state, d),
        b,
        to(&mut u[head * n..], plan.actions()),
        bias,
    );
}

/// The way back of a head from the gradient of its pre-activations, its columns of `d_u` `[B, H n]`: adds to the actor's
/// gradient and to `d_s` `[B, w]`.
pub fn actor_backward(
    plan: &Plan,
    actor: Back<'_>,
    head: usize,
    state: &[f32],
    d_u: &[f32],
    d_s: &mut [f32],
) {
    let Plan { level, n, w, d, .. } = *plan;
    let (places, n_rows) = (&actor.network.places().actor[head], d_s.len() / w);
    let d_u = &d_u[head * n..];
    let rows = RowMajor { data: d_u, stride: plan.actions() };
    let c = to(&mut actor.gradient[places.weight.clone()], n);
    gemm(level, (d, n, n_rows), Strided::transposed(state, d), rows, c, Init::Accumulate);
    reduce::add_column_sums(level, (n_rows, n), rows, &mut actor.gradient[places.bias.clone()]);
    // The features behind s are constants.
    let weight = RowMajor { data: &actor.turned[places.weight.clone()], stride: d };
    gemm(level, (n_rows, w, n), Strided::rows(d_u, plan.actions()), weight, to(d_s, w), Init::Accumulate);
}

/// Values `[B]` of a critic's head before the output's activation.
pub fn value(
    plan: &Plan,
    critic: &Network,
    head: usize,
    Inputs { state, action, windows }: Inputs<'_>,
    scratch: &mut Scratch,
    q: &mut [f32],
) {
    let Plan { level, n, d, k, .. } = *plan;
    let (places, n_rows) = (&critic.places().critic[head], q.len());
    let stride = row_stride(k);
    let hidden = &mut scratch.hidden;
    let b = RowMajor { data: critic.part(&places.state), stride: k };
    let bias = Init::Bias(critic.part(&places.bias));
    gemm(level, (n_rows, k, d), Strided::rows(state, d), b, to(hidden, stride), bias);
    let a = Strided::rows(&action[head * n..], plan.actions());
    let b = RowMajor { data: critic.part(&places.action), stride: k };
    gemm(level, (n_rows, k, n), a, b, to(hidden, stride), Init::Accumulate);
    if let Some(places) = &places.affinity {
        let (affinity, width) = (&mut scratch.affinity, affinity::n_features(plan));
        affinity::forward(plan, critic, places, (n_rows, action, windows), affinity);
        let a = Strided::rows(&affinity.features, width);
        let b = RowMajor { data: critic.part(&places.weight), stride: k };
        gemm(level, (n_rows, k, width), a, b, to(hidden, stride), Init::Accumulate);
    }
    if plan.norm {
        let deviation = &mut scratch.inverse_deviation[..n_rows];
        critic::normalise(level, k, NORM_EPSILON as f32, to(hidden, stride), deviation);
        scratch.normalised.copy_from_slice(hidden);
    }
    // Eqs 5, 8: v_i = ReLU(W1_i s + W2_i g^i + b_i)
    critic::output(level, to(hidden, stride), critic.part(&places.out), q);
    let out_bias = critic.part(&places.out_bias)[0];
    q.iter_mut().for_each(|q| *q += out_bias);
}

/// The output's activation, in place, and its slope: q `[B]` to q `[B]`, `slope` `[B]`.
pub fn output(form: CriticOutput, q: &mut [f32], slope: &mut [f32]) {
    /// Beyond, softplus is the identity, as in PyTorch.
    const LINEAR: f32 = 20.0;
    const TANGENT: f32 = CriticOutput::TANGENT;
    for (q, slope) in q.iter_mut().zip(slope) {
        (*q, *slope) = match form {
            // Eqs 5, 8: q_i = ReLU(w_i v_i + b'_i); NaN stays NaN
            CriticOutput::Relu if *q <= 0.0 => (0.0, 0.0),
            CriticOutput::Exponential if *q <= TANGENT => (q.exp(), q.exp()),
            CriticOutput::Exponential => (TANGENT.exp() * (1.0 + *q - TANGENT), TANGENT.exp()),
            CriticOutput::Softplus if *q <= LINEAR => (q.exp().ln_1p(), 1.0 / (1.0 + (-*q).exp())),
            _ => (*q, 1.0),
        };
    }
}

/// From the gradient of a head's values `[B]` to that of its hidden layer, in `scratch`.
fn hidden_backward(plan: &Plan, out: &[f32], d_q: &[f32], scratch: &mut Scratch, d_out: Option<&mut [f32]>) {
    let (k, stride, n_rows) = (plan.k, row_stride(plan.k), d_q.len());
    critic::output_backward(plan.level, to(&mut scratch.hidden, stride), d_q, out, d_out);
    if plan.norm {
        let normalised = RowMajor { data: &scratch.normalised, stride };
        let deviation = &scratch.inverse_deviation[..n_rows];
        let gradient = to(&mut scratch.hidden, stride);
        critic::normalise_backward(plan.level, k, normalised, deviation, gradient);
    }
}

/// The way back of a critic's head right after [`value`], from the gradient of its values before the output's
/// activation, `d_q` `[B]`: adds to the critic's gradient and to `d_s` `[B, w]`.
pub fn critic_backward(
    plan: &Plan,
    critic: Back<'_>,
    (head, d_q): (usize, &[f32]),
    Inputs { state, action, windows }: Inputs<'_>,
    scratch: &mut Scratch,
    d_s: &mut [f32],
) {
    let Plan { level, n, w, d, k, .. } = *plan;
    let (stride, n_rows) = (row_stride(k), d_q.len());
    let Back { network, turned, gradient } = critic;
    let places = &network.places().critic[head];
    let d_out = &mut gradient[places.out.clone()];
    hidden_backward(plan, network.part(&places.out), d_q, scratch, Some(d_out));
    gradient[places.out_bias.start] += d_q.iter().sum::<f32>();
    let rows = RowMajor { data: &scratch.hidden, stride };
    let c = to(&mut gradient[places.state.clone()], k);
    gemm(level, (d, k, n_rows), Strided::transposed(state, d), rows, c, Init::Accumulate);
    reduce::add_column_sums(level, (n_rows, k), rows, &mut gradient[places.bias.clone()]);
    let a = Strided::transposed(&action[head * n..], plan.actions());
    let c = to(&mut gradient[places.action.clone()], k);
    gemm(level, (n, k, n_rows), a, rows, c, Init::Accumulate);
    // The features behind s are constants.
    let weight = RowMajor { data: &turned[places.state.clone()], stride: d };
    gemm(level, (n_rows, w, k), Strided::rows(&scratch.hidden, stride), weight, to(d_s, w), Init::Accumulate);
    if let Some(places) = &places.affinity {
        let Scratch { hidden, affinity, .. } = scratch;
        let width = affinity::n_features(plan);
        let a = Strided::transposed(&affinity.features, width);
        let rows = RowMajor { data: hidden, stride };
        let c = to(&mut gradient[places.weight.clone()], k);
        gemm(level, (width, k, n_rows), a, rows, c, Init::Accumulate);
        features_backward(plan, &turned[places.weight.clone()], n_rows, hidden, affinity);
        let critic = Back { network, turned, gradient };
        affinity::backward(plan, critic, places, (n_rows, action, windows), affinity);
    }
}

/// From the gradient of the hidden layer `[B, k]` to that of the affinity's features. `weight` is `[k, 4 windows]`.
fn features_backward(
    plan: &Plan,
    weight: &[f32],
    n_rows: usize,
    hidden: &[f32],
    affinity: &mut affinity::Scratch,
) {
    let width = affinity::n_features(plan);
    let b = RowMajor { data: weight, stride: width };
    let c = to(&mut affinity.d_features, width);
    gemm(plan.level, (n_rows, width, plan.k), Strided::rows(hidden, row_stride(plan.k)), b, c, Init::Zero);
}

/// The way back through a frozen critic's head right after [`value`], from the gradient of its values before the
/// output's activation, `d_q` `[B]`, to that of its action, its columns of `d_action` `[B, H n]`.
pub fn action_backward(
    plan: &Plan,
    critic: &Trained,
    (head, windows): (usize, &[Window]),
    d_q: &[f32],
    scratch: &mut Scratch,
    d_action: &mut [f32],
) {
    let Plan { n, k, .. } = *plan;
    let places = &critic.network().places().critic[head];
    hidden_backward(plan, critic.network().part(&places.out), d_q, scratch, None);
    let weight = RowMajor { data: critic.turned(&places.action), stride: n };
    let a = Strided::rows(&scratch.hidden, row_stride(k));
    let c = to(&mut d_action[head * n..], plan.actions());
    gemm(plan.level, (d_q.len(), n, k), a, weight, c, Init::Zero);
    if let Some(places) = &places.affinity {
        let Scratch { hidden, affinity, .. } = scratch;
        features_backward(plan, critic.turned(&places.weight), d_q.len(), hidden, affinity);
        affinity::action_backward(plan, critic, places, (d_q.len(), windows), affinity, d_action);
    }
}

/// The form in which critics see actions, row after row of n numbers, in place (D8).
pub fn see(form: CriticAction, n: usize, action: &mut [f32]) {
    if form == CriticAction::Direction {
        for row in action.chunks_exact_mut(n) {
            let factor = DIRECTION_LENGTH as f32 / length(row);
            row.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

/// The way back through [`see`] for one row: from the gradient of `seen` to that of `action`, in place.
pub fn see_backward(form: CriticAction, action: &[f32], seen: &[f32], gradient: &mut [f32]) {
    if form == CriticAction::Direction {
        let factor = DIRECTION_LENGTH as f32 / length(action);
        let squared = (DIRECTION_LENGTH * DIRECTION_LENGTH) as f32;
        // What points along the action changes its length only.
        let along = seen.iter().zip(&*gradient).map(|(x, d)| x * d).sum::<f32>() / squared;
        for (d, x) in gradient.iter_mut().zip(seen) {
            *d = factor * (*d - along * x);
        }
    }
}

fn length(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12)
}
