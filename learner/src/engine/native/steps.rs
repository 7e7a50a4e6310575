//! The three steps of a level's update. In: a decoded batch; out: targets, parameters moved, losses.

use std::ops::Range;

use super::{
    batch::Batch,
    encoder, heads,
    mapping::Mapping,
    network::Trained,
    plan::Plan,
    scratch::{Scratch, join},
    window::chunks,
};
use crate::engine::metrics::ActorMetrics;

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
    /// See [`crate::algorithm::groups::steps`].
    pub steps: Vec<(Vec<usize>, Option<usize>)>,
}

/// `[B]` the largest |y - Q| over the heads, if the rows were drawn by priority.
pub fn td_errors(batch: &Batch, y: &[f32], q: &[f32]) -> Vec<f64> {
    if batch.weights.is_empty() {
        return Vec::new();
    }
    let error = |row: usize| {
        let of_heads = (row..y.len()).step_by(batch.n_rows).map(|i| (y[i] - q[i]).abs());
        // A row with several heads has the priority of the worst.
        f64::from(
            of_heads.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst }),
        )
    };
    (0..batch.n_rows).map(error).collect()
}

/// y `[H, B]` from the target networks (Eqs 14, 17).
pub fn targets(
    plan: &Plan,
    discount: f32,
    (actor, critics): (&Trained, [Option<&Trained>; 2]),
    batch: &Batch,
    mut mapping: Option<&mut Mapping>,
    scratch: &mut Scratch,
) {
    let (n_rows, actions) = (batch.n_rows, plan.actions());
    for (rows, windows) in chunks(n_rows).zip(batch.next.chunks()) {
        let features = plan.features(&batch.next_features, &rows);
        scratch.state(plan, actor.target(), windows, features, false);
        scratch.act(plan, actor.target(), 0..plan.heads, rows.len());
        let action = &mut scratch.action[..rows.len() * actions];
        if !batch.noise.is_empty() {
            let noise = &batch.noise[rows.start * actions..];
            for (action, noise) in action.iter_mut().zip(noise) {
                *action = (*action + noise).clamp(-plan.bound, plan.bound);
            }
        }
        if let Some(mapping) = &mut mapping {
            mapping.map(plan.level, action);
        }
        heads::see(plan.critic_action, plan.n, action);
        for (number, critic) in critics.into_iter().flatten().enumerate() {
            scratch.state(plan, critic.target(), windows, features, false);
            let Scratch { state, action, head: memory, q, slope, y, .. } = scratch;
            for head in 0..plan.heads {
                let q = &mut q[..rows.len()];
                heads::value(plan, critic.target(), head, (state, action), memory, q);
                heads::output(plan.output, q, slope);
                for (y, q) in y[head * n_rows..][rows.clone()].iter_mut().zip(q) {
                    // The smaller of two; NaN is not hidden.
                    if number == 0 || *q < *y || q.is_nan() {
                        *y = *q;
                    }
                }
            }
        }
    }
    if !batch.further_discount.is_empty() {
        for y in scratch.y.chunks_exact_mut(n_rows) {
            y.iter_mut().zip(&batch.further_discount).for_each(|(y, discount)| *y *= discount);
        }
    }
    for (y, reward) in scratch.y.chunks_exact_mut(n_rows).zip(batch.reward.chunks_exact(n_rows)) {
        for ((y, reward), terminated) in y.iter_mut().zip(reward).zip(&batch.terminated) {
            // Eq 14: y^h_i = r^h_i + gamma Q^h_i(s', pi^h_i(s'; Psi_-); Theta_-); Eq 17: the same at the low level
            *y = reward + (1.0 - terminated) * discount * *y;
        }
    }
}

/// The heads whose losses drive a step.
fn driven(heads: usize, by: Option<usize>) -> Range<usize> {
    by.map_or(0..heads, |head| head..head + 1)
}

/// Whether a group moves for the last time in this update: heads move once, the encoder at every step.
fn is_last(step: usize, n_steps: usize, group: usize) -> bool {
    group > 0 || step + 1 == n_steps
}

/// One critic's step towards y (Eqs 15, 18). The loss of each head, `[H]`, and the norm of the last gradient.
pub fn critic_step(
    plan: &Plan,
    constants: &Constants,
    critic: &mut Trained,
    batch: &Batch,
    tau: Option<f32>,
    scratch: &mut Scratch,
) -> (Vec<f64>, f64) {
    let (n_rows, actions) = (batch.n_rows, plan.actions());
    let share = 1.0 / n_rows as f32;
    let (mut loss, mut norm) = (vec![0.0; plan.heads], 0.0);
    for (step, (groups, by)) in constants.steps.iter().enumerate() {
        let driven = driven(plan.heads, *by);
        for (rows, windows) in chunks(n_rows).zip(batch.now.chunks()) {
            scratch.state(plan, critic.network(), windows, plan.features(&batch.features, &rows), true);
            scratch.d_s.fill(0.0);
            let Scratch { state, head: memory, q, slope, d_q, d_s, y, first_q, .. } = scratch;
            let action = &batch.action[rows.start * actions..];
            for head in if step == 0 { 0..plan.heads } else { driven.clone() } {
                let (q, d_q) = (&mut q[..rows.len()], &mut d_q[..rows.len()]);
                heads::value(plan, critic.network(), head, (state, action), memory, q);
                heads::output(plan.output, q, slope);
                if step == 0 {
                    first_q[head * n_rows..][rows.clone()].copy_from_slice(q);
                }
                if !driven.contains(&head) {
                    continue;
                }
                let y = &y[head * n_rows..][rows.clone()];
                for (i, row) in rows.clone().enumerate() {
                    let error = q[i] - y[i];
                    let weight = batch.weights.get(row).copied().unwrap_or(1.0);
                    // Eqs 15, 18: the mean of (y - Q)^2
                    loss[head] += f64::from(weight * error * error);
                    d_q[i] = 2.0 * weight * error * share * slope[i];
                }
                heads::critic_backward(plan, critic.back(), (head, d_q), (state, action), memory, d_s);
            }
            scratch.encoder_backward(plan, critic, windows);
        }
        norm = critic.step(groups, constants.clip, tau, |group| is_last(step, constants.steps.len(), group));
    }
    loss.iter_mut().for_each(|loss| *loss /= n_rows as f64);
    (loss, norm)
}

/// The actor's step up the critic's value (Eqs 16, 19). Leaves the critic bit-identical.
pub fn actor_step(
    plan: &Plan,
    constants: &Constants,
    (actor, critic): (&mut Trained, &Trained),
    batch: &Batch,
    tau: f32,
    scratch: &mut Scratch,
) -> ActorMetrics {
    let (n_rows, d) = (batch.n_rows, plan.d);
    let (mut loss, mut norm, mut saturated) = (vec![0.0; plan.heads], 0.0, 0);
    // The critic is frozen: its state is a constant, and nothing behind it is differentiated.
    scratch.critic_state.resize(n_rows * d, 0.0);
    for (rows, windows) in chunks(n_rows).zip(batch.now.chunks()) {
        let (Scratch { encoder, critic_state, .. }, range) = (&mut *scratch, rows.start * d..rows.end * d);
        let state = &mut critic_state[range];
        encoder::forward(plan, critic.network(), windows, false, encoder, state);
        join(plan, plan.features(&batch.features, &rows), state);
    }
    for (step, (groups, by)) in constants.steps.iter().enumerate() {
        let driven = driven(plan.heads, *by);
        for (rows, windows) in chunks(n_rows).zip(batch.now.chunks()) {
            scratch.state(plan, actor.network(), windows, plan.features(&batch.features, &rows), true);
            let acting = if step == 0 { 0..plan.heads } else { driven.clone() };
            scratch.act(plan, actor.network(), acting, rows.len());
            scratch.d_s.fill(0.0);
            if step == 0 {
                let actions = &scratch.action[..rows.len() * plan.actions()];
                saturated += actions.iter().filter(|a| a.abs() > constants.saturated).count();
            }
            for head in driven.clone() {
                loss[head] += climb(plan, constants, critic, head, &rows, scratch);
                let Scratch { state, d_action, d_s, .. } = scratch;
                let d_s = &mut d_s[..rows.len() * plan.w];
                heads::actor_backward(plan, actor.back(), head, state, d_action, d_s);
            }
            scratch.encoder_backward(plan, actor, windows);
        }
        let follow = |group| is_last(step, constants.steps.len(), group);
        norm = actor.step(groups, constants.clip, Some(tau), follow);
    }
    ActorMetrics {
        loss,
        gradient_norm: norm,
        saturated_share: saturated as f64 / (n_rows * plan.actions()) as f64,
    }
}

/// A head's share of the actor's loss in a chunk; leaves the gradient of its pre-activations in `d_action`.
fn climb(
    plan: &Plan,
    constants: &Constants,
    critic: &Trained,
    head: usize,
    rows: &Range<usize>,
    scratch: &mut Scratch,
) -> f64 {
    let Scratch { head: memory, u, tanh, action, seen, d_action, q, slope, d_q, critic_state, .. } = scratch;
    let (n, actions, n_rows) = (plan.n, plan.actions(), critic_state.len() / plan.d);
    let share = 1.0 / n_rows as f32;
    let (q, d_q) = (&mut q[..rows.len()], &mut d_q[..rows.len()]);
    let of_row = |i: usize| i * actions + head * n..i * actions + (head + 1) * n;
    for i in 0..rows.len() {
        seen[of_row(i)].copy_from_slice(&action[of_row(i)]);
        heads::see(plan.critic_action, n, &mut seen[of_row(i)]);
    }
    let state = &critic_state[rows.start * plan.d..];
    heads::value(plan, critic.network(), head, (state, seen), memory, q);
    heads::output(plan.output, q, slope);
    // Eqs 16, 19: minus the mean of Q at the actor's present output
    let mut loss = -q.iter().map(|&q| f64::from(q)).sum::<f64>() / n_rows as f64;
    for (d_q, slope) in d_q.iter_mut().zip(slope) {
        *d_q = -share * *slope;
    }
    heads::action_backward(plan, critic, head, d_q, memory, d_action);
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
