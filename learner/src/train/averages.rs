//! Means of what updates and rollouts measure between two records of metrics.jsonl.

use actor::Counts;
use serde::{Deserialize, Serialize};

use super::ages::{self, Ages};
use crate::{
    engine::{LevelMetrics, UpdateMetrics},
    run_dir::metrics::LevelMeans,
};

/// Sums since the last record. Part of a checkpoint, so that a resumed run writes the records of an unbroken one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Averages {
    /// What the rollouts brought.
    pub(super) counts: Counts,
    /// Updates in the sums.
    pub(super) updates: u64,
    /// Sum of the mean internal rewards.
    internal_reward: f64,
    /// Sum of the mean ages of the goals' weights, in broadcasts.
    staleness: f64,
    /// Rows of the minibatches by the age of their goals' weights.
    ages: Vec<u64>,
    high: LevelSums,
    low: LevelSums,
}

/// Sums of one level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct LevelSums {
    updates: u64,
    actor_updates: u64,
    critic_loss: Vec<f64>,
    mean_q: Vec<f64>,
    mean_target: Vec<f64>,
    mean_reward: Vec<f64>,
    critic_gradient_norm: f64,
    dead_share: f64,
    actor_loss: Vec<f64>,
    actor_gradient_norm: f64,
    saturated_share: f64,
}

fn add(sums: &mut Vec<f64>, values: &[f64]) {
    sums.resize(values.len(), 0.0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

impl LevelSums {
    fn add(&mut self, metrics: &LevelMetrics) {
        self.updates += 1;
        add(&mut self.critic_loss, &metrics.critic_loss);
        add(&mut self.mean_q, &metrics.mean_q);
        add(&mut self.mean_target, &metrics.mean_target);
        add(&mut self.mean_reward, &metrics.mean_reward);
        self.critic_gradient_norm += metrics.critic_gradient_norm;
        self.dead_share += metrics.dead_share;
        if let Some(actor) = &metrics.actor {
            self.actor_updates += 1;
            add(&mut self.actor_loss, &actor.loss);
            self.actor_gradient_norm += actor.gradient_norm;
            self.saturated_share += actor.saturated_share;
        }
    }

    fn means(&self) -> Option<LevelMeans> {
        if self.updates == 0 {
            return None;
        }
        let (n, n_actor) = (self.updates as f64, self.actor_updates.max(1) as f64);
        let over = |sums: &[f64], n: f64| sums.iter().map(|sum| sum / n).collect();
        Some(LevelMeans {
            critic_loss: over(&self.critic_loss, n),
            actor_loss: over(&self.actor_loss, n_actor),
            mean_q: over(&self.mean_q, n),
            mean_target: over(&self.mean_target, n),
            mean_reward: over(&self.mean_reward, n),
            critic_gradient_norm: self.critic_gradient_norm / n,
            actor_gradient_norm: self.actor_gradient_norm / n_actor,
            saturated_share: self.saturated_share / n_actor,
            dead_share: self.dead_share / n,
        })
    }
}

impl Averages {
    /// Adds an update.
    pub(super) fn add(&mut self, metrics: &UpdateMetrics) {
        self.updates += 1;
        self.internal_reward += metrics.mean_internal_reward;
        if let Some(high) = &metrics.high {
            self.high.add(high);
        }
        if let Some(low) = &metrics.low {
            self.low.add(low);
        }
    }

    /// Adds the ages, in broadcasts, of the weights behind an update's minibatch, and their mean. Call it once for each
    /// update.
    pub(super) fn add_staleness(&mut self, mean: f64, ages: &Ages) {
        self.staleness += mean;
        ages.add_to(&mut self.ages);
    }

    /// Mean age of the weights behind the minibatches, in broadcasts.
    pub(super) fn staleness(&self) -> Option<f64> {
        (self.updates > 0).then(|| self.staleness / self.updates as f64)
    }

    /// The age that a share `p` of the rows of the minibatches does not exceed, in broadcasts.
    pub(super) fn staleness_quantile(&self, p: f64) -> Option<f64> {
        ages::quantile(&self.ages, p)
    }

    /// Mean internal reward of the minibatches.
    pub(super) fn internal_reward(&self) -> Option<f64> {
        (self.updates > 0).then(|| self.internal_reward / self.updates as f64)
    }

    /// Means of the high level, if it was updated.
    pub(super) fn high(&self) -> Option<LevelMeans> {
        self.high.means()
    }

    /// Means of the low level, if it was updated.
    pub(super) fn low(&self) -> Option<LevelMeans> {
        self.low.means()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ActorMetrics;

    fn level(q: f64, actor: bool) -> LevelMetrics {
        LevelMetrics {
            td_errors: Vec::new(),
            critic_loss: vec![1.0],
            mean_q: vec![q],
            mean_target: vec![0.0],
            mean_reward: vec![0.0],
            critic_gradient_norm: 2.0,
            dead_share: 0.0,
            actor: actor.then(|| ActorMetrics { loss: vec![-q], gradient_norm: 1.0, saturated_share: 0.5 }),
        }
    }

    #[test]
    fn means_are_over_the_updates_that_measured() {
        let mut averages = Averages::default();
        for (update, q, actor) in [(1, 1.0, true), (2, 3.0, false)] {
            averages.add(&UpdateMetrics {
                update,
                high: None,
                low: Some(level(q, actor)),
                mean_internal_reward: q,
            });
        }
        let low = averages.low().unwrap();
        assert_eq!((low.mean_q[0], low.actor_loss[0], low.saturated_share), (2.0, -1.0, 0.5));
        assert_eq!((averages.high(), averages.internal_reward()), (None, Some(2.0)));
    }
}
