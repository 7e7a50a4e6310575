//! One level: an actor, a critic and their targets (DDPG). In: a decoded batch; out: parameters moved, metrics.
//!
//! Rows go through the networks in chunks, and chunks in parts of the batch ([`super::window`]).

use std::sync::{Mutex, PoisonError};

use common::seed::Streams;

use super::{
    batch::{Batch, Encoded},
    heads,
    mapping::Mapping,
    network::{Network, Trained},
    plan::Plan,
    scratch::Scratch,
    steps::Constants,
    update::{Inputs, Update},
    window::{Windows, chunks, parts},
};
use crate::algorithm::{
    groups, initial,
    layout::{Layout, Role},
    settings::{LevelKind, Settings},
};

/// One DDPG pair with targets, and a second critic where twins are asked for.
#[derive(Debug)]
pub struct Level {
    plan: Plan,
    constants: Constants,
    actor: Trained,
    /// The one that the actor climbs, and, if there are twins (D21), the other.
    critics: Vec<Trained>,
    /// One a part of the largest batch so far; at least one.
    scratch: Vec<Mutex<Scratch>>,
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
        let actor = trained(Role::Actor, rates.actor, false);
        let twins = [false, true].into_iter().take(1 + usize::from(algorithm.twin_critics));
        let critics: Vec<_> = twins.map(|is_second| trained(Role::Critic, rates.critic, is_second)).collect();
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
            scratch: vec![Mutex::new(Scratch::new(&plan, n_parameters(&actor, &critics)))],
            actor,
            critics,
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
            Role::Critic => &self.critics[0],
        }
    }

    /// All networks by the names of files: actor, critic and, if there is one, the second critic.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &Trained)> {
        let critics = [Role::Critic.name(), "critic_2"].into_iter().zip(&self.critics);
        [(Role::Actor.name(), &self.actor)].into_iter().chain(critics)
    }

    /// The same, to restore a state into.
    pub fn networks_mut(&mut self) -> impl Iterator<Item = &mut Trained> {
        [&mut self.actor].into_iter().chain(&mut self.critics)
    }

    /// An update, to be done.
    pub fn update<'a>(
        &'a mut self,
        encoded: &'a Encoded<'a>,
        batch: &'a mut Batch,
        mapping: Option<&'a Mapping>,
        actor_moves: bool,
    ) -> Update<'a> {
        let Self { plan, constants, actor, critics, scratch, y, first_q } = self;
        let n_rows = encoded.rows.n_rows();
        let parts = parts(n_rows);
        let n_parts = parts.len();
        if scratch.len() < n_parts {
            let n_parameters = n_parameters(actor, critics);
            scratch.resize_with(n_parts, || Mutex::new(Scratch::new(plan, n_parameters)));
        }
        for (scratch, of_part) in scratch.iter_mut().zip(parts) {
            exclusive(scratch).begin(plan, n_rows, of_part);
        }
        let inputs = Inputs { plan, constants, encoded, mapping, actor_moves };
        Update::new(inputs, (actor, critics), batch, &scratch[..n_parts], [y, first_q])
    }

    /// Goals or virtual actions `[B, H n]` of the target actor in packed windows without features.
    pub fn target_actions(&mut self, windows: &Windows, out: &mut [f32]) {
        act(&self.plan, self.actor.target(), windows, &[], exclusive(&mut self.scratch[0]), out);
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
        let (plan, critic) = (&self.plan, self.critics[0].network());
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

/// Parameters of the largest network.
fn n_parameters(actor: &Trained, critics: &[Trained]) -> usize {
    let sizes = critics.iter().chain([actor]).map(|network| network.network().layout().len());
    sizes.max().unwrap_or(0)
}

/// What nobody else holds.
fn exclusive(scratch: &mut Mutex<Scratch>) -> &mut Scratch {
    scratch.get_mut().unwrap_or_else(PoisonError::into_inner)
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
