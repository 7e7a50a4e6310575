//! The records of `metrics.jsonl` and `timing.jsonl`. docs/metrics.md explains every field.

use serde::{Deserialize, Serialize};

use crate::evaluation::{Estimate, MonteCarloReturns};

/// Means of one level over the updates since the last record. `[H]`: one value a head, M at the high level, 1 at the
/// low one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelMeans {
    /// `[H]` loss of the critic (`algorithm.critic_loss`).
    pub critic_loss: Vec<f64>,
    /// `[H]` minus the mean Q of the actor's own actions, penalties included.
    pub actor_loss: Vec<f64>,
    /// `[H]` mean Q of the minibatches' actions.
    pub mean_q: Vec<f64>,
    /// `[H]` mean target y.
    pub mean_target: Vec<f64>,
    /// `[H]` mean reward of the minibatches, r^h or r^l.
    pub mean_reward: Vec<f64>,
    /// Norm of the critic's gradient.
    pub critic_gradient_norm: f64,
    /// Norm of the actor's gradient.
    pub actor_gradient_norm: f64,
    /// Share of the components of the actor's outputs beyond 0.95 B.
    pub saturated_share: f64,
    /// Share of the Q that are exactly 0 behind a ReLU.
    pub dead_share: f64,
}

/// Rollouts and updates since the last record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainRecord {
    /// Environment steps so far.
    pub env_steps: u64,
    /// Updates of both levels so far.
    pub updates: u64,
    /// External reward an environment step of the rollouts, exploration included.
    pub reward_per_step: f64,
    /// Clicks (orders included) / impressions of the rollouts.
    pub ctr: f64,
    /// Orders / clicks of the rollouts.
    pub cvr: f64,
    /// Share of steps that showed a random item.
    pub random_share: f64,
    /// Share of the sampled steps where action noise changed the item.
    pub noise_share: f64,
    /// Mean internal reward of the minibatches (Eq 11).
    pub internal_reward: Option<f64>,
    /// Mean over the minibatches of the broadcasts between the choice of the goals and the update.
    pub staleness: Option<f64>,
    /// Median of the same over the rows of the minibatches.
    pub staleness_p50: Option<f64>,
    /// 99th percentile of the same.
    pub staleness_p99: Option<f64>,
    /// The high level, if it was updated.
    pub high: Option<LevelMeans>,
    /// The low level, if it was updated.
    pub low: Option<LevelMeans>,
}

/// An evaluation on validation users, without exploration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Environment steps so far.
    pub env_steps: u64,
    /// Updates of both levels so far.
    pub updates: u64,
    /// Mean total reward a session.
    pub total: Estimate,
    /// Mean reward of clicks without order.
    pub click: Estimate,
    /// Mean reward of orders.
    pub order: Estimate,
    /// Mean total reward in expectation over the user's draws, where the world knows it.
    pub expected: Option<Estimate>,
    /// Clicks / impressions.
    pub ctr: Estimate,
    /// Orders / clicks.
    pub cvr: Estimate,
    /// Monte-Carlo returns of both levels, to hold beside `mean_q`.
    pub returns: MonteCarloReturns,
    /// Rank correlation of the low-level critic with the worth of a session's candidates, where the world knows it.
    #[serde(default)]
    pub rank_agreement: Option<Estimate>,
}

/// What one line of metrics.jsonl holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// See [`TrainRecord`].
    Train(TrainRecord),
    /// See [`EvaluationRecord`].
    Evaluation(Box<EvaluationRecord>),
}

/// What one line of timing.jsonl holds: what depends on the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimingRecord {
    /// Environment steps so far.
    pub env_steps: u64,
    /// Updates so far.
    pub updates: u64,
    /// Seconds since this process began to train.
    pub seconds: f64,
    /// Environment steps a second since the last record.
    pub steps_per_second: f64,
    /// Updates a second since the last record.
    pub updates_per_second: f64,
    /// Share of the learner's time since the last record in updates.
    pub update_share: f64,
    /// ... waiting for minibatches (lockstep: sampling).
    pub sample_share: f64,
    /// ... in rollouts (lockstep; in async the actors have threads of their own, see the `actor_` shares).
    pub rollout_share: f64,
    /// ... serialising and publishing weights.
    pub publish_share: f64,
    /// ... evaluating.
    pub evaluation_share: f64,
    /// Share of a rollout thread's time (lockstep: of the learner's) since the last record in goals, actions, noise and
    /// the action mapping; the mean over the threads.
    #[serde(default)]
    pub actor_forward_share: f64,
    /// ... in the world.
    #[serde(default)]
    pub actor_environment_share: f64,
    /// ... handing transitions over.
    #[serde(default)]
    pub actor_write_share: f64,
    /// ... waiting for the replay, which holds whoever is ahead. A wait counts where it ends, so that this may be more
    /// than 1 after a long one.
    #[serde(default)]
    pub actor_wait_share: f64,
}
