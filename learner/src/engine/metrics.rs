//! What one update measures. In: an update's tensors; out: plain numbers, docs/metrics.md explains each.

use super::Error;

/// One update.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateMetrics {
    /// Its number, from 1.
    pub update: u64,
    /// The high level, unless its batch was empty.
    pub high: Option<LevelMetrics>,
    /// The low level, unless its batch was empty.
    pub low: Option<LevelMetrics>,
    /// Mean internal reward of the batch's steps that had a goal (Eq 11); 0 if there was none.
    pub mean_internal_reward: f64,
}

/// One level in one update. H heads: M at the high level, 1 at the low one.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelMetrics {
    /// `[B]` largest |y - Q| over the heads before the step; empty unless the rows were drawn by priority.
    pub td_errors: Vec<f64>,
    /// `[H]` the critics' loss (`algorithm.critic_loss`) before the step.
    pub critic_loss: Vec<f64>,
    /// `[H]` mean Q of the batch's actions before the step.
    pub mean_q: Vec<f64>,
    /// `[H]` mean target y.
    pub mean_target: Vec<f64>,
    /// `[H]` mean reward of the batch, r^h or r^l.
    pub mean_reward: Vec<f64>,
    /// Norm of the critic's gradient before clipping (of its last step, where it makes one a head).
    pub critic_gradient_norm: f64,
    /// Share of the batch's Q that are exactly 0 behind a ReLU; 0 for other outputs.
    pub dead_share: f64,
    /// The actor's step, unless `actor_delay` left it out.
    pub actor: Option<ActorMetrics>,
}

/// The step of one level's actor.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorMetrics {
    /// `[H]` minus the mean Q of the actor's own actions, saturation penalty included, before the step.
    pub loss: Vec<f64>,
    /// Norm of its gradient before clipping.
    pub gradient_norm: f64,
    /// Share of the components of its actions beyond 0.95 B.
    pub saturated_share: f64,
}

impl UpdateMetrics {
    /// An error unless every loss is a finite number.
    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        for (level, metrics) in [("high", &self.high), ("low", &self.low)] {
            let Some(metrics) = metrics else { continue };
            let actor = metrics.actor.as_ref().map_or(&[][..], |actor| &actor.loss);
            for (network, losses) in [("critic", &metrics.critic_loss[..]), ("actor", actor)] {
                if let Some(&value) = losses.iter().find(|loss| !loss.is_finite()) {
                    let what = format!("{level} {network} loss");
                    return Err(Error::Diverged { update: self.update, what, value });
                }
            }
        }
        Ok(())
    }
}
