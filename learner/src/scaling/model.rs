//! How fast a cluster trains, and what holds it back.
//!
//! In: [`Case`], the costs of every role and who runs where; out: [`Prediction`]. Pure arithmetic; docs/scaling.md derives
//! it, `learner/tests/scaling.rs` checks it against a simulation and against measured runs.
//!
//! The rate limiter couples updates to steps: U = rho X, X environment steps a second. Every part of the cluster bounds X:
//! ```text
//! actors            A t / c_actor                    (t: threads, at most the cores of their machine)
//! acknowledgements  A t K B / round trip             (K batches of B steps under way)
//! shard CPU         S k / (c_insert + rho b c_row)   (k: cores of a shard, b: rows of a minibatch)
//! shard network     S w / max(bytes_in, rho b bytes_row)
//! learner thread    1 / (rho (c_update + c_publish / P))
//! learner CPU       k / (the same + rho b c_learner_row)
//! learner network   w / (rho b bytes_row)
//! one at a time     1 / (rho (round trip + (b c_row + (1 / rho + B (1 - 1/S)) c_insert / k) / S
//!                   + b bytes_row (1/S + 1) / w + b c_learner_row / min(S, k)))
//! one machine       C / (the sum of all CPU a step)
//! ```
//! X1 is the least of them. An evaluation stops the learner for c_eval; actors run on until the window is used up:
//! E steps take max(E rho (c_update + c_publish / P) + c_eval, E / X1 + max(0, c_eval - window / X1)). Weights give way
//! instead of holding anything up (a subscriber gets the newest, never a queue): when A of them do not fit between two
//! versions, staleness grows.

use super::costs::{Case, Costs, Setup};

/// What holds a cluster back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Rollouts: the learner waits for data.
    Actors,
    /// Batches under way: actors wait for acknowledgements.
    Acknowledgements,
    /// Cores of the shards.
    ShardCpu,
    /// Network of the shards.
    ShardNetwork,
    /// The one thread that owns the tensors: samples per insert holds the actors.
    Learner,
    /// All cores of the learner's machine.
    LearnerCpu,
    /// Minibatches into the learner.
    LearnerNetwork,
    /// Minibatches are asked for one after the other: how long one takes from request to arrival.
    Sampling,
    /// The cores of the one machine that all share.
    Machine,
}

impl Part {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actors => "actors (the learner waits)",
            Self::Acknowledgements => "acknowledgements (latency)",
            Self::ShardCpu => "shard CPU",
            Self::ShardNetwork => "shard network",
            Self::Learner => "learner (samples per insert holds the actors)",
            Self::LearnerCpu => "learner CPU (receiving minibatches)",
            Self::LearnerNetwork => "learner network (minibatches)",
            Self::Sampling => "sampling (one minibatch at a time)",
            Self::Machine => "cores of the machine",
        }
    }
}

/// What is to be expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Environment steps a second while learning.
    pub steps_per_second: f64,
    /// Updates a second.
    pub updates_per_second: f64,
    /// Environment steps a second before the first update.
    pub warm_up_steps_per_second: f64,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// What saturates first.
    pub saturated: Part,
    /// Every bound with its environment steps a second, evaluations aside, the tightest first.
    pub bounds: Vec<(Part, f64)>,
    /// Share of the actors' time that they are held.
    pub actors_held: f64,
    /// Share of the learner's time without an update to do.
    pub learner_idle: f64,
    /// Versions between the choice of the goals and the update, mean over the updates of the run.
    pub staleness: f64,
    /// Seconds between a version and the next one that an actor gets.
    pub weights_every_s: f64,
    /// Not every version reaches every actor: the fan-out of the weights is saturated.
    pub weights_saturated: bool,
}

/// The learner's thread, an environment step, evaluations aside.
fn learner_step_s(costs: &Costs, setup: &Setup) -> f64 {
    setup.updates_per_step * (costs.update_s + costs.publish_s / setup.publish_every)
}

/// Receiving minibatches, an environment step.
fn receive_step_s(costs: &Costs, setup: &Setup) -> f64 {
    setup.samples_per_insert() * costs.learner_row_s
}

/// One minibatch from request to arrival, and the part of it in the shards: it waits there behind the steps that its own
/// grant lets in, and for the last of the shards, which has up to a frame of `B / S` steps more before it.
fn minibatch_s(costs: &Costs, setup: &Setup) -> (f64, f64) {
    let shards = setup.shards as f64;
    let shared = setup.shared_cores > 0.0;
    let (shard_cores, learner_cores) = if shared {
        (setup.shared_cores, setup.shared_cores)
    } else {
        (setup.shard_cores, setup.learner_cores)
    };
    let steps = 1.0 / setup.updates_per_step;
    let before_it = steps + (1.0 - 1.0 / shards) * setup.sessions as f64;
    let in_shards = (setup.rows * costs.row_s + before_it * costs.insert_s / shard_cores) / shards;
    let wire = if shared { 0.0 } else { costs.row_bytes * (1.0 / shards + 1.0) / setup.bandwidth };
    let received = costs.learner_row_s / shards.min(learner_cores).max(1.0);
    (2.0 * setup.latency_s + in_shards + setup.rows * (wire + received), in_shards)
}

/// Sending weights to all, an environment step, if nothing is skipped.
fn send_step_s(costs: &Costs, setup: &Setup) -> f64 {
    setup.updates_per_step / setup.publish_every * setup.actors as f64 * costs.send_s
}

/// Bounds that hold while learning (`rho` > 0) or before the first update.
fn bounds(costs: &Costs, setup: &Setup, learning: bool) -> Vec<(Part, f64)> {
    let sampled = if learning { setup.samples_per_insert() } else { 0.0 };
    let (shards, shared) = (setup.shards as f64, setup.shared_cores > 0.0);
    let shard_step_s = costs.insert_s + sampled * costs.row_s;
    let threads = if shared { setup.threads as f64 } else { (setup.threads as f64).min(setup.actor_cores) };
    let mut bounds = vec![(Part::Actors, setup.actors as f64 * threads / costs.actor_step_s)];
    // There, the batch's own service, and back.
    let batch_s = setup.sessions as f64 / shards * costs.insert_s;
    let under_way = setup.rollout_threads() * (setup.in_flight * setup.sessions) as f64;
    bounds.push((Part::Acknowledgements, under_way / (2.0 * setup.latency_s + batch_s)));
    if !shared {
        let bytes = costs.transition_bytes.max(sampled * costs.row_bytes);
        bounds.push((Part::ShardCpu, shards * setup.shard_cores / shard_step_s));
        bounds.push((Part::ShardNetwork, shards * setup.bandwidth / bytes));
    }
    if learning {
        let thread = learner_step_s(costs, setup);
        bounds.push((Part::Learner, 1.0 / thread));
        let (minibatch, in_shards) = minibatch_s(costs, setup);
        let part = if in_shards > 0.5 * minibatch { Part::ShardCpu } else { Part::Sampling };
        bounds.push((part, 1.0 / (setup.updates_per_step * minibatch)));
        if !shared {
            let all = thread + receive_step_s(costs, setup);
            bounds.push((Part::LearnerCpu, setup.learner_cores / all));
            bounds.push((Part::LearnerNetwork, setup.bandwidth / (sampled * costs.row_bytes)));
        }
    }
    if shared {
        let learner = if learning {
            learner_step_s(costs, setup) + receive_step_s(costs, setup) + send_step_s(costs, setup)
        } else {
            0.0
        };
        bounds.push((Part::Machine, setup.shared_cores / (costs.actor_step_s + shard_step_s + learner)));
    }
    bounds.retain(|(_, bound)| bound.is_finite());
    bounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    bounds
}

/// The prediction for a case that [`Case::validate`] accepts.
pub fn predict(case: &Case) -> Prediction {
    let Case { costs, setup } = case;
    let bounds_before = bounds(costs, setup, false);
    let bounds = bounds(costs, setup, true);
    let (mut saturated, least) = bounds[0];
    let every = setup.evaluate_every;
    // Actors that are ahead by a whole window one way and may come to be the same the other way.
    let ahead = 2.0 * setup.window_rows / setup.samples_per_insert();
    let busy = every * learner_step_s(costs, setup) + costs.evaluation_s;
    let held = every / least + (costs.evaluation_s - ahead / least).max(0.0);
    if busy >= held {
        saturated = Part::Learner;
    }
    let steps_per_second = every / busy.max(held);
    let warm_up_steps_per_second = bounds_before[0].1;
    let warm_up = setup.min_size.min(setup.steps);
    let (weights_every_s, delay_s, weights_saturated) = weights(costs, setup, steps_per_second);
    let free =
        |part: Part| bounds.iter().find(|(p, _)| *p == part).map_or(f64::INFINITY, |(_, bound)| *bound);
    let learner_share = steps_per_second * (learner_step_s(costs, setup) + costs.evaluation_s / every);
    Prediction {
        steps_per_second,
        updates_per_second: setup.updates_per_step * steps_per_second,
        warm_up_steps_per_second,
        seconds: warm_up / warm_up_steps_per_second + (setup.steps - warm_up) / steps_per_second,
        saturated,
        actors_held: (1.0 - steps_per_second / free(Part::Actors)).max(0.0),
        learner_idle: (1.0 - learner_share).max(0.0),
        staleness: staleness(costs, setup, (steps_per_second, delay_s), saturated),
        bounds,
        weights_every_s,
        weights_saturated,
    }
}

/// Seconds between two versions that an actor gets, seconds that one is under way, and whether versions are skipped.
fn weights(costs: &Costs, setup: &Setup, steps_per_second: f64) -> (f64, f64, bool) {
    let wanted = setup.publish_every / (setup.updates_per_step * steps_per_second);
    let actors = setup.actors as f64;
    let (wire, cpu) = if setup.shared_cores > 0.0 {
        (0.0, actors * costs.send_s / setup.shared_cores)
    } else {
        let others = steps_per_second * (learner_step_s(costs, setup) + receive_step_s(costs, setup))
            + steps_per_second * costs.evaluation_s / setup.evaluate_every;
        let left = (setup.learner_cores - others).max(0.05 * setup.learner_cores);
        (actors * costs.weights_bytes / setup.bandwidth, actors * costs.send_s / left)
    };
    let all = wire.max(cpu);
    (wanted.max(all), all.min(wire + cpu) + setup.latency_s, all > wanted)
}

/// Points over the run, and over the table, at which staleness is taken.
const POINTS: usize = 64;

/// Mean over updates and rows of the versions since the row's goals were chosen.
fn staleness(costs: &Costs, setup: &Setup, (rate, delay_s): (f64, f64), saturated: Part) -> f64 {
    let versions_a_step = setup.updates_per_step / setup.publish_every;
    let interval = setup.publish_every / (setup.updates_per_step * rate);
    let skipped = (weights(costs, setup, rate).0 - interval).max(0.0);
    // Steps of all actors while one session makes one: a period's goals are (c - 1) / 2 of those older than its rows, and
    // a policy serves a whole batch.
    let round = setup.rollout_threads() * setup.sessions as f64;
    let in_the_actor = round * ((setup.period_steps as f64 - 1.0) / 2.0 + 1.0);
    let lag = in_the_actor + rate * (delay_s + skipped / 2.0);
    // Full while the learner is what holds the others; otherwise a minibatch is used as soon as it is there.
    let waiting = if saturated == Part::Learner { setup.prefetch as f64 } else { 0.0 };
    let ahead = (waiting + 0.5) / setup.updates_per_step;
    let opened = setup.min_size.min(setup.steps);
    let mut sum = 0.0;
    for k in 0..POINTS {
        let now = opened + (k as f64 + 0.5) / POINTS as f64 * (setup.steps - opened);
        let drawn = (now - ahead).max(0.0);
        let held = drawn.min(setup.capacity);
        for j in 0..POINTS {
            let chosen = drawn - held * (j as f64 + 0.5) / POINTS as f64 - lag;
            // Before the first update there was one version only.
            sum += now - chosen.max(opened);
        }
    }
    (versions_a_step * sum / (POINTS * POINTS) as f64).max(0.0)
}
