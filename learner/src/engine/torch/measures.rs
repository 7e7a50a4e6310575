//! What an update measures, on the device until it ends. In: tensors; out: metrics, all read in one copy.
//!
//! Every number that the host reads by itself would wait until the GPU has done all that was queued, and leave it idle until the
//! next operation is there.

use tch::{Device, Kind, Tensor};

use crate::engine::metrics::{ActorMetrics, LevelMetrics, UpdateMetrics};

/// See [`LevelMetrics`]; H heads.
#[derive(Debug)]
pub struct LevelMeasures {
    /// `[B]`, if the rows were drawn by priority.
    pub td_errors: Option<Tensor>,
    /// `[H]`.
    pub critic_loss: Tensor,
    /// `[H]`.
    pub mean_q: Tensor,
    /// `[H]`.
    pub mean_target: Tensor,
    /// `[H]`.
    pub mean_reward: Tensor,
    /// A scalar.
    pub critic_gradient_norm: Tensor,
    /// A scalar, of outputs behind a ReLU.
    pub dead_share: Option<Tensor>,
    /// Unless the actor stayed.
    pub actor: Option<ActorMeasures>,
}

/// See [`ActorMetrics`].
#[derive(Debug)]
pub struct ActorMeasures {
    /// `[H]`.
    pub loss: Tensor,
    /// A scalar.
    pub gradient_norm: Tensor,
    /// A scalar.
    pub saturated_share: Tensor,
}

/// One update's.
#[derive(Debug, Default)]
pub struct UpdateMeasures {
    /// The high level's, unless its batch was empty.
    pub high: Option<LevelMeasures>,
    /// The low level's, unless its batch was empty.
    pub low: Option<LevelMeasures>,
    /// A scalar, with the low level's.
    pub mean_internal_reward: Option<Tensor>,
}

impl UpdateMeasures {
    /// Waits for the device and reads them.
    pub fn read(&self, update: u64) -> UpdateMetrics {
        let mut tensors = Vec::new();
        for level in self.levels() {
            tensors.extend(level.td_errors.as_ref());
            tensors.extend([&level.critic_loss, &level.mean_q, &level.mean_target, &level.mean_reward]);
            tensors.push(&level.critic_gradient_norm);
            tensors.extend(level.dead_share.as_ref());
            if let Some(actor) = &level.actor {
                tensors.extend([&actor.loss, &actor.gradient_norm, &actor.saturated_share]);
            }
        }
        tensors.extend(self.mean_internal_reward.as_ref());
        let mut read = Read(to_f64s(&tensors).into_iter());
        let metrics = UpdateMetrics {
            update,
            high: self.high.as_ref().map(|level| read.level(level)),
            low: self.low.as_ref().map(|level| read.level(level)),
            mean_internal_reward: self.mean_internal_reward.as_ref().map_or(0.0, |mean| read.one(mean)),
        };
        assert!(read.0.next().is_none(), "what is put in is taken out");
        metrics
    }

    fn levels(&self) -> impl Iterator<Item = &LevelMeasures> {
        self.high.iter().chain(&self.low)
    }
}

/// The numbers of all tensors, one after the other.
fn to_f64s(tensors: &[&Tensor]) -> Vec<f64> {
    if tensors.is_empty() {
        return Vec::new();
    }
    let flat: Vec<Tensor> = tensors.iter().map(|tensor| tensor.to_kind(Kind::Double).reshape([-1])).collect();
    Vec::try_from(Tensor::cat(&flat, 0).to_device(Device::Cpu)).expect("a vector of f64")
}

/// Hands the numbers out in the order in which the tensors were put in.
struct Read(std::vec::IntoIter<f64>);

impl Read {
    fn all(&mut self, tensor: &Tensor) -> Vec<f64> {
        self.0.by_ref().take(tensor.numel()).collect()
    }

    fn one(&mut self, scalar: &Tensor) -> f64 {
        self.all(scalar)[0]
    }

    fn level(&mut self, level: &LevelMeasures) -> LevelMetrics {
        LevelMetrics {
            td_errors: level.td_errors.as_ref().map_or_else(Vec::new, |errors| self.all(errors)),
            critic_loss: self.all(&level.critic_loss),
            mean_q: self.all(&level.mean_q),
            mean_target: self.all(&level.mean_target),
            mean_reward: self.all(&level.mean_reward),
            critic_gradient_norm: self.one(&level.critic_gradient_norm),
            dead_share: level.dead_share.as_ref().map_or(0.0, |share| self.one(share)),
            actor: level.actor.as_ref().map(|actor| ActorMetrics {
                loss: self.all(&actor.loss),
                gradient_norm: self.one(&actor.gradient_norm),
                saturated_share: self.one(&actor.saturated_share),
            }),
        }
    }
}
