//! One level: an actor, a critic and their targets (DDPG). In: one batch's tensors; out: parameters moved, measures.
//!
//! The two levels are the same code: the low one has one head, and may have features behind its state.

use std::collections::BTreeSet;

use common::{
    config::{CriticLoss, CriticOutput, EncoderUpdate, LevelRates},
    seed::Streams,
};
use tch::{Device, Kind, Tensor};

use super::{
    measures::{ActorMeasures, LevelMeasures},
    network::{Forms, Network, Trained, encode},
};
use crate::algorithm::{
    adam::Adam,
    groups, initial,
    layout::{Layout, Role},
    losses,
    mapping::Mapping,
    parameters::Parameters,
    settings::{LevelKind, Settings},
    soft_update::soft_update,
    targets,
    window::Windows,
};

/// What one update of a level reads. B rows, H heads.
#[derive(Debug)]
pub struct LevelBatch<'a> {
    /// Windows before.
    pub now: &'a Windows,
    /// Windows after.
    pub next: &'a Windows,
    /// `[B, n + M]` behind the state before, if goals are in the state.
    pub features: Option<&'a Tensor>,
    /// The same after.
    pub next_features: Option<&'a Tensor>,
    /// `[B, H, n]` goals set, or the item shown.
    pub action: &'a Tensor,
    /// `[B, H]`.
    pub reward: &'a Tensor,
    /// `[B]` 1 where the user left.
    pub terminated: &'a Tensor,
    /// Maps the target actor's output to items, if it shall be.
    pub mapping: Option<&'a Mapping>,
    /// `[B]` importance weights, if the rows were drawn by priority.
    pub weights: Option<&'a Tensor>,
    /// `[B, H, n]` noise of the target's action, if it is smoothed (D22).
    pub smoothing: Option<&'a Tensor>,
    /// `[B]` what the next value is discounted by besides gamma, where a row takes in several steps (D26).
    pub further_discount: Option<&'a Tensor>,
}

/// One DDPG pair with targets, and a second critic where twins are asked for.
#[derive(Debug)]
pub struct Level {
    discount: f64,
    encoder_update: EncoderUpdate,
    clip: f64,
    loss: CriticLoss,
    saturation_penalty: f64,
    /// |a^| above it counts as saturated.
    saturated: f64,
    is_relu: bool,
    actor: Trained,
    critic: Trained,
    target_actor: Network,
    target_critic: Network,
    /// The second critic and its target (D21).
    second: Option<(Trained, Network)>,
    bound: f64,
}

impl Level {
    /// A level with initial parameters; the targets start as copies.
    pub fn new(settings: &Settings, kind: LevelKind, streams: &Streams, options: (Kind, Device)) -> Self {
        let algorithm = &settings.algorithm;
        let LevelRates { actor, critic } = settings.learning_rates(kind);
        let trained = |role: Role, rate: f64, is_second: bool| {
            let layout = Layout::new(settings, kind, role);
            let stream = initial::stream(kind, role, is_second);
            let values = initial::values(&layout, settings.model.critic_output, streams, stream);
            let parameters = Parameters::of(layout, &values, options.0, options.1);
            let adam = Adam::new(parameters.layout(), algorithm.encoder_update, rate, parameters.flat());
            Trained { network: Network::new(parameters, Forms::new(settings)), adam, gradient: None }
        };
        let second = algorithm.twin_critics.then(|| {
            let trained = trained(Role::Critic, critic, true);
            let target = trained.network.copy();
            (trained, target)
        });
        let (actor, critic) = (trained(Role::Actor, actor, false), trained(Role::Critic, critic, false));
        Self {
            discount: settings.discount(kind),
            encoder_update: algorithm.encoder_update,
            clip: algorithm.gradient_clip,
            loss: algorithm.critic_loss,
            saturation_penalty: algorithm.saturation_penalty,
            saturated: 0.95 * settings.bound,
            is_relu: settings.model.critic_output == CriticOutput::Relu,
            target_actor: actor.network.copy(),
            target_critic: critic.network.copy(),
            bound: settings.bound,
            actor,
            critic,
            second,
        }
    }

    /// The online actor.
    pub fn actor(&self) -> &Network {
        &self.actor.network
    }

    /// The online critic.
    pub fn critic(&self) -> &Network {
        &self.critic.network
    }

    /// The target actor.
    pub fn target_actor(&self) -> &Network {
        &self.target_actor
    }

    /// The target critic.
    pub fn target_critic(&self) -> &Network {
        &self.target_critic
    }

    /// An online network with its optimiser and last gradient.
    pub fn trained(&self, role: Role) -> &Trained {
        match role {
            Role::Actor => &self.actor,
            Role::Critic => &self.critic,
        }
    }

    /// All networks with their targets, by the names of files: actor, critic and, if there is one, the second critic.
    pub fn networks(&self) -> Vec<(&'static str, &Trained, &Network)> {
        let mut all = vec![
            (Role::Actor.name(), &self.actor, &self.target_actor),
            (Role::Critic.name(), &self.critic, &self.target_critic),
        ];
        all.extend(self.second.as_ref().map(|(trained, target)| ("critic_2", trained, target)));
        all
    }

    /// Their optimisers, in the same order, to restore a state into.
    pub(super) fn optimisers(&mut self) -> Vec<&mut Adam> {
        let mut all = vec![&mut self.actor.adam, &mut self.critic.adam];
        all.extend(self.second.as_mut().map(|(trained, _)| &mut trained.adam));
        all
    }

    /// All optimisers take this share of their learning rates from now on.
    pub(super) fn scale_learning_rates(&mut self, share: f64) {
        self.optimisers().into_iter().for_each(|adam| adam.scale_learning_rate(share));
    }

    /// See [`groups::steps`].
    fn steps(&self) -> Vec<(Vec<usize>, Option<usize>)> {
        groups::steps(self.actor.network.layout().n_heads, self.encoder_update)
    }

    /// y `[B, H]` from the target networks (Eqs 14, 17).
    pub fn targets(&self, batch: &LevelBatch<'_>) -> Tensor {
        let critics: Vec<&Network> = std::iter::once(&self.target_critic)
            .chain(self.second.as_ref().map(|(_, target)| target))
            .collect();
        let networks: Vec<&Network> = std::iter::once(&self.target_actor).chain(critics.clone()).collect();
        let mut states =
            encode(&networks, batch.next).into_iter().map(|encoded| encoded.state(batch.next_features));
        let mut action = self.target_actor.act_in(&states.next().expect("a state a network"));
        if let Some(noise) = batch.smoothing {
            action = targets::smoothed(&action, noise, self.bound);
        }
        if let Some(mapping) = batch.mapping {
            action = mapping.map(&action.squeeze_dim(1)).unsqueeze(1);
        }
        let values =
            critics.iter().zip(states).map(|(critic, state)| critic.value_in(batch.next, &state, &action));
        let mut next_value =
            values.reduce(|one, other| targets::smaller(&one, &other)).expect("a level has a critic");
        if let Some(discount) = batch.further_discount {
            next_value *= discount.unsqueeze(1);
        }
        targets::bootstrap(batch.reward, &next_value, batch.terminated, self.discount)
    }

    /// The critic's step towards y (Eqs 15, 18), that of the second one too. Leaves the actor alone. What is measured is the
    /// first critic's.
    pub fn critic_step(&mut self, batch: &LevelBatch<'_>, y: &Tensor) -> LevelMeasures {
        let steps = self.steps();
        let second = self.second.as_mut().map(|(trained, _)| trained);
        let mut critics: Vec<&mut Trained> = std::iter::once(&mut self.critic).chain(second).collect();
        let (mut loss, mut first_q, mut norm) = (Vec::new(), None, None);
        for (groups, head) in &steps {
            let networks: Vec<&Network> = critics.iter().map(|critic| &critic.network).collect();
            let encoded = encode(&networks, batch.now);
            for (number, (critic, encoded)) in critics.iter_mut().zip(encoded).enumerate() {
                let graph = critic.network.differentiate(encoded, batch.now, batch.features);
                let q = graph.value(batch.action);
                let losses = losses::critic(self.loss, y, &q, batch.weights);
                let gradient = graph.gradient(&driving(&losses, *head));
                let its_norm = critic.step(groups, gradient, self.clip);
                if number == 0 {
                    norm = Some(its_norm);
                    loss.push(of_step(&losses, *head));
                    first_q.get_or_insert(q.detach());
                }
            }
        }
        let q = first_q.expect("a level has a head");
        LevelMeasures {
            // A row with several heads has the priority of the worst.
            td_errors: batch.weights.map(|_| (y - &q).abs().amax([1_i64].as_slice(), false)),
            critic_loss: Tensor::cat(&loss, 0),
            mean_q: by_head(&q),
            mean_target: by_head(y),
            mean_reward: by_head(batch.reward),
            critic_gradient_norm: norm.expect("a level has a head"),
            dead_share: self.is_relu.then(|| q.eq(0.0).to_kind(Kind::Double).mean(None)),
            actor: None,
        }
    }

    /// The actor's step up the critic's value (Eqs 16, 19). Leaves the critic bit-identical.
    pub fn actor_step(&mut self, batch: &LevelBatch<'_>) -> ActorMeasures {
        let (mut loss, mut saturated, mut norm) = (Vec::new(), None, None);
        let mut encoded = encode(&[&self.critic.network, &self.actor.network], batch.now).into_iter();
        // The critic is frozen: its state is a constant, and nothing behind it is differentiated.
        let seen = encoded.next().expect("a state a network").state(batch.features);
        for (groups, head) in self.steps() {
            // Behind a step the actor's encoder is another one.
            let actor = encoded.next().unwrap_or_else(|| encode(&[&self.actor.network], batch.now).remove(0));
            let graph = self.actor.network.differentiate(actor, batch.now, batch.features);
            let (u, action) = graph.act();
            let mut losses = losses::actor(&self.critic.network.value_in(batch.now, &seen, &action));
            if self.saturation_penalty > 0.0 {
                losses = &losses + losses::saturation(&u, self.saturation_penalty);
            }
            let gradient = graph.gradient(&driving(&losses, head));
            norm = Some(self.actor.step(&groups, gradient, self.clip));
            loss.push(of_step(&losses, head));
            saturated.get_or_insert_with(|| {
                action.detach().abs().gt(self.saturated).to_kind(Kind::Double).mean(None)
            });
        }
        ActorMeasures {
            loss: Tensor::cat(&loss, 0),
            gradient_norm: norm.expect("a level has a head"),
            saturated_share: saturated.expect("a level has a head"),
        }
    }

    /// A step of the actor down a `loss` (a scalar) of its actions `[B, H, n]`; everything else stays. The loss before it.
    pub fn imitation_step(
        &mut self,
        windows: &Windows,
        features: Option<&Tensor>,
        loss: impl FnOnce(&Tensor) -> Tensor,
    ) -> f64 {
        let encoded = encode(&[&self.actor.network], windows).remove(0);
        let graph = self.actor.network.differentiate(encoded, windows, features);
        let loss = loss(&graph.act().1);
        let gradient = graph.gradient(&loss);
        let groups: BTreeSet<usize> = self.steps().into_iter().flat_map(|(groups, _)| groups).collect();
        let _norm = self.actor.step(&Vec::from_iter(groups), gradient, self.clip);
        loss.double_value(&[])
    }

    /// The targets move towards their networks (Algorithm 1, lines 28-30).
    pub fn soft_update(&self, tau: f64) {
        for (_, online, target) in self.networks() {
            soft_update(target.parameters().flat(), online.network.parameters().flat(), tau);
        }
    }
}

/// The scalar that a step descends: the loss of one head, or the sum over all.
fn driving(losses: &Tensor, head: Option<usize>) -> Tensor {
    match head {
        Some(head) => losses.get(head as i64),
        None => losses.sum(None),
    }
}

/// The losses that a step descends, `[1]` of one head, or `[H]`.
fn of_step(losses: &Tensor, head: Option<usize>) -> Tensor {
    let losses = losses.detach();
    match head {
        Some(head) => losses.narrow(0, head as i64, 1),
        None => losses,
    }
}

/// Means over the batch: `[B, H]` to `[H]`.
fn by_head(values: &Tensor) -> Tensor {
    values.mean_dim([0_i64].as_slice(), false, None)
}
