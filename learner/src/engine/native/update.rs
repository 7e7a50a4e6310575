//! One update of a level, phase by phase. In: a checked minibatch; out: parameters moved, metrics.
//!
//! First the minibatch is decoded. Then the critics move towards the targets (Eqs 14, 15, 17, 18), then, if it is its turn, the actor up
//! the new critic (Eqs 16, 19), and the targets of all networks follow: what a part adds is in [`super::steps`], in what order is here.
//! Decoding is a phase, and each step of a network: the parts of the batch add to gradients of their own; these add up in the
//! order of the batch, whatever the threads, and the network moves along the sum. Heads' values stand head by head, `[H, B]`.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use common::config::CriticOutput;

use super::{
    batch::{Batch, Encoded},
    mapping::Mapping,
    network::Trained,
    plan::Plan,
    schedule::Phases,
    scratch::Scratch,
    steps::{self, Constants},
};
use crate::engine::metrics::{ActorMetrics, LevelMetrics};

/// What an update reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Sizes and forms.
    pub plan: &'a Plan,
    /// Discount, clipping, tau and so on.
    pub constants: &'a Constants,
    /// The rows.
    pub encoded: &'a Encoded<'a>,
    /// To the items that the targets' actions become, if they are mapped.
    pub mapping: Option<&'a Mapping>,
    /// Whether the actor moves.
    pub actor_moves: bool,
}

/// The networks of a level, and what their last steps said.
#[derive(Debug)]
struct Networks<'a> {
    actor: &'a mut Trained,
    /// The one that the actor climbs, and, if there are twins, the other.
    critics: &'a mut [Trained],
    /// `[H]` the loss of the first critic.
    critic_loss: Vec<f64>,
    critic_gradient_norm: f64,
    actor_gradient_norm: f64,
}

/// A network that a phase moves.
#[derive(Clone, Copy, Debug)]
enum Moved {
    Critic(usize),
    Actor,
}

/// An update under way.
#[derive(Debug)]
pub struct Update<'a> {
    inputs: Inputs<'a>,
    /// Those rows, decoded.
    batch: RwLock<&'a mut Batch>,
    n_critics: usize,
    networks: RwLock<Networks<'a>>,
    /// The memory of each part of the batch.
    parts: &'a [Mutex<Scratch>],
    /// For the targets and the values before: `[H, B]` each.
    buffers: [&'a mut Vec<f32>; 2],
}

/// A part's memory. A lock is poisoned by a thread whose panic goes on where it is joined.
fn lock(part: &Mutex<Scratch>) -> MutexGuard<'_, Scratch> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Update<'a> {
    /// An update of these networks, with memory for the batch, for each part of it, and for the metrics.
    pub fn new(
        inputs: Inputs<'a>,
        (actor, critics): (&'a mut Trained, &'a mut [Trained]),
        batch: &'a mut Batch,
        parts: &'a [Mutex<Scratch>],
        buffers: [&'a mut Vec<f32>; 2],
    ) -> Self {
        let (critic_loss, critic_gradient_norm, actor_gradient_norm) = (Vec::new(), 0.0, 0.0);
        let n_critics = critics.len();
        let networks = Networks { actor, critics, critic_loss, critic_gradient_norm, actor_gradient_norm };
        let (batch, networks) = (RwLock::new(batch), RwLock::new(networks));
        Self { inputs, batch, n_critics, networks, parts, buffers }
    }

    /// The network that a phase behind the first moves, and at which of its steps. What is measured of critics is the first
    /// one's, so that it comes last.
    fn at(&self, phase: usize) -> (Moved, usize) {
        let (phase, n_steps) = (phase - 1, self.inputs.constants.steps.len());
        let moved = match self.n_critics.checked_sub(1 + phase / n_steps) {
            Some(number) => Moved::Critic(number),
            None => Moved::Actor,
        };
        (moved, phase % n_steps)
    }

    /// Adds the gradients of all parts to the first one's, one after the other.
    fn add_up(&self, n_parameters: usize) -> MutexGuard<'a, Scratch> {
        let (first, others) = self.parts.split_first().expect("a batch has at least one part");
        let mut first = lock(first);
        for other in others {
            let other = &lock(other).gradient[..n_parameters];
            first.gradient.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
        }
        first
    }

    /// What is to be told behind the last phase.
    pub fn metrics(self) -> LevelMetrics {
        let Self { inputs: Inputs { plan, actor_moves, .. }, batch, parts, buffers: [y, first_q], .. } = self;
        let batch = &*batch.into_inner().unwrap_or_else(PoisonError::into_inner);
        gather((plan.heads, batch.n_rows), parts, |scratch| &scratch.y, y);
        gather((plan.heads, batch.n_rows), parts, |scratch| &scratch.first_q, first_q);
        let networks = self.networks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mean = |of_head: &[f32]| of_head.iter().map(|&x| f64::from(x)).sum::<f64>() / batch.n_rows as f64;
        let by_head = |values: &[f32]| values.chunks_exact(batch.n_rows).map(mean).collect();
        let dead = first_q.iter().filter(|q| **q == 0.0).count() as f64 / first_q.len() as f64;
        let saturated = || parts.iter().map(|part| lock(part).saturated).sum::<usize>();
        LevelMetrics {
            td_errors: td_errors(batch, y, first_q),
            critic_loss: networks.critic_loss,
            mean_q: by_head(first_q),
            mean_target: by_head(y),
            mean_reward: by_head(&batch.reward),
            critic_gradient_norm: networks.critic_gradient_norm,
            dead_share: if plan.output == CriticOutput::Relu { dead } else { 0.0 },
            actor: actor_moves.then(|| ActorMetrics {
                loss: sum_of_losses(plan.heads, parts),
                gradient_norm: networks.actor_gradient_norm,
                saturated_share: saturated() as f64 / (batch.n_rows * plan.actions()) as f64,
            }),
        }
    }
}

impl Phases for Update<'_> {
    fn n_phases(&self) -> usize {
        let n_networks = self.n_critics + usize::from(self.inputs.actor_moves);
        1 + n_networks * self.inputs.constants.steps.len()
    }

    fn n_parts(&self) -> usize {
        self.parts.len()
    }

    fn n_rows(&self, part: usize) -> usize {
        lock(&self.parts[part]).rows.len()
    }

    fn part(&self, phase: usize, part: usize) {
        let Inputs { plan, constants, encoded, mapping, .. } = self.inputs;
        if phase == 0 {
            // Whole: it takes a hundredth of the time.
            if part == 0 {
                self.batch.write().unwrap_or_else(PoisonError::into_inner).decode(encoded, plan);
            }
            return;
        }
        let batch = &**self.batch.read().unwrap_or_else(PoisonError::into_inner);
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        let Networks { actor, critics, .. } = &*networks;
        let scratch = &mut *lock(&self.parts[part]);
        let (moved, step) = self.at(phase);
        let by = constants.steps[step].1;
        if phase == 1 {
            steps::targets(plan, constants.discount, (actor, critics), batch, mapping, scratch);
        }
        if part > 0 {
            scratch.gradient.fill(0.0);
        }
        // The one that the others are added to is zero behind the step that it led to.
        debug_assert!(scratch.gradient.iter().all(|x| *x == 0.0));
        if step == 0 {
            scratch.loss.fill(0.0);
        }
        match moved {
            Moved::Critic(number) => {
                steps::critic_gradient(plan, constants.loss, (step, by), &critics[number], batch, scratch);
            }
            Moved::Actor => {
                if step == 0 {
                    steps::critic_states(plan, &critics[0], batch, scratch);
                }
                steps::actor_gradient(plan, constants, (step, by), (actor, &critics[0]), batch, scratch);
            }
        }
    }

    fn end(&self, phase: usize) {
        let Inputs { plan, constants, encoded, actor_moves, .. } = self.inputs;
        if phase == 0 {
            return;
        }
        let mut networks = self.networks.write().unwrap_or_else(PoisonError::into_inner);
        let (moved, step) = self.at(phase);
        let network = match moved {
            Moved::Critic(number) => &mut networks.critics[number],
            Moved::Actor => &mut *networks.actor,
        };
        let n_parameters = network.network().layout().len();
        let mut summed = self.add_up(n_parameters);
        let gradient = &mut summed.gradient[..n_parameters];
        // Heads move once in an update, the encoder at every step: their targets follow at the last.
        let is_last = step + 1 == constants.steps.len();
        let tau = actor_moves.then_some(constants.tau);
        let groups = &constants.steps[step].0;
        let norm = network.step(gradient, groups, constants.clip, tau, |group| group > 0 || is_last);
        drop(summed);
        match moved {
            Moved::Critic(0) if is_last => {
                networks.critic_gradient_norm = norm;
                networks.critic_loss = sum_of_losses(plan.heads, self.parts);
                networks.critic_loss.iter_mut().for_each(|loss| *loss /= encoded.rows.n_rows() as f64);
            }
            Moved::Critic(_) => {}
            Moved::Actor => networks.actor_gradient_norm = norm,
        }
    }
}

/// `[H]` of all parts.
fn sum_of_losses(n_heads: usize, parts: &[Mutex<Scratch>]) -> Vec<f64> {
    (0..n_heads).map(|head| parts.iter().map(|part| lock(part).loss[head]).sum()).collect()
}

/// From `[H, b]` of each part to `[H, B]`.
fn gather(
    (n_heads, n_rows): (usize, usize),
    parts: &[Mutex<Scratch>],
    of: impl Fn(&Scratch) -> &[f32],
    out: &mut Vec<f32>,
) {
    out.clear();
    out.reserve(n_heads * n_rows);
    for head in 0..n_heads {
        for part in parts {
            let scratch = lock(part);
            out.extend_from_slice(&of(&scratch)[head * scratch.rows.len()..][..scratch.rows.len()]);
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
