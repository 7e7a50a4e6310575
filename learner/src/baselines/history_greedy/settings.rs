//! How much history-greedy collects and how it is fitted.

use common::config::ItemSearch;

use super::Error;

/// Budget and hyperparameters. [`Settings::default`] is the reference of the tables; [`Settings::quick`] is for a first
/// look and for tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Seed of initial parameters, exploration and shuffles.
    pub seed: u64,
    /// First session id of the rollouts, which count up from it. Must not meet the sessions of an evaluation.
    pub first_session: common::SessionId,
    /// Width of the hidden layers.
    pub width: usize,
    /// Interactions with random items before the first fit.
    pub random_interactions: usize,
    /// Rounds of collecting with the policy and fitting again, after the first fit.
    pub rounds: usize,
    /// Interactions a round.
    pub round_interactions: usize,
    /// Share of random items in the rounds.
    pub epsilon: f32,
    /// Interactions kept, the newest.
    pub keep: usize,
    /// Passes over the kept interactions a fit.
    pub epochs: usize,
    /// Rows of a minibatch.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// How the best item is looked for where the candidates are the whole catalogue, as by the agents it is compared with (D28).
    pub item_search: ItemSearch,
    /// Threads, at least 1; there is work for two. Changes no result.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            first_session: 0,
            width: 64,
            random_interactions: 12 * 256 * 50,
            rounds: 8,
            round_interactions: 10 * 256 * 50,
            epsilon: 0.3,
            keep: 600_000,
            epochs: 3,
            batch: 2048,
            learning_rate: 2e-3,
            item_search: ItemSearch::Auto,
            threads: 1,
        }
    }
}

impl Settings {
    /// About a tenth of the work of [`Settings::default`]: better than random by a clear margin, not the bar.
    pub fn quick() -> Self {
        Self { random_interactions: 60_000, rounds: 2, round_interactions: 40_000, ..Self::default() }
    }

    /// The same rounds in proportion, with at most `n` interactions in all.
    #[must_use]
    pub fn of_interactions(self, n: usize) -> Self {
        let share = |part: usize| (part as f64 * n as f64 / self.total_interactions() as f64) as usize;
        Self {
            random_interactions: share(self.random_interactions).max(1),
            round_interactions: share(self.round_interactions).max(1),
            ..self
        }
    }

    /// All interactions of a training.
    pub fn total_interactions(&self) -> usize {
        self.random_interactions + self.rounds * self.round_interactions
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), Error> {
        let require = |ok: bool, key, value: String, expected| {
            if ok { Ok(()) } else { Err(Error::Setting { key, value, expected }) }
        };
        let at_least_one = [
            ("width", self.width),
            ("random_interactions", self.random_interactions),
            ("round_interactions", self.round_interactions),
            ("keep", self.keep),
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("threads", self.threads),
        ];
        for (key, value) in at_least_one {
            require(value >= 1, key, value.to_string(), "at least 1")?;
        }
        require((0.0..=1.0).contains(&self.epsilon), "epsilon", self.epsilon.to_string(), "0 to 1")?;
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "above 0, at most 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_and_shared_out_as_before() {
        let (whole, small) = (Settings::default(), Settings::default().of_interactions(100_000));
        assert!((99_000..=100_000).contains(&small.total_interactions()));
        let share = |s: &Settings| s.random_interactions as f64 / s.total_interactions() as f64;
        assert!((share(&whole) - share(&small)).abs() < 1e-3);
    }

    #[test]
    fn a_setting_outside_its_range_is_named() {
        Settings::default().validate().unwrap();
        Settings::quick().validate().unwrap();
        let error = Settings { epsilon: f32::NAN, ..Settings::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "history-greedy: `epsilon` is NaN, expected 0 to 1");
        assert!(Settings { batch: 0, ..Settings::default() }.validate().is_err());
    }
}
