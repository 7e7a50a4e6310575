//! Noise on what the networks predict.

use serde::{Deserialize, Serialize};

use super::model::N_CLASSES;
use crate::Error;

/// Optional noise of the feedback; the default is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// The logits are divided by it: above 1, feedback is less predictable. In (0, 100].
    pub temperature: f32,
    /// Share of steps whose feedback is drawn from the log's base rates instead, whatever the item. In [0, 1].
    pub flip_share: f32,
}

impl Default for Noise {
    fn default() -> Self {
        Self { temperature: 1.0, flip_share: 0.0 }
    }
}

impl Noise {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Build(format!("learned simulator: {problem}")));
        if !(self.temperature > 0.0 && self.temperature <= 100.0) {
            return refuse(format!("temperature is {}: in (0, 100]", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.flip_share) {
            return refuse(format!("flip_share is {}: in [0, 1]", self.flip_share));
        }
        Ok(())
    }

    /// Class probabilities with this noise, given a network's logits and the log's base rates.
    pub(super) fn probabilities(
        &self,
        logits: [f32; N_CLASSES],
        base_rates: [f32; N_CLASSES],
    ) -> [f32; N_CLASSES] {
        let predicted = super::forward::softmax(logits, self.temperature);
        std::array::from_fn(|class| {
            predicted[class] + self.flip_share * (base_rates[class] - predicted[class])
        })
    }
}
