//! How DEERS explores, what it keeps and how it is updated.

use super::NAME;
use crate::baselines::Error;

/// The regularizer of competing items (Zhao et al. 2018, Sec 2.4.2, and a bounded form of it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pairwise {
    /// `- weight min((Q(s, a) - Q(s, a^E))^2, clip)`, the paper's but for the clip: as it stands it has no lower bound.
    Squared {
        /// Weight of the term.
        weight: f64,
        /// Squared distance from which on a pair is far enough apart.
        clip: f64,
    },
    /// `weight softplus(margin - (Q+ - Q-))`: which of the two is to be worth more is known.
    Hinge {
        /// Weight of the term.
        weight: f64,
        /// Distance that is asked for.
        margin: f64,
    },
}

/// Budget and hyperparameters. [`Settings::default`] has the budget, batch, discount and soft update of the preset `tuned`, so
/// that both learn from as many steps and samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Seed of initial parameters, exploration and draws from the replay.
    pub seed: u64,
    /// First session id of the rollouts, which count up from it. Must not meet the sessions of an evaluation.
    pub first_session: common::SessionId,
    /// Environment steps of the training.
    pub steps: u64,
    /// Width of the GRUs.
    pub encoder_width: usize,
    /// Width of each feedback's own hidden layer.
    pub branch_width: usize,
    /// Width of the hidden layer behind both.
    pub joint_width: usize,
    /// Transitions kept; the oldest sessions go first.
    pub capacity: usize,
    /// Transitions before the first update.
    pub min_size: usize,
    /// Rows of a minibatch.
    pub batch: usize,
    /// Minibatches an environment step.
    pub updates_per_step: f64,
    /// Items of the session's recall set that a target's maximum is taken over, drawn anew each time; 0: all of it.
    pub target_candidates: usize,
    /// gamma.
    pub discount: f64,
    /// tau of the target network.
    pub soft_update: f64,
    /// Adam's learning rate at the first step.
    pub learning_rate: f64,
    /// Share of it left at the last step; it falls geometrically.
    pub learning_rate_final: f64,
    /// Share of random items at the first step, falling linearly.
    pub epsilon_start: f32,
    /// Share of random items from `epsilon_steps` on.
    pub epsilon_final: f32,
    /// Steps over which the share falls.
    pub epsilon_steps: u64,
    /// The regularizer of competing items.
    pub pairwise: Pairwise,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            first_session: 0,
            steps: 3_000_000,
            encoder_width: 64,
            branch_width: 64,
            joint_width: 32,
            capacity: 500_000,
            min_size: 20_000,
            batch: 512,
            updates_per_step: 1.0 / 512.0,
            target_candidates: 64,
            discount: 0.8,
            soft_update: 0.01,
            learning_rate: 3e-3,
            learning_rate_final: 0.02,
            epsilon_start: 1.0,
            epsilon_final: 0.1,
            epsilon_steps: 100_000,
            pairwise: Pairwise::Hinge { weight: 0.1, margin: 1.0 },
        }
    }
}

impl Settings {
    /// With the pairwise term of its paper.
    #[must_use]
    pub fn squared(self) -> Self {
        Self { pairwise: Pairwise::Squared { weight: 0.1, clip: 1.0 }, ..self }
    }

    /// A first look: better than random by a clear margin in under a minute.
    pub fn quick() -> Self {
        Self {
            steps: 200_000,
            min_size: 10_000,
            batch: 256,
            updates_per_step: 1.0 / 128.0,
            epsilon_steps: 50_000,
            ..Self::default()
        }
    }

    /// The same in proportion, with `n` environment steps.
    #[must_use]
    pub fn of_steps(self, n: u64) -> Self {
        let share = |part: u64| ((part as f64 * n as f64 / self.steps as f64).ceil() as u64).max(1);
        let (min_size, epsilon_steps) = (share(self.min_size as u64) as usize, share(self.epsilon_steps));
        Self { steps: n, min_size, epsilon_steps, ..self }
    }

    /// The share of random items after so many steps.
    pub(super) fn epsilon(&self, step: u64) -> f32 {
        let done = (step as f64 / self.epsilon_steps.max(1) as f64).min(1.0) as f32;
        self.epsilon_start + (self.epsilon_final - self.epsilon_start) * done
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), Error> {
        let require = |ok: bool, key, value: String, expected| {
            if ok { Ok(()) } else { Err(Error::Setting { method: NAME, key, value, expected }) }
        };
        for (key, value) in [
            ("encoder_width", self.encoder_width),
            ("branch_width", self.branch_width),
            ("joint_width", self.joint_width),
            ("capacity", self.capacity),
            ("batch", self.batch),
        ] {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        require(self.steps >= 1, "steps", self.steps.to_string(), "at least 1")?;
        let fills = (1..=self.capacity).contains(&self.min_size);
        require(fills, "min_size", self.min_size.to_string(), "1 to the capacity")?;
        let (weight, other, what) = match self.pairwise {
            Pairwise::Squared { weight, clip } => (weight, clip, "pairwise.clip"),
            Pairwise::Hinge { weight, margin } => (weight, margin, "pairwise.margin"),
        };
        for (key, value, most) in [
            ("updates_per_step", self.updates_per_step, 1e3),
            ("discount", self.discount, 1.0),
            ("soft_update", self.soft_update, 1.0),
            ("learning_rate", self.learning_rate, 1.0),
            ("learning_rate_final", self.learning_rate_final, 1.0),
            ("epsilon_start", self.epsilon_start.into(), 1.0),
            ("epsilon_final", self.epsilon_final.into(), 1.0),
            ("pairwise.weight", weight, 1e6),
            (what, other, 1e6),
        ] {
            require(
                (0.0..=most).contains(&value),
                key,
                value.to_string(),
                "a number from 0 within its range",
            )?;
        }
        require(
            self.learning_rate_final > 0.0,
            "learning_rate_final",
            self.learning_rate_final.to_string(),
            "above 0",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_outside_its_range_is_named() {
        Settings::default().validate().unwrap();
        Settings::quick().validate().unwrap();
        let error = Settings { discount: f64::NAN, ..Settings::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "deers: `discount` is NaN, expected a number from 0 within its range");
        assert!(Settings { min_size: 0, ..Settings::default() }.validate().is_err());
    }

    #[test]
    fn exploration_falls_and_stays() {
        let settings = Settings { epsilon_steps: 100, ..Settings::default() };
        let epsilon = [0, 50, 100, 1_000].map(|step| settings.epsilon(step));
        for (found, expected) in epsilon.into_iter().zip([1.0, 0.55, 0.1, 0.1]) {
            assert!((found - expected).abs() < 1e-6, "{epsilon:?}");
        }
    }
}
