//! One level: an actor, a critic and their targets (DDPG). In: a decoded batch; out: parameters moved, metrics.
//!
//! Rows go through the networks in chunks ([`super::window`]), and chunks in one or two parts. Gradients add up over the
//! chunks of a part in the order of the batch, then over the parts, so that the same batch gives the same bits, whatever the
//! threads. Heads' values stand head by head, `[H, B]`.

use common::{config::CriticOutput, seed::Streams};

use super::{
    batch::Batch,
    heads,
    mapping::Mapping,
    network::{Network, Trained},
    plan::Plan,
    scratch::Scratch,
    steps::{self, Constants},
    threads::{self, Threads},
    window::{Windows, chunks, parts as parts_of},
};
use crate::{
    algorithm::{
        groups, initial,
        layout::{Layout, Role},
        settings::{LevelKind, Settings},
    },
    engine::metrics::{ActorMetrics, LevelMetrics},
};

/// One DDPG pair with targets, and a second critic where twins are asked for.
#[derive(Debug)]
pub struct Level {
    plan: Plan,
    constants: Constants,
    actor: Trained,
    critic: Trained,
    /// The second critic (D21).
    second: Option<Trained>,
    /// One a part of the batch; at least one.
    scratch: Vec<Scratch>,
    /// `[H, B]` targets of the last update.
    y: Vec<f32>,
    /// `[H, B]` values before it.
    first_q: Vec<f32>,
}

impl Level {
    /// A level with initial parameters; the targets start as copies.
    pub fn new(settings: &Settings, kind: LevelKind, streams: &Streams, level: kernels::Level) -> Self {
        let (algorithm, rates) = (&settings.algorithm, settings.learning_rates(kind));
        let trained = |role: Role, rate: f64, is_second: bool| {
            let layout = Layout::new(settings, kind, role);
            let stream = initial::stream(kind, role, is_second);
            let values = initial::values(&layout, settings.model.critic_output, streams, stream);
            Trained::new(layout, &values, algorithm.encoder_update, rate, level)
        };
        let plan = Plan::new(settings, kind, level);
        let (actor, critic) =
            (trained(Role::Actor, rates.actor, false), trained(Role::Critic, rates.critic, false));
        let n_parameters =
            [&actor, &critic].map(|network| network.network().layout().len()).into_iter().max();
        Self {
            constants: Constants {
                discount: settings.discount(kind) as f32,
                clip: algorithm.gradient_clip,
                saturation_penalty: algorithm.saturation_penalty as f32,
                saturated: (0.95 * settings.bound) as f32,
                tau: algorithm.soft_update as f32,
                loss: algorithm.critic_loss,
                steps: groups::steps(plan.heads, algorithm.encoder_update),
            },
            actor,
            critic,
            second: algorithm.twin_critics.then(|| trained(Role::Critic, rates.critic, true)),
            scratch: vec![Scratch::new(&plan, n_parameters.unwrap_or(0))],
            y: Vec::new(),
            first_q: Vec::new(),
            plan,
        }
    }

    /// Sizes and forms.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// An online network with its target and optimiser.
    pub fn trained(&self, role: Role) -> &Trained {
        match role {
            Role::Actor => &self.actor,
            Role::Critic => &self.critic,
        }
    }

    /// All networks by the names of files: actor, critic and, if there is one, the second critic.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &Trained)> {
        let second = self.second.as_ref().map(|second| ("critic_2", second));
        [(Role::Actor.name(), &self.actor), (Role::Critic.name(), &self.critic)].into_iter().chain(second)
    }

    /// The same, to restore a state into.
    pub fn networks_mut(&mut self) -> impl Iterator<Item = &mut Trained> {
        [&mut self.actor, &mut self.critic].into_iter().chain(&mut self.second)
    }

    /// One update: targets, then the critics, then, if it moves, the actor against the new critic; targets follow if the
    /// actor moves. The batch goes through the networks in so many parts, beside each other if there are threads.
    pub fn update(
        &mut self,
        batch: &Batch,
        mapping: Option<&Mapping>,
        actor_moves: bool,
        (n_parts, threads): (usize, Option<&Threads>),
    ) -> LevelMetrics {
        let Self { plan, constants, actor, critic, second, scratch, y, first_q } = self;
        let n_parameters = scratch[0].gradient.len();
        scratch.resize_with(n_parts.max(scratch.len()), || Scratch::new(plan, n_parameters));
        let parts = &mut scratch[..n_parts];
        for (scratch, of_part) in parts.iter_mut().zip(parts_of(batch.n_rows, n_parts)) {
            scratch.begin(plan, batch.n_rows, of_part);
        }
        let critics = [Some(&*critic), second.as_ref()];
        threads::each(threads, parts, |scratch| {
            steps::targets(plan, constants.discount, (actor, critics), batch, mapping, scratch);
        });
        let tau = actor_moves.then_some(constants.tau);
        // What is measured is the first critic's; its values are the last ones noted.
        if let Some(second) = second {
            critic_steps(plan, constants, second, (batch, tau), parts, threads);
        }
        let (critic_loss, norm) = critic_steps(plan, constants, critic, (batch, tau), parts, threads);
        gather(plan, batch.n_rows, parts, |scratch| &scratch.y, y);
        gather(plan, batch.n_rows, parts, |scratch| &scratch.first_q, first_q);
        let by_head = |values: &[f32]| -> Vec<f64> {
            let mean = |of_head: &[f32]| of_head.iter().map(|&x| f64::from(x)).sum::<f64>();
            values.chunks_exact(batch.n_rows).map(|of_head| mean(of_head) / batch.n_rows as f64).collect()
        };
        let dead = first_q.iter().filter(|q| **q == 0.0).count() as f64 / first_q.len() as f64;
        let metrics = LevelMetrics {
            td_errors: td_errors(batch, y, first_q),
            critic_loss,
            mean_q: by_head(first_q),
            mean_target: by_head(y),
            mean_reward: by_head(&batch.reward),
            critic_gradient_norm: norm,
            dead_share: if plan.output == CriticOutput::Relu { dead } else { 0.0 },
            actor: None,
        };
        let actor =
            tau.map(|tau| actor_steps(plan, constants, (actor, critic), (batch, tau), parts, threads));
        LevelMetrics { actor, ..metrics }
    }

    /// Goals or virtual actions `[B, H n]` of the target actor in packed windows without features.
    pub fn target_actions(&mut self, windows: &Windows, out: &mut [f32]) {
        act(&self.plan, self.actor.target(), windows, &[], &mut self.scratch[0], out);
    }

    /// Goals or virtual actions `[B, H n]` of the online actor, in packed windows with features `[B, D - w]`.
    pub fn actions(&self, windows: &Windows, features: &[f32], n_rows: usize) -> Vec<f32> {
        let mut out = vec![0.0; n_rows * self.plan.actions()];
        let scratch = &mut Scratch::new(&self.plan, 0);
        act(&self.plan, self.actor.network(), windows, features, scratch, &mut out);
        out
    }

    /// Values `[B, K, H]` of K actions a row, `[B, K, H n]`, under the online critic.
    pub fn values(&self, windows: &Windows, features: &[f32], n_rows: usize, actions: &[f32]) -> Vec<f32> {
        let (plan, critic) = (&self.plan, self.critic.network());
        let mut scratch = Scratch::new(plan, 0);
        let mut actions = actions.to_vec();
        heads::see(plan.critic_action, plan.n, &mut actions);
        let of_row = actions.len() / n_rows.max(1);
        let per_row = of_row / plan.actions();
        let mut out = vec![0.0; n_rows * per_row * plan.heads];
        for (rows, windows) in chunks(n_rows).zip(windows.chunks()) {
            scratch.state(plan, critic, windows, plan.features(features, &rows), false);
            let Scratch { state, head: memory, action, q, slope, .. } = &mut scratch;
            for k in 0..per_row {
                for (action, row) in action.chunks_exact_mut(plan.actions()).zip(rows.clone()) {
                    action.copy_from_slice(&actions[row * of_row + k * plan.actions()..][..plan.actions()]);
                }
                for head in 0..plan.heads {
                    let q = &mut q[..rows.len()];
                    heads::value(plan, critic, head, heads::Inputs { state, action, windows }, memory, q);
                    heads::output(plan.output, q, slope);
                    for (row, q) in rows.clone().zip(q) {
                        out[(row * per_row + k) * plan.heads + head] = *q;
                    }
                }
            }
        }
        out
    }
}

/// The steps of a critic towards y (Eqs 15, 18). The loss of each head, `[H]`, and the norm of the last gradient.
fn critic_steps(
    plan: &Plan,
    constants: &Constants,
    critic: &mut Trained,
    (batch, tau): (&Batch, Option<f32>),
    parts: &mut [Scratch],
    threads: Option<&Threads>,
) -> (Vec<f64>, f64) {
    let mut norm = 0.0;
    parts.iter_mut().for_each(|scratch| scratch.loss.fill(0.0));
    for (step, (groups, by)) in constants.steps.iter().enumerate() {
        threads::each(threads, parts, |scratch| {
            steps::critic_gradient(plan, constants.loss, (step, *by), critic, batch, scratch);
        });
        norm = move_along(constants, step, groups, critic, tau, parts);
    }
    let mut loss = sum_of_losses(plan, parts);
    loss.iter_mut().for_each(|loss| *loss /= batch.n_rows as f64);
    (loss, norm)
}

/// The actor's steps up the critic's value (Eqs 16, 19). Leaves the critic bit-identical.
fn actor_steps(
    plan: &Plan,
    constants: &Constants,
    (actor, critic): (&mut Trained, &Trained),
    (batch, tau): (&Batch, f32),
    parts: &mut [Scratch],
    threads: Option<&Threads>,
) -> ActorMetrics {
    let mut norm = 0.0;
    for scratch in &mut *parts {
        scratch.loss.fill(0.0);
        scratch.saturated = 0;
    }
    for (step, (groups, by)) in constants.steps.iter().enumerate() {
        threads::each(threads, parts, |scratch| {
            if step == 0 {
                steps::critic_states(plan, critic, batch, scratch);
            }
            steps::actor_gradient(plan, constants, (step, *by), (actor, critic), batch, scratch);
        });
        norm = move_along(constants, step, groups, actor, Some(tau), parts);
    }
    let saturated = parts.iter().map(|scratch| scratch.saturated).sum::<usize>();
    ActorMetrics {
        loss: sum_of_losses(plan, parts),
        gradient_norm: norm,
        saturated_share: saturated as f64 / (batch.n_rows * plan.actions()) as f64,
    }
}

/// Adds up the gradients of the parts, one after the other, and moves some groups along the sum, which is zero afterwards.
/// Heads move once in an update, the encoder at every step: their targets follow at the last. Out: the gradient's norm.
fn move_along(
    constants: &Constants,
    step: usize,
    groups: &[usize],
    network: &mut Trained,
    tau: Option<f32>,
    parts: &mut [Scratch],
) -> f64 {
    let is_last = |group: usize| group > 0 || step + 1 == constants.steps.len();
    let (first, others) = parts.split_at_mut(1);
    let gradient = &mut first[0].gradient[..network.network().layout().len()];
    for other in others {
        for (sum, x) in gradient.iter_mut().zip(&mut other.gradient) {
            *sum += std::mem::take(x);
        }
    }
    network.step(gradient, groups, constants.clip, tau, is_last)
}

fn sum_of_losses(plan: &Plan, parts: &[Scratch]) -> Vec<f64> {
    (0..plan.heads).map(|head| parts.iter().map(|scratch| scratch.loss[head]).sum()).collect()
}

/// From `[H, b]` of each part to `[H, B]`.
fn gather(
    plan: &Plan,
    n_rows: usize,
    parts: &[Scratch],
    of: impl Fn(&Scratch) -> &[f32],
    out: &mut Vec<f32>,
) {
    out.clear();
    out.reserve(plan.heads * n_rows);
    for head in 0..plan.heads {
        for scratch in parts {
            out.extend_from_slice(&of(scratch)[head * scratch.rows.len()..][..scratch.rows.len()]);
        }
    }
}

/// `[B]` the largest |y - Q| over the heads, if the rows were drawn by priority.
fn td_errors(batch: &Batch, y: &[f32], q: &[f32]) -> Vec<f64> {
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

/// Actions `[B, H n]` of an actor, chunk by chunk.
fn act(
    plan: &Plan,
    actor: &Network,
    windows: &Windows,
    features: &[f32],
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let n_rows = out.len() / plan.actions();
    for (rows, windows) in chunks(n_rows).zip(windows.chunks()) {
        scratch.state(plan, actor, windows, plan.features(features, &rows), false);
        scratch.act(plan, actor, 0..plan.heads, rows.len());
        let out = &mut out[rows.start * plan.actions()..rows.end * plan.actions()];
        out.copy_from_slice(&scratch.action[..out.len()]);
    }
}
