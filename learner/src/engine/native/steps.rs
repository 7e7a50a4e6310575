//! What a level's update does with a part of its batch. In: a decoded batch; out: targets, gradients and losses, added up
//! over the part's rows.

use std::ops::Range;

use common::config::CriticLoss;

use super::{
    batch::Batch,
    encoder,
    heads::{self, Inputs},
    mapping::Mapping,
    network::Trained,
    plan::Plan,
    scratch::{Scratch, join},
    window::Window,
};
use crate::algorithm::settings::LOG_EPSILON;

/// The constants of a level's update.
#[derive(Debug)]
pub struct Constants {
    /// Of a transition of this level.
    pub discount: f32,
    /// Largest gradient norm; 0 is any.
    pub clip: f64,
    /// Weight of the pre-activations beyond +-1 in the actor's loss (D8).
    pub saturation_penalty: f32,
    /// |a^| above it counts as saturated.
    pub saturated: f32,
    /// Of the soft updates.
    pub tau: f32,
    /// What an error of the critics counts.
    pub loss: CriticLoss,
    /// See [`crate::algorithm::groups::steps`].
    pub steps: Vec<(Vec<usize>, Option<usize>)>,
}

/// y `[H, b]` from the target networks (Eqs 14, 17).
pub fn targets(
    plan: &Plan,
    discount: f32,
    (actor, critics): (&Trained, &[Trained]),
    batch: &Batch,
    mapping: Option<&Mapping>,
    scratch: &mut Scratch,
) {
    let (part, actions) = (scratch.rows.clone(), plan.actions());
    for (rows, windows) in scratch.chunks_of(batch.n_rows, &batch.next) {
        let features = plan.features(&batch.next_features, &rows);
        scratch.state(plan, actor.target(), windows, features, false);
        scratch.act(plan, actor.target(), 0..plan.heads, rows.len());
        let Scratch { action, next_action, .. } = &mut *scratch;
        let of_part = (rows.start - part.start) * actions..(rows.end - part.start) * actions;
        let next_action = &mut next_action[of_part];
        next_action.copy_from_slice(&action[..rows.len() * actions]);
        if !batch.noise.is_empty() {
            let noise = &batch.noise[rows.start * actions..];
            for (action, noise) in next_action.iter_mut().zip(noise) {
                *action = (*action + noise).clamp(-plan.bound, plan.bound);
            }
        }
    }
    if let Some(mapping) = mapping {
        // All at once: in a large catalogue they share what they read.
        mapping.map(plan.level, &mut scratch.next_action, &mut scratch.mapping);
    }
    heads::see(plan.critic_action, plan.n, &mut scratch.next_action);
    for (rows, windows) in scratch.chunks_of(batch.n_rows, &batch.next) {
        let features = plan.features(&batch.next_features, &rows);
        for (number, critic) in critics.iter().enumerate() {
            scratch.state(plan, critic.target(), windows, features, false);
            let Scratch { state, next_action, head: memory, q, slope, y, .. } = scratch;
            let action = &next_action[(rows.start - part.start) * actions..];
            let inputs = Inputs { state, action, windows };
            for head in 0..plan.heads {
                let q = &mut q[..rows.len()];
                heads::value(plan, critic.target(), head, inputs, memory, q);
                heads::output(plan.output, q, slope);
                for (y, q) in y[head * part.len() + rows.start - part.start..].iter_mut().zip(q) {
                    // The smaller of two; NaN is not hidden.
                    if number == 0 || *q < *y || q.is_nan() {
                        *y = *q;
                    }
                }
            }
        }
    }
    if !batch.further_discount.is_empty() {
        for y in scratch.y.chunks_exact_mut(part.len().max(1)) {
            let further = &batch.further_discount[part.clone()];
            y.iter_mut().zip(further).for_each(|(y, discount)| *y *= discount);
        }
    }
    let rewards = batch.reward.chunks_exact(batch.n_rows);
    for (y, reward) in scratch.y.chunks_exact_mut(part.len().max(1)).zip(rewards) {
        let of_part = reward[part.clone()].iter().zip(&batch.terminated[part.clone()]);
        for (y, (reward, terminated)) in y.iter_mut().zip(of_part) {
            // Eq 14: y^h_i = r^h_i + gamma Q^h_i(s', pi^h_i(s'; Psi_-); Theta_-); Eq 17: the same at the low level
            *y = reward + (1.0 - terminated) * discount * *y;
        }
    }
}

/// The heads whose losses drive a step.
fn driven(heads: usize, by: Option<usize>) -> Range<usize> {
    by.map_or(0..heads, |head| head..head + 1)
}

/// The gradient of one step of a critic towards y, that of the heads `by` names (Eqs 15, 18), and the errors of those heads
/// in `loss`. The first step also notes all values as they were.
pub fn critic_gradient(
    plan: &Plan,
    form: CriticLoss,
    (step, by): (usize, Option<usize>),
    critic: &Trained,
    batch: &Batch,
    scratch: &mut Scratch,
) {
    let (n_rows, part, actions) = (batch.n_rows, scratch.rows.clone(), plan.actions());
    let (share, driven) = (1.0 / n_rows as f32, driven(plan.heads, by));
    for (rows, windows) in scratch.chunks_of(n_rows, &batch.now) {
        scratch.state(plan, critic.network(), windows, plan.features(&batch.features, &rows), true);
        scratch.d_s.fill(0.0);
        let Scratch { state, head: memory, q, slope, d_q, d_s, y, first_q, gradient, loss, .. } =
            &mut *scratch;
        let inputs = Inputs { state, action: &batch.action[rows.start * actions..], windows };
        for head in if step == 0 { 0..plan.heads } else { driven.clone() } {
            let (q, d_q) = (&mut q[..rows.len()], &mut d_q[..rows.len()]);
            heads::value(plan, critic.network(), head, inputs, memory, q);
            heads::output(plan.output, q, slope);
            let at = head * part.len() + rows.start - part.start;
            if step == 0 {
                first_q[at..][..rows.len()].copy_from_slice(q);
            }
            if !driven.contains(&head) {
                continue;
            }
            let y = &y[at..][..rows.len()];
            for (i, row) in rows.clone().enumerate() {
                let weight = batch.weights.get(row).copied().unwrap_or(1.0);
                let (error, by_q) = critic_error(form, y[i], q[i]);
                loss[head] += f64::from(weight * error);
                d_q[i] = weight * by_q * share * slope[i];
            }
            let back = critic.back(gradient);
            heads::critic_backward(plan, back, (head, d_q), inputs, memory, d_s);
        }
        scratch.encoder_backward(plan, critic, windows);
    }
}

/// What a row's error counts, and its derivative by Q.
fn critic_error(form: CriticLoss, y: f32, q: f32) -> (f32, f32) {
    match form {
        // Eqs 15, 18: (y - Q)^2
        CriticLoss::Squared => ((q - y) * (q - y), 2.0 * (q - y)),
        // D29: Q - y ln Q, with y from 0; NaN stays NaN
        CriticLoss::Poisson => {
            let y = if y < 0.0 { 0.0 } else { y };
            let above = q + LOG_EPSILON as f32;
            (q - y * above.ln(), 1.0 - y / above)
        }
    }
}

/// The critic's states `[b, D]` at the actor's steps: it is frozen there, so they are constants, and nothing behind them is
/// differentiated.
pub fn critic_states(plan: &Plan, critic: &Trained, batch: &Batch, scratch: &mut Scratch) {
    let (first, d) = (scratch.rows.start, plan.d);
    for (rows, windows) in scratch.chunks_of(batch.n_rows, &batch.now) {
        let Scratch { encoder, critic_state, .. } = &mut *scratch;
        let state = &mut critic_state[(rows.start - first) * d..(rows.end - first) * d];
        encoder::forward(plan, critic.network(), windows, false, encoder, state);
        join(plan, plan.features(&batch.features, &rows), state);
    }
}

/// The gradient of one step of the actor up the critic's value, that of the heads `by` names (Eqs 16, 19), and their loss.
/// The first step also counts saturated numbers.
pub fn actor_gradient(
    plan: &Plan,
    constants: &Constants,
    (step, by): (usize, Option<usize>),
    (actor, critic): (&Trained, &Trained),
    batch: &Batch,
    scratch: &mut Scratch,
) {
    let (first, driven) = (scratch.rows.start, driven(plan.heads, by));
    if step == 0 {
        scratch.saturated = 0;
    }
    for (rows, windows) in scratch.chunks_of(batch.n_rows, &batch.now) {
        scratch.state(plan, actor.network(), windows, plan.features(&batch.features, &rows), true);
        let acting = if step == 0 { 0..plan.heads } else { driven.clone() };
        scratch.act(plan, actor.network(), acting, rows.len());
        scratch.d_s.fill(0.0);
        if step == 0 {
            let actions = &scratch.action[..rows.len() * plan.actions()];
            scratch.saturated += actions.iter().filter(|a| a.abs() > constants.saturated).count();
        }
        for head in driven.clone() {
            let of_part = rows.start - first..rows.end - first;
            let of_chunk = (of_part, batch.n_rows, windows);
            scratch.loss[head] += climb(plan, constants, critic, head, of_chunk, scratch);
            let Scratch { state, d_action, d_s, gradient, .. } = &mut *scratch;
            let d_s = &mut d_s[..rows.len() * plan.w];
            heads::actor_backward(plan, actor.back(gradient), head, state, d_action, d_s);
        }
        scratch.encoder_backward(plan, actor, windows);
    }
}

/// A head's share of the actor's loss in a chunk, given its rows of the part, the rows of the batch and its windows; leaves
/// the gradient of its pre-activations in `d_action`.
fn climb(
    plan: &Plan,
    constants: &Constants,
    critic: &Trained,
    head: usize,
    (rows, n_rows, windows): (Range<usize>, usize, &[Window]),
    scratch: &mut Scratch,
) -> f64 {
    let Scratch { head: memory, u, tanh, action, seen, d_action, q, slope, d_q, critic_state, .. } = scratch;
    let (n, actions) = (plan.n, plan.actions());
    let share = 1.0 / n_rows as f32;
    let (q, d_q) = (&mut q[..rows.len()], &mut d_q[..rows.len()]);
    let of_row = |i: usize| i * actions + head * n..i * actions + (head + 1) * n;
    for i in 0..rows.len() {
        seen[of_row(i)].copy_from_slice(&action[of_row(i)]);
        heads::see(plan.critic_action, n, &mut seen[of_row(i)]);
    }
    let inputs = Inputs { state: &critic_state[rows.start * plan.d..], action: seen, windows };
    heads::value(plan, critic.network(), head, inputs, memory, q);
    heads::output(plan.output, q, slope);
    // Eqs 16, 19: minus the mean of Q at the actor's present output
    let mut loss = -q.iter().map(|&q| f64::from(q)).sum::<f64>() / n_rows as f64;
    for (d_q, slope) in d_q.iter_mut().zip(slope) {
        *d_q = -share * *slope;
    }
    heads::action_backward(plan, critic, (head, windows), d_q, memory, d_action);
    for i in 0..rows.len() {
        let of_row = of_row(i);
        let (action, seen) = (&action[of_row.clone()], &seen[of_row.clone()]);
        heads::see_backward(plan.critic_action, action, seen, &mut d_action[of_row]);
    }
    let t = kernels::RowMajor { data: &tanh[head * n..], stride: actions };
    let d = kernels::RowMajorMut { data: &mut d_action[head * n..], stride: actions };
    kernels::reduce::tanh_backward(plan.level, (rows.len(), n), plan.bound, t, d);
    if constants.saturation_penalty > 0.0 {
        let weight = constants.saturation_penalty / (n_rows * n) as f32;
        for i in 0..rows.len() {
            for (d, &u) in d_action[of_row(i)].iter_mut().zip(&u[of_row(i)]) {
                let excess = (u.abs() - 1.0).max(0.0);
                loss += f64::from(weight * excess * excess);
                *d += 2.0 * weight * excess * u.signum();
            }
        }
    }
    loss
}
