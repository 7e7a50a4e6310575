//! What every method may spend, and how thoroughly it is judged.

use common::config::Config;
use serde::{Deserialize, Serialize};

use crate::baselines;

/// `quick` or `full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Everything in half an hour on two cores: whether all of it works, not what it is worth.
    Quick,
    /// What a claim is made from.
    Full,
}

/// Equal for all methods of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// How much work the fits of supervised methods may take.
    pub scale: Scale,
    /// Environment steps that a method may learn from: its own rollouts, or a log of as many impressions.
    pub steps: u64,
    /// Updates of a run at most. A method that takes more of them a step gets fewer steps, and its row says so: one
    /// update a step, as in the paper, costs five hundred times what `tuned` does.
    pub updates: u64,
    /// Test sessions of each length. An evaluation on the way has half as many validation sessions at most.
    pub sessions: usize,
    /// Lengths of the test sessions.
    pub lengths: Vec<usize>,
    /// Seeds 0, 1, ...
    pub seeds: u64,
}

impl Budget {
    /// The budget by its name.
    pub fn of(scale: Scale) -> Self {
        let lengths = vec![50, 200];
        match scale {
            Scale::Quick => Self { scale, steps: 200_000, updates: 1000, sessions: 400, lengths, seeds: 2 },
            Scale::Full => {
                Self { scale, steps: 3_000_000, updates: 100_000, sessions: 2000, lengths, seeds: 5 }
            }
        }
    }

    /// The same for the fits.
    pub fn of_fits(&self) -> baselines::Budget {
        match self.scale {
            Scale::Quick => baselines::Budget::Quick,
            Scale::Full => baselines::Budget::Full,
        }
    }

    /// Fits a run's settings to the budget: its steps; the random beginning, the log that is imitated and the records in
    /// proportion.
    pub fn apply(&self, config: &mut Config) {
        let most = self.updates as f64 / config.train.updates_per_step;
        let steps = self.steps.min(most as u64).max(1);
        let part = steps as f64 / config.train.steps.max(1) as f64;
        let share = |whole: u64| (whole as f64 * part).ceil() as u64;
        config.exploration.random_steps = share(config.exploration.random_steps);
        for table in [&mut config.replay.low, &mut config.replay.high] {
            table.min_size = (share(table.min_size as u64) as usize).max(1);
        }
        config.train.warm_start_sessions = share(config.train.warm_start_sessions);
        config.train.steps = steps;
        config.train.evaluation_sessions = config.train.evaluation_sessions.min((self.sessions / 2).max(2));
        config.train.evaluate_every = (steps / CURVE_POINTS).max(1);
        config.train.checkpoint_every = steps;
    }
}

/// Evaluations on the way, for the curves.
pub(super) const CURVE_POINTS: u64 = 12;

#[cfg(test)]
mod tests {
    use common::config::Preset;

    use super::*;

    #[test]
    fn a_small_budget_keeps_the_shares_of_a_run() {
        let mut config = Config::preset(Preset::Tuned);
        let (random, whole) = (config.exploration.random_steps, config.train.steps);
        let budget = Budget { steps: whole / 10, ..Budget::of(Scale::Quick) };
        budget.apply(&mut config);
        assert_eq!(config.exploration.random_steps, random / 10);
        assert_eq!(config.train.steps, whole / 10);
        config.validate().unwrap();
    }

    #[test]
    fn one_update_a_step_ends_with_the_updates() {
        let mut config = Config::preset(Preset::Paper);
        Budget::of(Scale::Quick).apply(&mut config);
        assert_eq!(config.train.steps, 1000);
        config.validate().unwrap();
    }
}
