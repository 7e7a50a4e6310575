//! A method over its seeds, and the differences of two.
//!
//! In: the results of its cells; out: means with 95% intervals that resample seeds and users both (crossed): neither
//! a lucky seed nor a lucky draw of users makes an interval narrow. Users are the same for all methods and seeds, so that
//! differences are paired by user.

use common::seed::Streams;
use rand::RngExt;
use serde::Serialize;

use super::CellResult;
use crate::evaluation::{
    Estimate,
    result::SessionRewards,
    statistics::{RESAMPLES, percentile},
};

/// A variant of an experiment with all its cells.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What tables call it.
    pub name: String,
    /// Id of its method.
    pub method: String,
    /// One a seed.
    pub results: Vec<CellResult>,
}

/// Which reward of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Reward {
    /// Clicks and orders.
    Total,
    /// Clicks without an order.
    Click,
    /// Orders.
    Order,
}

impl Reward {
    /// Of a session.
    pub fn of(self, session: &SessionRewards) -> f64 {
        match self {
            Self::Total => session.total(),
            Self::Click => session.click_reward(),
            Self::Order => session.order_reward(),
        }
    }
}

impl Summary {
    /// `[seeds, sessions]` rewards in sessions of the k-th length of the budget.
    pub fn rewards(&self, length: usize, reward: Reward) -> Vec<Vec<f64>> {
        let of_seed = |result: &CellResult| {
            result.online[length].sessions.iter().map(|session| reward.of(session)).collect()
        };
        self.results.iter().map(of_seed).collect()
    }

    /// Mean reward of a session.
    pub fn mean(&self, length: usize, reward: Reward) -> Estimate {
        crossed(&self.rewards(length, reward))
    }

    /// Mean of this minus another, with its crossed interval.
    pub fn minus(&self, other: &Self, length: usize, reward: Reward) -> Estimate {
        crossed(&self.differences(other, length, reward))
    }

    /// Mean of this minus so many times another: above zero where the ratio of the two is above `times`.
    pub fn minus_times(&self, other: &Self, times: f64, length: usize, reward: Reward) -> Estimate {
        crossed(&self.contrasts(other, times, length, reward))
    }

    /// `[seeds, sessions]` of this minus another, paired by user, and by seed where both are trained.
    pub fn differences(&self, other: &Self, length: usize, reward: Reward) -> Vec<Vec<f64>> {
        self.contrasts(other, 1.0, length, reward)
    }

    fn contrasts(&self, other: &Self, times: f64, length: usize, reward: Reward) -> Vec<Vec<f64>> {
        let (ours, theirs) = (self.rewards(length, reward), other.rewards(length, reward));
        let rows = ours.len().max(theirs.len());
        let difference = |k: usize| {
            let (a, b) = (&ours[k % ours.len()], &theirs[k % theirs.len()]);
            a.iter().zip(b).map(|(a, b)| a - times * b).collect()
        };
        (0..rows).map(difference).collect()
    }

    /// Mean over the seeds of a figure of each result.
    pub fn over_seeds(&self, of: impl Fn(&CellResult) -> f64) -> f64 {
        self.results.iter().map(of).sum::<f64>() / self.results.len() as f64
    }
}

/// The mean of `values` `[seeds, users]` with its interval. Rows are equally long.
pub fn crossed(values: &[Vec<f64>]) -> Estimate {
    let (seeds, users) = (values.len(), values[0].len());
    let streams = Streams::new(0, "reproduce/bootstrap");
    let mut means = Vec::with_capacity(RESAMPLES);
    let mut drawn = vec![0; users];
    for resample in 0..RESAMPLES {
        let mut rng = streams.at(resample as u64, 0);
        drawn.fill_with(|| rng.random_range(0..users));
        let mut sum = 0.0;
        for _ in 0..seeds {
            let row = &values[rng.random_range(0..seeds)];
            sum += drawn.iter().map(|&user| row[user]).sum::<f64>();
        }
        means.push(sum / (seeds * users) as f64);
    }
    means.sort_unstable_by(f64::total_cmp);
    Estimate {
        value: values.iter().flatten().sum::<f64>() / (seeds * users) as f64,
        low: percentile(&means, 0.025),
        high: percentile(&means, 0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_differ_widen_an_interval_that_users_alone_would_leave_narrow() {
        let row = |level: f64| (0..400).map(|k| level + f64::from(k % 2)).collect::<Vec<f64>>();
        let narrow = crossed(&[row(1.0), row(1.0)]);
        let wide = crossed(&[row(0.0), row(2.0)]);
        assert_eq!((narrow.value, wide.value), (1.5, 1.5));
        assert!(narrow.margin() < 0.06, "{narrow:?}");
        // Both seeds drawn alike happens half of the time.
        assert!(wide.low < 0.6 && wide.high > 2.4, "{wide:?}");
    }

    #[test]
    fn the_interval_of_one_seed_is_that_of_its_users() {
        let values: Vec<f64> = (0..1000).map(|k| f64::from(k % 10)).collect();
        let estimate = crossed(&[values]);
        // The standard error of the mean is 2.87 / sqrt(1000).
        assert!((estimate.margin() - 1.96 * 2.872 / 1000_f64.sqrt()).abs() < 0.02, "{estimate:?}");
    }
}
