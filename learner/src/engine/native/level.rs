//! One level: an actor, a critic and their targets (DDPG). In: a decoded batch; out: parameters moved, metrics.
//!
//! Rows go through the networks in chunks ([`super::window`]); gradients add up over the chunks in the order of the batch,
//! so that the same batch gives the same bits. Heads' values stand head by head, `[H, B]`.

use common::{config::CriticOutput, seed::Streams};

use super::{
    batch::Batch,
    heads,
    mapping::Mapping,
    network::{Network, Trained},
    plan::Plan,
    scratch::Scratch,
    steps::{self, Constants},
    window::{Windows, chunks},
};
use crate::{
    algorithm::{
        groups, initial,
        layout::{Layout, Role},
        settings::{LevelKind, Settings},
    },
    engine::metrics::LevelMetrics,
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
    scratch: Scratch,
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
        Self {
            constants: Constants {
                discount: settings.discount(kind) as f32,
                clip: algorithm.gradient_clip,
                saturation_penalty: algorithm.saturation_penalty as f32,
                saturated: (0.95 * settings.bound) as f32,
                tau: algorithm.soft_update as f32,
                steps: groups::steps(plan.heads, algorithm.encoder_update),
            },
            actor: trained(Role::Actor, rates.actor, false),
            critic: trained(Role::Critic, rates.critic, false),
            second: algorithm.twin_critics.then(|| trained(Role::Critic, rates.critic, true)),
            scratch: Scratch::new(&plan),
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
    /// actor moves.
    pub fn update(
        &mut self,
        batch: &Batch,
        mapping: Option<&mut Mapping>,
        actor_moves: bool,
    ) -> LevelMetrics {
        let Self { plan, constants, actor, critic, second, scratch } = self;
        for values in [&mut scratch.y, &mut scratch.first_q] {
            values.resize(plan.heads * batch.n_rows, 0.0);
        }
        let critics = [Some(&*critic), second.as_ref()];
        steps::targets(plan, constants.discount, (actor, critics), batch, mapping, scratch);
        let tau = actor_moves.then_some(constants.tau);
        // What is measured is the first critic's; its values are the last ones noted.
        if let Some(second) = second {
            steps::critic_step(plan, constants, second, batch, tau, scratch);
        }
        let (critic_loss, norm) = steps::critic_step(plan, constants, critic, batch, tau, scratch);
        let Scratch { y, first_q, .. } = scratch;
        let by_head = |values: &[f32]| -> Vec<f64> {
            let mean = |of_head: &[f32]| of_head.iter().map(|&x| f64::from(x)).sum::<f64>();
            values.chunks_exact(batch.n_rows).map(|of_head| mean(of_head) / batch.n_rows as f64).collect()
        };
        let dead = first_q.iter().filter(|q| **q == 0.0).count() as f64 / first_q.len() as f64;
        let metrics = LevelMetrics {
            td_errors: steps::td_errors(batch, y, first_q),
            critic_loss,
            mean_q: by_head(first_q),
            mean_target: by_head(y),
            mean_reward: by_head(&batch.reward),
            critic_gradient_norm: norm,
            dead_share: if plan.output == CriticOutput::Relu { dead } else { 0.0 },
            actor: None,
        };
        let actor = tau.map(|tau| steps::actor_step(plan, constants, (actor, critic), batch, tau, scratch));
        LevelMetrics { actor, ..metrics }
    }

    /// Goals or virtual actions `[B, H n]` of the target actor in packed windows without features.
    pub fn target_actions(&mut self, windows: &Windows, out: &mut [f32]) {
        act(&self.plan, self.actor.target(), windows, &[], &mut self.scratch, out);
    }

    /// Goals or virtual actions `[B, H n]` of the online actor, in packed windows with features `[B, D - w]`.
    pub fn actions(&self, windows: &Windows, features: &[f32], n_rows: usize) -> Vec<f32> {
        let mut out = vec![0.0; n_rows * self.plan.actions()];
        let scratch = &mut Scratch::new(&self.plan);
        act(&self.plan, self.actor.network(), windows, features, scratch, &mut out);
        out
    }

    /// Values `[B, K, H]` of K actions a row, `[B, K, H n]`, under the online critic.
    pub fn values(&self, windows: &Windows, features: &[f32], n_rows: usize, actions: &[f32]) -> Vec<f32> {
        let (plan, critic) = (&self.plan, self.critic.network());
        let mut scratch = Scratch::new(plan);
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
                    heads::value(plan, critic, head, (state, action), memory, q);
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
